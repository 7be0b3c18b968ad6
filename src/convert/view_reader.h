// Reading a range of a tensor view from the source shards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "architectures/tensor_view.h"
#include "io/file.h"
#include "mlxmill/result.h"

namespace mlxmill::convert {

/// Where a source tensor's data lies.
struct SourceLocation {
  const io::File* file = nullptr;
  std::uint64_t begin = 0;  ///< Bytes from the start of the file.
  std::uint64_t elements = 0;
};

/// A piece reduced to what reading needs: extents of 1 gone, neighbouring axes merged where memory
/// allows. Made once per piece, used for every range.
struct ReadPlan {
  std::size_t source = 0;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::uint64_t elements = 0;

  explicit ReadPlan(const architectures::Piece& piece);
  /// The last two axes are a transposed matrix: shape [..., a, b] with strides [..., 1, s].
  bool transposed() const;
  bool contiguous() const { return shape.empty() || (shape.size() == 1 && strides[0] == 1); }
};

/// A tensor view ready to be read.
class ViewReader {
 public:
  ViewReader(const architectures::TensorView& view, std::size_t element_bytes);

  std::uint64_t elements() const { return ends_.empty() ? 0 : ends_.back(); }
  std::size_t element_bytes() const { return element_bytes_; }

  /// Reading goes best in multiples of this many elements (a whole row of a transposed tensor), 1
  /// otherwise.
  std::uint64_t preferred_multiple() const { return preferred_multiple_; }

  /// Reads row-major elements [begin, end) into `out`. `scratch` grows to what one transposed tile
  /// needs. Errors: those of io::File. Threads: const calls with different scratch may run at once.
  Status read(std::span<const SourceLocation> sources, std::uint64_t begin, std::uint64_t end,
              std::byte* out, std::vector<std::byte>& scratch) const;

  /// Tells the operating system about a coming read() of the same range, where that is one run.
  void will_read(std::span<const SourceLocation> sources, std::uint64_t begin,
                 std::uint64_t end) const;

 private:
  std::size_t element_bytes_;
  std::uint64_t preferred_multiple_ = 1;
  std::vector<ReadPlan> pieces_;
  std::vector<std::uint64_t> ends_;  ///< Running element counts.
};

}  // namespace mlxmill::convert
