// rename: another name.  copy: a second name, where nothing has it yet.
#include "architectures/rules/rules.h"

namespace mlxmill::architectures::rules {
namespace {

class Rename final : public Rule {
 public:
  Rename(RuleHead head, Template to, bool keeps)
      : Rule(std::move(head)), to_(std::move(to)), keeps_(keeps) {}

  Status apply(Work& work) const override {
    return rewrite(work, [&](const Match& match, std::vector<TensorView>& out) -> Status {
      TensorView renamed = match.view;
      renamed.name = to_.expand(match.captures);
      if (keeps_) out.push_back(match.view);
      if (!keeps_ || !work.tensors.has(renamed.name)) out.push_back(std::move(renamed));
      return {};
    });
  }

 private:
  Template to_;
  bool keeps_;
};

Result<std::unique_ptr<Rule>> make(RuleReader& reader, bool keeps) {
  MLXMILL_ASSIGN(Template to, reader.name("to"));
  return std::unique_ptr<Rule>(std::make_unique<Rename>(reader.head(), std::move(to), keeps));
}

}  // namespace

Result<std::unique_ptr<Rule>> make_rename(RuleReader& reader) { return make(reader, false); }
Result<std::unique_ptr<Rule>> make_copy(RuleReader& reader) { return make(reader, true); }

}  // namespace mlxmill::architectures::rules
