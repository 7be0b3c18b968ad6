#include "base/value.h"

#include <algorithm>
#include <array>

namespace mlxmill::base {

const Value* Value::find(std::string_view key) const {
  const Object* object = as_object();
  if (!object) return nullptr;
  const auto it =
      std::find_if(object->begin(), object->end(), [&](const Member& m) { return m.key == key; });
  return it == object->end() ? nullptr : &it->value;
}

void Value::set(std::string_view key, Value value) {
  if (is_null()) v_ = Object{};
  Object& object = std::get<Object>(v_);
  const auto it =
      std::find_if(object.begin(), object.end(), [&](const Member& m) { return m.key == key; });
  if (it != object.end()) {
    it->value = std::move(value);
  } else {
    object.push_back({std::string(key), std::move(value)});
  }
}

bool Value::erase(std::string_view key) {
  Object* object = as_object();
  if (!object) return false;
  const auto it =
      std::find_if(object->begin(), object->end(), [&](const Member& m) { return m.key == key; });
  if (it == object->end()) return false;
  object->erase(it);
  return true;
}

std::string_view Value::type_name() const {
  static constexpr std::array<std::string_view, 8> kNames = {
      "null",     "a boolean", "an integer", "an integer",
      "a number", "a string",  "an array",   "an object"};
  return kNames[v_.index()];
}

}  // namespace mlxmill::base
