// Buffers that are used again and again while tensors are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlxmill::streaming {

/// One worker's buffers. A lease gives one back when it ends; nested computations take several.
/// Threads: each has its own.
class Scratch {
 public:
  class Lease {
   public:
    Lease(Scratch& scratch, std::uint64_t bytes) : scratch_(scratch) {
      if (!scratch.free_.empty()) {
        buffer_.swap(scratch.free_.back());
        scratch.free_.pop_back();
      }
      if (buffer_.size() < bytes) buffer_.resize(bytes);
    }
    ~Lease() { scratch_.free_.push_back(std::move(buffer_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    std::byte* data() { return buffer_.data(); }
    float* floats() { return reinterpret_cast<float*>(buffer_.data()); }

   private:
    Scratch& scratch_;
    std::vector<std::byte> buffer_;
  };

  Lease take(std::uint64_t bytes) { return {*this, bytes}; }

 private:
  std::vector<std::vector<std::byte>> free_;
};

}  // namespace mlxmill::streaming
