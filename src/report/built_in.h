// The parts of the HTML report that are files: src/report/page/.
#pragma once

#include <span>

#include "base/built_in.h"

namespace mlxmill::report {

std::span<const base::BuiltInFile> built_in_page_files();

}  // namespace mlxmill::report
