#include "hub/lfs_upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <mutex>

#include "base/parallel.h"
#include "base/value.h"
#include "formats/json.h"
#include "hub/answer.h"
#include "hub/client.h"
#include "hub/url.h"
#include "io/file.h"

namespace mlxmill::hub {
namespace {

using base::Array;
using base::Object;
using base::Value;

constexpr std::size_t kMostInBatch = 100;
/// Signed URLs end: so many times new ones are asked for.
constexpr int kMostRounds = 3;
constexpr const char* kLfsType = "application/vnd.git-lfs+json";

/// What the Hub wants done for one file.
struct LfsUpload {
  const LocalFile* file = nullptr;
  std::string href;  ///< To PUT the whole to, or to POST the list of parts to.
  std::string verify;
  std::uint64_t part_bytes = 0;  ///< 0: in one part.
  std::vector<std::string> parts;
  std::vector<std::string> etags;
  std::size_t parts_left = 0;
  bool expired = false;
};

/// One PUT.
struct Piece {
  std::size_t upload = 0;
  std::size_t part = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

Error senseless(const std::string& url) {
  return Error(Code::kInvalidInput, "the answer about uploads makes no sense")
      .at(without_query(url));
}

class LfsUploader {
 public:
  LfsUploader(const Settings& settings, const std::string& repo, Monitor& monitor)
      : settings_(settings),
        repo_(repo),
        monitor_(monitor),
        client_(settings, [&] { return monitor.stopped(); }) {}

  Result<std::uint64_t> run(std::vector<const LocalFile*> files, int connections) {
    for (int round = 0; !files.empty(); ++round) {
      MLXMILL_TRY(plan(files));
      send_pieces(connections);
      MLXMILL_TRY(monitor_.status());
      files.clear();
      for (const LfsUpload& upload : uploads_) {
        if (upload.expired) files.push_back(upload.file);
      }
      if (!files.empty() && round + 1 == kMostRounds)
        return Error(Code::kNetwork, "upload addresses keep expiring").at(files.front()->path);
    }
    return sent_;
  }

 private:
  /// Asks where to send what.
  Status plan(const std::vector<const LocalFile*>& files) {
    uploads_.clear();
    pieces_.clear();
    for (std::size_t begin = 0; begin < files.size(); begin += kMostInBatch) {
      const std::size_t n = std::min(kMostInBatch, files.size() - begin);
      MLXMILL_TRY(plan_batch(std::span(files).subspan(begin, n)));
    }
    return {};
  }

  Result<Value> post(const std::string& url, const Value& body) {
    Request request;
    request.method = "POST";
    request.url = url;
    request.headers = {fmt::format("Accept: {}", kLfsType),
                       fmt::format("Content-Type: {}", kLfsType)};
    request.body = formats::dump_json(body, {.indent = -1});
    MLXMILL_ASSIGN(const Response response, client_.send(request));
    if (!response.ok()) return refusal(response, repo_, settings_);
    if (response.body.empty()) return Value(Object{});
    auto value = formats::parse_json(response.body, {.refuse_duplicate_keys = false});
    if (!value) return senseless(url);
    return value;
  }

  Status plan_batch(std::span<const LocalFile* const> files) {
    Array objects;
    std::map<std::string, const LocalFile*> by_oid;
    for (const LocalFile* file : files) {
      if (!by_oid.emplace(file->sha256, file).second) continue;
      objects.push_back(Object{{"oid", Value(file->sha256)},
                               {"size", Value(static_cast<std::int64_t>(file->bytes))}});
    }
    const std::string url =
        fmt::format("{}/{}.git/info/lfs/objects/batch", settings_.endpoint, repo_);
    MLXMILL_ASSIGN(const Value answer,
                   post(url, Object{{"operation", Value("upload")},
                                    {"transfers", Array{Value("basic"), Value("multipart")}},
                                    {"objects", std::move(objects)},
                                    {"hash_algo", Value("sha256")}}));
    const Value* list = answer.find("objects");
    if (!list || !list->as_array()) return senseless(url);
    for (const Value& object : *list->as_array()) {
      const auto it = by_oid.find(text_of(object.find("oid")));
      if (it == by_oid.end()) return senseless(url);
      if (const Value* error = object.find("error")) {
        return Error(Code::kIo, "the Hub does not take it: " + text_of(error->find("message")))
            .at(it->second->path);
      }
      MLXMILL_TRY(add_upload(*it->second, object, url));
    }
    return {};
  }

