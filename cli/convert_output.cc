#include "convert_output.h"

#include <fmt/format.h>

#include "mlxmill/version.h"
#include "plan_groups.h"
#include "table.h"

namespace mlxmill::cli {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Source bytes this run had to read, per second.
double source_gb_per_second(const ConvertReport& report) {
  const std::uint64_t read =
      report.plan.source_bytes - std::min(report.bytes_resumed, report.plan.source_bytes);
  return report.seconds > 0 ? static_cast<double>(read) / 1e9 / report.seconds : 0.0;
}

std::string output_text(const std::string& path, const Plan& plan) {
  return fmt::format("{}, {} in {} and {} of copied files", printable(path),
                     format_bytes(plan.output_bytes), plural(plan.file_bytes.size(), "weight file"),
                     format_bytes(plan.copied_bytes));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

std::vector<std::string> coding_lines(const Plan& plan) {
  using Align = Table::Align;
  Table table({Align::kLeft, Align::kRight, Align::kRight, Align::kRight});
  for (const CodingGroup& group : coding_groups(plan)) {
    table.add({group.coding, plural(group.modules, "module"),
               format_count(group.parameters) + " parameters",
               fmt::format("{:.1f} %", percent(group.parameters, plan.parameters))});
  }
  return lines_of(table.text());
}

std::vector<std::string> kept_lines(const Plan& plan, bool by_name) {
  std::vector<std::string> lines;
  for (const KeptGroup& group : kept_groups(plan)) {
    lines.push_back(printable(describe(group)));
    if (!by_name) continue;
    for (const std::string& path : group.paths) lines.push_back("  " + printable(path));
  }
  return lines;
}

// Every rule of the recipe: where it stands, what it says, what it decided.
std::vector<std::string> rule_lines(const Plan& plan) {
  using Align = Table::Align;
  Table table({Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kLeft});
  for (const PlannedRule& rule : plan.rules) {
    table.add({printable(rule.where), rule.settings, plural(rule.modules, "module"),
               format_count(rule.parameters) + " parameters", printable(rule.match)});
  }
  return lines_of(table.text());
}

// What a plan and a finished conversion have in common.
Summary plan_summary(const ConvertOptions& options, const Plan& plan, bool verbose) {
  Summary summary;
  summary.add("source", fmt::format("{}, {} of {} weights", printable(options.source.string()),
                                    format_bytes(plan.source_bytes), printable(plan.model_type)));
  summary.add("output", output_text(options.output.string(), plan));
  summary.add("bits per weight",
              fmt::format("{:.3f} (file bytes x 8 / parameters)", plan.bits_per_weight));
  summary.add("parameters", format_count(plan.parameters));
  summary.add("coding", coding_lines(plan));
  summary.add("not quantized", kept_lines(plan, verbose));
  summary.add("rules", rule_lines(plan));
  return summary;
}

std::string fate(const PlannedModule* module) {
  if (module == nullptr) return "";
  if (module->scheme) return describe(*module->scheme);
  return module->reason.empty() ? "kept" : "kept: " + printable(module->reason);
}

std::string tensors_text(const Plan& plan) {
  using Align = Table::Align;
  const ModuleIndex index(plan);
  Table table({Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft, Align::kLeft,
               Align::kLeft});
  const bool many_files = plan.file_bytes.size() > 1;
  table.add({"TENSOR", "DTYPE", "SHAPE", "BYTES", "CODING", plan.rules.empty() ? "" : "RULE",
             many_files ? "FILE" : ""});
  for (const PlannedTensor& tensor : plan.tensors) {
    const PlannedModule* module = index.find(tensor.name);
    table.add({printable(tensor.name), std::string(dtype_name(tensor.dtype)),
               shape_text(tensor.shape), format_exact(tensor.end - tensor.begin), fate(module),
               module == nullptr ? "" : printable(module->rule), many_files ? tensor.file : ""});
  }
  for (const DroppedTensor& tensor : plan.dropped) {
    table.add(
        {printable(tensor.name), "-", "-", "0", "dropped: " + printable(tensor.reason), "", ""});
  }
  return table.text();
}

Json groups_json(const Plan& plan) {
  Json coding = Json::array();
  for (const CodingGroup& group : coding_groups(plan)) {
    coding.push_back({{"coding", group.coding},
                      {"scheme", scheme_json(group.scheme)},
                      {"modules", group.modules},
                      {"parameters", group.parameters},
                      {"bytes", group.bytes}});
  }
  return coding;
}

Json kept_json(const Plan& plan) {
  Json kept = Json::array();
  for (const KeptGroup& group : kept_groups(plan)) {
    kept.push_back({{"what", group.what},
                    {"reason", group.reason},
                    {"modules", group.modules},
                    {"paths", group.paths}});
  }
  return kept;
}

Json files_json(const Plan& plan) {
  Json files = Json::array();
  for (const auto& [name, bytes] : plan.file_bytes) {
    files.push_back({{"name", name}, {"bytes", bytes}});
  }
  return files;
}

Json common_json(const ConvertOptions& options, const Plan& plan, bool dry_run,
                 const std::vector<std::string>& warnings) {
  return {{"mlxmill_version", version()},
          {"dry_run", dry_run},
          {"source", options.source.string()},
          {"source_bytes", plan.source_bytes},
          {"output", options.output.string()},
          {"output_bytes", plan.output_bytes},
          {"copied_bytes", plan.copied_bytes},
          {"files", files_json(plan)},
          {"family", plan.family},
          {"model_type", plan.model_type},
          {"parameters", plan.parameters},
          {"bits_per_weight", plan.bits_per_weight},
          {"coding", groups_json(plan)},
          {"not_quantized", kept_json(plan)},
          {"warnings", warnings}};
}

Json tensors_json(const Plan& plan) {
  const ModuleIndex index(plan);
  Json tensors = Json::array();
  for (const PlannedTensor& tensor : plan.tensors) {
    const PlannedModule* module = index.find(tensor.name);
    tensors.push_back({{"name", tensor.name},
                       {"dtype", dtype_name(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"bytes", tensor.end - tensor.begin},
                       {"file", tensor.file},
                       {"begin", tensor.begin},
                       {"end", tensor.end},
                       {"module", module == nullptr ? Json(nullptr) : Json(module->path)}});
  }
  return tensors;
}

Json modules_json(const Plan& plan) {
  Json modules = Json::array();
  for (const PlannedModule& module : plan.modules) {
    modules.push_back({{"path", module.path},
                       {"scheme", scheme_json(module.scheme)},
                       {"reason", module.reason},
                       {"rule", module.rule},
                       {"parameters", module.parameters},
                       {"bytes", module.bytes}});
  }
  return modules;
}

Json rules_json(const Plan& plan) {
  Json rules = Json::array();
  for (const PlannedRule& rule : plan.rules) {
    rules.push_back({{"rule", rule.where},
                     {"match", rule.match},
                     {"settings", rule.settings},
                     {"optional", rule.optional},
                     {"modules", rule.modules},
                     {"parameters", rule.parameters}});
  }
  return rules;
}

}  // namespace

std::string check_text(const std::string& recipe, const Plan& plan) {
  Summary summary;
  summary.add("recipe", printable(recipe));
  summary.add("model", fmt::format("{}, {} parameters", printable(plan.model_type),
                                   format_count(plan.parameters)));
  summary.add("rules", rule_lines(plan));
  summary.add("coding", coding_lines(plan));
  summary.add("not quantized", kept_lines(plan, false));
  summary.add("bits per weight",
              fmt::format("{:.3f} (file bytes x 8 / parameters)", plan.bits_per_weight));
  return summary.text();
}

Json check_json(const std::string& recipe, const Plan& plan) {
  return {{"recipe", recipe},
          {"model_type", plan.model_type},
          {"parameters", plan.parameters},
          {"output_bytes", plan.output_bytes},
          {"bits_per_weight", plan.bits_per_weight},
          {"rules", rules_json(plan)},
          {"coding", groups_json(plan)},
          {"not_quantized", kept_json(plan)},
          {"modules", modules_json(plan)}};
}

std::string report_text(const ConvertOptions& options, const ConvertReport& report, bool verbose) {
  Summary summary = plan_summary(options, report.plan, verbose);
  summary.add("time", fmt::format("{}, {:.2f} GB/s of source ({} of it reading back; {}, {})",
                                  format_seconds(report.seconds), source_gb_per_second(report),
                                  format_seconds(report.seconds_reading_back),
                                  plural(static_cast<std::uint64_t>(report.threads), "thread"),
                                  report.simd_target));
  if (report.peak_memory > 0) summary.add("peak memory", format_bytes(report.peak_memory));
  if (report.bytes_resumed > 0) {
    summary.add("resumed", format_bytes(report.bytes_resumed) + " done by an earlier run");
  }
  if (report.non_finite > 0) {
    summary.add("not finite", plural(report.non_finite, "weight") + " passed on");
  }
  return fmt::format("{}\nmlx_lm.generate --model {} --prompt \"Once upon a time\"\n",
                     summary.text(), shell_quote(options.output.string()));
}

std::string plan_text(const ConvertOptions& options, const Plan& plan) {
  Summary summary = plan_summary(options, plan, false);
  std::vector<std::string> files;
  for (const auto& [name, bytes] : plan.file_bytes) {
    files.push_back(fmt::format("{}, {} bytes", printable(name), format_exact(bytes)));
  }
  summary.add("files", std::move(files));
  summary.add("copied", format_exact(plan.copied_bytes) + " bytes");
  summary.add("disk", fmt::format("{} bytes needed, {} bytes free", format_exact(plan.disk_needed),
                                  format_exact(plan.disk_free)));
  summary.add("memory", format_exact(plan.memory_needed) + " bytes needed for buffers");
  return fmt::format("{}\n{}\nDry run: nothing was written.\n", tensors_text(plan), summary.text());
}

Json report_json(const ConvertOptions& options, const ConvertReport& report,
                 const std::vector<std::string>& warnings) {
  Json document = common_json(options, report.plan, false, warnings);
  document["seconds"] = report.seconds;
  document["seconds_reading_back"] = report.seconds_reading_back;
  document["source_gb_per_second"] = source_gb_per_second(report);
  document["peak_memory_bytes"] = report.peak_memory;
  document["resumed_bytes"] = report.bytes_resumed;
  document["non_finite_weights"] = report.non_finite;
  document["threads"] = report.threads;
  document["simd_target"] = report.simd_target;
  return document;
}

Json plan_json(const ConvertOptions& options, const Plan& plan,
               const std::vector<std::string>& warnings) {
  Json document = common_json(options, plan, true, warnings);
  document["rules"] = rules_json(plan);
  document["modules"] = modules_json(plan);
  document["tensors"] = tensors_json(plan);
  Json dropped = Json::array();
  for (const DroppedTensor& tensor : plan.dropped) {
    dropped.push_back({{"name", tensor.name}, {"reason", tensor.reason}});
  }
  document["dropped"] = std::move(dropped);
  document["disk_needed_bytes"] = plan.disk_needed;
  document["disk_free_bytes"] = plan.disk_free;
  document["memory_needed_bytes"] = plan.memory_needed;
  return document;
}

}  // namespace mlxmill::cli
