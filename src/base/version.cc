#include "mlxmill/version.h"

namespace mlxmill {

const char* version() { return MLXMILL_VERSION; }

}  // namespace mlxmill
