#include "convert/conversion.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "base/checked_math.h"
#include "base/parallel.h"
#include "base/process.h"
#include "convert/candidate.h"
#include "convert/fingerprint.h"
#include "convert/job_builder.h"
#include "convert/journal.h"
#include "convert/open_catalogue.h"
#include "convert/open_recipe.h"
#include "convert/open_source.h"
#include "convert/output_card.h"
#include "convert/output_config.h"
#include "convert/packed_modules.h"
#include "convert/pipeline.h"
#include "formats/quantization_config.h"
#include "io/free_space.h"
#include "io/hash.h"
#include "io/work_folder.h"
#include "quantize/recipe.h"

namespace mlxmill::convert {
namespace {

using architectures::Layout;
using architectures::Module;

/// Header bytes of one tensor beyond its name, generously.
constexpr std::uint64_t kHeaderEntryBytes = 160;

/// Builds a Conversion step by step; each step uses what the earlier ones filled in.
class Planner {
 public:
  Planner(const ConvertOptions& options, formats::RemoteFiles remote) : remote_(std::move(remote)) {
    c_.options = options;
  }

  Result<Conversion> run() {
    MLXMILL_TRY(check_options());
    MLXMILL_TRY(open_source());
    // Each step uses up the lists of the one before: what they held must not add up.
    base::return_free_memory();
    MLXMILL_TRY(lay_out());
    base::return_free_memory();
    MLXMILL_TRY(decide());
    write_config();
    MLXMILL_TRY(make_jobs());
    base::return_free_memory();
    MLXMILL_TRY(assign_files());
    number_units();
    write_small_files();
    MLXMILL_TRY(finish_plan());
    return std::move(c_);
  }

 private:
  Status check_options();
  Status open_source();
  Status lay_out();
  Status decide();
  Status decide_modules();
  void write_config();
  Status make_jobs();
  Status assign_files();
  void number_units();
  void write_small_files();
  Status finish_plan();

