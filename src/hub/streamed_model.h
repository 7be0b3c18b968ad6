// A model whose small files are in the cache and whose weights are read over the network.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "formats/model_folder.h"
#include "hub/block_stream.h"
#include "hub/monitor.h"
#include "mlxmill/hub.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

class StreamedModel {
 public:
  /// Downloads config, tokenizer and what else is small, as download_model() does, and opens the
  /// weights. `callbacks` must outlive the model. Errors: those of download_model(); kUnsupported
  /// offline, for GGUF files, and for weights that have no SHA-256.
  static Result<std::unique_ptr<StreamedModel>> open(const std::string& name,
                                                     const HubOptions& options,
                                                     const Callbacks& callbacks);
  /// The same for its headers alone: tokenizer and what else is small stay where they are, headers
  /// come in short ranges, and files that are not in LFS do too. Such a model cannot be streamed.
  static Result<std::unique_ptr<StreamedModel>> open_headers(const std::string& name,
                                                             const HubOptions& options,
                                                             const Callbacks& callbacks);
  ~StreamedModel();

  const HubModel& model() const { return model_; }
  /// The weights, for formats::ModelFolder::open() on model().path.
  const formats::RemoteFiles& files() const { return files_; }
  BlockStream& stream() { return *stream_; }
  const RemoteModel& remote() const { return listed_; }
  const Settings& settings() const;
  /// Bodies of all answers so far.
  std::uint64_t bytes_received() const;

 private:
  StreamedModel();

  static Result<std::unique_ptr<StreamedModel>> open(const std::string& name,
                                                     const HubOptions& options,
                                                     const Callbacks& callbacks, bool headers);

  struct Remote;
  std::unique_ptr<Remote> remote_;  ///< What the stream refers to.
  std::unique_ptr<BlockStream> stream_;
  HubModel model_;
  RemoteModel listed_;
  formats::RemoteFiles files_;
};

}  // namespace mlxmill::hub
