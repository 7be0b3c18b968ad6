#include "mlxmill/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

#include "architectures/declaration.h"
#include "base/checked_math.h"
#include "base/parallel.h"
#include "convert/manifest.h"
#include "formats/checkpoint.h"
#include "formats/quantization_config.h"
#include "kernels/kernels.h"

namespace mlxmill {
namespace {

using convert::Manifest;
using formats::Checkpoint;
using formats::StoredTensor;

constexpr std::size_t kMostProblems = 100;
constexpr std::uint64_t kReadBytes = 1 << 20;
constexpr std::uint64_t kMaxChunkBytes = 256 << 20;

bool ends_with(std::string_view name, std::string_view suffix) {
  return name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix;
}

class Verifier {
 public:
  Verifier(const VerifyOptions& options, const Callbacks& callbacks)
      : options_(options), callbacks_(callbacks) {}

  Result<VerifyReport> run() {
    const auto start = std::chrono::steady_clock::now();
    MLXMILL_ASSIGN(checkpoint_, formats::open_checkpoint(options_.folder));
    Result<std::optional<Manifest>> manifest = convert::read_manifest(options_.folder);
    if (manifest) {
      manifest_ = *std::move(manifest);
    } else {
      problem(manifest.error().message());
    }
    report_.has_manifest = manifest_.has_value();
    for (std::size_t i = 0; i < checkpoint_.tensors.size(); ++i)
      by_name_[checkpoint_.tensors[i].tensor.name] = i;
    check_names();
    check_quantization();
    check_family();
    check_files();
    check_tensors();
    if (cancelled_) return Error(Code::kCancelled, "stopped on request");
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(report_);
  }

 private:
  void problem(std::string text) {
    const std::lock_guard lock(mutex_);
    ++report_.problem_count;
    if (report_.problems.size() < kMostProblems) report_.problems.push_back(std::move(text));
  }

  const StoredTensor* find(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : &checkpoint_.tensors[it->second].tensor;
  }

  /// Every tensor of the manifest must be there, and no other.
  void check_names() {
    if (!manifest_) return;
    for (const auto& [name, entry] : manifest_->tensors) {
      if (!find(name))
        problem(fmt::format("{}: the manifest names this tensor, no shard holds it", name));
    }
    for (const auto& [name, index] : by_name_) {
      if (!manifest_->tensors.count(name))
        problem(fmt::format("{}: a shard holds this tensor, the manifest does not name it", name));
    }
  }

  void check_quantization() {
    Result<std::optional<formats::QuantizationConfig>> config =
        formats::read_quantization_config(checkpoint_.config);
    if (!config) return problem(config.error().message());
    for (const auto& [name, index] : by_name_) {
      const StoredTensor& tensor = checkpoint_.tensors[index].tensor;
      if (ends_with(name, ".weight") && tensor.dtype == DType::kU32 &&
          !find(name.substr(0, name.size() - 6) + "scales")) {
        problem(fmt::format("{}: codes without scales", name));
      }
      if (!ends_with(name, ".scales")) continue;
      const std::string module = name.substr(0, name.size() - 7);
      const StoredTensor* codes = find(module + ".weight");
      if (!codes || codes->dtype != DType::kU32) continue;
      ++report_.quantized_modules;
      if (!*config) {
        problem(fmt::format("{}: quantized, but config.json has no quantization", module));
      } else if (const std::optional<Scheme> scheme = (*config)->for_module(module)) {
        schemes_[module] = *scheme;
        check_module(module, *scheme, *codes, tensor, find(module + ".biases"));
      } else {
        problem(fmt::format("{}: quantized, but config.json says it is not", module));
      }
    }
    if (!*config) return;
    for (const auto& [module, scheme] : (*config)->entries) {
      if (scheme && !schemes_.count(module))
        problem(fmt::format("{}: config.json quantizes it, no shard holds its scales", module));
    }
  }

