#include "kernels/ref/decoder.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/ref/floats.h"

namespace mlxmill::kernels::ref {
namespace {

double rounded(DType type, double x) {
  std::uint8_t bytes[4];
  store(type, static_cast<float>(x), bytes, 0);
  return load(type, bytes, 0);
}

double activated(GateKind kind, double x) {
  if (kind == GateKind::kSilu) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

}  // namespace

void rms_norm(const RmsNorm& n, std::size_t first, std::size_t last) {
  for (std::size_t row = first; row < last; ++row) {
    double sum = 0;
    for (std::size_t i = 0; i < n.cols; ++i) {
      const double x = load(n.type, n.x, row * n.cols + i);
      sum += x * x;
    }
    const double factor = 1 / std::sqrt(sum / static_cast<double>(n.cols) + double{n.epsilon});
    for (std::size_t i = 0; i < n.cols; ++i) {
      const double normed = rounded(n.type, factor * load(n.type, n.x, row * n.cols + i));
      const double weight = n.weight != nullptr ? load(n.type, n.weight, i) : 1;
      store(n.type, static_cast<float>(normed * weight), n.y, row * n.cols + i);
    }
  }
}

void gate(const Gate& g, std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last; ++i) {
    const double y = activated(g.kind, load(g.type, g.gate, i)) * load(g.type, g.up, i);
    store(g.type, static_cast<float>(y), g.y, i);
  }
}

void rotate(const Rotation& r, std::size_t head, std::size_t first, std::size_t last) {
  const std::size_t half = r.dims / 2;
  for (std::size_t t = first; t < last; ++t) {
    const std::size_t from = head * r.head_step + t * r.token_step;
    const std::size_t to = (head * r.length + t) * r.size;
    for (std::size_t j = 0; j < half; ++j) {
      const std::size_t a = r.traditional ? 2 * j : j;
      const std::size_t b = r.traditional ? 2 * j + 1 : j + half;
      const double x = load(r.type, r.x, from + a);
      const double y = load(r.type, r.x, from + b);
      const double cosine = r.cosines[t * half + j];
      const double sine = r.sines[t * half + j];
      store(r.type, static_cast<float>(x * cosine - y * sine), r.y, to + a);
      store(r.type, static_cast<float>(x * sine + y * cosine), r.y, to + b);
    }
    for (std::size_t j = r.dims; j < r.size; ++j) {
      store(r.type, load(r.type, r.x, from + j), r.y, to + j);
    }
  }
}

void attend(const Attention& a, const AttentionRows& rows) {
  const std::size_t group = attention_group(a);
  std::vector<double> scores(a.n);
  for (std::size_t row = rows.first; row < rows.last; ++row) {
    const std::size_t query = query_index(a, rows.kv_head, row);
    const std::size_t head = rows.kv_head * group + row % group;
    const bool* mask = a.mask != nullptr ? a.mask + row / group * a.n : nullptr;
    double most =
        a.sinks != nullptr ? load(a.type, a.sinks, head) : -std::numeric_limits<double>::infinity();
    for (std::size_t j = 0; j < a.n; ++j) {
      double score = 0;
      for (std::size_t d = 0; d < a.size; ++d) {
        score += double{load(a.type, a.queries, query + d)} *
                 load(a.type, a.keys, rows.kv_head * a.key_step + j * a.size + d);
      }
      score *= a.scale;
      if (a.softcap != 0) score = a.softcap * std::tanh(score / a.softcap);
      scores[j] = mask == nullptr || mask[j] ? score : -std::numeric_limits<double>::infinity();
      most = std::max(most, scores[j]);
    }
    double sum = a.sinks != nullptr ? std::exp(load(a.type, a.sinks, head) - most) : 0;
    const bool nothing = std::isinf(most) && most < 0;
    for (double& score : scores) {
      score = nothing ? 0 : std::exp(score - most);
      sum += score;
    }
    for (std::size_t d = 0; d < a.value_size; ++d) {
      double y = 0;
      for (std::size_t j = 0; j < a.n && sum > 0; ++j) {
        y += scores[j] / sum *
             load(a.type, a.values, rows.kv_head * a.value_step + j * a.value_size + d);
      }
      store(a.type, static_cast<float>(y), a.y, output_index(a, rows.kv_head, row) + d);
    }
  }
}

}  // namespace mlxmill::kernels::ref
