// A dynamic value as JSON and TOML files hold them: what config.json is read into.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mlxmill::base {

class Value;
struct Member;
using Array = std::vector<Value>;
/// Members in the order of the file.
using Object = std::vector<Member>;

/// An integer as the file spells it: Python keeps any number of digits, so the text is the value.
struct BigInteger {
  std::string digits;
  friend bool operator==(const BigInteger&, const BigInteger&) = default;
};

/// null, bool, integer (64-bit, or its digits when larger), float, string, array or object.
class Value {
 public:
  using Variant = std::variant<std::monostate, bool, std::int64_t, BigInteger, double, std::string,
                               Array, Object>;

  Value();
  Value(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(const Value& other);
  Value& operator=(Value&& other) noexcept;
  ~Value();
  Value(bool v);
  Value(std::int64_t v);
  Value(int v);
  Value(BigInteger v);
  Value(double v);
  Value(std::string v);
  Value(std::string_view v);
  Value(const char* v);
  Value(Array v);
  Value(Object v);

  bool is_null() const { return std::holds_alternative<std::monostate>(v_); }
  const bool* as_bool() const { return std::get_if<bool>(&v_); }
  const std::int64_t* as_int() const { return std::get_if<std::int64_t>(&v_); }
  const BigInteger* as_big_integer() const { return std::get_if<BigInteger>(&v_); }
  const double* as_float() const { return std::get_if<double>(&v_); }
  const std::string* as_string() const { return std::get_if<std::string>(&v_); }
  const Array* as_array() const { return std::get_if<Array>(&v_); }
  const Object* as_object() const { return std::get_if<Object>(&v_); }
  Array* as_array() { return std::get_if<Array>(&v_); }
  Object* as_object() { return std::get_if<Object>(&v_); }

  /// The member of that name, or null when this is no object or has none.
  const Value* find(std::string_view key) const;
  /// Replaces or appends a member. Requires an object (a null value becomes an empty one).
  void set(std::string_view key, Value value);
  /// Removes a member; false when there was none.
  bool erase(std::string_view key);

  /// "an object", "a string", ...: for error messages.
  std::string_view type_name() const;

  const Variant& variant() const { return v_; }
  friend bool operator==(const Value& a, const Value& b);

 private:
  Variant v_;
};

struct Member {
  std::string key;
  Value value;
};

// Here, where Member is complete: clang makes the variant's destructor with the first constructor
// it sees.
inline Value::Value() = default;
inline Value::Value(const Value& other) = default;
inline Value::Value(Value&& other) noexcept = default;
inline Value& Value::operator=(const Value& other) = default;
inline Value& Value::operator=(Value&& other) noexcept = default;
inline Value::~Value() = default;
inline Value::Value(bool v) : v_(v) {}
inline Value::Value(std::int64_t v) : v_(v) {}
inline Value::Value(int v) : v_(std::int64_t{v}) {}
inline Value::Value(BigInteger v) : v_(std::move(v)) {}
inline Value::Value(double v) : v_(v) {}
inline Value::Value(std::string v) : v_(std::move(v)) {}
inline Value::Value(std::string_view v) : v_(std::string(v)) {}
inline Value::Value(const char* v) : v_(std::string(v)) {}
inline Value::Value(Array v) : v_(std::move(v)) {}
inline Value::Value(Object v) : v_(std::move(v)) {}

inline bool operator==(const Member& a, const Member& b) {
  return a.key == b.key && a.value == b.value;
}
inline bool operator==(const Value& a, const Value& b) { return a.v_ == b.v_; }

}  // namespace mlxmill::base
