# embed_families(ROOM)
#
# Compiles the declaration files src/ROOM/families/*.toml into the room: they become the raw strings behind
# src/ROOM/built_in.h. This file is also the script that writes them (cmake -P).
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${FOLDER}/*.toml)
  list(SORT files)
  set(entries "")
  set(count 0)
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(APPEND entries "    {\"${name}\", R\"__toml__(${text})__toml__\"},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  file(WRITE ${OUTPUT} "// Made by cmake/Embed.cmake from src/${ROOM}/families.
#include \"${ROOM}/built_in.h\"

namespace mlxmill::${ROOM} {

std::span<const BuiltInFile> built_in_files() {
  static constexpr BuiltInFile kFiles[] = {
${entries}  };
  return kFiles;
}

}  // namespace mlxmill::${ROOM}
")
  return()
endif()

set(MLXMILL_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(embed_families room)
  set(folder ${CMAKE_CURRENT_SOURCE_DIR}/src/${room}/families)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${room}_families.cc)
  file(GLOB files CONFIGURE_DEPENDS ${folder}/*.toml)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DROOM=${room} -DFOLDER=${folder} -DOUTPUT=${output} -P ${MLXMILL_EMBED_SCRIPT}
    DEPENDS ${files} ${MLXMILL_EMBED_SCRIPT}
    COMMENT "Embedding the model families of ${room}"
    VERBATIM)
  target_sources(mlxmill_${room} PRIVATE ${output})
endfunction()
