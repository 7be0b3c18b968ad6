// The functions of expressions that need nothing but their arguments.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/value.h"

namespace mlxmill::language {

struct Function {
  std::string_view name;
  std::size_t min_arguments;
  std::size_t max_arguments;
  std::string_view usage;   ///< "len(x)": for messages
  bool takes_name = false;  ///< its argument is a key, not that key's value
};

/// All functions, those that need an environment (`has`, `any`, `shape_of`, `given`) included.
std::span<const Function> functions();

struct FunctionError {
  static constexpr std::size_t kNoArgument = static_cast<std::size_t>(-1);
  std::size_t argument = kNoArgument;  ///< the one of the wrong type
  std::string text;                    ///< what it should be; without an argument what is wrong
};

/// Calls a function that needs no environment, with as many arguments as it takes.
std::variant<base::Value, FunctionError> call_function(std::string_view name,
                                                       std::span<const base::Value> arguments);

/// Whether a value counts as true: not null, false, 0 or empty, as in Python.
bool truth(const base::Value& value);

}  // namespace mlxmill::language
