#include "hub/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "base/quoted.h"
#include "hub/url.h"

namespace mlxmill::hub {
namespace {

constexpr int kMostRedirects = 10;
constexpr int kMostTries = 7;
constexpr double kFirstWait = 0.25;
constexpr double kLongestWait = 10;
/// A server that asks for more than this is not waited for.
constexpr double kLongestAsked = 300;

std::optional<double> number_of(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data() || value < 0) return std::nullopt;
  return value;
}

/// Seconds that an answer asks to wait: Retry-After, or "t=" of the Hub's RateLimit header.
std::optional<double> asked_wait(const Response& response) {
  if (auto seconds = number_of(response.header("retry-after"))) return seconds;
  if (response.status != 429) return std::nullopt;
  const std::string_view limit = response.header("ratelimit");
  const std::size_t at = limit.find(";t=");
  return at == limit.npos ? std::nullopt : number_of(limit.substr(at + 3));
}

bool sleep(double seconds, const std::function<bool()>& cancelled) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (cancelled && cancelled()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

std::string error_text(const Response& response) {
  const std::string_view message = response.header("x-error-message");
  return message.empty() ? fmt::format("status {}", response.status) : base::quoted(message);
}

Error gated(const Response& response, const std::string& repo, const Settings& settings) {
  const std::string page = settings.endpoint + "/" + repo;
  if (settings.token.empty()) {
    return Error(Code::kPermission, "is gated: its authors want to know who uses it")
        .hint(
            fmt::format("accept its terms at {}, then run mlxmill login (or set HF_TOKEN)", page));
  }
  return Error(Code::kPermission,
               fmt::format("is gated, and the token of {} has not been let in ({})",
                           settings.token_source, error_text(response)))
      .hint(
          fmt::format("accept its terms at {}; the token needs read access to gated models", page));
}

}  // namespace

Backoff::Backoff(std::function<bool()> cancelled)
    : cancelled_(std::move(cancelled)), random_(std::random_device{}()) {}

bool Backoff::wait(const Response* response) {
  if (++tries_ >= kMostTries) return false;
  const double longest =
      std::min(kLongestWait, kFirstWait * static_cast<double>(1 << (tries_ - 1)));
  double seconds = longest * std::uniform_real_distribution<double>(0.5, 1)(random_);
  if (response) {
    if (const auto asked = asked_wait(*response)) {
      if (*asked > kLongestAsked) return false;
      seconds = std::max(seconds, *asked);
    }
  }
  return sleep(seconds, cancelled_);
}

bool is_passing(long status) {
  return status == 408 || status == 425 || status == 429 || status >= 500;
}

Client::Client(const Settings& settings, std::function<bool()> cancelled)
    : settings_(settings),
      home_(origin_of(settings.endpoint)),
      cancelled_(std::move(cancelled)),
      connection_(settings, cancelled_) {}

Result<Response> Client::send_once(Request request, const BodySink& sink) {
  const std::vector<std::string> headers = request.headers;
  BodySink counted = sink;
  if (sink && settings_.received) {
    counted = [&](const Response& head, std::span<const std::byte> data) {
      *settings_.received += data.size();
      return sink(head, data);
    };
  }
  for (int hop = 0; hop <= kMostRedirects; ++hop) {
    request.headers = headers;
    if (!settings_.token.empty() && origin_of(request.url) == home_)
      request.headers.push_back("Authorization: Bearer " + settings_.token);
    MLXMILL_ASSIGN(Response response, connection_.send(request, counted));
    if (settings_.received) *settings_.received += response.body.size();
    if (!response.redirects()) return response;
    const std::string next = joined(request.url, response.header("location"));
    // Encrypted once, encrypted to the end.
    const bool weaker =
        origin_of(request.url).starts_with("https:") && !origin_of(next).starts_with("https:");
    if (next.empty() || weaker) {
      return Error(Code::kIo, "redirects to where it should not").at(without_query(request.url));
    }
    request.url = next;
  }
  return Error(Code::kIo, "redirects without end").at(without_query(request.url));
}

Result<Response> Client::send(const Request& request) {
  Backoff backoff(cancelled_);
  while (true) {
    Result<Response> response = send_once(request);
    if (response && !is_passing(response->status)) return response;
    if (!response && response.error().code() != Code::kNetwork) return response;
    if (backoff.wait(response ? &*response : nullptr)) continue;
    if (cancelled_ && cancelled_()) return Error(Code::kCancelled, "stopped on request");
    return response ? Result<Response>(refusal(*response, "", settings_)) : std::move(response);
  }
}

Result<Response> Client::get(const std::string& url) {
  Request request;
  request.url = url;
  return send(request);
}

Error refusal(const Response& response, const std::string& repo, const Settings& settings) {
  const std::string_view code = response.header("x-error-code");
  const std::string where = repo.empty() ? without_query(response.url) : repo;
  if (code == "GatedRepo") return gated(response, repo, settings).at(where);
  if (code == "RevisionNotFound") {
    return Error(Code::kNotFound, "has no such revision")
        .at(where)
        .hint("a revision is a branch, a tag or a commit of the model's page");
  }
  if (code == "EntryNotFound") return Error(Code::kNotFound, "has no such file").at(where);
  const bool bad_token =
      response.status == 401 && !settings.token.empty() && code != "RepoNotFound";
  if (bad_token) {
    return Error(Code::kPermission,
                 fmt::format("the token of {} is not valid", settings.token_source))
        .at(where)
        .hint(fmt::format("make a new one at {}/settings/tokens and run mlxmill login",
                          settings.endpoint));
  }
  if (code == "RepoNotFound" || response.status == 404 || response.status == 401) {
    Error error(Code::kNotFound, "is not on the Hub, or private");
    if (settings.token.empty())
      error.hint("for a private model, run mlxmill login (or set HF_TOKEN)");
    return std::move(error.at(where));
  }
  if (response.status == 403)
    return Error(Code::kPermission, "access is refused: " + error_text(response)).at(where);
  if (response.status == 429) {
    return Error(Code::kNetwork, "the server asks to slow down (status 429)")
        .at(where)
        .hint(settings.token.empty() ? "a token raises the limit: mlxmill login"
                                     : "try again later");
  }
  if (response.status >= 500) {
    return Error(Code::kNetwork, fmt::format("the server fails (status {})", response.status))
        .at(where)
        .hint("try again later; what has arrived is kept");
  }
  return Error(Code::kIo, "unexpected answer: " + error_text(response)).at(where);
}

}  // namespace mlxmill::hub
