// Reading a table of [forward]: module paths, numbers and conditions, evaluated for one layer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "architectures/forward/blocks.h"
#include "architectures/forward/parts.h"
#include "architectures/language.h"
#include "architectures/scope.h"

namespace mlxmill::architectures {

/// What all tables of one [forward] share.
struct FormContext {
  Scope& scope;
  std::string_view file_name;
  std::string at;  ///< Path before every module's, with its dot; empty outside of layers.
  NormSpec norm;   ///< What norms are unless they say otherwise.
};

/// One table. Every error is kInvalidInput at `file:line`.
class Form {
 public:
  Form(const Node& table, const FormContext& context)
      : table_(table, context.file_name), node_(table), context_(context) {}

  bool has(std::string_view key) { return table_.find(key) != nullptr; }
  /// The entry as written; null when there is none.
  const Node* raw(std::string_view key) { return table_.find(key); }

  /// A module's or a tensor's path: "self_attn.q_proj", with {names} filled in, below the layer's
  /// path unless it begins with "/". `{ at = ..., when = ... }` may be absent. Empty when absent.
  Result<std::string> path(std::string_view key);
  /// The same, which must be there.
  Result<std::string> needed_path(std::string_view key);

  /// Expressions. Null is as good as no entry; where there is none, `fallback` is evaluated if
  /// given.
  Result<std::optional<double>> maybe_number(std::string_view key, std::string_view fallback = {});
  Result<double> number(std::string_view key, double fallback);
  Result<std::optional<std::int64_t>> maybe_integer(std::string_view key,
                                                    std::string_view fallback = {});
  Result<std::int64_t> integer(std::string_view key, std::int64_t fallback);
  /// An integer of at least 1 that must be there.
  Result<std::int64_t> count(std::string_view key);
  Result<bool> condition(std::string_view key, bool fallback);
  Result<base::Value> value(std::string_view key, std::string_view fallback = {});
  Result<Activation> activation(std::string_view key, Activation fallback);

  /// One of the words, by its place; 0 when there is no entry.
  Result<std::size_t> word(std::string_view key, const std::vector<std::string_view>& words);

  /// "input_layernorm", or { at, kind, epsilon, offset, when }.
  Result<NormSpec> norm(std::string_view key);
  /// { dims, base, scaling, traditional, max_positions, when }: see rope.cc. What is left out comes
  /// from where config.json usually has it.
  Result<RopeSpec> rope(std::string_view key);

  /// { scale, every, from, when }.
  Result<TemperatureSpec> temperature(std::string_view key);
  /// A string as it is; empty when absent.
  Result<std::string> text(std::string_view key);

  /// A table below; nothing when absent or its `when` does not hold.
  Result<std::optional<Form>> form(std::string_view key);
  /// Whether the table's own `when` holds.
  Result<bool> applies() { return condition("when", true); }

  Status finish() const { return table_.finish(); }
  Error error(std::string_view what) const { return table_.error(node_, what); }
  const FormContext& context() const { return context_; }

 private:
  Result<std::string> path_of(const Node& node);
  Result<std::optional<base::Value>> evaluate(std::string_view key, std::string_view fallback);
  Error wrong(std::string_view key, const base::Value& got, std::string_view expected);

  TableReader table_;
  const Node& node_;
  const FormContext& context_;
};

/// An activation by the name transformers gives it. Empty for one that is not known.
std::optional<Activation> activation_named(std::string_view name);

}  // namespace mlxmill::architectures
