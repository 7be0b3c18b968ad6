// The table of a plan: every scheme, laid out as its conversion would be.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "architectures/forward/forward.h"
#include "formats/model_folder.h"
#include "mlxmill/convert.h"
#include "mlxmill/plan.h"
#include "mlxmill/result.h"

namespace mlxmill::plan {

struct TableInput {
  const PlanOptions& options;
  std::filesystem::path source;  ///< Folder or GGUF file; the small files of a model of the Hub.
  formats::RemoteFiles remote;   ///< Weights that are not in it.
  const architectures::Forward* forward = nullptr;  ///< Null for families that do not run.
  int kv_group_size = 64;                           ///< With options.kv_bits.
};

struct Table {
  Plan base;               ///< Of the conversion without any flags.
  bool quantized = false;  ///< The source holds codes that such a conversion keeps.
  std::vector<PlanRow> rows;
};

/// Errors: those of planning the conversion without any flags. A scheme that cannot be had is a
/// row with a problem.
Result<Table> make_table(const TableInput& input);

}  // namespace mlxmill::plan
