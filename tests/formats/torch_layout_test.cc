// The two layouts of PyTorch files, damaged.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <span>

#include "formats/torch_bytes.h"
#include "formats/torch_outcome.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;
using ::mlxmill::testing::le;
using ::mlxmill::testing::put;
using ::mlxmill::testing::py_dict;
using ::mlxmill::testing::py_global;
using ::mlxmill::testing::py_int;
using ::mlxmill::testing::py_pickle;
using ::mlxmill::testing::py_storage;
using ::mlxmill::testing::py_str;
using ::mlxmill::testing::py_tensor;
using ::mlxmill::testing::py_tuple;
using ::mlxmill::testing::read_file;
using ::mlxmill::testing::read_torch;
using ::mlxmill::testing::TempFolder;
using ::mlxmill::testing::torch_legacy;
using ::mlxmill::testing::torch_legacy_front;
using ::mlxmill::testing::torch_outcome;
using ::mlxmill::testing::zip_bytes;
using ::mlxmill::testing::ZipPart;
using ::testing::HasSubstr;

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

const std::string kStorageOfSix = py_storage("0", 6);

const std::string kTensorOfSix = py_tensor(kStorageOfSix, 0, {2, 3}, {3, 1});

TEST(TorchLayout, RefusesOtherArchives) {
  const std::string pickle = py_pickle(py_dict({py_str("t"), kTensorOfSix}));
  const ZipPart data = {.name = "m/data.pkl", .data = pickle};
  const ZipPart storage = {.name = "m/data/0", .data = std::string(24, 's')};
  EXPECT_EQ(torch_outcome(zip_bytes({data, storage})), "t");
  EXPECT_EQ(torch_outcome(zip_bytes({data, storage, {.name = "m/byteorder", .data = "little"}})),
            "t");
  EXPECT_EQ(torch_outcome(zip_bytes({data, storage, {.name = "m/byteorder", .data = "big"}})),
            "holds big-endian numbers");
  EXPECT_EQ(torch_outcome(zip_bytes({data, storage, {.name = "m/byteorder", .data = "odd"}})),
            "byteorder is 'odd'; expected 'little'");
  EXPECT_EQ(torch_outcome(zip_bytes({data, storage, {.name = "n/data.pkl", .data = pickle}})),
            "holds two models, 'm' and 'n'");
  EXPECT_EQ(torch_outcome(zip_bytes({data, storage, {.name = "m/constants.pkl", .data = ")."}})),
            "is a TorchScript program; save the module's state_dict() instead");
  EXPECT_EQ(torch_outcome(zip_bytes({storage})),
            "is a zip archive without a data.pkl: torch.save did not write it");
  ZipPart packed = storage;
  packed.method = 8;
  EXPECT_EQ(torch_outcome(zip_bytes({data, packed})),
            "tensor 't': entry 'm/data/0': is compressed (zip method 8); torch.save does not "
            "compress: unpack the archive and pack it again with `zip -0`");
  packed = data;
  packed.method = 8;
  EXPECT_EQ(torch_outcome(zip_bytes({packed, storage})),
            "entry 'm/data.pkl': is compressed (zip method 8); torch.save does not compress: "
            "unpack the archive and pack it again with `zip -0`");
}

TEST(TorchLayout, RefusesOtherFiles) {
  EXPECT_EQ(torch_outcome(""), "is no PyTorch file; incomplete download?");
  EXPECT_EQ(torch_outcome("version https://git-lfs"),
            "is no PyTorch file; a Git LFS pointer; `git lfs pull` brings the file itself");
  EXPECT_EQ(torch_outcome("<html>"), "is no PyTorch file; a web page was saved in its place");
  EXPECT_EQ(torch_outcome("GGUF"), "is no PyTorch file; this is a GGUF file");
  EXPECT_EQ(torch_outcome(le(2, 8) + "{}"), "is no PyTorch file; this is a safetensors file");
  EXPECT_EQ(torch_outcome(std::string(257, 'x') + "ustar"),
            "is a tar archive, the format of torch 0.1; load it with torch and save it again");
  EXPECT_EQ(torch_outcome(py_pickle("N")), "is a pickle, but none that torch.save wrote");
  EXPECT_EQ(torch_outcome(py_pickle(py_global("posix", "system") + py_tuple({py_str("id")}) + "R")),
            "the first pickle at 0: byte 2: the pickle asks for 'posix system', which is no "
            "tensor; nothing was executed");
}

