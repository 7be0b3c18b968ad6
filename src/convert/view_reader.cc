#include "convert/view_reader.h"

#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"

namespace mlxmill::convert {
namespace {

/// Gaps up to this many bytes are read along with their neighbours: cheaper than another system
/// call.
constexpr std::uint64_t kGapBytes = 16 << 10;
/// A transposed tile is read in source rows of at most this much at a time.
constexpr std::uint64_t kTileScratchBytes = 8 << 20;

/// Reads from one piece; bundles what every step needs.
class PieceReader {
 public:
  PieceReader(const ReadPlan& plan, const SourceLocation& location, std::size_t element_bytes,
              std::vector<std::byte>& scratch)
      : plan_(plan), location_(location), bytes_(element_bytes), scratch_(scratch) {}

  Status read(std::uint64_t begin, std::uint64_t end, std::byte* out) {
    if (plan_.shape.empty()) return read_run(plan_.offset, 1, out);
    if (plan_.transposed()) return read_transposed(begin, end, out);
    return read_rows(begin, end, out);
  }

 private:
  Status read_run(std::int64_t element, std::uint64_t n, std::byte* out) {
    return location_.file->read_at(location_.begin + static_cast<std::uint64_t>(element) * bytes_,
                                   {out, n * bytes_});
  }

  /// Source element where the row (all axes but the last `inner`) of this index begins.
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
        step > kGapBytes ? 1 : std::max<std::uint64_t>(1, kTileScratchBytes / step);
    for (std::uint64_t i = 0; i < n; i += per_read) {
      const std::uint64_t count = std::min(per_read, n - i);
      const std::uint64_t span = (count - 1) * static_cast<std::uint64_t>(stride) + 1;
      scratch_.resize(std::max<std::size_t>(scratch_.size(), span * bytes_));
      MLXMILL_TRY(read_run(first + static_cast<std::int64_t>(i) * stride, span, scratch_.data()));
      for (std::uint64_t k = 0; k < count; ++k)
        std::memcpy(out + (i + k) * bytes_, scratch_.data() + k * step, bytes_);
    }
    return {};
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
    scratch_.resize(std::max<std::size_t>(scratch_.size(), width * columns * bytes_));
    const auto source_at = [&](std::uint64_t column) {
      return matrix + static_cast<std::int64_t>((b0 + column) * stride + a0);
    };
    if (whole) {
      MLXMILL_TRY(read_run(source_at(0), (columns - 1) * stride + rows, scratch_.data()));
    } else {
      for (std::uint64_t column = 0; column < columns; ++column) {
        MLXMILL_TRY(read_run(source_at(column), rows, scratch_.data() + column * width * bytes_));
      }
    }
    kernels::transpose(scratch_.data(), columns, rows, width, bytes_, out);
    return {};
  }

  const ReadPlan& plan_;
  const SourceLocation& location_;
  std::size_t bytes_;
  std::vector<std::byte>& scratch_;
};

}  // namespace

ReadPlan::ReadPlan(const architectures::Piece& piece) : source(piece.source), offset(piece.offset) {
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
}

bool ReadPlan::transposed() const {
  const std::size_t rank = shape.size();
  return rank >= 2 && strides[rank - 2] == 1 && strides[rank - 1] > 1;
}

ViewReader::ViewReader(const architectures::TensorView& view, std::size_t element_bytes)
    : element_bytes_(element_bytes) {
  std::uint64_t total = 0;
  for (const architectures::Piece& piece : view.pieces) {
    pieces_.emplace_back(piece);
    total += pieces_.back().elements;
    ends_.push_back(total);
    if (pieces_.back().transposed())
      preferred_multiple_ = static_cast<std::uint64_t>(pieces_.back().shape.back());
  }
}

Status ViewReader::read(std::span<const SourceLocation> sources, std::uint64_t begin,
                        std::uint64_t end, std::byte* out, std::vector<std::byte>& scratch) const {
  std::size_t index =
      static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
  while (begin < end) {
    const ReadPlan& plan = pieces_[index];
    const std::uint64_t piece_begin = ends_[index] - plan.elements;
    const std::uint64_t stop = std::min(end, ends_[index]);
    if (stop > begin) {
      PieceReader reader(plan, sources[plan.source], element_bytes_, scratch);
      MLXMILL_TRY(reader.read(begin - piece_begin, stop - piece_begin, out));
      out += (stop - begin) * element_bytes_;
      begin = stop;
    }
    ++index;
  }
  return {};
}

void ViewReader::will_read(std::span<const SourceLocation> sources, std::uint64_t begin,
                           std::uint64_t end) const {
  const auto index =
      static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), begin) - ends_.begin());
  if (index >= pieces_.size() || !pieces_[index].contiguous()) return;
  const ReadPlan& plan = pieces_[index];
  const std::uint64_t piece_begin = ends_[index] - plan.elements;
  const SourceLocation& location = sources[plan.source];
  const std::uint64_t stop = std::min(end, ends_[index]);
  location.file->will_read(
      location.begin +
          (static_cast<std::uint64_t>(plan.offset) + begin - piece_begin) * element_bytes_,
      (stop - begin) * element_bytes_);
}

}  // namespace mlxmill::convert
