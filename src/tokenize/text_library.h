// The C interface of the static library in src/tokenize/rust. Nothing else includes this than
// text_library.cc, which turns it into values and errors.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct MlxmillTokenizer;

/// What the library allocated; freed with the function of its element.
struct MlxmillBytes {
  std::uint8_t* data;
  std::size_t size;
};
struct MlxmillIds {
  std::uint32_t* data;
  std::size_t size;
};

// Statuses; any but the first fills `error` with text.
inline constexpr std::int32_t kMlxmillTextOk = 0;
inline constexpr std::int32_t kMlxmillTextInvalid = 1;
inline constexpr std::int32_t kMlxmillTextLimit = 2;
inline constexpr std::int32_t kMlxmillTextPanic = 3;

std::int32_t mlxmill_tokenizer_load(const std::uint8_t* json, std::size_t json_size,
                                    const std::uint8_t* settings, std::size_t settings_size,
                                    MlxmillTokenizer** out, MlxmillBytes* error);
void mlxmill_tokenizer_free(MlxmillTokenizer* tokenizer);
std::int32_t mlxmill_tokenizer_describe(const MlxmillTokenizer* tokenizer, MlxmillBytes* out,
                                        MlxmillBytes* error);
std::int32_t mlxmill_tokenizer_encode(const MlxmillTokenizer* tokenizer, const std::uint8_t* text,
                                      std::size_t size, bool add_special, MlxmillIds* out,
                                      MlxmillBytes* error);
std::int32_t mlxmill_tokenizer_decode(const MlxmillTokenizer* tokenizer, const std::uint32_t* ids,
                                      std::size_t size, bool skip_special, MlxmillBytes* out,
                                      MlxmillBytes* error);
std::int32_t mlxmill_tokenizer_token(const MlxmillTokenizer* tokenizer, std::uint32_t id,
                                     MlxmillBytes* out, MlxmillBytes* error);
std::int32_t mlxmill_tokenizer_id(const MlxmillTokenizer* tokenizer, const std::uint8_t* spelling,
                                  std::size_t size, std::uint32_t* out, MlxmillBytes* error);
std::int32_t mlxmill_template_render(const std::uint8_t* source, std::size_t source_size,
                                     const std::uint8_t* context, std::size_t context_size,
                                     const std::uint8_t* limits, std::size_t limits_size,
                                     MlxmillBytes* out, MlxmillBytes* error);
void mlxmill_text_free_bytes(MlxmillBytes bytes);
void mlxmill_text_free_ids(MlxmillIds ids);

}  // extern "C"
