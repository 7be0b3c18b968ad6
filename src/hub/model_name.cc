#include "hub/model_name.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/quoted.h"
#include "hub/url.h"

namespace mlxmill::hub {
namespace {

constexpr std::size_t kLongestPart = 96;  // huggingface_hub's limit for a whole name.

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t pos = text.find(at);
    parts.push_back(text.substr(0, pos));
    if (pos == text.npos) return parts;
    text.remove_prefix(pos + 1);
  }
}

bool is_hex_digit(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

/// One part of owner/name, by the Hub's rules: letters, digits, "-_.", which do not begin or end
/// it, and neither "--" nor ".." inside.
bool is_name_part(std::string_view part) {
  static constexpr std::string_view kMarks = "-_.";
  if (part.empty() || part.size() > kLongestPart) return false;
  const bool letters = std::all_of(part.begin(), part.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x80 && (std::isalnum(byte) || kMarks.find(c) != kMarks.npos);
  });
  if (!letters || part.find("--") != part.npos || part.find("..") != part.npos) return false;
  return part.front() != '-' && part.front() != '.' && part.back() != '-' && part.back() != '.';
}

bool is_repo(std::string_view text) {
  const auto parts = split(text, '/');
  return parts.size() <= 2 && std::all_of(parts.begin(), parts.end(), is_name_part) &&
         text.size() <= kLongestPart && !text.ends_with(".git");
}

Error bad_name(std::string_view text) {
  return Error(Code::kUsage, "is not the name of a model on the Hub")
      .at(base::quoted(text))
      .hint("names read owner/name, owner/name@revision or owner/name:Q8_0");
}

std::string decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && is_hex_digit(text[i + 1]) &&
        is_hex_digit(text[i + 2])) {
      result += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::string rest_of(const std::vector<std::string_view>& parts, std::size_t from) {
  std::string text;
  for (std::size_t i = from; i < parts.size(); ++i)
    text += (i > from ? "/" : "") + std::string(parts[i]);
  return text;
}

Result<ModelName> checked(ModelName name, std::string_view text) {
  if (!is_repo(name.repo)) return bad_name(text);
  if (!name.revision.empty() && !is_revision(name.revision)) return bad_name(text);
  if (!name.file.empty() && !is_safe_path(name.file)) return bad_name(text);
  return name;
}

/// owner/name[/tree/REVISION | /resolve/REVISION/FILE | /blob/REVISION/FILE].
Result<ModelName> parse_page(std::string_view path, std::string_view text) {
  path = path.substr(0, std::min(path.find_first_of("?#"), path.size()));
  while (path.ends_with('/')) path.remove_suffix(1);
  const auto parts = split(path, '/');
  ModelName name;
  const auto is_verb = [&](std::size_t i) {
    return i < parts.size() && (parts[i] == "tree" || parts[i] == "resolve" || parts[i] == "blob");
  };
  const std::size_t owner = is_verb(1) ? 1 : std::min<std::size_t>(2, parts.size());
  if (parts[0] == "datasets" || parts[0] == "spaces") return bad_name(text);
  name.repo = rest_of({parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(owner)}, 0);
  if (parts.size() > owner && !is_verb(owner)) return bad_name(text);
  if (parts.size() > owner + 1) name.revision = decoded(parts[owner + 1]);
  if (parts.size() > owner + 2) name.file = decoded(rest_of(parts, owner + 2));
  // A folder of a tree is no file.
  if (parts.size() > owner && parts[owner] == "tree") name.file.clear();
  return checked(std::move(name), text);
}

/// owner/name[@revision][:file]; with `files`, also [/file] behind.
Result<ModelName> parse_plain(std::string_view rest, std::string_view text, bool files) {
  ModelName name;
  const std::size_t at = rest.find('@');
  std::string_view repo = rest.substr(0, at);
  std::string_view tail = at == rest.npos ? std::string_view() : rest.substr(at + 1);
  std::string_view& last = at == rest.npos ? repo : tail;
  if (const std::size_t colon = last.find(':'); colon != last.npos) {
    name.file = last.substr(colon + 1);
    if (name.file.empty()) return bad_name(text);
    last = last.substr(0, colon);
  }
  if (files) {
    const auto parts = split(at == rest.npos ? repo : tail, '/');
    const std::size_t kept = at == rest.npos ? 2 : 1;
    if (parts.size() > kept) {
      name.file = rest_of(parts, kept);
      last = last.substr(0, last.size() - name.file.size() - 1);
    }
  }
  if (at != rest.npos && tail.empty()) return bad_name(text);
  name.repo = repo;
  name.revision = decoded(tail);
  return checked(std::move(name), text);
}

}  // namespace

bool is_commit(std::string_view text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return is_hex_digit(c) && !(c >= 'A' && c <= 'F');
         });
}

bool is_safe_path(std::string_view path) {
  if (path.size() > 4096 || path.find('\\') != path.npos || path.find('\0') != path.npos)
    return false;
  const auto parts = split(path, '/');
  return std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
    return !part.empty() && part != "." && part != ".." && part.size() <= 255;
  });
}

bool is_revision(std::string_view text) {
  if (!is_safe_path(text)) return false;
  const auto parts = split(text, '/');
  return std::all_of(parts.begin(), parts.end(), [](std::string_view p) { return p[0] != '.'; }) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) > ' ' && c != 0x7F; });
}

bool looks_like_model_name(std::string_view text) {
  if (text.starts_with("hf://") || text.starts_with("https://") || text.starts_with("http://"))
    return true;
  const std::string_view repo = text.substr(0, std::min(text.find_first_of("@:"), text.size()));
  return std::count(repo.begin(), repo.end(), '/') == 1 && is_repo(repo);
}

Result<ModelName> parse_model_name(std::string_view text, const Settings& settings) {
  if (text.starts_with("hf://")) {
    std::string_view rest = text.substr(5);
    if (rest.starts_with("models/")) rest.remove_prefix(7);
    return parse_plain(rest, text, true);
  }
  const std::string origin = origin_of(text);
  if (origin.empty()) return parse_plain(text, text, false);
  const bool known = origin == origin_of(settings.endpoint) ||
                     origin == "https://huggingface.co:443" || origin == "https://hf.co:443";
  if (!known) {
    return Error(Code::kUsage, "is not a page of the Hub; expected one under " + settings.endpoint)
        .at(without_query(text));
  }
  const std::size_t begin = text.find('/', text.find("://") + 3);
  if (begin == text.npos) return bad_name(text);
  return parse_page(text.substr(begin + 1), text);
}

}  // namespace mlxmill::hub
