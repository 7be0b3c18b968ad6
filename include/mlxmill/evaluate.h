// What quantization cost: perplexity, and how far a model's predictions are from a reference's.
// docs/EVALUATION.md has every formula with its source.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill {

/// How text is cut into windows and which tokens are scored.
enum class EvalProtocol : std::uint8_t {
  kStrided,          ///< Overlapping windows; each token is scored once, with the most context.
  kLlamaPerplexity,  ///< llama.cpp's `llama-perplexity`: chunks, second half scored.
  kMlxLmPerplexity,  ///< `mlx_lm.perplexity`: shuffled records, concatenated, all scored.
};

/// "strided", "llama-perplexity", "mlx_lm.perplexity".
std::string_view protocol_name(EvalProtocol protocol);
std::optional<EvalProtocol> protocol_from_name(std::string_view name);

/// How the reference's predictions are kept between two runs.
enum class ReferenceEncoding : std::uint8_t {
  kTop,      ///< The likeliest tokens exactly, the tail as mass and a sample.
  kFloat16,  ///< Every log-probability in 16 bits.
  kFloat32,  ///< Every logit; results equal those without a cache bit for bit.
};

/// "top", "float16", "float32".
std::string_view encoding_name(ReferenceEncoding encoding);
std::optional<ReferenceEncoding> encoding_from_name(std::string_view name);

struct EvalOptions {
  /// MLX model folders, or files of logits (.safetensors; docs/EVALUATION.md has their layout).
  std::vector<std::filesystem::path> candidates;
  /// A model folder, a file of logits, or predictions kept earlier (.logprobs). Empty: perplexity
  /// alone.
  std::filesystem::path reference;

  /// Text files (.txt and others) and records (.jsonl); each is a domain of its own. Empty: the
  /// texts that come with the library. Not with files of logits, which bring their tokens.
  std::vector<std::filesystem::path> texts;
  std::string jsonl_field = "text";  ///< Member of each record that holds its text.

  EvalProtocol protocol = EvalProtocol::kStrided;
  int context = 512;          ///< Tokens of a window.
  std::optional<int> stride;  ///< kStrided: tokens between windows; default half the context.
  /// Candidates run with ModelOptions::int8_activations, the reference without: what that costs.
  /// Not with files of logits.
  bool int8_activations = false;
  std::optional<int> samples;  ///< At most this many windows of each text; mlx_lm: 256, of all.
  std::uint32_t seed = 123;    ///< mlx_lm: of the shuffle.

  /// Where predictions of the reference and finished windows are kept; an empty path: nowhere, and
  /// reference and candidate are open at once. Default: default_evaluation_cache() for models,
  /// nowhere for files of logits.
  std::optional<std::filesystem::path> cache;
  ReferenceEncoding encoding = ReferenceEncoding::kTop;
  int cache_top = 256;  ///< kTop: how many tokens are kept exactly.

  bool layers = false;  ///< Compare weights and outputs of every module with the reference's.
  /// Only that: no candidate is run, and the reference for a few tokens. Implies `layers`.
  bool layers_only = false;
  bool weights_only = false;  ///< Of that only the weights: no model is run. Implies `layers`.
  int worst = 20;             ///< How many of the worst tokens to report.
  int threads = 0;            ///< 0: every core this process may use.
};

/// A value and its standard error.
struct Estimate {
  double value = 0;
  double error = 0;
};

/// Quantiles of a quantity over positions, interpolated as NumPy does by default.
struct Quantiles {
  double p001 = 0, p01 = 0, p05 = 0, p25 = 0, median = 0, p75 = 0, p90 = 0, p95 = 0, p99 = 0,
         p999 = 0, min = 0, max = 0;
};

/// What is known of a model against the reference; divergences in nats.
struct Comparison {
  Estimate reference_perplexity;
  Estimate perplexity_ratio;      ///< Candidate / reference, paired.
  Estimate log_perplexity_ratio;  ///< Mean difference of the negative log-likelihoods.
  Estimate kl;                    ///< Mean KL(reference || candidate).
  double kl_low = 0;   ///< The mean lies in [kl_low, kl_high] whatever the cache left out; both
  double kl_high = 0;  ///< equal kl when the reference is exact.
  double kl_sampling_error = 0;  ///< Part of kl's uncertainty that the cache's tail sample adds.
  Quantiles kl_quantiles;
  Estimate same_top;            ///< Share of positions with the same likeliest token.
  Estimate top5_overlap;        ///< Mean share of the five likeliest tokens in common.
  Estimate probability_change;  ///< Mean p(right token) - p_reference(right token).
  Estimate probability_rms;     ///< Its root mean square.
  Quantiles probability_quantiles;
};

struct EvalScores {
  std::uint64_t positions = 0;
  Estimate perplexity;
  Estimate nll;  ///< Mean negative log-likelihood of the right token, nats.
  std::optional<Comparison> comparison;
};

struct DomainScores {
  std::string name;
  EvalScores scores;
};

/// Positions by their KL divergence: [low, high) in nats; the first bin starts at 0, the last is
/// open.
struct KlBin {
  double low = 0;
  double high = 0;
  std::uint64_t positions = 0;
};

