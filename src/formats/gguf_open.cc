#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "formats/errors.h"
#include "formats/gguf.h"
#include "formats/model_folder.h"
#include "formats/unicode.h"

namespace mlxmill::formats {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kArchitecture = "general.architecture";

Result<GgufPart> open_part(const fs::path& path) {
  GgufPart part;
  part.path = path;
  MLXMILL_ASSIGN(part.file, io::File::open_read(path));
  MLXMILL_ASSIGN(part.header, read_gguf_header(part.file));
  return part;
}

// As gguf-split names its files; numbers count from 1.
std::string part_ending(std::uint32_t number, std::uint32_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number, count);
}

bool same_but_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

// The file of `folder` that is called so. A name with the letters of its ending in another case is
// as good: people rename files.
std::string name_of_part(const ModelFolder& folder, std::string_view stem,
                         std::string_view ending) {
  const std::string exact = fmt::format("{}{}", stem, ending);
  if (folder.has(exact)) return exact;
  for (const std::string& name : folder.names()) {
    if (name.size() == exact.size() && name.starts_with(stem) &&
        same_but_case(std::string_view(name).substr(stem.size()), ending)) {
      return name;
    }
  }
  return exact;
}

// NAME of NAME-00001-of-00003.gguf.
Result<std::string> stem_of_first(const fs::path& path, const GgufSplit& split) {
  const std::string name = path.filename().string();
  const std::string ending = part_ending(1, split.count);
  if (split.number != 0) {
    return invalid(fmt::format("is part {} of {}", split.number + 1, split.count))
        .at(path.string())
        .hint(fmt::format("give the first part, whose name ends in {}", ending));
  }
  if (name.size() <= ending.size() ||
      !same_but_case(std::string_view(name).substr(name.size() - ending.size()), ending)) {
    return invalid(fmt::format("is the first part of {}; expected a name that ends in {}",
                               split.count, ending))
        .at(path.string())
        .hint("the other parts are found by their names");
  }
  return name.substr(0, name.size() - ending.size());
}

std::string architecture_of(const GgufHeader& header) {
  const base::Value* value = header.metadata.find(kArchitecture);
  const std::string* text = value ? value->as_string() : nullptr;
  return text ? *text : std::string();
}

// Parts after the first may leave out what the first says of the model, but not contradict it.
Status check_part(const GgufPart& part, const GgufPart& first, const GgufSplit& want,
                  std::uint32_t number) {
  const auto failed = [&](std::string what) {
    return invalid(std::move(what)).at(part.path.string());
  };
  const auto& got = part.header.split;
  if (!got) {
    return failed(
        fmt::format("is no part of a split model; expected part {} of {}", number + 1, want.count));
  }
  if (got->number != number || got->count != want.count) {
    return failed(fmt::format("is part {} of {}; expected part {} of {}", got->number + 1,
                              got->count, number + 1, want.count));
  }
  if (got->tensors != want.tensors) {
    return failed(fmt::format("belongs to a model of {} tensors; the first part to one of {}",
                              got->tensors, want.tensors));
  }
  const std::string theirs = architecture_of(part.header);
  const std::string ours = architecture_of(first.header);
  if (!theirs.empty() && theirs != ours) {
    return failed(
        fmt::format("has architecture {}; the first part has {}", quote(theirs), quote(ours)));
  }
  return {};
}

Status open_siblings(GgufModel& model, const GgufSplit& split) {
  const fs::path path = model.parts.front().path;
  MLXMILL_ASSIGN(const std::string stem, stem_of_first(path, split));
  const fs::path parent = path.parent_path();
  MLXMILL_ASSIGN(const ModelFolder folder, ModelFolder::open(parent.empty() ? "." : parent));
  for (std::uint32_t number = 1; number < split.count; ++number) {
    const std::string name = name_of_part(folder, stem, part_ending(number + 1, split.count));
    if (!folder.has(name)) {
      return Error(Code::kNotFound, fmt::format("part {} of {} is missing: {}", number + 1,
                                                split.count, quote(name)))
          .at(path.string())
          .hint("incomplete download?");
    }
    MLXMILL_ASSIGN(const fs::path sibling, folder.find(name));
    MLXMILL_ASSIGN(GgufPart part, open_part(sibling));
    MLXMILL_TRY(check_part(part, model.parts.front(), split, number));
    model.parts.push_back(std::move(part));
  }
  return {};
}

// Every tensor once, and as many as the parts say there are.
Status check_tensors(const GgufModel& model) {
  std::vector<std::pair<std::string_view, std::size_t>> names;
  names.reserve(model.tensors.size());
  for (const GgufModelTensor& entry : model.tensors) {
    names.emplace_back(entry.tensor.name, entry.part);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(
      names.begin(), names.end(), [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twice != names.end()) {
    return invalid(
               fmt::format("tensor {} is also in part {}", quote(twice->first), twice->second + 1))
        .at(model.parts[(twice + 1)->second].path.string());
  }
  const auto& split = model.parts.front().header.split;
  if (split && split->tensors != model.tensors.size()) {
    return invalid(fmt::format("its {} parts hold {} tensors; expected {}", split->count,
                               model.tensors.size(), split->tensors))
        .at(model.parts.front().path.string());
  }
  return {};
}

}  // namespace

bool is_gguf_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  if (same_but_case(path.extension().string(), ".gguf")) return true;
  const Result<io::File> file = io::File::open_read(path);
  std::array<std::byte, 4> magic{};
  return file && file->read_at(0, magic) && std::memcmp(magic.data(), "GGUF", 4) == 0;
}

Result<GgufModel> open_gguf(const fs::path& path) {
  GgufModel model;
  MLXMILL_ASSIGN(GgufPart first, open_part(path));
  model.parts.push_back(std::move(first));
  // A copy: the parts move as more are added.
  if (const std::optional<GgufSplit> split = model.parts.front().header.split) {
    MLXMILL_TRY(open_siblings(model, *split));
  }
  for (std::size_t i = 0; i < model.parts.size(); ++i) {
    model.file_bytes += model.parts[i].header.file_bytes;
    for (const GgufTensor& tensor : model.parts[i].header.tensors) {
      model.tensors.push_back({tensor, i});
    }
  }
  MLXMILL_TRY(check_tensors(model));
  return model;
}

}  // namespace mlxmill::formats
