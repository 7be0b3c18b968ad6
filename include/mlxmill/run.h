// Running a language model: token ids in, logits out. Needs a build with libmlx
// (MLXMILL_WITH_RUNTIME); without it every call here fails with kUnsupported.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mlxmill/dtype.h"
#include "mlxmill/progress.h"
#include "mlxmill/result.h"

namespace mlxmill {

/// How to open a model.
struct ModelOptions {
  std::filesystem::path path;  ///< An MLX folder, any Hugging Face checkpoint, or a GGUF file.
  std::optional<DType>
      dtype;  ///< Float weights and activations: F16, BF16, F32; default: as stored.
  std::int64_t context =
      4096;  ///< Tokens that memory is planned for; a sequence may not be longer.
  std::optional<int>
      kv_bits;  ///< Keys and values are kept with 2, 3, 4, 5, 6 or 8 bits; default: floats.
  /// 32, 64 or 128, of which keys and values of a head are whole groups; 0: 64, or 32 where they
  /// are not of 64.
  int kv_group_size = 0;
  /// With kv_bits: a sequence's keys and values stay floats until it has so many tokens, 0 or more.
  std::int64_t kv_start = 0;
  /// At most so many keys and values a layer, 5 or more: the first 4 and the latest; default: all.
  /// Layers with a window of their own keep to that. Not together with kv_bits.
  std::optional<std::int64_t> max_kv_size;
  /// On a CPU, what meets affine or MXFP4 codes is rounded to integers of 8 bits first, each group
  /// with a scale of its own: faster, at a cost that `mlxmill eval --int8-activations` measures.
  bool int8_activations = false;
  int prefill_step_size = 512;     ///< Tokens of a prompt that are computed at once, 1 or more.
  std::uint64_t memory_bytes = 0;  ///< What the model may take; 0: what this machine has free.
  std::string architecture_file;   ///< Path of a declaration that comes before the built-in ones.
  Callbacks
      callbacks;  ///< Of open(); run() asks `cancelled` between chunks, as long as the model lives.
};

/// What is known about an opened model.
struct ModelFacts {
  std::string family;
  std::string model_type;
  std::int64_t vocabulary = 0;  ///< Token ids are 0 to vocabulary - 1.
  std::int64_t layers = 0;
  std::int64_t max_positions = 0;  ///< Of training, as config.json says; 0: it does not.
  std::int64_t context = 0;
  std::uint64_t weight_bytes = 0;  ///< In memory.
  std::uint64_t cache_bytes = 0;   ///< Of one sequence of `context` tokens.
  DType dtype = DType::kBF16;      ///< Of activations.
  std::vector<std::string> warnings;
};

/// Float32 logits, row by row.
struct Logits {
  std::vector<float> values;  ///< [positions, vocabulary]
  std::size_t positions = 0;
  std::size_t vocabulary = 0;

  std::span<const float> row(std::size_t position) const {
    return std::span(values).subspan(position * vocabulary, vocabulary);
  }
};

/// Which positions logits are wanted of.
enum class LogitsOf : std::uint8_t { kLast, kAll };

/// Rows that reached the weight of a module, as the model computed them.
struct InputRows {
  DType dtype = DType::kBF16;
  std::size_t columns = 0;
  std::vector<std::byte> values;  ///< [rows, columns] of dtype, row-major.

  std::size_t rows() const {
    return columns == 0 ? 0 : values.size() / dtype_bytes(dtype) / columns;
  }
};

/// One product x W^T of a module.
struct ModuleInput {
  std::string module;                     ///< Its path: "model.layers.0.mlp.down_proj".
  std::shared_ptr<const InputRows> rows;  ///< x; modules that read the same share it.
  /// Of a stack of matrices (experts, heads) those that each row met, as many for every row, row by
  /// row. Empty: every row met all there are.
  std::vector<std::uint32_t> matrices;
};

/// What a model remembers of one sequence: keys, values and recurrent states. Belongs to the model
/// that made it, which must live as long.
class ModelCache {
 public:
  ModelCache(ModelCache&&) noexcept;
  ModelCache& operator=(ModelCache&&) noexcept;
  ~ModelCache();

  /// Tokens so far.
  std::int64_t length() const;
  /// Forgets the last tokens, down to `length`. False when what is kept cannot go back (a sliding
  /// window that has moved on, a recurrent state); nothing changes then.
  bool trim_to(std::int64_t length);

  struct Parts;

 private:
  friend class Model;
  explicit ModelCache(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// An opened model. Threads: one call at a time.
class Model {
 public:
  /// Opens and loads. Weights, cache and activations are counted before a weight is read. Errors:
  /// those of convert() for opening; kUnsupported for a family that is converted only; kNoMemory
  /// for what does not fit; kUsage for options.
  static Result<Model> open(const ModelOptions& options);

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const ModelFacts& facts() const;

  ModelCache new_cache() const;

  /// Runs tokens after those the cache has seen and remembers them. Long inputs go in chunks.
  /// Errors: kUsage for no tokens, ids outside of the vocabulary, or a sequence beyond the context;
  /// kCancelled, after which the cache holds the chunks that were done.
  Result<Logits> run(std::span<const std::int32_t> ids, ModelCache& cache,
                     LogitsOf which = LogitsOf::kLast) const;

  /// Runs one token as run() does, and says what reached the weights of its modules: every product
  /// with a weight in the order they were computed, the head's too. Embeddings and convolutions are
  /// none. Errors: those of run().
  Result<std::vector<ModuleInput>> run_watched(std::int32_t id, ModelCache& cache) const;

  /// Writes a cache to a safetensors file, with the ids of its tokens if the caller gives them.
  Status save_cache(const ModelCache& cache, const std::filesystem::path& file,
                    std::span<const std::int32_t> ids = {}) const;

  struct LoadedCache;
  /// Reads it back. Errors: kInvalidInput for a damaged file, and for one of another model or other
  /// options.
  Result<LoadedCache> load_cache(const std::filesystem::path& file) const;

  struct Parts;

 private:
  explicit Model(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct Model::LoadedCache {
  ModelCache cache;
  std::vector<std::int32_t> ids;
};

/// The version of libmlx this program runs with ("0.32.4"); empty without the runtime.
std::string mlx_version();

}  // namespace mlxmill
