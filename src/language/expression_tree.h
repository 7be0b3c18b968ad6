// The syntax tree between the parser and the evaluator of expressions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "language/expression.h"

namespace mlxmill::language {

enum class Op : std::uint8_t {
  kLiteral,
  kName,
  kList,
  kEach,
  kCall,
  kIndex,
  kNot,
  kNegate,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
  kAnd,
  kOr,
  kCoalesce,
  kChoose,
};

struct Expression::Tree {
  struct Node {
    Op op = Op::kLiteral;
    std::size_t begin = 0;  ///< the part of the text, for messages
    std::size_t end = 0;
    base::Value literal;
    std::vector<std::string> path;  ///< of a name; of a call its function; of kEach its variable
    std::vector<std::size_t> operands;  ///< kChoose: condition, then, else; kEach: element, count,
                                        ///< and a condition or none
  };

  std::string text;
  std::string file_name;
  std::uint32_t line = 0;
  std::vector<Node> nodes;
  std::size_t root = 0;
};

}  // namespace mlxmill::language
