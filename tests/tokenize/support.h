// Model folders made of a few files.
#pragma once

#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mlxmill/tokenizer.h"
#include "temp_folder.h"

namespace mlxmill::testing {

using Files = std::vector<std::pair<std::string, std::string>>;

class Folder {
 public:
  explicit Folder(const Files& files) {
    for (const auto& [name, text] : files) {
      const auto path = folder_.path() / name;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path, std::ios::binary) << text;
    }
  }
  const std::filesystem::path& path() const { return folder_.path(); }
  Result<Tokenizer> open() const { return Tokenizer::open(path()); }

 private:
  TempFolder folder_;
};

/// A byte-level tokenizer.json of the letters a, b, c and "ab", with `more` members.
inline std::string small_json(std::string_view more = "") {
  return R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [)"
         R"({"id": 4, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,)"
         R"( "normalized": false, "special": true}], "normalizer": null, "pre_tokenizer": null,)"
         R"( "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": false,)"
         R"( "trim_offsets": true, "use_regex": true}, "model": {"type": "BPE", "vocab":)"
         R"( {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": ["a b"]})" +
         std::string(more) + "}";
}

}  // namespace mlxmill::testing
