#include "evaluate/score_windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/parallel.h"

namespace mlxmill::evaluate {
namespace {

constexpr std::int64_t kBlockFloats = std::int64_t{8} << 20;
constexpr std::int64_t kMostRows = 64;

// Runs body(row, worker) for rows [0, n); the error of the smallest row is returned, so that it is
// the same for any number of threads.
template <typename Body>
Status for_rows(std::size_t n, int threads, const Body& body) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::size_t failed_row = n;
  Status failure;
  const int workers = std::clamp(static_cast<int>(n), 1, std::max(threads, 1));
  base::run_workers(workers, [&](int worker) {
    for (std::size_t row = next++; row < n; row = next++) {
      Status status = body(row, static_cast<std::size_t>(worker));
      if (status) continue;
      const std::lock_guard lock(mutex);
      if (row < failed_row) {
        failed_row = row;
        failure = std::move(status);
      }
    }
  });
  return failure;
}

std::string place(std::size_t window, std::size_t position) {
  return fmt::format("window {}, position {}", window, position);
}

std::span<const float> row_of(const std::vector<float>& logits, std::size_t row,
                              std::int64_t vocabulary) {
  const auto width = static_cast<std::size_t>(vocabulary);
  return std::span(logits).subspan(row * width, width);
}

// A walk over the blocks of a window.
template <typename Body>
Status for_blocks(LogitsSource& source, const Window& window, std::vector<float>& logits,
                  const Body& body) {
  const std::int64_t vocabulary = source.vocabulary();
  const auto step = static_cast<std::uint32_t>(rows_per_block(vocabulary));
  MLXMILL_TRY(source.start(window.tokens));
  for (std::uint32_t first = window.begin; first < window.end; first += step) {
    const std::uint32_t n = std::min(step, window.end - first);
    logits.resize(n * static_cast<std::size_t>(vocabulary));
    MLXMILL_TRY(source.read(first, n, logits));
    MLXMILL_TRY(body(first, n));
  }
  return {};
}

Status check_context(const LogitsSource& source, const Window& window) {
  const auto length = static_cast<std::int64_t>(window.tokens.size());
  if (source.context() == 0 || length <= source.context()) return {};
  return Error(Code::kUsage, fmt::format("a window of {} tokens is longer than the model's context "
                                         "of {}",
                                         length, source.context()))
      .hint("give a smaller --context");
}

}  // namespace

std::int64_t rows_per_block(std::int64_t vocabulary) {
  return std::clamp(kBlockFloats / std::max<std::int64_t>(vocabulary, 1), std::int64_t{1},
                    kMostRows);
}

Status DirectReference::read(std::size_t window_index, const Window& window, std::uint32_t first,
                             std::span<ReferenceRow> rows) {
  if (first == window.begin) MLXMILL_TRY(source_.start(window.tokens));
  const std::int64_t vocabulary = source_.vocabulary();
  logits_.resize(rows.size() * static_cast<std::size_t>(vocabulary));
  MLXMILL_TRY(source_.read(first, static_cast<std::int64_t>(rows.size()), logits_));
  std::vector<Distribution> scratch(static_cast<std::size_t>(std::max(threads_, 1)));
  return for_rows(rows.size(), threads_, [&](std::size_t row, std::size_t worker) -> Status {
    const std::int32_t target = window.tokens[first + row + 1];
    Status status = exact_row(row_of(logits_, row, vocabulary), target, scratch[worker], rows[row]);
    if (!status) {
      status.error().at(place(window_index, first + row)).at("the reference");
    }
    return status;
  });
}

Status score_windows(LogitsSource& source, ReferenceRows* reference,
                     std::span<const Window> windows, std::size_t first_window, int threads,
                     const WindowDone& done) {
  const std::int64_t vocabulary = source.vocabulary();
  if (reference != nullptr && reference->vocabulary() != vocabulary) {
    return Error(Code::kInvalidInput,
                 fmt::format("the model has a vocabulary of {}, the reference one of {}",
                             vocabulary, reference->vocabulary()))
        .hint("they cannot be compared");
  }
  std::vector<float> logits;
  std::vector<PositionScore> scores;
  std::vector<ReferenceRow> rows;
  std::vector<RowScratch> scratch(static_cast<std::size_t>(std::max(threads, 1)));
  for (std::size_t w = first_window; w < windows.size(); ++w) {
    const Window& window = windows[w];
    MLXMILL_TRY(check_context(source, window));
    scores.assign(window.end - window.begin, {});
    const auto score_block = [&](std::uint32_t first, std::uint32_t n) -> Status {
      rows.resize(n);
      if (reference != nullptr) MLXMILL_TRY(reference->read(w, window, first, rows));
      return for_rows(n, threads, [&](std::size_t row, std::size_t worker) -> Status {
        const std::span<const float> values = row_of(logits, row, vocabulary);
        const std::int32_t target = window.tokens[first + row + 1];
        PositionScore& score = scores[first - window.begin + row];
        Status status = reference == nullptr
                            ? score_row(values, target, scratch[worker].candidate, score)
                            : score_row(values, target, rows[row], scratch[worker], score);
        if (!status) status.error().at(place(w, first + row));
        return status;
      });
    };
    MLXMILL_TRY(for_blocks(source, window, logits, score_block));
    MLXMILL_ASSIGN(const bool go_on, done(w, scores));
    if (!go_on) return {};
  }
  return {};
}

Status encode_windows(LogitsSource& source, const RowEncoding& encoding,
                      std::span<const Window> windows, std::size_t first_window, int threads,
                      const BlockDone& done) {
  const std::size_t width = row_bytes(encoding);
  std::vector<float> logits;
  std::vector<std::byte> bytes;
  std::vector<Distribution> scratch(static_cast<std::size_t>(std::max(threads, 1)));
  for (std::size_t w = first_window; w < windows.size(); ++w) {
    const Window& window = windows[w];
    MLXMILL_TRY(check_context(source, window));
    bool go_on = true;
    const auto encode_block = [&](std::uint32_t first, std::uint32_t n) -> Status {
      bytes.resize(n * width);
      MLXMILL_TRY(for_rows(n, threads, [&](std::size_t row, std::size_t worker) -> Status {
        Distribution& p = scratch[worker];
        Status status = p.set(row_of(logits, row, encoding.vocabulary));
        if (!status) return std::move(status).error().at(place(w, first + row)).at("the reference");
        const std::uint64_t seed = static_cast<std::uint64_t>(w) << 32U | (first + row);
        encode_row(encoding, p, window.tokens[first + row + 1], seed,
                   std::span(bytes).subspan(row * width, width));
        return {};
      }));
      MLXMILL_ASSIGN(const bool wanted, done(w, first, bytes));
      go_on = wanted && go_on;
      return {};
    };
    MLXMILL_TRY(for_blocks(source, window, logits, encode_block));
    if (!go_on) return {};
  }
  return {};
}

}  // namespace mlxmill::evaluate