  Conversion c_;
  formats::RemoteFiles remote_;
  std::optional<Scheme> scheme_;  ///< Of the run; empty without quantization.
  std::optional<DType> dtype_;    ///< Floats are cast to this; empty keeps them.
  std::optional<formats::QuantizationConfig>
      packed_;  ///< The source's own, when it is MLX-quantized.
  std::string declaration_text_digest_;
  sources::DecodedSource source_;
  Layout layout_;
  io::Digest layout_digest_;
  std::vector<std::pair<std::string, quantize::Decision>> decisions_;
};

Status Planner::check_options() {
  const ConvertOptions& o = c_.options;
  if (o.source.empty()) return Error(Code::kUsage, "no source given");
  if (o.output.empty()) return Error(Code::kUsage, "no output given");
  if (o.quantize && o.dequantize)
    return Error(Code::kUsage, "choose either to quantize or to dequantize, not both");
  if (o.codes != "mlx")
    return Error(Code::kUsage,
                 fmt::format("unknown way to choose codes '{}'; expected mlx", o.codes));
  if (o.max_shard_bytes < 1 << 20)
    return Error(Code::kUsage, "the largest shard must be at least 1 MiB");
  if (o.quantize) {
    MLXMILL_ASSIGN(scheme_, make_scheme(o.mode, o.bits, o.group_size));
  }
  return {};
}

Status Planner::open_source() {
  const ConvertOptions& o = c_.options;
  MLXMILL_ASSIGN(OpenedSource opened,
                 convert::open_source(o.source, o.quantize || o.dequantize || o.requantize,
                                      std::move(remote_)));
  c_.checkpoint = std::move(opened.checkpoint);
  source_ = std::move(opened.weights);
  c_.copies = std::move(opened.copies);
  c_.made = std::move(opened.made);
  // An output inside the source would change it; a source inside the output would be replaced with
  // it.
  if (io::is_within(o.output, o.source) || io::is_within(o.source, o.output)) {
    return Error(Code::kUsage, "the output and the source lie inside each other")
        .at(o.output.string())
        .hint("choose an output beside the source folder");
  }
  const base::Value& config = c_.checkpoint.config;
  MLXMILL_ASSIGN(packed_, formats::read_quantization_config(config));
  dtype_ = o.dtype;
  const auto named = [](const base::Value* value) -> std::optional<DType> {
    const std::string* name = value ? value->as_string() : nullptr;
    return name ? dtype_from_torch_name(*name) : std::nullopt;
  };
  const base::Value* torch_dtype = config.find("torch_dtype");
  const bool has_torch_dtype = torch_dtype && !torch_dtype->is_null();
  if (!dtype_) dtype_ = named(torch_dtype);
  if (const base::Value* text = config.find("text_config"); !dtype_ && !has_torch_dtype && text) {
    dtype_ = named(text->find("dtype"));
  }
  return {};
}

Status Planner::lay_out() {
  const std::string& file = c_.options.architecture_file;
  MLXMILL_ASSIGN(const OpenedCatalogue opened, open_catalogue(c_.checkpoint.config, file));
  if (!file.empty()) declaration_text_digest_ = io::to_hex(io::digest(opened.own_text));
  std::vector<streaming::StoredTensor> stored;
  for (const formats::CheckpointTensor& t : c_.checkpoint.tensors) {
    stored.push_back(
        {&c_.checkpoint.shards[t.shard].file, t.tensor.begin, t.tensor.end - t.tensor.begin});
  }
  c_.sources = std::make_unique<streaming::SourcePool>(std::move(stored));
  // Plans of large models are mostly such lists: each goes when the next one stands.
  c_.n_source_tensors = c_.checkpoint.tensors.size();
  std::vector<formats::CheckpointTensor>().swap(c_.checkpoint.tensors);
  Result<architectures::Choice> choice = opened.catalogue.choose(
      c_.checkpoint.config, std::move(source_.tensors), c_.options.exact_norms);
  if (!choice) return std::move(choice).error().at(c_.options.source.string());
  layout_ = std::move(choice->layout);
  c_.plan.family = choice->declaration.family();
  c_.plan.warnings = std::move(choice->warnings);
  if (const base::Value* type = c_.checkpoint.config.find("model_type");
      type && type->as_string()) {
    c_.plan.model_type = *type->as_string();
  }
  for (const architectures::Dropped& d : layout_.dropped)
    c_.plan.dropped.push_back({d.name, d.reason});
  for (const auto& [name, why] : source_.dropped) c_.plan.dropped.push_back({name, why});
  c_.plan.source_method = source_.method;
  c_.plan.warnings.insert(c_.plan.warnings.end(), source_.warnings.begin(), source_.warnings.end());
  // Scales that were kept stay exact in their own type.
  if (!c_.options.dtype && source_.scale_type) dtype_ = source_.scale_type;
  return {};
}

Status Planner::decide() {
  // An MLX model that is quantized again goes through floats; another format's codes do on request
  // only.
  std::optional<Requantized> requantized;
  if (scheme_ && (packed_ || c_.options.requantize)) requantized.emplace(layout_.modules);
  MLXMILL_TRY(decide_modules());
  if (!requantized) return {};
  if (const std::size_t n = requantized->settle(layout_.modules, decisions_)) {
    c_.plan.warnings.push_back(
        fmt::format("{} modules were quantized already and are rounded a second time; the original "
                    "checkpoint gives a better model",
                    n));
  }
  return {};
}

Status Planner::decide_modules() {
  MLXMILL_TRY(check_quantizable(layout_, scheme_.has_value(), c_.options.dequantize));
  if (!scheme_) {
    for (const Module& module : layout_.modules) {
      quantize::Decision decision;
      if (!c_.options.dequantize) decision.scheme = quantized_before(module);
      decisions_.emplace_back(module.path, std::move(decision));
    }
    return {};
  }
  MLXMILL_ASSIGN(const std::optional<quantize::RecipeFile> recipe, open_recipe(c_.options.recipe));
  std::vector<quantize::Candidate> candidates;
  // As codes that are kept, those that MLX could not hold stay what they were.
  const bool again = packed_ || c_.options.requantize;
  const auto stays = [&](const Module& m) { return again ? std::nullopt : quantized_before(m); };
  for (const Module& module : layout_.modules) {
    candidates.push_back(candidate_of(module));
    if (const auto scheme = stays(module)) {
      candidates.back().quantizable = false;
      candidates.back().kept = scheme;
    }
  }
  MLXMILL_ASSIGN(
      quantize::AppliedRecipe applied,
      quantize::apply_recipe(recipe ? &*recipe : nullptr, *scheme_, candidates, layout_.n_layers));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (const auto scheme = stays(layout_.modules[i])) {
      applied.decisions[i] = {};
      applied.decisions[i].scheme = scheme;
    }
    decisions_.emplace_back(layout_.modules[i].path, std::move(applied.decisions[i]));
  }
  for (std::size_t i = 0; i < applied.uses.size(); ++i) {
    const quantize::RecipeRule& rule = recipe->rules[i];
    c_.plan.rules.push_back({.where = recipe->where(rule),
                             .match = rule.match_text(),
                             .settings = rule.settings_text(),
                             .optional = rule.optional,
                             .modules = applied.uses[i].modules,
                             .parameters = applied.uses[i].parameters});
  }
  return {};
}

/// Uses up the layout: that and the jobs together would be most of a large plan.
Status Planner::make_jobs() {
  JobBuilder builder(c_, {dtype_, c_.options.dequantize, packed_});
  builder.expect(layout_.modules);
  io::Hasher hasher;
  for (std::size_t i = 0; i < layout_.modules.size(); ++i) {
    Module& module = layout_.modules[i];
    add_to_fingerprint(module, hasher);
    MLXMILL_TRY(builder.add(module, decisions_[i].second));
    module = {};
    decisions_[i] = {};
  }
  layout_digest_ = hasher.finish();
  std::vector<Module>().swap(layout_.modules);
  decisions_ = decltype(decisions_)();
  return {};
}

Status check_names(const std::vector<OutputTensor>& outputs) {
  std::vector<std::string_view> names;
  names.reserve(outputs.size());
  for (const OutputTensor& output : outputs) names.push_back(output.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return {};
  return Error(Code::kInvalidInput, "two modules of the declaration write this tensor")
      .at(std::string(*twice));
}

/// Cuts the outputs, in module order, into shards of at most max_shard_bytes and lays each one out.
Status Planner::assign_files() {
  std::vector<std::vector<std::size_t>> shards;
  std::uint64_t used = 0;
  const std::uint64_t limit = c_.options.max_shard_bytes;
  for (std::size_t i = 0; i < c_.outputs.size(); ++i) {
    const std::uint64_t bytes = c_.outputs[i].bytes + c_.outputs[i].name.size() + kHeaderEntryBytes;
    if (shards.empty() || (used + bytes > limit && !shards.back().empty())) {
      shards.emplace_back();
      used = kHeaderEntryBytes;
    }
    shards.back().push_back(i);
    used += bytes;
  }
  MLXMILL_TRY(check_names(c_.outputs));
  for (std::size_t s = 0; s < shards.size(); ++s) {
    OutputFile file;
    file.name = shards.size() == 1
                    ? "model.safetensors"
                    : fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size());
    std::vector<formats::TensorToWrite> tensors;
    tensors.reserve(shards[s].size());
    // Names and shapes are lent: in a large plan a copy of them all would be most of its memory.
    for (std::size_t i : shards[s]) {
      OutputTensor& output = c_.outputs[i];
      tensors.push_back({std::move(output.name), output.dtype, std::move(output.shape)});
    }
    MLXMILL_ASSIGN(formats::SafetensorsLayout layout,
                   formats::lay_out_safetensors(std::move(tensors), {{"format", "mlx"}}));
    for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
      OutputTensor& output = c_.outputs[shards[s][layout.order[i]]];
      output.name = std::move(layout.tensors[i].name);
      output.shape = std::move(layout.tensors[i].shape);
      output.file = s;
      output.begin = layout.tensors[i].begin;
    }
    file.prefix = std::move(layout.prefix);
    file.bytes = layout.file_bytes;
    c_.plan.file_bytes[file.name] = file.bytes;
    c_.plan.output_bytes += file.bytes;
    c_.files.push_back(std::move(file));
  }
  return {};
}

