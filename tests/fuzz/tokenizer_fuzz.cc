// Any text as tokenizer.json, any bytes as tokenizer.model: no crash, and what is read encodes and
// decodes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tokenize/engine.h"
#include "tokenize/sentencepiece_model.h"

namespace {

void use(const mlxmill::tokenize::Engine& engine) {
  for (const std::string_view text : {"", " Hello <s>ab\n", "\u00e9\U0001f600\u2581"}) {
    const auto ids = engine.encode(text, true);
    if (!ids) {
      if (ids.error().message().empty()) std::abort();
      continue;
    }
    for (const auto id : *ids) static_cast<void>(engine.spelling(id));
    static_cast<void>(engine.decode(*ids, true));
  }
  static_cast<void>(engine.describe());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto engine = mlxmill::tokenize::Engine::load(text, {});
  if (engine) use(*engine);
  if (!engine && engine.error().message().empty()) std::abort();
  const auto model = mlxmill::tokenize::parse_sentencepiece(text);
  if (!model) return 0;
  const auto json = mlxmill::tokenize::sentencepiece_json(*model, (size & 1) != 0);
  if (!json) std::abort();
  const auto converted = mlxmill::tokenize::Engine::load(*json, {});
  if (converted) use(*converted);
  return 0;
}
