// From a folder to a model that runs.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "architectures/forward/stacks.h"
#include "base/checked_math.h"
#include "base/process.h"
#include "convert/open_catalogue.h"
#include "convert/open_source.h"
#include "io/file.h"
#include "io/hash.h"
#include "runtime/mlx_guard.h"
#include "runtime/model_parts.h"

namespace mlxmill {
namespace {

using runtime::Weights;

constexpr std::uint64_t kMaxDeclarationBytes = 1 << 20;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 30;

Status check_options(const ModelOptions& o) {
  if (o.dtype && !is_mlx_float(*o.dtype)) {
    return Error(Code::kUsage, "the type is none that models run in")
        .hint("expected float16, bfloat16 or float32");
  }
  if (o.context < 1 || o.context > kMaxContext) {
    return Error(Code::kUsage,
                 fmt::format("a context of {} tokens; expected 1 to {}", o.context, kMaxContext));
  }
  if (o.prefill_step_size < 1) {
    return Error(Code::kUsage, fmt::format("a prefill step of {} tokens; expected 1 or more",
                                           o.prefill_step_size));
  }
  if (o.max_kv_size && *o.max_kv_size <= runtime::kKeptFirst) {
    return Error(Code::kUsage, fmt::format("at most {} keys and values; expected {} or more",
                                           *o.max_kv_size, runtime::kKeptFirst + 1));
  }
  if (o.max_kv_size && o.kv_bits) {
    return Error(Code::kUsage, "a limited number of keys and values cannot be quantized")
        .hint("choose either fewer of them or fewer bits");
  }
  if (o.kv_start < 0) {
    return Error(Code::kUsage, fmt::format("keys and values are quantized from {} tokens on; "
                                           "expected 0 or more",
                                           o.kv_start));
  }
  if (!o.kv_bits) return {};
  const std::optional<int> asked =
      o.kv_group_size == 0 ? std::nullopt : std::optional(o.kv_group_size);
  auto scheme = make_scheme(Mode::kAffine, o.kv_bits, asked);
  if (!scheme) return std::move(scheme).error().at("keys and values");
  return {};
}

/// libmlx's C++ interface is that of the headers of one minor version.
Status check_version() {
  const std::string built = fmt::format("{}.{}.", MLX_VERSION_MAJOR, MLX_VERSION_MINOR);
  const std::string runs = mlx_version();
  if (runs.starts_with(built)) return {};
  return Error(Code::kUnsupported,
               fmt::format("libmlx is {}; this program was built for {}x", runs, built))
      .hint("run the program with the libmlx it was built with");
}

/// Opening in steps that each need what the one before found.
class Opener {
 public:
  explicit Opener(const ModelOptions& options) : o_(options) {}

  Result<Model::Parts> open() {
    MLXMILL_TRY(check_options(o_));
    MLXMILL_TRY(check_version());
    MLXMILL_TRY(read_headers());
    MLXMILL_TRY(plan());
    return load();
  }

 private:
  Status read_headers() {
    MLXMILL_ASSIGN(source_, convert::open_source(o_.path, /*repack=*/false));
    const base::Value& config = source_.checkpoint.config;
    MLXMILL_ASSIGN(const convert::OpenedCatalogue opened,
                   convert::open_catalogue(config, o_.architecture_file, kMaxDeclarationBytes));
    // What a conversion would round for mlx-lm's sake stays exact where everything is float32.
    const bool exact = o_.dtype == DType::kF32;
    auto choice = opened.catalogue.choose(config, source_.weights.tensors, exact, /*to_run=*/true);
    if (!choice) return std::move(choice).error().at(o_.path.string());
    layout_ = std::move(choice->layout);
    auto forward = choice->declaration.forward(config, layout_);
    if (!forward) return std::move(forward).error().at(o_.path.string());
    forward_ = *std::move(forward);
    if (Status status = architectures::stack_modules(forward_.stacks, layout_); !status) {
      return std::move(status).error().at(o_.path.string());
    }
    facts_.family = choice->declaration.family();
    facts_.warnings = std::move(choice->warnings);
    if (const base::Value* type = config.find("model_type"); type && type->as_string()) {
      facts_.model_type = *type->as_string();
    }
    return {};
  }

