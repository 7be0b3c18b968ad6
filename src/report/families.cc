#include "mlxmill/families.h"

#include <algorithm>

#include "architectures/declaration.h"

namespace mlxmill {

Result<std::vector<Family>> families() {
  MLXMILL_ASSIGN(const architectures::Catalogue catalogue, architectures::Catalogue::built_in());
  std::vector<Family> result;
  for (const architectures::Declaration& d : catalogue.declarations())
    result.push_back({d.family(), d.model_types(), d.architecture_names(), d.features()});
  std::sort(result.begin(), result.end(),
            [](const Family& a, const Family& b) { return a.name < b.name; });
  return result;
}

}  // namespace mlxmill
