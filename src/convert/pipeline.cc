#include "convert/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/parallel.h"
#include "convert/journal.h"
#include "convert/unit_worker.h"

namespace mlxmill::convert {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kDefaultMemory = 128 << 20;
constexpr std::uint64_t kMinimumWorkerMemory = 3 << 20;
constexpr auto kTick = std::chrono::milliseconds(100);
/// A source read slower than this comes from a disk, which should be kept busy ahead of the work.
constexpr double kCachedBytesPerSecond = 2e9;

std::uint64_t budget(const ConvertOptions& options) {
  return options.memory_bytes ? options.memory_bytes : kDefaultMemory;
}

/// Reports progress, polls for cancellation and keeps the first error, for all workers.
class Monitor {
 public:
  Monitor(const Conversion& conversion, const Callbacks& callbacks)
      : c_(conversion), callbacks_(callbacks) {
    for (const Job& job : c_.jobs) total_ += job.source_bytes;
  }

  void begin_phase(std::string_view phase) {
    phase_ = phase;
    bytes_ = 0;
    tensors_ = 0;
    report();
  }
  void end_phase() {
    if (!stopped()) report();
  }

  void advance(std::uint64_t bytes, bool tensor_ended) {
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (tensor_ended) tensors_.fetch_add(1, std::memory_order_relaxed);
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    if (callbacks_.cancelled && callbacks_.cancelled()) {
      set_error(Error(Code::kCancelled, "stopped on request"));
    }
    if (Clock::now() - last_tick_ < kTick) return;
    last_tick_ = Clock::now();
    report();
  }

  void fail(Error error) {
    const std::lock_guard lock(mutex_);
    set_error(std::move(error));
  }
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
  Status status() {
    if (error_) return *error_;
    return {};
  }
  void add_resumed(std::uint64_t bytes) { resumed_ += bytes; }
  std::uint64_t resumed() const { return resumed_; }

 private:
  void set_error(Error error) {
    if (!error_) error_ = std::move(error);
    stopped_ = true;
  }
  void report() const {
    if (!callbacks_.progress) return;
    callbacks_.progress({phase_, bytes_, total_, resumed_, tensors_, c_.jobs.size()});
  }

  const Conversion& c_;
  const Callbacks& callbacks_;
  std::string_view phase_;
  std::uint64_t total_ = 0;
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> tensors_{0};
  std::atomic<std::uint64_t> resumed_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  Clock::time_point last_tick_ = Clock::now();
  std::optional<Error> error_;
};

/// Hands out units in order, in batches.
class Cursor {
 public:
  struct Batch {
    std::size_t job = 0;
    std::uint64_t first = 0;
    std::uint64_t n = 0;
  };

  Cursor(const Conversion& conversion, std::uint64_t budget_bytes)
      : c_(conversion), budget_(budget_bytes) {}

  std::optional<Batch> next() {
    const std::lock_guard lock(mutex_);
    while (job_ < c_.jobs.size() && unit_ == c_.jobs[job_].n_units) {
      ++job_;
      unit_ = 0;
    }
    if (job_ == c_.jobs.size()) return std::nullopt;
    const Job& job = c_.jobs[job_];
    const std::uint64_t n =
        std::min(job.n_units - unit_, UnitWorker::units_per_batch(job, budget_));
    const Batch batch{job_, unit_, n};
    unit_ += n;
    return batch;
  }

 private:
  const Conversion& c_;
  std::uint64_t budget_;
  std::mutex mutex_;
  std::size_t job_ = 0;
  std::uint64_t unit_ = 0;
};

class Pipeline {
 public:
  Pipeline(const Conversion& conversion, const Callbacks& callbacks, Journal& journal,
           std::vector<io::File> files)
      : c_(conversion),
        monitor_(conversion, callbacks),
        journal_(journal),
        files_(std::move(files)),
        threads_(worker_count(conversion.options)),
        worker_budget_(budget(conversion.options) / static_cast<std::uint64_t>(threads_)) {}

