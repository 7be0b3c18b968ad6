// Pieces of an HTML page. Everything that is text goes through escape().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/evaluate.h"

namespace mlxmill::report {

/// Text for an element or a quoted attribute: markup characters as entities, control characters and
/// bytes that are no UTF-8 as U+FFFD. Tabs and newlines stay.
std::string escape(std::string_view text);

/// The same for a token: a newline is shown as one too.
std::string escape_token(std::string_view text);

/// "0.01234", "1.2e-05", "12.35": four digits that matter.
std::string number(double value);
/// "0.0123 ± 0.0004", the error with two digits and the value to the same place.
std::string with_error(const Estimate& estimate);
/// "97.12 %".
std::string percent(double share, int digits = 2);
/// "4.50 GB".
std::string size(std::uint64_t bytes);

/// Parts of the page; each is "" when the report has nothing for it.
std::string models_table(const EvalReport& report);
std::string details_table(const EvalReport& report);
std::string domains_table(const EvalReport& report);
std::string worst_tokens(const EvalReport& report);
std::string kl_chart(const EvalReport& report);
std::string kl_histograms(const EvalReport& report);
std::string layer_heat(const EvalReport& report);
/// The same of outputs.
std::string output_heat(const EvalReport& report);

/// "low ... high" under a heat map.
std::string heat_scale(std::string_view low, std::string_view high);

}  // namespace mlxmill::report
