# libmlx, which src/runtime/ runs models with. Looked for in MLX_DIR and MLX_ROOT, in the Python environments that
# tools/setup.sh makes (the pinned wheel brings headers and a CMake package), then where CMake looks (Homebrew).
option(MLXMILL_WITH_RUNTIME "Build what runs models, over libmlx; OFF builds the converter alone" ON)
set(mlxmill_runtime_libraries "")
set(mlxmill_runtime_excluded "/runtime/absent/")
set(mlxmill_runtime_headers mlx)
if(NOT MLXMILL_WITH_RUNTIME)
  set(mlxmill_runtime_excluded "/runtime/[^/]*$" "/runtime/(blocks|primitives)/")
  set(mlxmill_runtime_headers rooms)
  return()
endif()

# Its C++ API changes between minor versions, and its wheel's package file compares patch levels only loosely.
set(mlxmill_mlx_version 0.32)
set(mlx_hints ${MLX_ROOT})
foreach(environment IN ITEMS venv mlx)
  file(GLOB found ${PROJECT_SOURCE_DIR}/build/${environment}/lib/python3*/site-packages/mlx)
  list(APPEND mlx_hints ${found})
endforeach()
find_package(MLX CONFIG QUIET HINTS ${mlx_hints})
if(NOT MLX_FOUND)
  message(FATAL_ERROR "libmlx was not found. Run tools/setup.sh, name a build of it with -DMLX_ROOT=FOLDER, or build "
                      "the converter alone with -DMLXMILL_WITH_RUNTIME=OFF")
endif()
file(STRINGS ${MLX_INCLUDE_DIRS}/mlx/version.h version_lines REGEX "define MLX_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*" "\\1.\\2" mlx_version "${version_lines}")
if(NOT mlx_version VERSION_EQUAL mlxmill_mlx_version)
  message(FATAL_ERROR "libmlx in ${MLX_DIR} is ${mlx_version}; expected ${mlxmill_mlx_version}")
endif()
message(STATUS "libmlx ${mlx_version}: ${MLX_DIR}")

# Its Linux wheels bundle the reference BLAS. A program that needs OpenBLAS ahead of libmlx gets its cblas_sgemm from
# there; nothing here calls it, so the linker has to be told to keep it.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  find_library(MLXMILL_OPENBLAS openblas PATH_SUFFIXES openblas-pthread)
  if(MLXMILL_OPENBLAS)
    list(APPEND mlxmill_runtime_libraries
      "-Wl,--push-state,--no-as-needed ${MLXMILL_OPENBLAS} -Wl,--pop-state")
  else()
    message(WARNING "OpenBLAS was not found: float products take libmlx's bundled BLAS, which is far slower")
  endif()
endif()
list(APPEND mlxmill_runtime_libraries mlx)
