// Evaluating computed tensors range by range.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "streaming/source.h"
#include "streaming/view_reader.h"
#include "tensors/operation.h"

namespace mlxmill::streaming {

/// What an operation finds out about its whole input once.
struct Summary {
  std::mutex mutex;
  std::vector<float> norms;
};

/// What an operation works on.
struct Inputs {
  const tensors::Computed& computed;
  const std::vector<ViewReader>& readers;
  Scratch& scratch;
  Summary& summary;

  const tensors::TensorView& view(std::size_t i) const { return computed.inputs[i]; }
  /// Reads elements [begin, begin + n) of input i.
  Status read(std::size_t i, std::uint64_t begin, std::uint64_t n, void* out) const {
    return readers[i].read(begin, begin + n, static_cast<std::byte*>(out), scratch);
  }
  /// The same as float32.
  Status read_f32(std::size_t i, std::uint64_t begin, std::uint64_t n, float* out) const;
};

/// Elements [begin, begin + n) of the result, one function per operation. Both are multiples of
/// granularity().
Status evaluate(const tensors::Gathered& op, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out);
Status evaluate(const tensors::Cast& op, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out);
Status evaluate(const tensors::AddConstant& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::MultiplyConstant& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::MultiplyAlong& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::MultiplyBy& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::Normalize& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::DecodePacked& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::ScaleBlocks& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::UnpackCodes& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::UnpackStream& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::PackStream& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::XorBytes& op, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out);
Status evaluate(const tensors::AddBytes& op, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out);
Status evaluate(const tensors::ShiftBytes& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::Reciprocal& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::LogOfNegative& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::Constant& op, const Inputs& in, std::uint64_t begin, std::uint64_t n,
                void* out);
Status evaluate(const tensors::ResidualGate& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::ZeroToBias& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::DecodeGroups& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::DecodeGgml& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);
Status evaluate(const tensors::RepackGgml& op, const Inputs& in, std::uint64_t begin,
                std::uint64_t n, void* out);

/// How many elements of the result come from one block.
std::uint64_t elements_per_block(const tensors::RepackGgml& op);

/// A tensor that is computed when it is read.
class ComputedSource final : public Source {
 public:
  /// `computed` must outlive the source, and the pool's other sources too.
  ComputedSource(const tensors::Computed& computed, SourcePool& pool);

  Status read(std::uint64_t begin, std::span<std::byte> out, Scratch& scratch) const override;
  std::uint64_t preferred_bytes() const override;

 private:
  Status read_elements(std::uint64_t begin, std::uint64_t n, std::byte* out,
                       Scratch& scratch) const;

  const tensors::Computed& computed_;
  std::vector<ViewReader> inputs_;
  std::uint64_t elements_;
  std::uint64_t granularity_;
  mutable Summary summary_;
};

}  // namespace mlxmill::streaming
