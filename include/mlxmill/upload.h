// Publishing on the Hugging Face Hub, and the token it takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "mlxmill/progress.h"
#include "mlxmill/result.h"

namespace mlxmill {

struct UploadOptions {
  std::filesystem::path folder;  ///< A model folder; hidden files stay behind.
  std::string repo;              ///< "owner/name".
  bool create = false;           ///< Make the repository where there is none.
  bool make_private = false;     ///< When it is made.
  bool force = false;            ///< Replace what a repository holds already.
  std::string message;           ///< Of the commit; "": a standard one.
  int connections = 4;           ///< Files or parts sent at once, 1 to 16.
};

struct UploadReport {
  std::string url;            ///< Of the model's page.
  std::string commit;         ///< The one that was made; empty when nothing had changed.
  std::uint64_t files = 0;    ///< In the folder.
  std::uint64_t changed = 0;  ///< Of those, in the commit.
  std::uint64_t bytes = 0;
  std::uint64_t bytes_sent = 0;  ///< Of large files; those that the Hub had already are not sent.
  double seconds = 0;
};

/// Whether upload_folder() would be let in, before hours of work: token, rights, what is there
/// already. Errors: those of upload_folder().
Status check_upload(const UploadOptions& options);

/// Uploads a folder in one commit: files the Hub keeps in LFS first, in one part or many, each
/// tried again on its own, those it has already not at all; so an interrupted call goes on with the
/// next. With `force`, weights of the repository that the folder lacks are deleted in the same
/// commit. Errors: kUsage (no such name, a folder without config.json), kPermission (no token, one
/// that may not write), kNotFound (no repository and not `create`), kOutputExists (it holds other
/// files, and not `force`; somebody else has committed meanwhile), kNetwork, kCancelled.
Result<UploadReport> upload_folder(const UploadOptions& options, const Callbacks& callbacks = {});

struct LoginReport {
  std::string user;
  std::string token_name;      ///< Its name on the Hub.
  std::string role;            ///< "read", "write", "fineGrained".
  std::filesystem::path path;  ///< Where it was stored.
  bool shadowed = false;       ///< HF_TOKEN is set and comes before what is stored.
};

/// Checks a token with the Hub and stores it where huggingface_hub looks for it, readable by its
/// owner alone. Errors: kUsage for what is no token, kPermission when the Hub does not know it,
/// kNetwork, those of files.
Result<LoginReport> login(std::string_view token);

}  // namespace mlxmill
