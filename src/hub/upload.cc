#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/quoted.h"
#include "base/value.h"
#include "formats/json.h"
#include "hub/client.h"
#include "hub/lfs_upload.h"
#include "hub/local_files.h"
#include "hub/model_name.h"
#include "hub/monitor.h"
#include "hub/remote_model.h"
#include "hub/url.h"
#include "io/file.h"
#include "mlxmill/upload.h"
#include "mlxmill/version.h"

namespace mlxmill {
namespace hub {
namespace {

using base::Array;
using base::Object;
using base::Value;

constexpr std::size_t kMostInPreupload = 256;
constexpr std::uint64_t kMostRegularBytes = 10 << 20;
constexpr std::size_t kMostNamed = 5;

std::string line_of(const Value& value) { return formats::dump_json(value, {.indent = -1}) + "\n"; }

Value operation(const char* key, Object value) {
  return Object{{"key", Value(key)}, {"value", Value(std::move(value))}};
}

/// One call of upload_folder().
class Upload {
 public:
  Upload(Settings settings, const UploadOptions& options, const Callbacks& callbacks)
      : settings_(std::move(settings)),
        options_(options),
        monitor_(callbacks),
        client_(settings_, [this] { return monitor_.stopped(); }) {}

  /// Everything that can be known before a byte is sent. `make`: a missing repository is made.
  Status prepare(bool make) {
    if (settings_.token.empty()) {
      return Error(Code::kPermission, "uploading takes a token with write access")
          .at(options_.repo)
          .hint("run mlxmill login, or set HF_TOKEN");
    }
    if (settings_.offline) return Error(Code::kUsage, "HF_HUB_OFFLINE is set").at(options_.repo);
    MLXMILL_ASSIGN(const Response who, client_.get(settings_.endpoint + "/api/whoami-v2"));
    if (!who.ok()) return refusal(who, "", settings_);
    return find_repository(make);
  }

  Result<UploadReport> run() {
    MLXMILL_ASSIGN(files_, list_local_files(options_.folder));
    MLXMILL_TRY(prepare(true));
    MLXMILL_TRY(hash_files());
    MLXMILL_TRY(ask_modes());
    MLXMILL_TRY(check_overwriting());
    MLXMILL_TRY(send_large());
    MLXMILL_TRY(commit());
    report_.url = settings_.endpoint + "/" + options_.repo;
    report_.files = files_.size();
    return report_;
  }

 private:
  Status find_repository(bool make) {
    Result<RemoteModel> found = open_remote_model(client_, options_.repo, "");
    if (found) {
      remote_ = *std::move(found);
      const bool empty = std::all_of(
          remote_.files.begin(), remote_.files.end(),
          [](const RemoteFile& f) { return f.path == ".gitattributes" || f.path == "README.md"; });
      // Whether files are the same is known after hashing; that there are some, at once.
      if (!make && !empty && !options_.force) return holds_files();
      return {};
    }
    if (found.error().code() != Code::kNotFound) return std::move(found).error();
    if (!options_.create) {
      return Error(Code::kNotFound, "is not on the Hub")
          .at(options_.repo)
          .hint("--create makes it");
    }
    return make ? create() : Status();
  }

  Error holds_files() const {
    return Error(Code::kOutputExists, "holds a model already")
        .at(options_.repo)
        .hint("choose another name, or --force to replace it");
  }

  Result<Response> post(const std::string& url, std::string body, const char* type) {
    Request request;
    request.method = "POST";
    request.url = url;
    request.headers = {fmt::format("Content-Type: {}", type)};
    request.body = std::move(body);
    return client_.send(request);
  }

  Status create() {
    const std::size_t slash = options_.repo.find('/');
    Object body{{"name", Value(options_.repo.substr(slash + 1))},
                {"organization", Value(options_.repo.substr(0, slash))},
                {"type", Value("model")}};
    if (options_.make_private) body.push_back({"visibility", Value("private")});
    MLXMILL_ASSIGN(const Response response,
                   post(settings_.endpoint + "/api/repos/create", line_of(Value(std::move(body))),
                        "application/json"));
    // 409: somebody was faster, which is as good.
    if (!response.ok() && response.status != 409)
      return refusal(response, "", settings_).at("cannot create " + options_.repo);
    MLXMILL_ASSIGN(remote_, open_remote_model(client_, options_.repo, ""));
    return {};
  }

