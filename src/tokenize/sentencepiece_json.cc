#include <fmt/format.h>

#include <algorithm>

#include "tokenize/sentencepiece_model.h"
#include "vocabulary/bpe_tokenizer.h"

namespace mlxmill::tokenize {
namespace {

using base::Array;
using base::Object;
using base::Value;
using vocabulary::kSpace;
using vocabulary::replace_step;
using vocabulary::sequence_step;
using vocabulary::TokenId;

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8) | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += k <= n ? kDigits[(group >> (18 - 6 * k)) & 63] : '=';
    }
  }
  return out;
}

Object replace_pattern(std::string_view expression, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", Object{{"Regex", expression}}}, {"content", to}};
}

/// A text as an expression of Oniguruma that matches it.
std::string escaped(std::string_view text) {
  constexpr std::string_view kSpecial = R"(\^$.|?*+()[]{}-#&~/)";
  std::string out;
  for (const char c : text) {
    if (kSpecial.find(c) != std::string_view::npos || c == ' ') out += '\\';
    out += c;
  }
  return out;
}

/// In SentencePiece's order.
Value normalizer(const SentencePieceModel& model, bool legacy) {
  Array steps;
  if (!model.precompiled_charsmap.empty()) {
    steps.emplace_back(Object{{"type", "Precompiled"},
                              {"precompiled_charsmap", base64(model.precompiled_charsmap)}});
  }
  if (model.remove_extra_whitespaces) {
    // Spaces alone: line ends stay.
    steps.emplace_back(replace_pattern(R"(\A +| +\z)", ""));
    steps.emplace_back(replace_pattern(" {2,}", " "));
  }
  if (model.escape_whitespaces) steps.emplace_back(replace_step(" ", kSpace));
  if (model.add_dummy_prefix && legacy) {
    // Metaspace adds no prefix to a text that begins with one, SentencePiece does.
    steps.emplace_back(replace_pattern(std::string("\\A") + kSpace, std::string(kSpace) + kSpace));
  }
  return sequence_step("normalizers", std::move(steps));
}

/// SentencePiece never joins user-defined pieces with others.
Value pre_tokenizer(const SentencePieceModel& model, bool legacy) {
  Array steps;
  if (model.add_dummy_prefix) {
    steps.emplace_back(Object{{"type", "Metaspace"},
                              {"replacement", kSpace},
                              {"prepend_scheme", legacy ? "always" : "first"},
                              {"split", false}});
  }
  std::vector<std::string_view> whole;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.types[i] == PieceType::kUserDefined) whole.push_back(model.pieces[i]);
  }
  std::stable_sort(whole.begin(), whole.end(),
                   [](std::string_view a, std::string_view b) { return a.size() > b.size(); });
  if (!whole.empty()) {
    std::string expression;
    for (const std::string_view piece : whole) {
      if (!expression.empty()) expression += '|';
      expression += escaped(piece);
    }
    steps.emplace_back(Object{{"type", "Split"},
                              {"pattern", Object{{"Regex", expression}}},
                              {"behavior", "Isolated"},
                              {"invert", false}});
  }
  if (steps.empty()) return {};
  return sequence_step("pretokenizers", std::move(steps));
}

Value decoder(const SentencePieceModel& model) {
  Array steps{replace_step(kSpace, " ")};
  if (model.byte_fallback) steps.emplace_back(Object{{"type", "ByteFallback"}});
  if (model.add_dummy_prefix) {
    steps.emplace_back(Object{{"type", "Fuse"}});
    steps.emplace_back(Object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  } else if (model.byte_fallback) {
    steps.emplace_back(Object{{"type", "Fuse"}});
  }
  return sequence_step("decoders", std::move(steps));
}

/// Everything but the vocabulary.
template <typename Tokenizer>
void fill(const SentencePieceModel& model, bool legacy, Tokenizer& to) {
  to.tokens = model.pieces;
  to.normalizer = normalizer(model, legacy);
  to.pre_tokenizer = pre_tokenizer(model, legacy);
  to.decoder = decoder(model);
  to.byte_fallback = model.byte_fallback;
  if (model.unknown >= 0) to.unknown = static_cast<TokenId>(model.unknown);
  for (std::size_t id = 0; id < model.types.size(); ++id) {
    const bool unknown = model.types[id] == PieceType::kUnknown;
    if (!unknown && model.types[id] != PieceType::kControl) continue;
    to.added.push_back(static_cast<TokenId>(id));
    to.special.push_back(static_cast<TokenId>(id));
  }
}

}  // namespace

Result<std::string> sentencepiece_json(const SentencePieceModel& model, bool legacy) {
  if (!model.is_bpe) {
    vocabulary::UnigramTokenizer unigram;
    fill(model, legacy, unigram);
    unigram.scores = model.scores;
    return tokenizer_json(unigram);
  }
  vocabulary::BpeTokenizer bpe;
  fill(model, legacy, bpe);
  bpe.fuse_unknown = true;
  std::vector<bool> joined(model.pieces.size());
  for (std::size_t i = 0; i < joined.size(); ++i) {
    joined[i] = model.types[i] == PieceType::kNormal;
    if (model.types[i] == PieceType::kUserDefined) bpe.ignore_merges = true;
  }
  bpe.merges =
      vocabulary::merges_by_score(bpe.tokens, joined, model.scores, vocabulary::MergeOrder::kById);
  return tokenizer_json(bpe);
}

}  // namespace mlxmill::tokenize
