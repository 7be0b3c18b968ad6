# The public library: what the program and consumers link. Rooms stay static archives of their own, so that
# linking one in a test brings only what it may include.
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY MLXMILL_ROOMS)
get_property(imports GLOBAL PROPERTY MLXMILL_IMPORTS)

# version.h is the one generated header; every room sees it beside the others.
set(generated_include ${PROJECT_BINARY_DIR}/include)
configure_file(${PROJECT_SOURCE_DIR}/include/mlxmill/version.h.in ${generated_include}/mlxmill/version.h @ONLY)
foreach(room IN LISTS rooms)
  target_include_directories(${room} PUBLIC $<BUILD_INTERFACE:${generated_include}>)
endforeach()

add_library(mlxmill_library INTERFACE)
add_library(mlxmill::mlxmill ALIAS mlxmill_library)
set_target_properties(mlxmill_library PROPERTIES EXPORT_NAME mlxmill)
target_link_libraries(mlxmill_library INTERFACE ${rooms})

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/mlxmill)
# The header-only libraries are compiled into the rooms; the package only needs their names to resolve.
install(TARGETS mlxmill_library ${rooms} ${imports} mlxmill_xxhash mlxmill_tomlplusplus
  EXPORT mlxmillTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT mlxmillTargets NAMESPACE mlxmill:: DESTINATION ${package_folder})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ ${generated_include}/
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/mlxmillConfig.cmake.in ${PROJECT_BINARY_DIR}/mlxmillConfig.cmake
  INSTALL_DESTINATION ${package_folder})
# Before 1.0 a minor version may change the API.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mlxmillConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mlxmillConfig.cmake ${PROJECT_BINARY_DIR}/mlxmillConfigVersion.cmake
  DESTINATION ${package_folder})
