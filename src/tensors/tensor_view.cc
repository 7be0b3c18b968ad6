#include "tensors/tensor_view.h"

#include <utility>

namespace mlxmill::tensors {

PieceList::PieceList(std::initializer_list<Piece> pieces)
    : all_(std::make_shared<std::vector<Piece>>(pieces)) {}

PieceList::PieceList(std::vector<Piece> pieces)
    : all_(std::make_shared<std::vector<Piece>>(std::move(pieces))) {}

std::vector<Piece>& PieceList::edit() {
  if (!all_ || all_.use_count() > 1) all_ = std::make_shared<std::vector<Piece>>(begin(), end());
  return *all_;
}

void PieceList::push_back(Piece piece) { edit().push_back(std::move(piece)); }

}  // namespace mlxmill::tensors
