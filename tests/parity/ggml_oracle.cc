// Decodes and repacks blocks of ggml, for comparison with the gguf package and libmlx by
// ggml_oracle_test.py.
//
//   ggml_oracle types            prints NAME BLOCK_ELEMENTS BLOCK_BYTES of every type that is read
//   ggml_oracle run < JOBS       does one job per line:
//     decode TYPE IN OUT             OUT: F32 weights
//     repack TYPE IN OUT             OUT: codes, scales, biases (affine), u64 of inexact blocks
//     time TYPE IN OUT               OUT: decoded GB/s as text, the best of 5
#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/ggml.h"

namespace {

namespace base = mlxmill::base;
namespace kernels = mlxmill::kernels;
using Bytes = std::vector<std::uint8_t>;

struct Job {
  std::string action, type, in, out;
};

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(values.data());
  return {at, at + values.size() * sizeof(T)};
}

std::vector<float> decode(const base::GgmlTypeInfo& info, const Bytes& in) {
  const std::size_t n = in.size() / info.block_bytes;
  std::vector<float> weights(n * info.block_elements);
  kernels::decode_ggml(static_cast<base::GgmlType>(info.id), in.data(), n, weights.data());
  return weights;
}

Bytes repack(const base::GgmlTypeInfo& info, const Bytes& in) {
  const auto type = static_cast<base::GgmlType>(info.id);
  const mlxmill::Scheme scheme = kernels::ggml_repack_scheme(type).value();
  const std::size_t n = in.size() / info.block_bytes;
  const std::size_t groups = n * info.block_elements / static_cast<std::size_t>(scheme.group_size);
  const bool affine = scheme.mode == mlxmill::Mode::kAffine;
  Bytes codes(kernels::code_bytes(scheme, n * info.block_elements));
  Bytes scales(groups * (affine ? 2 : 1));
  Bytes biases(affine ? scales.size() : 0);
  const std::uint64_t inexact =
      kernels::repack_ggml(type, in.data(), n, {codes.data(), scales.data(), biases.data()});
  Bytes out = codes;
  for (const Bytes& part : {scales, biases, bytes_of(std::vector{inexact})}) {
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

Bytes time(const base::GgmlTypeInfo& info, const Bytes& in) {
  double best = 0;
  const std::size_t n = in.size() / info.block_bytes;
  std::vector<float> weights(n * info.block_elements);
  for (int run = 0; run < 6; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    kernels::decode_ggml(static_cast<base::GgmlType>(info.id), in.data(), n, weights.data());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, static_cast<double>(weights.size()) * 4e-9 / seconds.count());
  }
  const std::string text = std::to_string(best);
  return {text.begin(), text.end()};
}

bool run_line(const std::string& line) {
  Job job;
  std::istringstream words(line);
  const base::GgmlTypeInfo* info = nullptr;
  if (words >> job.action >> job.type >> job.in >> job.out) {
    for (const auto& known : base::kGgmlTypes) {
      if (known.name == job.type && known.block_elements > 0) info = &known;
    }
  }
  if (!info) {
    std::cerr << "ggml_oracle: cannot read job: " << line << "\n";
    return false;
  }
  std::ifstream file(job.in, std::ios::binary);
  const Bytes in((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const Bytes out = job.action == "decode"   ? bytes_of(decode(*info, in))
                    : job.action == "repack" ? repack(*info, in)
                                             : time(*info, in);
  std::ofstream result(job.out, std::ios::binary);
  result.write(reinterpret_cast<const char*>(out.data()), static_cast<std::streamsize>(out.size()));
  return static_cast<bool>(result);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc == 2 ? argv[1] : "";
  if (command == "types") {
    for (const auto& info : base::kGgmlTypes) {
      if (info.block_elements == 0) continue;
      std::cout << info.name << " " << info.block_elements << " " << info.block_bytes << "\n";
    }
    return 0;
  }
  if (command != "run") {
    std::cerr << "usage: ggml_oracle types | run < JOBS\n";
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) {
    if (!run_line(line)) return 1;
  }
  return 0;
}
