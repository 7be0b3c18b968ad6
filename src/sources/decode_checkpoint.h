// The weights of a checkpoint on disk.
#pragma once

#include "formats/checkpoint.h"
#include "mlxmill/result.h"
#include "sources/decode.h"

namespace mlxmill::sources {

/// The tensors of a checkpoint as its files hold them, in their order. Errors: kInvalidInput for an
/// absurd shape.
Result<std::vector<tensors::TensorView>> stored_views(const formats::Checkpoint& checkpoint);

/// decode() of everything in a checkpoint. Reads small tensors that decide how others are to be
/// read (the order of columns, shapes), nothing else. Errors: those of decode() and of io::File.
Result<DecodedSource> decode_checkpoint(const formats::Checkpoint& checkpoint, bool repack = false);

}  // namespace mlxmill::sources
