// tokenizer.model, the file of Google's SentencePiece: a ModelProto of protocol buffers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::tokenize {

/// SentencePiece.Type.
enum class PieceType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// The parts of a ModelProto that a tokenizer is made of. Source: sentencepiece_model.proto of
/// google/sentencepiece, with its defaults. Views point into the file's bytes.
struct SentencePieceModel {
  std::vector<std::string_view> pieces;
  std::vector<float> scores;
  std::vector<PieceType> types;
  bool is_bpe = false;  ///< Else unigram.
  bool byte_fallback = false;
  std::int64_t unknown = 0, bos = 1, eos = 2, pad = -1;  ///< Below zero: none.
  std::string_view precompiled_charsmap;                 ///< Of the normalizer; may be empty.
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Errors: kInvalidInput when the bytes are no ModelProto, cut off, have no pieces, or pieces that
/// are no UTF-8; kUnsupported for models of words or characters.
Result<SentencePieceModel> parse_sentencepiece(std::string_view bytes);

/// The model as a tokenizer.json that encodes as SentencePiece does. `legacy`: every part of a text
/// between added tokens is prefixed, not the first alone. Source: SpmConverter of transformers 5.
Result<std::string> sentencepiece_json(const SentencePieceModel& model, bool legacy);

}  // namespace mlxmill::tokenize
