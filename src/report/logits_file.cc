#include <fmt/format.h>

#include <charconv>

#include "formats/safetensors.h"
#include "io/file.h"
#include "mlxmill/logits.h"

namespace mlxmill {
namespace {

constexpr std::uint64_t kMaxIdsBytes = 120'000'000;
constexpr std::size_t kMaxIds = 10'000'000;

bool separates(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',' || c == '[' || c == ']';
}

/// `where` names the text in messages.
Result<std::vector<std::int32_t>> parse_token_ids(std::string_view text, std::string_view where) {
  const auto wrong = [&](std::string what) {
    return Error(Code::kInvalidInput, std::move(what)).at(where);
  };
  std::vector<std::int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    while (at != end && separates(*at)) ++at;
    if (at == end) break;
    std::int32_t id = 0;
    const auto parsed = std::from_chars(at, end, id);
    if (parsed.ec != std::errc() || (parsed.ptr != end && !separates(*parsed.ptr))) {
      return wrong(fmt::format("byte {}: expected a token id, a 32-bit integer",
                               static_cast<std::size_t>(at - text.data())));
    }
    if (ids.size() == kMaxIds) return wrong(fmt::format("more than {} token ids", kMaxIds));
    ids.push_back(id);
    at = parsed.ptr;
  }
  if (ids.empty()) return wrong("there are no token ids");
  return ids;
}

}  // namespace

Result<std::vector<std::int32_t>> read_token_ids(const std::string& text) {
  const bool is_list = text.find_first_not_of(" \t\n\r,[]-0123456789") == std::string::npos;
  std::error_code error;
  if (is_list && !std::filesystem::exists(text, error)) return parse_token_ids(text, "token ids");
  MLXMILL_ASSIGN(const std::string content, io::read_text(text, kMaxIdsBytes));
  return parse_token_ids(content, text);
}

Status write_logits(const std::filesystem::path& file, std::span<const std::int32_t> ids,
                    const Logits& logits) {
  const auto rows = static_cast<std::int64_t>(logits.positions);
  MLXMILL_ASSIGN(
      const formats::SafetensorsLayout layout,
      formats::lay_out_safetensors(
          {{"ids", DType::kI32, {static_cast<std::int64_t>(ids.size())}},
           {"logits", DType::kF32, {rows, static_cast<std::int64_t>(logits.vocabulary)}}},
          {}));
  MLXMILL_ASSIGN(io::File out, io::File::open_write(file));
  MLXMILL_TRY(out.resize(layout.file_bytes));
  MLXMILL_TRY(out.write_at(0, std::as_bytes(std::span(layout.prefix))));
  for (const formats::StoredTensor& tensor : layout.tensors) {
    const auto data =
        tensor.name == "ids" ? std::as_bytes(ids) : std::as_bytes(std::span(logits.values));
    MLXMILL_TRY(out.write_at(tensor.begin, data));
  }
  return out.sync();
}

}  // namespace mlxmill
