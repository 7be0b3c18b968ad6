#include "streaming/view_reader.h"

#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"

namespace mlxmill::streaming {
namespace {

/// Gaps up to this many bytes are read along with their neighbours: cheaper than another system
/// call.
constexpr std::uint64_t kGapBytes = 16 << 10;
/// Inner axes that lie within this much are read as one run and sorted in memory.
constexpr std::uint64_t kBlockBytes = 64 << 10;
/// A strided row is read in runs of at most this much at a time.
constexpr std::uint64_t kTileScratchBytes = 8 << 20;

/// Reads from one piece; bundles what every step needs.
class PieceReader {
 public:
  PieceReader(const ReadPlan& plan, std::size_t element_bytes, Scratch& scratch)
      : plan_(plan), bytes_(element_bytes), scratch_(scratch) {}

  Status read(std::uint64_t begin, std::uint64_t end, std::byte* out) {
    if (plan_.contiguous()) {
      return read_run(plan_.offset + static_cast<std::int64_t>(begin), end - begin, out);
    }
    if (plan_.block_axes > 1) return read_blocks(begin, end, out);
    if (plan_.transposed()) return read_transposed(begin, end, out);
    const bool scattered = plan_.block_axes == 1 && plan_.strides.back() != 1;
    return scattered ? read_blocks(begin, end, out) : read_rows(begin, end, out);
  }

 private:
  Status read_run(std::int64_t element, std::uint64_t n, std::byte* out) {
    return plan_.source->read(static_cast<std::uint64_t>(element) * bytes_, {out, n * bytes_},
                              scratch_);
  }

  /// Source element where the index of all axes but the last `inner` points.
  std::int64_t row_offset(std::uint64_t row, std::size_t inner) const {
    std::int64_t offset = plan_.offset;
    for (std::size_t axis = plan_.shape.size() - inner; axis-- > 0;) {
      const auto extent = static_cast<std::uint64_t>(plan_.shape[axis]);
      offset += static_cast<std::int64_t>(row % extent) * plan_.strides[axis];
      row /= extent;
    }
    return offset;
  }

  Status read_rows(std::uint64_t begin, std::uint64_t end, std::byte* out) {
    const auto row_elements = static_cast<std::uint64_t>(plan_.shape.back());
    const std::int64_t stride = plan_.strides.back();
    while (begin < end) {
      const std::uint64_t column = begin % row_elements;
      const std::uint64_t n = std::min(row_elements - column, end - begin);
      const std::int64_t first =
          row_offset(begin / row_elements, 1) + static_cast<std::int64_t>(column) * stride;
      MLXMILL_TRY(stride == 1 ? read_run(first, n, out) : read_strided(first, n, stride, out));
      out += n * bytes_;
      begin += n;
    }
    return {};
  }

  Status read_strided(std::int64_t first, std::uint64_t n, std::int64_t stride, std::byte* out) {
    const std::uint64_t step = static_cast<std::uint64_t>(stride) * bytes_;
    const std::uint64_t per_read =
        step > kGapBytes
            ? 1
            : std::max<std::uint64_t>(1, kTileScratchBytes / std::max<std::uint64_t>(step, 1));
    for (std::uint64_t i = 0; i < n; i += per_read) {
      const std::uint64_t count = std::min(per_read, n - i);
      const std::uint64_t span = (count - 1) * static_cast<std::uint64_t>(stride) + 1;
      Scratch::Lease run = scratch_.take(span * bytes_);
      MLXMILL_TRY(read_run(first + static_cast<std::int64_t>(i) * stride, span, run.data()));
      for (std::uint64_t k = 0; k < count; ++k)
        std::memcpy(out + (i + k) * bytes_, run.data() + k * step, bytes_);
    }
    return {};
  }

  /// Reads the source run of each block of inner axes and sorts its elements out.
  Status read_blocks(std::uint64_t begin, std::uint64_t end, std::byte* out) {
    Scratch::Lease run = scratch_.take(plan_.block_span * bytes_);
    const std::uint64_t per_block = plan_.block_elements;
    while (begin < end) {
      const std::uint64_t within = begin % per_block;
      const std::uint64_t n = std::min(per_block - within, end - begin);
      MLXMILL_TRY(
          read_run(row_offset(begin / per_block, plan_.block_axes), plan_.block_span, run.data()));
      gather(run.data(), within, within + n, out);
      out += n * bytes_;
      begin += n;
    }
    return {};
  }

  /// Elements [begin, end) of a block whose run starts at `run`.
  void gather(const std::byte* run, std::uint64_t begin, std::uint64_t end, std::byte* out) const {
    const std::size_t rank = plan_.shape.size();
    const auto row = static_cast<std::uint64_t>(plan_.shape.back());
    const std::uint64_t step = static_cast<std::uint64_t>(plan_.strides.back()) * bytes_;
    while (begin < end) {
      std::uint64_t index = begin / row;
      std::uint64_t offset = 0;
      for (std::size_t axis = rank - 1; axis-- > rank - plan_.block_axes;) {
        const auto extent = static_cast<std::uint64_t>(plan_.shape[axis]);
        offset += index % extent * static_cast<std::uint64_t>(plan_.strides[axis]);
        index /= extent;
      }
      const std::uint64_t column = begin % row;
      const std::uint64_t n = std::min(row - column, end - begin);
      const std::byte* from = run + offset * bytes_ + column * step;
      if (step == bytes_) {
        std::memcpy(out, from, n * bytes_);
      } else {
        for (std::uint64_t k = 0; k < n; ++k)
          std::memcpy(out + k * bytes_, from + k * step, bytes_);
      }
      out += n * bytes_;
      begin += n;
    }
  }

