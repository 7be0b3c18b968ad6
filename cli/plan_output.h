// A plan for people and for programs.
#pragma once

#include <string>

#include "mlxmill/plan.h"

namespace mlxmill::cli {

std::string plan_text(const ModelPlan& plan);
void print_plan_json(const ModelPlan& plan);

}  // namespace mlxmill::cli
