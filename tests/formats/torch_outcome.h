// Reading PyTorch files that a test put together.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "formats/test_files.h"
#include "formats/torch_bytes.h"
#include "formats/torch_file.h"

namespace mlxmill::testing {

/// Reads a file of these bytes; errors lack its path, with which they must begin.
inline Result<formats::TorchHeader> read_torch(const std::string& bytes) {
  const TempFolder folder;
  MLXMILL_ASSIGN(const io::File file, io::File::open_read(put(folder, "f.pt", bytes)));
  auto header = formats::read_torch_header(file);
  if (header) return header;
  const std::string path = (folder / "f.pt").string();
  EXPECT_THAT(header.error().message(), ::testing::StartsWith(path + ": "));
  return Error(header.error().code(), header.error().message().substr(path.size() + 2));
}

/// The names that are read, or what is wrong.
inline std::string torch_outcome(const std::string& bytes) {
  const auto header = read_torch(bytes);
  if (!header) return header.error().message();
  std::string names;
  for (const formats::TorchTensor& tensor : header->tensors) {
    names += (names.empty() ? "" : " ") + tensor.name;
  }
  return names;
}

}  // namespace mlxmill::testing
