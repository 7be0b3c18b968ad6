#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <variant>
#include <vector>

#include "formats/json.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

using base::Array;
using base::Member;
using base::Object;
using base::Value;

void append_unit(std::string& out, std::uint32_t utf16_unit) {
  out += fmt::format("\\u{:04x}", utf16_unit);
}

}  // namespace

// Python's ensure_ascii: all but printable ASCII as \uXXXX, in UTF-16 units.
void append_json_quoted(std::string& out, std::string_view text) {
  static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  out += '"';
  std::size_t pos = 0;
  while (pos < text.size()) {
    const auto code_point = next_code_point(text, pos, true);
    if (!code_point) {
      // Not from parse_json: only a caller can put bytes here that are no text.
      append_unit(out, 0xFFFD);
      ++pos;
      continue;
    }
    const std::size_t special =
        *code_point < 0x80 ? kEscaped.find(static_cast<char>(*code_point)) : std::string_view::npos;
    if (special != std::string_view::npos) {
      out += '\\';
      out += kLetters[special];
    } else if (*code_point >= 0x20 && *code_point < 0x7F) {
      out += static_cast<char>(*code_point);
    } else if (*code_point < 0x10000) {
      append_unit(out, *code_point);
    } else {
      append_unit(out, 0xD800 + ((*code_point - 0x10000) >> 10));
      append_unit(out, 0xDC00 + ((*code_point - 0x10000) & 0x3FF));
    }
  }
  out += '"';
}

namespace {

std::string_view tag_of(double value) {
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

class Writer {
 public:
  explicit Writer(int indent) : indent_(indent) {}

  void write(const Value& value, int level) {
    std::visit([&](const auto& v) { put(v, level); }, value.variant());
  }

  void write_members(const std::vector<const Member*>& members, int level) {
    items('{', '}', members.size(), level, [&](std::size_t i) {
      append_json_quoted(out_, members[i]->key);
      out_ += ": ";
      write(members[i]->value, level + 1);
    });
  }

  std::string take() { return std::move(out_); }

 private:
  void put(std::monostate, int) { out_ += "null"; }
  void put(bool value, int) { out_ += value ? "true" : "false"; }
  void put(std::int64_t value, int) { out_ += fmt::format("{}", value); }
  void put(const base::BigInteger& value, int) { out_ += value.digits; }
  void put(const std::string& value, int) { append_json_quoted(out_, value); }
  void put(double value, int level) {
    if (std::isfinite(value)) {
      out_ += python_float(value);
    } else {
      put(Object{{"__float__", Value(tag_of(value))}}, level);
    }
  }
  void put(const Array& values, int level) {
    items('[', ']', values.size(), level, [&](std::size_t i) { write(values[i], level + 1); });
  }
  void put(const Object& object, int level) {
    std::vector<const Member*> members;
    members.reserve(object.size());
    for (const Member& member : object) members.push_back(&member);
    write_members(members, level);
  }

  template <typename Item>
  void items(char open, char close, std::size_t count, int level, const Item& item) {
    out_ += open;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out_ += indent_ < 0 ? ", " : ",";
      new_line(level + 1);
      item(i);
    }
    if (count > 0) new_line(level);
    out_ += close;
  }

  void new_line(int level) {
    if (indent_ < 0) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(indent_) * static_cast<std::size_t>(level), ' ');
  }

  int indent_;
  std::string out_;
};

}  // namespace

std::string dump_json(const Value& value, const JsonStyle& style) {
  Writer writer(style.indent);
  const Object* object = value.as_object();
  if (!style.sort_keys || !object) {
    writer.write(value, 0);
    return writer.take();
  }
  std::vector<const Member*> members;
  members.reserve(object->size());
  for (const Member& member : *object) members.push_back(&member);
  // Bytes of UTF-8 sort as Python sorts code points.
  std::stable_sort(members.begin(), members.end(),
                   [](const Member* a, const Member* b) { return a->key < b->key; });
  writer.write_members(members, 0);
  return writer.take();
}

std::string python_float(double value) {
  // fmt gives the shortest digits that read back as the same double; where it puts the point
  // differs between its versions, so the digits are laid out anew.
  const std::string shortest = fmt::format("{}", std::abs(value));
  std::string digits;
  int point = 0;  // The value is 0.DIGITS times ten to this power.
  int exponent = 0;
  bool seen_point = false;
  for (std::size_t i = 0; i < shortest.size(); ++i) {
    if (shortest[i] == '.') {
      seen_point = true;
    } else if (shortest[i] == 'e') {
      exponent = std::stoi(shortest.substr(i + 1));
      break;
    } else {
      if (!seen_point) ++point;
      digits += shortest[i];
    }
  }
  point += exponent;
  const std::size_t zeros = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  digits.erase(0, zeros);
  point -= static_cast<int>(zeros);
  digits.erase(std::max<std::size_t>(digits.find_last_not_of('0') + 1, 1));
  if (digits == "0") point = 1;

  std::string text = std::signbit(value) ? "-" : "";
  const int count = static_cast<int>(digits.size());
  // CPython's float_repr: exponents below -4 and from 16 on are written as such.
  if (point - 1 < -4 || point - 1 >= 16) {
    text += digits[0];
    if (count > 1) text += "." + digits.substr(1);
    text += fmt::format("e{}{:02}", point < 1 ? '-' : '+', std::abs(point - 1));
  } else if (point <= 0) {
    text += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else if (point >= count) {
    text += digits + std::string(static_cast<std::size_t>(point - count), '0') + ".0";
  } else {
    text += digits.substr(0, static_cast<std::size_t>(point)) + "." +
            digits.substr(static_cast<std::size_t>(point));
  }
  return text;
}

}  // namespace mlxmill::formats
