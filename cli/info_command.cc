// mlxmill info: what this build is and what this machine offers it.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <thread>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "json_output.h"
#include "mlxmill/run.h"
#include "mlxmill/simd.h"
#include "mlxmill/version.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

struct MachineInfo {
  std::string version = mlxmill::version();
  std::vector<std::string> compiled = compiled_simd_targets();
  std::vector<std::string> supported = supported_simd_targets();
  std::string chosen = active_simd_target();
  std::string mlx = mlx_version();
  unsigned cores = std::thread::hardware_concurrency();
  std::uint64_t memory_bytes = 0;  // 0: unknown.
};

MachineInfo machine_info() {
  MachineInfo info;
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0) {
    info.memory_bytes = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
  }
  return info;
}

std::string info_text(const MachineInfo& info) {
  Summary summary;
  summary.add("version", info.version);
  summary.add("simd compiled", join_choices(info.compiled, ", "));
  summary.add("simd supported", join_choices(info.supported, ", "));
  summary.add("simd chosen", info.chosen);
  summary.add("libmlx", info.mlx.empty() ? "not in this build: it cannot run models" : info.mlx);
  summary.add("cores", format_exact(info.cores));
  if (info.memory_bytes > 0) summary.add("memory", format_bytes(info.memory_bytes));
  return summary.text();
}

Json info_json(const MachineInfo& info) {
  return {{"version", info.version},
          {"simd_compiled", info.compiled},
          {"simd_supported", info.supported},
          {"simd_chosen", info.chosen},
          {"mlx", info.mlx},
          {"cores", info.cores},
          {"memory_bytes", info.memory_bytes}};
}

}  // namespace

Command add_info_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("info", "Show version, vector instructions, cores, memory");
  const auto json = std::make_shared<bool>(false);
  add_switch(app, "--json", *json, "print the result as JSON");
  return {app, {{"mlxmill info", "for a bug report"}}, [json]() -> int {
            const MachineInfo info = machine_info();
            if (*json) {
              print_json(info_json(info));
            } else {
              print_out(info_text(info));
            }
            return kExitOk;
          }};
}

}  // namespace mlxmill::cli