  Status hash_files() {
    for (const LocalFile& file : files_) report_.bytes += file.bytes;
    monitor_.begin("hashing", report_.bytes, files_.size());
    for (LocalFile& file : files_) {
      MLXMILL_TRY(hash_local_file(file, [this](std::uint64_t bytes) {
        monitor_.add_bytes(static_cast<std::int64_t>(bytes));
        return !monitor_.stopped();
      }));
      monitor_.add_file();
    }
    monitor_.end();
    return {};
  }

  /// Asks which files belong into LFS.
  Status ask_modes() {
    for (std::size_t begin = 0; begin < files_.size(); begin += kMostInPreupload) {
      const std::size_t end = std::min(begin + kMostInPreupload, files_.size());
      Array list;
      for (std::size_t i = begin; i < end; ++i) {
        list.push_back(Object{{"path", Value(files_[i].path)},
                              {"sample", Value(base64(files_[i].sample))},
                              {"size", Value(static_cast<std::int64_t>(files_[i].bytes))}});
      }
      const std::string url =
          fmt::format("{}/api/models/{}/preupload/main", settings_.endpoint, options_.repo);
      MLXMILL_ASSIGN(const Response response,
                     post(url, line_of(Object{{"files", std::move(list)}}), "application/json"));
      if (!response.ok()) return refusal(response, options_.repo, settings_);
      auto answer = formats::parse_json(response.body, {.refuse_duplicate_keys = false});
      const Value* modes = answer ? answer->find("files") : nullptr;
      if (!modes || !modes->as_array())
        return Error(Code::kInvalidInput, "the answer makes no sense").at(url);
      for (const Value& mode : *modes->as_array()) note_mode(mode);
    }
    return {};
  }

  void note_mode(const Value& mode) {
    const Value* path = mode.find("path");
    const Value* how = mode.find("uploadMode");
    for (LocalFile& file : files_) {
      if (!path || !path->as_string() || file.path != *path->as_string()) continue;
      // Storage refuses empty objects.
      file.lfs = how && how->as_string() && *how->as_string() == "lfs" && file.bytes > 0;
      const RemoteFile* there = remote_.find(file.path);
      file.same = there && there->etag() == (file.lfs ? file.sha256 : file.git_oid);
    }
  }

  /// Files of the repository that the folder replaces by others.
  Status check_overwriting() const {
    std::string names;
    std::size_t n = 0;
    for (const LocalFile& file : files_) {
      if (file.same || !remote_.find(file.path)) continue;
      if (++n <= kMostNamed) names += (names.empty() ? "" : ", ") + base::quoted(file.path);
    }
    for (const LocalFile& file : files_) {
      if (!file.lfs && !file.same && file.bytes > kMostRegularBytes)
        return Error(Code::kUnsupported, "is too large for a file that is not in LFS")
            .at(file.path);
    }
    if (n == 0 || options_.force) return {};
    if (n > kMostNamed) names += fmt::format(" and {} more", n - kMostNamed);
    return holds_files().at("replacing " + names);
  }

  Status send_large() {
    std::vector<const LocalFile*> large;
    std::uint64_t bytes = 0;
    for (const LocalFile& file : files_) {
      if (!file.lfs || file.same) continue;
      large.push_back(&file);
      bytes += file.bytes;
    }
    if (large.empty()) return {};
    monitor_.begin("uploading", bytes, large.size());
    MLXMILL_ASSIGN(report_.bytes_sent, upload_lfs_files(settings_, options_.repo, large,
                                                        options_.connections, monitor_));
    monitor_.end();
    return {};
  }

