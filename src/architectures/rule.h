// A rule: one step that turns the source's tensors into the converted model's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "architectures/declaration.h"
#include "architectures/language.h"
#include "architectures/pattern.h"
#include "architectures/scope.h"
#include "architectures/tensor_table.h"
#include "mlxmill/result.h"

namespace mlxmill::architectures {

/// What a rule works on.
struct Work {
  TensorTable& tensors;
  Scope& scope;
  std::vector<Dropped>& dropped;
  bool exact_norms = false;  ///< Arithmetic in float32; sums stay so.
};

/// What every rule has: the tensors it is about, and when.
struct RuleHead {
  std::vector<Pattern> patterns;
  std::optional<Expression> when;
  std::string why;
  std::string file_name;
  std::uint32_t line = 0;
};

/// Threads: immutable.
class Rule {
 public:
  virtual ~Rule() = default;
  virtual Status apply(Work& work) const = 0;

 protected:
  /// One tensor a rule applies to. `captures` and the variables `shape` and `dtype` are set in
  /// `scope`.
  struct Match {
    const TensorView& view;
    const Captures& captures;
    const Scope& scope;
  };
  /// Puts what becomes of a tensor into `out`.
  using Visit = std::function<Status(const Match& match, std::vector<TensorView>& out)>;

  explicit Rule(RuleHead head) : head_(std::move(head)) {}

  /// Visits every tensor that matches and lets the others pass.
  Status rewrite(Work& work, const Visit& visit) const;

  std::string where() const;
  const RuleHead& head() const { return head_; }

 private:
  RuleHead head_;
};

/// Reads the table of one rule.
class RuleReader {
 public:
  RuleReader(TableReader& table, RuleHead head) : table_(table), head_(std::move(head)) {}

  const RuleHead& head() const { return head_; }
  TableReader& table() { return table_; }

  /// The names a rule gives: at least one, every gap captured by every pattern.
  Result<std::vector<Template>> templates(std::string_view key);
  /// Exactly one name.
  Result<Template> name(std::string_view key);
  Result<std::optional<Expression>> expression(std::string_view key);
  /// A non-empty list of expressions; empty when the key is absent.
  Result<std::vector<Expression>> expressions(std::string_view key);
  Result<std::optional<std::int64_t>> integer(std::string_view key);

 private:
  TableReader& table_;
  RuleHead head_;
};

/// Reads one [[rules]] table: the key that names its kind decides (rules/registry.cc).
Result<std::unique_ptr<Rule>> parse_rule(const Node& node, std::string_view file_name);

/// Errors: kInvalidInput for a tensor of another type than mlx computes with.
Status check_float(const TensorView& view);

/// An axis counted from either end. Errors: kInvalidInput when the tensor has no such axis.
Result<std::size_t> axis_of(const TensorView& view, std::int64_t axis);

}  // namespace mlxmill::architectures
