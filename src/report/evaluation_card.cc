// The evaluation as lines of a model card.
#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "formats/model_card.h"
#include "io/file.h"
#include "mlxmill/evaluate.h"
#include "mlxmill/version.h"
#include "report/html.h"

namespace mlxmill {
namespace {

constexpr std::uint64_t kMaxCardBytes = 16 << 20;
constexpr const char* kHeading = "What quantization cost";

}  // namespace

std::string evaluation_card(const EvalReport& r) {
  const bool compared = std::any_of(r.models.begin(), r.models.end(),
                                    [](const EvalModel& m) { return m.total.comparison; });
  const bool scored = !r.models.empty() && r.models.front().total.positions > 0;
  if (!scored) return "";
  std::string t =
      compared ? "| Model | Size | Bits per weight | KL divergence | Same top token | "
                 "Perplexity |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
               : "| Model | Size | Bits per weight | Perplexity |\n| --- | ---: | ---: | ---: "
                 "|\n";
  for (const EvalModel& m : r.models) {
    std::string name;
    for (const char c : m.name) name += c == '|' || c == '\n' || c == '`' ? '_' : c;
    t += fmt::format("| `{}` | {} | {} | ", name, m.bytes > 0 ? report::size(m.bytes) : "",
                     m.bits_per_weight > 0 ? fmt::format("{:.3f}", m.bits_per_weight) : "");
    if (m.total.comparison) {
      const Comparison& c = *m.total.comparison;
      t += fmt::format("{} | {} | ", report::with_error(c.kl), report::percent(c.same_top.value));
    }
    t += report::with_error(m.total.perplexity) + " |\n";
  }
  t += fmt::format("\nMeasured with mlxmill {}: {}, {} tokens", version(), r.protocol,
                   r.models.front().total.positions);
  if (!r.reference.empty()) t += ", against " + r.reference;
  return t + (r.complete ? ".\n" : "; partial.\n");
}

Status write_evaluation_card(const EvalReport& report, const EvalModel& model) {
  namespace fs = std::filesystem;
  const fs::path card = model.path / "README.md";
  if (!report.complete || model.total.positions == 0) {
    return Error(Code::kUsage, "only a complete evaluation goes into a model card").at(model.name);
  }
  std::error_code ignored;
  if (fs::is_symlink(fs::symlink_status(card, ignored))) {
    return Error(Code::kUsage, "is a link, into the cache of the Hub most likely")
        .at(card.string())
        .hint("only cards of folders of your own are written");
  }
  MLXMILL_ASSIGN(const std::string text, io::read_text(card, kMaxCardBytes));
  EvalReport one = report;
  one.models = {model};
  std::string changed = formats::with_card_section(text, kHeading, evaluation_card(one));
  if (changed == text) return {};
  fs::path unfinished = card;
  unfinished += ".unfinished";
  MLXMILL_TRY(io::write_text(unfinished, changed));
  std::error_code error;
  fs::rename(unfinished, card, error);
  if (error) return io::system_error(error.value(), "cannot be replaced", card);
  return {};
}

}  // namespace mlxmill
