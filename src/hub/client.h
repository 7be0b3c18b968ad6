// Talking to the Hub: who gets the token, where redirects lead, when to try again.
#pragma once

#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "hub/http.h"
#include "hub/settings.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// Waits between tries: longer each time, by a random part, and as long as the server asked for.
class Backoff {
 public:
  explicit Backoff(std::function<bool()> cancelled = {});

  /// Something arrived: the next wait is the first again.
  void reset() { tries_ = 0; }
  /// Waits before another try. `response` may be null; its Retry-After or rate limit counts.
  /// False when there were enough tries, or on request.
  bool wait(const Response* response);

 private:
  std::function<bool()> cancelled_;
  int tries_ = 0;
  std::minstd_rand random_;
};

/// Whether a status may be another one next time.
bool is_passing(long status);

/// A connection with the manners of the Hub. Threads: one at a time.
class Client {
 public:
  Client(const Settings& settings, std::function<bool()> cancelled);

  const Settings& settings() const { return settings_; }
  const std::function<bool()>& cancelled() const { return cancelled_; }

  /// Sends once, following redirects; the token goes with it to the endpoint's own scheme, host and
  /// port and nowhere else. `Response::url` is where it ended. Errors: those of Connection::send;
  /// kNetwork for redirects without end.
  Result<Response> send_once(Request request, const BodySink& sink = {});

  /// Sends until an answer comes that will stay: statuses below 500 but 408, 425 and 429. Errors:
  /// as above, after several tries; kNetwork when the server only ever refuses.
  Result<Response> send(const Request& request);
  Result<Response> get(const std::string& url);

 private:
  Settings settings_;
  std::string home_;  // The endpoint's origin.
  std::function<bool()> cancelled_;
  Connection connection_;
};

/// The error for an answer that is none of what was hoped for: gated, private or missing models,
/// tokens that are not valid, missing revisions and files. `repo` may be empty.
Error refusal(const Response& response, const std::string& repo, const Settings& settings);

}  // namespace mlxmill::hub
