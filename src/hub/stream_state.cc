#include "hub/stream_state.h"

#include <cstring>

#include "io/hash.h"

namespace mlxmill::hub {
namespace {

constexpr std::uint64_t kHeaderBytes = 16;
constexpr std::uint64_t kSlotBytes = 8 + io::ResumableSha256::kStateBytes + 16;

template <typename T>
std::span<std::byte> raw(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace

Result<StreamState> StreamState::open(const std::filesystem::path& path,
                                      const std::string& identity,
                                      const std::vector<std::uint64_t>& blocks, bool fresh) {
  StreamState state;
  std::uint64_t total = 0;
  for (const std::uint64_t n : blocks) {
    state.first_block_.push_back(total);
    total += n;
  }
  MLXMILL_ASSIGN(state.file_, io::File::open_write(path));
  const std::uint64_t bytes = kHeaderBytes + blocks.size() * kSlotBytes + total * 32;
  io::Digest header;
  MLXMILL_ASSIGN(const std::uint64_t found, state.file_.size());
  if (!fresh && found == bytes) MLXMILL_TRY(state.file_.read_at(0, raw(header.bytes)));
  const io::Digest wanted = io::digest(identity);
  if (header == wanted) return state;
  MLXMILL_TRY(state.file_.resize(0));
  MLXMILL_TRY(state.file_.resize(bytes));
  MLXMILL_TRY(state.file_.write_at(0, std::as_bytes(std::span(wanted.bytes))));
  return state;
}

std::uint64_t StreamState::slot(std::size_t file) const { return kHeaderBytes + file * kSlotBytes; }

std::uint64_t StreamState::digest_slot(std::size_t file, std::uint64_t block) const {
  return slot(first_block_.size()) + (first_block_[file] + block) * 32;
}

Result<std::optional<StreamState::Progress>> StreamState::progress(std::size_t file) const {
  std::array<std::byte, kSlotBytes> slot_bytes{};
  MLXMILL_TRY(file_.read_at(slot(file), slot_bytes));
  const auto content = std::span(slot_bytes).first(kSlotBytes - 16);
  const io::Digest checksum = io::digest(content);
  if (std::memcmp(checksum.bytes.data(), slot_bytes.data() + content.size(), 16) != 0)
    return std::optional<Progress>();
  Progress progress;
  std::memcpy(&progress.blocks, slot_bytes.data(), 8);
  std::memcpy(progress.sha256.data(), slot_bytes.data() + 8, progress.sha256.size());
  return std::optional<Progress>(progress);
}

Status StreamState::set_progress(std::size_t file, const Progress& progress) {
  std::array<std::byte, kSlotBytes> slot_bytes{};
  std::memcpy(slot_bytes.data(), &progress.blocks, 8);
  std::memcpy(slot_bytes.data() + 8, progress.sha256.data(), progress.sha256.size());
  const auto content = std::span(slot_bytes).first(kSlotBytes - 16);
  const io::Digest checksum = io::digest(content);
  std::memcpy(slot_bytes.data() + content.size(), checksum.bytes.data(), 16);
  return file_.write_at(slot(file), slot_bytes);
}

Result<BlockDigest> StreamState::digest(std::size_t file, std::uint64_t block) const {
  BlockDigest digest{};
  MLXMILL_TRY(file_.read_at(digest_slot(file, block), digest));
  return digest;
}

Status StreamState::set_digest(std::size_t file, std::uint64_t block, const BlockDigest& digest) {
  return file_.write_at(digest_slot(file, block), digest);
}

}  // namespace mlxmill::hub
