#include "hub/http.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <mutex>
#include <new>
#include <optional>

#include "hub/url.h"
#include "mlxmill/version.h"

namespace mlxmill::hub {
namespace {

constexpr std::size_t kMostBody = 64 << 20;
constexpr std::size_t kMostHeaders = 1 << 20;
constexpr long kBufferBytes = 512 << 10;
/// Fewer bytes a second than this, for as long as the timeout, is a stall.
constexpr long kLowestSpeed = 1000;

void set_up_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

Error certificate_error(const std::string& host, const char* detail) {
  return Error(Code::kIo, fmt::format("its certificate is not trusted: {}", detail))
      .at(host)
      .hint("SSL_CERT_FILE names a file of certificates to trust, for a proxy's or one's own");
}

Error transfer_error(CURLcode code, const char* detail, const std::string& url) {
  const std::string host = without_query(url);
  const char* text = detail[0] ? detail : curl_easy_strerror(code);
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
      return certificate_error(host, text);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      return Error(Code::kIo, fmt::format("is no URL that can be fetched: {}", text)).at(host);
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Error(Code::kIo, fmt::format("the proxy is not found: {}", text))
          .at(host)
          .hint("HTTPS_PROXY, HTTP_PROXY and ALL_PROXY name it");
    case CURLE_OUT_OF_MEMORY:
      return Error(Code::kNoMemory, text).at(host);
    default:
      return Error(Code::kNetwork, text).at(host);
  }
}

}  // namespace

std::string_view Response::header(std::string_view name) const {
  for (auto it = headers.rbegin(); it != headers.rend(); ++it) {
    if (it->first == name) return it->second;
  }
  return {};
}

bool Response::redirects() const {
  return (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) &&
         !header("location").empty();
}

/// What libcurl's callbacks share during one exchange.
struct Connection::Exchange {
  const Request& request;
  const BodySink& sink;
  const std::function<bool()>& cancelled;
  Response response;
  std::optional<Error> error;
  std::size_t header_bytes = 0;
  std::uint64_t sent = 0;
  bool ended = false;

  static std::size_t on_header(char* data, std::size_t, std::size_t n, void* self) {
    return static_cast<Exchange*>(self)->take_header({data, n}) ? n : 0;
  }
  static std::size_t on_body(char* data, std::size_t, std::size_t n, void* self) {
    return static_cast<Exchange*>(self)->take_body({data, n}) ? n : 0;
  }
  static std::size_t on_read(char* data, std::size_t, std::size_t n, void* self) {
    return static_cast<Exchange*>(self)->give_body(data, n);
  }
  static int on_seek(void* self, curl_off_t offset, int origin) {
    if (origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_CANTSEEK;
    static_cast<Exchange*>(self)->sent = static_cast<std::uint64_t>(offset);
    return CURL_SEEKFUNC_OK;
  }
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    const auto* exchange = static_cast<Exchange*>(self);
    return exchange->cancelled && exchange->cancelled() ? 1 : 0;
  }

  bool take_header(std::string_view line) {
    header_bytes += line.size();
    if (header_bytes > kMostHeaders) return false;
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    // A status line begins anew: after "100 Continue" or a proxy's own answer.
    if (line.starts_with("HTTP/")) {
      response.headers.clear();
      const std::size_t blank = line.find(' ');
      response.status = blank == line.npos
                            ? 0
                            : std::strtol(std::string(line.substr(blank + 1)).c_str(), nullptr, 10);
      return true;
    }
    const std::size_t colon = line.find(':');
    if (colon == line.npos) return true;
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    response.headers.emplace_back(std::move(name), value);
    return true;
  }

  bool take_body(std::string_view data) {
    if (sink && response.ok()) {
      Result<bool> more = sink(response, std::as_bytes(std::span(data.data(), data.size())));
      if (!more) error = std::move(more).error();
      ended = more && !*more;
      return more && *more;
    }
    if (response.body.size() + data.size() > kMostBody) {
      error = Error(Code::kInvalidInput, "the answer has no end").at(without_query(request.url));
      return false;
    }
    response.body += data;
    return true;
  }

