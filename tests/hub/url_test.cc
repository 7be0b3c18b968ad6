#include "hub/url.h"

#include <gtest/gtest.h>

namespace mlxmill::hub {
namespace {

TEST(Url, OriginIsSchemeHostAndPort) {
  EXPECT_EQ(origin_of("https://HuggingFace.co/a"), "https://huggingface.co:443");
  EXPECT_EQ(origin_of("http://h:80"), "http://h:80");
  EXPECT_EQ(origin_of("http://h"), "http://h:80");
  EXPECT_EQ(origin_of("http://[::1]:5/x"), "http://[::1]:5");
  EXPECT_EQ(origin_of("http://[::1]"), "http://[::1]:80");
  // What stands before an @ is no host.
  EXPECT_EQ(origin_of("https://huggingface.co@evil.com/"), "https://evil.com:443");
  EXPECT_EQ(origin_of("https://huggingface.co\\@evil.com/"), "https://huggingface.co:443");
  for (const char* text : {"file:///x", "h", "", "https://", "//h/x"})
    EXPECT_EQ(origin_of(text), "");
}

TEST(Url, JoinsLocations) {
  EXPECT_EQ(joined("http://h/a/b?q", "https://c/d"), "https://c/d");
  EXPECT_EQ(joined("http://h/a/b?q", "/c?d"), "http://h/c?d");
  EXPECT_EQ(joined("http://h/a/b?q=/x/", "c"), "http://h/a/c");
  EXPECT_EQ(joined("http://h", "c"), "http://h/c");
  EXPECT_EQ(joined("https://h/a", "//c/d"), "https://c/d");
  EXPECT_EQ(joined("http://h/a", "file:///etc/passwd"), "");
  EXPECT_EQ(joined("http://h/a", "ftp://c/d"), "");
}

TEST(Url, EncodesParts) {
  EXPECT_EQ(percent_encoded("refs/pr/1"), "refs%2Fpr%2F1");
  EXPECT_EQ(percent_encoded("a b/ü", true), "a%20b/%C3%BC");
  EXPECT_EQ(without_query("http://h/a?Signature=secret"), "http://h/a");
}

}  // namespace
}  // namespace mlxmill::hub
