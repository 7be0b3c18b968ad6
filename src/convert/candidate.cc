#include "convert/candidate.h"

#include "base/checked_math.h"

namespace mlxmill::convert {

using architectures::ModuleKind;

namespace {

/// As docs/RECIPES.md has it.
std::string_view kind_name(ModuleKind kind) {
  switch (kind) {
    case ModuleKind::kLinear:
      return "linear";
    case ModuleKind::kEmbedding:
      return "embedding";
    case ModuleKind::kStacked:
      return "stacked";
    default:
      return "other";
  }
}

}  // namespace

quantize::Candidate candidate_of(const architectures::Module& module) {
  quantize::Candidate candidate;
  candidate.path = module.path;
  candidate.kind = kind_name(module.kind);
  candidate.quantizable = !module.packed && architectures::is_quantizable(module.kind) &&
                          !module.tensors.empty() && is_mlx_float(module.tensors[0].dtype);
  if (module.packed) candidate.kept = module.packed_scheme;
  for (const auto& tensor : module.tensors) {
    candidate.parameters += base::element_count(tensor.shape).value_or(0);
  }
  if (!module.tensors.empty() && !module.tensors[0].shape.empty()) {
    const base::Shape& shape = module.tensors[0].shape;
    candidate.columns = shape.back();
    if (shape.size() > 1) candidate.rows = shape[shape.size() - 2];
  }
  if (module.rule) {
    candidate.family_forbids = !module.rule->quantize;
    candidate.family_bits = module.rule->bits;
    candidate.family_group_size = module.rule->group_size;
    candidate.family_affine = module.rule->affine;
  }
  return candidate;
}

}  // namespace mlxmill::convert
