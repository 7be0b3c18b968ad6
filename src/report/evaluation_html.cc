// The evaluation as one HTML page.
#include <fmt/format.h>

#include <algorithm>

#include "io/file.h"
#include "mlxmill/version.h"
#include "report/built_in.h"
#include "report/html.h"

namespace mlxmill {
namespace {

using report::escape;

std::string section(std::string_view title, std::string_view note, const std::string& content) {
  if (content.empty()) return "";
  return fmt::format("<section>\n<h2>{}</h2>\n<p class=\"note\">{}</p>\n{}</section>\n", title,
                     note, content);
}

std::string tile(const std::string& value, std::string_view label) {
  return fmt::format("<li><b>{}</b><span>{}</span></li>\n", value, label);
}

std::string title_of(const EvalReport& r) {
  const std::string count = r.models.size() == 1 ? "“" + escape(r.models.front().name) + "”"
                                                 : fmt::format("{} models", r.models.size());
  return r.reference.empty() ? count : count + " against “" + escape(r.reference) + "”";
}

std::string tiles(const EvalReport& r) {
  const EvalModel* best = r.models.empty() ? nullptr : &r.models.front();
  if (best == nullptr || best->total.positions == 0) return "";
  std::string items = tile(fmt::format("{}", best->total.positions), "tokens scored");
  if (best->total.comparison) {
    const Comparison& c = *best->total.comparison;
    items += tile(report::number(c.reference_perplexity.value), "perplexity of the reference");
    items += tile(report::number(c.kl.value), "smallest KL divergence");
    items += tile(report::percent(c.same_top.value, 1), "its agreement on the top token");
  } else {
    items += tile(report::number(best->total.perplexity.value), "smallest perplexity");
  }
  items += tile(fmt::format("{}", r.vocabulary), "tokens in the vocabulary");
  return "<ul class=\"tiles\">\n" + items + "</ul>\n";
}

std::string header(const EvalReport& r) {
  std::string texts;
  for (const std::string& name : r.texts) texts += (texts.empty() ? "" : ", ") + escape(name);
  std::string lead = escape(r.protocol);
  if (r.windows > 0 && !texts.empty()) lead += fmt::format(" · {} windows of {}", r.windows, texts);
  if (!r.reference_storage.empty()) lead += " · reference kept: " + escape(r.reference_storage);
  if (r.output_tokens > 0) {
    lead += fmt::format(" · outputs of modules at {} tokens", r.output_tokens);
  }
  std::string partial;
  if (!r.complete) {
    partial =
        "<p class=\"partial\">Partial: the run was stopped before all windows were scored. "
        "The numbers cover what was scored until then.</p>\n";
  }
  return fmt::format(
      "<header>\n<p class=\"kicker\">What quantization cost</p>\n<h1>{}</h1>\n"
      "<p class=\"lead\">{}</p>\n{}{}</header>\n",
      title_of(r), lead, partial, tiles(r));
}

std::string style() {
  std::string css;
  for (const base::BuiltInFile& file : report::built_in_page_files()) css += file.text;
  return css;
}

std::string sections(const EvalReport& r) {
  const std::string chart = report::kl_chart(r);
  const bool compared = !chart.empty();
  std::string page;
  page += section("Results",
                  compared ? "Smallest divergence first. After ± stands one standard error."
                           : "After ± stands one standard error.",
                  report::models_table(r));
  page += section("Divergence against size",
                  "Mean KL divergence from the reference in nats, on a logarithmic scale: lower is "
                  "closer. Bars are one standard error.",
                  chart);
  page += section("Where the divergence lies",
                  "How many positions have which divergence: the mean of few bad ones, or of all?",
                  report::kl_histograms(r));
  page +=
      section("By text",
              compared ? "Mean KL divergence of each text; the darker, the worse within its column."
                       : "Perplexity of each text.",
              report::domains_table(r));
  page += section(
      "Error of the outputs",
      fmt::format("Distance of what each module makes of its inputs in the reference from what the "
                  "reference makes of them, relative to its size, over {} tokens; columns are "
                  "layers. The number is the mean of the row; shades are from each model's "
                  "smallest error to its largest.",
                  r.output_tokens),
      report::output_heat(r));
  page +=
      section("Error of the weights",
              "Distance of each matrix from the reference's, relative to its size; columns are "
              "layers. The number is the mean of the row; shades are from each model's smallest "
              "error to its largest.",
              report::layer_heat(r));
  page += section("Worst tokens",
                  "Where the candidate is farthest from the reference. The marked token is the one "
                  "that follows in the text.",
                  report::worst_tokens(r));
  page += section("All numbers",
                  "Divergences in nats. Δp is the change of the right token's "
                  "probability.",
                  report::details_table(r));
  const std::string card = evaluation_card(r);
  page += section("For a model card", "Markdown.",
                  card.empty() ? "" : "<pre>" + escape(card) + "</pre>\n");
  return page;
}

}  // namespace

std::string evaluation_html(const EvalReport& r) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}{}"
      "<footer>mlxmill {}. Formulas and their sources: docs/EVALUATION.md.</footer>\n</main>\n"
      "</body>\n</html>\n",
      title_of(r), style(), header(r), sections(r), version());
}

Status write_evaluation_html(const EvalReport& report, const std::filesystem::path& file) {
  return io::write_text(file, evaluation_html(report));
}

}  // namespace mlxmill
