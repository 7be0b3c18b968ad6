#include "hub/range_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "hub/url.h"

namespace mlxmill::hub {
namespace {

/// "bytes 100-199/1000" begins where it should, in a file of the right size.
bool is_content_range(std::string_view header, std::uint64_t begin, std::uint64_t size) {
  return header.starts_with(fmt::format("bytes {}-", begin)) &&
         header.ends_with(fmt::format("/{}", size));
}

}  // namespace

std::string RangeSource::location() {
  const std::lock_guard lock(mutex_);
  return location_;
}

void RangeSource::set_location(const std::string& old, const std::string& now) {
  const std::lock_guard lock(mutex_);
  if (location_ == old) location_ = now;
}

Status RangeSource::fetch(Client& client, const Range& range, const Take& take) {
  Range left = range;
  Backoff backoff(client.cancelled());
  while (left.begin < left.end) {
    const std::uint64_t before = left.begin;
    const std::string where = location();
    Result<Response> response = ask(client, where, left, take);
    if (!response && response.error().code() != Code::kNetwork) return std::move(response).error();
    if (left.begin >= left.end) break;
    if (left.begin > before) backoff.reset();
    if (response) {
      // Not only a URL that was kept: a new one may have ended between the redirect and its use.
      const bool signed_url =
          !where.empty() || origin_of(response->url) != origin_of(settings_.endpoint);
      const bool expired = signed_url && response->status >= 400 && response->status < 500;
      if (expired) {
        // Signed URLs have an end; a new one is a request away.
        set_location(where, "");
      } else if (!response->ok() && !is_passing(response->status)) {
        return refusal(*response, repo_, settings_);
      }
    }
    if (backoff.wait(response ? &*response : nullptr)) continue;
    if (client.cancelled() && client.cancelled()())
      return Error(Code::kCancelled, "stopped on request");
    if (!response) return std::move(response).error().hint("what has arrived is kept: try again");
    if (!response->ok()) return refusal(*response, repo_, settings_);
    return Error(Code::kNetwork, "the server does not send what was asked for");
  }
  return {};
}

Result<Response> RangeSource::ask(Client& client, const std::string& where, Range& range,
                                  const Take& take) {
  Request request;
  request.url = where.empty() ? file_url(settings_, repo_, commit_, file_.path) : where;
  const bool whole = range.begin == 0 && range.end == file_.bytes;
  if (!whole)
    request.headers.push_back(fmt::format("Range: bytes={}-{}", range.begin, range.end - 1));
  std::uint64_t at = range.begin;  // Where the next byte of the answer belongs.
  bool begun = false;
  const BodySink sink = [&](const Response& head, std::span<const std::byte> data) -> Result<bool> {
    if (!begun) {
      begun = true;
      // A server may answer with the whole file; what is not wanted of it is skipped.
      if (head.status == 200) at = 0;
      if (head.status == 206 &&
          !is_content_range(head.header("content-range"), range.begin, file_.bytes))
        return Error(Code::kNetwork, "the server sends another range than it was asked for");
    }
    const std::uint64_t before = range.begin - std::min(at, range.begin);
    const std::size_t skip = std::min<std::uint64_t>(data.size(), before);
    data = data.subspan(skip);
    at += skip;
    const bool exact = whole || head.status == 206;
    if (exact && data.size() > range.end - at)
      return Error(Code::kNetwork, "the server sends more than it was asked for");
    data = data.first(std::min<std::size_t>(data.size(), range.end - at));
    if (!data.empty()) MLXMILL_TRY(take(at, data));
    at += data.size();
    range.begin = std::max(range.begin, at);
    return exact || range.begin < range.end;
  };
  Result<Response> response = client.send_once(request, sink);
  if (response && response->ok() && origin_of(response->url) != origin_of(settings_.endpoint))
    set_location("", response->url);
  return response;
}

}  // namespace mlxmill::hub
