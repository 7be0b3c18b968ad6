// What a view reads from: the bytes of a stored tensor, or of one that is computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "io/file.h"
#include "mlxmill/result.h"
#include "streaming/scratch.h"
#include "tensors/tensor_view.h"

namespace mlxmill::streaming {

/// Row-major bytes of one tensor. Threads: const calls with different scratch may run at once.
class Source {
 public:
  virtual ~Source() = default;

  /// Reads bytes [begin, begin + out.size()), which must lie inside. Errors: those of io::File.
  virtual Status read(std::uint64_t begin, std::span<std::byte> out, Scratch& scratch) const = 0;

  /// Tells the operating system about a coming read().
  virtual void will_read(std::uint64_t /*begin*/, std::uint64_t /*bytes*/) const {}

  /// Reading goes best in multiples of this many bytes.
  virtual std::uint64_t preferred_bytes() const { return 1; }
};

/// Where a stored tensor's data lies.
struct StoredTensor {
  const io::File* file = nullptr;
  std::uint64_t begin = 0;  ///< Bytes from the start of the file.
  std::uint64_t bytes = 0;
};

/// All sources of a checkpoint. Computed tensors are set up when a view first needs them, once
/// each. Threads: find() from one thread only, but on pools over one other from one each.
class SourcePool {
 public:
  explicit SourcePool(std::vector<StoredTensor> stored);
  /// A pool with the stored tensors of another, which must outlive it, and computed ones of its
  /// own.
  static SourcePool over(const SourcePool& stored);
  ~SourcePool();
  SourcePool(SourcePool&&) noexcept;
  SourcePool& operator=(SourcePool&&) noexcept;

  const Source* find(const tensors::Piece& piece);

 private:
  const Source* stored(std::size_t index) const;

  const SourcePool* below_ = nullptr;
  std::vector<std::unique_ptr<Source>> stored_;
  std::map<const tensors::Computed*, std::unique_ptr<Source>> computed_;
  /// The computed tensors live as long as what reads them.
  std::vector<std::shared_ptr<const tensors::Computed>> kept_;
};

}  // namespace mlxmill::streaming
