#include "sources/source_table.h"

#include <fmt/format.h>

#include "base/checked_math.h"
#include "base/quoted.h"

namespace mlxmill::sources {

using tensors::TensorView;

namespace {

constexpr std::uint64_t kSmallBytes = 1 << 20;

/// Whether the elements of a stored tensor follow each other in its file.
bool in_a_row(const tensors::Piece& piece) {
  std::int64_t step = 1;
  for (std::size_t k = piece.shape.size(); k-- > 0;) {
    if (piece.shape[k] != 1 && piece.strides[k] != step) return false;
    step *= piece.shape[k];
  }
  return true;
}

}  // namespace

SourceTable::SourceTable(std::vector<TensorView> views, ReadSmall read) : read_(std::move(read)) {
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

Result<std::vector<std::byte>> SourceTable::read(const TensorView& view) const {
  const bool stored = view.pieces.size() == 1 && !view.pieces[0].computed;
  const auto n = base::element_count(view.shape);
  if (!stored || !n || *n > kSmallBytes / dtype_bytes(view.dtype)) {
    return Error(Code::kUnsupported,
                 fmt::format("{} {} is too large to be looked at as a whole",
                             dtype_name(view.dtype), base::to_string(view.shape)))
        .at(fmt::format("tensor {}", base::quoted(view.name)));
  }
  if (!in_a_row(view.pieces[0])) {
    return Error(Code::kUnsupported, "its elements do not follow each other in the file")
        .at(fmt::format("tensor {}", base::quoted(view.name)));
  }
  MLXMILL_ASSIGN(std::vector<std::byte> bytes, read_(view.pieces[0].source));
  if (bytes.size() == *n * dtype_bytes(view.dtype)) return bytes;
  return Error(Code::kInternal, fmt::format("{} bytes were read; expected {}", bytes.size(),
                                            *n * dtype_bytes(view.dtype)))
      .at(fmt::format("tensor {}", base::quoted(view.name)));
}

std::vector<const TensorView*> SourceTable::in_order() const {
  std::vector<const TensorView*> all;
  all.reserve(views_.size());
  for (const auto& view : views_) {
    if (view) all.push_back(&*view);
  }
  return all;
}

std::vector<TensorView> SourceTable::views() && {
  std::vector<TensorView> all;
  all.reserve(index_.size());
  index_.clear();
  for (; !views_.empty(); views_.pop_front()) {
    if (views_.front()) all.push_back(*std::move(views_.front()));
  }
  return all;
}

}  // namespace mlxmill::sources
