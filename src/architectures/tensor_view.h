// A tensor of the output as a lazy view over tensors of the source: nothing is read until the
// pipeline asks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/shape.h"
#include "mlxmill/dtype.h"

namespace mlxmill::architectures {

/// A strided window into one source tensor. Element [i0, i1, ...] of the piece is element
/// offset + i0 * strides[0] + i1 * strides[1] + ... of the source, counted in elements of the
/// source's dtype.
struct Piece {
  std::size_t source = 0;  ///< Index into the list of source tensors.
  std::int64_t offset = 0;
  base::Shape shape;
  std::vector<std::int64_t> strides;
};

/// A tensor made of pieces laid one after the other along the outermost axis: row-major element k
/// of the tensor is row-major element of the concatenated pieces. Stacking puts one piece per
/// slice.
struct TensorView {
  std::string name;
  DType dtype = DType::kBF16;  ///< The source's; all pieces share it.
  base::Shape shape;
  std::vector<Piece> pieces;
};

}  // namespace mlxmill::architectures
