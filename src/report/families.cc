#include "mlxmill/families.h"

#include <algorithm>

#include "architectures/declaration.h"
#include "gguf/import.h"

namespace mlxmill {

Result<std::vector<Family>> families() {
  MLXMILL_ASSIGN(const architectures::Catalogue catalogue, architectures::Catalogue::built_in());
  std::vector<Family> result;
  for (const architectures::Declaration& d : catalogue.declarations())
    result.push_back({d.family(), d.model_types(), d.architecture_names(), d.features(), {}});
  for (const gguf::Importable& model : gguf::importable_models()) {
    for (Family& family : result) {
      if (!family.architectures.empty()) continue;
      const auto serves = [&](const std::string& type) {
        return std::find(family.model_types.begin(), family.model_types.end(), type) !=
               family.model_types.end();
      };
      if (std::any_of(model.model_types.begin(), model.model_types.end(), serves))
        family.gguf.push_back(model.architecture);
    }
  }
  std::sort(result.begin(), result.end(),
            [](const Family& a, const Family& b) { return a.name < b.name; });
  return result;
}

}  // namespace mlxmill