  Status add_upload(const LocalFile& file, const Value& object, const std::string& url) {
    const Value* actions = object.find("actions");
    const Value* action = actions ? actions->find("upload") : nullptr;
    if (!action) {
      monitor_.add_bytes(static_cast<std::int64_t>(file.bytes));  // The Hub has it.
      return {};
    }
    LfsUpload upload;
    upload.file = &file;
    upload.href = text_of(action->find("href"));
    if (const Value* verify = actions->find("verify"))
      upload.verify = text_of(verify->find("href"));
    const Value* header = action->find("header");
    const std::string chunk = header ? text_of(header->find("chunk_size")) : "";
    std::from_chars(chunk.data(), chunk.data() + chunk.size(), upload.part_bytes);
    const std::uint64_t size = upload.part_bytes ? upload.part_bytes : file.bytes;
    const std::uint64_t n = size ? (file.bytes + size - 1) / size : 1;
    for (std::uint64_t part = 0; part < n; ++part) {
      const std::string href =
          upload.part_bytes ? text_of(header->find(std::to_string(part + 1))) : upload.href;
      if (origin_of(href).empty()) return senseless(url);
      upload.parts.push_back(href);
      pieces_.push_back(
          {uploads_.size(), part, part * size, std::min((part + 1) * size, file.bytes)});
    }
    upload.etags.resize(n);
    upload.parts_left = n;
    uploads_.push_back(std::move(upload));
    return {};
  }

  void send_pieces(int connections) {
    std::size_t next = 0;
    base::run_workers(std::clamp(connections, 1, 16), [&](int) {
      Client client(settings_, [this] { return monitor_.stopped(); });
      while (!monitor_.stopped()) {
        std::size_t index = 0;
        {
          const std::lock_guard lock(mutex_);
          if (next == pieces_.size()) return;
          index = next++;
        }
        const Piece& piece = pieces_[index];
        Status status = send_piece(client, piece);
        if (!status) monitor_.fail(std::move(status.error().at(uploads_[piece.upload].file->path)));
      }
    });
  }

  Status send_piece(Client& client, const Piece& piece) {
    LfsUpload& upload = uploads_[piece.upload];
    MLXMILL_ASSIGN(const io::File file, io::File::open_read(upload.file->file));
    Request request;
    request.method = "PUT";
    request.url = upload.parts[piece.part];
    request.read_bytes = piece.end - piece.begin;
    request.read_body = [&](std::uint64_t offset, std::span<std::byte> out) -> Result<std::size_t> {
      const std::size_t n = std::min<std::uint64_t>(out.size(), request.read_bytes - offset);
      MLXMILL_TRY(file.read_at(piece.begin + offset, out.first(n)));
      return n;
    };
    Backoff backoff(client.cancelled());
    while (true) {
      Result<Response> response = client.send_once(request);
      if (response && response->ok()) {
        monitor_.add_bytes(static_cast<std::int64_t>(request.read_bytes));
        return part_sent(upload, piece, std::string(response->header("etag")));
      }
      if (!response && response.error().code() != Code::kNetwork)
        return std::move(response).error();
      if (response && response->status == 403) {
        const std::lock_guard lock(mutex_);
        upload.expired = true;
        return {};
      }
      if (response && !is_passing(response->status)) return refusal(*response, repo_, settings_);
      if (backoff.wait(response ? &*response : nullptr)) continue;
      if (monitor_.stopped()) return Error(Code::kCancelled, "stopped on request");
      return response ? refusal(*response, repo_, settings_) : std::move(response).error();
    }
  }

  Status part_sent(LfsUpload& upload, const Piece& piece, const std::string& etag) {
    {
      const std::lock_guard lock(mutex_);
      sent_ += piece.end - piece.begin;
      upload.etags[piece.part] = etag;
      if (--upload.parts_left > 0 || upload.expired) return {};
    }
    const std::lock_guard lock(finish_mutex_);  // One client serves all of these.
    if (upload.part_bytes) {
      Array parts;
      for (std::size_t i = 0; i < upload.etags.size(); ++i) {
        parts.push_back(Object{{"partNumber", Value(static_cast<std::int64_t>(i + 1))},
                               {"etag", Value(upload.etags[i])}});
      }
      MLXMILL_TRY(post(upload.href,
                       Object{{"oid", Value(upload.file->sha256)}, {"parts", std::move(parts)}}));
    }
    if (!upload.verify.empty()) {
      MLXMILL_TRY(post(upload.verify,
                       Object{{"oid", Value(upload.file->sha256)},
                              {"size", Value(static_cast<std::int64_t>(upload.file->bytes))}}));
    }
    monitor_.add_file();
    return {};
  }

  const Settings& settings_;
  const std::string& repo_;
  Monitor& monitor_;
  Client client_;
  std::vector<LfsUpload> uploads_;
  std::vector<Piece> pieces_;
  std::mutex mutex_;         ///< Guards what pieces have come to.
  std::mutex finish_mutex_;  ///< Guards client_ while pieces are sent.
  std::uint64_t sent_ = 0;
};

}  // namespace

Result<std::uint64_t> upload_lfs_files(const Settings& settings, const std::string& repo,
                                       const std::vector<const LocalFile*>& files, int connections,
                                       Monitor& monitor) {
  return LfsUploader(settings, repo, monitor).run(files, connections);
}

}  // namespace mlxmill::hub
