#include "base/value.h"

#include <gmock/gmock.h>

namespace mlxmill::base {
namespace {

TEST(Value, KeepsMembersInOrderAndReplacesInPlace) {
  Value value;
  value.set("b", Value(1));
  value.set("a", Value(2));
  value.set("b", Value("x"));
  const Object& object = *value.as_object();
  ASSERT_EQ(object.size(), 2u);
  EXPECT_EQ(object[0].key, "b");
  EXPECT_EQ(*object[0].value.as_string(), "x");
  EXPECT_EQ(*value.find("a")->as_int(), 2);
}

TEST(Value, EraseTellsWhetherItWasThere) {
  Value value(Object{{"a", Value(true)}});
  EXPECT_TRUE(value.erase("a"));
  EXPECT_FALSE(value.erase("a"));
  EXPECT_EQ(value.find("a"), nullptr);
}

TEST(Value, FindOnOtherTypesIsNull) {
  EXPECT_EQ(Value(3).find("a"), nullptr);
  EXPECT_EQ(Value().find("a"), nullptr);
}

TEST(Value, NamesItsType) {
  EXPECT_EQ(Value().type_name(), "null");
  EXPECT_EQ(Value(1.5).type_name(), "a number");
  EXPECT_EQ(Value(BigInteger{"123456789012345678901234567890"}).type_name(), "an integer");
  EXPECT_EQ(Value(Array{}).type_name(), "an array");
}

}  // namespace
}  // namespace mlxmill::base
