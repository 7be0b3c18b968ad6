// Result<T>: a value or an Error. The names are those of std::expected.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "mlxmill/error.h"

namespace mlxmill {

/// A `T`, or the Error that kept it from being made. Must be looked at before it is used:
/// `value()` on an error is a defect of the caller (std::bad_variant_access).
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  bool has_value() const { return ok(); }
  explicit operator bool() const { return ok(); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace mlxmill

#define MLXMILL_CONCAT_INNER(a, b) a##b
#define MLXMILL_CONCAT(a, b) MLXMILL_CONCAT_INNER(a, b)

/// Returns the error of a Status or Result expression from the enclosing function.
#define MLXMILL_TRY(expression) \
  MLXMILL_TRY_INNER(MLXMILL_CONCAT(mlxmill_status_, __COUNTER__), expression)
#define MLXMILL_TRY_INNER(status, expression)      \
  do {                                             \
    auto status = (expression);                    \
    if (!status) return std::move(status).error(); \
  } while (false)

/// Declares `lhs` from a Result, or returns its error from the enclosing function.
#define MLXMILL_ASSIGN(lhs, expression) \
  MLXMILL_ASSIGN_INNER(MLXMILL_CONCAT(mlxmill_result_, __COUNTER__), lhs, expression)
#define MLXMILL_ASSIGN_INNER(result, lhs, expression) \
  auto result = (expression);                         \
  if (!result) return std::move(result).error();      \
  lhs = *std::move(result)
