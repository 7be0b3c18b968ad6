#include "hub/url.h"

#include <algorithm>
#include <cctype>

namespace mlxmill::hub {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

/// Where the authority ("user@host:port") of an absolute URL begins and ends.
bool find_authority(std::string_view url, std::size_t& begin, std::size_t& end) {
  const std::size_t colon = url.find("://");
  if (colon == std::string_view::npos) return false;
  begin = colon + 3;
  end = std::min(url.find_first_of("/?#\\", begin), url.size());
  return true;
}

}  // namespace

std::string percent_encoded(std::string_view text, bool keep_slashes) {
  static constexpr std::string_view kPlain = "-._~";
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte < 0x80 && (std::isalnum(byte) || kPlain.find(c) != kPlain.npos);
    if (plain || (keep_slashes && c == '/')) {
      result += c;
    } else {
      result += '%';
      result += kDigits[byte >> 4];
      result += kDigits[byte & 15];
    }
  }
  return result;
}

std::string origin_of(std::string_view url) {
  std::size_t begin = 0;
  std::size_t end = 0;
  if (!find_authority(url, begin, end)) return "";
  const std::string scheme = lower(url.substr(0, begin - 3));
  if (scheme != "http" && scheme != "https") return "";
  std::string_view authority = url.substr(begin, end - begin);
  if (const std::size_t at = authority.rfind('@'); at != authority.npos)
    authority.remove_prefix(at + 1);
  if (authority.empty()) return "";
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon = authority.rfind(':');
  const bool has_port = colon != authority.npos && (bracket == authority.npos || colon > bracket);
  std::string host = lower(has_port ? authority.substr(0, colon) : authority);
  std::string port(has_port ? authority.substr(colon + 1) : std::string_view());
  if (port.empty()) port = scheme == "http" ? "80" : "443";
  return scheme + "://" + host + ":" + port;
}

std::string joined(std::string_view base, std::string_view location) {
  if (!origin_of(location).empty()) return std::string(location);
  std::size_t begin = 0;
  std::size_t end = 0;
  if (!find_authority(base, begin, end)) return "";
  // Another scheme is not followed.
  if (const std::size_t colon = location.find(':');
      colon != location.npos && colon < location.find('/'))
    return "";
  if (location.starts_with("//"))
    return std::string(base.substr(0, begin - 2)) + std::string(location);
  if (location.starts_with("/")) return std::string(base.substr(0, end)) + std::string(location);
  const std::string_view path =
      base.substr(0, std::min(base.find_first_of("?#", end), base.size()));
  const std::size_t slash = path.rfind('/');
  if (slash == path.npos || slash < end) return std::string(path) + "/" + std::string(location);
  return std::string(path.substr(0, slash + 1)) + std::string(location);
}

std::string without_query(std::string_view url) {
  return std::string(url.substr(0, std::min(url.find_first_of("?#"), url.size())));
}

}  // namespace mlxmill::hub
