#include "hub/streamed_model.h"

#include <fmt/format.h>

#include <charconv>

#include "hub/download.h"

namespace mlxmill::hub {
namespace {

/// Of the shards of large models, whose headers are mostly shorter.
constexpr std::uint64_t kFirstReadBytes = 16 << 10;

/// One weight file of the stream.
class StreamedFile final : public io::ByteSource {
 public:
  StreamedFile(BlockStream& stream, std::size_t index, const RemoteFile& file)
      : stream_(stream), index_(index), bytes_(file.bytes) {
    // 60 bits of the content's hash.
    std::from_chars(file.etag().data(), file.etag().data() + 15, version_, 16);
  }

  std::uint64_t size() const override { return bytes_; }
  std::int64_t version() const override { return version_; }
  Status read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    return stream_.read(index_, offset, out);
  }

 private:
  BlockStream& stream_;
  std::size_t index_;
  std::uint64_t bytes_;
  std::int64_t version_ = 0;
};

}  // namespace

struct StreamedModel::Remote {
  Remote(Settings settings, ModelName name, const HubOptions& options, const Callbacks& callbacks)
      : download(std::move(settings), std::move(name), options, callbacks) {}
  Download download;
};

StreamedModel::StreamedModel() = default;
StreamedModel::~StreamedModel() = default;

Result<std::unique_ptr<StreamedModel>> StreamedModel::open(const std::string& name,
                                                           const HubOptions& options,
                                                           const Callbacks& callbacks) {
  return open(name, options, callbacks, /*headers=*/false);
}

Result<std::unique_ptr<StreamedModel>> StreamedModel::open_headers(const std::string& name,
                                                                   const HubOptions& options,
                                                                   const Callbacks& callbacks) {
  return open(name, options, callbacks, /*headers=*/true);
}

const Settings& StreamedModel::settings() const { return remote_->download.settings(); }
std::uint64_t StreamedModel::bytes_received() const { return *settings().received; }

Result<std::unique_ptr<StreamedModel>> StreamedModel::open(const std::string& name,
                                                           const HubOptions& options,
                                                           const Callbacks& callbacks,
                                                           bool headers) {
  Settings settings = settings_for(options);
  settings.received = std::make_shared<std::atomic<std::uint64_t>>(0);
  MLXMILL_ASSIGN(ModelName parsed, name_for(name, options, settings));
  if (settings.offline) {
    return Error(Code::kUnsupported, "cannot be streamed: HF_HUB_OFFLINE is set").at(name);
  }
  std::unique_ptr<StreamedModel> streamed(new StreamedModel());
  streamed->remote_ =
      std::make_unique<Remote>(std::move(settings), std::move(parsed), options, callbacks);
  Download& download = streamed->remote_->download;
  MLXMILL_ASSIGN(RemoteModel model, download.open());
  MLXMILL_ASSIGN(const Selection selection, download.take_small(model, headers));
  if (!selection.gguf.empty()) {
    return Error(Code::kUnsupported, "GGUF files cannot be streamed")
        .at(name)
        .hint("leave --stream out: the file is then downloaded first");
  }
  std::vector<RemoteFile> weights;
  for (const RemoteFile* file : selection.weights) {
    if (file->sha256.empty() && !headers) {
      return Error(Code::kUnsupported, "is not in LFS, which weights are that can be streamed")
          .at(file->path)
          .at(name)
          .hint("leave --stream out: the model is then downloaded first");
    }
    weights.push_back(*file);
  }
  streamed->stream_ = std::make_unique<BlockStream>(
      download.settings(), model.repo, model.commit, weights, options.connections,
      download.monitor(), headers ? kFirstReadBytes : BlockStream::kEarlyBytes);
  MLXMILL_TRY(streamed->stream_->fetch_headers(options.connections));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    streamed->files_[weights[i].path] =
        std::make_shared<StreamedFile>(*streamed->stream_, i, weights[i]);
  }
  streamed->model_ = download.result();
  streamed->listed_ = std::move(model);
  return streamed;
}

}  // namespace mlxmill::hub
