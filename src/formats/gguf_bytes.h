// The bytes of a GGUF header, in order, through one buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::formats {

/// Reads forward only. Nothing is allocated that the bytes left in the file do not cover.
class GgufBytes {
 public:
  using ReadAt = std::function<Status(std::uint64_t offset, std::span<std::byte> out)>;

  /// `limit`: where a header must have ended.
  GgufBytes(ReadAt read_at, std::uint64_t file_bytes, std::uint64_t limit);

  std::uint64_t position() const { return buffer_begin_ + next_; }
  std::uint64_t left() const { return file_bytes_ - position(); }

  /// Fills `to`. Errors: kInvalidInput where the file or the limit ends before that.
  Status take(void* to, std::size_t n) {
    if (n > filled_ - next_) return take_more(static_cast<std::byte*>(to), n);
    std::memcpy(to, buffer_.data() + next_, n);
    next_ += n;
    return {};
  }

  /// A little-endian number of the width of T, which may be signed.
  template <typename T>
  Result<T> number() {
    std::byte raw[sizeof(T)];
    MLXMILL_TRY(take(raw, sizeof(T)));
    std::uint64_t value = 0;
    for (std::size_t i = sizeof(T); i-- > 0;) {
      value = (value << 8) | std::to_integer<std::uint64_t>(raw[i]);
    }
    return static_cast<T>(value);
  }

  /// A 64-bit length and that many bytes. `what` names it in errors.
  Result<std::string> text(std::string_view what, std::uint64_t max_bytes);

  /// An error at the current position.
  Error error(std::string_view what) const;

 private:
  Status take_more(std::byte* to, std::size_t n);

  ReadAt read_at_;
  std::uint64_t file_bytes_;
  std::uint64_t limit_;
  std::vector<std::byte> buffer_;
  std::uint64_t buffer_begin_ = 0;
  std::size_t filled_ = 0;
  std::size_t next_ = 0;
};

}  // namespace mlxmill::formats
