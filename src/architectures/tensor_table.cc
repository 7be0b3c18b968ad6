#include "architectures/tensor_table.h"

#include <fmt/format.h>

#include "architectures/language.h"
#include "architectures/view.h"

namespace mlxmill::architectures {
namespace {

// The longest name of any published model has about 120 characters.
constexpr std::size_t kMaxNameBytes = 1024;

}  // namespace

Result<TensorTable> TensorTable::of(std::span<const SourceTensor> tensors) {
  std::vector<TensorView> views;
  views.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].name.empty() || tensors[i].name.size() > kMaxNameBytes) {
      return Error(Code::kInvalidInput,
                   fmt::format("a tensor name has {} characters; expected 1 to {}",
                               tensors[i].name.size(), kMaxNameBytes));
    }
    MLXMILL_ASSIGN(TensorView view, view_of(tensors[i], i));
    views.push_back(std::move(view));
  }
  TensorTable table;
  MLXMILL_TRY(table.replace(std::move(views)));
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
  }
  views_ = std::move(views);
  index_ = std::move(index);
  return {};
}

}  // namespace mlxmill::architectures
