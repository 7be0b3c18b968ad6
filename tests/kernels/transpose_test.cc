#include "kernels/corpus.h"

namespace mlxmill::kernels {
namespace {

class Transpose : public TargetTest {};

void expect_transposed(std::size_t rows, std::size_t cols, std::size_t stride, std::size_t bytes) {
  SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(cols) + " stride " +
               std::to_string(stride) + " of " + std::to_string(bytes));
  std::mt19937 random(5);
  // The last row ends with its last column: nothing may be read after it.
  const std::size_t elements = rows == 0 || cols == 0 ? 0 : (rows - 1) * stride + cols;
  ExactBuffer src(elements * bytes, 1);
  for (std::size_t i = 0; i < src.size(); ++i) src.data()[i] = static_cast<std::uint8_t>(random());
  ExactBuffer got(rows * cols * bytes, 3);
  ExactBuffer want(rows * cols * bytes);
  transpose(src.data(), rows, cols, stride, bytes, got.data());
  ref::transpose(src.data(), rows, cols, stride, bytes, want.data());
  EXPECT_EQ(difference(got, want), "");
}

TEST_P(Transpose, AnyShape) {
  for (const std::size_t bytes : {1, 2, 4, 8}) {
    for (const std::size_t rows : {0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 33, 64, 65, 130}) {
      for (const std::size_t cols : {0, 1, 2, 5, 8, 16, 19, 32, 67}) {
        expect_transposed(rows, cols, cols, bytes);
      }
    }
  }
}

TEST_P(Transpose, ReadsWithStride) {
  for (const std::size_t bytes : {1, 2, 4, 8}) {
    expect_transposed(37, 21, 64, bytes);
    expect_transposed(64, 64, 65, bytes);
  }
}

INSTANTIATE_FOR_TARGETS(Transpose);

}  // namespace
}  // namespace mlxmill::kernels
