// Checkpoints put together from a few lines: settings as JSON text, tensors by name, type and
// shape.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"
#include "sources/decode.h"
#include "tensors/operation.h"
#include "tensors/view.h"

namespace mlxmill::sources::testing {

struct Stored {
  std::string name;
  DType dtype;
  base::Shape shape;
  std::vector<std::byte> bytes = {};  ///< Where the decoder looks at them.
};

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

inline base::Value json(std::string_view text) {
  auto value = formats::parse_json(text);
  EXPECT_TRUE(value) << text;
  return value ? *std::move(value) : base::Value();
}

inline std::vector<tensors::TensorView> views_of(const std::vector<Stored>& stored) {
  std::vector<tensors::TensorView> views;
  for (const Stored& s : stored)
    views.push_back(
        *tensors::view_of(tensors::SourceTensor{s.name, s.dtype, s.shape}, views.size()));
  return views;
}

/// decode() with this text as quantization_config.
inline Result<DecodedSource> decoded(std::string_view settings, const std::vector<Stored>& stored,
                                     bool repack = false) {
  const base::Value config(base::Object{{"quantization_config", json(settings)}});
  const ReadSmall read = [&](std::size_t i) -> Result<std::vector<std::byte>> {
    return stored[i].bytes;
  };
  return decode(config, base::Value(), views_of(stored), read, repack);
}

/// A message with single quotes, which need no escapes here.
inline std::string legible(std::string message) {
  std::replace(message.begin(), message.end(), '"', '\'');
  return message;
}

/// "CODE message" of a refusal.
inline std::string refusal(std::string_view settings, const std::vector<Stored>& stored,
                           bool repack = false) {
  const auto result = decoded(settings, stored, repack);
  if (result) return "accepted";
  const Error& error = result.error();
  const std::string_view code = error.code() == Code::kInvalidInput  ? "kInvalidInput "
                                : error.code() == Code::kUnsupported ? "kUnsupported "
                                : error.code() == Code::kInternal    ? "kInternal "
                                                                     : "another code ";
  return std::string(code) + legible(error.message());
}

inline const tensors::TensorView* find(const DecodedSource& source, std::string_view name) {
  for (const tensors::TensorView& view : source.tensors) {
    if (view.name == name) return &view;
  }
  return nullptr;
}

inline std::vector<std::string> names(const DecodedSource& source) {
  std::vector<std::string> all;
  for (const tensors::TensorView& view : source.tensors) all.push_back(view.name);
  return all;
}

}  // namespace mlxmill::sources::testing
