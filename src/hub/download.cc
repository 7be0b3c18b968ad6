#include "hub/download.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <system_error>

#include "base/quoted.h"
#include "hub/cache.h"
#include "hub/client.h"
#include "hub/model_name.h"
#include "hub/monitor.h"
#include "hub/offline.h"
#include "hub/remote_model.h"
#include "hub/select_files.h"
#include "hub/transfer.h"
#include "io/file.h"
#include "io/free_space.h"
#include "mlxmill/hub.h"

namespace mlxmill {
namespace hub {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostIndexBytes = 256 << 20;
/// Left free beside what is downloaded: links, journals, what others write meanwhile.
constexpr std::uint64_t kSpareBytes = 16 << 20;

/// Files that readers of the cache ask for and many models lack.
constexpr std::string_view kOptional[] = {"added_tokens.json",
                                          "chat_template.jinja",
                                          "chat_template.json",
                                          "generation_config.json",
                                          "merges.txt",
                                          "model.safetensors.index.json",
                                          "preprocessor_config.json",
                                          "processor_config.json",
                                          "special_tokens_map.json",
                                          "tokenizer.model",
                                          "tokenizer_config.json",
                                          "vocab.json"};

bool is_setting(std::string_view path) {
  static constexpr std::string_view kSettings[] = {"config.json", "generation_config.json",
                                                   "hf_quant_config.json", "quantize_config.json",
                                                   "quant_config.json"};
  return std::find(std::begin(kSettings), std::end(kSettings), path) != std::end(kSettings);
}

}  // namespace

Settings settings_for(const HubOptions& options) {
  Settings settings = settings_from_environment();
  if (!options.cache.empty()) settings.cache = options.cache;
  return settings;
}

Result<ModelName> name_for(const std::string& text, const HubOptions& options,
                           const Settings& settings) {
  MLXMILL_ASSIGN(ModelName name, parse_model_name(text, settings));
  if (!options.revision.empty()) {
    if (!name.revision.empty() && name.revision != options.revision)
      return Error(Code::kUsage, "names one revision, and --revision another").at(text);
    if (!is_revision(options.revision))
      return Error(Code::kUsage, "is no revision").at(base::quoted(options.revision));
    name.revision = options.revision;
  }
  if (name.revision.empty()) name.revision = "main";
  if (!options.file.empty()) {
    if (!name.file.empty() && name.file != options.file)
      return Error(Code::kUsage, "names one file, and --file another").at(text);
    name.file = options.file;
  }
  return name;
}

Download::Download(Settings settings, ModelName name, const HubOptions& options,
                   const Callbacks& callbacks)
    : settings_(std::move(settings)),
      name_(std::move(name)),
      options_(options),
      cache_(settings_.cache, name_.repo),
      monitor_(callbacks),
      client_(settings_, [this] { return monitor_.stopped(); }) {
  result_.repo = name_.repo;
  result_.revision = name_.revision;
}

Status Download::run() {
  if (settings_.offline) {
    Status status = from_cache();
    if (status) return status;
    return std::move(status).error().hint("HF_HUB_OFFLINE is set: nothing is downloaded");
  }
  Result<RemoteModel> model = open();
  if (!model) {
    if (model.error().code() != Code::kNetwork || !from_cache()) return std::move(model).error();
    monitor_.warn(
        fmt::format("the Hub cannot be reached ({}); going on with commit {} of the cache",
                    model.error().message(), result_.commit));
    return {};
  }
  MLXMILL_ASSIGN(const Selection selection, take_small(*model));
  return take_weights(*model, selection);
}

Status Download::from_cache() {
  MLXMILL_ASSIGN(CachedModel found, find_cached(cache_, name_.repo, name_.revision, name_.file));
  result_.commit = found.commit;
  result_.path = found.path;
  result_.offline = true;
  return {};
}

Result<RemoteModel> Download::open() {
  MLXMILL_ASSIGN(RemoteModel model, open_remote_model(client_, name_.repo, name_.revision));
  if (!model.new_name.empty()) {
    monitor_.note(fmt::format("{} is called {} now", model.repo, base::quoted(model.new_name)));
  }
  result_.commit = model.commit;
  return model;
}

Result<Selection> Download::take_small(const RemoteModel& model, bool only_settings) {
  MLXMILL_ASSIGN(Selection selection, select_files(model, name_.file));
  if (only_settings) {
    std::erase_if(selection.small, [&](const RemoteFile* file) {
      return file != selection.index && !is_setting(file->path);
    });
  }
  MLXMILL_TRY(cache_.make());
  MLXMILL_TRY(cache_.write_ref(name_.revision, model.commit));
  MLXMILL_TRY(take(model, selection.small, "downloading small files"));
  if (selection.index) {
    MLXMILL_ASSIGN(const std::string text,
                   io::read_text(cache_.blob(selection.index->etag()), kMostIndexBytes));
    MLXMILL_TRY(select_indexed(model, text, selection));
  }
  for (const std::string_view path : kOptional) {
    if (selection.gguf.empty() && !model.find(path))
      cache_.note_absent(model.commit, std::string(path));
  }
  result_.path = cache_.snapshot(model.commit);
  if (!selection.gguf.empty()) result_.path /= selection.gguf;
  return selection;
}

Status Download::take_weights(const RemoteModel& model, const Selection& selection) {
  return take(model, selection.weights, "downloading");
}

bool Download::is_there(const RemoteFile& file) const {
  std::error_code error;
  return fs::file_size(cache_.blob(file.etag()), error) == file.bytes && !error;
}

Status Download::check_space(const Files& missing) const {
  std::uint64_t needed = kSpareBytes;
  for (const RemoteFile* file : missing) {
    const fs::path partial = cache_.blobs() / (file->etag() + ".mlxmill.incomplete");
    const std::uint64_t there = std::min(io::allocated_bytes(partial), file->bytes);
    needed += file->bytes - there;
  }
  MLXMILL_ASSIGN(const std::uint64_t free, io::free_space(settings_.cache));
  if (needed <= free) return {};
  return Error(Code::kNoSpace,
               fmt::format("not enough disk space for {}; {} are needed, {} are free", name_.repo,
                           io::format_bytes(needed), io::format_bytes(free)))
      .at(settings_.cache.string())
      .hint("HF_HUB_CACHE puts the cache on another disk");
}

Status Download::take(const RemoteModel& model, const Files& files, std::string_view phase) {
  Files missing;
  std::uint64_t bytes = 0;
  for (const RemoteFile* file : files) {
    result_.bytes += file->bytes;
    ++result_.files;
    if (is_there(*file)) continue;
    missing.push_back(file);
    bytes += file->bytes;
  }
  if (!missing.empty()) {
    MLXMILL_TRY(check_space(missing));
    monitor_.begin(phase, bytes, missing.size());
    MLXMILL_ASSIGN(const TransferResult done, transfer_blobs(settings_, cache_, model, missing,
                                                             options_.connections, monitor_));
    monitor_.end();
    result_.bytes_downloaded += done.bytes_downloaded;
    result_.bytes_resumed += done.bytes_resumed;
  }
  for (const RemoteFile* file : files)
    MLXMILL_TRY(cache_.link(model.commit, file->path, file->etag()));
  return {};
}

}  // namespace hub

bool is_hub_name(std::string_view source) { return hub::looks_like_model_name(source); }

Result<HubModel> download_model(const std::string& name, const HubOptions& options,
                                const Callbacks& callbacks) {
  const auto start = std::chrono::steady_clock::now();
  hub::Settings settings = hub::settings_for(options);
  MLXMILL_ASSIGN(hub::ModelName parsed, hub::name_for(name, options, settings));
  hub::Download download(std::move(settings), std::move(parsed), options, callbacks);
  MLXMILL_TRY(download.run());
  HubModel model = std::move(download.result());
  model.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return model;
}

}  // namespace mlxmill
