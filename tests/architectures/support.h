// Small checkpoints in memory, and the elements a lazy view stands for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "architectures/declaration.h"
#include "base/checked_math.h"
#include "tensors/view.h"

namespace mlxmill::architectures::test {

/// A tensor whose element k is base + k, so that every element of a checkpoint can be told apart.
struct Numbers {
  base::Shape shape;
  std::vector<std::int64_t> values;
  friend bool operator==(const Numbers&, const Numbers&) = default;
};

class Checkpoint {
 public:
  Checkpoint& add(std::string name, base::Shape shape, DType dtype = DType::kBF16) {
    Numbers numbers{shape, {}};
    const auto n = static_cast<std::int64_t>(base::element_count(shape).value());
    for (std::int64_t k = 0; k < n; ++k) {
      numbers.values.push_back(static_cast<std::int64_t>(tensors_.size()) * 1'000'000 + k);
    }
    tensors_.push_back({std::move(name), dtype, std::move(shape)});
    numbers_.push_back(std::move(numbers));
    return *this;
  }

  const std::vector<SourceTensor>& tensors() const { return tensors_; }
  std::vector<TensorView> views() const {
    std::vector<TensorView> views;
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      views.push_back(*tensors::view_of(tensors_[i], i));
    return views;
  }

  const Numbers& operator[](std::string_view name) const {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors_[i].name == name) return numbers_[i];
    }
    static const Numbers kNone{};
    return kNone;
  }

  /// Reads a view element by element, as the definition of Piece has it. `at()` guards every
  /// access.
  Numbers gather(const TensorView& view) const {
    Numbers result{view.shape, {}};
    for (const tensors::Piece& piece : view.pieces) {
      // Rules that only rearrange compute nothing but gathered copies.
      const Numbers source =
          piece.computed ? gather(piece.computed->inputs[0]) : numbers_.at(piece.source);
      const auto n = static_cast<std::int64_t>(base::element_count(piece.shape).value());
      for (std::int64_t k = 0; k < n; ++k) {
        std::int64_t rest = k;
        std::int64_t at = piece.offset;
        for (std::size_t axis = piece.shape.size(); axis-- > 0;) {
          at += rest % piece.shape[axis] * piece.strides[axis];
          rest /= piece.shape[axis];
        }
        result.values.push_back(source.values.at(static_cast<std::size_t>(at)));
      }
    }
    return result;
  }

 private:
  std::vector<SourceTensor> tensors_;
  std::vector<Numbers> numbers_;
};

/// The element at an index, for computing expectations directly.
inline std::int64_t element(const Numbers& numbers, const std::vector<std::int64_t>& index) {
  std::int64_t at = 0;
  for (std::size_t i = 0; i < index.size(); ++i) at = at * numbers.shape[i] + index[i];
  return numbers.values.at(static_cast<std::size_t>(at));
}

inline base::Value object(base::Object members) { return base::Value(std::move(members)); }

/// The message of a declaration that does not parse; "parsed" when it does.
inline std::string parse_error(std::string_view text) {
  const auto declaration = Declaration::parse(text, "f.toml");
  return declaration ? "parsed" : declaration.error().message();
}

/// A declaration with the two keys every file has on lines 1 and 2.
inline std::string with_identity(std::string_view rest) {
  return "family = \"f\"\nmodel_types = [\"f\"]\n" + std::string(rest);
}

inline Result<Layout> apply(std::string_view rest, const base::Value& config,
                            const Checkpoint& checkpoint) {
  MLXMILL_ASSIGN(const Declaration declaration, Declaration::parse(with_identity(rest), "f.toml"));
  return declaration.apply(config, checkpoint.tensors());
}

inline std::string apply_error(std::string_view rest, const base::Value& config,
                               const Checkpoint& checkpoint) {
  const auto layout = apply(rest, config, checkpoint);
  return layout ? "applied" : layout.error().message();
}

inline const TensorView* find(const Layout& layout, std::string_view name) {
  for (const Module& module : layout.modules) {
    for (const TensorView& view : module.tensors) {
      if (view.name == name) return &view;
    }
  }
  return nullptr;
}

}  // namespace mlxmill::architectures::test