  /// Weights of the repository that are none of the new model's.
  std::vector<std::string> stale_weights() const {
    std::vector<std::string> stale;
    for (const RemoteFile& file : remote_.files) {
      const bool weights =
          file.path.find('/') == std::string::npos &&
          (file.path.ends_with(".safetensors") || file.path == "model.safetensors.index.json");
      const bool kept = std::any_of(files_.begin(), files_.end(), [&](const LocalFile& local) {
        return local.path == file.path;
      });
      if (weights && !kept) stale.push_back(file.path);
    }
    return stale;
  }

  Status commit() {
    const std::string summary = options_.message.empty()
                                    ? fmt::format("Upload model with mlxmill {}", version())
                                    : options_.message;
    std::string body = line_of(operation("header", {{"summary", Value(summary)},
                                                    {"description", Value("")},
                                                    {"parentCommit", Value(remote_.commit)}}));
    for (const LocalFile& file : files_) {
      if (file.same) continue;
      ++report_.changed;
      if (file.lfs) {
        body +=
            line_of(operation("lfsFile", {{"path", Value(file.path)},
                                          {"algo", Value("sha256")},
                                          {"oid", Value(file.sha256)},
                                          {"size", Value(static_cast<std::int64_t>(file.bytes))}}));
        continue;
      }
      MLXMILL_ASSIGN(const std::string text, io::read_text(file.file, kMostRegularBytes));
      body += line_of(operation("file", {{"content", Value(base64(text))},
                                         {"path", Value(file.path)},
                                         {"encoding", Value("base64")}}));
    }
    for (const std::string& path : options_.force ? stale_weights() : std::vector<std::string>()) {
      ++report_.changed;
      body += line_of(operation("deletedFile", {{"path", Value(path)}}));
    }
    if (report_.changed == 0) return {};
    return send_commit(std::move(body));
  }

  Status send_commit(std::string body) {
    // Sent once: whether a commit whose answer was lost has been made, only the Hub knows.
    Request request;
    request.method = "POST";
    request.url = fmt::format("{}/api/models/{}/commit/main", settings_.endpoint, options_.repo);
    request.headers = {"Content-Type: application/x-ndjson"};
    request.body = std::move(body);
    Result<Response> response = client_.send_once(request);
    if (!response) {
      return std::move(response).error().hint(
          "run the same command again: what has been uploaded is not sent again");
    }
    if (response->status == 412) {
      return Error(Code::kOutputExists, "somebody else has committed meanwhile")
          .at(options_.repo)
          .hint("look at the model's page, then run the same command again");
    }
    if (!response->ok()) return refusal(*response, options_.repo, settings_);
    auto answer = formats::parse_json(response->body, {.refuse_duplicate_keys = false});
    const Value* commit = answer ? answer->find("commitOid") : nullptr;
    if (commit && commit->as_string()) report_.commit = *commit->as_string();
    return {};
  }

  Settings settings_;
  const UploadOptions& options_;
  Monitor monitor_;
  Client client_;
  std::vector<LocalFile> files_;
  RemoteModel remote_;
  UploadReport report_;
};

Status check_name(const UploadOptions& options, const Settings& settings) {
  MLXMILL_ASSIGN(const ModelName name, parse_model_name(options.repo, settings));
  if (name.repo == options.repo && options.repo.find('/') != std::string::npos) return {};
  return Error(Code::kUsage, "is no name to upload to; expected owner/name").at(options.repo);
}

}  // namespace
}  // namespace hub

Status check_upload(const UploadOptions& options) {
  hub::Settings settings = hub::settings_from_environment();
  MLXMILL_TRY(hub::check_name(options, settings));
  const Callbacks none;
  return hub::Upload(std::move(settings), options, none).prepare(false);
}

Result<UploadReport> upload_folder(const UploadOptions& options, const Callbacks& callbacks) {
  const auto start = std::chrono::steady_clock::now();
  hub::Settings settings = hub::settings_from_environment();
  MLXMILL_TRY(hub::check_name(options, settings));
  Result<UploadReport> report = hub::Upload(std::move(settings), options, callbacks).run();
  if (report)
    report->seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace mlxmill
