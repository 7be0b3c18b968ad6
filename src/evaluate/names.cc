// The names of protocols and encodings.
#include <array>
#include <utility>

#include "mlxmill/evaluate.h"

namespace mlxmill {
namespace {

constexpr std::array<std::pair<EvalProtocol, std::string_view>, 3> kProtocols = {{
    {EvalProtocol::kStrided, "strided"},
    {EvalProtocol::kLlamaPerplexity, "llama-perplexity"},
    {EvalProtocol::kMlxLmPerplexity, "mlx_lm.perplexity"},
}};

constexpr std::array<std::pair<ReferenceEncoding, std::string_view>, 3> kEncodings = {{
    {ReferenceEncoding::kTop, "top"},
    {ReferenceEncoding::kFloat16, "float16"},
    {ReferenceEncoding::kFloat32, "float32"},
}};

template <typename Table, typename T>
std::string_view name_in(const Table& table, T value) {
  for (const auto& [entry, name] : table) {
    if (entry == value) return name;
  }
  return "";
}

template <typename T, typename Table>
std::optional<T> value_in(const Table& table, std::string_view name) {
  for (const auto& [entry, entry_name] : table) {
    if (entry_name == name) return entry;
  }
  return std::nullopt;
}

}  // namespace

std::string_view protocol_name(EvalProtocol protocol) { return name_in(kProtocols, protocol); }
std::optional<EvalProtocol> protocol_from_name(std::string_view name) {
  return value_in<EvalProtocol>(kProtocols, name);
}
std::string_view encoding_name(ReferenceEncoding encoding) { return name_in(kEncodings, encoding); }
std::optional<ReferenceEncoding> encoding_from_name(std::string_view name) {
  return value_in<ReferenceEncoding>(kEncodings, name);
}

}  // namespace mlxmill
