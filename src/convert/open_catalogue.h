// The families that come into question for a model, with one of the caller's own.
#pragma once

#include <cstdint>
#include <string>

#include "architectures/declaration.h"
#include "mlxmill/result.h"

namespace mlxmill::convert {

struct OpenedCatalogue {
  architectures::Catalogue catalogue;
  std::string own_text;  ///< Of the caller's declaration.
};

/// The built-in families for `config` and, before them, the one declared in `file` unless that is
/// "". Errors: those of io::read_text past `most_bytes` and of Declaration::parse.
Result<OpenedCatalogue> open_catalogue(const base::Value& config, const std::string& file,
                                       std::uint64_t most_bytes = 4 << 20);

}  // namespace mlxmill::convert
