// Checksums that others publish: SHA-256, and the SHA-1 by which git names a file's content.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace mlxmill::io {

/// A checksum of a sequence fed in parts. The one user of OpenSSL.
class Checksum {
 public:
  static Checksum sha256();
  /// git's name of a blob of that many bytes: SHA-1 over "blob BYTES\0" and the content. It finds
  /// damage; against forgery SHA-1 is weak.
  static Checksum git_blob(std::uint64_t bytes);

  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;
  ~Checksum();

  void update(std::span<const std::byte> data);
  /// Lower-case hexadecimal digits; "", which equals no checksum, where OpenSSL lacks the algorithm
  /// (SHA-1 in a restricted build). Ends the sequence.
  std::string finish();

 private:
  struct State;
  explicit Checksum(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A SHA-256 whose state can be put down and taken up by a later process of the same machine.
class ResumableSha256 {
 public:
  static constexpr std::size_t kStateBytes = 128;
  using State = std::array<std::byte, kStateBytes>;

  ResumableSha256();
  void update(std::span<const std::byte> data);
  /// Of what came so far; more may follow.
  std::string hex() const;
  State state() const { return state_; }
  void set_state(const State& state) { state_ = state; }

 private:
  alignas(8) State state_;
};

}  // namespace mlxmill::io
