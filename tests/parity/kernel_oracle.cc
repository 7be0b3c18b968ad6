// Runs kernels on files, for comparison with live libmlx by kernel_oracle_test.py.
//
//   kernel_oracle targets        prints the SIMD targets of this machine
//   kernel_oracle run < JOBS     does one job per line:
//     TARGET quantize MODE BITS GROUP DTYPE IN OUT
//         IN: weights; OUT: codes, scales, biases (affine), then the weights dequantized to DTYPE.
//     TARGET dequantize MODE BITS GROUP DTYPE IN OUT
//         IN: codes, scales, biases (affine); OUT: weights of DTYPE.
// TARGET is "ref" for the scalar reference. Files hold raw little-endian elements.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
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

Mode mode_of(const std::string& name) {
  if (name == "affine") return Mode::kAffine;
  if (name == "mxfp4") return Mode::kMxfp4;
  return name == "nvfp4" ? Mode::kNvfp4 : Mode::kMxfp8;
}

struct Job {
  std::string target, action, mode, dtype, in, out;
  int bits = 0;
  int group = 0;
};

struct Layout {
  std::size_t codes, scales, biases;
};

Layout layout_of(const Scheme& scheme, DType type, std::size_t n) {
  const std::size_t groups = n / static_cast<std::size_t>(scheme.group_size);
  const std::size_t codes = kernels::code_bytes(scheme, n);
  if (scheme.mode != Mode::kAffine) return {codes, groups, 0};
  const std::size_t bytes = groups * mlxmill::dtype_bytes(type);
  return {codes, bytes, bytes};
}

void dequantize(bool ref, const Scheme& scheme, const std::uint8_t* parts, const Layout& layout,
                DType type, std::size_t n, std::uint8_t* to) {
  const std::uint8_t* scales = parts + layout.codes;
  const kernels::QuantizedIn in{parts, scales, scales + layout.scales};
  ref ? kernels::ref::dequantize(scheme, in, type, n, to)
      : kernels::dequantize(scheme, in, type, n, to);
}

Bytes run(const Job& job, const Bytes& in) {
  const bool ref = job.target == "ref";
  const Scheme scheme{mode_of(job.mode), job.bits, job.group};
  const DType type = *mlxmill::dtype_from_torch_name(job.dtype);
  const std::size_t element = mlxmill::dtype_bytes(type);
  if (job.action == "dequantize") {
    const Layout one = layout_of(scheme, type, static_cast<std::size_t>(job.group));
    const std::size_t groups = in.size() / (one.codes + one.scales + one.biases);
    const std::size_t n = groups * static_cast<std::size_t>(job.group);
    Bytes out(n * element);
    dequantize(ref, scheme, in.data(), layout_of(scheme, type, n), type, n, out.data());
    return out;
  }
  const std::size_t n = in.size() / element;
  const Layout layout = layout_of(scheme, type, n);
  const std::size_t parts = layout.codes + layout.scales + layout.biases;
  Bytes out(parts + n * element);
  std::uint8_t* scales = out.data() + layout.codes;
  const kernels::QuantizedOut to{out.data(), scales, scales + layout.scales};
  ref ? kernels::ref::quantize(scheme, in.data(), type, n, to)
      : kernels::quantize(scheme, in.data(), type, n, to);
  dequantize(ref, scheme, out.data(), layout, type, n, out.data() + parts);
  return out;
}

bool run_line(const std::string& line) {
  Job job;
  std::istringstream words(line);
  if (!(words >> job.target >> job.action >> job.mode >> job.bits >> job.group >> job.dtype >>
        job.in >> job.out)) {
    std::cerr << "kernel_oracle: cannot read job: " << line << "\n";
    return false;
  }
  if (job.target != "ref") {
    if (auto status = mlxmill::set_simd_target(job.target); !status) {
      std::cerr << "kernel_oracle: " << status.error().message() << "\n";
      return false;
    }
  }
  std::ifstream file(job.in, std::ios::binary);
  const Bytes in((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const Bytes out = run(job, in);
  if (job.target != "ref" && mlxmill::active_simd_target() != job.target) {
    std::cerr << "kernel_oracle: asked for " << job.target << ", ran on "
              << mlxmill::active_simd_target() << "\n";
    return false;
  }
  std::ofstream result(job.out, std::ios::binary);
  result.write(reinterpret_cast<const char*>(out.data()), static_cast<std::streamsize>(out.size()));
  return static_cast<bool>(result);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc == 2 ? argv[1] : "";
  if (command == "targets") {
    for (const std::string& name : mlxmill::supported_simd_targets()) std::cout << name << "\n";
    return 0;
  }
  if (command != "run") {
    std::cerr << "usage: kernel_oracle targets | run < JOBS\n";
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) {
    if (!run_line(line)) return 1;
  }
  return 0;
}
