#include "measure/candidate_run.h"

#include <fmt/format.h>

#include <cmath>

#include "evaluate/statistics.h"
#include "io/hash.h"

namespace mlxmill::measure {
namespace {

using evaluate::PositionScore;
using evaluate::Window;

// Tokens of context shown with a worst token, and bytes of it.
constexpr std::uint32_t kContextTokens = 24;

}  // namespace

Status CandidateRun::check() const {
  if (cut_.windows.empty()) return Error(Code::kInvalidInput, "there is nothing to score");
  Status status =
      evaluate::check_windows(cut_.windows, engine_.source().vocabulary(), cut_.texts.size());
  if (!status) return std::move(status).error().at(engine_.facts().name);
  return {};
}

Status CandidateRun::open_file() {
  if (!options_.cache || options_.cache->empty() ||
      (against_.reference != nullptr && against_.key.empty()))
    return {};
  MLXMILL_ASSIGN(const io::Digest digest, engine_.digest());
  io::Hasher hasher;
  hasher.update(io::to_hex(digest) + "\n" + against_.key + "\n");
  for (const Window& window : cut_.windows) {
    hasher.update(std::as_bytes(std::span(window.tokens)));
    const std::uint32_t place[] = {window.text, window.begin, window.end};
    hasher.update(std::as_bytes(std::span(place)));
  }
  std::error_code error;
  std::filesystem::create_directories(*options_.cache, error);
  MLXMILL_ASSIGN(file_, ScoreFile::open(*options_.cache, io::to_hex(hasher.finish())));
  MLXMILL_ASSIGN(resumed_, file_->load(cut_.windows, scores_));
  done_ = resumed_;
  return {};
}

Status CandidateRun::run_windows() {
  evaluate::Sum nll;
  evaluate::Sum kl;
  for (const PositionScore& s : scores_) {
    nll.add(s.nll);
    kl.add(s.kl);
  }
  const auto show = [&] {
    if (!callbacks_.progress) return;
    const auto n = static_cast<double>(scores_.size());
    EvalProgress progress{"scoring", engine_.facts().name, done_, cut_.windows.size(), resumed_,
                          0,         std::nullopt};
    if (n > 0) progress.perplexity = std::exp(nll.value() / n);
    if (n > 0 && against_.reference != nullptr) progress.kl = kl.value() / n;
    callbacks_.progress(progress);
  };
  const auto cancelled = [&] { return callbacks_.cancelled && callbacks_.cancelled(); };
  show();
  if (done_ == cut_.windows.size() || cancelled()) return {};
  MLXMILL_TRY(evaluate::score_windows(
      engine_.source(), against_.reference, cut_.windows, done_, options_.threads,
      [&](std::size_t, std::span<const PositionScore> window) -> Result<bool> {
        for (const PositionScore& s : window) {
          nll.add(s.nll);
          kl.add(s.kl);
          scores_.push_back(s);
        }
        if (file_) MLXMILL_TRY(file_->append(window));
        ++done_;
        show();
        return !cancelled();
      }));
  return {};
}

Status CandidateRun::score(EvalModel& model, EvalReport& report) {
  const EngineFacts& facts = engine_.facts();
  model.name = facts.name;
  model.bytes = facts.bytes;
  model.bits_per_weight = facts.bits_per_weight;
  model.decode_per_second = facts.decode_per_second;
  if (against_.cut != nullptr) {
    cut_ = *against_.cut;
  } else {
    MLXMILL_ASSIGN(cut_, engine_.cut(options_));
  }
  MLXMILL_TRY(check());
  MLXMILL_TRY(open_file());
  Status status = run_windows();
  if (!status) return std::move(status).error().at(facts.name);
  report.windows = cut_.windows.size();
  report.texts = cut_.texts;
  report.vocabulary = engine_.source().vocabulary();
  model.windows = done_;
  model.complete = done_ == cut_.windows.size();
  if (scores_.empty()) return Error(Code::kCancelled, "stopped before the first window was done");
  if (file_ && model.complete) MLXMILL_TRY(file_->finish());
  describe(model);
  return {};
}

void CandidateRun::describe(EvalModel& model) const {
  const bool compared = against_.reference != nullptr;
  model.total = evaluate::summarize(scores_, compared);
  if (cut_.texts.size() > 1) model.domains = domains();
  if (!compared) return;
  model.histogram = evaluate::kl_histogram(scores_);
  model.worst = worst();
}

std::vector<DomainScores> CandidateRun::domains() const {
  std::vector<std::vector<PositionScore>> of_text(cut_.texts.size());
  std::size_t at = 0;
  for (std::size_t w = 0; w < done_; ++w) {
    const Window& window = cut_.windows[w];
    for (std::uint32_t i = window.begin; i < window.end; ++i) {
      of_text[window.text].push_back(scores_[at++]);
    }
  }
  std::vector<DomainScores> result;
  for (std::size_t t = 0; t < of_text.size(); ++t) {
    if (of_text[t].empty()) continue;
    result.push_back(
        {cut_.texts[t], evaluate::summarize(of_text[t], against_.reference != nullptr)});
  }
  return result;
}

WorstToken CandidateRun::worst_at(std::size_t position) const {
  std::size_t w = 0;
  std::size_t left = position;
  while (left >= cut_.windows[w].end - cut_.windows[w].begin) {
    left -= cut_.windows[w].end - cut_.windows[w].begin;
    ++w;
  }
  const Window& window = cut_.windows[w];
  const auto i = window.begin + static_cast<std::uint32_t>(left);
  const PositionScore& score = scores_[position];
  WorstToken token;
  token.domain = cut_.texts[window.text];
  token.window = w;
  token.position = i;
  for (std::uint32_t k = i + 1 - std::min(i + 1, kContextTokens); k <= i; ++k) {
    token.before += engine_.token_text(window.tokens[k]);
    if (engine_.token_text(window.tokens[k]).starts_with('#')) token.before += ' ';
  }
  token.token = engine_.token_text(window.tokens[i + 1]);
  token.reference_top = engine_.token_text(score.reference_top);
  token.candidate_top = engine_.token_text(score.top);
  token.kl = score.kl;
  token.reference_probability = std::exp(-score.reference_nll);
  token.candidate_probability = std::exp(-score.nll);
  return token;
}

std::vector<WorstToken> CandidateRun::worst() const {
  std::vector<WorstToken> tokens;
  const auto n = static_cast<std::size_t>(std::max(options_.worst, 0));
  for (const std::size_t position : evaluate::worst_positions(scores_, n)) {
    if (scores_[position].kl > 0) tokens.push_back(worst_at(position));
  }
  return tokens;
}

}  // namespace mlxmill::measure
