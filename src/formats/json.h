// JSON as Python's json module reads and writes it: config.json must come out the way mlx-lm writes
// it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/value.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

/// Bounds on untrusted JSON; each is an error of its own when passed.
struct JsonLimits {
  std::size_t max_depth = 64;
  std::size_t max_values = 4'000'000;
  std::size_t max_number_length = 400;
  /// Without it the last of two equal keys wins, as in Python.
  bool refuse_duplicate_keys = true;
};

/// Parses a whole document. Accepts what Python's json.load accepts (NaN, Infinity and -Infinity
/// included, a BOM not); members keep their order; duplicate keys are an error, as they mean two
/// readers see two files. Strings are UTF-8; half of a surrogate pair stays, in the three bytes
/// that UTF-8 would give it. A number past the doubles is infinite; {"__float__": "Infinity"}, with
/// which transformers spells such a float, is that float. Errors: kInvalidInput with line and
/// column.
Result<base::Value> parse_json(std::string_view text, const JsonLimits& limits = {});

struct JsonStyle {
  int indent = 4;  ///< Spaces per level; -1 puts all on one line with Python's ", " and ": ".
  bool sort_keys = false;  ///< Top level only, as mlx-lm's save_config does.
};

/// Writes JSON byte for byte as Python's json.dump(value, indent=...) does: ensure_ascii escapes,
/// repr() floats
/// ("1e-06", "10000.0"), integers of any length; non-finite floats as mlx-lm's {"__float__":
/// "Infinity"}. Requires values no deeper than parse_json makes them: it calls itself once per
/// level.
std::string dump_json(const base::Value& value, const JsonStyle& style = {});

/// Appends a string in quotes, as dump_json() writes it.
void append_json_quoted(std::string& out, std::string_view text);

/// Python's repr() of a finite double, for example "1e-06", "0.1", "1e+16", "10000.0".
std::string python_float(double value);

}  // namespace mlxmill::formats
