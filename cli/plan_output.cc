#include "plan_output.h"

#include <fmt/format.h>

#include "json_output.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

std::string coding_of(const PlanRow& row) { return row.scheme ? describe(*row.scheme) : "16-bit"; }

std::string rows_text(const ModelPlan& plan) {
  using Align = Table::Align;
  Table table({Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight,
               Align::kLeft, Align::kLeft});
  table.add({"coding", "output bytes", "bpw", "size", "to run", "fits", "flags of convert"});
  for (const PlanRow& row : plan.rows) {
    if (!row.problem.empty()) {
      table.add({coding_of(row), "-", "-", "-", "-", "-", printable(row.problem)});
      continue;
    }
    table.add({coding_of(row), format_exact(row.output_bytes),
               fmt::format("{:.3f}", row.bits_per_weight), format_bytes(row.output_bytes),
               format_bytes(row.run_bytes),
               !row.fits   ? "?"
               : *row.fits ? "yes"
                           : "no",
               row.flags});
  }
  return table.text("  ");
}

std::string published_text(const ModelPlan& plan) {
  using Align = Table::Align;
  Table table(
      {Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft, Align::kRight, Align::kLeft});
  table.add({"published", "coding", "bpw", "date", "downloads", "verdict"});
  for (const PublishedModel& model : plan.published) {
    table.add({printable(model.name), printable(model.coding),
               fmt::format("{:.3f}", model.bits_per_weight),
               printable(model.last_modified.substr(0, 10)), format_exact(model.downloads),
               printable(fmt::format("{} ({})", model.verdict, model.revision))});
  }
  return table.text("  ");
}

void add_machine(const ModelPlan& plan, Summary& summary) {
  const PlanMachine& machine = plan.machine;
  if (machine.usable_bytes == 0) {
    summary.add("machine", "its memory is unknown");
    return;
  }
  summary.add("machine",
              fmt::format("{}, of which {} for a model ({})", format_bytes(machine.total_bytes),
                          format_bytes(machine.usable_bytes), printable(machine.source)));
}

void add_probe(const ModelPlan& plan, Summary& summary) {
  if (!plan.probe) return;
  const PlanProbe& probe = *plan.probe;
  const auto rate = static_cast<std::uint64_t>(probe.bytes_per_second);
  summary.add(
      "time",
      {fmt::format("{} to read the source at {}/s ({} were read for this{})",
                   format_seconds(probe.read_seconds), format_bytes(rate),
                   format_bytes(probe.bytes), plan.commit.empty() ? "" : ", over one connection"),
       fmt::format("{} to quantize it at {} weights/s ({}), without the disk",
                   format_seconds(probe.quantize_seconds),
                   format_count(static_cast<std::uint64_t>(probe.weights_per_second)),
                   plural(static_cast<std::uint64_t>(probe.threads), "thread"))});
}

Json row_json(const PlanRow& row) {
  return {{"coding", coding_of(row)},
          {"scheme", scheme_json(row.scheme)},
          {"flags", row.flags},
          {"output_bytes", row.output_bytes},
          {"bits_per_weight", row.bits_per_weight},
          {"weight_bytes", row.weight_bytes},
          {"cache_bytes", row.cache_bytes},
          {"run_bytes", row.run_bytes},
          {"fits", row.fits ? Json(*row.fits) : Json(nullptr)},
          {"problem", row.problem}};
}

Json published_json(const PublishedModel& model) {
  return {{"name", model.name},
          {"commit", model.commit},
          {"last_modified", model.last_modified},
          {"downloads", model.downloads},
          {"coding", model.coding},
          {"scheme", scheme_json(model.scheme)},
          {"weight_bytes", model.weight_bytes},
          {"bits_per_weight", model.bits_per_weight},
          {"base_revision", model.base_revision},
          {"revision", model.revision},
          {"take", model.take},
          {"verdict", model.verdict}};
}

Json probe_json(const std::optional<PlanProbe>& probe) {
  if (!probe) return nullptr;
  return {{"bytes", probe->bytes},
          {"bytes_per_second", probe->bytes_per_second},
          {"weights_per_second", probe->weights_per_second},
          {"threads", probe->threads},
          {"read_seconds", probe->read_seconds},
          {"quantize_seconds", probe->quantize_seconds}};
}

}  // namespace

std::string plan_text(const ModelPlan& plan) {
  Summary summary;
  std::string model = printable(plan.model);
  if (!plan.commit.empty()) model += fmt::format(" at commit {}", plan.commit);
  if (!plan.last_modified.empty())
    model += ", last changed " + printable(plan.last_modified.substr(0, 10));
  summary.add("model", model);
  summary.add("family", fmt::format("{} ({})", printable(plan.family), printable(plan.model_type)));
  summary.add("parameters",
              fmt::format("{} ({})", format_count(plan.parameters), format_exact(plan.parameters)));
  summary.add("source", format_bytes(plan.source_bytes) +
                            (plan.source_method.empty() ? "" : ", " + plan.source_method));
  add_machine(plan, summary);
  if (plan.runs) {
    std::string cache = fmt::format("{} at {} tokens",
                                    format_bytes(plan.rows.empty() ? 0 : plan.rows[0].cache_bytes),
                                    format_exact(static_cast<std::uint64_t>(plan.context)));
    summary.add("cache", cache);
  }
  add_probe(plan, summary);
  if (plan.bytes_received > 0) {
    summary.add("fetched",
                fmt::format("{} for the table, {} in all", format_bytes(plan.header_bytes),
                            format_bytes(plan.bytes_received)));
  }
  std::string text = summary.text() + "\n" + rows_text(plan);
  if (!plan.published.empty()) text += "\n" + published_text(plan);
  text += "\n" + printable(plan.recommendation) + "\n";
  if (!plan.make_or_take.empty()) text += printable(plan.make_or_take) + "\n";
  for (const std::string& note : plan.notes) text += "note: " + printable(note) + "\n";
  return text;
}

void print_plan_json(const ModelPlan& plan) {
  Json rows = Json::array();
  for (const PlanRow& row : plan.rows) rows.push_back(row_json(row));
  Json published = Json::array();
  for (const PublishedModel& model : plan.published) published.push_back(published_json(model));
  print_json({{"model", plan.model},
              {"commit", plan.commit},
              {"last_modified", plan.last_modified},
              {"gated", plan.gated},
              {"family", plan.family},
              {"model_type", plan.model_type},
              {"source_method", plan.source_method},
              {"quantized_source", plan.quantized_source},
              {"parameters", plan.parameters},
              {"source_bytes", plan.source_bytes},
              {"context", plan.context},
              {"max_positions", plan.max_positions},
              {"runs", plan.runs},
              {"machine",
               {{"total_bytes", plan.machine.total_bytes},
                {"usable_bytes", plan.machine.usable_bytes},
                {"source", plan.machine.source}}},
              {"rows", std::move(rows)},
              {"probe", probe_json(plan.probe)},
              {"header_bytes", plan.header_bytes},
              {"bytes_received", plan.bytes_received},
              {"recommended", plan.recommended ? Json(*plan.recommended) : Json(nullptr)},
              {"recommendation", plan.recommendation},
              {"published", std::move(published)},
              {"make_or_take", plan.make_or_take},
              {"notes", plan.notes}});
}

}  // namespace mlxmill::cli
