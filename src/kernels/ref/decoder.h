// The formulas of kernels/decoder.h in plain loops: the specification, and what runs where there
// are no vectors.
#pragma once

#include "kernels/decoder_parts.h"

namespace mlxmill::kernels::ref {

void rms_norm(const RmsNorm& norm, std::size_t first, std::size_t last);
void gate(const Gate& gate, std::size_t first, std::size_t last);
void rotate(const Rotation& rotation, std::size_t head, std::size_t first, std::size_t last);
void attend(const Attention& attention, const AttentionRows& rows);

}  // namespace mlxmill::kernels::ref
