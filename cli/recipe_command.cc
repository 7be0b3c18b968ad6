// mlxmill recipe: lists, shows and checks recipes.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "args.h"
#include "command.h"
#include "convert_output.h"
#include "exit_code.h"
#include "json_output.h"
#include "mlxmill/convert.h"
#include "mlxmill/recipe.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

using Text = std::optional<std::string>;

struct RecipeArgs {
  Text action, recipe, model, mode;
  std::optional<int> bits, group_size;
  bool json = false;
};

int list_recipes(const RecipeArgs& args) {
  if (args.json) {
    Json list = Json::array();
    for (const BuiltInRecipe& recipe : built_in_recipes()) {
      list.push_back({{"name", recipe.name}, {"description", recipe.description}});
    }
    print_json({{"recipes", std::move(list)}});
    return kExitOk;
  }
  Table table({Table::Align::kLeft, Table::Align::kLeft});
  table.add({"RECIPE", "WHAT IT DOES"});
  for (const BuiltInRecipe& recipe : built_in_recipes()) {
    table.add({recipe.name, recipe.description});
  }
  print_out(table.text());
  return kExitOk;
}

int show_recipe(const RecipeArgs& args) {
  const Result<std::string> text = read_recipe(*args.recipe);
  if (!text) return print_error(text.error());
  if (args.json) {
    print_json({{"recipe", *args.recipe}, {"text", *text}});
  } else {
    print_out(*text);
  }
  return kExitOk;
}

// A name for the output that is never made: the plan needs one outside the model.
std::filesystem::path no_output() {
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(ignored);
  return (ignored ? std::filesystem::path("/") : folder) / "mlxmill-recipe-check";
}

int check_recipe(const RecipeArgs& args) {
  const Result<std::string> text = read_recipe(*args.recipe);
  if (!text) return print_error(text.error());
  ConvertOptions options;
  options.source = without_trailing_slash(*args.model);
  options.output = no_output();
  options.quantize = true;
  options.recipe = *args.recipe;
  options.bits = args.bits;
  options.group_size = args.group_size;
  if (args.mode) options.mode = mode_from_name(*args.mode).value_or(Mode::kAffine);
  const Result<Plan> plan = plan_conversion(options);
  if (!plan) return print_error(plan.error());
  if (args.json) {
    print_json(check_json(*args.recipe, *plan));
  } else {
    print_out(check_text(*args.recipe, *plan));
  }
  return kExitOk;
}

int run_recipe(const CLI::App& app, const RecipeArgs& args) {
  if (!args.action) return print_error(missing_argument(app, "ACTION"));
  const std::string& action = *args.action;
  if (action != "list" && !args.recipe) return print_error(missing_argument(app, "RECIPE"));
  if (action == "check" && !args.model) return print_error(missing_argument(app, "MODEL"));
  const Text& extra = action == "list" ? args.recipe : args.model;
  if (action != "check" && extra) {
    return print_error(
        Error(Code::kUsage, fmt::format("recipe {}: unexpected '{}'", action, *extra)));
  }
  if (action == "list") return list_recipes(args);
  return action == "show" ? show_recipe(args) : check_recipe(args);
}

}  // namespace

Command add_recipe_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("recipe", "List, show and check recipes: rules for bits");
  const auto args = std::make_shared<RecipeArgs>();
  constexpr int kMostBits = 64;
  constexpr int kMostWeights = 1 << 20;
  add_choice(app, "ACTION", args->action, {"list", "show", "check"},
             "list: the built-in recipes; show: the text of one; check: what one makes of a model");
  add_text(app, "RECIPE", args->recipe, kRecipeValue, "a built-in recipe, or a file of yours");
  add_text(app, "MODEL", args->model, kFolderValue, "the model to check against (headers only)");
  const std::string group = "The run (what rules leave open)";
  add_integer(app, "--bits", args->bits, 1, kMostBits, "as of convert")->group(group);
  add_integer(app, "--group-size", args->group_size, 1, kMostWeights, "as of convert")
      ->group(group);
  add_choice(app, "--mode", args->mode, {"affine", "mxfp4", "nvfp4", "mxfp8"}, "as of convert")
      ->group(group);
  add_switch(app, "--json", args->json, "print the result as JSON");
  return {app,
          {{"mlxmill recipe list", "the recipes that come with the program"},
           {"mlxmill recipe show routers_8", "its rules; redirect to a file to start your own"},
           {"mlxmill recipe check mixed_3_6 models/sample-llama",
            "how many modules each rule decides, and the bits per weight"}},
          [app, args] { return run_recipe(*app, *args); }};
}

}  // namespace mlxmill::cli
