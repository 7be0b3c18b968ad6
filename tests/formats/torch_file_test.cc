// Against files that torch wrote: tests/formats/torch/make_fixtures.py.
#include "formats/torch_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "formats/json.h"
#include "formats/test_files.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;
using ::mlxmill::testing::read_file;
using ::mlxmill::testing::replaced;

const fs::path kFixtures = MLXMILL_SOURCE_DIR "/tests/formats/torch";

Result<TorchHeader> open_torch(const fs::path& path) {
  MLXMILL_ASSIGN(const io::File file, io::File::open_read(path));
  return read_torch_header(file);
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

// Row-major bytes of a tensor, element by element through its window.
std::string tensor_bytes(const std::string& file, const TorchTensor& tensor) {
  const std::size_t width = dtype_bytes(tensor.dtype);
  std::int64_t count = 1;
  for (const std::int64_t extent : tensor.shape) count *= extent;
  std::string bytes;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i;
    std::uint64_t at = tensor.offset;
    for (std::size_t axis = tensor.shape.size(); axis-- > 0;) {
      at += static_cast<std::uint64_t>(rest % tensor.shape[axis] * tensor.strides[axis]);
      rest /= tensor.shape[axis];
    }
    EXPECT_LE((at + 1) * width, tensor.storage_bytes);
    bytes += file.substr(tensor.storage_begin + at * width, width);
  }
  return bytes;
}

std::vector<std::int64_t> numbers(const base::Value& value) {
  std::vector<std::int64_t> list;
  for (const base::Value& item : *value.as_array()) list.push_back(*item.as_int());
  return list;
}

const base::Value& expected_files() {
  static const base::Value document = *parse_json(read_file(kFixtures / "expected.json"));
  return *document.find("files");
}

void compare(const std::string& name, const base::Array& expected) {
  SCOPED_TRACE(name);
  const auto header = open_torch(kFixtures / name);
  ASSERT_TRUE(header) << header.error().message();
  const std::string file = read_file(kFixtures / name);
  EXPECT_EQ(header->file_bytes, file.size());
  ASSERT_EQ(header->tensors.size(), expected.size());
  std::map<std::int64_t, std::set<std::uint64_t>> places;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const TorchTensor& tensor = header->tensors[i];
    const base::Value& wanted = expected[i];
    SCOPED_TRACE(tensor.name);
    EXPECT_EQ(tensor.name, *wanted.find("name")->as_string());
    EXPECT_EQ(dtype_name(tensor.dtype), *wanted.find("dtype")->as_string());
    EXPECT_EQ(tensor.shape, numbers(*wanted.find("shape")));
    EXPECT_EQ(tensor.strides, numbers(*wanted.find("strides")));
    EXPECT_EQ(tensor.offset, static_cast<std::uint64_t>(*wanted.find("offset")->as_int()));
    EXPECT_EQ(tensor.storage_bytes,
              static_cast<std::uint64_t>(*wanted.find("storage_bytes")->as_int()));
    EXPECT_EQ(hex(tensor_bytes(file, tensor)), *wanted.find("bytes")->as_string());
    if (tensor.storage_bytes > 0) {
      places[*wanted.find("storage")->as_int()].insert(tensor.storage_begin);
    }
  }
  // Tensors that shared a storage still do, and no others.
  std::set<std::uint64_t> begins;
  for (const auto& [storage, at] : places) {
    EXPECT_EQ(at.size(), 1u) << "storage " << storage;
    EXPECT_TRUE(begins.insert(*at.begin()).second) << "storage " << storage;
  }
}

TEST(TorchFile, ReadsWhatTorchWrote) {
  std::size_t n_tensors = 0;
  for (const base::Member& entry : *expected_files().as_object()) {
    compare(entry.key, *entry.value.as_array());
    n_tensors += entry.value.as_array()->size();
  }
  EXPECT_GT(n_tensors, 100u);
}

TEST(TorchFile, RefusesByNameWhatIsNoTensor) {
  const std::map<std::string, std::string> messages = {
      {"module.pt",
       "F: 'module/data.pkl': byte 2: the pickle asks for 'torch.nn.modules.linear Linear', which "
       "is no tensor; nothing was executed; the file holds a whole module, save its state_dict() "
       "instead"},
      {"module_legacy.pt",
       "F: the pickle at 137: byte 16: the pickle asks for 'torch.nn.modules.linear Linear', which "
       "is no tensor; nothing was executed; the file holds a whole module, save its state_dict() "
       "instead"},
      {"numpy_scalar.pt",
       "F: 'numpy_scalar/data.pkl': byte 17: the pickle asks for 'numpy._core.multiarray scalar', "
       "which is no tensor; nothing was executed"},
      {"namespace.pt",
       "F: 'namespace/data.pkl': byte 17: the pickle asks for 'argparse Namespace', which is no "
       "tensor; nothing was executed"},
      {"complex.pt",
       "F: 'complex/data.pkl': byte 64: storages of type 'torch ComplexFloatStorage' are not read; "
       "dense tensors of the usual types are"},
      {"sparse.pt",
       "F: 'sparse/data.pkl': byte 13: tensors made by 'torch._utils _rebuild_sparse_tensor' are "
       "not read; dense tensors of the usual types are"},
      {"meta.pt",
       "F: 'meta/data.pkl': byte 13: tensors made by 'torch._utils "
       "_rebuild_meta_tensor_no_storage' are not read; dense tensors of the usual types are"},
      {"quantized.pt",
       "F: 'quantized/data.pkl': byte 13: tensors made by 'torch._utils _rebuild_qtensor' are not "
       "read; dense tensors of the usual types are"},
      {"negated.pt",
       "F: 'negated/data.pkl': byte 176: a tensor with the metadata 'neg' is not read; save "
       "tensor.clone() instead"},
      {"float8_fnuz.pt",
       "F: 'float8_fnuz/data.pkl': byte 164: tensors of type 'torch float8_e4m3fnuz' are not read; "
       "dense tensors of the usual types are"},
      {"expanded.pt",
       "F: tensor 'w': [1000, 1000] repeats the 1 elements of its storage; save "
       "tensor.contiguous() instead"},
      {"tensor.pt",
       "F: 'tensor/data.pkl': holds a tensor without a name; expected a dict of tensors"},
      {"list.pt", "F: 'list/data.pkl': holds a list; expected a dict of tensors"},
      {"torchscript.pt", "F: is a TorchScript program; save the module's state_dict() instead"},
  };
  std::size_t n_files = 0;
  for (const auto& entry : fs::directory_iterator(kFixtures)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".pt" || expected_files().find(name)) continue;
    ++n_files;
    ASSERT_TRUE(messages.contains(name)) << name;
    const auto header = open_torch(entry.path());
    ASSERT_FALSE(header) << name;
    EXPECT_EQ(header.error().code(), Code::kUnsupported) << name;
    EXPECT_EQ(replaced(header.error().message(), kFixtures / name, "F"), messages.at(name)) << name;
  }
  EXPECT_EQ(n_files, messages.size());
}

}  // namespace
}  // namespace mlxmill::formats
