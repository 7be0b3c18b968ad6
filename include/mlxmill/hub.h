// The Hugging Face Hub: models by name, in the cache that huggingface_hub and mlx-lm share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "mlxmill/progress.h"
#include "mlxmill/result.h"

namespace mlxmill {

/// How a model is fetched. What is left empty comes from the environment, as for huggingface_hub:
/// HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE,
/// HF_HUB_DOWNLOAD_TIMEOUT, SSL_CERT_FILE, HTTPS_PROXY.
struct HubOptions {
  std::string revision;         ///< Branch, tag or commit; "": what the name says, else "main".
  std::string file;             ///< A GGUF file's path, or a quantization in its name ("Q8_0").
  std::filesystem::path cache;  ///< Folder with models--OWNER--NAME.
  int connections = 8;          ///< Requests at once, 1 to 64.
};

/// Where a model lies now.
struct HubModel {
  std::string repo;      ///< "owner/name", as asked for.
  std::string revision;  ///< Branch, tag or commit asked for.
  std::string commit;    ///< That everything is of.
  std::filesystem::path
      path;              ///< The snapshot's folder, or a GGUF file in it: a source to convert.
  bool offline = false;  ///< Only the cache was asked.
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;             ///< Of all files.
  std::uint64_t bytes_downloaded = 0;  ///< By this call.
  std::uint64_t bytes_resumed = 0;     ///< That interrupted calls had left.
  double seconds = 0;
};

/// Whether `source` is meant as a model of the Hub: "owner/name", with "@revision" or ":Q8_0"
/// behind, "hf://...", or a URL. An existing path comes first: ask for that before.
bool is_hub_name(std::string_view source);

/// Brings the files of a model that a conversion needs into the cache, all of one commit, each
/// checked against the hash that the Hub says, and returns where they are. Interrupted calls
/// resume. Without a connection, or with HF_HUB_OFFLINE, what the cache has is used. Errors: kUsage
/// for a name that is none or a choice to be made, kNotFound (no such model, revision or file; the
/// nearest names), kPermission (gated or private), kNetwork, kNoSpace before anything is
/// downloaded, kInvalidInput for wrong bytes that came twice, kCancelled.
Result<HubModel> download_model(const std::string& name, const HubOptions& options = {},
                                const Callbacks& callbacks = {});

}  // namespace mlxmill
