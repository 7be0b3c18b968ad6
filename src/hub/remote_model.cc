#include "hub/remote_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/quoted.h"
#include "base/value.h"
#include "formats/json.h"
#include "hub/answer.h"
#include "hub/model_name.h"
#include "hub/url.h"
#include "io/checksum.h"

namespace mlxmill::hub {
namespace {

using base::Value;

constexpr std::size_t kMostFiles = 200'000;
constexpr std::size_t kMostPages = 10'000;
constexpr std::size_t kMostNames = 3;

Error senseless(std::string what, const Response& response) {
  return Error(Code::kInvalidInput, std::move(what))
      .at(without_query(response.url))
      .hint("does HF_ENDPOINT name a Hub?");
}

Result<Value> parse(const Response& response) {
  Result<Value> value = formats::parse_json(response.body, {.refuse_duplicate_keys = false});
  if (!value) return senseless("is no JSON: " + value.error().what(), response);
  return value;
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

/// The URL of `Link: <URL>; rel="next"`; "" without one.
std::string next_page(const Response& response) {
  const std::string_view link = response.header("link");
  const std::size_t begin = link.find('<');
  const std::size_t end = link.find('>');
  if (begin == link.npos || end == link.npos || end < begin) return "";
  if (link.find("rel=\"next\"", end) == link.npos) return "";
  return joined(response.url, link.substr(begin + 1, end - begin - 1));
}

Result<RemoteFile> parse_file(const Value& item, const Response& response) {
  RemoteFile file;
  file.path = text_of(item.find("path"));
  file.oid = text_of(item.find("oid"));
  const Value* size = item.find("size");
  if (const Value* lfs = item.find("lfs"); lfs && lfs->as_object()) {
    file.sha256 = text_of(lfs->find("oid"));
    if (lfs->find("size")) size = lfs->find("size");
    if (!is_hex(file.sha256, 64)) return senseless("has an LFS file without a SHA-256", response);
  }
  const std::int64_t* bytes = size ? size->as_int() : nullptr;
  if (!bytes || *bytes < 0 || !is_hex(file.oid, 40))
    return senseless(fmt::format("says too little of {}", base::quoted(file.path)), response);
  if (!is_safe_path(file.path)) {
    return senseless(fmt::format("has a file that leaves its folder: {}", base::quoted(file.path)),
                     response);
  }
  file.bytes = static_cast<std::uint64_t>(*bytes);
  return file;
}

/// Names on the Hub that look like `repo`; "" when the search fails, which is no error of its own.
std::string nearest_names(Client& client, const std::string& repo) {
  const std::string name = repo.substr(repo.find('/') + 1);
  std::vector<std::string> found;
  // The whole name first, then what stands before its last mark: "Qwen3-8B-Instruct", "Qwen3-8B".
  for (std::string query = name; found.size() < kMostNames && query.size() >= 3;) {
    Request request;
    request.url = fmt::format("{}/api/models?search={}&limit={}", client.settings().endpoint,
                              percent_encoded(query), kMostNames);
    const Result<Response> response = client.send_once(request);
    if (!response || !response->ok()) break;
    const Result<Value> value = parse(*response);
    const base::Array* items = value ? value->as_array() : nullptr;
    for (const Value& item : items ? *items : base::Array()) {
      const std::string id = text_of(item.find("id"));
      if (!id.empty() && found.size() < kMostNames &&
          std::find(found.begin(), found.end(), id) == found.end())
        found.push_back(base::quoted(id));
    }
    const std::size_t mark = query.find_last_of("-_.");
    if (!found.empty() || mark == query.npos) break;
    query.resize(mark);
  }
  return fmt::format("{}", fmt::join(found, ", "));
}

Error model_refusal(Client& client, const Response& response, const std::string& repo) {
  Error error = refusal(response, repo, client.settings());
  if (error.code() != Code::kNotFound || response.header("x-error-code") == "RevisionNotFound")
    return error;
  const std::string names = nearest_names(client, repo);
  if (names.empty()) return error;
  // The names before the advice about tokens, which fewer people need.
  Error better(error.code(), error.what());
  better.at(error.where());
  better.hint("there is " + names + (error.hint().empty() ? "" : "; " + error.hint()));
  return better;
}

Status list_files(Client& client, RemoteModel& model) {
  std::string url =
      fmt::format("{}/api/models/{}/tree/{}?recursive=true&limit=1000", client.settings().endpoint,
                  percent_encoded(model.repo, true), model.commit);
  for (std::size_t page = 0; !url.empty(); ++page) {
    MLXMILL_ASSIGN(const Response response, client.get(url));
    if (!response.ok()) return model_refusal(client, response, model.repo);
    MLXMILL_ASSIGN(const Value value, parse(response));
    const base::Array* items = value.as_array();
    if (!items || page >= kMostPages || model.files.size() + items->size() > kMostFiles)
      return senseless("is no list of files, or one without end", response);
    for (const Value& item : *items) {
      if (text_of(item.find("type")) != "file") continue;
      MLXMILL_ASSIGN(RemoteFile file, parse_file(item, response));
      model.files.push_back(std::move(file));
    }
    url = next_page(response);
  }
  std::sort(model.files.begin(), model.files.end(),
            [](const RemoteFile& a, const RemoteFile& b) { return a.path < b.path; });
  return {};
}

}  // namespace

const RemoteFile* RemoteModel::find(std::string_view path) const {
  const auto it =
      std::lower_bound(files.begin(), files.end(), path,
                       [](const RemoteFile& f, std::string_view p) { return f.path < p; });
  return it != files.end() && it->path == path ? &*it : nullptr;
}

Result<RemoteModel> open_remote_model(Client& client, const std::string& repo,
                                      const std::string& revision) {
  RemoteModel model;
  model.repo = repo;
  const std::string url = fmt::format("{}/api/models/{}/revision/{}", client.settings().endpoint,
                                      percent_encoded(repo, true),
                                      percent_encoded(revision.empty() ? "main" : revision));
  MLXMILL_ASSIGN(const Response response, client.get(url));
  if (!response.ok()) {
    Error error = model_refusal(client, response, repo);
    if (!revision.empty()) error.at("revision " + base::quoted(revision));
    return error;
  }
  MLXMILL_ASSIGN(const Value value, parse(response));
  model.commit = text_of(value.find("sha"));
  if (!is_commit(model.commit)) return senseless("names no commit", response);
  model.last_modified = text_of(value.find("lastModified"));
  // false, "auto" or "manual".
  model.gated = value.find("gated") && value.find("gated")->as_string();
  if (const std::string id = text_of(value.find("id")); id != repo) model.new_name = id;
  MLXMILL_TRY(list_files(client, model));
  return model;
}

std::string file_url(const Settings& settings, const std::string& repo, const std::string& commit,
                     const std::string& path) {
  return fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, percent_encoded(repo, true), commit,
                     percent_encoded(path, true));
}

Result<std::string> read_remote_file(Client& client, const RemoteModel& model,
                                     const RemoteFile& file) {
  for (int tries = 0;; ++tries) {
    MLXMILL_ASSIGN(Response response,
                   client.get(file_url(client.settings(), model.repo, model.commit, file.path)));
    if (!response.ok()) return refusal(response, model.repo, client.settings()).at(file.path);
    io::Checksum checksum =
        file.sha256.empty() ? io::Checksum::git_blob(file.bytes) : io::Checksum::sha256();
    checksum.update(std::as_bytes(std::span(response.body.data(), response.body.size())));
    const std::string got = checksum.finish();
    if (got == file.etag()) return std::move(response.body);
    if (tries > 0) {
      return Error(Code::kInvalidInput,
                   fmt::format("arrived twice with wrong bytes; expected hash {}, got {}",
                               file.etag(), got))
          .at(file.path);
    }
  }
}

}  // namespace mlxmill::hub
