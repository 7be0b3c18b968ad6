// Texts from files, as records.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mlxmill/result.h"

namespace mlxmill::measure {

/// One domain. A plain text is one record; a .jsonl file has one per line.
struct LoadedText {
  std::string name;  ///< The file's name without its extension.
  std::vector<std::string> records;
};

/// Reads text and .jsonl files; none: the built-in texts. Errors: kNotFound, kIo; kInvalidInput for
/// a file that is empty, larger than 256 MiB, binary (NUL bytes) or no UTF-8, and for lines that
/// are no JSON object with a string member `field`; kUsage for two files of one name.
Result<std::vector<LoadedText>> load_texts(const std::vector<std::filesystem::path>& paths,
                                           const std::string& field);

}  // namespace mlxmill::measure
