// What the program's exit status means. The only place that turns an error into a number.
#pragma once

#include <array>
#include <string_view>

#include "mlxmill/error.h"

namespace mlxmill::cli {

/// Exit statuses; stable, documented in docs/CLI.md.
enum ExitCode : int {
  kExitOk = 0,
  kExitUsage = 2,
  kExitBadInput = 3,
  kExitIo = 4,
  kExitUnsupported = 5,
  kExitNonFinite = 6,
  kExitVerifyFailed = 7,
  kExitNoMemory = 8,
  kExitBug = 70,
  kExitInterrupted = 130,
};

/// What each status means, for --help.
struct ExitMeaning {
  ExitCode status;
  std::string_view meaning;
};
inline constexpr std::array<ExitMeaning, 10> kExitMeanings = {{
    {kExitOk, "done"},
    {kExitUsage, "wrong flags, or the output already exists"},
    {kExitBadInput, "the input is damaged or contradicts itself"},
    {kExitIo, "read, write, network, disk space, permission, or no such file"},
    {kExitUnsupported, "a model or feature mlxmill does not know"},
    {kExitNonFinite, "the weights hold NaN or infinity"},
    {kExitVerifyFailed, "verify found problems"},
    {kExitNoMemory, "not enough memory"},
    {kExitBug, "a defect in mlxmill"},
    {kExitInterrupted, "interrupted (the same command resumes)"},
}};

/// The status for an error of the library.
constexpr ExitCode exit_code(Code code) {
  switch (code) {
    case Code::kUsage:
    case Code::kOutputExists:
      return kExitUsage;
    case Code::kInvalidInput:
      return kExitBadInput;
    case Code::kNonFinite:
      return kExitNonFinite;
    case Code::kVerifyFailed:
      return kExitVerifyFailed;
    case Code::kUnsupported:
    case Code::kUnknownModel:
      return kExitUnsupported;
    case Code::kIo:
    case Code::kNoSpace:
    case Code::kNotFound:
    case Code::kPermission:
    case Code::kBusy:
    case Code::kNetwork:
      return kExitIo;
    case Code::kNoMemory:
      return kExitNoMemory;
    case Code::kCancelled:
      return kExitInterrupted;
    case Code::kInternal:
      return kExitBug;
  }
  return kExitBug;
}

}  // namespace mlxmill::cli
