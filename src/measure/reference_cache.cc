#include "measure/reference_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked_math.h"
#include "io/hash.h"
#include "measure/windows_record.h"

namespace mlxmill::measure {
namespace {

using base::Value;
using evaluate::RowEncoding;
using evaluate::Window;

constexpr std::string_view kKind = "predictions";
constexpr std::int64_t kMostVocabulary = std::int64_t{1} << 24;
constexpr std::uint64_t kMostSamples = 1 << 16;

std::size_t blocks_of(const Window& window, std::int64_t vocabulary) {
  const auto step = static_cast<std::uint64_t>(evaluate::rows_per_block(vocabulary));
  return base::div_ceil(window.end - window.begin, step);
}

RecordHeader header_of(const CacheIdentity& identity) {
  const RowEncoding& encoding = identity.encoding;
  base::Array texts;
  for (const std::string& name : identity.cut.texts) texts.emplace_back(name);
  Value header;
  header.set("kind", kKind);
  header.set("key", cache_key(identity));
  header.set("model", identity.model_name);
  header.set("model_digest", identity.model_digest);
  header.set("protocol", identity.protocol);
  header.set("encoding", encoding_name(encoding.kind));
  header.set("vocabulary", encoding.vocabulary);
  header.set("top", std::int64_t{encoding.top});
  header.set("samples", std::int64_t{encoding.samples});
  header.set("texts", std::move(texts));
  return header;
}

Error bad_header(std::string what) { return Error(Code::kInvalidInput, std::move(what)); }

Result<std::string> text_of(const RecordHeader& header, std::string_view key) {
  const Value* value = header.find(key);
  const std::string* text = value != nullptr ? value->as_string() : nullptr;
  if (text == nullptr) return bad_header(fmt::format("the header has no text '{}'", key));
  return *text;
}

Result<std::int64_t> number_of(const RecordHeader& header, std::string_view key,
                               std::int64_t most) {
  const Value* value = header.find(key);
  const std::int64_t* number = value != nullptr ? value->as_int() : nullptr;
  if (number == nullptr || *number < 0 || *number > most) {
    return bad_header(fmt::format("the header has no '{}' from 0 to {}", key, most));
  }
  return *number;
}

Result<RowEncoding> encoding_from(const RecordHeader& header) {
  RowEncoding encoding;
  MLXMILL_ASSIGN(const std::string name, text_of(header, "encoding"));
  const auto kind = encoding_from_name(name);
  if (!kind) return bad_header("the header names an unknown encoding");
  encoding.kind = *kind;
  MLXMILL_ASSIGN(encoding.vocabulary, number_of(header, "vocabulary", kMostVocabulary));
  MLXMILL_ASSIGN(const std::int64_t top, number_of(header, "top", encoding.vocabulary));
  MLXMILL_ASSIGN(const std::int64_t samples, number_of(header, "samples", kMostSamples));
  encoding.top = static_cast<std::uint32_t>(top);
  encoding.samples = static_cast<std::uint32_t>(samples);
  if (encoding.vocabulary == 0) return bad_header("the vocabulary is empty");
  if (encoding.kind == ReferenceEncoding::kTop && top == 0) {
    return bad_header("no tokens are kept");
  }
  return encoding;
}

}  // namespace

RowEncoding encoding_of(const EvalOptions& options, std::int64_t vocabulary) {
  RowEncoding encoding{options.encoding, vocabulary, 0, 0};
  if (options.encoding != ReferenceEncoding::kTop) return encoding;
  encoding.top =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(options.cache_top, 1, vocabulary));
  encoding.samples = encoding.top < vocabulary ? evaluate::kTailSamples : 0;
  return encoding;
}

std::string cache_key(const CacheIdentity& identity) {
  io::Hasher hasher;
  const RowEncoding& e = identity.encoding;
  hasher.update(fmt::format("{}\n{}\n{} {} {} {}\n", identity.model_digest, identity.protocol,
                            encoding_name(e.kind), e.vocabulary, e.top, e.samples));
  for (const std::string& text : identity.cut.texts) hasher.update(text + "\n");
  hasher.update(encode_windows_record(identity.cut.windows));
  return io::to_hex(hasher.finish());
}

Result<CachedReference> CachedReference::open(const std::filesystem::path& path) {
  MLXMILL_ASSIGN(RecordReader file, RecordReader::open(path));
  CachedReference cached(std::move(file));
  Status status = cached.read_identity();
  if (!status) return std::move(status).error().at(path.string());
  return cached;
}

