// What a pattern that matches nothing was probably meant to match.
#include <algorithm>
#include <set>

#include "base/split.h"
#include "language/document.h"
#include "quantize/recipe.h"

namespace mlxmill::quantize {
namespace {

constexpr std::size_t kMostShapes = 1000;
constexpr std::size_t kLongestPart = 64;

/// "model.layers.*.mlp.gate" of "model.layers.3.mlp.gate".
std::string shape_of(std::string_view path) {
  std::string shape;
  for (const std::string_view part : base::split_at_dots(path)) {
    const bool number =
        !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    shape += shape.empty() ? "" : ".";
    shape += number ? "*" : part;
  }
  return shape;
}

std::size_t distance(std::string_view a, std::string_view b) {
  return language::edit_distance(a.substr(0, kLongestPart), b.substr(0, kLongestPart));
}

/// How far the parts of a pattern are from the best place for them in a path.
std::size_t cost(const std::vector<std::string_view>& wanted,
                 const std::vector<std::string_view>& parts) {
  std::size_t best = std::string_view::npos;
  for (std::size_t start = 0; start == 0 || start + wanted.size() <= parts.size(); ++start) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].find_first_not_of("*?") == std::string_view::npos) continue;
      sum += start + i < parts.size() ? distance(wanted[i], parts[start + i]) : wanted[i].size();
    }
    best = std::min(best, sum);
  }
  return best;
}

}  // namespace

std::vector<std::string> nearest_paths(const PathPattern& pattern,
                                       std::span<const std::string_view> paths, std::size_t limit) {
  std::vector<std::string> shapes;
  std::set<std::string> known;
  for (const std::string_view path : paths) {
    if (path.empty() || shapes.size() >= kMostShapes) continue;
    std::string shape = shape_of(path);
    if (known.insert(shape).second) shapes.push_back(std::move(shape));
  }
  if (!pattern.is_regex()) {
    std::vector<std::string_view> wanted = base::split_at_dots(pattern.text());
    // A leading or trailing ** stands for parts that say nothing.
    std::erase(wanted, "**");
    std::vector<std::pair<std::size_t, std::size_t>> order;
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      order.emplace_back(cost(wanted, base::split_at_dots(shapes[i])), i);
    }
    std::sort(order.begin(), order.end());
    std::vector<std::string> sorted;
    for (const auto& [ignored, i] : order) sorted.push_back(shapes[i]);
    shapes = std::move(sorted);
  }
  if (shapes.size() > limit) shapes.resize(limit);
  return shapes;
}

}  // namespace mlxmill::quantize
