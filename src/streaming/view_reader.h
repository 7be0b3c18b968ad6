// Reading a range of a tensor view.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mlxmill/result.h"
#include "streaming/scratch.h"
#include "streaming/source.h"
#include "tensors/tensor_view.h"

namespace mlxmill::streaming {

/// A piece reduced to what reading needs: extents of 1 gone, neighbouring axes merged where memory
/// allows. Made once per piece, used for every range.
struct ReadPlan {
  const Source* source = nullptr;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::uint64_t elements = 0;
  /// The innermost axes that lie so close together in the source that they are read as one run: how
  /// many axes, the elements they hold, the elements of the run.
  std::size_t block_axes = 0;
  std::uint64_t block_elements = 1;
  std::uint64_t block_span = 1;

  ReadPlan(const tensors::Piece& piece, const Source* from, std::size_t element_bytes);
  /// The last two axes are a transposed matrix: shape [..., a, b] with strides [..., 1, s].
  bool transposed() const;
  bool contiguous() const { return shape.empty() || (shape.size() == 1 && strides[0] == 1); }
};

/// A tensor view ready to be read.
class ViewReader {
 public:
  /// The pool must outlive the reader.
  ViewReader(const tensors::TensorView& view, SourcePool& pool);

  std::uint64_t elements() const { return ends_.empty() ? 0 : ends_.back(); }
  std::size_t element_bytes() const { return element_bytes_; }

  /// Reading goes best in multiples of this many elements (a whole row of a transposed tensor), 1
  /// otherwise.
  std::uint64_t preferred_multiple() const { return preferred_multiple_; }

  /// Reads row-major elements [begin, end) into `out`. Errors: those of io::File. Threads: const
  /// calls with different scratch may run at once.
  Status read(std::uint64_t begin, std::uint64_t end, std::byte* out, Scratch& scratch) const;

  /// Tells the operating system about a coming read() of the same range, where that is one run.
  void will_read(std::uint64_t begin, std::uint64_t end) const;

 private:
  std::size_t element_bytes_;
  std::uint64_t preferred_multiple_ = 1;
  std::vector<ReadPlan> pieces_;
  std::vector<std::uint64_t> ends_;  ///< Running element counts.
};

}  // namespace mlxmill::streaming
