// JSON one token at a time: what parse_json and the safetensors reader are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"
#include "mlxmill/result.h"

namespace mlxmill::formats {

enum class JsonToken : std::uint8_t {
  kBeginObject,
  kEndObject,
  kBeginArray,
  kEndArray,
  kKey,
  kString,
  kInteger,
  kFloat,  ///< Also NaN, Infinity and -Infinity, as in Python.
  kTrue,
  kFalse,
  kNull,
  kEnd,
};

/// "an object", "a string", ...: for error messages.
std::string_view token_name(JsonToken token);

/// Checks the whole grammar while it walks through a document; no recursion, no copy of the
/// document. The text must outlive it. After an error or kEnd, next() must not be called again.
class JsonTokens {
 public:
  JsonTokens(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  Result<JsonToken> next();

  /// Of kKey and kString the characters, escapes resolved; of kInteger and kFloat the spelling.
  std::string& content() { return content_; }
  /// True when that string holds half of a surrogate pair, which Python keeps and Unicode forbids.
  bool has_lone_surrogate() const { return lone_surrogate_; }
  /// Where the token begins.
  std::size_t offset() const { return start_; }

  /// kInvalidInput at the line and column of an offset.
  Error error_at(std::size_t offset, std::string what) const;
  /// kInvalidInput at the token.
  Error error(std::string what) const { return error_at(start_, std::move(what)); }

 private:
  enum class State : std::uint8_t {
    kValue,
    kFirstKeyOrEnd,
    kKey,
    kFirstValueOrEnd,
    kCommaOrEnd,
    kDone,
  };

  void skip_space();
  bool consume(std::string_view word);
  Error unexpected(std::string_view expected) const;
  Result<JsonToken> begin(char open);
  Result<JsonToken> end();
  Result<JsonToken> value();
  Result<JsonToken> key();
  Result<JsonToken> number();
  Status string();
  Status escape();
  Result<std::uint32_t> four_hex_digits();

  std::string_view text_;
  JsonLimits limits_;
  std::size_t pos_ = 0;
  std::size_t start_ = 0;
  std::size_t values_ = 0;
  State state_ = State::kValue;
  std::vector<char> open_;  // '{' or '[' of each level around the token.
  std::string content_;
  bool lone_surrogate_ = false;
};

}  // namespace mlxmill::formats
