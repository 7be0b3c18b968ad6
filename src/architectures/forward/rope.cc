// Rotary embeddings as config.json describes them. Formulas: transformers modeling_rope_utils.py.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "architectures/forward/form.h"

namespace mlxmill::architectures {
namespace {

constexpr std::size_t kMaxPairs = 1 << 16;

/// config.json's rope_parameters or rope_scaling.
class Scaling {
 public:
  explicit Scaling(const base::Value& object) : object_(object) {}

  std::optional<double> number(std::string_view key) const {
    const base::Value* found = object_.find(key);
    if (!found) return std::nullopt;
    if (const auto* integer = found->as_int()) return static_cast<double>(*integer);
    if (const double* real = found->as_float()) return *real;
    return std::nullopt;
  }

  std::string type() const {
    for (const char* key : {"rope_type", "type"}) {
      const base::Value* found = object_.find(key);
      if (found && found->as_string()) return *found->as_string();
    }
    return "default";
  }

  bool is_false(std::string_view key) const {
    const base::Value* found = object_.find(key);
    return found && found->as_bool() && !*found->as_bool();
  }

  /// One factor for each pair, or the same for all.
  std::optional<std::vector<double>> factors(std::string_view key, std::size_t pairs) const {
    const base::Value* found = object_.find(key);
    const base::Array* list = found ? found->as_array() : nullptr;
    if (!list || list->size() != pairs) return std::nullopt;
    std::vector<double> result;
    for (const base::Value& item : *list) {
      if (const auto* integer = item.as_int()) {
        result.push_back(static_cast<double>(*integer));
      } else if (const double* real = item.as_float()) {
        result.push_back(*real);
      } else {
        return std::nullopt;
      }
    }
    return result;
  }

