#include "convert/fingerprint.h"

#include <fmt/format.h>

#include "mlxmill/version.h"
#include "tensors/operation.h"

namespace mlxmill::convert {

using architectures::Module;
using tensors::TensorView;

void add_to_fingerprint(const Module& module, io::Hasher& hasher) {
  for (const TensorView& view : module.tensors) hasher.update(tensors::describe(view));
}

std::string fingerprint(const Conversion& c, const io::Digest& layout,
                        std::string_view declaration) {
  std::string text = fmt::format("mlxmill {}\n", version());
  io::Hasher hasher;
  for (const OutputFile& file : c.files) hasher.update(file.prefix);
  for (const OutputTensor& tensor : c.outputs)
    hasher.update(fmt::format("{} {} {}\n", tensor.name, tensor.file, tensor.begin));
  for (const Job& job : c.jobs) {
    hasher.update(fmt::format("{} {} {} {} {} {}\n", static_cast<int>(job.kind),
                              static_cast<int>(job.from), static_cast<int>(job.to),
                              job.unit_elements, job.n_units, job.outputs[0]));
  }
  hasher.update(io::to_hex(layout));
  hasher.update(c.config_text);
  hasher.update(declaration);
  text += io::to_hex(hasher.finish());
  for (std::size_t i = 0; i < c.checkpoint.shards.size(); ++i) {
    const formats::Shard& shard = c.checkpoint.shards[i];
    text += fmt::format("\n{} {} {}", shard.name, shard.file_bytes, c.modified[i]);
  }
  return text;
}

}  // namespace mlxmill::convert
