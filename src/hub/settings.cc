#include "hub/settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "io/file.h"

namespace mlxmill::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostTokenBytes = 64 << 10;
constexpr int kMostSeconds = 24 * 3600;

/// The variable's text; "" when it is not set.
std::string variable(const std::string& name) {
  const char* text = std::getenv(name.c_str());
  return text ? text : "";
}

std::string first_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string text = variable(name); !text.empty()) return text;
  }
  return "";
}

bool is_true(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text == "1" || text == "ON" || text == "YES" || text == "TRUE";
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

/// "~/x" and "$NAME/x", "${NAME}/x" as Python's expanduser and expandvars do; unknown names stay.
fs::path expand(const std::string& text) {
  std::string result;
  std::size_t pos = 0;
  if (text == "~" || text.starts_with("~/")) {
    result = variable("HOME");
    pos = 1;
  }
  while (pos < text.size()) {
    if (text[pos] != '$') {
      result += text[pos++];
      continue;
    }
    const bool braced = pos + 1 < text.size() && text[pos + 1] == '{';
    const std::size_t begin = pos + (braced ? 2 : 1);
    std::size_t end = begin;
    while (end < text.size() && is_word(text[end])) ++end;
    const std::string name = text.substr(begin, end - begin);
    const bool closed = !braced || (end < text.size() && text[end] == '}');
    if (name.empty() || !closed || !std::getenv(name.c_str())) {
      result += text[pos++];
      continue;
    }
    result += variable(name);
    pos = end + (braced ? 1 : 0);
  }
  return result;
}

std::string trimmed(std::string text) {
  std::erase_if(text, [](char c) { return c == '\r' || c == '\n'; });
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_blank));
  return text;
}

void find_token(Settings& settings) {
  if (is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return;
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    settings.token = trimmed(variable(name));
    settings.token_source = name;
    if (!settings.token.empty()) return;
  }
  settings.token_source = settings.token_path.string();
  if (Result<std::string> text = io::read_text(settings.token_path, kMostTokenBytes))
    settings.token = trimmed(*text);
}

}  // namespace

Settings settings_from_environment() {
  Settings settings;
  settings.endpoint = variable("HF_ENDPOINT");
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  if (settings.endpoint.empty()) settings.endpoint = "https://huggingface.co";

  const std::string xdg = variable("XDG_CACHE_HOME");
  const fs::path caches = xdg.empty() ? fs::path(variable("HOME")) / ".cache" : fs::path(xdg);
  const std::string home = variable("HF_HOME");
  const fs::path base = home.empty() ? caches / "huggingface" : expand(home);
  const std::string cache = first_of({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
  settings.cache = cache.empty() ? base / "hub" : expand(cache);
  const std::string token_path = variable("HF_TOKEN_PATH");
  settings.token_path = token_path.empty() ? base / "token" : expand(token_path);
  find_token(settings);

  settings.offline = is_true(first_of({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}));
  const std::string seconds = variable("HF_HUB_DOWNLOAD_TIMEOUT");
  int value = 0;
  std::from_chars(seconds.data(), seconds.data() + seconds.size(), value);
  if (value > 0 && value <= kMostSeconds) settings.timeout = std::chrono::seconds(value);
  settings.ca_file = first_of({"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"});
  settings.ca_folder = variable("SSL_CERT_DIR");
  return settings;
}

}  // namespace mlxmill::hub
