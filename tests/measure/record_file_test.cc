// Kept predictions: resumed, damaged, of another model.
#include "measure/record_file.h"

#include <gmock/gmock.h>

#include <fstream>
#include <set>

#include "measure/reference_cache.h"
#include "temp_folder.h"

namespace mlxmill::measure {
namespace {

using ::testing::HasSubstr;

// Logits that follow from token and position.
class Formula : public evaluate::LogitsSource {
 public:
  std::int64_t vocabulary() const override { return 50; }
  std::int64_t context() const override { return 0; }
  Status start(std::span<const std::int32_t> tokens) override {
    tokens_.assign(tokens.begin(), tokens.end());
    ++started;
    return {};
  }
  Status read(std::int64_t first, std::int64_t n, std::span<float> out) override {
    for (std::int64_t i = 0; i < n * vocabulary(); ++i) {
      const std::int64_t position = first + i / vocabulary();
      const std::int64_t x = tokens_[static_cast<std::size_t>(position)] * 31 + i * 17 + position;
      out[static_cast<std::size_t>(i)] = static_cast<float>(x % 97) / 16;
    }
    return {};
  }
  int started = 0;

 private:
  std::vector<std::int32_t> tokens_;
};

CacheIdentity identity() {
  CacheIdentity result{"model", "digest", "protocol", {ReferenceEncoding::kTop, 50, 8, 4}, {}};
  result.cut.texts = {"a", "b"};
  for (std::int32_t w = 0; w < 4; ++w) {
    evaluate::Window window{static_cast<std::uint32_t>(w / 2), {}, 0, 89};
    for (std::int32_t i = 0; i < 90; ++i) window.tokens.push_back((i * (w + 2)) % 50);
    result.cut.windows.push_back(window);
  }
  return result;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(ReferenceCache, GoesOnWhereItWasStopped) {
  const mlxmill::testing::TempFolder folder;
  Formula source;
  const auto never = [](std::size_t, std::size_t) { return true; };
  ASSERT_TRUE(make_reference_cache(folder.path() / "whole", identity(), source, 2, never));
  EXPECT_EQ(source.started, 4);

  const auto path = folder.path() / "resumed";
  const Status stopped = make_reference_cache(
      path, identity(), source, 1, [](std::size_t done, std::size_t) { return done < 2; });
  EXPECT_EQ(stopped.error().code(), Code::kCancelled);
  EXPECT_FALSE(std::filesystem::exists(path));
  source.started = 0;
  std::size_t resumed = 0;
  ASSERT_TRUE(make_reference_cache(path, identity(), source, 1, [&](std::size_t, std::size_t r) {
    resumed = r;
    return true;
  }));
  EXPECT_EQ(resumed, 2U);
  EXPECT_EQ(source.started, 2);
  EXPECT_EQ(bytes_of(path), bytes_of(folder.path() / "whole"));
}

TEST(ReferenceCache, ADamagedTailIsMadeAgain) {
  const mlxmill::testing::TempFolder folder;
  Formula source;
  const auto path = folder.path() / "cache";
  ASSERT_FALSE(make_reference_cache(path, identity(), source, 1,
                                    [](std::size_t done, std::size_t) { return done < 3; }));
  const auto partial = folder.path() / "cache.partial";
  std::string bytes = bytes_of(partial);
  bytes[bytes.size() - 100] ^= 1;
  write_bytes(partial, bytes + "cut off");
  std::size_t resumed = 9;
  ASSERT_TRUE(make_reference_cache(path, identity(), source, 1, [&](std::size_t, std::size_t r) {
    resumed = r;
    return true;
  }));
  EXPECT_EQ(resumed, 2U);
  EXPECT_TRUE(CachedReference::open(path));
}

TEST(ReferenceCache, EveryDamagedByteIsFound) {
  const mlxmill::testing::TempFolder folder;
  Formula source;
  CacheIdentity small = identity();
  small.cut.windows.resize(1);
  small.cut.windows[0].end = 3;
  small.cut.windows[0].tokens.resize(5);
  small.cut.texts = {"a"};
  const auto path = folder.path() / "cache";
  ASSERT_TRUE(
      make_reference_cache(path, small, source, 1, [](std::size_t, std::size_t) { return true; }));
  const std::string good = bytes_of(path);
  const auto is_good = [&] {
    auto cached = CachedReference::open(path);
    if (!cached) return false;
    std::vector<evaluate::ReferenceRow> rows(3);
    return cached->read(0, small.cut.windows[0], 0, rows).ok();
  };
  ASSERT_TRUE(is_good());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x40);
    write_bytes(path, bad);
    EXPECT_FALSE(is_good()) << "byte " << i;
  }
  for (std::size_t n = 0; n < good.size(); n += 7) {
    write_bytes(path, good.substr(0, n));
    EXPECT_FALSE(is_good()) << n << " bytes";
  }
}

TEST(ReferenceCache, SaysWhatIsWrong) {
  const mlxmill::testing::TempFolder folder;
  Formula source;
  const auto path = folder.path() / "cache";
  ASSERT_TRUE(make_reference_cache(path, identity(), source, 1,
                                   [](std::size_t, std::size_t) { return true; }));
  auto cached = CachedReference::open(path);
  ASSERT_TRUE(cached);
  evaluate::Window other = identity().cut.windows[0];
  other.tokens[5] = 1;
  std::vector<evaluate::ReferenceRow> rows(64);
  EXPECT_THAT(cached->read(0, other, 0, rows).error().message(),
              HasSubstr("the predictions are of other tokens; reference and candidate must have "
                        "the same tokenizer"));
  write_bytes(path, "some text that is long enough to be a header");
  EXPECT_THAT(CachedReference::open(path).error().message(),
              HasSubstr("this is no file of predictions or scores that mlxmill wrote"));
}

TEST(CacheKey, ChangesWithEverythingTheRowsFollowFrom) {
  const CacheIdentity base = identity();
  std::set<std::string> keys = {cache_key(base)};
  const auto add = [&](auto change) {
    CacheIdentity other = base;
    change(other);
    EXPECT_TRUE(keys.insert(cache_key(other)).second);
  };
  add([](CacheIdentity& i) { i.model_digest = "other"; });
  add([](CacheIdentity& i) { i.protocol = "other"; });
  add([](CacheIdentity& i) { i.encoding.top = 9; });
  add([](CacheIdentity& i) { i.encoding.kind = ReferenceEncoding::kFloat16; });
  add([](CacheIdentity& i) { i.cut.windows[0].tokens[3] += 1; });
  add([](CacheIdentity& i) { i.cut.windows[0].begin = 1; });
}

}  // namespace
}  // namespace mlxmill::measure
