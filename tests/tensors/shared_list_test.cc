// Lists whose copies share until one of them is edited.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tensors/tensor_view.h"

namespace mlxmill::tensors {
namespace {

using List = SharedList<std::string>;

TEST(SharedList, SharesUntilItIsEdited) {
  const List first = {"one", "two"};
  List second = first;
  EXPECT_EQ(second.data(), first.data());
  second.edit()[0] = "changed";
  EXPECT_NE(second.data(), first.data());
  EXPECT_EQ(first[0], "one");
  EXPECT_EQ(second[0], "changed");
  EXPECT_EQ(second.back(), "two");
  const std::string* at = second.data();
  second.edit()[1] = "alone";
  EXPECT_EQ(second.data(), at);
}

TEST(SharedList, CanBeEmpty) {
  List list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.begin(), list.end());
  EXPECT_TRUE(list.edit().empty());
  EXPECT_TRUE(List(std::vector<std::string>()).empty());
}

TEST(SharedList, FreesWhatNobodyHolds) {
  const auto held = std::make_shared<int>(1);
  {
    SharedList<std::shared_ptr<int>> a = {held, held};
    SharedList<std::shared_ptr<int>> b = a;
    EXPECT_EQ(held.use_count(), 3);
    const auto& same = a;
    a = same;
    a = {held};
    EXPECT_EQ(held.use_count(), 4);
    const SharedList<std::shared_ptr<int>> c = std::move(b);
    b = std::move(a);
    EXPECT_EQ(b.size(), 1u);
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace mlxmill::tensors
