// A tensor of the output as a lazy view over tensors of the source: nothing is read until the
// pipeline asks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/shape.h"
#include "mlxmill/dtype.h"
#include "mlxmill/scheme.h"

namespace mlxmill::tensors {

/// A tensor as the header of a source file describes it.
struct SourceTensor {
  std::string name;
  DType dtype;
  base::Shape shape;
};

struct Computed;

/// A strided window into one tensor, stored or computed. Element [i0, i1, ...] of the piece is
/// element offset + i0 * strides[0] + i1 * strides[1] + ... of that tensor's row-major data, all
/// counted in elements of the view's dtype. A stride may be 0.
struct Piece {
  std::size_t source = 0;  ///< Index into the list of source tensors, where nothing is computed.
  std::int64_t offset = 0;
  base::Shape shape;
  std::vector<std::int64_t> strides;
  std::shared_ptr<const Computed> computed = nullptr;  ///< The tensor, when it is not stored.
};

/// The pieces of a view. Copies share them until one of them is edited: plans hold many views of
/// the same tensors.
class PieceList {
 public:
  PieceList() = default;
  PieceList(std::initializer_list<Piece> pieces);
  PieceList(std::vector<Piece> pieces);

  std::size_t size() const { return all_ ? all_->size() : 0; }
  bool empty() const { return size() == 0; }
  const Piece* data() const { return all_ ? all_->data() : nullptr; }
  const Piece* begin() const { return data(); }
  const Piece* end() const { return data() + size(); }
  const Piece& operator[](std::size_t i) const { return (*all_)[i]; }

  /// The pieces to be changed, no longer shared.
  std::vector<Piece>& edit();
  void push_back(Piece piece);

 private:
  std::shared_ptr<std::vector<Piece>> all_;
};

struct Packed;

/// A tensor made of pieces laid one after the other along the outermost axis: row-major element k
/// of the tensor is row-major element of the concatenated pieces. Stacking puts one piece per
/// slice.
struct TensorView {
  std::string name;
  DType dtype = DType::kBF16;  ///< Of its elements; the bytes of the pieces are read as such.
  base::Shape shape;
  PieceList pieces;
  /// The same values as MLX codes, when the source holds them so that nothing is lost. `dtype`,
  /// `shape` and `pieces` are then those of the decoded weights.
  std::shared_ptr<const Packed> packed = nullptr;
  /// The scheme nearest to the codes that these weights were decoded from, when MLX cannot hold
  /// them.
  std::optional<Scheme> coded_as = std::nullopt;
  /// Its dtype stays when floats are cast to the run's.
  bool keeps_dtype = false;
};

/// Weights as MLX keeps them (docs/FORMATS.md). For decoded weights [..., rows, in]:
struct Packed {
  Scheme scheme;
  TensorView codes;                  ///< U32 [..., rows, in * bits / 32]
  TensorView scales;                 ///< [..., rows, in / group_size], a float type or U8
  std::optional<TensorView> biases;  ///< As scales; affine only.
  /// F32 [..., rows, 1] that the weights are multiplied by. MLX holds one for each expert of a
  /// stack (factor_of_slices), nothing finer.
  std::optional<TensorView> factor = std::nullopt;
};

}  // namespace mlxmill::tensors