/// A position where the candidate is farthest from the reference. Texts are the tokens' own where a
/// tokenizer is known, else "#ID".
struct WorstToken {
  std::string domain;
  std::uint64_t window = 0;
  std::uint64_t position = 0;
  std::string before;  ///< What the models had read, its end.
  std::string token;   ///< The right next token.
  std::string reference_top;
  std::string candidate_top;
  double kl = 0;
  double reference_probability = 0;  ///< Of the right token.
  double candidate_probability = 0;
};

/// How far a module is from the reference's. Errors are relative, in the Frobenius norm.
struct LayerError {
  std::string path;    ///< "model.layers.0.mlp.down_proj"
  std::string coding;  ///< "affine 4-bit, groups of 64", or the dtype.
  std::uint64_t parameters = 0;
  double weight_error = 0;  ///< |W' - W| / |W|
  /// |X (W' - W)^T| / |X W^T|, X being what reached the reference's module at the sampled tokens.
  /// Absent where nothing did, for modules that are no product with a weight (embeddings,
  /// convolutions), and where no inputs were sampled.
  std::optional<double> output_error;
  /// Of a stack (experts, heads): the same of each matrix; absent for one that no token reached.
  std::vector<std::optional<double>> output_errors;
};

struct EvalModel {
  std::string name;
  std::filesystem::path path;
  std::uint64_t bytes = 0;       ///< Of the weight files; 0 for files of logits.
  double bits_per_weight = 0;    ///< bytes * 8 / parameters; 0 where unknown.
  double decode_per_second = 0;  ///< Tokens generated per second; 0 where not measured.
  std::uint64_t windows = 0;     ///< Scored so far.
  bool complete = false;         ///< False: stopped early; the scores cover `windows` windows.
  double seconds = 0;
  EvalScores total;
  std::vector<DomainScores> domains;  ///< With more than one text.
  std::vector<KlBin> histogram;       ///< Empty without a reference.
  std::vector<WorstToken> worst;      ///< Largest KL first.
  std::vector<LayerError> layers;     ///< In the model's order.
};

struct EvalReport {
  std::string reference;          ///< Its name; empty without one.
  std::string reference_storage;  ///< "exact", or how its predictions are kept.
  std::string protocol;           ///< "strided, context 512, stride 256".
  std::vector<std::string> texts;
  std::uint64_t windows = 0;  ///< Of a complete run.
  std::int64_t vocabulary = 0;
  std::uint64_t output_tokens = 0;  ///< Sampled for LayerError::output_error; 0: none were.
  std::vector<EvalModel> models;  ///< Smallest KL first; without a reference, smallest perplexity.
  bool complete = true;
  double seconds = 0;
};

/// How far a long evaluation is, with the estimate so far.
struct EvalProgress {
  std::string_view phase;  ///< "reference", "inputs", "scoring", "layers"
  std::string_view model;
  std::uint64_t done = 0;  ///< Windows, or modules.
  std::uint64_t total = 0;
  std::uint64_t resumed = 0;  ///< Of done, what an earlier run had finished.
  double perplexity = 0;      ///< So far; 0 while unknown.
  std::optional<double> kl;   ///< So far.
};

/// Callbacks of evaluate_models; each may be empty. Called from one thread at a time.
struct EvalCallbacks {
  std::function<void(const EvalProgress&)> progress;
  std::function<void(std::string_view)> warning;
  std::function<void(std::string_view)> note;
  std::function<bool()> cancelled;  ///< Polled after each window.
};

/// Scores every candidate. When cancelled after some windows of a candidate are scored, the report
/// covers those and says `complete == false`; with a cache the same call goes on from there.
/// Numerics: log-softmax and sums in double from float32 logits; the same result for any number of
/// threads.
/// Errors: kUsage for contradicting options; kNotFound, kIo, kInvalidInput (empty or binary text,
/// text shorter than the context, token ids outside the vocabulary, NaN or infinite logits, a cache
/// of another model or a damaged one); kUnsupported; kCancelled when there is nothing to report
/// yet.
Result<EvalReport> evaluate_models(const EvalOptions& options, const EvalCallbacks& callbacks = {});

/// The report as one HTML page that needs no network and no script.
std::string evaluation_html(const EvalReport& report);

/// Writes that page. Errors: kIo, kNoSpace, kPermission.
Status write_evaluation_html(const EvalReport& report, const std::filesystem::path& file);

/// The lines of a model card: a Markdown table of the report's numbers.
std::string evaluation_card(const EvalReport& report);

/// Writes the lines of one candidate into the section "What quantization cost" of its folder's
/// README.md, in place of older ones. Errors: kUsage for a partial report and for a card that is a
/// link; kNotFound without a card; kIo, kNoSpace, kPermission.
Status write_evaluation_card(const EvalReport& report, const EvalModel& model);

/// The texts that come with the library.
struct EvalText {
  std::string name;  ///< "dialogue"
  std::string_view text;
};
std::vector<EvalText> built_in_texts();

/// Where predictions are kept unless told otherwise: $MLXMILL_CACHE, else mlxmill/evaluation in the
/// user's cache folder; empty where there is none.
std::filesystem::path default_evaluation_cache();

}  // namespace mlxmill
