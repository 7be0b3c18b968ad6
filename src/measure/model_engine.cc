// Models that run here, as engines.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "measure/engine.h"
#include "measure/load_texts.h"
#include "measure/model_facts.h"
#include "mlxmill/run.h"
#include "mlxmill/tokenizer.h"

namespace mlxmill::measure {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

// Tokens are timed until so many or so long; the first one warms up.
constexpr int kTimedTokens = 32;
constexpr double kTimedSeconds = 5;
constexpr std::size_t kPromptTokens = 16;

class ModelSource : public evaluate::LogitsSource {
 public:
  explicit ModelSource(Model model) : model_(std::move(model)), cache_(model_.new_cache()) {}

  std::int64_t vocabulary() const override { return model_.facts().vocabulary; }
  std::int64_t context() const override { return model_.facts().context; }

  Status start(std::span<const std::int32_t> tokens) override {
    tokens_.assign(tokens.begin(), tokens.end());
    cache_ = model_.new_cache();
    at_ = 0;
    return {};
  }

  Status read(std::int64_t first, std::int64_t n, std::span<float> out) override {
    const auto begin = static_cast<std::size_t>(first);
    const auto count = static_cast<std::size_t>(n);
    const std::span<const std::int32_t> tokens(tokens_);
    if (at_ < begin) {
      MLXMILL_TRY(model_.run(tokens.subspan(at_, begin - at_), cache_, LogitsOf::kLast));
    }
    MLXMILL_ASSIGN(const Logits logits,
                   model_.run(tokens.subspan(begin, count), cache_, LogitsOf::kAll));
    at_ = begin + count;
    if (logits.values.size() != out.size()) {
      return Error(Code::kInternal, fmt::format("the model gave {} logits, expected {}",
                                                logits.values.size(), out.size()));
    }
    std::copy(logits.values.begin(), logits.values.end(), out.begin());
    return {};
  }

  Result<std::vector<ModuleInput>> inputs_at(std::span<const std::int32_t> tokens,
                                             std::span<const std::uint32_t> positions) {
    ModelCache cache = model_.new_cache();
    std::vector<ModuleInput> all;
    std::size_t at = 0;
    for (const std::uint32_t position : positions) {
      if (at < position) MLXMILL_TRY(model_.run(tokens.subspan(at, position - at), cache));
      MLXMILL_ASSIGN(std::vector<ModuleInput> inputs, model_.run_watched(tokens[position], cache));
      std::move(inputs.begin(), inputs.end(), std::back_inserter(all));
      at = position + 1;
    }
    return all;
  }

  Result<double> decode_per_second(std::span<const std::int32_t> tokens) {
    using Clock = std::chrono::steady_clock;
    ModelCache cache = model_.new_cache();
    MLXMILL_TRY(model_.run(tokens.first(std::min(tokens.size(), kPromptTokens)), cache));
    Clock::time_point begin;
    double seconds = 0;
    int timed = -1;
    while (timed < kTimedTokens && (timed < 1 || seconds < kTimedSeconds)) {
      MLXMILL_TRY(model_.run(tokens.first(1), cache));
      if (++timed == 0) begin = Clock::now();
      seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    return seconds > 0 ? timed / seconds : 0;
  }

 private:
  Model model_;
  ModelCache cache_;
  Ids tokens_;
  std::size_t at_ = 0;
};

class ModelEngine : public Engine {
 public:
  ModelEngine(fs::path path, Model model, Tokenizer tokenizer, EngineFacts facts,
              bool int8_activations)
      : path_(std::move(path)),
        int8_activations_(int8_activations),
        source_(std::move(model)),
        tokenizer_(std::move(tokenizer)),
        facts_(std::move(facts)) {}

  const EngineFacts& facts() const override { return facts_; }
  evaluate::LogitsSource& source() override { return source_; }
  Result<Cut> cut(const EvalOptions& options) override;
  Status check_tokens(const Cut& reference, const EvalOptions& options) override;
  std::string token_text(std::int32_t id) const override;
  Result<io::Digest> digest() const override;
  Result<double> decode_per_second(std::span<const std::int32_t> tokens) override {
    return source_.decode_per_second(tokens);
  }
  Result<std::vector<ModuleInput>> inputs_at(std::span<const std::int32_t> tokens,
                                             std::span<const std::uint32_t> positions) override {
    return source_.inputs_at(tokens, positions);
  }

 private:
  Result<Ids> encode(const std::string& text, EvalProtocol protocol) const;
  Result<io::Digest> digest_weights() const;

