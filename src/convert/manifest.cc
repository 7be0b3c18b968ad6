#include "convert/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <system_error>
#include <vector>

#include "formats/json.h"
#include "io/file.h"

namespace mlxmill::convert {
namespace {

using base::Object;
using base::Value;

constexpr int kVersion = 1;
constexpr std::uint64_t kMaxManifestBytes = 1 << 30;
constexpr std::size_t kReadBytes = 1 << 20;

/// {size_key: n, digest_key: hex} under `name`, at the second level of the file.
void append_entry(std::string& out, std::string_view name, std::string_view size_key,
                  std::uint64_t size, std::string_view digest_key, const io::Digest& digest) {
  out += out.ends_with('{') ? "\n  " : ",\n  ";
  formats::append_json_quoted(out, name);
  fmt::format_to(std::back_inserter(out), ": {{\n   \"{}\": {},\n   \"{}\": \"{}\"\n  }}", size_key,
                 size, digest_key, io::to_hex(digest));
}

/// Ends an object of such entries.
void close_section(std::string& out) { out += out.ends_with('{') ? "}" : "\n }"; }

/// Reads an object of entries {size_key: n, digest_key: hex} under `section` through `add`.
template <typename Add>
Status read_section(const Value& root, std::string_view section, std::string_view size_key,
                    std::string_view digest_key, const Add& add) {
  const Value* found = root.find(section);
  const Object* object = found ? found->as_object() : nullptr;
  if (!object)
    return Error(Code::kInvalidInput, fmt::format("has no object '{}'", section)).at(kManifestName);
  for (const base::Member& member : *object) {
    const Value* size = member.value.find(size_key);
    const Value* hex = member.value.find(digest_key);
    const std::optional<io::Digest> digest =
        hex && hex->as_string() ? io::digest_from_hex(*hex->as_string()) : std::nullopt;
    if (!size || !size->as_int() || *size->as_int() < 0 || !digest) {
      return Error(Code::kInvalidInput,
                   fmt::format("'{}' needs '{}' and '{}'", member.key, size_key, digest_key))
          .at(fmt::format("{}: {}", kManifestName, section));
    }
    add(member.key, static_cast<std::uint64_t>(*size->as_int()), *digest);
  }
  return {};
}

}  // namespace

// As json.dumps(..., indent=1) would write it, and as it goes: the tree of a large one would take
// several times the memory.
std::string write_manifest(
    const Manifest& manifest,
    std::vector<std::pair<std::string_view, Manifest::TensorEntry>> tensors) {
  for (const auto& [name, tensor] : manifest.tensors) tensors.emplace_back(name, tensor);
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string out = fmt::format("{{\n \"version\": {},\n \"made_with\": ", kVersion);
  std::size_t expected = 4096;
  constexpr std::size_t kEntry = 112;  // Beyond the name.
  for (const auto& [name, tensor] : tensors) expected += name.size() + kEntry;
  out.reserve(expected);
  formats::append_json_quoted(out, manifest.made_with);
  out += ",\n \"files\": {";
  for (const auto& [name, file] : manifest.files) {
    append_entry(out, name, "bytes", file.bytes, "xxh3_128", file.digest);
  }
  close_section(out);
  out += ",\n \"shards\": {";
  for (const auto& [name, shard] : manifest.shards) {
    append_entry(out, name, "bytes", shard.bytes, "header_xxh3_128", shard.header);
  }
  close_section(out);
  out += ",\n \"tensors\": {";
  for (const auto& [name, tensor] : tensors) {
    append_entry(out, name, "chunk_bytes", tensor.chunk_bytes, "xxh3_128", tensor.digest);
  }
  close_section(out);
  out += "\n}\n";
  return out;
}

Result<Manifest> parse_manifest(std::string_view text) {
  Result<Value> root = formats::parse_json(text);
  if (!root) return std::move(root).error().at(kManifestName);
  const Value* version = root->find("version");
  if (!version || !version->as_int() || *version->as_int() != kVersion) {
    return Error(Code::kUnsupported, fmt::format("is not a manifest of version {}", kVersion))
        .at(kManifestName);
  }
  Manifest manifest;
  if (const Value* made = root->find("made_with"); made && made->as_string())
    manifest.made_with = *made->as_string();
  MLXMILL_TRY(read_section(*root, "files", "bytes", "xxh3_128",
                           [&](const std::string& name, std::uint64_t n, const io::Digest& d) {
                             manifest.files[name] = {n, d};
                           }));
  MLXMILL_TRY(read_section(*root, "shards", "bytes", "header_xxh3_128",
                           [&](const std::string& name, std::uint64_t n, const io::Digest& d) {
                             manifest.shards[name] = {n, d};
                           }));
  MLXMILL_TRY(read_section(*root, "tensors", "chunk_bytes", "xxh3_128",
                           [&](const std::string& name, std::uint64_t n, const io::Digest& d) {
                             manifest.tensors[name] = {n, d};
                           }));
  return manifest;
}

Result<std::optional<Manifest>> read_manifest(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder / kManifestName, ignored)) return std::optional<Manifest>();
  MLXMILL_ASSIGN(const std::string text, io::read_text(folder / kManifestName, kMaxManifestBytes));
  MLXMILL_ASSIGN(Manifest manifest, parse_manifest(text));
  return std::optional<Manifest>(std::move(manifest));
}

Result<Manifest::SmallFile> digest_file(const std::filesystem::path& path) {
  MLXMILL_ASSIGN(const io::File file, io::File::open_read(path));
  MLXMILL_ASSIGN(const std::uint64_t size, file.size());
  io::Hasher hasher;
  std::vector<std::byte> buffer(kReadBytes);
  for (std::uint64_t at = 0; at < size;) {
    const std::span<std::byte> part =
        std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), size - at));
    MLXMILL_TRY(file.read_at(at, part));
    hasher.update(part);
    at += part.size();
  }
  return Manifest::SmallFile{size, hasher.finish()};
}

}  // namespace mlxmill::convert
