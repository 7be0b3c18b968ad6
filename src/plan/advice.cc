#include "plan/advice.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/free_space.h"

namespace mlxmill::plan {
namespace {

bool is_affine(const PlanRow& row) {
  return row.problem.empty() && row.scheme && row.scheme->mode == Mode::kAffine;
}

std::string what(const PlanRow& row) { return row.scheme ? describe(*row.scheme) : "16-bit"; }

std::string needs(const PlanRow& row, const ModelPlan& plan) {
  return fmt::format("{} of {} at {} tokens", io::format_bytes(row.run_bytes),
                     io::format_bytes(plan.machine.usable_bytes), plan.context);
}

bool current(const PublishedModel& model) {
  return model.revision == "this revision" || model.revision.starts_with("newer");
}

bool in_table(const PublishedModel& model, const ModelPlan& plan) {
  if (!model.scheme) return model.coding == "16-bit";
  return std::any_of(plan.rows.begin(), plan.rows.end(),
                     [&](const PlanRow& row) { return row.scheme == model.scheme; });
}

/// What a source has lost, more bits do not bring back.
bool grows(const PlanRow& row, const ModelPlan& plan) {
  return plan.quantized_source && row.output_bytes > plan.source_bytes;
}

void judge(PublishedModel& model, const ModelPlan& plan) {
  if (!in_table(model, plan)) {
    model.verdict = "take it only for its own settings: the table has none like them";
  } else if (model.revision == "another revision") {
    model.verdict = "make your own: it is of another revision";
  } else if (model.revision.starts_with("older")) {
    model.verdict = "make your own if the weights were changed since: it is older";
  } else if (model.revision == "unknown") {
    model.verdict = "make your own to be sure: nothing says of which revision it is";
  } else {
    model.take = true;
    model.verdict = "take it: same settings, same or later revision";
  }
}

}  // namespace

void recommend(ModelPlan& plan) {
  if (plan.machine.usable_bytes == 0) {
    plan.recommendation = "The machine's memory is unknown: say --ram to have a row chosen.";
    return;
  }
  const PlanRow* smallest = nullptr;
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    const PlanRow& row = plan.rows[i];
    if (!is_affine(row)) continue;
    if (!smallest || row.run_bytes < smallest->run_bytes) smallest = &row;
    if (!row.fits.value_or(false) || plan.recommended || grows(row, plan)) continue;
    plan.recommended = i;
    std::string why = "the most bits that fit";
    if (row.scheme->bits == 8 && !plan.quantized_source)
      why = "next to nothing is lost and it fits";
    if (row.scheme->bits <= 3) why += ", though so few cost much: mlxmill eval says how much";
    if (plan.quantized_source)
      why += ", no larger than the source, which is quantized already (the original gives more)";
    plan.recommendation = fmt::format("Make {} (mlxmill convert {} {}): {}, {}.", what(row),
                                      plan.model, row.flags, why, needs(row, plan));
  }
  if (!plan.recommended && smallest) {
    plan.recommendation = fmt::format(
        "Nothing fits: even {} needs {}; try a smaller model or a "
        "smaller --context.",
        what(*smallest), needs(*smallest, plan));
  }
  if (!smallest) plan.recommendation = "No quantized row can be made of this model.";
}

void make_or_take(ModelPlan& plan) {
  for (PublishedModel& model : plan.published) judge(model, plan);
  if (plan.published.empty()) {
    plan.make_or_take =
        "Make it: no MLX conversion of this model was found, as for a fine-tune of your own.";
    return;
  }
  if (!plan.recommended) return;
  const PlanRow& row = plan.rows[*plan.recommended];
  const PublishedModel* same = nullptr;
  for (const PublishedModel& model : plan.published) {
    if (model.scheme != row.scheme) continue;
    if (!same || (model.take && !same->take)) same = &model;
  }
  if (!same) {
    plan.make_or_take = fmt::format("Make it: nobody has published {}.", what(row));
  } else if (same->take) {
    plan.make_or_take =
        fmt::format("Take {}: it is {}, {}; your own would have the same settings and size.",
                    same->name, what(row), same->revision);
  } else if (current(*same)) {
    plan.make_or_take = fmt::format("Make it: {} has other settings.", same->name);
  } else {
    plan.make_or_take =
        fmt::format("Make it: {} is {}, but its revision is {}.", same->name, what(row),
                    same->revision == "unknown" ? "not known" : same->revision);
  }
  if (plan.gated)
    plan.make_or_take += " The source is gated: making it needs a token that was let in.";
}

}  // namespace mlxmill::plan