  fs::path path_;
  bool int8_activations_;
  ModelSource source_;
  Tokenizer tokenizer_;
  EngineFacts facts_;
};

Result<Ids> ModelEngine::encode(const std::string& text, EvalProtocol protocol) const {
  MLXMILL_ASSIGN(std::vector<TokenId> ids,
                 tokenizer_.encode(text, protocol != EvalProtocol::kStrided));
  // mlx_lm ends each record with the end-of-text token, unless the tokenizer did.
  const std::vector<TokenId>& eos = tokenizer_.eos();
  if (protocol == EvalProtocol::kMlxLmPerplexity && !eos.empty() &&
      (ids.empty() || ids.back() != eos.front())) {
    ids.push_back(eos.front());
  }
  return Ids(ids.begin(), ids.end());
}

Result<Cut> ModelEngine::cut(const EvalOptions& options) {
  MLXMILL_ASSIGN(const std::vector<LoadedText> loaded,
                 load_texts(options.texts, options.jsonl_field));
  evaluate::WindowRule rule = rule_of(options);
  // What an empty text becomes is what the tokenizer puts around every one.
  MLXMILL_ASSIGN(const std::vector<TokenId> around, tokenizer_.encode("", true));
  if (tokenizer_.bos() && !around.empty() && around.front() == *tokenizer_.bos()) {
    rule.bos = static_cast<std::int32_t>(around.front());
  }
  Cut cut;
  std::vector<evaluate::TokenText> texts;
  for (const LoadedText& text : loaded) {
    evaluate::TokenText tokens{text.name, {}};
    std::string joined;
    const bool records = rule.protocol == EvalProtocol::kMlxLmPerplexity;
    for (const std::string& record : text.records) {
      if (!records) joined += (joined.empty() ? "" : "\n\n") + record;
      if (!records) continue;
      MLXMILL_ASSIGN(Ids ids, encode(record, rule.protocol));
      tokens.records.push_back(std::move(ids));
    }
    if (!records) {
      MLXMILL_ASSIGN(Ids ids, encode(joined, rule.protocol));
      tokens.records.push_back(std::move(ids));
    }
    cut.texts.push_back(text.name);
    texts.push_back(std::move(tokens));
  }
  MLXMILL_ASSIGN(cut.windows, evaluate::make_windows(rule, texts));
  return cut;
}

Status ModelEngine::check_tokens(const Cut& reference, const EvalOptions& options) {
  MLXMILL_ASSIGN(const Cut own, cut(options));
  if (own.windows == reference.windows) return {};
  return Error(Code::kInvalidInput, "the tokenizer cuts the texts otherwise than the reference's")
      .at(path_.string())
      .hint("only models of one tokenizer can be compared");
}

std::string ModelEngine::token_text(std::int32_t id) const {
  if (id < 0) return "";
  const auto token = static_cast<TokenId>(id);
  if (auto bytes = tokenizer_.token_bytes(token)) return *std::move(bytes);
  return tokenizer_.token_spelling(token).value_or(fmt::format("#{}", id));
}

Result<io::Digest> ModelEngine::digest_weights() const {
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_regular_file(path_, error)) return digest_files({path_});
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, error)) {
    const fs::path& file = entry.path();
    const std::string extension = file.extension().string();
    const bool counts =
        extension == ".safetensors" || extension == ".bin" || file.filename() == "config.json";
    if (counts && entry.is_regular_file(error)) files.push_back(file);
  }
  std::sort(files.begin(), files.end());
  return digest_files(files);
}

Result<io::Digest> ModelEngine::digest() const {
  MLXMILL_ASSIGN(const io::Digest weights, digest_weights());
  if (!int8_activations_) return weights;
  return io::digest(io::to_hex(weights) + " int8 activations");
}

}  // namespace

Result<std::unique_ptr<Engine>> open_model_engine(const fs::path& path,
                                                  const EvalOptions& options) {
  EvalModel described;
  MLXMILL_TRY(folder_facts(path, described));
  ModelOptions model_options;
  model_options.path = path;
  model_options.int8_activations = options.int8_activations;
  // The decode speed is measured behind a short prompt.
  model_options.context =
      std::max<std::int64_t>(options.context, kTimedTokens + 2 + std::int64_t{kPromptTokens});
  MLXMILL_ASSIGN(Model model, Model::open(model_options));
  MLXMILL_ASSIGN(Tokenizer tokenizer, Tokenizer::open(path));
  EngineFacts facts{described.name, described.bytes, described.bits_per_weight, 0};
  if (options.int8_activations) facts.name += " (8-bit activations)";
  return std::unique_ptr<Engine>(std::make_unique<ModelEngine>(
      path, std::move(model), std::move(tokenizer), std::move(facts), options.int8_activations));
}

}  // namespace mlxmill::measure
