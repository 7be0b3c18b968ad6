#include "architectures/unknown_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "architectures/language.h"
#include "base/shape.h"

namespace mlxmill::architectures {
namespace {

constexpr std::size_t kMaxPatterns = 8;
constexpr std::size_t kMaxKeys = 32;

/// "h.3.attn.weight" is of the kind "h.{l}.attn.weight".
std::string pattern_of(std::string_view name) {
  std::string result;
  int n_numbers = 0;
  while (true) {
    const std::size_t dot = name.find('.');
    const std::string_view part = name.substr(0, dot);
    const bool is_number = !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return c >= '0' && c <= '9';
    });
    result += !is_number ? part : n_numbers++ == 0 ? "{l}" : "{e}";
    if (dot == std::string_view::npos) return result;
    result += '.';
    name.remove_prefix(dot + 1);
  }
}

struct Kind {
  std::size_t n = 0;
  const TensorView* first = nullptr;
};

std::string tensors_text(std::span<const TensorView> tensors) {
  std::map<std::string, Kind> kinds;
  for (const TensorView& tensor : tensors) {
    Kind& kind = kinds[pattern_of(tensor.name)];
    if (kind.n++ == 0) kind.first = &tensor;
  }
  std::vector<std::pair<std::string, Kind>> sorted(kinds.begin(), kinds.end());
  // What every layer has says more than what is there once.
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.n > b.second.n; });
  std::string text = fmt::format("{} kinds of tensors (", sorted.size());
  for (std::size_t i = 0; i < std::min(sorted.size(), kMaxPatterns); ++i) {
    const auto& [pattern, kind] = sorted[i];
    text += fmt::format("{}{} {} {}", i ? ", " : "", quoted(pattern), dtype_name(kind.first->dtype),
                        base::to_string(kind.first->shape));
    if (kind.n > 1) text += fmt::format(" x {}", kind.n);
  }
  return text + (sorted.size() > kMaxPatterns ? ", ...)" : ")");
}

std::string keys_text(const base::Value& config) {
  const base::Object& members = *config.as_object();
  std::string text = "the keys ";
  for (std::size_t i = 0; i < std::min(members.size(), kMaxKeys); ++i) {
    text += (i ? ", " : "") + quoted(members[i].key);
  }
  return text + (members.size() > kMaxKeys ? ", ..." : "");
}

}  // namespace

Error unknown_model(Error error, const base::Value& config, std::span<const TensorView> tensors) {
  Error result(error.code(), fmt::format("{}, and none fits its tensors; found {}, and {}",
                                         error.what(), tensors_text(tensors), keys_text(config)));
  result.hint(error.hint());
  return std::move(result).at(error.where());
}

}  // namespace mlxmill::architectures
