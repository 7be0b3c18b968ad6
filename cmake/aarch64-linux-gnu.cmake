# Cross compilation to 64-bit ARM Linux; tools/arm64.sh uses it. MLXMILL_SYSROOT holds the arm64 packages of the
# libraries, so that nothing of the host's /usr/include or /usr/lib is picked up.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MLXMILL_SYSROOT)

set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH ${MLXMILL_SYSROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# The package registry of the user would bypass the root path.
set(CMAKE_FIND_USE_PACKAGE_REGISTRY OFF)

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

# Debian keeps headers that differ between architectures in a folder that only its own compilers look into.
include_directories(SYSTEM ${MLXMILL_SYSROOT}/usr/include/aarch64-linux-gnu)

# What libcurl is linked with lies there too. DT_RPATH, unlike DT_RUNPATH, counts for the libraries of libraries.
foreach(folder IN ITEMS usr/lib lib)
  string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT " -Wl,-rpath,${MLXMILL_SYSROOT}/${folder}/aarch64-linux-gnu")
  string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT " -Wl,-rpath-link,${MLXMILL_SYSROOT}/${folder}/aarch64-linux-gnu")
endforeach()
string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT " -Wl,--disable-new-dtags")
