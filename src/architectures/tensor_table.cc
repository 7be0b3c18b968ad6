#include "architectures/tensor_table.h"

#include <fmt/format.h>

#include "architectures/language.h"
#include "tensors/operation.h"

namespace mlxmill::architectures {
namespace {

// The longest name of any published model has about 120 characters.
constexpr std::size_t kMaxNameBytes = 1024;
// Sources and rules together come to less than ten.
constexpr std::size_t kMaxDepth = 32;

}  // namespace

Result<TensorTable> TensorTable::of(std::vector<TensorView> tensors) {
  for (const TensorView& view : tensors) {
    if (!view.name.empty() && view.name.size() <= kMaxNameBytes) continue;
    return Error(Code::kInvalidInput,
                 fmt::format("a tensor name has {} characters; expected 1 to {}", view.name.size(),
                             kMaxNameBytes));
  }
  TensorTable table;
  MLXMILL_TRY(table.replace(std::move(tensors)));
  return table;
}

const TensorView* TensorTable::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &views_[found->second];
}

Status TensorTable::replace(std::vector<TensorView> views) {
  std::map<std::string, std::size_t, std::less<>> index;
  for (std::size_t i = 0; i < views.size(); ++i) {
    if (!index.emplace(views[i].name, i).second) {
      return Error(Code::kInvalidInput,
                   fmt::format("two tensors have the name {}", quoted(views[i].name)));
    }
    if (tensors::depth(views[i]) > kMaxDepth) {
      return Error(Code::kInvalidInput,
                   fmt::format("more than {} computations lie on top of each other", kMaxDepth))
          .at(fmt::format("tensor {}", quoted(views[i].name)));
    }
  }
  views_ = std::move(views);
  index_ = std::move(index);
  return {};
}

}  // namespace mlxmill::architectures
