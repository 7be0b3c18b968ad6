// Files and messages for the tests of io and formats.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "temp_folder.h"

namespace mlxmill::testing {

/// Writes a file below a temporary folder, folders included.
inline std::filesystem::path put(const TempFolder& folder, const std::string& name,
                                 std::string_view content) {
  const std::filesystem::path file = folder / name;
  std::filesystem::create_directories(file.parent_path());
  write_file(file, std::string(content));
  return file;
}

/// `text` with every occurrence of a path replaced: takes the temporary folder out of messages.
inline std::string replaced(std::string text, const std::filesystem::path& path,
                            std::string_view to) {
  const std::string from = path.string();
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// Eight bytes, lowest first.
inline std::string length_word(std::uint64_t value) {
  std::string word;
  for (int shift = 0; shift < 64; shift += 8) word += static_cast<char>((value >> shift) & 0xFF);
  return word;
}

/// A safetensors file with this header and this many bytes of data.
inline std::string safetensors_bytes(std::string_view header, std::size_t data_bytes) {
  return length_word(header.size()) + std::string(header) + std::string(data_bytes, '\1');
}

}  // namespace mlxmill::testing
