# embed_files(TARGET ROOM FOLDER FUNCTION [EXTENSION])
#
# Compiles the files src/ROOM/FOLDER/*.EXTENSION (toml unless given) into TARGET: they become the raw strings that
# FUNCTION of src/ROOM/built_in.h returns. This file is also the script that writes them (cmake -P).
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${FOLDER}/*.${EXTENSION})
  list(SORT files)
  set(entries "")
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME)
    file(READ ${file} text)
    string(APPEND entries "    {\"${name}\", R\"__end__(${text})__end__\"},\n")
  endforeach()
  file(WRITE ${OUTPUT} "// Made by cmake/Embed.cmake from ${FOLDER_NAME}.
#include \"${ROOM}/built_in.h\"

namespace mlxmill::${ROOM} {

std::span<const base::BuiltInFile> ${FUNCTION}() {
  static const base::BuiltInFile kFiles[] = {
${entries}  };
  return kFiles;
}

}  // namespace mlxmill::${ROOM}
")
  return()
endif()

set(MLXMILL_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(embed_files target room folder function)
  set(extension toml)
  if(ARGC GREATER 4)
    set(extension ${ARGV4})
  endif()
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${room}_${folder}.cc)
  set(full ${CMAKE_CURRENT_SOURCE_DIR}/src/${room}/${folder})
  file(GLOB files CONFIGURE_DEPENDS ${full}/*.${extension})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${full} -DFOLDER_NAME=src/${room}/${folder} -DROOM=${room}
            -DFUNCTION=${function} -DEXTENSION=${extension} -DOUTPUT=${output} -P ${MLXMILL_EMBED_SCRIPT}
    DEPENDS ${files} ${MLXMILL_EMBED_SCRIPT}
    COMMENT "Embedding src/${room}/${folder}"
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
