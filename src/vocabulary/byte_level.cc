// The regular expressions are spelled as in the models' own tokenizer.json.
#include "vocabulary/byte_level.h"

#include "formats/unicode.h"

namespace mlxmill::vocabulary {
namespace {

using base::Array;
using base::Object;
using base::Value;

constexpr std::string_view kLlama3Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekkenWords =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4oWords =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kBailingWords =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedWords =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kExaoneMoeWords =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kKimiWords =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// In three steps: numbers, Chinese and Japanese, the rest.
constexpr std::string_view kDeepseek3Words[] = {
    R"(\p{N}{1,3})", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

Object split_by(std::string_view expression) {
  return {{"type", "Split"},
          {"pattern", Object{{"Regex", expression}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

/// Bytes that stand for themselves; the others follow from U+0100 on, in their order.
bool is_spelled_as_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

}  // namespace

Object byte_level_step(bool prefix, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Value byte_level_words(Split split, bool prefix) {
  Array steps;
  switch (split) {
    case Split::kGpt2:
      return byte_level_step(prefix, true);
    case Split::kGpt2Digits:
      steps.emplace_back(Object{{"type", "Digits"}, {"individual_digits", true}});
      steps.emplace_back(byte_level_step(prefix, true));
      return Object{{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
    case Split::kLlama3:
      steps.emplace_back(split_by(kLlama3Words));
      break;
    case Split::kQwen2:
      steps.emplace_back(split_by(kQwen2Words));
      break;
    case Split::kQwen35:
      steps.emplace_back(split_by(kQwen35Words));
      break;
    case Split::kTekken:
      steps.emplace_back(split_by(kTekkenWords));
      break;
    case Split::kGpt4o:
      steps.emplace_back(split_by(kGpt4oWords));
      break;
    case Split::kBailing:
      steps.emplace_back(split_by(kBailingWords));
      break;
    case Split::kSeed:
      steps.emplace_back(split_by(kSeedWords));
      break;
    case Split::kExaoneMoe:
      steps.emplace_back(split_by(kExaoneMoeWords));
      break;
    case Split::kKimi:
      steps.emplace_back(split_by(kKimiWords));
      break;
    case Split::kDeepseek3:
      for (const std::string_view expression : kDeepseek3Words) {
        steps.emplace_back(split_by(expression));
      }
      break;
  }
  steps.emplace_back(byte_level_step(prefix, false));
  return Object{{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

std::optional<std::string> byte_level_bytes(std::string_view spelled) {
  static const auto kMoved = [] {
    std::array<char, 68> moved{};
    std::size_t n = 0;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (!is_spelled_as_itself(byte)) moved[n++] = static_cast<char>(byte);
    }
    return moved;
  }();
  std::string bytes;
  for (std::size_t pos = 0; pos < spelled.size();) {
    const auto code_point = formats::next_code_point(spelled, pos, false);
    if (!code_point) return {};
    if (*code_point < 0x100 && is_spelled_as_itself(*code_point)) {
      bytes += static_cast<char>(*code_point);
    } else if (*code_point >= 0x100 && *code_point - 0x100 < kMoved.size()) {
      bytes += kMoved[*code_point - 0x100];
    } else {
      return {};
    }
  }
  return bytes;
}

}  // namespace mlxmill::vocabulary
