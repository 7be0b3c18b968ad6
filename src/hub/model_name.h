// Names of models on the Hub, in every spelling people use.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "hub/settings.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

struct ModelName {
  std::string repo;      ///< "owner/name"; a few old models have no owner.
  std::string revision;  ///< Branch, tag or commit; empty when the name gives none.
  std::string file;      ///< A file of the repository, or a quantization like "Q8_0"; mostly empty.
};

/// Whether `text` is meant as a model of the Hub rather than as a path: "hf://...", a URL, or
/// "owner/name" with what parse_model_name() allows behind it.
bool looks_like_model_name(std::string_view text);

/// Parses owner/name, owner/name@revision, owner/name:Q8_0, hf://owner/name@revision/file, and
/// pages of a model under https://huggingface.co or the endpoint (/tree/REVISION,
/// /resolve/REVISION/FILE, /blob/REVISION/FILE). Errors: kUsage.
Result<ModelName> parse_model_name(std::string_view text, const Settings& settings);

/// Whether `text` can be a revision: no empty part, none that begins with a dot.
bool is_revision(std::string_view text);
/// 40 hexadecimal digits.
bool is_commit(std::string_view text);
/// Whether a path from a server stays inside the folder it is put in.
bool is_safe_path(std::string_view path);

}  // namespace mlxmill::hub
