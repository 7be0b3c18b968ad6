// One HTTP exchange. The only user of libcurl.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/settings.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

struct Request {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  ///< "Name: value".
  std::string body;                  ///< Sent with POST and PUT.
  /// Sent instead of `body` where set: fills a buffer from an offset and returns how much; 0 ends.
  std::function<Result<std::size_t>(std::uint64_t offset, std::span<std::byte>)> read_body;
  std::uint64_t read_bytes = 0;  ///< What read_body gives in all.
};

struct Response {
  long status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  ///< Names in lower case.
  std::string body;  ///< At most 64 MiB, without what a sink took.
  std::string url;   ///< That answered.

  /// The last header of that lower-case name; "" without one.
  std::string_view header(std::string_view name) const;
  bool ok() const { return status >= 200 && status < 300; }
  bool redirects() const;
};

/// Takes the body of a successful answer in parts. False ends the exchange early, as a success.
using BodySink = std::function<Result<bool>(const Response& head, std::span<const std::byte>)>;

/// A connection that is kept open between exchanges. Threads: one at a time.
class Connection {
 public:
  /// `cancelled` is polled about once a second and whenever bytes move; it may be empty.
  Connection(const Settings& settings, std::function<bool()> cancelled);
  ~Connection();
  Connection(Connection&&) noexcept;

  /// One exchange, without following redirects; every status is a success here. Errors: kNetwork
  /// when another try may help (no connection, reset, cut off, stalled), kIo when it will not (a
  /// certificate that is not trusted, a proxy that does not exist), kCancelled, and the sink's.
  Result<Response> send(const Request& request, const BodySink& sink = {});

 private:
  struct Exchange;
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace mlxmill::hub
