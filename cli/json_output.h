// Machine-readable results. The keys are documented in docs/CLI.md and stay.
#pragma once

#include <nlohmann/json.hpp>

#include <optional>

#include "mlxmill/scheme.h"
#include "terminal.h"

namespace mlxmill::cli {

/// Keys stay in the order in which they are set.
using Json = nlohmann::ordered_json;

/// Prints one document to stdout: indented, ASCII, with bytes that are not UTF-8 replaced.
inline void print_json(const Json& document) {
  print_out(document.dump(2, ' ', true, Json::error_handler_t::replace) + "\n");
}

/// How a module is quantized; null: it is not.
inline Json scheme_json(const std::optional<Scheme>& scheme) {
  if (!scheme) return nullptr;
  return {{"mode", mode_name(scheme->mode)},
          {"bits", scheme->bits},
          {"group_size", scheme->group_size}};
}

}  // namespace mlxmill::cli
