// All candidates, one after the other, against the reference.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "base/parallel.h"
#include "io/hash.h"
#include "measure/candidate_run.h"
#include "measure/engine.h"
#include "measure/input_sample.h"
#include "measure/layer_errors.h"
#include "measure/logits_file.h"
#include "measure/model_facts.h"
#include "measure/reference_cache.h"
#include "mlxmill/evaluate.h"

namespace mlxmill {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kMostContext = 1 << 20;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

bool is_cache_file(const fs::path& path) { return path.extension() == ".logprobs"; }

class Evaluation {
 public:
  Evaluation(const EvalOptions& options, const EvalCallbacks& callbacks)
      : o_(options), callbacks_(callbacks) {
    if (o_.threads <= 0) o_.threads = base::available_cores();
    if (o_.weights_only || o_.layers_only) o_.layers = true;
    // Reading a file of logits again is as fast as reading what was kept of it.
    const bool models = std::any_of(o_.candidates.begin(), o_.candidates.end(),
                                    [](const fs::path& p) { return !measure::is_logits_file(p); });
    if (!o_.cache) o_.cache = models ? default_evaluation_cache() : fs::path();
  }

  Result<EvalReport> run();

 private:
  Status check_options() const;
  Status open_reference();
  Status open_for_layers();
  Status sample_inputs();
  Status cache_reference(const fs::path& path, const measure::CacheIdentity& identity);
  Status add_candidate(const fs::path& path);
  Status add_layers(EvalModel& model);
  void sort_models();
  bool cancelled() const { return callbacks_.cancelled && callbacks_.cancelled(); }

