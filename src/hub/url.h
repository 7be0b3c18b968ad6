// URLs, as far as a client of the Hub needs them.
#pragma once

#include <string>
#include <string_view>

namespace mlxmill::hub {

/// `text` as one part of a path: everything but letters, digits and "-._~" as %XX; with
/// `keep_slashes`, '/' too stays.
std::string percent_encoded(std::string_view text, bool keep_slashes = false);

/// "scheme://host:port" in lower case, the port always there; "" for anything but http and https.
/// A name and password before the host are not part of it.
std::string origin_of(std::string_view url);

/// What a Location header means that came with the answer to `base`.
std::string joined(std::string_view base, std::string_view location);

/// The URL without its query, which may hold a signature, for messages.
std::string without_query(std::string_view url);

}  // namespace mlxmill::hub
