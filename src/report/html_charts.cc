// Drawings of the HTML report, as inline SVG and table cells.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "report/html.h"

namespace mlxmill::report {
namespace {

constexpr double kWidth = 480;
constexpr double kHeight = 320;
constexpr double kLeft = 52, kRight = 20, kTop = 18, kBottom = 44;
// Divergences below this are drawn here.
constexpr double kSmallestKl = 1e-7;

struct Point {
  const EvalModel* model;
  double x;
  double kl, low, high;
};

// What the size axis counts: bytes where all models say, else bits per weight, else nothing.
enum class Axis { kNone, kBytes, kBits };

Axis axis_of(const std::vector<const EvalModel*>& models) {
  const auto all = [&](auto has) { return std::all_of(models.begin(), models.end(), has); };
  if (all([](const EvalModel* m) { return m->bytes > 0; })) return Axis::kBytes;
  if (all([](const EvalModel* m) { return m->bits_per_weight > 0; })) return Axis::kBits;
  return Axis::kNone;
}

// A step of 1, 2 or 5 times a power of ten that cuts `range` into at most five.
double nice_step(double range) {
  const double raw = range / 4;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw) return factor * power;
  }
  return 10 * power;
}

class KlChart {
 public:
  explicit KlChart(const EvalReport& report);
  bool empty() const { return points_.empty(); }
  std::string draw() const;

 private:
  double px(double x) const {
    return kLeft + (x - x_low_) / (x_high_ - x_low_) * (kWidth - kLeft - kRight);
  }
  double py(double kl) const {
    const double y = std::log10(std::max(kl, kSmallestKl));
    return kTop + (y_high_ - y) / (y_high_ - y_low_) * (kHeight - kTop - kBottom);
  }
  std::string axes() const;
  std::string x_label(double x) const;
  std::string marks() const;

  std::vector<Point> points_;
  Axis axis_ = Axis::kNone;
  double x_low_ = 0, x_high_ = 1, y_low_ = -3, y_high_ = 0;
};

KlChart::KlChart(const EvalReport& report) {
  std::vector<const EvalModel*> models;
  for (const EvalModel& m : report.models) {
    if (m.total.comparison) models.push_back(&m);
  }
  if (models.empty()) return;
  axis_ = axis_of(models);
  double smallest = HUGE_VAL;
  double largest = 0;
  for (std::size_t i = 0; i < models.size(); ++i) {
    const Estimate& kl = models[i]->total.comparison->kl;
    double x = static_cast<double>(i + 1);
    if (axis_ == Axis::kBytes) x = static_cast<double>(models[i]->bytes);
    if (axis_ == Axis::kBits) x = models[i]->bits_per_weight;
    points_.push_back({models[i], x, kl.value, kl.value - kl.error, kl.value + kl.error});
    smallest = std::min(smallest, std::max(kl.value, kSmallestKl));
    largest = std::max(largest, std::max(kl.value + kl.error, kSmallestKl));
  }
  std::sort(points_.begin(), points_.end(),
            [](const Point& a, const Point& b) { return a.x < b.x; });
  y_low_ = std::floor(std::log10(smallest));
  y_high_ = std::max(std::ceil(std::log10(largest)), y_low_ + 1);
  const double span = points_.back().x - points_.front().x;
  const double margin = span > 0 ? span * 0.12 : std::max(points_.front().x * 0.2, 0.5);
  x_low_ = points_.front().x - margin;
  x_high_ = points_.back().x + margin * 1.6;
}

std::string KlChart::x_label(double x) const {
  if (axis_ == Axis::kBits) return fmt::format("{:g}", x);
  if (x_high_ >= 1e9) return fmt::format("{:g} GB", x / 1e9);
  if (x_high_ >= 1e6) return fmt::format("{:g} MB", x / 1e6);
  return fmt::format("{:g} kB", x / 1e3);
}

