// Tables of the HTML report.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/html.h"

namespace mlxmill::report {
namespace {

std::string cell(const std::string& text) { return "<td>" + text + "</td>"; }

// The error smaller than the value it belongs to.
std::string estimate_cell(const std::string& text) {
  const std::string sign = " ± ";
  const std::size_t at = text.find(sign);
  if (at == std::string::npos) return cell(text);
  return cell(text.substr(0, at) + " <small>± " + text.substr(at + sign.size()) + "</small>");
}

std::string percent_cell(const Estimate& share) {
  const std::string value = percent(share.value);
  if (share.error == 0) return cell(value);
  return cell(fmt::format("{} <small>± {:.2f}</small>", value, share.error * 100));
}

std::string head(const std::vector<std::string>& names) {
  std::string row = "<thead><tr>";
  for (const std::string& name : names) row += "<th scope=\"col\">" + name + "</th>";
  return row + "</tr></thead>\n";
}

bool any_compared(const EvalReport& report) {
  return std::any_of(report.models.begin(), report.models.end(),
                     [](const EvalModel& m) { return m.total.comparison.has_value(); });
}

// Columns that no model fills are left out.
struct Columns {
  bool size = false, bits = false, speed = false, scores = false, compared = false;
};

Columns columns_of(const EvalReport& report) {
  Columns c;
  for (const EvalModel& m : report.models) {
    c.size = c.size || m.bytes > 0;
    c.bits = c.bits || m.bits_per_weight > 0;
    c.speed = c.speed || m.decode_per_second > 0;
    c.scores = c.scores || m.total.positions > 0;
    c.compared = c.compared || m.total.comparison;
  }
  return c;
}

std::string model_row(const EvalModel& m, const Columns& c) {
  std::string row = "<tr><th scope=\"row\">" + escape(m.name);
  if (!m.complete) row += " <small>(partial)</small>";
  row += "</th>";
  const std::string none = cell("–");
  if (c.size) row += m.bytes > 0 ? cell(size(m.bytes)) : none;
  if (c.bits) row += m.bits_per_weight > 0 ? cell(fmt::format("{:.3f}", m.bits_per_weight)) : none;
  if (c.speed) {
    row += m.decode_per_second > 0 ? cell(fmt::format("{:.1f}", m.decode_per_second)) : none;
  }
  if (c.compared && m.total.comparison) {
    const Comparison& x = *m.total.comparison;
    row += estimate_cell(with_error(x.kl)) + percent_cell(x.same_top) +
           estimate_cell(with_error(m.total.perplexity)) +
           estimate_cell(with_error(x.perplexity_ratio));
  } else if (c.scores) {
    row += estimate_cell(with_error(m.total.perplexity));
  }
  return row + "</tr>\n";
}

double largest_kl(const EvalModel& m) {
  double largest = 0;
  for (const DomainScores& d : m.domains) {
    if (d.scores.comparison) largest = std::max(largest, d.scores.comparison->kl.value);
  }
  return largest;
}

std::string quantile_row(std::string_view label, const EvalReport& report,
                         double (*take)(const Comparison&), bool as_percent) {
  std::string row = fmt::format("<tr><th scope=\"row\">{}</th>", label);
  for (const EvalModel& m : report.models) {
    if (!m.total.comparison) continue;
    const double value = take(*m.total.comparison);
    row += cell(as_percent ? fmt::format("{:+.2f} %", value * 100) : number(value));
  }
  return row + "</tr>\n";
}

}  // namespace

std::string models_table(const EvalReport& report) {
  const Columns c = columns_of(report);
  std::vector<std::string> names = {"Model"};
  if (c.size) names.emplace_back("Size");
  if (c.bits) names.emplace_back("Bits per weight");
  if (c.speed) names.emplace_back("Tokens/s");
  if (c.compared) names.insert(names.end(), {"KL divergence", "Same top token"});
  if (c.scores) names.emplace_back("Perplexity");
  if (c.compared) names.emplace_back("Perplexity ratio");
  std::string table = "<div class=\"scroll\"><table>" + head(names) + "<tbody>\n";
  for (const EvalModel& m : report.models) table += model_row(m, c);
  return table + "</tbody></table></div>\n";
}

std::string details_table(const EvalReport& report) {
  if (!any_compared(report)) return "";
  std::vector<std::string> names = {""};
  for (const EvalModel& m : report.models) {
    if (m.total.comparison) names.push_back(escape(m.name));
  }
  using C = Comparison;
  std::string t = "<div class=\"scroll\"><table>" + head(names) + "<tbody>\n";
  const auto kl = [&](std::string_view label, double (*take)(const C&)) {
    t += quantile_row(label, report, take, false);
  };
  const auto change = [&](std::string_view label, double (*take)(const C&)) {
    t += quantile_row(label, report, take, true);
  };
  kl("KL, median", [](const C& c) { return c.kl_quantiles.median; });
  kl("KL, 90 %", [](const C& c) { return c.kl_quantiles.p90; });
  kl("KL, 95 %", [](const C& c) { return c.kl_quantiles.p95; });
  kl("KL, 99 %", [](const C& c) { return c.kl_quantiles.p99; });
  kl("KL, 99.9 %", [](const C& c) { return c.kl_quantiles.p999; });
  kl("KL, largest", [](const C& c) { return c.kl_quantiles.max; });
  kl("Mean KL at least", [](const C& c) { return c.kl_low; });
  kl("Mean KL at most", [](const C& c) { return c.kl_high; });
  change("Top 5 in common", [](const C& c) { return c.top5_overlap.value; });
  change("Δp of the right token, mean", [](const C& c) { return c.probability_change.value; });
  change("Δp, root mean square", [](const C& c) { return c.probability_rms.value; });
  change("Δp, 0.1 %", [](const C& c) { return c.probability_quantiles.p001; });
  change("Δp, 1 %", [](const C& c) { return c.probability_quantiles.p01; });
  change("Δp, 5 %", [](const C& c) { return c.probability_quantiles.p05; });
  change("Δp, median", [](const C& c) { return c.probability_quantiles.median; });
  change("Δp, 95 %", [](const C& c) { return c.probability_quantiles.p95; });
  change("Δp, 99 %", [](const C& c) { return c.probability_quantiles.p99; });
  change("Δp, 99.9 %", [](const C& c) { return c.probability_quantiles.p999; });
  return t + "</tbody></table></div>\n";
}

std::string domains_table(const EvalReport& report) {
  const auto first = std::find_if(report.models.begin(), report.models.end(),
                                  [](const EvalModel& m) { return !m.domains.empty(); });
  if (first == report.models.end()) return "";
  std::vector<std::string> names = {"Text"};
  for (const EvalModel& m : report.models) names.push_back(escape(m.name));
  std::string t = "<div class=\"scroll\"><table class=\"heat-text\">" + head(names) + "<tbody>\n";
  for (const DomainScores& row : first->domains) {
    t += "<tr><th scope=\"row\">" + escape(row.name) + "</th>";
    for (const EvalModel& m : report.models) {
      const auto d = std::find_if(m.domains.begin(), m.domains.end(),
                                  [&](const DomainScores& s) { return s.name == row.name; });
      if (d == m.domains.end()) {
        t += cell("–");
      } else if (!d->scores.comparison) {
        t += estimate_cell(with_error(d->scores.perplexity));
      } else {
        const Estimate& kl = d->scores.comparison->kl;
        const double largest = largest_kl(m);
        t += fmt::format("<td class=\"cell\" style=\"--v:{:.3f}\">{}</td>",
                         largest > 0 ? kl.value / largest * 0.6 : 0, number(kl.value));
      }
    }
    t += "</tr>\n";
  }
  return t + "</tbody></table></div>\n";
}

std::string worst_tokens(const EvalReport& report) {
  std::string t;
  for (const EvalModel& m : report.models) {
    if (m.worst.empty()) continue;
    t += fmt::format("<details{}><summary>{}</summary>\n<ul class=\"worst\">\n",
                     t.empty() ? " open" : "", escape(m.name));
    for (const WorstToken& w : m.worst) {
      t += fmt::format("<li><p class=\"context\" dir=\"auto\">{}<mark>{}</mark></p>\n",
                       escape(w.before), escape_token(w.token));
      t += fmt::format(
          "<p class=\"facts\"><span>KL <b>{}</b></span><span>p(right) <b>{}</b> → <b>{}</b></span>"
          "<span>likeliest <code>{}</code> → <code>{}</code></span><span>{}, window {}, position "
          "{}</span></p></li>\n",
          number(w.kl), percent(w.reference_probability, 1), percent(w.candidate_probability, 1),
          escape_token(w.reference_top), escape_token(w.candidate_top), escape(w.domain), w.window,
          w.position);
    }
    t += "</ul></details>\n";
  }
  return t;
}

}  // namespace mlxmill::report
