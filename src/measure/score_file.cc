#include "measure/score_file.h"

#include <cstring>

namespace mlxmill::measure {
namespace {

using evaluate::PositionScore;

constexpr std::size_t kDoubles = 6;
constexpr std::size_t kIntegers = 3;
constexpr std::size_t kScoreBytes = kDoubles * sizeof(double) + kIntegers * sizeof(std::int32_t);

void put(const PositionScore& score, std::byte* out) {
  const double doubles[kDoubles] = {score.nll,    score.reference_nll, score.kl,
                                    score.kl_low, score.kl_high,       score.sampling_variance};
  const std::int32_t integers[kIntegers] = {score.top, score.reference_top, score.common};
  std::memcpy(out, doubles, sizeof(doubles));
  std::memcpy(out + sizeof(doubles), integers, sizeof(integers));
}

PositionScore get(const std::byte* in) {
  double d[kDoubles];
  std::int32_t i[kIntegers];
  std::memcpy(d, in, sizeof(d));
  std::memcpy(i, in + sizeof(d), sizeof(i));
  return {d[0], d[1], d[2], d[3], d[4], d[5], i[0], i[1], i[2]};
}

}  // namespace

Result<ScoreFile> ScoreFile::open(const std::filesystem::path& folder, const std::string& key) {
  ScoreFile file;
  RecordHeader header;
  header.set("kind", "scores");
  header.set("key", key);
  const std::filesystem::path path = folder / (key + ".scores");
  Result<RecordReader> complete = RecordReader::open(path);
  // One that is damaged is made again.
  if (complete && complete->header() == header) {
    file.complete_ = *std::move(complete);
    return file;
  }
  MLXMILL_ASSIGN(file.writer_, RecordWriter::open(path, header));
  return file;
}

Status ScoreFile::load_window(std::size_t index, std::size_t positions,
                              std::vector<PositionScore>& scores) const {
  std::vector<std::byte> bytes;
  MLXMILL_TRY(complete_ ? complete_->read(index, bytes) : writer_->read(index, bytes));
  if (bytes.size() != positions * kScoreBytes) {
    return Error(Code::kInvalidInput, "kept scores are of other windows");
  }
  for (std::size_t i = 0; i < positions; ++i) scores.push_back(get(bytes.data() + i * kScoreBytes));
  return {};
}

Result<std::size_t> ScoreFile::load(std::span<const evaluate::Window> windows,
                                    std::vector<PositionScore>& scores) {
  const std::size_t kept = complete_ ? complete_->records() : writer_->records();
  std::size_t done = 0;
  for (; done < std::min(kept, windows.size()); ++done) {
    MLXMILL_TRY(load_window(done, windows[done].end - windows[done].begin, scores));
  }
  return done;
}

Status ScoreFile::append(std::span<const PositionScore> window) {
  if (!writer_) return {};
  std::vector<std::byte> bytes(window.size() * kScoreBytes);
  for (std::size_t i = 0; i < window.size(); ++i) put(window[i], bytes.data() + i * kScoreBytes);
  return writer_->append(bytes);
}

Status ScoreFile::finish() { return writer_ ? writer_->finish() : Status(); }

}  // namespace mlxmill::measure
