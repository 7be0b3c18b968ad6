#include "formats/gguf_bytes.h"

#include <fmt/format.h>

#include <algorithm>

namespace mlxmill::formats {
namespace {

constexpr std::uint64_t kBufferBytes = 1 << 20;

}  // namespace

GgufBytes::GgufBytes(ReadAt read_at, std::uint64_t file_bytes, std::uint64_t limit)
    : read_at_(std::move(read_at)), file_bytes_(file_bytes), limit_(std::min(limit, file_bytes)) {
  buffer_.resize(static_cast<std::size_t>(std::min(kBufferBytes, limit_)));
}

Error GgufBytes::error(std::string_view what) const {
  return {Code::kInvalidInput, fmt::format("byte {}: {}", position(), what)};
}

Status GgufBytes::take_more(std::byte* to, std::size_t n) {
  if (n > left()) {
    return error(fmt::format("the file ends after {} more bytes; expected {}", left(), n))
        .hint("incomplete download?");
  }
  if (n > limit_ - position()) {
    return error(fmt::format("the header is longer than {} bytes, the most that is read", limit_));
  }
  while (true) {
    const std::size_t some = std::min(n, filled_ - next_);
    std::memcpy(to, buffer_.data() + next_, some);
    next_ += some;
    to += some;
    n -= some;
    if (n == 0) return {};
    buffer_begin_ += filled_;
    next_ = filled_ = 0;
    const auto more =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), limit_ - buffer_begin_));
    MLXMILL_TRY(read_at_(buffer_begin_, std::span(buffer_).first(more)));
    filled_ = more;
  }
}

Result<std::string> GgufBytes::text(std::string_view what, std::uint64_t max_bytes) {
  MLXMILL_ASSIGN(const std::uint64_t length, number<std::uint64_t>());
  if (length > left()) {
    return error(fmt::format("{} of {} bytes; the file has {} more", what, length, left()))
        .hint("incomplete download?");
  }
  if (length > max_bytes || length > limit_ - position()) {
    return error(fmt::format("{} of {} bytes; at most {} are read", what, length,
                             std::min(max_bytes, limit_ - position())));
  }
  std::string content(static_cast<std::size_t>(length), '\0');
  MLXMILL_TRY(take(content.data(), content.size()));
  return content;
}

}  // namespace mlxmill::formats