  void check_module(const std::string& module, const Scheme& scheme, const StoredTensor& codes,
                    const StoredTensor& scales, const StoredTensor* biases) {
    const bool affine = scheme.mode == Mode::kAffine;
    base::Shape expected = codes.shape;
    if (!expected.empty()) expected.back() = expected.back() * 32 / scheme.bits / scheme.group_size;
    if (scales.shape != expected) {
      problem(fmt::format("{}.scales: shape {}; expected {} for {}", module,
                          base::to_string(scales.shape), base::to_string(expected),
                          describe(scheme)));
    }
    if (affine ? !is_mlx_float(scales.dtype) : scales.dtype != DType::kU8) {
      problem(fmt::format("{}.scales: dtype {}; expected {} for {}", module,
                          dtype_name(scales.dtype), affine ? "a float" : "U8", describe(scheme)));
    }
    if (affine && !biases)
      problem(fmt::format("{}: no biases; {} needs them", module, describe(scheme)));
    if (!affine && biases) problem(fmt::format("{}.biases: {} has none", module, describe(scheme)));
    if (affine && biases && (biases->shape != scales.shape || biases->dtype != scales.dtype)) {
      problem(fmt::format("{}.biases: {} {}; expected {} {} as the scales have", module,
                          dtype_name(biases->dtype), base::to_string(biases->shape),
                          dtype_name(scales.dtype), base::to_string(scales.shape)));
    }
  }

  /// Names and shapes against the family's declaration, where one serves the model.
  void check_family() {
    Result<architectures::Catalogue> catalogue =
        architectures::Catalogue::for_config(checkpoint_.config);
    if (!catalogue) return problem(catalogue.error().message());
    Result<architectures::Declaration> family = catalogue->find(checkpoint_.config);
    if (!family) {
      if (callbacks_.note)
        callbacks_.note(
            "no declaration serves this model_type: shapes are not checked against the config");
      return;
    }
    std::vector<tensors::SourceTensor> tensors;
    for (const formats::CheckpointTensor& t : checkpoint_.tensors) {
      tensors.push_back({t.tensor.name, t.tensor.dtype, t.tensor.shape});
    }
    const Result<architectures::Layout> layout = family->apply(checkpoint_.config, tensors);
    if (!layout) return problem(layout.error().message());
    for (const architectures::Dropped& d : layout->dropped)
      problem(fmt::format("{}: mlx-lm would drop it ({})", d.name, d.reason));
  }

  void check_files() {
    report_.files = checkpoint_.shards.size();
    for (const formats::Shard& shard : checkpoint_.shards) report_.bytes += shard.file_bytes;
    if (!manifest_) return;
    for (const auto& [name, entry] : manifest_->files) {
      ++report_.files;
      const Result<Manifest::SmallFile> found = convert::digest_file(options_.folder / name);
      if (!found) {
        problem(found.error().message());
        continue;
      }
      report_.bytes += found->bytes;
      // People edit cards, and eval writes its numbers into them.
      if (name == "README.md") continue;
      if (found->bytes != entry.bytes) {
        problem(fmt::format("{}: {} bytes; expected {}", name, found->bytes, entry.bytes));
      } else if (found->digest != entry.digest) {
        problem(fmt::format("{}: content differs from the manifest's hash", name));
      }
    }
    for (const auto& [name, entry] : manifest_->shards) check_shard(name, entry);
  }

  void check_shard(const std::string& name, const Manifest::ShardEntry& entry) {
    const auto shard = std::find_if(checkpoint_.shards.begin(), checkpoint_.shards.end(),
                                    [&](const formats::Shard& s) { return s.name == name; });
    if (shard == checkpoint_.shards.end()) return problem(fmt::format("{}: missing", name));
    if (shard->file_bytes != entry.bytes) {
      return problem(
          fmt::format("{}: {} bytes; expected {}", name, shard->file_bytes, entry.bytes));
    }
    std::vector<std::byte> header(shard->data_begin);
    if (Status status = shard->file.read_at(0, header); !status)
      return problem(status.error().message());
    if (io::digest(std::span<const std::byte>(header)) != entry.header) {
      problem(fmt::format("{}: header differs from the manifest's hash", name));
    }
  }

