#include "formats/json_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/ascii.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
std::string_view token_name(JsonToken token) {
  static constexpr std::array<std::string_view, 12> kNames = {"an object",  "the end of an object",
                                                              "an array",   "the end of an array",
                                                              "a key",      "a string",
                                                              "an integer", "a number",
                                                              "true",       "false",
                                                              "null",       "the end of the text"};
  return kNames[static_cast<std::size_t>(token)];
}

Error JsonTokens::error_at(std::size_t offset, std::string what) const {
  const std::string_view before = text_.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t newline = before.rfind('\n');
  const std::string_view same_line =
      newline == std::string_view::npos ? before : before.substr(newline + 1);
  // Columns count characters, as Python's messages do.
  const auto column = 1 + std::count_if(same_line.begin(), same_line.end(), [](char c) {
                        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
                      });
  return Error(Code::kInvalidInput, std::move(what))
      .at(fmt::format("line {} column {}", line, column));
}

Error JsonTokens::unexpected(std::string_view expected) const {
  if (pos_ >= text_.size()) {
    return error_at(pos_, fmt::format("the text ends; expected {}", expected));
  }
  // Invisible in a terminal, and a common surprise.
  if (text_.substr(pos_, 3) == "\xEF\xBB\xBF") {
    return error_at(pos_, fmt::format("expected {}, got a byte order mark", expected));
  }
  std::size_t end = pos_;
  if (!next_code_point(text_, end, false)) return error_at(pos_, "not UTF-8");
  return error_at(
      pos_, fmt::format("expected {}, got {}", expected, quote(text_.substr(pos_, end - pos_))));
}

void JsonTokens::skip_space() {
  while (pos_ < text_.size() && (text_[pos_] == ' ' || text_[pos_] == '\n' || text_[pos_] == '\r' ||
                                 text_[pos_] == '\t')) {
    ++pos_;
  }
}

bool JsonTokens::consume(std::string_view word) {
  if (text_.substr(pos_, word.size()) != word) return false;
  pos_ += word.size();
  return true;
}

Result<JsonToken> JsonTokens::next() {
  skip_space();
  start_ = pos_;
  const char c = pos_ < text_.size() ? text_[pos_] : '\0';
  switch (state_) {
    case State::kValue:
      return value();
    case State::kFirstValueOrEnd:
      return c == ']' ? end() : value();
    case State::kFirstKeyOrEnd:
      return c == '}' ? end() : key();
    case State::kKey:
      return key();
    case State::kCommaOrEnd: {
      const bool in_object = open_.back() == '{';
      if (c == (in_object ? '}' : ']')) return end();
      if (c != ',') return unexpected(in_object ? "',' or '}'" : "',' or ']'");
      ++pos_;
      skip_space();
      start_ = pos_;
      return in_object ? key() : value();
    }
    case State::kDone:
      break;
  }
  if (pos_ < text_.size()) return unexpected("nothing after the document");
  return JsonToken::kEnd;
}

Result<JsonToken> JsonTokens::begin(char open) {
  if (open_.size() >= limits_.max_depth) {
    return error(fmt::format("nested deeper than {} levels", limits_.max_depth));
  }
  ++pos_;
  open_.push_back(open);
  state_ = open == '{' ? State::kFirstKeyOrEnd : State::kFirstValueOrEnd;
  return open == '{' ? JsonToken::kBeginObject : JsonToken::kBeginArray;
}

Result<JsonToken> JsonTokens::end() {
  ++pos_;
  const JsonToken token = open_.back() == '{' ? JsonToken::kEndObject : JsonToken::kEndArray;
  open_.pop_back();
  state_ = open_.empty() ? State::kDone : State::kCommaOrEnd;
  return token;
}

Result<JsonToken> JsonTokens::value() {
  if (++values_ > limits_.max_values) {
    return error(fmt::format("more than {} values", limits_.max_values));
  }
  const char c = pos_ < text_.size() ? text_[pos_] : '\0';
  if (c == '{' || c == '[') return begin(c);
  state_ = open_.empty() ? State::kDone : State::kCommaOrEnd;
  if (c == '"') {
    MLXMILL_TRY(string());
    return JsonToken::kString;
  }
  if (consume("true")) return JsonToken::kTrue;
  if (consume("false")) return JsonToken::kFalse;
  if (consume("null")) return JsonToken::kNull;
  for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
    if (!consume(word)) continue;
    content_ = word;
    return JsonToken::kFloat;
  }
  if (c == '-' || base::is_digit(c)) return number();
  return unexpected("a value");
}

