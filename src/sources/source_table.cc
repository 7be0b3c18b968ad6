#include "sources/source_table.h"

#include <fmt/format.h>

#include "base/checked_math.h"
#include "base/quoted.h"

namespace mlxmill::sources {

using tensors::TensorView;

namespace {

constexpr std::uint64_t kSmallBytes = 1 << 20;

}  // namespace

SourceTable::SourceTable(std::vector<TensorView> views, ReadSmall read) : read_(std::move(read)) {
  views_.reserve(views.size());
  for (TensorView& view : views) put(std::move(view));
}

const TensorView* SourceTable::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &*views_[found->second];
}

Result<TensorView> SourceTable::take(std::string_view name, std::string_view needed_by) {
  if (std::optional<TensorView> view = take_if(name)) return *std::move(view);
  return Error(Code::kInvalidInput,
               fmt::format("there is no {}, which it needs", base::quoted(name)))
      .at(fmt::format("tensor {}", base::quoted(needed_by)))
      .hint("is a shard missing?");
}

std::optional<TensorView> SourceTable::take_if(std::string_view name) {
  const auto found = index_.find(name);
  if (found == index_.end()) return std::nullopt;
  std::optional<TensorView> view;
  view.swap(views_[found->second]);
  index_.erase(found);
  return view;
}

void SourceTable::put(TensorView view) {
  const auto [at, added] = index_.emplace(view.name, views_.size());
  if (added) {
    views_.emplace_back(std::move(view));
  } else {
    views_[at->second] = std::move(view);
  }
}

std::vector<std::string> SourceTable::ending_in(std::string_view ending) const {
  std::vector<std::string> stems;
  for (const auto& view : views_) {
    if (view && view->name.size() > ending.size() && view->name.ends_with(ending)) {
      stems.push_back(view->name.substr(0, view->name.size() - ending.size()));
    }
  }
  return stems;
}

std::vector<std::string> SourceTable::names() const {
  std::vector<std::string> all;
  for (const auto& view : views_) {
    if (view) all.push_back(view->name);
  }
  return all;
}

Result<std::vector<std::byte>> SourceTable::read(const TensorView& view) const {
  const bool stored = view.pieces.size() == 1 && !view.pieces[0].computed;
  const auto n = base::element_count(view.shape);
  if (!stored || !n || *n > kSmallBytes / dtype_bytes(view.dtype)) {
    return Error(Code::kUnsupported,
                 fmt::format("{} {} is too large to be looked at as a whole",
                             dtype_name(view.dtype), base::to_string(view.shape)))
        .at(fmt::format("tensor {}", base::quoted(view.name)));
  }
  return read_(view.pieces[0].source);
}

Result<float> SourceTable::read_number(const TensorView& view) const {
  if (base::element_count(view.shape) != 1u || view.dtype != DType::kF32) {
    return Error(Code::kInvalidInput,
                 fmt::format("it is {} {}; expected one F32", dtype_name(view.dtype),
                             base::to_string(view.shape)))
        .at(fmt::format("tensor {}", base::quoted(view.name)));
  }
  MLXMILL_ASSIGN(const std::vector<std::byte> bytes, read(view));
  float value = 0;
  std::copy_n(bytes.data(), sizeof(value), reinterpret_cast<std::byte*>(&value));
  return value;
}

std::vector<TensorView> SourceTable::views() && {
  std::vector<TensorView> all;
  all.reserve(views_.size());
  for (auto& view : views_) {
    if (view) all.push_back(*std::move(view));
  }
  return all;
}

}  // namespace mlxmill::sources
