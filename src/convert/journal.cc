#include "convert/journal.h"

#include <cstring>

namespace mlxmill::convert {
namespace {

constexpr std::uint64_t kHeaderBytes = 64;
constexpr std::uint64_t kSlotBytes = 64;
constexpr char kMagic[16] = "mlxmill journal";

/// Little-endian hosts only, as the weights themselves.
struct Slot {
  std::array<io::Digest, 3> digests;
  std::uint32_t non_finite;
  std::uint32_t reserved;
  std::uint64_t checksum;
};
static_assert(sizeof(Slot) == kSlotBytes);

std::uint64_t checksum(const io::Digest& fingerprint, std::uint64_t unit, const Slot& slot) {
  io::Hasher hasher;
  hasher.update(fingerprint);
  hasher.update(std::as_bytes(std::span(&unit, 1)));
  hasher.update(std::as_bytes(std::span(&slot, 1)).first(offsetof(Slot, checksum)));
  std::uint64_t value;
  std::memcpy(&value, hasher.finish().bytes.data(), sizeof(value));
  return value | 1;  // Never 0, which is what an unwritten slot reads as.
}

}  // namespace

std::uint64_t Journal::bytes_for(std::uint64_t n_units) {
  return kHeaderBytes + n_units * kSlotBytes;
}

Result<Journal> Journal::open(const std::filesystem::path& path, const std::string& fingerprint,
                              std::uint64_t n_units) {
  Journal journal;
  journal.fingerprint_ = io::digest(fingerprint);
  MLXMILL_ASSIGN(journal.file_, io::File::open_write(path));
  MLXMILL_TRY(journal.file_.lock());

  std::array<char, kHeaderBytes> header{};
  std::memcpy(header.data(), kMagic, sizeof(kMagic));
  std::memcpy(header.data() + sizeof(kMagic), journal.fingerprint_.bytes.data(),
              sizeof(journal.fingerprint_.bytes));

  MLXMILL_ASSIGN(const std::uint64_t size, journal.file_.size());
  if (size == bytes_for(n_units)) {
    std::array<char, kHeaderBytes> found{};
    MLXMILL_TRY(journal.file_.read_at(0, std::as_writable_bytes(std::span(found))));
    journal.fresh_ = found != header;
  }
  if (journal.fresh_) {
    MLXMILL_TRY(journal.file_.resize(0));
    MLXMILL_TRY(journal.file_.resize(bytes_for(n_units)));
    MLXMILL_TRY(journal.file_.write_at(0, std::as_bytes(std::span(header))));
  }
  return journal;
}

Status Journal::record(std::uint64_t unit, const UnitRecord& record) {
  Slot slot{record.digests, record.non_finite, 0, 0};
  slot.checksum = checksum(fingerprint_, unit, slot);
  return file_.write_at(kHeaderBytes + unit * kSlotBytes, std::as_bytes(std::span(&slot, 1)));
}

Result<std::optional<UnitRecord>> Journal::find(std::uint64_t unit) const {
  Slot slot;
  MLXMILL_TRY(
      file_.read_at(kHeaderBytes + unit * kSlotBytes, std::as_writable_bytes(std::span(&slot, 1))));
  if (slot.checksum != checksum(fingerprint_, unit, slot)) return std::optional<UnitRecord>();
  return std::optional<UnitRecord>(UnitRecord{slot.digests, slot.non_finite});
}

}  // namespace mlxmill::convert