  /// Rows a of [..., a, b] are columns of the source matrix. Splits the range into whole rows and
  /// partial ones.
  Status read_transposed(std::uint64_t begin, std::uint64_t end, std::byte* out) {
    const auto b = static_cast<std::uint64_t>(plan_.shape.back());
    const auto a = static_cast<std::uint64_t>(plan_.shape[plan_.shape.size() - 2]);
    while (begin < end) {
      const std::uint64_t row = begin / b;
      const std::uint64_t column = begin % b;
      const std::uint64_t matrix = row / a;
      const std::uint64_t a0 = row % a;
      std::uint64_t rows = 1;
      std::uint64_t columns = std::min(b - column, end - begin);
      if (column == 0 && end - begin >= b) {
        rows = std::min(a - a0, (end - begin) / b);
        columns = b;
      }
      MLXMILL_TRY(read_tile(row_offset(matrix, 2), a0, rows, column, columns, out));
      out += rows * columns * bytes_;
      begin += rows * columns;
    }
    return {};
  }

  /// Output rows [a0, a0 + rows) by columns [b0, b0 + columns) of one matrix; the source holds it
  /// as [b][a].
  Status read_tile(std::int64_t matrix, std::uint64_t a0, std::uint64_t rows, std::uint64_t b0,
                   std::uint64_t columns, std::byte* out) {
    const auto stride = static_cast<std::uint64_t>(plan_.strides.back());
    // Whole source rows in one read when little of them is unwanted.
    const bool whole = (stride - rows) * bytes_ <= kGapBytes && stride <= 4 * rows;
    const std::uint64_t width = whole ? stride : rows;
    Scratch::Lease tile = scratch_.take(width * columns * bytes_);
    const auto source_at = [&](std::uint64_t column) {
      return matrix + static_cast<std::int64_t>((b0 + column) * stride + a0);
    };
    if (whole) {
      MLXMILL_TRY(read_run(source_at(0), (columns - 1) * stride + rows, tile.data()));
    } else {
      for (std::uint64_t column = 0; column < columns; ++column) {
        MLXMILL_TRY(read_run(source_at(column), rows, tile.data() + column * width * bytes_));
      }
    }
    kernels::transpose(tile.data(), columns, rows, width, bytes_, out);
    return {};
  }

  const ReadPlan& plan_;
  std::size_t bytes_;
  Scratch& scratch_;
};

}  // namespace

ReadPlan::ReadPlan(const tensors::Piece& piece, const Source* from, std::size_t element_bytes)
    : source(from), offset(piece.offset) {
  elements = 1;
  for (std::size_t axis = 0; axis < piece.shape.size(); ++axis) {
    elements *= static_cast<std::uint64_t>(piece.shape[axis]);
    if (piece.shape[axis] == 1) continue;
    if (!shape.empty() && strides.back() == piece.shape[axis] * piece.strides[axis]) {
      shape.back() *= piece.shape[axis];
      strides.back() = piece.strides[axis];
    } else {
      shape.push_back(piece.shape[axis]);
      strides.push_back(piece.strides[axis]);
    }
  }
  if (elements == 0) return;
  std::uint64_t n = 1;
  std::uint64_t span = 1;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    n *= static_cast<std::uint64_t>(shape[axis]);
    span += static_cast<std::uint64_t>(shape[axis] - 1) * static_cast<std::uint64_t>(strides[axis]);
    if (span * element_bytes > kBlockBytes) break;
    block_axes = shape.size() - axis;
    block_elements = n;
    block_span = span;
  }
}

bool ReadPlan::transposed() const {
  const std::size_t rank = shape.size();
  return rank >= 2 && strides[rank - 2] == 1 && strides[rank - 1] > 1;
}

ViewReader::ViewReader(const tensors::TensorView& view, SourcePool& pool)
    : element_bytes_(dtype_bytes(view.dtype)) {
  std::uint64_t total = 0;
  for (const tensors::Piece& piece : view.pieces) {
    const ReadPlan& plan = pieces_.emplace_back(piece, pool.find(piece), element_bytes_);
    total += plan.elements;
    ends_.push_back(total);
    if (plan.transposed()) {
      preferred_multiple_ = static_cast<std::uint64_t>(plan.shape.back());
    } else if (plan.contiguous() && plan.source) {
      preferred_multiple_ =
          std::max(preferred_multiple_, plan.source->preferred_bytes() / element_bytes_);
    }
  }
}

Status ViewReader::read(std::uint64_t begin, std::uint64_t end, std::byte* out,
                        Scratch& scratch) const {
  std::size_t index =
      static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
  while (begin < end) {
    const ReadPlan& plan = pieces_[index];
    const std::uint64_t piece_begin = ends_[index] - plan.elements;
    const std::uint64_t stop = std::min(end, ends_[index]);
    if (stop > begin) {
      PieceReader reader(plan, element_bytes_, scratch);
      MLXMILL_TRY(reader.read(begin - piece_begin, stop - piece_begin, out));
      out += (stop - begin) * element_bytes_;
      begin = stop;
    }
    ++index;
  }
  return {};
}

void ViewReader::will_read(std::uint64_t begin, std::uint64_t end) const {
  const auto index =
      static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
  if (index >= pieces_.size() || !pieces_[index].contiguous()) return;
  const ReadPlan& plan = pieces_[index];
  const std::uint64_t piece_begin = ends_[index] - plan.elements;
  const std::uint64_t stop = std::min(end, ends_[index]);
  plan.source->will_read(
      (static_cast<std::uint64_t>(plan.offset) + begin - piece_begin) * element_bytes_,
      (stop - begin) * element_bytes_);
}

}  // namespace mlxmill::streaming
