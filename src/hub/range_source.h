// One file of a commit, asked for in ranges.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>

#include "hub/client.h"
#include "hub/remote_model.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// Bytes [begin, end) of a file.
struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Remembers the signed URL behind the redirect, renews it when it has expired, and goes on where
/// an answer broke off. Threads: calls with different clients may run at once.
class RangeSource {
 public:
  using Take = std::function<Status(std::uint64_t offset, std::span<const std::byte>)>;

  RangeSource(const Settings& settings, std::string repo, std::string commit, RemoteFile file)
      : settings_(settings),
        repo_(std::move(repo)),
        commit_(std::move(commit)),
        file_(std::move(file)) {}

  const RemoteFile& file() const { return file_; }

  /// Hands every byte of `range` to `take` once, in order. Errors: kNetwork after several tries
  /// without a byte, refusal(), kCancelled, those of `take`.
  Status fetch(Client& client, const Range& range, const Take& take);

 private:
  Result<Response> ask(Client& client, const std::string& location, Range& range, const Take& take);
  std::string location();
  void set_location(const std::string& old, const std::string& now);

  const Settings& settings_;
  std::string repo_;
  std::string commit_;
  RemoteFile file_;
  std::mutex mutex_;
  std::string location_;  ///< Empty until known.
};

}  // namespace mlxmill::hub
