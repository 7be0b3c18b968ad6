#include "eval_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

// The error with two digits, the value to the same place.
std::string with_error(const Estimate& e) {
  if (!(e.error > 0)) return fmt::format("{:.4g}", e.value);
  const int place = 1 - static_cast<int>(std::floor(std::log10(e.error)));
  if (place > 7) return fmt::format("{:.3e} ± {:.1e}", e.value, e.error);
  const int digits = std::max(place, 0);
  return fmt::format("{:.{}f} ± {:.{}f}", e.value, digits, e.error, digits);
}

std::string percent_text(const Estimate& share) {
  return fmt::format("{:.2f} ± {:.2f} %", share.value * 100, share.error * 100);
}

std::string model_name(const EvalModel& model) {
  return printable(model.name) + (model.complete ? "" : " (partial)");
}

// Columns nobody fills are left out.
std::string models_text(const EvalReport& report) {
  const auto any = [&](auto has) {
    return std::any_of(report.models.begin(), report.models.end(), has);
  };
  const bool sized = any([](const EvalModel& m) { return m.bytes > 0; });
  const bool bits = any([](const EvalModel& m) { return m.bits_per_weight > 0; });
  const bool compared = any([](const EvalModel& m) { return m.total.comparison.has_value(); });
  const bool fast = any([](const EvalModel& m) { return m.decode_per_second > 0; });
  std::vector<std::string> head = {"MODEL"};
  if (sized) head.emplace_back("SIZE");
  if (bits) head.emplace_back("BPW");
  head.emplace_back("PERPLEXITY");
  if (compared) head.insert(head.end(), {"KL DIVERGENCE", "SAME TOP", "RATIO"});
  if (fast) head.emplace_back("TOKENS/S");
  std::vector<Table::Align> columns(head.size(), Table::Align::kRight);
  columns[0] = Table::Align::kLeft;
  Table table(columns);
  table.add(std::move(head));
  for (const EvalModel& m : report.models) {
    std::vector<std::string> row = {model_name(m)};
    if (sized) row.push_back(m.bytes > 0 ? format_bytes(m.bytes) : "-");
    if (bits) row.push_back(m.bits_per_weight > 0 ? fmt::format("{:.3f}", m.bits_per_weight) : "-");
    row.push_back(with_error(m.total.perplexity));
    if (m.total.comparison) {
      const Comparison& c = *m.total.comparison;
      row.insert(row.end(),
                 {with_error(c.kl), percent_text(c.same_top), with_error(c.perplexity_ratio)});
    }
    if (fast) {
      row.push_back(m.decode_per_second > 0 ? fmt::format("{:.1f}", m.decode_per_second) : "-");
    }
    table.add(std::move(row));
  }
  return table.text();
}

std::string domains_text(const EvalModel& m) {
  Table table(
      {Table::Align::kLeft, Table::Align::kRight, Table::Align::kRight, Table::Align::kRight});
  for (const DomainScores& d : m.domains) {
    const auto& c = d.scores.comparison;
    table.add({printable(d.name), "perplexity " + with_error(d.scores.perplexity),
               c ? "KL " + with_error(c->kl) : "", c ? percent_text(c->same_top) : ""});
  }
  return table.text("  ");
}

std::string quantiles_text(const EvalModel& m) {
  const Comparison& c = *m.total.comparison;
  const Quantiles& kl = c.kl_quantiles;
  const Quantiles& p = c.probability_quantiles;
  Summary s;
  s.add("  KL", fmt::format("median {:.3g}, 90 % {:.3g}, 95 % {:.3g}, 99 % {:.3g}, 99.9 % {:.3g}, "
                            "largest {:.3g}",
                            kl.median, kl.p90, kl.p95, kl.p99, kl.p999, kl.max));
  if (c.kl_low != c.kl_high) {
    s.add("  bounds",
          fmt::format("the mean lies from {:.4g} to {:.4g}; the tail's sample adds {:.1e} "
                      "to its error",
                      c.kl_low, c.kl_high, c.kl_sampling_error));
  }
  s.add("  top 5", percent_text(c.top5_overlap) + " in common");
  s.add("  Δp", fmt::format("mean {:+.3f} %, rms {}, 1 % {:+.2f} %, 99 % {:+.2f} %",
                            c.probability_change.value * 100, percent_text(c.probability_rms),
                            p.p01 * 100, p.p99 * 100));
  return s.text();
}

