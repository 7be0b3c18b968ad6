// The weights of a model as arrays, by the paths of its modules.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "architectures/declaration.h"
#include "mlxmill/dtype.h"
#include "mlxmill/progress.h"
#include "runtime/layers.h"
#include "streaming/source.h"

namespace mlxmill::runtime {

mx::Dtype mlx_dtype(DType dtype);

class Weights {
 public:
  /// How many bytes load() will hold. `dtype`: floats become this, where it is given; else as
  /// stored.
  static std::uint64_t bytes(const architectures::Layout& layout, std::optional<DType> dtype);

  /// Reads every tensor of the layout straight into memory of libmlx, on all cores; floats are cast
  /// while they are read. Errors: those of io::File; kCancelled.
  static Result<Weights> load(const architectures::Layout& layout, std::optional<DType> dtype,
                              streaming::SourcePool& sources, const Callbacks& callbacks);

  /// From now on linear() gives modules whose activations are rounded to 8 bits.
  void round_activations() { int8_x_ = true; }

  /// A linear, embedding or stacked module. Errors: kInvalidInput when the layout has none there.
  Result<Linear> linear(std::string_view path) const;
  /// The same; nothing for an empty path.
  Result<std::optional<Linear>> linear_if(std::string_view path) const;
  /// The module's own type decides the norm's bias and shape. A kNone norm stays one.
  Result<Norm> norm(const NormSpec& spec) const;
  /// A tensor by its full name.
  Result<mx::array> tensor(std::string_view name) const;
  bool has(std::string_view name) const { return arrays_.find(name) != arrays_.end(); }

  /// What activations are computed in: the type of the embedding at `path`.
  mx::Dtype float_type(std::string_view path) const;

 private:
  std::map<std::string, mx::array, std::less<>> arrays_;
  std::map<std::string, Scheme, std::less<>> schemes_;  ///< Of packed modules.
  std::map<std::string, std::shared_ptr<const std::vector<std::string>>, std::less<>>
      stacked_of_;  ///< Linear::stacked_of.
  bool int8_x_ = false;
};

}  // namespace mlxmill::runtime