 private:
  const base::Value& object_;
};

std::vector<double> plain_periods(double base, std::int64_t exponents_over, std::size_t pairs) {
  std::vector<double> periods(pairs);
  for (std::size_t k = 0; k < pairs; ++k) {
    periods[k] = std::pow(base, 2.0 * static_cast<double>(k) / static_cast<double>(exponents_over));
  }
  return periods;
}

std::vector<float> to_floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

double yarn_magnitude(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

struct RopeBuilder {
  const Scaling& scaling;
  std::optional<std::int64_t> max_positions;
  std::optional<double> original_positions;  ///< As the config has it outside of the object.
  RopeSpec& rope;
  std::size_t pairs;

  /// What config.json lacks or has wrong; empty when all is well.
  std::string build(const std::string& type) {
    if (type == "default" || type == "mrope") return {};
    if (type == "linear") return linear();
    if (type == "dynamic") return dynamic();
    if (type == "llama3") return llama3();
    if (type == "yarn" || type == "deepseek_yarn" || type == "telechat3-yarn") return yarn();
    if (type == "longrope" || type == "su") return longrope();
    if (type == "proportional") return proportional();
    return fmt::format("type {} is not known", quoted(type));
  }

  std::string linear() {
    const auto factor = scaling.number("factor");
    if (!factor || !(*factor > 0)) return "needs a factor above 0";
    rope.scale = 1 / *factor;
    return {};
  }

  std::string dynamic() {
    // Hunyuan: a base that is larger once and for all.
    if (const auto alpha = scaling.number("alpha"); alpha && *alpha > 0 && rope.dims > 2) {
      const auto dims = static_cast<double>(rope.dims);
      rope.base *= std::pow(*alpha, dims / (dims - 2));
      return {};
    }
    const auto factor = scaling.number("factor");
    if (!factor || !(*factor >= 1) || !max_positions || rope.dims <= 2) {
      return "needs a factor of at least 1 and max_position_embeddings";
    }
    rope.dynamic_factor = *factor;
    rope.dynamic_from = *max_positions;
    return {};
  }

  std::string llama3() {
    const auto factor = scaling.number("factor");
    const double low = scaling.number("low_freq_factor").value_or(1);
    const double high = scaling.number("high_freq_factor").value_or(4);
    const double original = scaling.number("original_max_position_embeddings").value_or(8192);
    if (!factor || !(*factor > 0) || !(low > 0) || !(high > low)) {
      return "needs a factor, and high_freq_factor above low_freq_factor";
    }
    std::vector<double> periods = plain_periods(rope.base, rope.dims, pairs);
    for (double& period : periods) {
      const double length = 2 * std::numbers::pi * period;
      if (length > original / low) {
        period *= *factor;
      } else if (length > original / high) {
        const double smooth = (original / length - low) / (high - low);
        period /= (1 - smooth) / *factor + smooth;
      }
    }
    rope.periods = to_floats(periods);
    return {};
  }

  std::string yarn() {
    const double original = scaling.number("original_max_position_embeddings")
                                .value_or(static_cast<double>(max_positions.value_or(4096)));
    auto factor = scaling.number("factor");
    if (!factor && max_positions) factor = static_cast<double>(*max_positions) / original;
    if (!factor || !(*factor > 0) || !(original > 0) || !(rope.base > 1)) return "needs a factor";
    const auto attention = scaling.number("attention_factor");
    const double mscale = scaling.number("mscale").value_or(0);
    const double all = scaling.number("mscale_all_dim").value_or(0);
    if (attention) {
      rope.magnitude = *attention;
    } else if (mscale != 0 && all != 0) {
      rope.magnitude = yarn_magnitude(*factor, mscale) / yarn_magnitude(*factor, all);
    } else {
      rope.magnitude = yarn_magnitude(*factor, 1);
    }
    const double dims = static_cast<double>(rope.dims);
    const auto correction = [&](const char* key, double rotations) {
      if (const auto given = scaling.number(key); given && *given != 0) rotations = *given;
      return dims * std::log(original / (rotations * 2 * std::numbers::pi)) /
             (2 * std::log(rope.base));
    };
    double low = correction("beta_fast", 32);
    double high = correction("beta_slow", 1);
    if (!scaling.is_false("truncate")) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, dims - 1);
    if (low == high) high += 0.001;
    std::vector<double> periods = plain_periods(rope.base, rope.dims, pairs);
    for (std::size_t k = 0; k < pairs; ++k) {
      const double ramp = std::clamp((static_cast<double>(k) - low) / (high - low), 0.0, 1.0);
      periods[k] = 1 / (ramp / (*factor * periods[k]) + (1 - ramp) / periods[k]);
    }
    rope.periods = to_floats(periods);
    return {};
  }

  std::string longrope() {
    auto original = scaling.number("original_max_position_embeddings");
    if (!original) original = original_positions;
    const auto shorter = scaling.factors("short_factor", pairs);
    const auto longer = scaling.factors("long_factor", pairs);
    if (!original || !(*original > 1) || !shorter || !longer) {
      return fmt::format(
          "needs original_max_position_embeddings, and short_factor and long_factor "
          "of {} numbers each",
          pairs);
    }
    auto factor = scaling.number("factor");
    if (!factor && max_positions) factor = static_cast<double>(*max_positions) / *original;
    const auto attention = scaling.number("attention_factor");
    if (attention) {
      rope.magnitude = *attention;
    } else if (factor && *factor > 1) {
      rope.magnitude = std::sqrt(1 + std::log(*factor) / std::log(*original));
    }
    // Phi 3.5 MoE has both as they are.
    rope.long_magnitude = scaling.number("long_mscale").value_or(rope.magnitude);
    rope.magnitude = scaling.number("short_mscale").value_or(rope.magnitude);
    std::vector<double> periods = plain_periods(rope.base, rope.dims, pairs);
    std::vector<double> long_periods = periods;
    for (std::size_t k = 0; k < pairs; ++k) {
      periods[k] *= (*shorter)[k];
      long_periods[k] *= (*longer)[k];
    }
    rope.periods = to_floats(periods);
    rope.long_periods = to_floats(long_periods);
    rope.switch_at = static_cast<std::int64_t>(*original);
    return {};
  }

  /// The first pairs turn as they would in a full rotation, the others stand still.
  std::string proportional() {
    const double part = scaling.number("partial_rotary_factor").value_or(1);
    const double factor = scaling.number("factor").value_or(1);
    const auto turning = static_cast<std::int64_t>(part * static_cast<double>(rope.dims) / 2);
    if (turning < 0 || turning > static_cast<std::int64_t>(pairs)) {
      return "has a partial_rotary_factor outside 0 to 1";
    }
    std::vector<double> periods = plain_periods(rope.base, rope.dims, pairs);
    for (std::size_t k = 0; k < pairs; ++k) {
      periods[k] = static_cast<std::int64_t>(k) < turning ? periods[k] * factor
                                                          : std::numeric_limits<double>::infinity();
    }
    rope.periods = to_floats(periods);
    return {};
  }
};

}  // namespace

Result<RopeSpec> Form::rope(std::string_view key) {
  MLXMILL_ASSIGN(std::optional<Form> form, this->form(key));
  RopeSpec rope;
  if (!form) return rope;
  MLXMILL_ASSIGN(rope.dims, form->count("dims"));
  MLXMILL_ASSIGN(const auto base,
                 form->maybe_number("base", "rope_theta ?? rope_parameters.rope_theta ?? null"));
  rope.base = base.value_or(10000);
  MLXMILL_ASSIGN(rope.traditional, form->condition("traditional", false));
  MLXMILL_ASSIGN(const bool reversed, form->condition("reversed", false));
  if (reversed) rope.scale = -1;
  MLXMILL_ASSIGN(const base::Value scaling,
                 form->value("scaling", "rope_scaling ?? rope_parameters ?? null"));
  MLXMILL_ASSIGN(const auto max_positions,
                 form->maybe_integer("max_positions", "max_position_embeddings ?? null"));
  MLXMILL_ASSIGN(
      const auto original,
      form->maybe_number("original_positions", "original_max_position_embeddings ?? null"));
  MLXMILL_TRY(form->finish());
  const auto pairs = static_cast<std::size_t>(rope.dims / 2);
  if (rope.dims % 2 != 0 || pairs > kMaxPairs || !(rope.base > 0)) {
    return form->error(fmt::format("a rotation of {} elements with base {} is not possible",
                                   rope.dims, rope.base));
  }
  if (scaling.is_null()) return rope;
  if (!scaling.as_object()) {
    return form->error(fmt::format("scaling is {}; expected an object", scaling.type_name()));
  }
  const Scaling settings(scaling);
  const std::string type = settings.type();
  const std::string problem =
      RopeBuilder{settings, max_positions, original, rope, pairs}.build(type);
  if (problem.empty()) return rope;
  return Error(Code::kUnsupported, fmt::format("rotary embedding {} {}", quoted(type), problem))
      .at("config.json");
}

}  // namespace mlxmill::architectures
