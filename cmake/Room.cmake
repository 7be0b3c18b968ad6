# room(NAME [DEPENDS room...] [LINK target...] [EXCLUDE regex...] [PCH kind])
#
# Makes the static library mlxmill_NAME of every source below src/NAME. DEPENDS names the rooms whose headers
# it may include; tools/check_layers.py holds the includes against the same table. EXCLUDE leaves out files. PCH names the
# kind of precompiled headers, `rooms` unless given (cmake/PrecompiledHeaders.cmake).
function(room name)
  cmake_parse_arguments(ARG "" "PCH" "DEPENDS;LINK;EXCLUDE" ${ARGN})
  set(target mlxmill_${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/${name}/*.cc)
  foreach(regex IN LISTS ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX ${regex})
  endforeach()
  add_library(${target} STATIC ${sources})
  set_property(GLOBAL APPEND PROPERTY MLXMILL_ROOMS ${target})
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON EXPORT_NAME ${name})
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  foreach(dependency IN LISTS ARG_DEPENDS)
    target_link_libraries(${target} PUBLIC mlxmill_${dependency})
  endforeach()
  target_link_libraries(${target} PRIVATE fmt::fmt Threads::Threads ${ARG_LINK})
  mlxmill_warnings(${target})
  if(MLXMILL_BUILD_FUZZ)
    # Coverage for libFuzzer in everything a fuzz target calls.
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  if(MLXMILL_SANITIZE AND name IN_LIST mlxmill_optimised_rooms)
    target_compile_options(${target} PRIVATE -O1)
    set(ARG_PCH optimised)
  elseif(NOT ARG_PCH)
    set(ARG_PCH rooms)
  endif()
  precompile_headers(${target} ${ARG_PCH})
endfunction()

# Warnings and sanitizers of every target of this project.
function(mlxmill_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 reports both in std::string and std::optional code that is right.
    target_compile_options(${target} PRIVATE -Wno-restrict -Wno-maybe-uninitialized)
  endif()
  if(MLXMILL_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(MLXMILL_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${MLXMILL_SANITIZE} -fno-sanitize-recover=all
                                             -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${MLXMILL_SANITIZE})
  endif()
endfunction()