// Root mean square over the parameters of those that have one.
std::optional<double> mean_error(const std::vector<LayerError>& layers,
                                 std::optional<double> (*take)(const LayerError&)) {
  double squares = 0;
  double parameters = 0;
  for (const LayerError& e : layers) {
    const std::optional<double> error = take(e);
    if (!error) continue;
    squares += *error * *error * static_cast<double>(e.parameters);
    parameters += static_cast<double>(e.parameters);
  }
  if (!(parameters > 0)) return std::nullopt;
  return std::sqrt(squares / parameters);
}

std::optional<double> of_weights(const LayerError& e) { return e.weight_error; }
std::optional<double> of_outputs(const LayerError& e) { return e.output_error; }

std::string error_text(const std::optional<double>& error) {
  return error ? fmt::format("{:.3f} %", *error * 100) : "-";
}

// Where quality was lost: the largest errors of outputs, or of weights where there are no others.
std::string layers_text(const EvalModel& m) {
  constexpr std::size_t kShown = 10;
  const std::optional<double> outputs = mean_error(m.layers, of_outputs);
  const auto error = outputs ? of_outputs : of_weights;
  std::vector<LayerError> worst = m.layers;
  std::stable_sort(worst.begin(), worst.end(), [&](const LayerError& a, const LayerError& b) {
    return error(a).value_or(-1) > error(b).value_or(-1);
  });
  worst.resize(std::min(worst.size(), kShown));
  std::string text = fmt::format("{}: error of the weights {}", model_name(m),
                                 error_text(mean_error(m.layers, of_weights).value_or(0)));
  if (outputs) text += fmt::format(", of the outputs {}", error_text(outputs));
  text += fmt::format(" (root mean square over {}), largest\n", plural(m.layers.size(), "module"));
  if (!outputs) {
    Table table({Table::Align::kLeft, Table::Align::kRight, Table::Align::kLeft});
    for (const LayerError& e : worst) {
      table.add({printable(e.path), error_text(e.weight_error), printable(e.coding)});
    }
    return text + table.text("  ");
  }
  Table table(
      {Table::Align::kLeft, Table::Align::kRight, Table::Align::kRight, Table::Align::kLeft});
  table.add({"MODULE", "OUTPUTS", "WEIGHTS", "CODING"});
  for (const LayerError& e : worst) {
    table.add({printable(e.path), error_text(e.output_error), error_text(e.weight_error),
               printable(e.coding)});
  }
  return text + table.text("  ");
}

Json optional_json(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json estimate_json(const Estimate& e) { return {{"value", e.value}, {"error", e.error}}; }

Json quantiles_json(const Quantiles& q) {
  return {{"min", q.min}, {"p0.1", q.p001},     {"p1", q.p01},     {"p5", q.p05},
          {"p25", q.p25}, {"median", q.median}, {"p75", q.p75},    {"p90", q.p90},
          {"p95", q.p95}, {"p99", q.p99},       {"p99.9", q.p999}, {"max", q.max}};
}

Json scores_json(const EvalScores& s) {
  Json json = {{"positions", s.positions},
               {"perplexity", estimate_json(s.perplexity)},
               {"nll", estimate_json(s.nll)}};
  if (!s.comparison) return json;
  const Comparison& c = *s.comparison;
  json["reference_perplexity"] = estimate_json(c.reference_perplexity);
  json["perplexity_ratio"] = estimate_json(c.perplexity_ratio);
  json["log_perplexity_ratio"] = estimate_json(c.log_perplexity_ratio);
  json["kl"] = estimate_json(c.kl);
  json["kl_low"] = c.kl_low;
  json["kl_high"] = c.kl_high;
  json["kl_sampling_error"] = c.kl_sampling_error;
  json["kl_quantiles"] = quantiles_json(c.kl_quantiles);
  json["same_top"] = estimate_json(c.same_top);
  json["top5_overlap"] = estimate_json(c.top5_overlap);
  json["probability_change"] = estimate_json(c.probability_change);
  json["probability_rms"] = estimate_json(c.probability_rms);
  json["probability_quantiles"] = quantiles_json(c.probability_quantiles);
  return json;
}

Json worst_json(const WorstToken& w) {
  return {{"text", w.domain},
          {"window", w.window},
          {"position", w.position},
          {"before", w.before},
          {"token", w.token},
          {"reference_top", w.reference_top},
          {"candidate_top", w.candidate_top},
          {"kl", w.kl},
          {"reference_probability", w.reference_probability},
          {"candidate_probability", w.candidate_probability}};
}

Json model_json(const EvalModel& m) {
  Json json = {{"name", m.name},
               {"path", m.path.string()},
               {"bytes", m.bytes},
               {"bits_per_weight", m.bits_per_weight},
               {"decode_per_second", m.decode_per_second},
               {"complete", m.complete},
               {"windows", m.windows},
               {"seconds", m.seconds}};
  if (m.total.positions > 0) json["scores"] = scores_json(m.total);
  Json texts = Json::array();
  for (const DomainScores& d : m.domains) {
    texts.push_back({{"name", d.name}, {"scores", scores_json(d.scores)}});
  }
  Json bins = Json::array();
  for (const KlBin& b : m.histogram) {
    bins.push_back({{"low", b.low},
                    {"high", std::isfinite(b.high) ? Json(b.high) : Json()},
                    {"positions", b.positions}});
  }
  Json worst = Json::array();
  for (const WorstToken& w : m.worst) worst.push_back(worst_json(w));
  Json layers = Json::array();
  for (const LayerError& e : m.layers) {
    layers.push_back({{"path", e.path},
                      {"coding", e.coding},
                      {"parameters", e.parameters},
                      {"weight_error", e.weight_error},
                      {"output_error", optional_json(e.output_error)}});
    if (e.output_errors.empty()) continue;
    Json each = Json::array();
    for (const auto& error : e.output_errors) each.push_back(optional_json(error));
    layers.back()["output_errors"] = std::move(each);
  }
  json["texts"] = std::move(texts);
  json["histogram"] = std::move(bins);
  json["worst"] = std::move(worst);
  json["layers"] = std::move(layers);
  return json;
}

}  // namespace

