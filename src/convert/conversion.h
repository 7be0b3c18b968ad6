// A conversion laid out completely: every output tensor's bytes and the work that makes them. Pure
// data; built from headers, config and declaration without reading a weight.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "architectures/declaration.h"
#include "base/value.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"
#include "mlxmill/convert.h"
#include "streaming/source.h"
#include "tensors/tensor_view.h"

namespace mlxmill::convert {

/// One tensor of the output.
struct OutputTensor {
  std::string name;
  DType dtype;
  base::Shape shape;
  std::size_t file = 0;     ///< Index into Conversion::files.
  std::uint64_t begin = 0;  ///< Bytes from the start of that file.
  std::uint64_t bytes = 0;
  /// The tensor's data is hashed in chunks of this many bytes (the last one shorter): one per unit
  /// of its job.
  std::uint64_t chunk_bytes = 0;
};

/// One weight shard of the output.
struct OutputFile {
  std::string name;
  std::string prefix;  ///< Header bytes.
  std::uint64_t bytes = 0;
};

/// The work that makes one to three output tensors from one weight. It is cut into units: fixed
/// ranges of elements that depend on the tensor alone, never on threads or memory, and that are
/// hashed and journaled one by one.
struct Job {
  enum class Kind : std::uint8_t {
    kCopy,        ///< One tensor, perhaps to another float type.
    kQuantize,    ///< Float weight to codes, scales and (affine) biases.
    kDequantize,  ///< Codes, scales and (affine) biases to float.
  };
  Kind kind = Kind::kCopy;
  /// The weight; for kDequantize codes, scales and perhaps biases. Names are left out.
  std::vector<tensors::TensorView> inputs;
  DType from = DType::kBF16;  ///< Stored dtype of the weight (kDequantize: of the scales).
  DType to =
      DType::kBF16;  ///< Dtype it is converted to first, and the output's where not quantized.
  std::optional<Scheme> scheme;
  std::optional<DType> bytes_are;  ///< kCopy of bytes: the 8-bit floats that they hold.
  std::vector<std::size_t>
      outputs;                  ///< Into Conversion::outputs; codes, scales, biases or one tensor.
  std::uint64_t elements = 0;   ///< Weights.
  std::uint64_t whole_row = 1;  ///< Elements that reading goes best in multiples of.
  std::uint64_t unit_elements = 0;
  std::uint64_t first_unit = 0;  ///< Units are numbered through all jobs.
  std::uint64_t n_units = 0;
  std::uint64_t source_bytes = 0;
  std::size_t depth = 0;              ///< Computations between the files and the weight.
  std::uint64_t source_position = 0;  ///< Index of the first source tensor; the order of work.
  std::string module;                 ///< For messages.
};

struct Conversion {
  ConvertOptions options;
  Plan plan;                          ///< What callers see, without its tensors: take_plan().
  std::string config_text;            ///< config.json of the output.
  std::uint64_t leaf_parameters = 0;  ///< As mlx-lm counts them for the index.
  std::string card;                   ///< README.md.
  std::vector<std::string> copies;    ///< Files copied beside the weights.
  std::vector<std::pair<std::string, std::string>>
      made;                        ///< Files written beside them: name, text.
  formats::Checkpoint checkpoint;  ///< Without its tensors: `sources` has them.
  std::size_t n_source_tensors = 0;
  std::unique_ptr<streaming::SourcePool> sources;  ///< What the jobs read from.
  std::vector<OutputTensor> outputs;               ///< In file and data order.
  std::vector<OutputFile> files;
  std::vector<Job>
      jobs;  ///< In order of their weight's place in the source, for long sequential reads.
  std::uint64_t n_units = 0;
  std::vector<std::int64_t> modified;  ///< Of each source shard, nanoseconds.
  std::string
      fingerprint;  ///< Of everything the output bytes depend on; what a journal must match.
};

/// Elements per unit of contiguous tensors.
inline constexpr std::uint64_t kUnitElements = 256 << 10;

/// The options of a conversion whose small files lie where `model` says.
ConvertOptions streamed_options(const ConvertOptions& options, const HubModel& model);

/// Plans. `remote`: weights that are not in the source's folder, as for
/// formats::ModelFolder::open(). Errors: those of plan_conversion.
Result<Conversion> make_conversion(const ConvertOptions& options, formats::RemoteFiles remote = {});

/// model.safetensors.index.json.
std::string index_text(const Conversion& conversion);

/// The whole plan, made of what the conversion held.
Plan take_plan(Conversion&& conversion);

}  // namespace mlxmill::convert
