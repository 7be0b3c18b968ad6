// Views of arrays at hand against what libmlx's graph makes of the same.
#include "runtime/views.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/primitives/decoder.h"

namespace mlxmill::runtime {
namespace {

mx::array counted(mx::Shape shape) {
  int n = 1;
  for (const int extent : shape) n *= extent;
  return settled(mx::reshape(mx::astype(mx::arange(n), mx::float32), std::move(shape)));
}

std::vector<float> elements_of(const mx::array& x) {
  mx::array dense = mx::contiguous(x);
  mx::eval(dense);
  return {dense.data<float>(), dense.data<float>() + dense.size()};
}

void expect_same(const mx::array& got, const mx::array& want) {
  EXPECT_EQ(got.shape(), want.shape());
  EXPECT_EQ(elements_of(got), elements_of(want));
}

class Views : public ::testing::Test {
 protected:
  void SetUp() override {
    if (mx::default_device() != mx::Device(mx::Device::cpu)) GTEST_SKIP() << "needs the CPU device";
  }
};

TEST_F(Views, AreAtHandAndEqualTheGraph) {
  const mx::array x = counted({2, 6, 4});
  for (const mx::array& view : {reshaped(x, {4, -1}), swapped(x, 0, 1), section(x, 1, 2, 5)}) {
    EXPECT_TRUE(at_hand(view));
  }
  expect_same(reshaped(x, {4, -1}), mx::reshape(x, {4, 12}));
  expect_same(swapped(x, 0, 1), mx::swapaxes(x, 0, 1));
  expect_same(section(x, 1, 2, 5), mx::slice(x, {0, 2, 0}, {2, 5, 4}));
  expect_same(section(swapped(x, 0, 2), -1, 1, 2),
              mx::slice(mx::swapaxes(x, 0, 2), {0, 0, 1}, {4, 6, 2}));
  // What is not in one piece is copied by the graph.
  const mx::array turned = swapped(x, 1, 2);
  EXPECT_FALSE(turned.flags().row_contiguous);
  expect_same(reshaped(turned, {8, 6}), mx::reshape(mx::swapaxes(x, 1, 2), {8, 6}));
}

TEST_F(Views, OfWhatIsNotComputedStaySteps) {
  const mx::array x = mx::add(counted({2, 3}), mx::array(1.0F));
  EXPECT_FALSE(at_hand(x));
  EXPECT_FALSE(at_hand(reshaped(x, {6})));
  expect_same(swapped(x, 0, 1), mx::swapaxes(x, 0, 1));
  EXPECT_TRUE(at_hand(settled(x)));
}

TEST_F(Views, WorkOnWhatIsNotAtHandEqualsWorkAtOnce) {
  const mx::array x = counted({3, 32});
  const mx::array later = mx::multiply(x, mx::array(1.0F));
  const mx::array now = rms_norm_on_cpu(x, std::nullopt, 1e-5F);
  const mx::array then = rms_norm_on_cpu(later, std::nullopt, 1e-5F);
  EXPECT_TRUE(at_hand(now));
  EXPECT_FALSE(at_hand(then));
  expect_same(now, then);
  // A view that is not dense is read in the right order.
  const mx::array turned = swapped(counted({32, 3}), 0, 1);
  expect_same(add_on_cpu(turned, turned), mx::add(turned, turned));
}

TEST_F(Views, ReplaceInPlaceOnlyWhatNobodyElseHolds) {
  const mx::array part = swapped(mx::negative(counted({2, 2, 3})), 0, 1);
  const mx::array ready = settled(part);
  const mx::array want =
      mx::slice_update(counted({2, 5, 3}), part, mx::Shape{0, 1, 0}, mx::Shape{2, 3, 3});
  mx::array own = counted({2, 5, 3});
  const float* before = own.data<float>();
  own = replaced(std::move(own), ready, 1, 1);
  EXPECT_EQ(own.data<float>(), before);
  expect_same(own, want);

  mx::array shared = counted({2, 5, 3});
  const mx::array other = section(shared, 1, 0, 4);
  const std::vector<float> kept = elements_of(other);
  shared = replaced(std::move(shared), ready, 1, 1);
  expect_same(shared, want);
  EXPECT_EQ(elements_of(other), kept);
}

TEST_F(Views, CopyRowMajorTakesAnyLayout) {
  const mx::array x = counted({2, 3, 4});
  for (const mx::array& view : {x, swapped(x, 0, 2), section(swapped(x, 1, 2), 1, 1, 3)}) {
    std::vector<float> copy(view.size());
    copy_row_major(view, copy.data());
    EXPECT_EQ(copy, elements_of(view));
  }
}

}  // namespace
}  // namespace mlxmill::runtime
