#include "io/checksum.h"

#include <gtest/gtest.h>

#include <string_view>

namespace mlxmill::io {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// FIPS 180-4's example and the empty message.
TEST(Checksum, Sha256) {
  Checksum abc = Checksum::sha256();
  abc.update(bytes("a"));
  abc.update(bytes("bc"));
  EXPECT_EQ(abc.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Checksum::sha256().finish(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// As `printf 'hello\n' | git hash-object --stdin` says.
TEST(Checksum, GitBlob) {
  Checksum hello = Checksum::git_blob(6);
  hello.update(bytes("hello\n"));
  EXPECT_EQ(hello.finish(), "ce013625030ba8dba906f756967f9e9ca394464a");
  EXPECT_EQ(Checksum::git_blob(0).finish(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

}  // namespace
}  // namespace mlxmill::io