  Result<PipelineResult> run() {
    done_.assign(c_.n_units, 0);
    if (!journal_.fresh()) MLXMILL_TRY(find_finished());
    MLXMILL_TRY(make_units());
    PipelineResult result;
    const auto start = Clock::now();
    MLXMILL_TRY(read_back());
    MLXMILL_TRY(collect(result));
    result.seconds_reading_back = std::chrono::duration<double>(Clock::now() - start).count();
    result.bytes_resumed = monitor_.resumed();
    result.threads = threads_;
    return result;
  }

 private:
  /// Runs `body(worker, job, unit)` over every unit (batches of one) or batch on all workers until
  /// one fails.
  template <typename Body>
  Status each_batch(std::string_view phase, std::uint64_t batch_budget, const Body& body) {
    monitor_.begin_phase(phase);
    Cursor cursor(c_, batch_budget);
    base::run_workers(threads_, [&](int) {
      UnitWorker worker(c_, files_);
      while (!monitor_.stopped()) {
        const auto batch = cursor.next();
        if (!batch) break;
        if (Status status = body(worker, c_.jobs[batch->job], *batch); !status)
          monitor_.fail(std::move(status).error());
      }
    });
    monitor_.end_phase();
    return monitor_.status();
  }

  /// Trusts no journal entry whose bytes are not on the disk as recorded.
  Status find_finished() {
    return each_batch(
        "resuming", 0,
        [&](UnitWorker& worker, const Job& job, const Cursor::Batch& batch) -> Status {
          MLXMILL_ASSIGN(const auto record, journal_.find(job.first_unit + batch.first));
          if (!record) return {};
          MLXMILL_ASSIGN(const bool good, worker.matches(job, batch.first, *record));
          if (!good) return {};
          done_[job.first_unit + batch.first] = 1;
          const std::uint64_t bytes = unit_source_bytes(job, batch.first);
          monitor_.add_resumed(bytes);
          monitor_.advance(bytes, false);
          return {};
        });
  }

  Status make_units() {
    const auto make = [&](UnitWorker& worker, const Job& job,
                          const Cursor::Batch& batch) -> Status {
      const auto is_done = [&](std::uint64_t unit) { return done_[job.first_unit + unit] != 0; };
      const auto finish = [&](std::uint64_t unit) {
        monitor_.advance(unit_source_bytes(job, unit), unit + 1 == job.n_units);
      };
      // Runs of units still to do; finished ones between them are skipped.
      for (std::uint64_t unit = batch.first; unit < batch.first + batch.n && !monitor_.stopped();) {
        if (is_done(unit)) {
          finish(unit++);
          continue;
        }
        std::uint64_t stop = unit + 1;
        while (stop < batch.first + batch.n && !is_done(stop)) ++stop;
        MLXMILL_TRY(make_run(worker, job, unit, stop - unit, finish));
        unit = stop;
      }
      return {};
    };
    return each_batch("converting", worker_budget_, make);
  }

  template <typename Finish>
  Status make_run(UnitWorker& worker, const Job& job, std::uint64_t first, std::uint64_t n,
                  const Finish& finish) {
    // The units that the workers will want after the ones in hand.
    if (slow_source_)
      worker.will_read(job, first + n, first + n + static_cast<std::uint64_t>(threads_) * 4);
    const auto start = Clock::now();
    std::uint64_t bytes = 0;
    MLXMILL_TRY(
        worker.make(job, first, n, [&](std::uint64_t unit, const UnitRecord& record) -> Status {
          MLXMILL_TRY(journal_.record(job.first_unit + unit, record));
          bytes += unit_source_bytes(job, unit);
          finish(unit);
          return {};
        }));
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    slow_source_ = static_cast<double>(bytes) < seconds * kCachedBytesPerSecond / 4;
    return {};
  }

