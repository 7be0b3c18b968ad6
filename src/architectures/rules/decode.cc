// decode: MLX codes as the weights they stand for, where rules go on to cut and turn them.
#include <fmt/format.h>

#include <set>

#include "architectures/layout.h"
#include "architectures/rules/rules.h"
#include "tensors/view.h"

namespace mlxmill::architectures::rules {
namespace {

class Decode final : public Rule {
 public:
  Decode(RuleHead head, Expression columns) : Rule(std::move(head)), columns_(std::move(columns)) {}

  Status apply(Work& work) const override {
    std::set<std::string, std::less<>> used;
    MLXMILL_TRY(rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      MLXMILL_ASSIGN(TensorView weight, weight_of(match, work.tensors, used));
      out.push_back(std::move(weight));
      return {};
    }));
    if (used.empty()) return {};
    std::vector<TensorView> rest;
    for (const TensorView& view : work.tensors.views()) {
      if (!used.contains(view.name)) rest.push_back(view);
    }
    return work.tensors.replace(std::move(rest));
  }

 private:
  /// Says how it was coded, so that a run without other wishes codes it that way again.
  Result<TensorView> weight_of(const Match& match, const TensorTable& tensors,
                               std::set<std::string, std::less<>>& used) const {
    TensorView view = match.view;
    if (!view.packed) {
      const std::string stem = view.name.substr(0, view.name.size() - kEnding.size());
      const TensorView* scales = tensors.find(stem + "scales");
      if (view.dtype != DType::kU32 || !view.name.ends_with(kEnding) || !scales) return view;
      MLXMILL_ASSIGN(const std::int64_t columns, columns_.integer(match.scope));
      auto scheme = packed_scheme(view, *scales, columns);
      if (!scheme) {
        return std::move(scheme).error().at(fmt::format("tensor {}", quoted(view.name)));
      }
      std::optional<TensorView> biases;
      used.insert(scales->name);
      if (scheme->mode == Mode::kAffine) {
        const TensorView* found = tensors.find(stem + "biases");
        if (!found || found->shape != scales->shape || found->dtype != scales->dtype) {
          return Error(Code::kInvalidInput, "its scales have no biases of the same kind")
              .at(fmt::format("tensor {}", quoted(view.name)));
        }
        biases = *found;
        used.insert(found->name);
      }
      const DType dtype = scheme->mode == Mode::kAffine ? scales->dtype : DType::kBF16;
      view = tensors::packed_view(
          view.name, tensors::Packed(*scheme, view, *scales, std::move(biases)), dtype);
    }
    TensorView result = tensors::decoded(view);
    // Without its factor the scheme holds other numbers.
    if (!view.packed->factor()) result.coded_as = view.packed->scheme();
    return result;
  }

  static constexpr std::string_view kEnding = "weight";
  Expression columns_;
};

}  // namespace

Result<std::unique_ptr<Rule>> make_decode(RuleReader& reader) {
  MLXMILL_ASSIGN(auto columns, reader.expression("columns"));
  if (!columns) return reader.table().error(reader.head().line, "decode has no columns");
  return std::unique_ptr<Rule>(std::make_unique<Decode>(reader.head(), *std::move(columns)));
}

}  // namespace mlxmill::architectures::rules
