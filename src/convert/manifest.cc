#include "convert/manifest.h"

#include <fmt/format.h>

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

Value entry(std::string_view size_key, std::uint64_t size, std::string_view digest_key,
            const io::Digest& digest) {
  return Value(Object{{std::string(size_key), Value(static_cast<std::int64_t>(size))},
                      {std::string(digest_key), Value(io::to_hex(digest))}});
}

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

std::string write_manifest(const Manifest& manifest) {
  Object files;
  for (const auto& [name, file] : manifest.files)
    files.push_back({name, entry("bytes", file.bytes, "xxh3_128", file.digest)});
  Object shards;
  for (const auto& [name, shard] : manifest.shards) {
    shards.push_back({name, entry("bytes", shard.bytes, "header_xxh3_128", shard.header)});
  }
  Object tensors;
  for (const auto& [name, tensor] : manifest.tensors) {
    tensors.push_back({name, entry("chunk_bytes", tensor.chunk_bytes, "xxh3_128", tensor.digest)});
  }
  Object root{{"version", Value(kVersion)},
              {"made_with", Value(manifest.made_with)},
              {"files", Value(std::move(files))},
              {"shards", Value(std::move(shards))},
              {"tensors", Value(std::move(tensors))}};
  return formats::dump_json(Value(std::move(root)), {.indent = 1}) + "\n";
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
