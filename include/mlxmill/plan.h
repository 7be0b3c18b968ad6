// What becomes of a model, before its weights are fetched: sizes, memory, times, what others have
// made of it already.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mlxmill/hub.h"
#include "mlxmill/progress.h"
#include "mlxmill/result.h"
#include "mlxmill/scheme.h"

namespace mlxmill {

struct PlanOptions {
  std::string model;             ///< A folder, a GGUF file, or a model of the Hub.
  HubOptions hub;                ///< For a model of the Hub.
  std::vector<int> group_sizes;  ///< Of affine codes: 32, 64, 128; empty: 64.
  std::int64_t context = 4096;   ///< Tokens that memory is counted for, 1 to 2^30.
  std::optional<int> kv_bits;    ///< As ModelOptions::kv_bits.
  std::uint64_t ram_bytes = 0;  ///< Unified memory of the Mac that is asked about; 0: this machine.
  bool probe = true;            ///< Measure for about a second how fast reading and coding are.
  bool search = true;           ///< Ask the Hub what others have published.
  std::string architecture_file;  ///< Path of a declaration that comes before the built-in ones.
};

/// One way to convert the model. Sizes are exact: those that convert_model() would write.
struct PlanRow {
  std::string flags;               ///< Of mlxmill convert: "--bits 4 --group-size 64".
  std::optional<Scheme> scheme;    ///< Empty: 16-bit floats.
  std::uint64_t output_bytes = 0;  ///< Weight files.
  double bits_per_weight = 0;      ///< output_bytes * 8 / parameters.
  std::uint64_t weight_bytes = 0;  ///< Of its tensors, in memory.
  std::uint64_t cache_bytes = 0;   ///< Keys, values and recurrent states at the context.
  std::uint64_t run_bytes = 0;     ///< Both, and room for activations.
  std::optional<bool> fits;        ///< Empty where the machine's memory is unknown.
  std::string problem;             ///< Why it cannot be made; sizes are 0 then.
};

struct PlanMachine {
  std::uint64_t total_bytes = 0;   ///< 0: unknown.
  std::uint64_t usable_bytes = 0;  ///< By one program; on a Mac what the GPU may hold.
  std::string source;              ///< Who says so.
};

/// What a short measurement says. Rates are of that moment.
struct PlanProbe {
  std::uint64_t bytes = 0;        ///< Weights read for it.
  double bytes_per_second = 0;    ///< Of reading them: over one connection, or from the disk.
  double weights_per_second = 0;  ///< Quantized in memory (affine, 4 bits), all cores.
  int threads = 0;
  double read_seconds = 0;      ///< For all source weights at that rate.
  double quantize_seconds = 0;  ///< For all parameters at that rate, without any disk.
};

/// A conversion that is on the Hub.
struct PublishedModel {
  std::string name;
  std::string commit;
  std::string last_modified;  ///< "2026-01-31T12:00:00.000Z"; "": not said.
  std::uint64_t downloads = 0;
  std::string coding;            ///< "affine 4-bit, groups of 64", "mixed", "16-bit".
  std::optional<Scheme> scheme;  ///< Where all modules share one.
  std::uint64_t weight_bytes = 0;
  double bits_per_weight = 0;  ///< weight_bytes * 8 / the source's parameters.
  std::string base_revision;   ///< The source's commit its card names; mostly "".
  /// "this revision", "another revision", "newer than the source's last change", "older than the
  /// source's last change", "unknown".
  std::string revision;
  std::string verdict;  ///< Whether to take it, and why.
  bool take = false;
};

struct ModelPlan {
  std::string model;                  ///< As asked for.
  std::string commit, last_modified;  ///< Of a model of the Hub.
  bool gated = false;
  std::string family, model_type, source_method;
  bool quantized_source = false;  ///< It holds codes that a conversion without flags keeps.
  std::uint64_t parameters = 0;
  std::uint64_t source_bytes = 0;
  std::int64_t context = 0;
  std::int64_t max_positions = 0;  ///< As config.json says; 0: it does not.
  bool runs = false;               ///< mlxmill runs the family; else caches are unknown and 0.
  std::vector<PlanRow> rows;       ///< 16-bit, then fewer and fewer bits.
  PlanMachine machine;
  std::optional<PlanProbe> probe;
  std::uint64_t bytes_received = 0;        ///< From the Hub, all in all.
  std::uint64_t header_bytes = 0;          ///< Of those, what the table needed.
  std::optional<std::size_t> recommended;  ///< A row.
  std::string recommendation;              ///< One sentence.
  std::vector<PublishedModel> published;   ///< Most downloads first.
  std::string make_or_take;                ///< One sentence; "": nobody was asked.
  std::vector<std::string> notes;
};

/// Plans. Reads config, index and headers only, of a model of the Hub by ranges, and, unless told
/// not to, some weights for the measurement. Errors: those of plan_conversion(); kUsage for the
/// context, group sizes, and kUnsupported for GGUF models of the Hub, which come whole. A search
/// that fails is a note.
Result<ModelPlan> plan_model(const PlanOptions& options, const Callbacks& callbacks = {});

}  // namespace mlxmill
