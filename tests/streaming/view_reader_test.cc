#include "streaming/view_reader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <optional>

#include "temp_folder.h"

namespace mlxmill::streaming {
namespace {

using mlxmill::testing::TempFolder;
using mlxmill::testing::write_file;
using tensors::Piece;
using tensors::TensorView;

/// A source tensor holding 0, 1, 2, ... behind some other bytes, and views of it read in every
/// possible range.
class ViewReaderTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kOffset = 24;

  void SetUp() override {
    std::vector<std::uint16_t> values(4096);
    std::iota(values.begin(), values.end(), std::uint16_t{0});
    std::string content(kOffset, 'x');
    content.append(reinterpret_cast<const char*>(values.data()), values.size() * 2);
    write_file(temp_ / "data", content);
    file_ = *io::File::open_read(temp_ / "data");
    pool_.emplace(std::vector<StoredTensor>{{&file_, kOffset, values.size() * 2}});
  }

  static std::vector<std::uint16_t> gather(const TensorView& view) {
    std::vector<std::uint16_t> all;
    for (const Piece& piece : view.pieces) append(piece, 0, piece.offset, all);
    return all;
  }

  static void append(const Piece& piece, std::size_t axis, std::int64_t offset,
                     std::vector<std::uint16_t>& all) {
    if (axis == piece.shape.size()) {
      all.push_back(static_cast<std::uint16_t>(offset));
      return;
    }
    for (std::int64_t i = 0; i < piece.shape[axis]; ++i)
      append(piece, axis + 1, offset + i * piece.strides[axis], all);
  }

  void expect_every_range(const TensorView& view) {
    const ViewReader reader(view, *pool_);
    const std::vector<std::uint16_t> expected = gather(view);
    ASSERT_EQ(reader.elements(), expected.size());
    Scratch scratch;
    for (std::uint64_t begin = 0; begin <= expected.size(); ++begin) {
      for (std::uint64_t end = begin; end <= expected.size(); end += 1 + (end - begin) / 7) {
        std::vector<std::uint16_t> got(end - begin);
        ASSERT_TRUE(reader.read(begin, end, reinterpret_cast<std::byte*>(got.data()), scratch));
        ASSERT_TRUE(std::equal(got.begin(), got.end(),
                               expected.begin() + static_cast<std::ptrdiff_t>(begin)))
            << begin << " to " << end;
      }
    }
  }

  TempFolder temp_;
  io::File file_;
  std::optional<SourcePool> pool_;
};

TensorView view_of(std::vector<Piece> pieces) {
  TensorView view;
  view.dtype = DType::kU16;
  view.pieces = std::move(pieces);
  return view;
}

TEST_F(ViewReaderTest, ReadsContiguousRanges) {
  expect_every_range(view_of({{0, 5, {7, 9}, {9, 1}}}));
}

TEST_F(ViewReaderTest, ReadsColumnsOfAWiderMatrix) {
  expect_every_range(view_of({{0, 3, {6, 5}, {20, 1}}}));
}

TEST_F(ViewReaderTest, ReadsATranspose) { expect_every_range(view_of({{0, 0, {7, 11}, {1, 7}}})); }

TEST_F(ViewReaderTest, ReadsPartOfATranspose) {
  expect_every_range(view_of({{0, 40, {5, 9}, {1, 33}}}));
}

TEST_F(ViewReaderTest, ReadsTransposedHeads) {
  // kv_b_proj [3 heads, 4 + 2 rows, 5] to its first four rows transposed: [3, 5, 4].
  expect_every_range(view_of({{0, 0, {3, 5, 4}, {30, 1, 5}}}));
}

TEST_F(ViewReaderTest, ReadsEveryOtherElement) {
  expect_every_range(view_of({{0, 1, {4, 6}, {12, 2}}}));
}

TEST_F(ViewReaderTest, ReadsStackedPieces) {
  expect_every_range(
      view_of({{0, 100, {3, 4}, {4, 1}}, {0, 0, {3, 4}, {1, 3}}, {0, 50, {3, 4}, {8, 1}}}));
}

TEST_F(ViewReaderTest, ReadsScalarsAndNothing) {
  expect_every_range(view_of({{0, 17, {}, {}}}));
  expect_every_range(view_of({{0, 17, {0, 4}, {4, 1}}}));
  expect_every_range(view_of({}));
}

TEST_F(ViewReaderTest, PrefersWholeRowsOfATranspose) {
  EXPECT_EQ(ViewReader(view_of({{0, 0, {7, 11}, {1, 7}}}), *pool_).preferred_multiple(), 11u);
  EXPECT_EQ(ViewReader(view_of({{0, 0, {7, 11}, {11, 1}}}), *pool_).preferred_multiple(), 1u);
}

TEST_F(ViewReaderTest, PassesOnAFileThatEndsEarly) {
  const ViewReader reader(view_of({{0, 4000, {200}, {1}}}), *pool_);
  std::vector<std::byte> out(400);
  Scratch scratch;
  const Status status = reader.read(0, 200, out.data(), scratch);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kInvalidInput);
}

}  // namespace
}  // namespace mlxmill::streaming