  std::size_t give_body(char* data, std::size_t n) {
    if (!request.read_body) {
      const std::size_t part = std::min<std::size_t>(n, request.body.size() - sent);
      std::copy_n(request.body.data() + sent, part, data);
      sent += part;
      return part;
    }
    Result<std::size_t> got = request.read_body(sent, std::as_writable_bytes(std::span(data, n)));
    if (!got) {
      error = std::move(got).error();
      return CURL_READFUNC_ABORT;
    }
    sent += *got;
    return *got;
  }
};

struct Connection::Handle {
  CURL* curl = nullptr;
  curl_slist* headers = nullptr;
  std::function<bool()> cancelled;
  char detail[CURL_ERROR_SIZE] = {};
  Settings settings;

  ~Handle() {
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
  }

  void prepare(Exchange& exchange);
  void add_header(const std::string& line) {
    curl_slist* longer = curl_slist_append(headers, line.c_str());
    if (!longer) throw std::bad_alloc();
    headers = longer;
  }
};

void Connection::Handle::prepare(Exchange& exchange) {
  const Request& request = exchange.request;
  // Keeps the open connections.
  curl_easy_reset(curl);
  curl_slist_free_all(headers);
  headers = nullptr;
  detail[0] = 0;
  for (const std::string& line : request.headers) add_header(line);
  add_header(fmt::format("User-Agent: mlxmill/{}", version()));
  // A compressed file has other bytes and another length than the one that was asked for.
  add_header("Accept-Encoding: identity");
  add_header("Expect:");

  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl, option, value); };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_ERRORBUFFER, detail);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_BUFFERSIZE, kBufferBytes);
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  // Ranges come in parallel over connections of their own; streams of one connection would share
  // it.
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(settings.timeout.count()));
  set(CURLOPT_LOW_SPEED_LIMIT, kLowestSpeed);
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(settings.timeout.count()));
  if (!settings.ca_file.empty()) set(CURLOPT_CAINFO, settings.ca_file.c_str());
  if (!settings.ca_folder.empty()) set(CURLOPT_CAPATH, settings.ca_folder.c_str());
  set(CURLOPT_HEADERFUNCTION, &Exchange::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&exchange));
  set(CURLOPT_WRITEFUNCTION, &Exchange::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&exchange));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &Exchange::on_progress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(&exchange));
  if (request.method == "POST" || request.method == "PUT") {
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    const std::uint64_t bytes = request.read_body ? request.read_bytes : request.body.size();
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(bytes));
    set(CURLOPT_READFUNCTION, &Exchange::on_read);
    set(CURLOPT_READDATA, static_cast<void*>(&exchange));
    set(CURLOPT_SEEKFUNCTION, &Exchange::on_seek);
    set(CURLOPT_SEEKDATA, static_cast<void*>(&exchange));
  } else if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  }
  set(CURLOPT_HTTPHEADER, headers);
}

Connection::Connection(const Settings& settings, std::function<bool()> cancelled)
    : handle_(std::make_unique<Handle>()) {
  set_up_curl();
  handle_->curl = curl_easy_init();
  if (!handle_->curl) throw std::bad_alloc();
  handle_->cancelled = std::move(cancelled);
  handle_->settings = settings;
}
Connection::~Connection() = default;
Connection::Connection(Connection&&) noexcept = default;

Result<Response> Connection::send(const Request& request, const BodySink& sink) {
  Exchange exchange{request, sink, handle_->cancelled, {}, {}, 0, 0, false};
  handle_->prepare(exchange);
  const CURLcode code = curl_easy_perform(handle_->curl);
  exchange.response.url = request.url;
  if (exchange.error) return *std::move(exchange.error);
  if (code == CURLE_OK || exchange.ended) return std::move(exchange.response);
  if (code == CURLE_ABORTED_BY_CALLBACK) return Error(Code::kCancelled, "stopped on request");
  return transfer_error(code, handle_->detail, request.url);
}

}  // namespace mlxmill::hub
