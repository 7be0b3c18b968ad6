#include "plan/probe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "kernels/kernels.h"

namespace mlxmill::plan {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMostBytes = 4 << 20;
constexpr std::uint64_t kPart = 1 << 20;
constexpr double kReadSeconds = 1;
constexpr double kQuantizeSeconds = 0.2;
constexpr std::size_t kWeights = 256 << 10;  // A unit of a conversion.
constexpr Scheme kScheme{};                  // Affine, 4 bits, groups of 64.

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The bytes as bfloat16 below 2, so that none is infinite; repeated to a unit's length.
std::vector<std::uint16_t> weights_of(const std::vector<std::byte>& bytes) {
  std::vector<std::uint16_t> weights(kWeights);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::size_t at = bytes.size() < 2 ? 0 : (2 * i) % (bytes.size() / 2 * 2);
    std::uint16_t value = 0;
    if (bytes.size() >= 2) std::memcpy(&value, bytes.data() + at, 2);
    weights[i] = value & 0xbfff;
  }
  return weights;
}

double quantized_per_second(const std::vector<std::uint16_t>& weights, int threads) {
  std::atomic<std::uint64_t> done{0};
  const auto start = Clock::now();
  base::run_workers(threads, [&](int) {
    std::vector<std::byte> codes(kernels::code_bytes(kScheme, kWeights));
    std::vector<std::uint16_t> scales(kWeights / static_cast<std::size_t>(kScheme.group_size));
    std::vector<std::uint16_t> biases(scales.size());
    while (since(start) < kQuantizeSeconds) {
      kernels::quantize(kScheme, weights.data(), DType::kBF16, kWeights,
                        {codes.data(), scales.data(), biases.data()});
      done += kWeights;
    }
  });
  return static_cast<double>(done) / since(start);
}

}  // namespace

Result<PlanProbe> probe(const formats::Checkpoint& checkpoint, std::uint64_t parameters) {
  PlanProbe result;
  const auto largest =
      std::max_element(checkpoint.shards.begin(), checkpoint.shards.end(),
                       [](const auto& a, const auto& b) { return a.file_bytes < b.file_bytes; });
  std::vector<std::byte> bytes;
  double seconds = 0;
  if (largest != checkpoint.shards.end()) {
    const std::uint64_t begin = std::min(largest->data_begin, largest->file_bytes);
    const std::uint64_t wanted = std::min(kMostBytes, largest->file_bytes - begin);
    const auto start = Clock::now();
    while (bytes.size() < wanted && seconds < kReadSeconds) {
      const std::uint64_t at = bytes.size();
      bytes.resize(at + std::min(kPart, wanted - at));
      MLXMILL_TRY(largest->file.read_at(begin + at, std::span(bytes).subspan(at)));
      seconds = since(start);
    }
  }
  result.bytes = bytes.size();
  result.threads = base::available_cores();
  result.weights_per_second = quantized_per_second(weights_of(bytes), result.threads);
  if (seconds > 0) result.bytes_per_second = static_cast<double>(result.bytes) / seconds;
  if (result.bytes_per_second > 0)
    result.read_seconds = static_cast<double>(checkpoint.weight_bytes) / result.bytes_per_second;
  if (result.weights_per_second > 0)
    result.quantize_seconds = static_cast<double>(parameters) / result.weights_per_second;
  return result;
}

}  // namespace mlxmill::plan