  Status plan() {
    dtype_ = o_.dtype;
    // Another format's decoded weights are float32 until someone says otherwise.
    if (!dtype_ && !source_.weights.method.empty()) dtype_ = source_.weights.scale_type;
    facts_.vocabulary = forward_.vocabulary;
    facts_.layers = static_cast<std::int64_t>(forward_.layers.size());
    facts_.max_positions = forward_.max_positions;
    facts_.context = o_.context;
    facts_.weight_bytes = Weights::bytes(layout_, dtype_);
    MLXMILL_TRY(check_limit());
    states_.kv_bits = o_.kv_bits;
    states_.max_size = std::min<std::int64_t>(o_.max_kv_size.value_or(0), kMaxContext);
    states_.step = o_.prefill_step_size;
    if (o_.kv_bits) {
      auto size = architectures::kv_group_size(forward_, o_.kv_group_size);
      if (!size) return std::move(size).error().at(o_.path.string());
      states_.kv_group_size = *size;
    }
    states_.kv_start = o_.kv_start;
    states_.dtype = runtime::mlx_dtype(dtype_.value_or(DType::kBF16));
    facts_.cache_bytes = runtime::state_bytes(forward_, states_, o_.context);
    const std::uint64_t free = base::available_memory();
    const std::uint64_t limit = o_.memory_bytes > 0 ? o_.memory_bytes : free;
    const std::uint64_t working = o_.memory_bytes > 0 ? 0 : architectures::kWorkingBytes;
    const auto with_cache = base::checked_add(facts_.weight_bytes, facts_.cache_bytes);
    const auto all = with_cache ? base::checked_add(*with_cache, working) : std::nullopt;
    const std::uint64_t needed = all.value_or(std::numeric_limits<std::uint64_t>::max());
    if (limit == 0 || needed <= limit) return {};
    constexpr double kMega = 1 << 20;
    return Error(Code::kNoMemory,
                 fmt::format("the model needs {:.0f} MiB (weights {:.0f}, {} tokens of context "
                             "{:.0f}); there are {:.0f}",
                             static_cast<double>(needed) / kMega,
                             static_cast<double>(facts_.weight_bytes) / kMega, o_.context,
                             static_cast<double>(facts_.cache_bytes) / kMega,
                             static_cast<double>(limit) / kMega))
        .at(o_.path.string())
        .hint("try fewer bits, a smaller context, or keys and values of 8 or 4 bits");
  }

  /// Calls f(spec) for every block of a kind; ends with the first error.
  template <typename Spec, typename F>
  Status for_each_block(const F& f) const {
    for (const architectures::LayerSpec& layer : forward_.layers) {
      for (const architectures::StepSpec& step : layer) {
        const auto* spec = std::get_if<Spec>(&step.block);
        if (!spec) continue;
        if (Status status = f(*spec); !status) {
          return std::move(status).error().at(o_.path.string());
        }
      }
    }
    return {};
  }

  Status check_limit() const {
    if (!o_.max_kv_size) return {};
    MLXMILL_TRY(for_each_block<architectures::AttentionSpec>(
        [](const architectures::AttentionSpec& spec) -> Status {
          if (!spec.indexer) return {};
          return Error(Code::kUnsupported,
                       "attention to chosen blocks needs the keys and values of all tokens; "
                       "their number cannot be limited");
        }));
    return for_each_block<architectures::LatentAttentionSpec>(
        [](const architectures::LatentAttentionSpec&) -> Status {
          return Error(Code::kUnsupported,
                       "latent attention keeps one short vector for each token; "
                       "their number cannot be limited");
        });
  }

  Result<Model::Parts> load() {
    std::vector<streaming::StoredTensor> stored;
    for (const formats::CheckpointTensor& t : source_.checkpoint.tensors) {
      stored.push_back({&source_.checkpoint.shards[t.shard].file, t.tensor.begin,
                        t.tensor.end - t.tensor.begin});
    }
    streaming::SourcePool pool(std::move(stored));
    MLXMILL_ASSIGN(Weights weights, Weights::load(layout_, dtype_, pool, o_.callbacks));
    if (o_.int8_activations) weights.round_activations();
    auto network = runtime::Network::build(forward_, weights);
    if (!network) return std::move(network).error().at(o_.path.string());
    states_.dtype = network->float_type();
    facts_.dtype = states_.dtype == mlx::core::float32   ? DType::kF32
                   : states_.dtype == mlx::core::float16 ? DType::kF16
                                                         : DType::kBF16;
    return Model::Parts{
        std::move(facts_), o_.callbacks.cancelled, static_cast<std::size_t>(o_.prefill_step_size),
        states_,           fingerprint(),          *std::move(network)};
  }

  /// Of everything that decides what a cache holds: names, shapes and types of the weights, their
  /// sizes on disk, and how keys and values are kept.
  std::string fingerprint() const {
    std::string text = fmt::format("{} {} {} {} {} {} {}", facts_.family, facts_.weight_bytes,
                                   o_.kv_bits.value_or(0), states_.kv_group_size, o_.kv_start,
                                   o_.max_kv_size.value_or(0), o_.int8_activations);
    for (const formats::CheckpointTensor& t : source_.checkpoint.tensors) {
      text += fmt::format("\n{} {} {}", t.tensor.name, base::to_string(t.tensor.shape),
                          t.tensor.end - t.tensor.begin);
    }
    for (const formats::Shard& shard : source_.checkpoint.shards) {
      const auto modified = shard.file.modified();
      text += fmt::format("\n{} {}", shard.file_bytes, modified ? *modified : 0);
    }
    return io::to_hex(io::digest(text));
  }

  const ModelOptions& o_;
  convert::OpenedSource source_;
  architectures::Layout layout_;
  architectures::Forward forward_;
  std::optional<DType> dtype_;
  runtime::StateOptions states_;
  ModelFacts facts_;
};

}  // namespace

std::string mlx_version() { return mlx::core::version(); }

Result<Model> Model::open(const ModelOptions& options) {
  return runtime::guarded([&]() -> Result<Model> {
    MLXMILL_ASSIGN(Parts parts, Opener(options).open());
    return Model(std::make_unique<Parts>(std::move(parts)));
  });
}

}  // namespace mlxmill
