#include "report/inspect_gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "formats/gguf.h"
#include "gguf/import.h"

namespace mlxmill::report {
namespace {

/// A value of the metadata as people want to see it; arrays by their length.
std::string shown(const base::Value& value) {
  if (const std::string* text = value.as_string()) {
    constexpr std::size_t kMost = 200;
    return text->size() <= kMost ? *text : fmt::format("{} characters", text->size());
  }
  if (const std::int64_t* number = value.as_int()) return std::to_string(*number);
  if (const double* number = value.as_float()) return fmt::format("{}", *number);
  if (const bool* flag = value.as_bool()) return *flag ? "true" : "false";
  if (const base::Array* array = value.as_array()) return fmt::format("{} values", array->size());
  return std::string(value.type_name());
}

}  // namespace

Result<ModelInfo> inspect_gguf(const std::filesystem::path& path) {
  MLXMILL_ASSIGN(const formats::GgufModel model, formats::open_gguf(path));
  ModelInfo info;
  info.kind = "GGUF model";
  info.bytes = model.file_bytes;
  for (const formats::GgufPart& part : model.parts)
    info.files.emplace_back(part.path.filename().string(), part.header.file_bytes);
  if (const base::Object* metadata = model.metadata().as_object()) {
    for (const base::Member& member : *metadata)
      info.metadata.emplace_back(member.key, shown(member.value));
  }
  if (const base::Value* type = model.metadata().find("general.architecture");
      type && type->as_string())
    info.model_type = *type->as_string();
  const std::vector<std::string> known = gguf::importable_architectures();
  if (std::find(known.begin(), known.end(), info.model_type) != known.end())
    info.family = info.model_type;
  std::map<std::string, CodingShare> shares;
  for (const formats::GgufModelTensor& t : model.tensors) {
    const std::string coding(base::ggml_type_info(t.tensor.type).name);
    const std::uint64_t bytes = t.tensor.end - t.tensor.begin;
    CodingShare& share = shares[coding];
    share.coding = coding;
    share.modules += 1;
    share.parameters += t.tensor.elements;
    share.bytes += bytes;
    info.parameters += t.tensor.elements;
    info.tensors.push_back({t.tensor.name,
                            DType::kU8,
                            {t.tensor.shape.begin(), t.tensor.shape.end()},
                            model.parts[t.part].path.filename().string(),
                            bytes,
                            coding});
  }
  for (auto& [coding, share] : shares) info.codings.push_back(std::move(share));
  std::stable_sort(info.codings.begin(), info.codings.end(),
                   [](const CodingShare& a, const CodingShare& b) { return a.bytes > b.bytes; });
  if (info.parameters) {
    info.bits_per_weight =
        static_cast<double>(info.bytes) * 8 / static_cast<double>(info.parameters);
  }
  return info;
}

}  // namespace mlxmill::report
