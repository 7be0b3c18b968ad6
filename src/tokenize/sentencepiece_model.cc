#include "tokenize/sentencepiece_model.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "formats/unicode.h"

namespace mlxmill::tokenize {
namespace {

Error cut_off(std::string_view what) {
  return Error(Code::kInvalidInput, fmt::format("is no SentencePiece model: {}", what))
      .hint(
          "incomplete download? A tokenizer.model of tiktoken needs its tokenizer.json beside it");
}

/// One field of a message: its number, and its value as a number or as bytes.
struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;   ///< Varints and fixed widths.
  std::string_view content;  ///< Strings, bytes, messages.
};

/// Reads the fields of one message; messages in it are fields' contents, so nothing recurses.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  bool at_end() const { return rest_.empty(); }

  std::optional<Field> next() {
    const auto tag = varint();
    if (!tag) return {};
    Field field;
    field.number = *tag >> 3;
    switch (*tag & 7) {
      case 0:
        if (const auto value = varint()) {
          field.value = *value;
          return field;
        }
        return {};
      case 1:
        return fixed(field, 8);
      case 2: {
        const auto size = varint();
        if (!size || *size > rest_.size()) return {};
        field.content = rest_.substr(0, static_cast<std::size_t>(*size));
        rest_.remove_prefix(static_cast<std::size_t>(*size));
        return field;
      }
      case 5:
        return fixed(field, 4);
      default:
        return {};
    }
  }

 private:
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    return {};
  }

  std::optional<Field> fixed(Field field, std::size_t size) {
    if (rest_.size() < size) return {};
    for (std::size_t i = size; i > 0; --i) {
      field.value = (field.value << 8) | static_cast<unsigned char>(rest_[i - 1]);
    }
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
};

Status read_piece(std::string_view bytes, SentencePieceModel& model) {
  std::string_view text;
  float score = 0;
  std::uint64_t type = 1;
  Fields fields(bytes);
  while (!fields.at_end()) {
    const auto field = fields.next();
    if (!field) return cut_off(fmt::format("piece {} is damaged", model.pieces.size()));
    if (field->number == 1) text = field->content;
    if (field->number == 2) score = std::bit_cast<float>(static_cast<std::uint32_t>(field->value));
    if (field->number == 3) type = field->value;
  }
  if (type < 1 || type > 6 || !formats::is_utf8(text) || text.empty()) {
    return cut_off(fmt::format("piece {} has a text or type that is none", model.pieces.size()));
  }
  if (!(score > -std::numeric_limits<float>::infinity() &&
        score < std::numeric_limits<float>::infinity())) {
    return cut_off(fmt::format("piece {} has a score that is no number", model.pieces.size()));
  }
  model.pieces.push_back(text);
  model.scores.push_back(score);
  model.types.push_back(static_cast<PieceType>(type));
  return {};
}

Status read_trainer(std::string_view bytes, SentencePieceModel& model) {
  Fields fields(bytes);
  while (!fields.at_end()) {
    const auto field = fields.next();
    if (!field) return cut_off("its trainer_spec is damaged");
    const auto id = static_cast<std::int64_t>(static_cast<std::int32_t>(field->value));
    switch (field->number) {
      case 3:
        if (field->value != 1 && field->value != 2) {
          return Error(Code::kUnsupported, fmt::format("is a SentencePiece model of type {}; "
                                                       "expected unigram (1) or BPE (2)",
                                                       field->value));
        }
        model.is_bpe = field->value == 2;
        break;
      case 35:
        model.byte_fallback = field->value != 0;
        break;
      case 40:
        model.unknown = id;
        break;
      case 41:
        model.bos = id;
        break;
      case 42:
        model.eos = id;
        break;
      case 43:
        model.pad = id;
        break;
      default:
        break;
    }
  }
  return {};
}

Status read_normalizer(std::string_view bytes, SentencePieceModel& model) {
  Fields fields(bytes);
  while (!fields.at_end()) {
    const auto field = fields.next();
    if (!field) return cut_off("its normalizer_spec is damaged");
    if (field->number == 2) model.precompiled_charsmap = field->content;
    if (field->number == 3) model.add_dummy_prefix = field->value != 0;
    if (field->number == 4) model.remove_extra_whitespaces = field->value != 0;
    if (field->number == 5) model.escape_whitespaces = field->value != 0;
  }
  return {};
}

}  // namespace

Result<SentencePieceModel> parse_sentencepiece(std::string_view bytes) {
  SentencePieceModel model;
  Fields fields(bytes);
  while (!fields.at_end()) {
    const auto field = fields.next();
    if (!field) return cut_off("a field is damaged or cut off");
    if (field->number == 1) MLXMILL_TRY(read_piece(field->content, model));
    if (field->number == 2) MLXMILL_TRY(read_trainer(field->content, model));
    if (field->number == 3) MLXMILL_TRY(read_normalizer(field->content, model));
  }
  if (model.pieces.empty()) return cut_off("it has no pieces");
  const auto count = static_cast<std::int64_t>(model.pieces.size());
  if (model.unknown >= count || model.bos >= count || model.eos >= count || model.pad >= count) {
    return cut_off(fmt::format("a special id is past its {} pieces", count));
  }
  return model;
}

}  // namespace mlxmill::tokenize
