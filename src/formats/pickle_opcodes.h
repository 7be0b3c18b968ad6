// The instructions of the pickle machine, and those it refuses.
#pragma once

#include <string_view>

#include "mlxmill/result.h"

namespace mlxmill::formats {

class Unpickler;

/// One opcode. Without `run` it is refused.
struct PickleOpcode {
  unsigned char code;
  std::string_view name;          ///< As in Python's pickletools.
  Status (*run)(Unpickler&);      ///< Called behind the opcode's byte.
  std::string_view refusal = {};  ///< "makes an object of any class".
};

/// Null for a byte that is no opcode.
const PickleOpcode* find_pickle_opcode(unsigned char code);

/// The opcode's name, or "an opcode".
std::string_view pickle_opcode_name(unsigned char code);

}  // namespace mlxmill::formats
