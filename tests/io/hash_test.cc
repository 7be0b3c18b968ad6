#include "io/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace mlxmill::io {
namespace {

// What `xxhsum -H2` prints.
TEST(Digest, MatchesPublishedValues) {
  EXPECT_EQ(to_hex(digest(std::string_view())), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(to_hex(digest("abc")), "06b05ab6733a618578af5f94892f3950");
}

TEST(Hasher, EqualsOneCallForAnySplit) {
  std::string text(5000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * i >> 2);
  for (const std::size_t step : {1u, 7u, 64u, 239u, 240u, 241u, 1024u, 4999u, 5000u}) {
    Hasher hasher;
    for (std::size_t i = 0; i < text.size(); i += step) {
      hasher.update(std::string_view(text).substr(i, step));
    }
    hasher.update(std::string_view());
    EXPECT_EQ(hasher.finish(), digest(text)) << step;
    EXPECT_EQ(hasher.finish(), digest(text)) << "finish must not change the state";
  }
}

TEST(Hasher, FeedsDigestsAsTheirBytes) {
  const Digest part = digest("part");
  Hasher a;
  a.update(part);
  Hasher b;
  b.update(std::as_bytes(std::span(part.bytes)));
  EXPECT_EQ(a.finish(), b.finish());
}

TEST(DigestHex, RoundTripsAndRefusesOtherText) {
  const Digest value = digest("x");
  EXPECT_EQ(digest_from_hex(to_hex(value)), value);
  EXPECT_EQ(digest_from_hex("99AA06D3014798D86001C324468D497F"), digest(std::string_view()));
  EXPECT_FALSE(digest_from_hex(""));
  EXPECT_FALSE(digest_from_hex(to_hex(value).substr(1)));
  EXPECT_FALSE(digest_from_hex(to_hex(value) + "0"));
  EXPECT_FALSE(digest_from_hex("99aa06d3014798d86001c324468d497g"));
}

}  // namespace
}  // namespace mlxmill::io
