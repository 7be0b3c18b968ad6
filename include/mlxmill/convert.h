// Converting a Hugging Face checkpoint to an MLX model folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mlxmill/dtype.h"
#include "mlxmill/hub.h"
#include "mlxmill/progress.h"
#include "mlxmill/result.h"
#include "mlxmill/scheme.h"

namespace mlxmill {

/// What to make of a checkpoint. The defaults are mlx_lm.convert's.
struct ConvertOptions {
  std::filesystem::path source;  ///< Folder with config.json and safetensors.
  std::filesystem::path output;  ///< Folder to be made; must not exist unless `force`.

  /// A model of the Hub instead of `source`, whose weights are read over the network as they are
  /// needed and never stored: "owner/name" and what else download_model() takes. Empty: `source`.
  std::string stream_model;
  HubOptions hub;  ///< For stream_model.

  bool quantize = false;
  Mode mode = Mode::kAffine;
  std::optional<int> bits;        ///< Default by mode: affine 4, mxfp4 and nvfp4 4, mxfp8 8.
  std::optional<int> group_size;  ///< Default by mode: affine 64, mxfp4 and mxfp8 32, nvfp4 16.
  /// "", one of recipe_names(), or the path of a recipe file (docs/RECIPES.md): an existing file,
  /// or anything that ends in ".toml".
  std::string recipe;
  bool dequantize = false;   ///< Turns a quantized source back into floats.
  bool exact_norms = false;  ///< Norms that mlx-lm stores as 1 + weight stay float32; multipliers
                             ///< are rounded once.
  bool requantize =
      false;  ///< Quantizes anew what another format's source holds as codes MLX could keep.
  std::optional<DType>
      dtype;  ///< Of what stays unquantized; default: the config's torch_dtype, else as stored.
  std::string codes = "mlx";  ///< How codes are chosen; "mlx" = libmlx's CPU backend, bit for bit.

  bool force = false;             ///< Replace an existing output once the new one is complete.
  bool restart = false;           ///< Throw away an unfinished earlier run instead of resuming it.
  bool allow_non_finite = false;  ///< Pass NaN and infinite weights on instead of refusing them.
  int threads = 0;                ///< 0: every core this process may use.
  std::uint64_t memory_bytes =
      0;  ///< Budget for buffers; 0: 128 MiB. More buys longer reads of transposed tensors.
  std::uint64_t max_shard_bytes = std::uint64_t{5}
                                  << 30;  ///< A larger tensor still gets a file of its own.
  std::string architecture_file;  ///< Path of a declaration that comes before the built-in ones.
  std::string base_model;         ///< For the model card; "": what the source says of itself.
  std::string command;            ///< For the model card; "": left out.
};

/// What becomes of one output tensor's module.
struct PlannedModule {
  std::string path;              ///< "model.layers.0.mlp.down_proj".
  std::optional<Scheme> scheme;  ///< Empty: not quantized.
  std::string
      reason;  ///< Why not, for people; empty for norms and other parameters never quantized.
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;  ///< In the output, all its tensors.
  std::string rule;         ///< Of the recipe that decided: "my.toml:12", "routers_8:5"; else "".
};

/// One rule of the recipe, and what it decided.
struct PlannedRule {
  std::string where;     ///< File and line, as PlannedModule::rule.
  std::string match;     ///< Its patterns and condition.
  std::string settings;  ///< "affine 8-bit", "kept as float32".
  bool optional = false;
  std::uint64_t modules = 0;
  std::uint64_t parameters = 0;
};

/// One tensor of the output, exactly.
struct PlannedTensor {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::string file;         ///< Shard it goes to.
  std::uint64_t begin = 0;  ///< Bytes from the start of the file.
  std::uint64_t end = 0;
};

struct DroppedTensor {
  std::string name;
  std::string reason;
};

/// Everything about a conversion that can be known before a weight is read. Sizes are exact.
struct Plan {
  std::string family;  ///< Declaration that serves the model.
  std::string model_type;
  std::vector<PlannedModule> modules;
  std::vector<PlannedRule> rules;  ///< Of the recipe, in its order; empty without one.
  std::vector<PlannedTensor> tensors;
  std::vector<DroppedTensor> dropped;
  std::vector<std::string> warnings;  ///< What the user should know before trusting the output.
  std::map<std::string, std::uint64_t> file_bytes;  ///< Weight shards by name.
  std::uint64_t parameters = 0;
  std::uint64_t source_bytes = 0;  ///< Source shards.
  std::uint64_t output_bytes = 0;  ///< Weight shards.
  std::uint64_t copied_bytes = 0;  ///< Tokenizer and other files copied.
  std::uint64_t disk_needed = 0;   ///< Upper bound of what the run takes on disk.
  std::uint64_t disk_free = 0;
  std::uint64_t memory_needed = 0;  ///< Upper bound of the buffers.
  double bits_per_weight = 0;       ///< output_bytes * 8 / parameters.
  std::string source_method;  ///< How the source is quantized: "gptq", "fp8", ...; empty for floats
                              ///< and MLX.
};

/// What a finished conversion did; times are wall clock.
struct ConvertReport {
  Plan plan;
  std::filesystem::path output;
  double seconds = 0;
  double seconds_reading_back = 0;  ///< Of those, the check of the written files.
  std::uint64_t bytes_resumed = 0;  ///< Source bytes that an earlier run had done.
  std::uint64_t non_finite = 0;     ///< Weights passed on with allow_non_finite.
  std::uint64_t peak_memory = 0;    ///< Peak resident set of the process, bytes; 0 where unknown.
  int threads = 0;
  std::string simd_target;
};

/// Plans a conversion: reads config and headers only, writes nothing.
/// Errors: those of a bad source (kNotFound, kInvalidInput, kUnsupported, kUnknownModel) and of
/// contradicting options (kUsage). An existing output or too little space is no error here. With
/// stream_model only the headers of its weights are fetched (a GGUF file whole).
Result<Plan> plan_conversion(const ConvertOptions& options, const Callbacks& callbacks = {});

/// Converts. The output name appears only when everything in it is complete, checked and synced;
/// until then work happens in a hidden sibling folder that a later call with the same options
/// resumes. The source is only read. Errors: as plan_conversion, and kOutputExists, kNoSpace
/// (before the first write where it can be known), kIo, kNonFinite, kBusy (another process works on
/// the same output), kCancelled.
Result<ConvertReport> convert_model(const ConvertOptions& options, const Callbacks& callbacks = {});

}  // namespace mlxmill
