#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>

#include "architectures/declaration.h"
#include "architectures/forward/state_bytes.h"
#include "base/process.h"
#include "convert/open_catalogue.h"
#include "convert/open_source.h"
#include "hub/download.h"
#include "hub/streamed_model.h"
#include "mlxmill/plan.h"
#include "plan/advice.h"
#include "plan/probe.h"
#include "plan/published.h"
#include "plan/rows.h"

namespace mlxmill {
namespace plan {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxContext = std::int64_t{1} << 30;

Status check_options(const PlanOptions& o) {
  if (o.model.empty()) return Error(Code::kUsage, "no model given");
  if (o.context < 1 || o.context > kMaxContext) {
    return Error(Code::kUsage,
                 fmt::format("a context of {} tokens; expected 1 to {}", o.context, kMaxContext));
  }
  for (const int size : o.group_sizes) {
    auto scheme = make_scheme(Mode::kAffine, 4, size);
    if (!scheme) return std::move(scheme).error();
  }
  if (o.kv_bits) {
    auto scheme = make_scheme(Mode::kAffine, o.kv_bits, std::nullopt);
    if (!scheme) return std::move(scheme).error().at("keys and values");
  }
  return {};
}

/// Planning in steps that each need what the one before found.
class Planner {
 public:
  Planner(const PlanOptions& options, const Callbacks& callbacks)
      : o_(options), callbacks_(callbacks) {}

  Result<ModelPlan> run() {
    MLXMILL_TRY(check_options(o_));
    plan_.model = o_.model;
    plan_.context = o_.context;
    MLXMILL_TRY(open());
    MLXMILL_TRY(read_forward());
    MLXMILL_TRY(make_rows());
    if (streamed_) plan_.header_bytes = streamed_->bytes_received();
    judge_memory();
    MLXMILL_TRY(measure());
    recommend(plan_);
    look_around();
    if (streamed_) plan_.bytes_received = streamed_->bytes_received();
    return std::move(plan_);
  }

 private:
  Status open() {
    std::error_code ignored;
    if (fs::exists(o_.model, ignored) || !is_hub_name(o_.model)) {
      path_ = o_.model;
      return {};
    }
    const hub::Settings settings = hub::settings_for(o_.hub);
    if (settings.offline) {
      MLXMILL_ASSIGN(const HubModel cached, download_model(o_.model, o_.hub, callbacks_));
      path_ = cached.path;
      plan_.commit = cached.commit;
      plan_.notes.push_back(
          "HF_HUB_OFFLINE is set: the cache was read, and nobody was asked for published "
          "conversions");
      return {};
    }
    auto streamed = hub::StreamedModel::open_headers(o_.model, o_.hub, callbacks_);
    if (!streamed && streamed.error().code() == Code::kUnsupported) {
      return Error(Code::kUnsupported, "is a GGUF model, whose settings are not at its start alone")
          .at(o_.model)
          .hint("mlxmill download fetches it; then plan the file");
    }
    if (!streamed) return std::move(streamed).error();
    streamed_ = *std::move(streamed);
    path_ = streamed_->model().path;
    plan_.commit = streamed_->remote().commit;
    plan_.last_modified = streamed_->remote().last_modified;
    plan_.gated = streamed_->remote().gated;
    return {};
  }

  formats::RemoteFiles remote() const {
    return streamed_ ? streamed_->files() : formats::RemoteFiles();
  }

  Status read_forward() {
    MLXMILL_ASSIGN(source_, convert::open_source(path_, /*repack=*/true, remote()));
    const base::Value& config = source_.checkpoint.config;
    MLXMILL_ASSIGN(const convert::OpenedCatalogue opened,
                   convert::open_catalogue(config, o_.architecture_file));
    auto choice = opened.catalogue.choose(config, source_.weights.tensors, /*exact_norms=*/false,
                                          /*to_run=*/true);
    if (!choice) return std::move(choice).error().at(o_.model);
    auto forward = choice->declaration.forward(config, choice->layout);
    if (!forward) {
      plan_.notes.push_back("memory is that of the weights alone: " + forward.error().message());
      return {};
    }
    forward_ = *std::move(forward);
    plan_.runs = true;
    if (o_.kv_bits) {
      auto size = architectures::kv_group_size(forward_, 0);
      if (!size) return std::move(size).error().at(o_.model);
      kv_group_size_ = *size;
    }
    plan_.max_positions = forward_.max_positions;
    if (plan_.max_positions > 0 && o_.context > plan_.max_positions) {
      plan_.notes.push_back(fmt::format("the model was trained for {} tokens, {} are asked for",
                                        plan_.max_positions, o_.context));
    }
    return {};
  }

  Status make_rows() {
    MLXMILL_ASSIGN(Table table, make_table({o_, path_, remote(), plan_.runs ? &forward_ : nullptr,
                                            kv_group_size_}));
    plan_.rows = std::move(table.rows);
    plan_.quantized_source = table.quantized;
    plan_.family = table.base.family;
    plan_.model_type = table.base.model_type;
    plan_.source_method = table.base.source_method;
    plan_.parameters = table.base.parameters;
    plan_.source_bytes = table.base.source_bytes;
    for (std::string& warning : table.base.warnings) plan_.notes.push_back(std::move(warning));
    return {};
  }

  void judge_memory() {
    const base::MachineMemory memory =
        o_.ram_bytes > 0 ? base::mac_memory(o_.ram_bytes) : base::machine_memory();
    plan_.machine = {memory.total_bytes, memory.usable_bytes, memory.source};
    if (memory.usable_bytes == 0) return;
    for (PlanRow& row : plan_.rows) {
      if (row.problem.empty()) row.fits = row.run_bytes <= memory.usable_bytes;
    }
  }

  Status measure() {
    if (!o_.probe) return {};
    auto measured = probe(source_.checkpoint, plan_.parameters);
    if (measured) {
      plan_.probe = *measured;
    } else if (measured.error().code() == Code::kCancelled) {
      return std::move(measured).error();
    } else {
      plan_.notes.push_back("nothing was measured: " + measured.error().message());
    }
    return {};
  }

  void look_around() {
    if (!streamed_ || !o_.search) return;
    Source source{streamed_->model().repo, plan_.commit, plan_.last_modified, plan_.parameters};
    if (!streamed_->remote().new_name.empty()) source.repo = streamed_->remote().new_name;
    Published found = find_published(streamed_->settings(), source, callbacks_.cancelled);
    plan_.published = std::move(found.models);
    const bool unknown = plan_.published.empty() && !found.notes.empty();
    for (std::string& note : found.notes) plan_.notes.push_back(std::move(note));
    if (!unknown) make_or_take(plan_);
  }

  const PlanOptions& o_;
  const Callbacks& callbacks_;
  std::unique_ptr<hub::StreamedModel> streamed_;  ///< Null for what lies here.
  fs::path path_;
  convert::OpenedSource source_;
  architectures::Forward forward_;
  int kv_group_size_ = 64;
  ModelPlan plan_;
};

}  // namespace
}  // namespace plan

Result<ModelPlan> plan_model(const PlanOptions& options, const Callbacks& callbacks) {
  return plan::Planner(options, callbacks).run();
}

}  // namespace mlxmill
