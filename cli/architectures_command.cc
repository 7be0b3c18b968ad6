// mlxmill architectures: the model families that convert knows.
#include <fmt/format.h>

#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "json_output.h"
#include "mlxmill/families.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

std::string families_text(const std::vector<Family>& known) {
  Table table({Table::Align::kLeft, Table::Align::kLeft, Table::Align::kLeft, Table::Align::kLeft});
  table.add({"FAMILY", "MODEL TYPES", "GGUF", "FEATURES"});
  for (const Family& family : known) {
    std::string types = join_choices(family.model_types, ", ");
    if (!family.architectures.empty()) {
      types += fmt::format(" ({})", join_choices(family.architectures, ", "));
    }
    table.add(
        {family.name, types, join_choices(family.gguf, ", "), join_choices(family.features, ", ")});
  }
  return table.text();
}

Json families_json(const std::vector<Family>& known) {
  Json list = Json::array();
  for (const Family& family : known) {
    list.push_back({{"name", family.name},
                    {"model_types", family.model_types},
                    {"architectures", family.architectures},
                    {"features", family.features},
                    {"gguf", family.gguf}});
  }
  return {{"families", std::move(list)}};
}

}  // namespace

Command add_architectures_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("architectures", "List the model families convert knows");
  const auto json = std::make_shared<bool>(false);
  add_switch(app, "--json", *json, "print the result as JSON");
  return {app,
          {{"mlxmill architectures", "families, and the model_type of config.json they serve"}},
          [json]() -> int {
            const Result<std::vector<Family>> known = families();
            if (!known) return print_error(known.error());
            if (*json) {
              print_json(families_json(*known));
            } else {
              print_out(families_text(*known));
            }
            return kExitOk;
          }};
}

}  // namespace mlxmill::cli
