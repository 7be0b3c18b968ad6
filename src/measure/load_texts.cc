#include "measure/load_texts.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/json.h"
#include "formats/unicode.h"
#include "io/file.h"
#include "mlxmill/evaluate.h"

namespace mlxmill::measure {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20;

Error bad_text(std::string what) { return Error(Code::kInvalidInput, std::move(what)); }

Status check_text(const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return bad_text("the text is empty");
  const std::size_t nul = text.find('\0');
  if (nul != std::string::npos) {
    return bad_text(fmt::format("this is no text: there is a NUL at byte {}", nul));
  }
  if (!formats::is_utf8(text)) return bad_text("the text is not UTF-8");
  return {};
}

Result<std::vector<std::string>> json_lines(const std::string& text, const std::string& field) {
  std::vector<std::string> records;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Result<base::Value> value = formats::parse_json(line);
    if (!value) return std::move(value).error().at(fmt::format("line {}", number));
    const base::Value* member = value->find(field);
    const std::string* record = member != nullptr ? member->as_string() : nullptr;
    if (record == nullptr) {
      return bad_text(fmt::format("there is no text in '{}'", field))
          .at(fmt::format("line {}", number))
          .hint("name the member that holds the text with --jsonl-field");
    }
    if (!record->empty()) records.push_back(*record);
  }
  if (records.empty()) return bad_text("no line holds any text");
  return records;
}

Result<LoadedText> load(const std::filesystem::path& path, const std::string& field) {
  MLXMILL_ASSIGN(std::string text, io::read_text(path, kMostBytes));
  MLXMILL_TRY(check_text(text));
  LoadedText loaded;
  loaded.name = path.stem().string();
  if (path.extension() == ".jsonl") {
    MLXMILL_ASSIGN(loaded.records, json_lines(text, field));
  } else {
    loaded.records.push_back(std::move(text));
  }
  return loaded;
}

}  // namespace

Result<std::vector<LoadedText>> load_texts(const std::vector<std::filesystem::path>& paths,
                                           const std::string& field) {
  std::vector<LoadedText> texts;
  for (const EvalText& text : paths.empty() ? built_in_texts() : std::vector<EvalText>()) {
    texts.push_back({text.name, {std::string(text.text)}});
  }
  for (const std::filesystem::path& path : paths) {
    Result<LoadedText> loaded = load(path, field);
    if (!loaded) return std::move(loaded).error().at(path.string());
    const bool taken = std::any_of(texts.begin(), texts.end(),
                                   [&](const LoadedText& t) { return t.name == loaded->name; });
    if (taken) {
      return Error(Code::kUsage, fmt::format("two texts are named '{}'", loaded->name))
          .at(path.string());
    }
    texts.push_back(*std::move(loaded));
  }
  return texts;
}

}  // namespace mlxmill::measure
