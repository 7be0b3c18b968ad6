// Tensors in a file of a test's own, and reading views of them in every range.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/checked_math.h"
#include "kernels/kernels.h"
#include "kernels/ref/floats.h"
#include "streaming/view_reader.h"
#include "temp_folder.h"
#include "tensors/operation.h"
#include "tensors/view.h"

namespace mlxmill::streaming {

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// Float32 values rounded to a float type, one by one.
inline std::string rounded(const std::vector<float>& values, DType type) {
  std::string bytes(values.size() * dtype_bytes(type), '\0');
  for (std::size_t i = 0; i < values.size(); ++i)
    kernels::ref::store(type, values[i], bytes.data(), i);
  return bytes;
}

/// Bytes that look like noise, the same ones every time.
inline std::vector<std::uint8_t> noise(std::size_t n, std::uint32_t seed = 1) {
  std::vector<std::uint8_t> bytes(n);
  for (std::uint8_t& byte : bytes) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(seed >> 24);
  }
  return bytes;
}

/// Small numbers that every float type holds.
inline std::vector<float> some_floats(std::size_t n, std::uint32_t seed = 1) {
  std::vector<float> values;
  for (const std::uint8_t byte : noise(n, seed))
    values.push_back(static_cast<float>(static_cast<std::int8_t>(byte)) / 16);
  return values;
}

class StreamingTest : public ::testing::Test {
 protected:
  /// A stored tensor with these bytes.
  tensors::TensorView store(DType dtype, base::Shape shape, const std::string& bytes) {
    EXPECT_EQ(base::element_count(shape).value_or(0) * dtype_bytes(dtype), bytes.size());
    // At odd places of the file.
    content_ += "xyz";
    begins_.push_back(content_.size());
    sizes_.push_back(bytes.size());
    content_ += bytes;
    const std::string name = "t" + std::to_string(begins_.size());
    return *tensors::view_of(tensors::SourceTensor{name, dtype, std::move(shape)},
                             begins_.size() - 1);
  }
  tensors::TensorView store_floats(DType dtype, base::Shape shape,
                                   const std::vector<float>& values) {
    return store(dtype, std::move(shape), rounded(values, dtype));
  }

  /// Everything stored so far, less the last `missing` bytes.
  SourcePool pool(std::size_t missing = 0) {
    const std::string path = "data" + std::to_string(files_.size());
    mlxmill::testing::write_file(temp_ / path, content_.substr(0, content_.size() - missing));
    files_.push_back(*io::File::open_read(temp_ / path));
    std::vector<StoredTensor> stored;
    for (std::size_t i = 0; i < begins_.size(); ++i)
      stored.push_back({&files_.back(), begins_[i], sizes_[i]});
    return SourcePool(std::move(stored));
  }

  std::string read(const tensors::TensorView& view) {
    SourcePool sources = pool();
    const ViewReader reader(view, sources);
    std::string got(reader.elements() * reader.element_bytes(), '?');
    Scratch scratch;
    EXPECT_TRUE(
        reader.read(0, reader.elements(), reinterpret_cast<std::byte*>(got.data()), scratch));
    return got;
  }

  /// Every [begin, end) of the view, or those that begin or end at every `step`-th element.
  void expect_every_range(const tensors::TensorView& view, const std::string& expected,
                          std::uint64_t step = 1) {
    SourcePool sources = pool();
    const ViewReader reader(view, sources);
    const std::uint64_t width = reader.element_bytes();
    const std::uint64_t n = reader.elements();
    ASSERT_EQ(n * width, expected.size());
    ASSERT_EQ(n, base::element_count(view.shape));
    Scratch scratch;
    std::string got;
    for (std::uint64_t begin = 0; begin <= n; begin += step) {
      for (std::uint64_t end = begin; end <= n; end += step) {
        got.assign((end - begin) * width, '?');
        ASSERT_TRUE(reader.read(begin, end, reinterpret_cast<std::byte*>(got.data()), scratch));
        ASSERT_EQ(got.compare(0, std::string::npos, expected, begin * width, got.size()), 0)
            << begin << " to " << end << " of " << n;
      }
    }
  }

  mlxmill::testing::TempFolder temp_;
  std::deque<io::File> files_;
  std::string content_;
  std::vector<std::uint64_t> begins_;
  std::vector<std::uint64_t> sizes_;
};

}  // namespace mlxmill::streaming
