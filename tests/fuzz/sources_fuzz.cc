// Any settings beside any tensors as a quantized checkpoint: errors are fine; what is accepted must
// be readable in any ranges, and hold what its shapes say.
//
// Input: the text of quantization_config and a 0; tensors, each a name, a 0, a byte for the type,
// one for the number of axes and one for each extent; an empty name; the bytes that are read.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/checked_math.h"
#include "formats/json.h"
#include "sources/decode.h"
#include "streaming/view_reader.h"
#include "tensors/operation.h"
#include "tensors/view.h"

namespace {

using namespace mlxmill;
using tensors::TensorView;

constexpr std::uint64_t kFileBytes = 64 << 10;
constexpr std::uint64_t kMostElements = 1 << 15;

void require(bool condition) {
  if (!condition) std::abort();
}

class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t value = bytes_[0];
    bytes_ = bytes_.subspan(1);
    return value;
  }
  std::string text() {
    const auto end = std::find(bytes_.begin(), bytes_.end(), std::uint8_t{0});
    std::string result(bytes_.begin(), end);
    bytes_ = bytes_.subspan(std::min(bytes_.size(), result.size() + 1));
    return result;
  }
  /// Small numbers as they are, then what is common in files, then powers of two.
  std::int64_t extent() {
    const std::uint8_t code = byte();
    if (code < 160) return code;
    if (code < 192) return std::int64_t{code - 159} * 128;
    return std::int64_t{1} << (code - 192 < 63 ? code - 192 : 62);
  }
  std::span<const std::uint8_t> rest() const { return bytes_; }

 private:
  std::span<const std::uint8_t> bytes_;
};

/// One file for all runs, gone with the process.
io::File& scratch() {
  static io::File file = [] {
    const auto path = std::filesystem::temp_directory_path() /
                      ("mlxmill-sources-fuzz-" + std::to_string(::getpid()));
    auto opened = io::File::open_write(path);
    require(opened.has_value());
    std::filesystem::remove(path);
    require(opened->resize(kFileBytes).ok());
    return *std::move(opened);
  }();
  return file;
}

std::vector<TensorView> take_tensors(Input& input) {
  std::vector<TensorView> views;
  std::set<std::string> names;
  while (views.size() < 64) {
    tensors::SourceTensor tensor;
    tensor.name = input.text();
    if (tensor.name.empty()) break;
    tensor.dtype = static_cast<DType>(input.byte() % 16);
    for (int n = input.byte() % 10; n > 0; --n) tensor.shape.push_back(input.extent());
    auto view = tensors::view_of(tensor, views.size());
    // Readers of files let no name pass twice.
    if (view && names.insert(tensor.name).second) views.push_back(*std::move(view));
  }
  return views;
}

/// The whole of a view, and every part of it that begins or ends at an odd place, agree.
void check_reading(const TensorView& view, streaming::SourcePool& pool) {
  const auto n = base::element_count(view.shape);
  require(n.has_value());
  if (*n > kMostElements || tensors::depth(view) > 16) return;
  const streaming::ViewReader reader(view, pool);
  require(reader.elements() == *n);
  const std::uint64_t width = dtype_bytes(view.dtype);
  std::vector<std::byte> whole(*n * width);
  streaming::Scratch buffers;
  if (!reader.read(0, *n, whole.data(), buffers)) return;
  for (const std::uint64_t step : {*n / 3 + 1, *n / 7 + 5}) {
    for (std::uint64_t begin = 0; begin < *n; begin += step) {
      const std::uint64_t end = std::min(*n, begin + step);
      std::vector<std::byte> part((end - begin) * width);
      require(reader.read(begin, end, part.data(), buffers).ok());
      require(std::memcmp(part.data(), whole.data() + begin * width, part.size()) == 0);
    }
  }
}

void check_packed(const TensorView& view, streaming::SourcePool& pool) {
  const tensors::Packed& packed = *view.packed;
  const std::int64_t columns = view.shape.back();
  require(make_scheme(packed.scheme().mode, packed.scheme().bits, packed.scheme().group_size)
              .has_value());
  base::Shape expected = view.shape;
  expected.back() = columns / packed.scheme().group_size;
  require(columns % packed.scheme().group_size == 0 && packed.scales().shape == expected);
  require((packed.biases() != nullptr) == (packed.scheme().mode == Mode::kAffine));
  if (packed.biases()) {
    require(packed.biases()->shape == expected && packed.biases()->dtype == packed.scales().dtype);
    check_reading(*packed.biases(), pool);
  }
  if (packed.factor()) {
    require(packed.scheme().mode == Mode::kNvfp4 && packed.factor()->dtype == DType::kF32);
    expected.back() = 1;
    require(packed.factor()->shape == expected);
    check_reading(*packed.factor(), pool);
  }
  expected.back() = columns * packed.scheme().bits / 32;
  require(packed.codes().shape == expected && packed.codes().dtype == DType::kU32);
  check_reading(packed.codes(), pool);
  check_reading(packed.scales(), pool);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(std::span(data, size));
  auto settings = formats::parse_json(input.text());
  if (!settings) return 0;
  const bool repack = input.byte() % 2 != 0;
  const std::vector<TensorView> views = take_tensors(input);
  const auto rest = input.rest().first(std::min<std::size_t>(input.rest().size(), kFileBytes));
  require(scratch().write_at(0, std::as_bytes(rest)).ok());

  std::vector<streaming::StoredTensor> stored;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const std::uint64_t n = base::element_count(views[i].shape).value_or(0);
    stored.push_back({&scratch(), i * 64 % 4096, n * dtype_bytes(views[i].dtype)});
  }
  // A tensor whose length is odd is read short, which no file does.
  const sources::ReadSmall read = [&](std::size_t i) -> Result<std::vector<std::byte>> {
    std::vector<std::byte> bytes(stored[i].bytes);
    MLXMILL_TRY(scratch().read_at(stored[i].begin, bytes));
    if (bytes.size() % 8 == 4) bytes.pop_back();
    return bytes;
  };
  const base::Value config(base::Object{{"quantization_config", *std::move(settings)}});
  const auto result = sources::decode(config, base::Value(), views, read, repack);
  if (!result) {
    require(!result.error().message().empty());
    return 0;
  }
  std::set<std::string> names;
  streaming::SourcePool pool(stored);
  for (const TensorView& view : result->tensors) {
    require(names.insert(view.name).second);
    require(!tensors::describe(view).empty());
    check_reading(view, pool);
    if (view.packed) check_packed(view, pool);
  }
  return 0;
}
