#include "progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

// A live line changes no faster than a person can read; a log gets a line only now and then.
constexpr std::chrono::milliseconds kRedrawEvery{100};
constexpr std::chrono::seconds kLineEvery{10};
// Rates from less than this are noise.
constexpr double kShortestMeasured = 0.05;

void write_err(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

// "0:09", "12:05", "1:02:03"
std::string clock_time(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::llround(std::clamp(seconds, 0.0, 359999.0)));
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole % 3600 / 60, whole % 60);
}

std::string rate_text(double rate) { return fmt::format("{:.2f} GB/s", rate / 1e9); }

std::string bytes_text(const Progress& progress) {
  return format_bytes(progress.bytes_done) + " of " + format_bytes(progress.bytes_total);
}

std::string tensors_text(const Progress& progress) {
  return fmt::format("{}/{} tensors", progress.tensors_done, progress.tensors_total);
}

}  // namespace

ProgressStyle progress_style(bool quiet) {
  if (quiet) return ProgressStyle::kSilent;
  return stderr_is_live_terminal() ? ProgressStyle::kLive : ProgressStyle::kLines;
}

std::string live_line(const Progress& progress, double rate, int width) {
  std::vector<std::string> parts = {printable(progress.phase)};
  if (progress.bytes_total > 0) {
    const double done = std::min(percent(progress.bytes_done, progress.bytes_total), 100.0);
    parts[0] += fmt::format(" {:3.0f}%", std::min(done, 100.0));
    const std::uint64_t left =
        progress.bytes_total - std::min(progress.bytes_done, progress.bytes_total);
    if (rate > 0) parts.push_back(clock_time(static_cast<double>(left) / rate) + " left");
    parts.push_back(bytes_text(progress));
    if (rate > 0) parts.push_back(rate_text(rate));
  }
  if (progress.tensors_total > 0) parts.push_back(tensors_text(progress));
  // Most important first. The last column stays free: some terminals wrap when it is written.
  const auto room = static_cast<std::size_t>(std::max(width - 1, 0));
  std::string line;
  for (const std::string& part : parts) {
    const std::string_view gap = line.empty() ? "" : "  ";
    if (line.size() + gap.size() + part.size() > room) break;
    line.append(gap).append(part);
  }
  return line;
}

void ProgressLine::update(const Progress& progress) { show(progress, ""); }

void ProgressLine::update(std::string_view phase, std::string text) {
  Progress progress;
  progress.phase = phase;
  show(progress, std::move(text));
}

void ProgressLine::show(const Progress& progress, std::string text) {
  const std::lock_guard lock(mutex_);
  if (style_ == ProgressStyle::kSilent) return;
  const Clock::time_point now = Clock::now();
  if (!in_phase_ || progress.phase != phase_) {
    end_phase(now, true);
    start_phase(progress, now);
  }
  last_ = progress;
  last_.phase = phase_;
  text_ = std::move(text);
  const auto every =
      style_ == ProgressStyle::kLive ? Clock::duration(kRedrawEvery) : Clock::duration(kLineEvery);
  if (now - shown_ < every) return;
  shown_ = now;
  if (style_ == ProgressStyle::kLive) {
    draw(now);
  } else {
    print_line(now);
  }
}

void ProgressLine::message(std::string_view kind, std::string_view text) {
  const std::lock_guard lock(mutex_);
  erase();
  print_message(kind, text);
}

void ProgressLine::finish(bool complete) {
  const std::lock_guard lock(mutex_);
  end_phase(Clock::now(), complete);
  erase();
}

void ProgressLine::start_phase(const Progress& progress, Clock::time_point now) {
  phase_ = progress.phase;
  in_phase_ = true;
  last_ = progress;
  last_.phase = phase_;
  phase_begin_ = now;
  phase_begin_bytes_ = progress.bytes_done;
  if (style_ != ProgressStyle::kLines) return;
  shown_ = now;
  std::string line = printable(phase_) + ":";
  line += progress.bytes_total > 0 ? " " + format_bytes(progress.bytes_total) : " started";
  if (progress.tensors_total > 0) line += " in " + plural(progress.tensors_total, "tensor");
  if (progress.bytes_resumed > 0) {
    line += ", " + format_bytes(progress.bytes_resumed) + " of it done before";
  }
  write_err(line + "\n");
}

void ProgressLine::end_phase(Clock::time_point now, bool complete) {
  if (!in_phase_) return;
  in_phase_ = false;
  if (style_ != ProgressStyle::kLines || !complete) return;
  const std::chrono::duration<double> spent = now - phase_begin_;
  write_err(fmt::format("{}: done in {}\n", printable(phase_), format_seconds(spent.count())));
}

void ProgressLine::print_line(Clock::time_point now) {
  if (!text_.empty()) {
    write_err(text_ + "\n");
    return;
  }
  const double bytes_per_second = rate(now);
  std::string line = fmt::format("{}: {}", printable(phase_), bytes_text(last_));
  if (bytes_per_second > 0) line += ", " + rate_text(bytes_per_second);
  if (last_.tensors_total > 0) line += ", " + tensors_text(last_);
  write_err(line + "\n");
}

void ProgressLine::draw(Clock::time_point now) {
  // One write, so that nothing else lands inside the line: back to its start, the text, clear what
  // is left.
  const int width = stderr_width();
  const std::string line = text_.empty() ? live_line(last_, rate(now), width)
                                         : text_.substr(0, static_cast<std::size_t>(width - 1));
  write_err("\r" + line + "\x1b[K");
  drawn_ = true;
}

void ProgressLine::erase() {
  if (drawn_) write_err("\r\x1b[K");
  drawn_ = false;
}

double ProgressLine::rate(Clock::time_point now) const {
  const std::chrono::duration<double> spent = now - phase_begin_;
  if (spent.count() < kShortestMeasured || last_.bytes_done <= phase_begin_bytes_) return 0;
  return static_cast<double>(last_.bytes_done - phase_begin_bytes_) / spent.count();
}

}  // namespace mlxmill::cli
