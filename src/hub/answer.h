// Members of what the Hub answers in JSON.
#pragma once

#include <string>

#include "base/value.h"

namespace mlxmill::hub {

/// The member as text; "" for none and for another kind.
inline std::string text_of(const base::Value* value) {
  const std::string* text = value ? value->as_string() : nullptr;
  return text ? *text : std::string();
}

}  // namespace mlxmill::hub
