// A model family as its declaration file says it: see docs/ARCHITECTURES.md for the language.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "architectures/forward/forward.h"
#include "base/value.h"
#include "mlxmill/result.h"
#include "mlxmill/scheme.h"
#include "tensors/tensor_view.h"

namespace mlxmill::architectures {

using tensors::SourceTensor;
using tensors::TensorView;

/// What kind of module owns a parameter: it decides what mlx-lm quantizes.
enum class ModuleKind : std::uint8_t {
  kLinear,     ///< weight [out, in], optional bias [out]
  kEmbedding,  ///< weight [n, dims]
  kStacked,    ///< weight [experts or heads, out, in], optional bias [experts, out] (SwitchLinear,
               ///< MultiLinear)
  kNorm,       ///< weight [dims], optional bias [dims]
  kTensors,    ///< parameters of any names and shapes, never quantized
  kBitLinear,  ///< ternary weights, four rows to a byte: weight U8 [(out + 3) / 4, in],
               ///< weight_scale [1], optional bias [out]; never quantized again
};

/// True for the kinds whose weight mlx-lm can quantize.
constexpr bool is_quantizable(ModuleKind kind) {
  return kind == ModuleKind::kLinear || kind == ModuleKind::kEmbedding ||
         kind == ModuleKind::kStacked;
}

/// A family's restriction on one module. `quantize == false`: never. Else the scheme that replaces
/// the run's: mlx-lm's predicates give group_size and bits without a mode, which means affine.
struct QuantizeRule {
  bool quantize = true;
  std::optional<int> bits;
  std::optional<int> group_size;
  /// Affine in every mode, and without "mode" in config.json: mlx-lm's module takes no such
  /// argument.
  bool affine = false;
};

/// One module of the converted model with the tensors it owns.
struct Module {
  std::string path;  ///< "model.layers.0.self_attn.q_proj"; empty for a module-less tensor
  ModuleKind kind = ModuleKind::kTensors;
  std::optional<QuantizeRule> rule;  ///< from the declaration
  std::vector<TensorView> tensors;   ///< weight first; names are full ("....q_proj.weight")
  std::vector<bool>
      keep_dtype;  ///< per tensor: not cast to the run's dtype (mlx-lm's cast_predicate)
  /// The source is already MLX-quantized here: weight U32 + scales (+ biases).
  bool packed = false;
  std::optional<Scheme> packed_scheme;  ///< how, when `packed`
  /// How many weights the module stands for, where its tensors' extents do not say.
  std::optional<std::uint64_t> parameters = std::nullopt;
  /// The weights as floats, when another format's codes were repacked.
  std::optional<TensorView> decoded = std::nullopt;
  /// The modules it was stacked of to be run (forward/stacks.h), one for each matrix.
  std::vector<std::string> stacked_of = {};
};

/// A source tensor that does not reach the output, and the rule that says so.
struct Dropped {
  std::string name;
  std::string reason;  ///< the rule's `why`
};

/// A key of config.json that is other in the output.
struct ConfigEdit {
  std::vector<std::string> path;     ///< {"text_config", "vocab_size"}
  std::optional<base::Value> value;  ///< empty: the key is removed
};

/// config.json with the edits made in their order. A new key comes last in its object; an edit in
/// an object that is not there does nothing.
base::Value with_edits(base::Value config, std::span<const ConfigEdit> edits);

/// A checkpoint as its family lays it out in MLX: modules in the order of the declaration (which is
/// the order of mlx-lm's module tree; natural order of paths for a family without [[modules]]).
struct Layout {
  std::vector<Module> modules;
  std::vector<Dropped> dropped;
  int n_layers = 0;  ///< len(model.layers), what the mixed recipes count with
  std::vector<ConfigEdit> config_edits;
  /// The source's quantization method ("bitnet") when mlx-lm needs its entry in config.json to load
  /// the output: a quantization of ours would replace that entry. Empty otherwise.
  std::string needs_quantization_config;
  /// Why nothing of it may be quantized or turned into floats; empty when it may.
  std::string as_is;
  std::vector<std::string> warnings;  ///< What the user should know.
};

namespace detail {
struct Program;  // the parsed file
}

/// A parsed and checked declaration file. Copies share the parse. Threads: immutable.
class Declaration {
 public:
  /// Parses a declaration. `file_name` appears in messages as `file:line`.
  /// Errors: kInvalidInput, naming the line, for bad TOML, unknown keys, bad patterns or
  /// expressions.
  static Result<Declaration> parse(std::string_view text, std::string_view file_name);

