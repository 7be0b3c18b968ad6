#include "measure/windows_record.h"

#include <cstring>

namespace mlxmill::measure {
namespace {

constexpr std::size_t kWord = 4;
constexpr std::size_t kHeadWords = 4;

Error cut_off() { return Error(Code::kInvalidInput, "the list of windows is cut off"); }

}  // namespace

std::vector<std::byte> encode_windows_record(std::span<const evaluate::Window> windows) {
  std::vector<std::uint32_t> words;
  words.push_back(static_cast<std::uint32_t>(windows.size()));
  for (const evaluate::Window& window : windows) {
    words.insert(words.end(), {window.text, window.begin, window.end,
                               static_cast<std::uint32_t>(window.tokens.size())});
    for (const std::int32_t id : window.tokens) words.push_back(static_cast<std::uint32_t>(id));
  }
  std::vector<std::byte> bytes(words.size() * kWord);
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

Result<std::vector<evaluate::Window>> decode_windows_record(std::span<const std::byte> bytes) {
  if (bytes.size() % kWord != 0 || bytes.empty()) return cut_off();
  std::vector<std::uint32_t> words(bytes.size() / kWord);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  std::span<const std::uint32_t> left(words);
  const std::uint32_t count = left[0];
  left = left.subspan(1);
  if (count > left.size() / kHeadWords) return cut_off();
  std::vector<evaluate::Window> windows;
  windows.reserve(count);
  for (std::uint32_t w = 0; w < count; ++w) {
    if (left.size() < kHeadWords || left[3] > left.size() - kHeadWords) return cut_off();
    evaluate::Window window{left[0], {}, left[1], left[2]};
    for (const std::uint32_t id : left.subspan(kHeadWords, left[3])) {
      window.tokens.push_back(static_cast<std::int32_t>(id));
    }
    left = left.subspan(kHeadWords + left[3]);
    windows.push_back(std::move(window));
  }
  if (!left.empty()) {
    return Error(Code::kInvalidInput, "something follows the list of windows");
  }
  return windows;
}

}  // namespace mlxmill::measure
