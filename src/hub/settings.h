// What the environment says about the Hub, with the meaning huggingface_hub gives it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace mlxmill::hub {

struct Settings {
  std::string endpoint;         ///< "https://huggingface.co", without a slash at its end.
  std::filesystem::path cache;  ///< Holds models--OWNER--NAME.
  std::filesystem::path token_path;
  std::string token;         ///< Empty: none. Never printed.
  std::string token_source;  ///< Where it came from, for messages: "HF_TOKEN", a path.
  bool offline = false;
  std::chrono::seconds timeout{10};  ///< Without an answer, or without bytes.
  std::string ca_file;               ///< Of certificates to trust; empty: the system's.
  std::string ca_folder;
  /// Where clients of these settings count the bytes of answers' bodies; null: nowhere.
  std::shared_ptr<std::atomic<std::uint64_t>> received = nullptr;
};

/// Reads HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE and their
/// relatives as huggingface_hub's constants.py does, and the token file of `hf auth login`;
/// SSL_CERT_FILE and SSL_CERT_DIR as OpenSSL does. Proxies are libcurl's to read.
Settings settings_from_environment();

}  // namespace mlxmill::hub
