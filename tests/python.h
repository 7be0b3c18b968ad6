// Runs Python beside a test: the programs that users load these files with are the oracle.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

namespace mlxmill::testing {

/// An interpreter for the standard library.
inline std::string plain_python() {
  const char* named = std::getenv("MLXMILL_PYTHON");
  return named ? named : "python3";
}

/// Runs an interpreter; true when it exits with 0. What it prints goes to the test's output.
inline bool run_python(const std::string& python, const std::vector<std::string>& arguments) {
  std::string command;
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  return std::system(("'" + python + "'" + command).c_str()) == 0;
}

/// MLXMILL_PYTHON when it is set and has these modules ("import mlx.core, safetensors"); else
/// empty.
inline std::string python_with(const std::string& imports) {
  const char* named = std::getenv("MLXMILL_PYTHON");
  if (!named || !run_python(named, {"-c", imports})) return {};
  return named;
}

}  // namespace mlxmill::testing