TEST(TorchLayout, RefusesOtherLegacyFiles) {
  const std::string pickle = py_pickle(py_dict({py_str("t"), kTensorOfSix}));
  const std::string data = le(6, 8) + std::string(24, 's');
  const std::string good = torch_legacy(pickle, {"0"}, data);
  EXPECT_EQ(torch_outcome(good), "t");
  EXPECT_EQ(torch_outcome(torch_legacy(pickle, {}, "")),
            "tensor 't': storage '0' is not in the list");
  EXPECT_EQ(torch_outcome(torch_legacy(pickle, {"0", "1"}, data + data)),
            "storage '1': is in the list, but no tensor's");
  EXPECT_EQ(torch_outcome(torch_legacy(pickle, {"0", "0"}, data + data)),
            "storage '0': is in the list twice");
  EXPECT_EQ(torch_outcome(torch_legacy(pickle, {"0"}, le(5, 8) + std::string(20, 's'))),
            "storage '0': has 5 elements; the pickle says 6");
  EXPECT_THAT(torch_outcome(good + "x"), HasSubstr(" belong to no storage"));
  EXPECT_THAT(
      torch_outcome(torch_legacy(
          py_pickle(py_dict({py_str("t"), py_tensor(py_storage("0", kLargest), 0, {1}, {1})})),
          {"0"}, le(kLargest, 8))),
      HasSubstr("storage '0': 9223372036854775807 elements at "));
  const std::string magic = torch_legacy_front().substr(0, 15);
  EXPECT_EQ(torch_outcome(magic + py_pickle("M" + le(1002, 2))),
            "has another format version than 1001");
  const std::string version = magic + py_pickle("M" + le(1001, 2));
  EXPECT_EQ(torch_outcome(version + py_pickle(py_dict({py_str("little_endian"), "\x89"}))),
            "holds big-endian numbers");
  EXPECT_EQ(torch_outcome(version + py_pickle("}")),
            "the system's description has no little_endian");
  EXPECT_EQ(torch_outcome(version + py_pickle("N")),
            "the system's description is None; expected a dict");
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THAT(torch_outcome(good.substr(0, size)), HasSubstr("; incomplete download?")) << size;
  }
}

// A storage inside another one, as torch once wrote it: (key, first element, size).
TEST(TorchLayout, ReadsLegacyWindows) {
  const auto file = [](std::int64_t begin, std::int64_t size) {
    const std::string storage =
        py_tuple({py_str("storage"), py_global("torch.cuda", "FloatStorage"), py_str("0"),
                  py_str("cuda:0"), py_int(6),
                  py_tuple({py_str("v"), py_int(begin), py_int(size)})}) +
        "Q";
    return torch_legacy(
        py_pickle(
            py_dict({py_str("v"), py_tensor(storage, 1, {2}, {1}), py_str("w"),
                     py_tensor(py_tuple({py_str("storage"), py_global("torch", "FloatStorage"),
                                         py_str("0"), py_str("cpu"), py_int(6), "N"}) +
                                   "Q",
                               1, {2}, {1})})),
        {"0"}, le(6, 8) + std::string(24, 's'));
  };
  const auto header = read_torch(file(2, 3));
  ASSERT_TRUE(header) << header.error().message();
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors[0].storage_begin, header->tensors[1].storage_begin + 8);
  EXPECT_EQ(header->tensors[0].storage_bytes, 12u);
  EXPECT_EQ(header->tensors[1].storage_bytes, 24u);
  EXPECT_EQ(header->tensors[1].storage_begin, header->file_bytes - 24);
  EXPECT_THAT(torch_outcome(file(5, 2)),
              HasSubstr("a window of 2 elements at 5 leaves storage '0', which has 6"));
  EXPECT_THAT(torch_outcome(file(kLargest, kLargest)),
              HasSubstr(" leaves storage '0', which has 6"));
}

// A pickle that is longer than what is read at first.
TEST(TorchLayout, ReadsLongLegacyPickles) {
  std::vector<std::string> items;
  for (int i = 0; i < 3000; ++i) {
    items.push_back(py_str("t" + std::to_string(i)));
    items.push_back(kTensorOfSix);
  }
  const auto header =
      read_torch(torch_legacy(py_pickle(py_dict(items)), {"0"}, le(6, 8) + std::string(24, 's')));
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->tensors.size(), 3000u);
  EXPECT_EQ(header->tensors.back().storage_begin, header->file_bytes - 24);
}

// Of files that torch wrote: every prefix is refused, and no changed byte makes a window that
// leaves the file.
TEST(TorchLayout, SurvivesDamage) {
  const fs::path fixtures = MLXMILL_SOURCE_DIR "/tests/formats/torch";
  const TempFolder folder;
  for (const std::string name : {"views.pt", "protocol4_legacy.pt"}) {
    const std::string good = read_file(fixtures / name);
    const fs::path path = put(folder, name, good);
    auto file = io::File::open_write(path);
    ASSERT_TRUE(file);
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        const char byte = static_cast<char>(good[at] ^ flip);
        ASSERT_TRUE(file->write_at(at, std::as_bytes(std::span(&byte, 1))));
        const auto header = read_torch_header(*file);
        if (!header) continue;
        for (const TorchTensor& tensor : header->tensors) {
          EXPECT_LE(tensor.storage_begin + tensor.storage_bytes, good.size()) << name << at;
        }
      }
      ASSERT_TRUE(file->write_at(at, std::as_bytes(std::span(&good[at], 1))));
    }
    for (std::size_t size = good.size(); size-- > 0;) {
      ASSERT_TRUE(file->resize(size));
      EXPECT_FALSE(read_torch_header(*file)) << name << size;
    }
  }
}

}  // namespace
}  // namespace mlxmill::formats