  EvalOptions o_;
  const EvalCallbacks& callbacks_;
  EvalReport report_;
  std::unique_ptr<measure::Engine> reference_engine_;
  std::optional<evaluate::DirectReference> direct_;
  std::optional<measure::CachedReference> cached_;
  std::optional<measure::Cut> cut_;  ///< The reference's windows.
  std::string reference_key_;        ///< Of everything the reference's rows follow from.
  measure::InputSample inputs_;      ///< Of the reference's modules.
};

Status Evaluation::check_options() const {
  if (o_.candidates.empty()) return Error(Code::kUsage, "no model to evaluate");
  if (o_.weights_only && o_.layers_only) {
    return Error(Code::kUsage, "either weights alone are compared, or outputs as well");
  }
  if (o_.layers && o_.reference.empty()) {
    return Error(Code::kUsage, "weights are compared with a reference's")
        .hint("add --reference ORIGINAL");
  }
  if (o_.context > kMostContext) {
    return Error(Code::kUsage, fmt::format("a context of {} tokens is too long", o_.context));
  }
  if (o_.stride && o_.protocol != EvalProtocol::kStrided) {
    return Error(Code::kUsage, fmt::format("{} has no stride", protocol_name(o_.protocol)));
  }
  if (is_cache_file(o_.reference) && !o_.texts.empty()) {
    return Error(Code::kUsage, "kept predictions bring their own tokens; give no texts with them");
  }
  return {};
}

Status Evaluation::open_reference() {
  if (o_.reference.empty() || o_.weights_only) return {};
  if (is_cache_file(o_.reference)) {
    MLXMILL_ASSIGN(cached_, measure::CachedReference::open(o_.reference));
  } else {
    EvalOptions exact = o_;
    exact.int8_activations = false;
    MLXMILL_ASSIGN(reference_engine_, measure::open_engine(o_.reference, exact));
    MLXMILL_ASSIGN(cut_, reference_engine_->cut(o_));
    report_.reference = reference_engine_->facts().name;
    report_.reference_storage = "exact";
    if (o_.layers) MLXMILL_TRY(sample_inputs());
    if (o_.cache->empty()) {
      direct_.emplace(reference_engine_->source(), o_.threads);
      return {};
    }
    measure::CacheIdentity identity;
    identity.model_name = report_.reference;
    MLXMILL_ASSIGN(const io::Digest digest, reference_engine_->digest());
    identity.model_digest = io::to_hex(digest);
    identity.protocol = measure::describe_protocol(o_);
    identity.encoding = measure::encoding_of(o_, reference_engine_->source().vocabulary());
    identity.cut = *cut_;
    const fs::path path = *o_.cache / (measure::cache_key(identity) + ".logprobs");
    MLXMILL_TRY(cache_reference(path, identity));
    MLXMILL_ASSIGN(cached_, measure::CachedReference::open(path));
    // Reference and candidate never need memory at once.
    reference_engine_.reset();
  }
  const measure::CacheIdentity& identity = cached_->identity();
  cut_ = identity.cut;
  for (const evaluate::Window& window : cut_->windows) {
    o_.context = std::max(o_.context, static_cast<int>(window.tokens.size()));
  }
  reference_key_ = measure::cache_key(identity);
  report_.reference = identity.model_name;
  report_.protocol = identity.protocol;
  report_.reference_storage = measure::describe_encoding(identity.encoding);
  return {};
}

// Only what cannot be run is done without: its weights are compared all the same.
Status Evaluation::open_for_layers() {
  report_.reference = o_.reference.filename().string();
  Result<std::unique_ptr<measure::Engine>> engine = measure::open_engine(o_.reference, o_);
  if (engine) {
    reference_engine_ = *std::move(engine);
    MLXMILL_ASSIGN(cut_, reference_engine_->cut(o_));
    report_.texts = cut_->texts;
    report_.vocabulary = reference_engine_->source().vocabulary();
    MLXMILL_TRY(sample_inputs());
    reference_engine_.reset();
    return {};
  }
  const Code code = engine.error().code();
  if (code != Code::kUnsupported && code != Code::kNoMemory) return std::move(engine).error();
  if (callbacks_.note) {
    callbacks_.note("only weights are compared, as the reference cannot be run: " +
                    engine.error().message());
  }
  return {};
}

Status Evaluation::sample_inputs() {
  const auto progress = [&](std::size_t done, std::size_t total) {
    if (callbacks_.progress) {
      callbacks_.progress(
          {"inputs", reference_engine_->facts().name, done, total, 0, 0, std::nullopt});
    }
    return !cancelled();
  };
  MLXMILL_ASSIGN(inputs_, measure::sample_inputs(*reference_engine_, cut_->windows, progress));
  report_.output_tokens = inputs_.tokens;
  return {};
}

Status Evaluation::cache_reference(const fs::path& path, const measure::CacheIdentity& identity) {
  std::error_code error;
  fs::create_directories(*o_.cache, error);
  if (error) return Error(Code::kIo, "cannot create: " + error.message()).at(o_.cache->string());
  if (fs::exists(path, error)) {
    // Its contents are checked when it is opened; one that is damaged is made again.
    if (measure::CachedReference::open(path)) return {};
    if (callbacks_.warning) {
      callbacks_.warning("kept predictions are damaged and are made again: " + path.string());
    }
    fs::remove(path, error);
  }
  return measure::make_reference_cache(
      path, identity, reference_engine_->source(), o_.threads,
      [&](std::size_t done, std::size_t resumed) {
        if (callbacks_.progress) {
          callbacks_.progress({"reference", identity.model_name, done, identity.cut.windows.size(),
                               resumed, 0, std::nullopt});
        }
        return !cancelled();
      });
}

Status Evaluation::add_layers(EvalModel& model) {
  const auto progress = [&](std::size_t done, std::size_t total) {
    if (callbacks_.progress) {
      callbacks_.progress({"layers", model.name, done, total, 0, 0, std::nullopt});
    }
    return !cancelled();
  };
  MLXMILL_ASSIGN(model.layers,
                 measure::layer_errors(model.path, o_.reference, inputs_, o_.threads, progress));
  return {};
}

Status Evaluation::add_candidate(const fs::path& path) {
  const Clock::time_point begin = Clock::now();
  EvalModel model;
  model.path = path;
  if (o_.weights_only || o_.layers_only) {
    MLXMILL_TRY(measure::folder_facts(path, model));
    model.complete = true;
  } else {
    MLXMILL_ASSIGN(const std::unique_ptr<measure::Engine> engine, measure::open_engine(path, o_));
    evaluate::ReferenceRows* reference = nullptr;
    if (direct_) reference = &*direct_;
    if (cached_) reference = &*cached_;
    const measure::Against against{reference, cut_ ? &*cut_ : nullptr, reference_key_,
                                   cut_ && !is_cache_file(o_.reference)};
    MLXMILL_TRY(measure::CandidateRun(o_, callbacks_, *engine, against).score(model, report_));
  }
  if (o_.layers && model.complete) MLXMILL_TRY(add_layers(model));
  model.seconds = seconds_since(begin);
  report_.complete = report_.complete && model.complete;
  report_.models.push_back(std::move(model));
  return {};
}

void Evaluation::sort_models() {
  const auto order = [](const EvalModel& model) {
    return model.total.comparison ? model.total.comparison->kl.value : model.total.perplexity.value;
  };
  std::stable_sort(report_.models.begin(), report_.models.end(),
                   [&](const EvalModel& a, const EvalModel& b) { return order(a) < order(b); });
}

Result<EvalReport> Evaluation::run() {
  const Clock::time_point begin = Clock::now();
  MLXMILL_TRY(check_options());
  report_.protocol = measure::describe_protocol(o_);
  if (o_.weights_only) report_.reference = o_.reference.filename().string();
  MLXMILL_TRY(o_.layers_only ? open_for_layers() : open_reference());
  for (const fs::path& path : o_.candidates) {
    Status status = add_candidate(path);
    // What was measured before is worth showing.
    if (!status && status.error().code() == Code::kCancelled && !report_.models.empty()) {
      report_.complete = false;
      break;
    }
    if (!status) return std::move(status).error();
    if (!report_.complete) break;
  }
  sort_models();
  report_.seconds = seconds_since(begin);
  return std::move(report_);
}

}  // namespace

Result<EvalReport> evaluate_models(const EvalOptions& options, const EvalCallbacks& callbacks) {
  return Evaluation(options, callbacks).run();
}

fs::path default_evaluation_cache() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return fs::path(value != nullptr ? value : "");
  };
  if (fs::path own = variable("MLXMILL_CACHE"); !own.empty()) return own / "evaluation";
  if (fs::path cache = variable("XDG_CACHE_HOME"); cache.is_absolute()) {
    return cache / "mlxmill" / "evaluation";
  }
  const fs::path home = variable("HOME");
  return home.empty() ? fs::path() : home / ".cache" / "mlxmill" / "evaluation";
}

}  // namespace mlxmill
