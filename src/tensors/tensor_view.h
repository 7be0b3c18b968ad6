// A tensor of the output as a lazy view over tensors of the source: nothing is read until the
// pipeline asks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
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
  base::Shape strides;
  std::shared_ptr<const Computed> computed = nullptr;  ///< The tensor, when it is not stored.
};

/// A list whose copies share it until one of them is edited: plans hold many views of the same
/// tensors. A pointer to one allocation, as most lists have one element.
template <class T>
class SharedList {
 public:
  SharedList() = default;
  SharedList(std::initializer_list<T> all) : head_(make(all.begin(), all.size())) {}
  SharedList(std::vector<T> all) : head_(make(std::make_move_iterator(all.begin()), all.size())) {}
  SharedList(const SharedList& other) : head_(other.head_) {
    if (head_) head_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  SharedList(SharedList&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  SharedList& operator=(SharedList other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~SharedList() {
    if (!head_ || head_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    std::destroy_n(elements(head_), head_->size);
    Free()(head_);
  }

  std::size_t size() const { return head_ ? head_->size : 0; }
  bool empty() const { return size() == 0; }
  const T* data() const { return head_ ? elements(head_) : nullptr; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }
  const T& operator[](std::size_t i) const { return data()[i]; }
  const T& back() const { return data()[size() - 1]; }

  /// The elements to be changed, no longer shared.
  std::span<T> edit() {
    if (!head_) return {};
    if (head_->owners.load(std::memory_order_acquire) > 1) {
      *this = SharedList(std::vector<T>(begin(), end()));
    }
    return {elements(head_), size()};
  }

 private:
  /// What stands before the elements.
  struct Head {
    std::atomic<std::uint32_t> owners;
    std::uint32_t size;
  };
  struct Free {
    void operator()(Head* head) const {
      head->~Head();
      ::operator delete(head);
    }
  };

  static T* elements(Head* head) {
    static_assert(sizeof(Head) % alignof(T) == 0);
    return reinterpret_cast<T*>(head + 1);
  }

  template <class It>
  static Head* make(It first, std::size_t n) {
    if (n == 0) return nullptr;
    std::unique_ptr<Head, Free> head(new (::operator new(sizeof(Head) + n * sizeof(T)))
                                         Head{1, static_cast<std::uint32_t>(n)});
    std::uninitialized_copy_n(first, n, elements(head.get()));
    return head.release();
  }

  Head* head_ = nullptr;
};

class Packed;

/// A tensor made of pieces laid one after the other along the outermost axis: row-major element k
/// of the tensor is row-major element of the concatenated pieces. Stacking puts one piece per
/// slice.
struct TensorView {
  std::string name;
  DType dtype = DType::kBF16;  ///< Of its elements; the bytes of the pieces are read as such.
  base::Shape shape;
  SharedList<Piece> pieces;
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
class Packed {
 public:
  /// `biases`: affine only, and always there.
  Packed(const Scheme& scheme, TensorView codes, TensorView scales,
         std::optional<TensorView> biases = std::nullopt,
         std::optional<TensorView> factor = std::nullopt);

  const Scheme& scheme() const { return scheme_; }
  /// U32 [..., rows, in * bits / 32].
  const TensorView& codes() const { return parts_[0]; }
  /// [..., rows, in / group_size], a float type or U8.
  const TensorView& scales() const { return parts_[1]; }
  /// As scales; null unless affine.
  const TensorView* biases() const { return has_biases() ? &parts_[2] : nullptr; }
  /// F32 [..., rows, 1] that the weights are multiplied by, or null. MLX holds one for each expert
  /// of a stack (factor_of_slices), nothing finer.
  const TensorView* factor() const {
    return parts_.size() > (has_biases() ? 3u : 2u) ? &parts_.back() : nullptr;
  }
  /// Those it has, in this order.
  const SharedList<TensorView>& parts() const { return parts_; }

 private:
  bool has_biases() const { return scheme_.mode == Mode::kAffine; }

  Scheme scheme_;
  SharedList<TensorView> parts_;
};

}  // namespace mlxmill::tensors