Status CachedReference::read_identity() {
  const RecordHeader& header = file_.header();
  MLXMILL_ASSIGN(const std::string kind, text_of(header, "kind"));
  if (kind != kKind) {
    return bad_header("this file holds scores of a candidate, not a reference's predictions");
  }
  MLXMILL_ASSIGN(identity_.model_name, text_of(header, "model"));
  MLXMILL_ASSIGN(identity_.model_digest, text_of(header, "model_digest"));
  MLXMILL_ASSIGN(identity_.protocol, text_of(header, "protocol"));
  MLXMILL_ASSIGN(identity_.encoding, encoding_from(header));
  const Value* texts = header.find("texts");
  if (texts == nullptr || texts->as_array() == nullptr) return bad_header("texts are missing");
  for (const Value& name : *texts->as_array()) {
    if (name.as_string() == nullptr) return bad_header("the name of a text is no text");
    identity_.cut.texts.push_back(*name.as_string());
  }
  if (file_.records() == 0) return bad_header("the windows are missing");
  std::vector<std::byte> record;
  MLXMILL_TRY(file_.read(0, record));
  MLXMILL_ASSIGN(identity_.cut.windows, decode_windows_record(record));
  MLXMILL_TRY(
      evaluate::check_windows(identity_.cut.windows, vocabulary(), identity_.cut.texts.size()));
  std::size_t records = 1;
  for (const Window& window : identity_.cut.windows) {
    first_record_.push_back(records);
    records += blocks_of(window, vocabulary());
  }
  if (records != file_.records()) {
    return bad_header(fmt::format("expected {} records, got {}", records, file_.records()));
  }
  MLXMILL_ASSIGN(const std::string key, text_of(header, "key"));
  if (key != cache_key(identity_)) return bad_header("the key is not that of the contents");
  return {};
}

Status CachedReference::read(std::size_t window_index, const Window& window, std::uint32_t first,
                             std::span<evaluate::ReferenceRow> rows) {
  if (window_index >= identity_.cut.windows.size() ||
      window != identity_.cut.windows[window_index]) {
    return Error(Code::kInvalidInput, "the predictions are of other tokens")
        .at(file_.name())
        .hint("reference and candidate must have the same tokenizer");
  }
  const auto step = static_cast<std::uint32_t>(evaluate::rows_per_block(vocabulary()));
  const std::size_t block = (first - window.begin) / step;
  const std::size_t index = first_record_[window_index] + block;
  const std::size_t width = evaluate::row_bytes(identity_.encoding);
  if (file_.record_bytes(index) != rows.size() * width) {
    return Error(Code::kInvalidInput, fmt::format("record {} has {} bytes, expected {}", index,
                                                  file_.record_bytes(index), rows.size() * width))
        .at(file_.name());
  }
  MLXMILL_TRY(file_.read(index, bytes_));
  for (std::size_t row = 0; row < rows.size(); ++row) {
    Status status = evaluate::decode_row(identity_.encoding,
                                         std::span(bytes_).subspan(row * width, width), rows[row]);
    if (!status) {
      return std::move(status).error().at(fmt::format("record {}", index)).at(file_.name());
    }
  }
  return {};
}

Status make_reference_cache(const std::filesystem::path& path, const CacheIdentity& identity,
                            evaluate::LogitsSource& source, int threads,
                            const CacheProgress& progress) {
  const std::vector<Window>& windows = identity.cut.windows;
  MLXMILL_ASSIGN(RecordWriter writer, RecordWriter::open(path, header_of(identity)));
  if (writer.records() == 0) MLXMILL_TRY(writer.append(encode_windows_record(windows)));
  // Go on with the first window that is not there whole.
  std::size_t done = 0;
  std::size_t records = 1;
  while (done < windows.size() &&
         records + blocks_of(windows[done], identity.encoding.vocabulary) <= writer.records()) {
    records += blocks_of(windows[done++], identity.encoding.vocabulary);
  }
  MLXMILL_TRY(writer.truncate(records));
  const std::size_t resumed = done;
  bool go_on = progress(done, resumed);
  const auto block_done = [&](std::size_t w, std::uint32_t first,
                              std::span<const std::byte> rows) -> Result<bool> {
    MLXMILL_TRY(writer.append(rows));
    const std::size_t n = rows.size() / evaluate::row_bytes(identity.encoding);
    if (first + n < windows[w].end) return true;
    done = w + 1;
    go_on = progress(done, resumed);
    return go_on;
  };
  if (go_on) {
    MLXMILL_TRY(
        evaluate::encode_windows(source, identity.encoding, windows, done, threads, block_done));
  }
  if (done < windows.size()) {
    return Error(Code::kCancelled, "stopped while the reference was read");
  }
  return writer.finish();
}

}  // namespace mlxmill::measure
