// What a plan says in words: which row, and whether to make it or take it.
#pragma once

#include "mlxmill/plan.h"

namespace mlxmill::plan {

/// Chooses the row: of the affine ones the most bits that fit.
void recommend(ModelPlan& plan);

/// Judges every published conversion, and says what follows. Requires recommend().
void make_or_take(ModelPlan& plan);

}  // namespace mlxmill::plan
