// Shapes of tensors and how they are printed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string>
#include <vector>

namespace mlxmill::base {

/// Extents, outermost first; empty for a scalar. Up to three lie in the object itself: a plan holds
/// several shapes for every tensor of a model, and an allocation for each would be a third of it.
class Shape {
 public:
  using value_type = std::int64_t;
  using iterator = std::int64_t*;
  using const_iterator = const std::int64_t*;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) { assign(extents.begin(), extents.end()); }
  Shape(const std::vector<std::int64_t>& extents) { assign(extents.begin(), extents.end()); }
  /// `n` times the same.
  explicit Shape(std::size_t n, std::int64_t extent = 0) { resize(n, extent); }
  template <std::input_iterator It>
  Shape(It first, It last) {
    assign(first, last);
  }
  Shape(const Shape& other) { assign(other.begin(), other.end()); }
  Shape(Shape&& other) noexcept { take(other); }
  Shape& operator=(const Shape& other) {
    if (this != &other) assign(other.begin(), other.end());
    return *this;
  }
  Shape& operator=(Shape&& other) noexcept {
    if (this != &other) {
      release();
      take(other);
    }
    return *this;
  }
  ~Shape() { release(); }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t* data() { return capacity_ == 0 ? near_ : far_; }
  const std::int64_t* data() const { return capacity_ == 0 ? near_ : far_; }
  iterator begin() { return data(); }
  iterator end() { return data() + size_; }
  const_iterator begin() const { return data(); }
  const_iterator end() const { return data() + size_; }
  auto rbegin() const { return std::make_reverse_iterator(end()); }
  auto rend() const { return std::make_reverse_iterator(begin()); }
  std::int64_t& operator[](std::size_t i) { return data()[i]; }
  std::int64_t operator[](std::size_t i) const { return data()[i]; }
  std::int64_t& front() { return data()[0]; }
  std::int64_t front() const { return data()[0]; }
  std::int64_t& back() { return data()[size_ - 1]; }
  std::int64_t back() const { return data()[size_ - 1]; }

  void clear() { size_ = 0; }
  void resize(std::size_t n, std::int64_t extent = 0) {
    reserve(n);
    if (n > size_) std::fill(end(), data() + n, extent);
    size_ = static_cast<std::uint32_t>(n);
  }
  void reserve(std::size_t n) {
    if (n <= std::max<std::size_t>(capacity_, kNear)) return;
    auto* grown = new std::int64_t[n];
    std::copy(begin(), end(), grown);
    release();
    far_ = grown;
    capacity_ = static_cast<std::uint32_t>(n);
  }
  void push_back(std::int64_t extent) {
    if (size_ == std::max<std::size_t>(capacity_, kNear)) reserve(2 * std::size_t{size_});
    data()[size_++] = extent;
  }
  void insert(const_iterator before, std::int64_t extent) {
    const std::ptrdiff_t at = before - begin();
    push_back(extent);
    std::rotate(begin() + at, end() - 1, end());
  }
  template <std::input_iterator It>
  void assign(It first, It last) {
    clear();
    for (; first != last; ++first) push_back(*first);
  }

  friend bool operator==(const Shape& a, const Shape& b) { return std::ranges::equal(a, b); }

 private:
  static constexpr std::size_t kNear = 3;

  void release() {
    if (capacity_ != 0) delete[] far_;
    capacity_ = 0;
  }
  /// Requires this to own nothing.
  void take(Shape& other) {
    std::copy(other.near_, other.near_ + kNear, near_);
    if (other.capacity_ != 0) far_ = other.far_;
    size_ = other.size_;
    capacity_ = other.capacity_;
    other.size_ = other.capacity_ = 0;
  }

  union {
    std::int64_t near_[kNear] = {};
    std::int64_t* far_;
  };
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;  ///< Of what `far_` points to; 0 when the extents are near.
};

/// "[4096, 256]".
inline std::string to_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace mlxmill::base
