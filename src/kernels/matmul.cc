// Which engine computes a product, and how the work is cut into tasks.
#include "kernels/matmul.h"

#include "kernels/targets.h"

#include <hwy/aligned_allocator.h>
#include <hwy/highway.h>

#include <atomic>
#include <memory>

#include "kernels/active_target.h"
#include "kernels/decoder.h"
#include "kernels/matmul_engine.h"

namespace mlxmill::kernels {
namespace {

// Best first. The last takes everything.
const MatmulEngine* const* engines(std::size_t* count) {
  static const MatmulEngine* const all[] = {
      &avx512_vnni_engine(), &amx_bf16_engine(),    &avx512_bf16_engine(), &int8_batch_engine(),
      &int8_engine(),        &int16_batch_engine(), &int16_engine(),       &highway_engine()};
  *count = std::size(all);
  return all;
}

std::atomic<const MatmulEngine*>& chosen() {
  static std::atomic<const MatmulEngine*> engine{nullptr};
  return engine;
}

std::atomic<const MatmulEngine*>& latest() {
  static std::atomic<const MatmulEngine*> engine{nullptr};
  return engine;
}

/// Whether the SIMD target in force reaches the engines that go beyond Highway's targets. (Asking
/// Highway would ask the processor, which costs microseconds on a virtual machine.)
bool best_target_in_force() {
  const std::int64_t only = target_restriction().load(std::memory_order_relaxed);
  return only == 0 || only == HWY_AVX3;
}

const MatmulEngine& engine_for(const Product& product) {
  std::size_t count = 0;
  const MatmulEngine* const* all = engines(&count);
  const MatmulEngine* only = chosen().load(std::memory_order_relaxed);
  if (only != nullptr) return only->takes(product) ? *only : highway_engine();
  const bool best_target = best_target_in_force();
  for (std::size_t i = 0; i + 1 < count; ++i) {
    if (!best_target && !all[i]->portable) continue;
    if (all[i]->supported() && all[i]->takes(product)) return *all[i];
  }
  return highway_engine();
}

/// Memory that grows and is kept: fresh pages cost more than many products.
class Scratch {
 public:
  std::uint8_t* need(std::size_t bytes) {
    if (bytes > bytes_) {
      memory_ = hwy::AllocateAligned<std::uint8_t>(bytes);
      if (!memory_) throw std::bad_alloc();
      bytes_ = bytes;
    }
    return memory_.get();
  }

