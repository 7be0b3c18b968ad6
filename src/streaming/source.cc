#include "streaming/source.h"

#include "streaming/computed.h"

namespace mlxmill::streaming {
namespace {

class StoredSource final : public Source {
 public:
  explicit StoredSource(const StoredTensor& tensor) : tensor_(tensor) {}

  Status read(std::uint64_t begin, std::span<std::byte> out, Scratch&) const override {
    return tensor_.file->read_at(tensor_.begin + begin, out);
  }
  void will_read(std::uint64_t begin, std::uint64_t bytes) const override {
    tensor_.file->will_read(tensor_.begin + begin, bytes);
  }

 private:
  StoredTensor tensor_;
};

}  // namespace

SourcePool::SourcePool(std::vector<StoredTensor> stored) {
  for (const StoredTensor& tensor : stored)
    stored_.push_back(std::make_unique<StoredSource>(tensor));
}
SourcePool::~SourcePool() = default;
SourcePool::SourcePool(SourcePool&&) noexcept = default;
SourcePool& SourcePool::operator=(SourcePool&&) noexcept = default;

SourcePool SourcePool::over(const SourcePool& stored) {
  SourcePool pool({});
  pool.below_ = &stored;
  return pool;
}

const Source* SourcePool::stored(std::size_t index) const {
  if (below_) return below_->stored(index);
  return index < stored_.size() ? stored_[index].get() : nullptr;
}

const Source* SourcePool::find(const tensors::Piece& piece) {
  if (!piece.computed) return stored(piece.source);
  std::unique_ptr<Source>& source = computed_[piece.computed.get()];
  if (!source) {
    // The map's nodes stay where they are while the inputs are set up.
    auto made = std::make_unique<ComputedSource>(*piece.computed, *this);
    kept_.push_back(piece.computed);
    source = std::move(made);
  }
  return source.get();
}

}  // namespace mlxmill::streaming
