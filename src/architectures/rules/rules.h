// The kinds of rules, one file each. A new kind is a file with its maker, and a line in
// registry.cc.
#pragma once

#include <memory>

#include "architectures/rule.h"

namespace mlxmill::architectures::rules {

using Maker = Result<std::unique_ptr<Rule>> (*)(RuleReader& reader);

Result<std::unique_ptr<Rule>> make_add(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_concat(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_constant(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_copy(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_decode(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_drop(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_fold(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_log_of_negative(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_multiply(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_normalize(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_refuse(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_rename(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_residual_gate(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_reshape(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_split(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_squeeze(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_stack(RuleReader& reader);
Result<std::unique_ptr<Rule>> make_transpose(RuleReader& reader);

}  // namespace mlxmill::architectures::rules
