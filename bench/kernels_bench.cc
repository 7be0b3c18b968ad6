// Throughput of every kernel in bytes of its input, beside memcpy's. Each case compares its result
// with the scalar reference before it is timed. All cases work on 4 MiB of weights or more, on one
// thread and the best SIMD target.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/ref/ref.h"
#include "mlxmill/simd.h"

namespace {

using mlxmill::DType;
using mlxmill::Mode;
using mlxmill::Scheme;
namespace kernels = mlxmill::kernels;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kWeights = std::size_t{2} << 20;

Bytes gaussian(DType type) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.02f);
  std::vector<float> values(kWeights);
  for (float& value : values) value = normal(random);
  Bytes out(kWeights * mlxmill::dtype_bytes(type));
  kernels::ref::convert_floats(values.data(), DType::kF32, out.data(), type, kWeights);
  return out;
}

void require(bool equal, const char* what) {
  if (equal) return;
  std::cerr << "kernels_bench: " << what << " differs from the reference\n";
  std::exit(1);
}

void finish(benchmark::State& state, std::size_t bytes, std::size_t weights) {
  const auto runs = static_cast<double>(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
  state.counters["weights/s"] =
      benchmark::Counter(runs * static_cast<double>(weights), benchmark::Counter::kIsRate);
  state.SetLabel(mlxmill::active_simd_target());
}

struct Quantized {
  Bytes codes, scales, biases;
  Quantized(const Scheme& scheme, DType type)
      : codes(kernels::code_bytes(scheme, kWeights)),
        scales(kWeights / static_cast<std::size_t>(scheme.group_size) *
               (scheme.mode == Mode::kAffine ? mlxmill::dtype_bytes(type) : 1)),
        biases(scheme.mode == Mode::kAffine ? scales.size() : 0) {}
  kernels::QuantizedOut out() { return {codes.data(), scales.data(), biases.data()}; }
  kernels::QuantizedIn in() const { return {codes.data(), scales.data(), biases.data()}; }
  friend bool operator==(const Quantized&, const Quantized&) = default;
};

void quantize(benchmark::State& state, Scheme scheme, DType type) {
  const Bytes weights = gaussian(type);
  Quantized got(scheme, type);
  Quantized want(scheme, type);
  kernels::quantize(scheme, weights.data(), type, kWeights, got.out());
  kernels::ref::quantize(scheme, weights.data(), type, kWeights, want.out());
  require(got == want, "quantize");
  for (auto _ : state) {
    kernels::quantize(scheme, weights.data(), type, kWeights, got.out());
    benchmark::ClobberMemory();
  }
  finish(state, weights.size(), kWeights);
}

void dequantize(benchmark::State& state, Scheme scheme, DType type) {
  const Bytes weights = gaussian(type);
  Quantized codes(scheme, type);
  kernels::quantize(scheme, weights.data(), type, kWeights, codes.out());
  Bytes got(weights.size());
  Bytes want(weights.size());
  kernels::dequantize(scheme, codes.in(), type, kWeights, got.data());
  kernels::ref::dequantize(scheme, codes.in(), type, kWeights, want.data());
  require(got == want, "dequantize");
  for (auto _ : state) {
    kernels::dequantize(scheme, codes.in(), type, kWeights, got.data());
    benchmark::ClobberMemory();
  }
  finish(state, codes.codes.size() + codes.scales.size() + codes.biases.size(), kWeights);
}

void convert(benchmark::State& state, DType from, DType to) {
  const Bytes weights = gaussian(from);
  Bytes got(kWeights * mlxmill::dtype_bytes(to));
  Bytes want(got.size());
  kernels::convert_floats(weights.data(), from, got.data(), to, kWeights);
  kernels::ref::convert_floats(weights.data(), from, want.data(), to, kWeights);
  require(got == want, "convert_floats");
  for (auto _ : state) {
    kernels::convert_floats(weights.data(), from, got.data(), to, kWeights);
    benchmark::ClobberMemory();
  }
  finish(state, weights.size(), kWeights);
}

void count_non_finite(benchmark::State& state, DType type) {
  const Bytes weights = gaussian(type);
  require(kernels::count_non_finite(weights.data(), type, kWeights) == 0, "count_non_finite");
  for (auto _ : state) {
    benchmark::DoNotOptimize(kernels::count_non_finite(weights.data(), type, kWeights));
  }
  finish(state, weights.size(), kWeights);
}

void transpose(benchmark::State& state, std::size_t element_bytes) {
  const std::size_t rows = 1024;
  const std::size_t cols = kWeights / rows;
  const Bytes weights = gaussian(DType::kF32);
  Bytes got(kWeights * element_bytes);
  Bytes want(got.size());
  Bytes src(got.size());
  std::memcpy(src.data(), weights.data(), std::min(src.size(), weights.size()));
  kernels::transpose(src.data(), rows, cols, cols, element_bytes, got.data());
  kernels::ref::transpose(src.data(), rows, cols, cols, element_bytes, want.data());
  require(got == want, "transpose");
  for (auto _ : state) {
    kernels::transpose(src.data(), rows, cols, cols, element_bytes, got.data());
    benchmark::ClobberMemory();
  }
  finish(state, src.size(), kWeights);
}

void copy(benchmark::State& state, DType type) {
  const Bytes weights = gaussian(type);
  Bytes got(weights.size());
  for (auto _ : state) {
    std::memcpy(got.data(), weights.data(), weights.size());
    benchmark::ClobberMemory();
  }
  finish(state, weights.size(), kWeights);
}

std::string name_of(DType type) { return std::string(mlxmill::dtype_name(type)); }

void add_scheme(const char* mode_name, const Scheme& scheme, DType type) {
  const std::string name = std::string(mode_name) + "-" + std::to_string(scheme.bits) + "-" +
                           std::to_string(scheme.group_size) + "/" + name_of(type);
  benchmark::RegisterBenchmark(("quantize/" + name).c_str(), quantize, scheme, type);
  benchmark::RegisterBenchmark(("dequantize/" + name).c_str(), dequantize, scheme, type);
}

void add_all() {
  for (const DType type : {DType::kBF16, DType::kF16, DType::kF32}) {
    benchmark::RegisterBenchmark(("memcpy/" + name_of(type)).c_str(), copy, type);
    for (const int bits : {2, 3, 4, 5, 6, 8}) add_scheme("affine", {Mode::kAffine, bits, 64}, type);
    for (const int group : {32, 128}) add_scheme("affine", {Mode::kAffine, 4, group}, type);
    add_scheme("mxfp4", {Mode::kMxfp4, 4, 32}, type);
    add_scheme("nvfp4", {Mode::kNvfp4, 4, 16}, type);
    add_scheme("mxfp8", {Mode::kMxfp8, 8, 32}, type);
    for (const DType to : {DType::kBF16, DType::kF16, DType::kF32}) {
      if (to == type) continue;
      benchmark::RegisterBenchmark(("convert/" + name_of(type) + "-" + name_of(to)).c_str(),
                                   convert, type, to);
    }
    benchmark::RegisterBenchmark(("count_non_finite/" + name_of(type)).c_str(), count_non_finite,
                                 type);
  }
  for (const std::size_t bytes : {1, 2, 4, 8}) {
    benchmark::RegisterBenchmark(("transpose/" + std::to_string(bytes)).c_str(), transpose, bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