  Status read_back() {
    return each_batch(
        "checking", 0,
        [&](UnitWorker& worker, const Job& job, const Cursor::Batch& batch) -> Status {
          MLXMILL_ASSIGN(const auto record, journal_.find(job.first_unit + batch.first));
          MLXMILL_ASSIGN(const bool good,
                         record ? worker.matches(job, batch.first, *record) : Result<bool>(false));
          if (!good) {
            return Error(Code::kIo, "what was written reads back differently")
                .at(job.module)
                .hint("check the disk; the same command tries again");
          }
          monitor_.advance(unit_source_bytes(job, batch.first), batch.first + 1 == job.n_units);
          return {};
        });
  }

  Status collect(PipelineResult& result) {
    result.tensor_digests.resize(c_.outputs.size());
    std::map<std::string_view, std::size_t> listed;  // A module's codes, scales and biases.
    for (const Job& job : c_.jobs) {
      std::array<io::Hasher, 3> hashers;
      std::uint64_t non_finite = 0;
      for (std::uint64_t unit = 0; unit < job.n_units; ++unit) {
        MLXMILL_ASSIGN(const auto record, journal_.find(job.first_unit + unit));
        if (!record) return Error(Code::kIo, "the journal lost a finished unit").at(job.module);
        non_finite += record->non_finite;
        for (std::size_t i = 0; i < job.outputs.size(); ++i) hashers[i].update(record->digests[i]);
      }
      for (std::size_t i = 0; i < job.outputs.size(); ++i)
        result.tensor_digests[job.outputs[i]] = hashers[i].finish();
      if (non_finite) {
        const auto [at, is_new] = listed.emplace(job.module, result.non_finite.size());
        if (is_new) result.non_finite.emplace_back(job.module, 0);
        result.non_finite[at->second].second += non_finite;
      }
      result.non_finite_total += non_finite;
    }
    for (io::File& file : files_) MLXMILL_TRY(file.sync());
    return {};
  }

  const Conversion& c_;
  Monitor monitor_;
  Journal& journal_;
  std::vector<io::File> files_;
  int threads_;
  std::uint64_t worker_budget_;
  std::vector<std::uint8_t> done_;
  std::atomic<bool> slow_source_{false};
};

Result<std::vector<io::File>> open_outputs(const Conversion& conversion,
                                           const std::filesystem::path& folder) {
  std::vector<io::File> files;
  for (const OutputFile& planned : conversion.files) {
    MLXMILL_ASSIGN(io::File file, io::File::open_write(folder / planned.name));
    MLXMILL_TRY(file.resize(planned.bytes));
    MLXMILL_TRY(
        file.write_at(0, std::as_bytes(std::span(planned.prefix.data(), planned.prefix.size()))));
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

int worker_count(const ConvertOptions& options) {
  const int wanted = options.threads > 0 ? options.threads : base::available_cores();
  const auto fed =
      static_cast<int>(std::min<std::uint64_t>(budget(options) / kMinimumWorkerMemory, 1024));
  return std::max(1, std::min(wanted, fed));
}

std::uint64_t memory_needed(const Conversion& conversion) {
  const auto threads = static_cast<std::uint64_t>(worker_count(conversion.options));
  std::uint64_t largest = 0;
  for (const Job& job : conversion.jobs) {
    const std::uint64_t units =
        UnitWorker::units_per_batch(job, budget(conversion.options) / threads);
    largest = std::max(largest, UnitWorker::batch_bytes(job, units));
  }
  // Tables: plan, headers and journal state, a few hundred bytes a tensor.
  const std::uint64_t tables =
      conversion.n_units + (conversion.outputs.size() + conversion.n_source_tensors) * 1024;
  return threads * largest + tables;
}

Result<PipelineResult> run_pipeline(const Conversion& conversion,
                                    const std::filesystem::path& folder, Journal& journal,
                                    const Callbacks& callbacks) {
  MLXMILL_ASSIGN(std::vector<io::File> files, open_outputs(conversion, folder));
  return Pipeline(conversion, callbacks, journal, std::move(files)).run();
}

}  // namespace mlxmill::convert
