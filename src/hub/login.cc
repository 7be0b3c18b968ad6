#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "base/value.h"
#include "formats/json.h"
#include "hub/answer.h"
#include "hub/client.h"
#include "io/file.h"
#include "mlxmill/upload.h"

namespace mlxmill {
namespace hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestToken = 1000;
constexpr std::uint64_t kMostStoredBytes = 1 << 20;

/// Replaces a file that only its owner may read, in one step.
Status write_secret(const fs::path& path, std::string_view text) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return io::system_error(error.value(), "cannot create folder", path.parent_path());
  const fs::path temporary =
      path.parent_path() / fmt::format(".{}.{}.tmp", path.filename().string(), ::getpid());
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return io::system_error(errno, "cannot create", temporary);
  ::close(fd);
  Status status = io::write_text(temporary, text);
  if (status) {
    fs::rename(temporary, path, error);
    if (error)
      status = io::system_error(error.value(), "cannot rename to " + path.string(), temporary);
  }
  if (!status) fs::remove(temporary, error);
  return status;
}

/// huggingface_hub's list of tokens by name, an INI file, with one section replaced.
std::string with_section(const std::string& text, const std::string& name, std::string_view token) {
  std::string result;
  bool skipping = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t end = std::min(text.find('\n', pos), text.size());
    const std::string line = text.substr(pos, end - pos);
    if (line.starts_with('[')) skipping = line == "[" + name + "]";
    if (!skipping) result += line + "\n";
    pos = end + 1;
  }
  return result + fmt::format("[{}]\nhf_token = {}\n\n", name, token);
}

/// A name that can stand between brackets.
std::string section_name(std::string name) {
  std::erase_if(name,
                [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '[' || c == ']'; });
  return name.empty() ? "mlxmill" : name;
}

}  // namespace
}  // namespace hub

Result<LoginReport> login(std::string_view token) {
  const bool plain =
      !token.empty() && token.size() <= hub::kLongestToken &&
      token.find_first_not_of(
          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == token.npos;
  if (!plain) {
    return Error(Code::kUsage, "that is no token; expected one like hf_...")
        .hint("make one at https://huggingface.co/settings/tokens");
  }
  hub::Settings settings = hub::settings_from_environment();
  LoginReport report;
  report.shadowed = settings.token_source == "HF_TOKEN" && !settings.token.empty();
  settings.token = token;
  settings.token_source = "this login";
  hub::Client client(settings, {});
  MLXMILL_ASSIGN(const hub::Response response, client.get(settings.endpoint + "/api/whoami-v2"));
  if (!response.ok()) return hub::refusal(response, "", settings);
  auto value = formats::parse_json(response.body, {.refuse_duplicate_keys = false});
  if (!value) return std::move(value).error().at(settings.endpoint);
  report.user = hub::text_of(value->find("name"));
  const base::Value* auth = value->find("auth");
  const base::Value* access = auth ? auth->find("accessToken") : nullptr;
  report.token_name = access ? hub::text_of(access->find("displayName")) : "";
  report.role = access ? hub::text_of(access->find("role")) : "";
  const std::filesystem::path stored = settings.token_path.parent_path() / "stored_tokens";
  const Result<std::string> others = io::read_text(stored, hub::kMostStoredBytes);
  MLXMILL_TRY(hub::write_secret(
      stored,
      hub::with_section(others ? *others : "", hub::section_name(report.token_name), token)));
  MLXMILL_TRY(hub::write_secret(settings.token_path, token));
  report.path = settings.token_path;
  return report;
}

}  // namespace mlxmill