std::string KlChart::axes() const {
  std::string s;
  for (int decade = static_cast<int>(y_low_); decade <= static_cast<int>(y_high_); ++decade) {
    const double y = py(std::pow(10.0, decade));
    s += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                     kLeft, kWidth - kRight, y, y);
    s += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>\n", kLeft - 8,
                     y + 4, std::pow(10.0, decade));
  }
  const double base = kHeight - kBottom;
  s += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\n", kLeft,
                   kWidth - kRight, base, base);
  if (axis_ != Axis::kNone) {
    const double step = nice_step(x_high_ - x_low_);
    for (double x = std::ceil(x_low_ / step) * step; x <= x_high_; x += step) {
      if (x < 0) continue;
      s += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", px(x),
                       base + 17, x_label(x));
    }
  }
  const char* below = axis_ == Axis::kBytes  ? "size of the weights"
                      : axis_ == Axis::kBits ? "bits per weight"
                                             : "candidates";
  s += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                   (kLeft + kWidth - kRight) / 2, kHeight - 8, below);
  return s;
}

std::string KlChart::marks() const {
  std::string s;
  if (points_.size() > 1 && axis_ != Axis::kNone) {
    s += "<polyline class=\"trend\" points=\"";
    for (const Point& p : points_) s += fmt::format("{:.1f},{:.1f} ", px(p.x), py(p.kl));
    s += "\"/>\n";
  }
  double last_x = -HUGE_VAL;
  double last_y = -HUGE_VAL;
  for (const Point& p : points_) {
    const double x = px(p.x);
    const double y = py(p.kl);
    s += fmt::format(
        "<line class=\"bar\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x,
        py(p.high), std::min(py(std::max(p.low, kSmallestKl)), kHeight - kBottom));
    s += fmt::format(
        "<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"><title>{}: KL {}"
        "</title></circle>",
        x, y, escape(p.model->name), with_error(p.model->total.comparison->kl));
    // The line falls to the right: above right of a point it is free, and below left of one that
    // is near the edge. A close neighbour's label is avoided.
    const bool left = x > kWidth * 0.62;
    const bool close = std::fabs(x - last_x) < 90 && std::fabs(y - last_y) < 14;
    const double drop = left != close ? 16 : -7;
    s +=
        fmt::format("<text class=\"name\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n",
                    left ? x - 9 : x + 9, y + drop, left ? "end" : "start", escape(p.model->name));
    last_x = x;
    last_y = y;
  }
  return s;
}

std::string KlChart::draw() const {
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"KL divergence against "
      "size\">\n{}{}</svg>\n",
      kWidth, kHeight, axes(), marks());
}

// One candidate's row of columns, its base line at y.
std::string histogram_row(const EvalModel& m, double y, double height) {
  std::uint64_t most = 1;
  for (const KlBin& bin : m.histogram) most = std::max(most, bin.positions);
  const double width = (kWidth - 16) / static_cast<double>(m.histogram.size());
  std::string s = fmt::format("<text class=\"name\" x=\"8\" y=\"{:.1f}\">{}</text>\n",
                              y - height - 5, escape(m.name));
  for (std::size_t i = 0; i < m.histogram.size(); ++i) {
    const KlBin& bin = m.histogram[i];
    const double part = static_cast<double>(bin.positions) / static_cast<double>(most);
    const double h = bin.positions == 0 ? 0 : std::max(part * height, 1.0);
    s += fmt::format(
        "<rect class=\"column\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
        "height=\"{:.1f}\" rx=\"1.5\"><title>{} to {}: {} positions</title></rect>",
        8 + width * static_cast<double>(i) + 1, y - h, width - 2, h, number(bin.low),
        number(bin.high), bin.positions);
  }
  return s +
         fmt::format("\n<line class=\"axis\" x1=\"8\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
                     kWidth - 8, y, y);
}

// "model.layers.3.mlp.up_proj" as row "mlp.up_proj" and column 3.
struct LayerPlace {
  std::string row;
  int column = -1;
};

LayerPlace place_of(const std::string& path) {
  std::size_t begin = 0;
  while (begin < path.size()) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    const bool digits = !part.empty() && part.size() < 5 &&
                        part.find_first_not_of("0123456789") == std::string::npos;
    if (digits && end < path.size()) return {path.substr(end + 1), std::stoi(part)};
    begin = end + 1;
  }
  return {path, -1};
}

struct Range {
  double low = HUGE_VAL;
  double high = 0;
};

// What a heat map shows of a module; nothing for one without.
using ErrorOf = std::optional<double> (*)(const LayerError&);

std::optional<double> of_weights(const LayerError& e) { return e.weight_error; }
std::optional<double> of_outputs(const LayerError& e) { return e.output_error; }

