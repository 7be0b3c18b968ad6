// Any text as a chat template: no crash, and it ends within its bounds. What follows a zero byte
// are the messages.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "formats/json.h"
#include "tokenize/engine.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = text.find('\0');
  const std::string json = zero == std::string::npos ? "[]" : text.substr(zero + 1);
  mlxmill::base::Value context{mlxmill::base::Object()};
  auto messages = mlxmill::formats::parse_json(json);
  if (messages) context.set("messages", *std::move(messages));
  context.set("add_generation_prompt", true);
  mlxmill::tokenize::TemplateLimits limits;
  // Memory past its bound stays held: few runs of a fuzzer may get there.
  limits.steps = 20'000;
  limits.output_bytes = 1 << 20;
  const auto rendered = mlxmill::tokenize::render_template(text.substr(0, zero), context, limits);
  if (rendered ? rendered->size() > limits.output_bytes : rendered.error().message().empty()) {
    std::abort();
  }
  return 0;
}