std::string eval_text(const EvalReport& report) {
  const bool scored = std::any_of(report.models.begin(), report.models.end(),
                                  [](const EvalModel& m) { return m.total.positions > 0; });
  std::string text;
  if (scored) text += models_text(report) + "\n";
  for (const EvalModel& m : report.models) {
    if (report.models.size() == 1 && m.total.comparison) text += quantiles_text(m) + "\n";
    if (report.models.size() == 1 && !m.domains.empty()) text += domains_text(m) + "\n";
    if (!m.layers.empty()) text += layers_text(m) + "\n";
  }
  Summary s;
  s.add("protocol", printable(report.protocol));
  if (scored) {
    s.add("scored",
          fmt::format("{} in {} of {}", plural(report.models.front().total.positions, "token"),
                      plural(report.windows, "window"),
                      printable(fmt::format("{}", fmt::join(report.texts, ", ")))));
  }
  if (report.output_tokens > 0) {
    s.add("outputs", fmt::format("of what reached the reference's modules at {}",
                                 plural(report.output_tokens, "token")));
  }
  if (!report.reference.empty()) {
    std::string line = printable(report.reference);
    if (scored && report.models.front().total.comparison) {
      line += fmt::format(", perplexity {}; kept: {}",
                          with_error(report.models.front().total.comparison->reference_perplexity),
                          report.reference_storage);
    }
    s.add("reference", line);
  }
  s.add("time", format_seconds(report.seconds));
  if (!report.complete) {
    s.add("partial", "stopped before all windows were scored; the same command goes on");
  }
  return text + s.text();
}

Json eval_json(const EvalReport& report) {
  Json models = Json::array();
  for (const EvalModel& m : report.models) models.push_back(model_json(m));
  return {{"reference", report.reference},
          {"reference_storage", report.reference_storage},
          {"protocol", report.protocol},
          {"texts", report.texts},
          {"windows", report.windows},
          {"vocabulary", report.vocabulary},
          {"output_tokens", report.output_tokens},
          {"complete", report.complete},
          {"seconds", report.seconds},
          {"models", std::move(models)}};
}

std::string eval_progress_text(const EvalProgress& p) {
  std::string text = fmt::format("{} {} {}/{} {}", p.phase, printable(p.model), p.done, p.total,
                                 p.phase == "layers" ? "modules" : "windows");
  if (p.perplexity > 0) text += fmt::format(", perplexity {:.4g}", p.perplexity);
  if (p.kl) text += fmt::format(", KL {:.4g}", *p.kl);
  return text;
}

}  // namespace mlxmill::cli
