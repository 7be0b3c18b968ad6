#include "convert/open_recipe.h"

#include <filesystem>
#include <system_error>

#include "io/file.h"
#include "mlxmill/recipe.h"

namespace mlxmill::convert {
namespace {

constexpr std::uint64_t kMaxRecipeBytes = 1 << 20;

Result<std::string> text_of(const std::string& recipe) {
  if (is_recipe_file(recipe)) return io::read_text(recipe, kMaxRecipeBytes);
  MLXMILL_ASSIGN(const std::string_view text, quantize::built_in_recipe(recipe));
  return std::string(text);
}

}  // namespace

Result<std::optional<quantize::RecipeFile>> open_recipe(const std::string& recipe) {
  if (recipe.empty()) return std::optional<quantize::RecipeFile>();
  MLXMILL_ASSIGN(const std::string text, text_of(recipe));
  MLXMILL_ASSIGN(quantize::RecipeFile file, quantize::RecipeFile::parse(text, recipe));
  return std::optional<quantize::RecipeFile>(std::move(file));
}

}  // namespace mlxmill::convert

namespace mlxmill {

std::vector<std::string> recipe_names() { return quantize::recipe_names(); }

std::vector<BuiltInRecipe> built_in_recipes() {
  std::vector<BuiltInRecipe> recipes;
  for (const std::string& name : quantize::recipe_names()) {
    const Result<std::string_view> text = quantize::built_in_recipe(name);
    if (!text) continue;
    const Result<quantize::RecipeFile> file = quantize::RecipeFile::parse(*text, name);
    recipes.push_back({name, file ? file->description : "", std::string(*text)});
  }
  return recipes;
}

bool is_recipe_file(std::string_view recipe) {
  std::error_code ignored;
  return recipe.ends_with(".toml") ||
         std::filesystem::is_regular_file(std::filesystem::path(recipe), ignored);
}

Result<std::string> read_recipe(const std::string& recipe) {
  if (recipe.empty()) return Error(Code::kUsage, "no recipe given");
  MLXMILL_ASSIGN(std::string text, convert::text_of(recipe));
  MLXMILL_ASSIGN(const quantize::RecipeFile parsed, quantize::RecipeFile::parse(text, recipe));
  return text;
}

}  // namespace mlxmill