std::string describe(const LayerError& e) {
  std::string text = fmt::format("{}: weights {}", escape(e.path), percent(e.weight_error));
  if (e.output_error) text += ", outputs " + percent(*e.output_error);
  if (!e.output_errors.empty()) {
    const auto reached = std::count_if(e.output_errors.begin(), e.output_errors.end(),
                                       [](const auto& error) { return error.has_value(); });
    text += fmt::format(" in {} of {} matrices", reached, e.output_errors.size());
  }
  return text + " (" + escape(e.coding) + ")";
}

std::string heat_cell(const LayerError& e, ErrorOf error, const Range& range) {
  const double width = range.high - range.low;
  return fmt::format("<td class=\"cell\" style=\"--v:{:.3f}\" title=\"{}\"></td>",
                     0.08 + (width > 0 ? (*error(e) - range.low) / width * 0.92 : 0), describe(e));
}

std::string heat_table(const EvalModel& m, ErrorOf error, const Range& range) {
  std::vector<std::string> rows;
  std::map<std::string, std::map<int, const LayerError*>> cells;
  std::set<int> columns;
  for (const LayerError& e : m.layers) {
    if (!error(e)) continue;
    const LayerPlace place = place_of(e.path);
    if (!cells.contains(place.row)) rows.push_back(place.row);
    cells[place.row][place.column] = &e;
    if (place.column >= 0) columns.insert(place.column);
  }
  std::string t = "<div class=\"scroll\"><table class=\"heat\"><thead><tr><th></th><th></th>";
  for (const int c : columns) t += c % 4 == 0 ? fmt::format("<th>{}</th>", c) : "<th></th>";
  t += "</tr></thead><tbody>\n";
  for (const std::string& row : rows) {
    double sum = 0;
    for (const auto& [column, e] : cells[row]) sum += *error(*e);
    t += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td>", escape(row),
                     percent(sum / static_cast<double>(cells[row].size())));
    if (const auto single = cells[row].find(-1); single != cells[row].end()) {
      t += heat_cell(*single->second, error, range);
    } else {
      for (const int c : columns) {
        const auto found = cells[row].find(c);
        t += found == cells[row].end() ? "<td></td>" : heat_cell(*found->second, error, range);
      }
    }
    t += "</tr>\n";
  }
  return t + "</tbody></table></div>\n";
}

std::string heat_maps(const EvalReport& report, ErrorOf error) {
  std::string t;
  for (const EvalModel& m : report.models) {
    Range range;
    for (const LayerError& e : m.layers) {
      if (!error(e)) continue;
      range.low = std::min(range.low, *error(e));
      range.high = std::max(range.high, *error(e));
    }
    if (range.low > range.high) continue;
    t += "<h3>" + escape(m.name) + "</h3>\n" + heat_table(m, error, range);
    t += heat_scale(percent(range.low), percent(range.high));
  }
  return t;
}

}  // namespace

std::string kl_chart(const EvalReport& report) {
  const KlChart chart(report);
  return chart.empty() ? "" : chart.draw();
}

std::string kl_histograms(const EvalReport& report) {
  constexpr double kRow = 78;
  constexpr double kBars = 48;
  std::string rows;
  double y = 0;
  std::size_t bins = 0;
  for (const EvalModel& m : report.models) {
    if (m.histogram.empty()) continue;
    y += kRow;
    bins = m.histogram.size();
    rows += histogram_row(m, y, kBars);
  }
  if (bins == 0) return "";
  const double width = (kWidth - 16) / static_cast<double>(bins);
  // Edges of the bins: 1e-6 after the first, then two to a decade.
  for (std::size_t i = 1; i < bins; i += 2) {
    rows += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:g}</text>\n",
                        8 + width * static_cast<double>(i), y + 16,
                        std::pow(10.0, static_cast<double>(i - 1) / 2 - 6));
  }
  return fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Positions by their KL "
      "divergence\">\n{}</svg>\n",
      kWidth, y + 26, rows);
}

std::string layer_heat(const EvalReport& report) { return heat_maps(report, of_weights); }
std::string output_heat(const EvalReport& report) { return heat_maps(report, of_outputs); }

}  // namespace mlxmill::report
