// What headers say of a candidate.
#pragma once

#include <filesystem>
#include <string>

#include "evaluate/reference_row.h"
#include "evaluate/windows.h"
#include "mlxmill/evaluate.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

/// Fills in name, bytes and bits per weight. Errors: those of inspect_model.
Status folder_facts(const std::filesystem::path& path, EvalModel& model);

/// The protocol's settings, defaults filled in.
evaluate::WindowRule rule_of(const EvalOptions& options);

/// "strided, context 512, stride 256"; files of logits bring their own windows.
std::string describe_protocol(const EvalOptions& options);

/// "top 256 of 32000, 32 of the tail": for reports.
std::string describe_encoding(const evaluate::RowEncoding& encoding);

}  // namespace mlxmill::measure
