#include <fmt/format.h>

#include <algorithm>

#include "runtime/mlx_guard.h"
#include "runtime/model_parts.h"
#include "runtime/watch.h"

namespace mlxmill {
namespace {

namespace mx = mlx::core;

void append(const mx::array& logits, Logits& to) {
  const bool ready = logits.is_available() && logits.flags().row_contiguous;
  const mx::array row_major = ready ? logits : mx::contiguous(logits);
  mx::eval(row_major);
  const float* values = row_major.data<float>();
  to.values.insert(to.values.end(), values, values + row_major.size());
}

}  // namespace

ModelCache::ModelCache(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ModelCache::ModelCache(ModelCache&&) noexcept = default;
ModelCache& ModelCache::operator=(ModelCache&&) noexcept = default;
ModelCache::~ModelCache() = default;

std::int64_t ModelCache::length() const { return parts_->length; }

bool ModelCache::trim_to(std::int64_t length) {
  const std::int64_t tokens = parts_->length - length;
  if (length < 0 || tokens < 0) return false;
  for (const auto& state : parts_->states) {
    if (state && !state->can_trim(tokens)) return false;
  }
  for (const auto& state : parts_->states) {
    if (state) state->trim(tokens);
  }
  parts_->length = length;
  return true;
}

Model::Model(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

const ModelFacts& Model::facts() const { return parts_->facts; }

ModelCache Model::new_cache() const {
  auto parts = std::make_unique<ModelCache::Parts>();
  parts->states = parts_->network.new_states(parts_->state_options);
  return ModelCache(std::move(parts));
}

namespace {

Status check_ids(std::span<const std::int32_t> ids, std::int64_t before, const ModelFacts& facts) {
  if (ids.empty()) return Error(Code::kUsage, "there are no tokens to run");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < facts.vocabulary) continue;
    return Error(Code::kUsage, fmt::format("token {} has the id {}; expected 0 to {}", i, ids[i],
                                           facts.vocabulary - 1));
  }
  const auto total = before + static_cast<std::int64_t>(ids.size());
  if (total <= facts.context) return {};
  return Error(Code::kUsage,
               fmt::format("{} tokens are more than the context of {}", total, facts.context))
      .hint("open the model with a longer context");
}

}  // namespace

Result<Logits> Model::run(std::span<const std::int32_t> ids, ModelCache& cache,
                          LogitsOf which) const {
  const ModelFacts& facts = parts_->facts;
  ModelCache::Parts& kept = *cache.parts_;
  MLXMILL_TRY(check_ids(ids, kept.length, facts));
  return runtime::guarded([&]() -> Result<Logits> {
    Logits logits;
    logits.vocabulary = static_cast<std::size_t>(facts.vocabulary);
    const std::size_t step = parts_->prefill_step_size;
    std::size_t n = 0;
    for (std::size_t done = 0; done < ids.size(); done += n) {
      if (parts_->cancelled && parts_->cancelled()) {
        return Error(Code::kCancelled,
                     fmt::format("stopped after {} of {} tokens", done, ids.size()));
      }
      // In a cache of limited size the last token comes alone, as in mlx_lm.generate: in a chunk it
      // would not see the first ones, which are kept for it.
      const std::size_t left = ids.size() - done;
      const bool alone = parts_->state_options.max_size > 0 && left > 1;
      n = std::min(step, alone ? left - 1 : left);
      const auto chunk = ids.subspan(done, n);
      const auto offset = static_cast<int>(kept.length);
      const bool last = done + chunk.size() == ids.size();
      if (which == LogitsOf::kAll || last) {
        append(parts_->network.run(chunk, offset, kept.states, which == LogitsOf::kAll), logits);
      } else {
        parts_->network.advance(chunk, offset, kept.states);
      }
      // States that no logit needed are still part of the graph.
      std::vector<mx::array> remembered;
      for (const auto& state : kept.states) {
        if (!state) continue;
        for (const mx::array& array : state->held()) remembered.push_back(array);
      }
      mx::eval(remembered);
      kept.length += static_cast<std::int64_t>(chunk.size());
    }
    logits.positions = logits.values.size() / logits.vocabulary;
    return logits;
  });
}

Result<std::vector<ModuleInput>> Model::run_watched(std::int32_t id, ModelCache& cache) const {
  const runtime::Watch watch;
  MLXMILL_TRY(run(std::span(&id, 1), cache));
  return runtime::guarded([&]() -> Result<std::vector<ModuleInput>> { return watch.inputs(); });
}

}  // namespace mlxmill
