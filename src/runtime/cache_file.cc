// Caches as safetensors files.
#include <fmt/format.h>

#include <charconv>

#include "formats/safetensors.h"
#include "io/file.h"
#include "runtime/mlx_guard.h"
#include "runtime/model_parts.h"

namespace mlxmill {
namespace {

namespace mx = mlx::core;

constexpr const char* kFormat = "mlxmill cache 1";
constexpr const char* kIds = "ids";

std::string name_of(std::size_t state, std::size_t part) {
  return fmt::format("{}.{}", state, part);
}

std::optional<DType> stored_dtype(mx::Dtype dtype) {
  for (const DType known : {DType::kBool, DType::kU8, DType::kF16, DType::kBF16, DType::kF32,
                            DType::kU32, DType::kI32}) {
    if (runtime::mlx_dtype(known) == dtype) return known;
  }
  return std::nullopt;
}

std::map<std::string, mx::array> arrays_of(const ModelCache::Parts& cache,
                                           std::span<const std::int32_t> ids) {
  std::map<std::string, mx::array> arrays;
  for (std::size_t i = 0; i < cache.states.size(); ++i) {
    if (!cache.states[i]) continue;
    const std::vector<mx::array> parts = cache.states[i]->arrays();
    for (std::size_t k = 0; k < parts.size(); ++k) {
      arrays.emplace(name_of(i, k), mx::contiguous(parts[k]));
    }
  }
  if (!ids.empty()) {
    arrays.emplace(kIds, mx::array(ids.data(), {static_cast<int>(ids.size())}, mx::int32));
  }
  return arrays;
}

Status write(const std::filesystem::path& path, const std::map<std::string, mx::array>& arrays,
             const std::map<std::string, std::string>& metadata) {
  std::vector<formats::TensorToWrite> tensors;
  for (const auto& [name, array] : arrays) {
    const auto dtype = stored_dtype(array.dtype());
    if (!dtype) return Error(Code::kInternal, "a cache holds a type that no file does");
    tensors.push_back({name, *dtype, {array.shape().begin(), array.shape().end()}});
  }
  MLXMILL_ASSIGN(const formats::SafetensorsLayout layout,
                 formats::lay_out_safetensors(std::move(tensors), metadata));
  std::filesystem::path part = path;
  part += ".part";
  MLXMILL_ASSIGN(io::File file, io::File::open_write(part));
  MLXMILL_TRY(file.resize(layout.file_bytes));
  MLXMILL_TRY(file.write_at(0, std::as_bytes(std::span(layout.prefix))));
  for (const formats::StoredTensor& tensor : layout.tensors) {
    mx::array array = arrays.at(tensor.name);
    mx::eval(array);
    MLXMILL_TRY(file.write_at(tensor.begin,
                              {array.data<std::byte>(), static_cast<std::size_t>(array.nbytes())}));
  }
  MLXMILL_TRY(file.sync());
  std::error_code error;
  std::filesystem::rename(part, path, error);
  if (error) return io::system_error(error.value(), "cannot write", path);
  return {};
}

std::optional<std::int64_t> number(const std::map<std::string, std::string>& metadata,
                                   const char* key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  std::int64_t value = 0;
  const char* end = found->second.data() + found->second.size();
  const auto result = std::from_chars(found->second.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

class Reader {
 public:
  Reader(const io::File& file, const formats::SafetensorsHeader& header)
      : file_(file), header_(header) {}

  /// The tensor, or nothing when the file has none of that name.
  Result<std::optional<mx::array>> read(const std::string& name) const {
    for (const formats::StoredTensor& tensor : header_.tensors) {
      if (tensor.name != name) continue;
      mx::allocator::Data data = mx::allocator::malloc(tensor.end - tensor.begin);
      auto* raw = static_cast<std::byte*>(data.buffer().raw_ptr());
      MLXMILL_TRY(file_.read_at(tensor.begin, {raw, tensor.end - tensor.begin}));
      return std::optional(mx::array(std::move(data), {tensor.shape.begin(), tensor.shape.end()},
                                     runtime::mlx_dtype(tensor.dtype)));
    }
    return std::optional<mx::array>();
  }

 private:
  const io::File& file_;
  const formats::SafetensorsHeader& header_;
};

}  // namespace

Status Model::save_cache(const ModelCache& cache, const std::filesystem::path& file,
                         std::span<const std::int32_t> ids) const {
  return runtime::guarded([&]() -> Status {
    const std::map<std::string, std::string> metadata = {
        {"format", kFormat},
        {"model", parts_->fingerprint},
        {"tokens", std::to_string(cache.length())},
    };
    return write(file, arrays_of(*cache.parts_, ids), metadata);
  });
}

Result<Model::LoadedCache> Model::load_cache(const std::filesystem::path& path) const {
  return runtime::guarded([&]() -> Result<LoadedCache> {
    MLXMILL_ASSIGN(const io::File file, io::File::open_read(path));
    MLXMILL_ASSIGN(const auto header, formats::read_safetensors_header(file));
    const auto text = [&](const char* key) {
      const auto found = header.metadata.find(key);
      return found == header.metadata.end() ? std::string() : found->second;
    };
    const auto wrong = [&](std::string what) {
      return Error(Code::kInvalidInput, std::move(what)).at(path.string());
    };
    if (text("format") != kFormat) return wrong("this is no cache of mlxmill");
    if (text("model") != parts_->fingerprint) {
      return wrong("the cache is of another model, or of other settings of it")
          .hint("caches fit the files, the type and the kv bits they were made with");
    }
    const auto tokens = number(header.metadata, "tokens");
    if (!tokens || *tokens < 0) return wrong("the number of tokens is missing");
    if (*tokens > parts_->facts.context) {
      return wrong(
          fmt::format("{} tokens are more than the context of {}", *tokens, parts_->facts.context));
    }
    LoadedCache loaded{new_cache(), {}};
    const Reader reader(file, header);
    runtime::States& states = loaded.cache.parts_->states;
    for (std::size_t i = 0; i < states.size(); ++i) {
      std::vector<mx::array> arrays;
      for (std::size_t k = 0;; ++k) {
        MLXMILL_ASSIGN(const auto array, reader.read(name_of(i, k)));
        if (!array) break;
        arrays.push_back(*array);
      }
      if (states[i] ? !states[i]->restore(std::move(arrays), *tokens) : !arrays.empty()) {
        return wrong(fmt::format("the arrays of block {} do not fit the model", i));
      }
    }
    loaded.cache.parts_->length = *tokens;
    MLXMILL_ASSIGN(const auto ids, reader.read(kIds));
    if (ids && (ids->dtype() != mx::int32 || ids->ndim() != 1)) return wrong("the ids are damaged");
    if (ids) loaded.ids.assign(ids->data<std::int32_t>(), ids->data<std::int32_t>() + ids->size());
    return loaded;
  });
}

}  // namespace mlxmill
