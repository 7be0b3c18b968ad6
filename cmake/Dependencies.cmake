# What mlxmill takes from the platform's package manager. tools/setup.sh installs all of it.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(CURL 7.68 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)

# Highway: the CMake package where there is one, else pkg-config's library.
find_package(hwy CONFIG QUIET)
if(NOT TARGET hwy::hwy)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy)
  add_library(hwy::hwy ALIAS PkgConfig::hwy)
endif()

# Header-only use of two libraries whose CMake packages differ between platforms.
find_path(MLXMILL_XXHASH_INCLUDE xxhash.h REQUIRED)
add_library(mlxmill_xxhash INTERFACE)
add_library(mlxmill::xxhash ALIAS mlxmill_xxhash)
target_include_directories(mlxmill_xxhash SYSTEM INTERFACE $<BUILD_INTERFACE:${MLXMILL_XXHASH_INCLUDE}>)
target_compile_definitions(mlxmill_xxhash INTERFACE XXH_INLINE_ALL)

find_path(MLXMILL_TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
add_library(mlxmill_tomlplusplus INTERFACE)
add_library(mlxmill::tomlplusplus ALIAS mlxmill_tomlplusplus)
target_include_directories(mlxmill_tomlplusplus SYSTEM INTERFACE $<BUILD_INTERFACE:${MLXMILL_TOMLPLUSPLUS_INCLUDE}>)
target_compile_definitions(mlxmill_tomlplusplus INTERFACE TOML_HEADER_ONLY=1 TOML_EXCEPTIONS=0)

# The line editor of `mlxmill chat`; macOS has it in its SDK.
find_path(MLXMILL_LIBEDIT_INCLUDE histedit.h REQUIRED)
find_library(MLXMILL_LIBEDIT edit REQUIRED)
add_library(mlxmill_libedit INTERFACE)
target_include_directories(mlxmill_libedit SYSTEM INTERFACE ${MLXMILL_LIBEDIT_INCLUDE})
target_link_libraries(mlxmill_libedit INTERFACE ${MLXMILL_LIBEDIT})