void Planner::number_units() {
  // Source order makes the disk's work sequential; the numbering is the order of work. In place:
  // outputs tell apart what starts at one tensor.
  std::sort(c_.jobs.begin(), c_.jobs.end(), [](const Job& a, const Job& b) {
    return std::pair(a.source_position, a.outputs[0]) < std::pair(b.source_position, b.outputs[0]);
  });
  for (Job& job : c_.jobs) {
    job.first_unit = c_.n_units;
    job.n_units = base::div_ceil(job.elements, job.unit_elements);
    c_.n_units += job.n_units;
  }
}

/// Parameters as mlx-lm counts them for the index: those of leaf modules. A tensor that sits on a
/// module with modules below it is not counted. Source: mlx_lm/utils.py get_total_parameters.
std::uint64_t leaf_parameters(const std::vector<PlannedModule>& modules) {
  std::set<std::string> inner;
  for (const PlannedModule& module : modules) {
    if (!module.path.empty()) inner.insert("");
    for (std::size_t dot = module.path.find('.'); dot != std::string::npos;
         dot = module.path.find('.', dot + 1)) {
      inner.insert(module.path.substr(0, dot));
    }
  }
  std::uint64_t total = 0;
  for (const PlannedModule& module : modules) {
    if (!inner.count(module.path)) total += module.parameters;
  }
  return total;
}

