// What eval prints.
#pragma once

#include <string>

#include "json_output.h"
#include "mlxmill/evaluate.h"

namespace mlxmill::cli {

/// A table of all candidates, and what the numbers are of.
std::string eval_text(const EvalReport& report);

/// Everything in the report.
Json eval_json(const EvalReport& report);

/// "scoring sample-4bit 37/120 windows, perplexity 12.34, KL 0.0123".
std::string eval_progress_text(const EvalProgress& progress);

}  // namespace mlxmill::cli
