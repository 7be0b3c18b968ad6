// What convert prints on stdout.
#pragma once

#include <string>
#include <vector>

#include "json_output.h"
#include "mlxmill/convert.h"

namespace mlxmill::cli {

/// The result of a conversion: a short table and the line that runs the model. With `verbose`,
/// every module that stayed unquantized by name.
std::string report_text(const ConvertOptions& options, const ConvertReport& report, bool verbose);

/// The exact plan: every tensor, every file, what is needed.
std::string plan_text(const ConvertOptions& options, const Plan& plan);

/// The same as JSON. `warnings` are those given along the way.
Json report_json(const ConvertOptions& options, const ConvertReport& report,
                 const std::vector<std::string>& warnings);
Json plan_json(const ConvertOptions& options, const Plan& plan,
               const std::vector<std::string>& warnings);

/// What a recipe makes of a model.
std::string check_text(const std::string& recipe, const Plan& plan);
Json check_json(const std::string& recipe, const Plan& plan);

}  // namespace mlxmill::cli