Result<JsonToken> JsonTokens::key() {
  if (pos_ >= text_.size() || text_[pos_] != '"') return unexpected("a key in double quotes");
  MLXMILL_TRY(string());
  skip_space();
  if (!consume(":")) return unexpected("':'");
  state_ = State::kValue;
  return JsonToken::kKey;
}

Result<JsonToken> JsonTokens::number() {
  const auto digits = [&] {
    const std::size_t before = pos_;
    while (pos_ < text_.size() && base::is_digit(text_[pos_])) ++pos_;
    return pos_ > before;
  };
  bool integer = true;
  consume("-");
  if (!consume("0") && !digits()) return unexpected("a digit");
  if (consume(".")) {
    integer = false;
    if (!digits()) return unexpected("a digit");
  }
  if (consume("e") || consume("E")) {
    integer = false;
    if (!consume("+")) consume("-");
    if (!digits()) return unexpected("a digit");
  }
  if (pos_ - start_ > limits_.max_number_length) {
    return error(fmt::format("a number of {} characters; at most {} are read", pos_ - start_,
                             limits_.max_number_length));
  }
  content_ = text_.substr(start_, pos_ - start_);
  return integer ? JsonToken::kInteger : JsonToken::kFloat;
}

Status JsonTokens::string() {
  content_.clear();
  lone_surrogate_ = false;
  ++pos_;
  while (pos_ < text_.size()) {
    // Runs of plain ASCII go over in one piece.
    std::size_t run = pos_;
    while (run < text_.size() && text_[run] >= 0x20 && text_[run] != '"' && text_[run] != '\\' &&
           static_cast<unsigned char>(text_[run]) < 0x80) {
      ++run;
    }
    content_.append(text_, pos_, run - pos_);
    pos_ = run;
    if (pos_ == text_.size()) break;
    const auto c = static_cast<unsigned char>(text_[pos_]);
    if (c == '"') {
      ++pos_;
      return {};
    }
    if (c == '\\') {
      MLXMILL_TRY(escape());
    } else if (c < 0x20) {
      return error_at(pos_, fmt::format("control character U+{:04X} in a string", int{c}));
    } else {
      if (!next_code_point(text_, run, false)) return error_at(pos_, "not UTF-8");
      content_.append(text_, pos_, run - pos_);
      pos_ = run;
    }
  }
  return error("the text ends inside a string");
}

Status JsonTokens::escape() {
  static constexpr std::string_view kLetters = "\"\\/bfnrt";
  static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
  const std::size_t backslash = pos_++;
  if (pos_ >= text_.size()) return error("the text ends inside a string");
  const std::size_t known = kLetters.find(text_[pos_]);
  if (known != std::string_view::npos) {
    content_ += kMeanings[known];
    ++pos_;
    return {};
  }
  if (text_[pos_] != 'u') return error_at(backslash, "unknown escape in a string");
  ++pos_;
  MLXMILL_ASSIGN(std::uint32_t code_point, four_hex_digits());
  if (code_point >= 0xD800 && code_point <= 0xDBFF && text_.substr(pos_, 2) == "\\u") {
    const std::size_t second = pos_;
    pos_ += 2;
    MLXMILL_ASSIGN(const std::uint32_t low, four_hex_digits());
    if (low >= 0xDC00 && low <= 0xDFFF) {
      code_point = 0x10000 + ((code_point - 0xD800) << 10) + (low - 0xDC00);
    } else {
      pos_ = second;
    }
  }
  if (is_surrogate(code_point)) lone_surrogate_ = true;
  append_utf8(content_, code_point);
  return {};
}

Result<std::uint32_t> JsonTokens::four_hex_digits() {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i, ++pos_) {
    const char c = pos_ < text_.size() ? text_[pos_] : '\0';
    std::uint32_t digit = 0;
    if (base::is_digit(c)) {
      digit = static_cast<std::uint32_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<std::uint32_t>(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<std::uint32_t>(c - 'A') + 10;
    } else {
      return unexpected("four hexadecimal digits");
    }
    value = value * 16 + digit;
  }
  return value;
}

}  // namespace mlxmill::formats
