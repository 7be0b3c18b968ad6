// The words of the language that declarations are written in.
#pragma once

#include "language/document.h"
#include "language/expression.h"

namespace mlxmill::architectures {

using language::Entry;
using language::Environment;
using language::error_at;
using language::Expression;
using language::nearest;
using language::Node;
using language::parse_document;
using language::quoted;
using language::TableReader;

}  // namespace mlxmill::architectures