void Planner::write_config() {
  base::Value quantization;
  if (!source_.method.empty())
    quantization = kept_quantization(layout_.modules, decisions_, source_.quantization, scheme_);
  if (quantization.is_null() && scheme_) quantization = quantization_value(*scheme_, decisions_);
  base::Value config = architectures::with_edits(c_.checkpoint.config, layout_.config_edits);
  // What describes the source's codes says nothing of floats.
  const bool stale = !source_.method.empty() && !source_.keeps_settings && quantization.is_null();
  if (stale) drop_quantization_config(config);
  // A model that keeps its vision tower needs its config. Source: mlx_lm/utils.py save.
  const auto sees = [](const Module& m) { return m.path.starts_with("model.vision_tower."); };
  c_.config_text =
      output_config_text(std::move(config), quantization, c_.options.dequantize,
                         std::any_of(layout_.modules.begin(), layout_.modules.end(), sees));
}

void Planner::write_small_files() {
  c_.leaf_parameters = leaf_parameters(c_.plan.modules);
  for (const std::string& name : c_.copies) {
    std::error_code ignored;
    const auto bytes = std::filesystem::file_size(c_.options.source / name, ignored);
    if (!ignored) c_.plan.copied_bytes += bytes;
  }
  for (const auto& [name, text] : c_.made) c_.plan.copied_bytes += text.size();

  c_.plan.source_bytes = c_.checkpoint.weight_bytes;
  c_.plan.bits_per_weight = c_.plan.parameters ? static_cast<double>(c_.plan.output_bytes) * 8 /
                                                     static_cast<double>(c_.plan.parameters)
                                               : 0;
  c_.card = output_card(c_, scheme_);
}

Status Planner::finish_plan() {
  Plan& plan = c_.plan;
  constexpr std::uint64_t kSmallFiles = 1 << 20;
  plan.disk_needed = plan.output_bytes + plan.copied_bytes + c_.config_text.size() +
                     index_text(c_).size() + c_.card.size() + Journal::bytes_for(c_.n_units) +
                     c_.outputs.size() * 200 + kSmallFiles;
  MLXMILL_ASSIGN(plan.disk_free, io::free_space(c_.options.output));
  plan.memory_needed = memory_needed(c_);
  for (const formats::Shard& shard : c_.checkpoint.shards) {
    MLXMILL_ASSIGN(const std::int64_t modified, shard.file.modified());
    c_.modified.push_back(modified);
  }
  c_.fingerprint = fingerprint(c_, layout_digest_, declaration_text_digest_);
  return {};
}

}  // namespace

std::string index_text(const Conversion& conversion) {
  std::vector<std::pair<std::string_view, std::string_view>> weight_map;
  weight_map.reserve(conversion.outputs.size());
  std::uint64_t total_size = 0;
  for (const OutputTensor& tensor : conversion.outputs) {
    total_size += tensor.bytes;
    weight_map.emplace_back(tensor.name, conversion.files[tensor.file].name);
  }
  return index_text(total_size, conversion.leaf_parameters, std::move(weight_map));
}

Plan take_plan(Conversion&& conversion) {
  Conversion c = std::move(conversion);
  std::vector<Job>().swap(c.jobs);
  Plan plan = std::move(c.plan);
  plan.tensors.reserve(c.outputs.size());
  for (OutputTensor& tensor : c.outputs) {
    plan.tensors.push_back({.name = std::move(tensor.name),
                            .dtype = tensor.dtype,
                            .shape = {tensor.shape.begin(), tensor.shape.end()},
                            .file = c.files[tensor.file].name,
                            .begin = tensor.begin,
                            .end = tensor.begin + tensor.bytes});
  }
  return plan;
}

Result<Conversion> make_conversion(const ConvertOptions& options, formats::RemoteFiles remote) {
  return Planner(options, std::move(remote)).run();
}

}  // namespace mlxmill::convert
