// Everything at once.
#pragma once

#include "mlxmill/convert.h"    // IWYU pragma: export
#include "mlxmill/dtype.h"      // IWYU pragma: export
#include "mlxmill/error.h"      // IWYU pragma: export
#include "mlxmill/evaluate.h"   // IWYU pragma: export
#include "mlxmill/families.h"   // IWYU pragma: export
#include "mlxmill/hub.h"        // IWYU pragma: export
#include "mlxmill/inspect.h"    // IWYU pragma: export
#include "mlxmill/logits.h"     // IWYU pragma: export
#include "mlxmill/plan.h"       // IWYU pragma: export
#include "mlxmill/progress.h"   // IWYU pragma: export
#include "mlxmill/result.h"     // IWYU pragma: export
#include "mlxmill/run.h"        // IWYU pragma: export
#include "mlxmill/sampling.h"   // IWYU pragma: export
#include "mlxmill/scheme.h"     // IWYU pragma: export
#include "mlxmill/simd.h"       // IWYU pragma: export
#include "mlxmill/tokenizer.h"  // IWYU pragma: export
#include "mlxmill/upload.h"     // IWYU pragma: export
#include "mlxmill/verify.h"     // IWYU pragma: export
#include "mlxmill/version.h"    // IWYU pragma: export
