// What a PyTorch pickle may name and call: an allow list, answered with descriptions of tensors.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/shape.h"
#include "formats/pickle.h"
#include "mlxmill/dtype.h"

namespace mlxmill::formats {

/// A storage as a pickle refers to it, or a window of one. Texts point into the pickle.
struct PickledStorage {
  std::string_view key;
  std::optional<DType> dtype;      ///< Empty for bytes of no type, to which the tensor gives one.
  std::uint64_t n_elements = 0;    ///< Of the whole storage; bytes without a dtype.
  std::uint64_t window_begin = 0;  ///< The window, in elements.
  std::uint64_t window_size = 0;

  std::size_t element_bytes() const { return dtype ? dtype_bytes(*dtype) : 1; }
};

/// A tensor as a pickle describes it. Its window is not checked.
struct PickledTensor {
  std::size_t storage = 0;  ///< Index into storages().
  DType dtype = DType::kF32;
  std::int64_t offset = 0;  ///< Elements.
  PickleIndex shape = 0;    ///< Tuples of ints that are not negative, equally long, at most 64.
  PickleIndex strides = 0;
};

/// The host of a PyTorch pickle. Allowed are the functions by which torch.save describes dense
/// tensors and parameters, storage classes and dtypes that DType holds, OrderedDict, Size, device,
/// and bytes; everything else is refused by name.
class TorchPickle final : public PickleHost {
 public:
  /// `views`: persistent ids may name a window of a storage, as before torch 1.6.
  explicit TorchPickle(bool views) : views_(views) {}

  Result<PickleValue> find_global(std::string_view module, std::string_view name) override;
  Result<PickleIndex> call(PickleValues& values, PickleIndex callable,
                           PickleIndex arguments) override;
  Result<PickleIndex> load_persistent(PickleValues& values, PickleIndex id) override;
  Status set_state(PickleValues& values, PickleIndex object, PickleIndex state) override;

  const std::vector<PickledStorage>& storages() const { return storages_; }
  const std::vector<PickledTensor>& tensors() const { return tensors_; }
  /// The tensor a value stands for, or null.
  const PickledTensor* as_tensor(const PickleValue& value) const;

 private:
  Result<std::size_t> add_storage(const PickledStorage& storage);
  Result<PickleIndex> rebuild_tensor(PickleValues& values, std::uint32_t function,
                                     const std::vector<PickleIndex>& arguments);
  Result<PickleIndex> rebuild_parameter(const PickleValues& values, std::size_t n_expected,
                                        const std::vector<PickleIndex>& arguments) const;
  Result<PickleIndex> rebuild_from_type(PickleValues& values,
                                        const std::vector<PickleIndex>& arguments);

  bool views_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
  std::map<std::string_view, std::size_t> by_key_;
};

/// The ints of a tuple that PickledTensor names.
base::Shape pickled_extents(const PickleValues& values, PickleIndex tuple);

}  // namespace mlxmill::formats