 private:
  hwy::AlignedFreeUniquePtr<std::uint8_t[]> memory_;
  std::size_t bytes_ = 0;
};

/// One product with what was decided about it.
struct Work {
  const Product* product;
  const MatmulEngine* engine;
  std::size_t prepared_at;  // Offset of its prepared x.
  bool prepares;            // False: the one before did.
  std::size_t task_rows;    // Rows of the weight in a task.
  std::size_t first_task;   // Number of its first task.
  std::size_t first_panel;  // Number of its first panel to prepare.
};

bool same_preparation(const Work& a, const Work& b) {
  const Product& p = *a.product;
  const Product& q = *b.product;
  return a.engine == b.engine && p.x == q.x && p.type == q.type && p.in == q.in &&
         p.count == q.count && p.x_stride == q.x_stride && p.weight.cols == q.weight.cols &&
         p.weight.scheme == q.weight.scheme && p.weight.type == q.weight.type;
}

struct Plan {
  std::vector<Work> works;
  std::size_t tasks = 0;
  std::size_t panels = 0;
  std::size_t prepared_bytes = 0;
  std::size_t scratch_bytes = 0;
  std::size_t x_elements = 0;
};

void plan_into(std::span<const Product> products, Plan& plan) {
  plan.works.clear();
  for (const Product& p : products) {
    if (p.count == 0 || p.weight.rows == 0) continue;
    const MatmulEngine& engine = engine_for(p);
    latest().store(&engine, std::memory_order_relaxed);
    Work work{&p, &engine, plan.prepared_bytes, true, engine.task_rows(p), plan.tasks, plan.panels};
    if (!plan.works.empty() && same_preparation(plan.works.back(), work)) {
      work.prepares = false;
      work.prepared_at = plan.works.back().prepared_at;
    } else {
      plan.prepared_bytes += round_up(engine.prepared_bytes(p), 64);
      plan.panels += ceil_div(p.count, kPanelRows);
      plan.x_elements += p.count * p.weight.cols;
    }
    plan.tasks += ceil_div(p.weight.rows, work.task_rows);
    plan.scratch_bytes = std::max(plan.scratch_bytes, round_up(engine.scratch_bytes(p), 64));
    plan.works.push_back(work);
  }
}

/// The work that task (or panel) `index` belongs to.
const Work& work_of(const Plan& plan, std::size_t index, std::size_t Work::*first) {
  std::size_t low = 0;
  std::size_t high = plan.works.size();
  while (high - low > 1) {
    const std::size_t middle = (low + high) / 2;
    (plan.works[middle].*first <= index ? low : high) = middle;
  }
  return plan.works[low];
}

void prepare_panel(const Plan& plan, std::size_t index, std::uint8_t* prepared) {
  const Work* work = &work_of(plan, index, &Work::first_panel);
  // Those that share come after the one that prepares, with the number of the next panel.
  while (!work->prepares) --work;
  const std::size_t first = (index - work->first_panel) * kPanelRows;
  const std::size_t last = std::min(first + kPanelRows, work->product->count);
  work->engine->prepare(*work->product, first, last, prepared + work->prepared_at);
}

void compute_task(const Plan& plan, std::size_t index, const std::uint8_t* prepared,
                  std::uint8_t* scratch) {
  const Work& work = work_of(plan, index, &Work::first_task);
  const std::size_t first = (index - work.first_task) * work.task_rows;
  const std::size_t last = std::min(first + work.task_rows, work.product->weight.rows);
  const Product& p = *work.product;
  work.engine->compute(p, prepared + work.prepared_at, first, last, scratch);
  if (p.bias == nullptr) return;
  const std::size_t at = first * dtype_bytes(p.type);
  const auto* bias = static_cast<const std::uint8_t*>(p.bias) + at;
  for (std::size_t i = 0; i < p.count; ++i) {
    std::uint8_t* y = y_row(p, i) + at;
    add(p.type, y, bias, y, last - first);
  }
}

}  // namespace

void multiply(std::span<const Product> products, base::ThreadPool& pool) {
  // Below this much x, waking others takes longer than preparing it alone.
  constexpr std::size_t kWorthSharing = 32768;
  thread_local Scratch memory;
  Plan plan;
  plan_into(products, plan);
  if (plan.works.empty()) return;
  const auto threads = static_cast<std::size_t>(pool.threads());
  std::uint8_t* prepared = memory.need(plan.prepared_bytes + threads * plan.scratch_bytes + 64);
  std::uint8_t* scratch = prepared + plan.prepared_bytes;
  const auto prepare = [&](std::size_t index, int /*worker*/) {
    prepare_panel(plan, index, prepared);
  };
  if (plan.x_elements < kWorthSharing) {
    for (std::size_t i = 0; i < plan.panels; ++i) prepare(i, 0);
  } else {
    pool.run(plan.panels, prepare);
  }
  pool.run(plan.tasks, [&](std::size_t index, int worker) {
    compute_task(plan, index, prepared,
                 scratch + static_cast<std::size_t>(worker) * plan.scratch_bytes);
  });
}

std::vector<std::string> supported_matmul_engines() {
  std::size_t count = 0;
  const MatmulEngine* const* all = engines(&count);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    if (all[i]->supported()) names.emplace_back(all[i]->name);
  }
  return names;
}

Status set_matmul_engine(std::string_view name) {
  if (name == "auto") {
    chosen() = nullptr;
    return {};
  }
  std::size_t count = 0;
  const MatmulEngine* const* all = engines(&count);
  std::string known;
  for (std::size_t i = 0; i < count; ++i) {
    if (!all[i]->supported()) continue;
    if (name == all[i]->name) {
      chosen() = all[i];
      return {};
    }
    known += std::string(", ") + all[i]->name;
  }
  return Error(Code::kUsage, "unknown or unsupported matmul engine '" + std::string(name) +
                                 "'; expected auto" + known);
}

std::string active_matmul_engine() {
  const MatmulEngine* engine = latest().load(std::memory_order_relaxed);
  return engine != nullptr ? engine->name : "";
}

}  // namespace mlxmill::kernels
