# embed_files(TARGET ROOM FOLDER FUNCTION)
#
# Compiles the files src/ROOM/FOLDER/*.toml into TARGET: they become the raw strings that FUNCTION of
# src/ROOM/built_in.h returns. This file is also the script that writes them (cmake -P).
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${FOLDER}/*.toml)
  list(SORT files)
  set(entries "")
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(APPEND entries "    {\"${name}\", R\"__toml__(${text})__toml__\"},\n")
  endforeach()
  file(WRITE ${OUTPUT} "// Made by cmake/Embed.cmake from ${FOLDER_NAME}.
#include \"${ROOM}/built_in.h\"

namespace mlxmill::${ROOM} {

std::span<const language::BuiltInFile> ${FUNCTION}() {
  static const language::BuiltInFile kFiles[] = {
${entries}  };
  return kFiles;
}

}  // namespace mlxmill::${ROOM}
")
  return()
endif()

set(MLXMILL_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(embed_files target room folder function)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${room}_${folder}.cc)
  set(full ${CMAKE_CURRENT_SOURCE_DIR}/src/${room}/${folder})
  file(GLOB files CONFIGURE_DEPENDS ${full}/*.toml)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${full} -DFOLDER_NAME=src/${room}/${folder} -DROOM=${room}
            -DFUNCTION=${function} -DOUTPUT=${output} -P ${MLXMILL_EMBED_SCRIPT}
    DEPENDS ${files} ${MLXMILL_EMBED_SCRIPT}
    COMMENT "Embedding src/${room}/${folder}"
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