  const std::string& family() const;
  const std::vector<std::string>& model_types() const;
  /// `architectures` names of config.json by which this family claims a model_type that another
  /// serves.
  const std::vector<std::string>& architecture_names() const;
  const std::string& file_name() const;

  /// True when the file says what the model holds; an open family takes any tensor.
  bool is_strict() const;

  /// Applies the family to a checkpoint.
  /// Errors: kInvalidInput for a config key that is missing or of the wrong type, a missing,
  /// unexpected or ill-shaped tensor (all of them counted, the first ones listed by name with
  /// expected and got).
  Result<Layout> apply(const base::Value& config, std::span<const SourceTensor> tensors) const;
  /// The same for tensors that something was done to already.
  /// `exact_norms`: sums and products that mlx-lm rounds to the stored dtype are made in float32,
  /// and sums stay so. `to_run`: what mlx-lm has no use for is kept where [forward] has.
  Result<Layout> apply(const base::Value& config, std::span<const TensorView> tensors,
                       bool exact_norms = false, bool to_run = false) const;
  Result<Layout> apply(const base::Value& config, std::vector<TensorView>&& tensors,
                       bool exact_norms = false, bool to_run = false) const;

  /// What [config] comes to for these tensors, when required keys are there and the checks hold.
  /// Errors: kInvalidInput, kUnsupported.
  Result<std::vector<ConfigEdit>> edits(const base::Value& config,
                                        std::span<const TensorView> tensors) const;
  /// The tensors after [[rules]], whatever [[modules]] says. Errors: those of the rules.
  Result<std::vector<TensorView>> rewrite(const base::Value& config,
                                          std::span<const TensorView> tensors) const;

  /// Whether the file says what the model computes; a family that does not is converted only.
  bool runs() const;
  /// What a model of this layout computes. Errors: kUnsupported for a family that is converted
  /// only, or for something in config.json that nothing here computes; kInvalidInput.
  Result<Forward> forward(const base::Value& config, const Layout& layout) const;

  /// The place of the family among those that may serve a model_type no file names; empty when it
  /// may not serve any, or not one with this config.
  std::optional<std::int64_t> stand_in_order(const base::Value& config) const;

  /// What the file says about its family in a few words each ("experts", "tied output").
  const std::vector<std::string>& features() const;

 private:
  std::shared_ptr<const detail::Program> program_;
};

/// How a checkpoint is converted: by which family, and what the user should know.
struct Choice {
  Declaration declaration;
  Layout layout;
  std::vector<std::string> warnings;
};

/// All families known: the built-in ones and, before them, those given at run time.
class Catalogue {
 public:
  /// The built-in declarations.
  static Result<Catalogue> built_in();
  /// The same as far as find() for this config goes, without parsing what cannot serve it.
  static Result<Catalogue> for_config(const base::Value& config);
  /// Adds a family ahead of the others.
  void add(Declaration declaration);

  /// The family for config.json's model_type (and `architectures`).
  /// Errors: kUnknownModel with the nearest names and how to declare a family; kInvalidInput
  /// without model_type.
  Result<Declaration> find(const base::Value& config) const;

  /// find() and apply(). A model_type that no family serves is taken for the first family that may
  /// stand in and that config and tensors fit exactly; a warning says so, and the output's
  /// model_type becomes that family's, as mlx-lm could not load it otherwise.
  /// Errors: those of find() and apply(); for a model that nothing fits, kUnknownModel with the
  /// tensors and config keys that were found.
  Result<Choice> choose(const base::Value& config, std::vector<TensorView> tensors,
                        bool exact_norms = false, bool to_run = false) const;

  std::span<const Declaration> declarations() const { return declarations_; }

 private:
  std::vector<Declaration> declarations_;
};

}  // namespace mlxmill::architectures
