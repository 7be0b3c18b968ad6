#include "evaluate/reference_row.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "evaluate/float16.h"

namespace mlxmill::evaluate {
namespace {

static_assert(std::endian::native == std::endian::little, "rows are little-endian");

constexpr std::size_t kHeadBytes = sizeof(double) + kTopTokens * sizeof(std::int32_t);
constexpr std::size_t kTailBytes = 3 * sizeof(double);
constexpr std::size_t kEntryBytes = sizeof(std::int32_t) + sizeof(float);

class Writer {
 public:
  explicit Writer(std::span<std::byte> out) : out_(out) {}
  template <typename T>
  void put(const T& value) {
    std::memcpy(out_.data(), &value, sizeof(T));
    out_ = out_.subspan(sizeof(T));
  }

 private:
  std::span<std::byte> out_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> in) : in_(in) {}
  template <typename T>
  T get() {
    T value;
    std::memcpy(&value, in_.data(), sizeof(T));
    in_ = in_.subspan(sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> in_;
};

Error bad_row(std::string what) { return Error(Code::kInvalidInput, std::move(what)); }

// One step of SplitMix64 as a number in [0, 1).
double uniform(std::uint64_t seed) {
  std::uint64_t z = seed + 0x9E3779B97F4A7C15U;
  z = (z ^ z >> 30U) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27U) * 0x94D049BB133111EBU;
  return static_cast<double>((z ^ z >> 31U) >> 11U) * 0x1p-53;
}

void encode_top(const RowEncoding& encoding, Distribution& distribution, std::uint64_t seed,
                Writer& out) {
  const std::vector<std::int32_t> ids = likeliest(distribution.logits(), encoding.top);
  const Distribution::Tail tail = distribution.tail(ids);
  out.put(distribution.log_sum_exp());
  out.put(tail.mass);
  out.put(tail.log_sum);
  for (const std::int32_t id : ids) {
    out.put(id);
    out.put(distribution.logit(id));
  }
  std::vector<std::int32_t> drawn = distribution.sample_tail(ids, encoding.samples, uniform(seed));
  drawn.resize(encoding.samples, -1);  // An empty tail has nothing to draw.
  for (const std::int32_t id : drawn) {
    out.put(id);
    out.put(id < 0 ? 0.0F : distribution.logit(id));
  }
}

Status decode_entries(Reader& in, std::uint32_t n, const RowEncoding& encoding, bool may_be_absent,
                      double log_sum_exp, std::vector<TokenLogit>& entries) {
  entries.clear();
  for (std::uint32_t i = 0; i < n; ++i) {
    TokenLogit entry;
    entry.id = in.get<std::int32_t>();
    entry.logit = in.get<float>();
    if (entry.id == -1 && may_be_absent) continue;
    if (entry.id < 0 || entry.id >= encoding.vocabulary) {
      return bad_row(fmt::format("token id {} is outside the vocabulary of {}", entry.id,
                                 encoding.vocabulary));
    }
    if (!std::isfinite(entry.logit) || static_cast<double>(entry.logit) > log_sum_exp + 1e-6) {
      return bad_row(fmt::format("the logit of token {} is no log of a probability", entry.id));
    }
    entries.push_back(entry);
  }
  return {};
}

Status decode_top(const RowEncoding& encoding, Reader& in, ReferenceRow& row) {
  row.log_sum_exp = in.get<double>();
  row.tail_mass = in.get<double>();
  row.tail_log_sum = in.get<double>();
  if (!std::isfinite(row.log_sum_exp) || std::fabs(row.log_sum_exp) > 1e39) {
    return bad_row("the normalizing constant is not finite");
  }
  if (!(row.tail_mass >= 0 && row.tail_mass <= 1) || !std::isfinite(row.tail_log_sum) ||
      row.tail_log_sum > 0) {
    return bad_row("the mass of the tail is no probability");
  }
  MLXMILL_TRY(decode_entries(in, encoding.top, encoding, false, row.log_sum_exp, row.kept));
  MLXMILL_TRY(decode_entries(in, encoding.samples, encoding, true, row.log_sum_exp, row.sample));
  std::vector<std::int32_t> ids;
  for (const TokenLogit& entry : row.kept) ids.push_back(entry.id);
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) {
    return bad_row("a token is there twice");
  }
  return {};
}

Status decode_full(const RowEncoding& encoding, Reader& in, ReferenceRow& row) {
  row.rounded = encoding.kind == ReferenceEncoding::kFloat16;
  row.logits.resize(static_cast<std::size_t>(encoding.vocabulary));
  for (float& logit : row.logits) {
    logit = row.rounded ? from_float16(in.get<std::uint16_t>()) : in.get<float>();
    if (!std::isfinite(logit)) return bad_row("a log-probability is not finite");
  }
  return {};
}

}  // namespace

std::size_t row_bytes(const RowEncoding& encoding) {
  const auto vocabulary = static_cast<std::size_t>(encoding.vocabulary);
  switch (encoding.kind) {
    case ReferenceEncoding::kTop:
      return kHeadBytes + kTailBytes +
             kEntryBytes * (std::size_t{encoding.top} + std::size_t{encoding.samples});
    case ReferenceEncoding::kFloat16:
      return kHeadBytes + 2 * vocabulary;
    case ReferenceEncoding::kFloat32:
      break;
  }
  return kHeadBytes + 4 * vocabulary;
}

Status exact_row(std::span<const float> logits, std::int32_t target, Distribution& scratch,
                 ReferenceRow& row) {
  MLXMILL_TRY(scratch.set(logits));
  row.nll = -scratch.log_probability(target);
  row.top = scratch.top();
  row.logits.assign(logits.begin(), logits.end());
  row.rounded = false;
  row.kept.clear();
  return {};
}

void encode_row(const RowEncoding& encoding, Distribution& distribution, std::int32_t target,
                std::uint64_t seed, std::span<std::byte> out) {
  Writer writer(out);
  writer.put(-distribution.log_probability(target));
  for (const std::int32_t id : distribution.top()) writer.put(id);
  if (encoding.kind == ReferenceEncoding::kTop) {
    encode_top(encoding, distribution, seed, writer);
    return;
  }
  for (std::int64_t i = 0; i < encoding.vocabulary; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (encoding.kind == ReferenceEncoding::kFloat32) {
      writer.put(distribution.logit(id));
    } else {
      writer.put(to_float16(static_cast<float>(distribution.log_probability(id))));
    }
  }
}

Status decode_row(const RowEncoding& encoding, std::span<const std::byte> bytes,
                  ReferenceRow& row) {
  if (bytes.size() != row_bytes(encoding)) {
    return bad_row(fmt::format("expected {} bytes, got {}", row_bytes(encoding), bytes.size()));
  }
  Reader in(bytes);
  row.logits.clear();
  row.kept.clear();
  row.nll = in.get<double>();
  if (!(row.nll > -1e-6 && row.nll < 1e39)) {
    return bad_row("the right token's log-probability is not finite");
  }
  for (std::int32_t& id : row.top) {
    id = in.get<std::int32_t>();
    if (id < -1 || id >= encoding.vocabulary) {
      return bad_row(
          fmt::format("token id {} is outside the vocabulary of {}", id, encoding.vocabulary));
    }
  }
  return encoding.kind == ReferenceEncoding::kTop ? decode_top(encoding, in, row)
                                                  : decode_full(encoding, in, row);
}

}  // namespace mlxmill::evaluate
