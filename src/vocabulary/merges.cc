// SentencePiece as BPE. The pieces of a text are joined in the order of the scores of what they
// make, which is what merges in the order of those scores do.
#include <algorithm>
#include <cstddef>
#include <tuple>

#include "formats/unicode.h"
#include "vocabulary/bpe_tokenizer.h"

namespace mlxmill::vocabulary {
namespace {

// Longer ones take time in proportion to the square; the longest published have 96 bytes.
constexpr std::size_t kMaxJoined = 256;

/// A way to make a token, with what decides its place.
struct Candidate {
  double score = 0;
  TokenId made = 0;
  std::uint32_t left_length = 0;  ///< In code points.
  std::uint32_t right_length = 0;
  Merge merge;
};

/// Offsets of the code points of a text, and its end.
void cut(std::string_view text, std::vector<std::size_t>& offsets) {
  offsets.clear();
  for (std::size_t pos = 0; pos < text.size();) {
    offsets.push_back(pos);
    if (!formats::next_code_point(text, pos, false)) ++pos;
  }
  offsets.push_back(text.size());
}

void sort(std::vector<Candidate>& all, const std::vector<std::string_view>& tokens,
          MergeOrder order) {
  std::stable_sort(all.begin(), all.end(), [&](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    if (order == MergeOrder::kById) {
      return std::tuple(a.made, tokens[a.merge.left], tokens[a.merge.right]) <
             std::tuple(b.made, tokens[b.merge.left], tokens[b.merge.right]);
    }
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    return a.right_length > b.right_length;
  });
}

}  // namespace

std::vector<Merge> merges_by_score(const std::vector<std::string_view>& tokens,
                                   const std::vector<bool>& joined,
                                   const std::vector<float>& scores, MergeOrder order) {
  const TokenIndex index = index_of(tokens);
  std::vector<Candidate> all;
  std::vector<std::size_t> offsets;
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view text = tokens[id];
    if (text.empty() || text.size() > kMaxJoined || !joined[id]) continue;
    cut(text, offsets);
    const std::size_t begin = all.size();
    const auto n = static_cast<std::uint32_t>(offsets.size() - 1);
    for (std::uint32_t k = 1; k < n; ++k) {
      const auto left = index.find(text.substr(0, offsets[k]));
      if (left == index.end() || !joined[left->second]) continue;
      const auto right = index.find(text.substr(offsets[k]));
      if (right == index.end() || !joined[right->second]) continue;
      const double score =
          scores.empty() ? -static_cast<double>(id) : static_cast<double>(scores[id]);
      all.push_back({score, static_cast<TokenId>(id), k, n - k, {left->second, right->second}});
    }
    std::sort(all.begin() + static_cast<std::ptrdiff_t>(begin), all.end(),
              [](const Candidate& a, const Candidate& b) {
                return std::pair(a.merge.left, a.merge.right) <
                       std::pair(b.merge.left, b.merge.right);
              });
  }
  sort(all, tokens, order);
  std::vector<Merge> merges;
  merges.reserve(all.size());
  for (const Candidate& candidate : all) merges.push_back(candidate.merge);
  return merges;
}

}  // namespace mlxmill::vocabulary
