// Speed of products with weights: GB/s of weights for one row of x, GFLOP/s for many, beside what
// the machine reads from memory. Shapes are those of a 0.5B model's MLP; so many weights that no
// cache holds them. A sample of outputs is held against the formula first.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "bandwidth.h"
#include "base/parallel.h"
#include "kernels/kernels.h"
#include "kernels/matmul.h"
#include "kernels/ref/floats.h"
#include "kernels/ref/matmul.h"

namespace {

using mlxmill::DType;
using mlxmill::Mode;
using mlxmill::Scheme;
namespace base = mlxmill::base;
namespace kernels = mlxmill::kernels;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kRows = 4864;
constexpr std::size_t kCols = 896;
constexpr int kRepeats = 7;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// The fastest of some runs, in seconds: other programs only ever slow one down.
template <class F>
double fastest(const F& f) {
  f();
  double best = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const double start = now();
    f();
    best = std::min(best, now() - start);
  }
  return best;
}

struct Weights {
  Bytes codes, scales, biases;
  kernels::MatrixView view;
  std::size_t bytes() const { return codes.size() + scales.size() + biases.size(); }
};

Weights make_weights(std::optional<Scheme> scheme, std::mt19937& random) {
  const std::size_t n = kRows * kCols;
  Bytes plain(n * 2);
  for (std::size_t i = 0; i < n; ++i) {
    mlxmill::kernels::ref::store(DType::kBF16, static_cast<float>(random()) * 0x1p-36f - 0.03f,
                                 plain.data(), i);
  }
  Weights w;
  w.view = {scheme, DType::kBF16, nullptr, nullptr, nullptr, 1.0f, kRows, kCols};
  if (scheme) {
    const std::size_t groups = n / static_cast<std::size_t>(scheme->group_size);
    const bool affine = scheme->mode == Mode::kAffine;
    w.codes.resize(kernels::code_bytes(*scheme, n));
    w.scales.resize(groups * (affine ? 2 : 1));
    w.biases.resize(affine ? groups * 2 : 0);
    kernels::quantize(*scheme, plain.data(), DType::kBF16, n,
                      {w.codes.data(), w.scales.data(), w.biases.data()});
  } else {
    w.codes = plain;
  }
  return w;
}

void point(Weights& w) {
  w.view.data = w.codes.data();
  w.view.scales = w.scales.data();
  w.view.biases = w.biases.data();
}

void require_right(const kernels::Product& p) {
  for (std::size_t n = 0; n < kRows; n += 97) {
    const auto want = kernels::ref::output(p, p.count - 1, n);
    const double got = kernels::ref::load(p.type, p.y, (p.count - 1) * kRows + n);
    const double allowed = p.int8_x ? 0x1p-7 : 0x1p-9;
    if (std::fabs(got - want.value) <= 0x1p-8 * std::fabs(want.value) + allowed * want.magnitude) {
      continue;
    }
    std::fprintf(stderr, "matmul_bench: output %zu is %g, not %g\n", n, got, want.value);
    std::exit(1);
  }
}

struct Case {
  const char* name;
  std::optional<Scheme> scheme;
  std::size_t count;
};

void run(const Case& c, base::ThreadPool& pool, std::size_t memory, double bandwidth, bool int8_x) {
  std::mt19937 random(1);
  std::vector<Weights> weights;
  weights.push_back(make_weights(c.scheme, random));
  const std::size_t copies = c.count > 8 ? 4 : memory / weights[0].bytes() + 1;
  while (weights.size() < copies) weights.push_back(weights[0]);
  Bytes x(c.count * kCols * 2);
  Bytes y(c.count * kRows * 2);
  for (std::size_t i = 0; i < c.count * kCols; ++i) {
    kernels::ref::store(DType::kBF16, static_cast<float>(random()) * 0x1p-31f - 1, x.data(), i);
  }
  kernels::Product p;
  p.x = x.data();
  p.y = y.data();
  p.x_stride = kCols;
  p.y_stride = kRows;
  p.count = c.count;
  p.int8_x = int8_x;
  const double seconds = fastest([&] {
    for (Weights& w : weights) {
      point(w);
      p.weight = w.view;
      kernels::multiply({&p, 1}, pool);
    }
  });
  require_right(p);
  const double bytes = static_cast<double>(weights[0].bytes() * copies);
  const double flops = 2.0 * kRows * kCols * static_cast<double>(c.count * copies);
  std::printf("| %s | %zu | %s | %.1f | %.0f %% | %.0f |\n", c.name, c.count,
              kernels::active_matmul_engine().c_str(), bytes / seconds / 1e9,
              100 * bytes / seconds / bandwidth, flops / seconds / 1e9);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t memory = std::size_t(argc > 4 ? std::atoi(argv[4]) : 280) << 20;
  const int threads = argc > 1 ? std::atoi(argv[1]) : base::available_cores();
  if (argc > 2 && !kernels::set_matmul_engine(argv[2])) return 2;
  const bool int8_x = argc > 2 && std::string_view(argv[2]).starts_with("highway-int8");
  base::ThreadPool pool(threads);
  const double bandwidth = mlxmill::bench::read_bandwidth(pool, memory, kRepeats);
  std::printf("%d threads read %.1f GB/s\n\n", threads, bandwidth / 1e9);
  std::printf("| weights | rows of x | engine | GB/s | of bandwidth | GFLOP/s |\n");
  std::printf("| --- | ---: | --- | ---: | ---: | ---: |\n");
  const std::string only = argc > 3 ? argv[3] : "";
  for (const std::size_t count : {1, 2, 4, 8, 32, 512}) {
    for (const Case& c : {Case{"bf16", std::nullopt, count},
                          Case{"affine-2-64", Scheme{Mode::kAffine, 2, 64}, count},
                          Case{"affine-3-64", Scheme{Mode::kAffine, 3, 64}, count},
                          Case{"affine-4-64", Scheme{Mode::kAffine, 4, 64}, count},
                          Case{"affine-4-32", Scheme{Mode::kAffine, 4, 32}, count},
                          Case{"affine-5-64", Scheme{Mode::kAffine, 5, 64}, count},
                          Case{"affine-6-64", Scheme{Mode::kAffine, 6, 64}, count},
                          Case{"affine-8-64", Scheme{Mode::kAffine, 8, 64}, count},
                          Case{"mxfp4", Scheme{Mode::kMxfp4, 4, 32}, count},
                          Case{"nvfp4", Scheme{Mode::kNvfp4, 4, 16}, count},
                          Case{"mxfp8", Scheme{Mode::kMxfp8, 8, 32}, count}}) {
      const bool brief = count != 1 && count != 512 && std::string(c.name) != "affine-4-64";
      if (brief || (!only.empty() && only != c.name)) continue;
      run(c, pool, memory, bandwidth, int8_x);
    }
  }
  return 0;
}
