# embed_families(TARGET FOLDER)
#
# Compiles the declaration files FOLDER/*.toml into TARGET: they become the raw strings behind
# src/architectures/built_in.h. This file is also the script that writes them (cmake -P).
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
  file(WRITE ${OUTPUT} "// Made by cmake/Embed.cmake from src/architectures/families.
#include \"architectures/built_in.h\"

namespace mlxmill::architectures {

std::span<const BuiltInFile> built_in_files() {
  static constexpr BuiltInFile kFiles[] = {
${entries}  };
  return kFiles;
}

}  // namespace mlxmill::architectures
")
  return()
endif()

set(MLXMILL_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(embed_families target folder)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/families.cc)
  file(GLOB files CONFIGURE_DEPENDS ${folder}/*.toml)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${folder} -DOUTPUT=${output} -P ${MLXMILL_EMBED_SCRIPT}
    DEPENDS ${files} ${MLXMILL_EMBED_SCRIPT}
    COMMENT "Embedding the model families"
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
