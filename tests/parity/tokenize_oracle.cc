// Answers requests about one tokenizer, for tests/parity/tokenize_test.py.
//
// A request is a letter and texts, each behind its length (u32, little-endian); an answer is '+' or
// '-' (then a message) and a text in the same way. e: encode; n: without special tokens; d: decode;
// s: without special tokens; t: decode as a stream, pieces behind their lengths; b: bytes of a
// token; f: facts; c: chat (messages, template, tools, variables, "g", "c" or "" for generation
// prompt and continuing).
#include <cstdio>
#include <cstring>

#include "mlxmill/tokenizer.h"

namespace {

using mlxmill::Result;
using mlxmill::TokenId;

bool read_text(std::string& text) {
  unsigned char size[4];
  if (std::fread(size, 1, 4, stdin) != 4) return false;
  text.resize(size[0] | (size[1] << 8u) | (size[2] << 16u) |
              (static_cast<unsigned>(size[3]) << 24u));
  return std::fread(text.data(), 1, text.size(), stdin) == text.size();
}

std::string packed(std::string_view text) {
  std::string out;
  for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>(text.size() >> shift);
  return out.append(text);
}

std::string bytes_of(const std::vector<TokenId>& ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(TokenId)};
}

std::vector<TokenId> ids_of(const std::string& bytes) {
  std::vector<TokenId> ids(bytes.size() / sizeof(TokenId));
  std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(TokenId));
  return ids;
}

Result<std::string> stream(const mlxmill::Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  mlxmill::TokenStream stream(tokenizer, false);
  std::string out;
  for (const TokenId id : ids) {
    MLXMILL_ASSIGN(const std::string piece, stream.add(id));
    out += packed(piece);
  }
  MLXMILL_ASSIGN(const std::string rest, stream.finish());
  return out + packed(rest);
}

Result<std::string> chat(const mlxmill::Tokenizer& tokenizer, const std::string& messages) {
  mlxmill::ChatOptions options;
  std::string flags;
  if (!read_text(options.template_text) || !read_text(options.tools_json) ||
      !read_text(options.variables_json) || !read_text(flags)) {
    return mlxmill::Error(mlxmill::Code::kUsage, "the request ends early");
  }
  options.add_generation_prompt = flags == "g";
  options.continue_final_message = flags == "c";
  return tokenizer.render_chat(messages, options);
}

std::string facts(const mlxmill::Tokenizer& tokenizer) {
  std::string eos;
  for (const TokenId id : tokenizer.eos()) eos += (eos.empty() ? "" : ", ") + std::to_string(id);
  const auto bos = tokenizer.bos();
  return "{\"size\": " + std::to_string(tokenizer.size()) + ", \"eos\": [" + eos +
         "], \"bos\": " + (bos ? std::to_string(*bos) : "null") + "}";
}

Result<std::string> answer(const mlxmill::Tokenizer& tokenizer, int letter,
                           const std::string& text) {
  if (letter == 'e' || letter == 'n') {
    MLXMILL_ASSIGN(const std::vector<TokenId> ids, tokenizer.encode(text, letter == 'e'));
    return bytes_of(ids);
  }
  if (letter == 'd' || letter == 's') return tokenizer.decode(ids_of(text), letter == 's');
  if (letter == 't') return stream(tokenizer, ids_of(text));
  if (letter == 'b') return tokenizer.token_bytes(ids_of(text).at(0)).value_or("");
  if (letter == 'f') return facts(tokenizer);
  return chat(tokenizer, text);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto tokenizer = mlxmill::Tokenizer::open(argv[1]);
  if (!tokenizer) {
    std::fprintf(stderr, "%s\n", tokenizer.error().message().c_str());
    return 1;
  }
  std::string text;
  for (int letter = 0; (letter = std::getchar()) != EOF && read_text(text);) {
    const Result<std::string> result = answer(*tokenizer, letter, text);
    std::putchar(result ? '+' : '-');
    const std::string out = packed(result ? *result : result.error().message());
    std::fwrite(out.data(), 1, out.size(), stdout);
    std::fflush(stdout);
  }
  return 0;
}
