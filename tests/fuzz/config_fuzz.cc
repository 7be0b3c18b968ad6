// Any bytes as config.json: no crash, and what is written reads back as what was read. The same
// bytes serve as a source's model card.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "formats/json.h"
#include "formats/model_card.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void check_json(std::string_view text) {
  const auto value = mlxmill::formats::parse_json(text);
  if (!value) return;
  for (const int indent : {4, -1}) {
    const std::string written = mlxmill::formats::dump_json(*value, {.indent = indent});
    // Tagging an infinite float adds a level and a value.
    const auto again =
        mlxmill::formats::parse_json(written, {.max_depth = 65, .max_values = 8'000'000});
    require(again.has_value());
    // Not by ==, for which NaN differs from itself.
    require(mlxmill::formats::dump_json(*again, {.indent = indent}) == written);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_json(text);
  const std::string card = mlxmill::formats::make_model_card({.name = "n",
                                                              .base_model = "o/n",
                                                              .base_model_revision = {},
                                                              .made_with = "m",
                                                              .command = "c",
                                                              .facts = {}},
                                                             text);
  require(mlxmill::formats::card_scalar(card, "library_name") == "mlx");
  require(mlxmill::formats::card_scalar(card, "base_model") == "o/n");
  return 0;
}