  void check_tensors() {
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> bytes_done{0};
    const std::size_t total = checkpoint_.tensors.size();
    const int workers =
        options_.threads > 0 ? std::min(options_.threads, 256) : base::available_cores();
    base::run_workers(workers, [&](int worker) {
      std::vector<std::byte> buffer;
      for (std::size_t i = next++; i < total && !cancelled_; i = next++) {
        if (Status status = check_tensor(checkpoint_.tensors[i], buffer); !status)
          problem(status.error().message());
        bytes_done += checkpoint_.tensors[i].tensor.end - checkpoint_.tensors[i].tensor.begin;
        if (worker != 0) continue;
        if (callbacks_.progress)
          callbacks_.progress({"verifying", bytes_done, checkpoint_.weight_bytes, 0, i, total});
        if (callbacks_.cancelled && callbacks_.cancelled()) cancelled_ = true;
      }
    });
    report_.tensors = total;
  }

  /// Hash, and values that no conversion writes.
  Status check_tensor(const formats::CheckpointTensor& t, std::vector<std::byte>& buffer) {
    const StoredTensor& tensor = t.tensor;
    const std::uint64_t bytes = tensor.end - tensor.begin;
    const Manifest::TensorEntry* entry = nullptr;
    if (manifest_) {
      const auto it = manifest_->tensors.find(tensor.name);
      if (it != manifest_->tensors.end()) entry = &it->second;
    }
    const std::uint64_t chunk = entry ? entry->chunk_bytes : kReadBytes;
    if (bytes && (chunk == 0 || chunk > kMaxChunkBytes || chunk % dtype_bytes(tensor.dtype) != 0)) {
      return Error(Code::kInvalidInput,
                   fmt::format("the manifest's chunk_bytes {} cannot be", chunk))
          .at(tensor.name);
    }
    io::Hasher hasher;
    std::uint64_t bad = 0;
    for (std::uint64_t at = 0; at < bytes; at += chunk) {
      const std::uint64_t n = std::min(chunk, bytes - at);
      if (buffer.size() < n) buffer.resize(n);
      const std::span<std::byte> part = std::span(buffer).first(n);
      MLXMILL_TRY(checkpoint_.shards[t.shard].file.read_at(tensor.begin + at, part));
      hasher.update(io::digest(std::span<const std::byte>(part)));
      bad += count_bad(tensor, part);
    }
    if (entry && hasher.finish() != entry->digest)
      problem(fmt::format("{}: content differs from the manifest's hash", tensor.name));
    if (bad) problem(fmt::format("{}: {} values are NaN or infinite", tensor.name, bad));
    return {};
  }

  std::uint64_t count_bad(const StoredTensor& tensor, std::span<const std::byte> data) const {
    if (is_mlx_float(tensor.dtype)) {
      return kernels::count_non_finite(data.data(), tensor.dtype,
                                       data.size() / dtype_bytes(tensor.dtype));
    }
    if (tensor.dtype != DType::kU8 || !ends_with(tensor.name, ".scales")) return 0;
    const auto scheme = schemes_.find(tensor.name.substr(0, tensor.name.size() - 7));
    if (scheme == schemes_.end()) return 0;
    // NaN: 0xff in E8M0; all exponent and mantissa bits in E4M3.
    const std::uint8_t mask = scheme->second.mode == Mode::kNvfp4 ? 0x7f : 0xff;
    return static_cast<std::uint64_t>(std::count_if(
        data.begin(), data.end(),
        [mask](std::byte value) { return (static_cast<std::uint8_t>(value) & mask) == mask; }));
  }

  const VerifyOptions& options_;
  const Callbacks& callbacks_;
  Checkpoint checkpoint_;
  std::optional<Manifest> manifest_;
  std::map<std::string, std::size_t> by_name_;
  std::map<std::string, Scheme> schemes_;  ///< Of quantized modules.
  VerifyReport report_;
  std::mutex mutex_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace

Result<VerifyReport> verify_model(const VerifyOptions& options, const Callbacks& callbacks) {
  return Verifier(options, callbacks).run();
}

}  // namespace mlxmill
