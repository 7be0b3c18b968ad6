// A module of a layout as recipes see it.
#pragma once

#include "architectures/declaration.h"
#include "quantize/recipe.h"

namespace mlxmill::convert {

/// `module` must outlive the candidate.
quantize::Candidate candidate_of(const architectures::Module& module);

}  // namespace mlxmill::convert
