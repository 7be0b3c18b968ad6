# The Rust library of src/tokenize: Hugging Face tokenizers and MiniJinja, one static archive that cargo builds.
# Its crates are fetched once (tools/setup.sh does); after that nothing here needs a network.
option(MLXMILL_WITH_RUNTIME "Build what runs models, over libmlx; OFF builds the converter alone" ON)
set(mlxmill_text_library "")
set(mlxmill_text_excluded "/tokenize/absent/")
if(NOT MLXMILL_WITH_RUNTIME)
  set(mlxmill_text_excluded "/tokenize/[^/]*$")
  return()
endif()

find_program(MLXMILL_CARGO cargo DOC "cargo of Rust 1.85 or newer")
set(cargo_hint "mlxmill's tokenizer needs Rust 1.85 or newer: run tools/setup.sh, install it from https://rustup.rs, or \
build the converter alone with -DMLXMILL_WITH_RUNTIME=OFF")
if(NOT MLXMILL_CARGO)
  message(FATAL_ERROR "cargo was not found. ${cargo_hint}")
endif()
execute_process(COMMAND ${MLXMILL_CARGO} --version OUTPUT_VARIABLE cargo_version RESULT_VARIABLE cargo_status ERROR_QUIET)
string(REGEX MATCH "[0-9]+\\.[0-9]+" cargo_version "${cargo_version}")
if(NOT cargo_status EQUAL 0 OR cargo_version VERSION_LESS 1.85)
  message(FATAL_ERROR "${MLXMILL_CARGO} is version '${cargo_version}'. ${cargo_hint}")
endif()

# Build trees of the presets share one: the archive does not depend on their settings.
if(PROJECT_BINARY_DIR MATCHES "^${PROJECT_SOURCE_DIR}/build/[^/]+$")
  set(cargo_target ${PROJECT_SOURCE_DIR}/build/cargo)
else()
  set(cargo_target ${PROJECT_BINARY_DIR}/cargo)
endif()
set(MLXMILL_CARGO_TARGET ${cargo_target} CACHE PATH "Where cargo builds")

set(crate ${PROJECT_SOURCE_DIR}/src/tokenize/rust)
set(archive ${MLXMILL_CARGO_TARGET}/release/libmlxmill_text.a)
file(GLOB crate_sources CONFIGURE_DEPENDS ${crate}/src/*.rs)
add_custom_command(
  OUTPUT ${archive}
  COMMAND ${CMAKE_COMMAND} -E env --unset=CFLAGS --unset=CXXFLAGS CARGO_TARGET_DIR=${MLXMILL_CARGO_TARGET}
          ${MLXMILL_CARGO} build --release --locked --quiet --manifest-path ${crate}/Cargo.toml
  # cargo leaves an archive that needs no change as it is; CMake wants it newer than its sources.
  COMMAND ${CMAKE_COMMAND} -E touch ${archive}
  DEPENDS ${crate_sources} ${crate}/Cargo.toml ${crate}/Cargo.lock
  COMMENT "Building src/tokenize/rust with cargo"
  USES_TERMINAL
  VERBATIM)
add_custom_target(mlxmill_text_archive DEPENDS ${archive})

# The archive and what Rust's standard library asks of the system.
add_library(mlxmill_text INTERFACE)
add_dependencies(mlxmill_text mlxmill_text_archive)
target_link_libraries(mlxmill_text INTERFACE
  $<BUILD_INTERFACE:${archive}>
  $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/libmlxmill_text.a>
  Threads::Threads ${CMAKE_DL_LIBS})
if(APPLE)
  target_link_libraries(mlxmill_text INTERFACE "-framework CoreFoundation")
else()
  target_link_libraries(mlxmill_text INTERFACE m)
endif()
install(FILES ${archive} DESTINATION ${CMAKE_INSTALL_LIBDIR})
set(mlxmill_text_library mlxmill_text)
set_property(GLOBAL APPEND PROPERTY MLXMILL_IMPORTS mlxmill_text)
