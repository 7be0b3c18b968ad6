// Conversions of a model that others have put on the Hub.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hub/settings.h"
#include "mlxmill/plan.h"
#include "mlxmill/result.h"

namespace mlxmill::plan {

struct Source {
  std::string repo;
  std::string commit;
  std::string last_modified;
  std::uint64_t parameters = 0;
};

struct Published {
  std::vector<PublishedModel> models;  ///< Without verdicts.
  std::vector<std::string> notes;      ///< What could not be asked or read.
};

/// Asks for models of the tag mlx that name `source` as what they were quantized from, and for
/// those of mlx-community with its name, and reads the configs of the most downloaded ones. Nothing
/// of that is tried for long.
Published find_published(const hub::Settings& settings, const Source& source,
                         const std::function<bool()>& cancelled);

}  // namespace mlxmill::plan
