#include "plan/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <system_error>

#include "architectures/forward/state_bytes.h"
#include "base/checked_math.h"
#include "convert/conversion.h"

namespace mlxmill::plan {
namespace {

namespace fs = std::filesystem;

constexpr int kAffineBits[] = {8, 6, 5, 4, 3, 2};

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

std::uint64_t added(std::uint64_t a, std::uint64_t b) {
  return base::checked_add(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

/// A name beside the source: nothing is written there.
fs::path unused_output(const fs::path& source) {
  std::error_code ignored;
  fs::path full = fs::canonical(source, ignored);
  if (full.empty()) full = source;
  return full.parent_path() / ".mlxmill-plan";
}

const PlannedTensor* find_tensor(const Plan& plan, const std::string& name) {
  const auto found = std::find_if(plan.tensors.begin(), plan.tensors.end(),
                                  [&](const PlannedTensor& t) { return t.name == name; });
  return found == plan.tensors.end() ? nullptr : &*found;
}

/// Bytes of an activation of the model that the plan makes: as wide as the embedding's scales or
/// weights, else as the norms (runtime/weights.h).
std::uint64_t float_bytes(const Plan& plan, const architectures::Forward& forward) {
  for (const char* name : {".scales", ".weight"}) {
    const PlannedTensor* tensor = find_tensor(plan, forward.embedding.path + name);
    if (tensor && is_float(tensor->dtype)) return dtype_bytes(tensor->dtype);
  }
  const PlannedTensor* first = nullptr;
  for (const PlannedTensor& t : plan.tensors) {
    if (t.shape.size() == 1 && is_float(t.dtype) && (!first || t.name < first->name)) first = &t;
  }
  return first ? dtype_bytes(first->dtype) : 2;
}

class TableMaker {
 public:
  explicit TableMaker(const TableInput& input) : in_(input) {
    plain_.source = input.source;
    plain_.output = unused_output(input.source);
    plain_.architecture_file = input.options.architecture_file;
  }

  Result<Table> make() {
    MLXMILL_ASSIGN(table_.base, plan(plain_));
    MLXMILL_TRY(add_floats());
    const std::vector<int> sizes =
        in_.options.group_sizes.empty() ? std::vector<int>{64} : in_.options.group_sizes;
    for (const int bits : kAffineBits) {
      if (bits == 6) add(*make_scheme(Mode::kMxfp8, {}, {}));
      if (bits == 3) {
        add(*make_scheme(Mode::kNvfp4, {}, {}));
        add(*make_scheme(Mode::kMxfp4, {}, {}));
      }
      for (const int size : sizes) {
        MLXMILL_ASSIGN(const Scheme scheme, make_scheme(Mode::kAffine, bits, size));
        add(scheme);
      }
    }
    return std::move(table_);
  }

 private:
  Result<Plan> plan(const ConvertOptions& options) const {
    MLXMILL_ASSIGN(convert::Conversion conversion, convert::make_conversion(options, in_.remote));
    return convert::take_plan(std::move(conversion));
  }

  /// 16-bit floats: what a conversion without flags makes, unless the source is wider or has codes.
  Status add_floats() {
    ConvertOptions options = plain_;
    std::string flags;
    const auto coded = [](const PlannedModule& m) { return m.scheme.has_value(); };
    options.dequantize = std::any_of(table_.base.modules.begin(), table_.base.modules.end(), coded);
    table_.quantized = options.dequantize;
    if (options.dequantize) flags = "--dequantize";
    Result<Plan> floats = options.dequantize ? plan(options) : Result<Plan>(table_.base);
    if (floats && wide(*floats)) {
      options.dtype = DType::kBF16;
      flags += std::string(flags.empty() ? "" : " ") + "--dtype bfloat16";
      floats = plan(options);
    }
    add_row(std::move(flags), std::nullopt, floats);
    return {};
  }

  /// Whether most of its bytes are float32.
  static bool wide(const Plan& plan) {
    std::uint64_t f32 = 0;
    std::uint64_t all = 0;
    for (const PlannedTensor& t : plan.tensors) {
      all += t.end - t.begin;
      if (t.dtype == DType::kF32) f32 += t.end - t.begin;
    }
    return f32 > all / 2;
  }

  void add(const Scheme& scheme) {
    ConvertOptions options = plain_;
    options.quantize = true;
    options.mode = scheme.mode;
    options.bits = scheme.bits;
    options.group_size = scheme.group_size;
    std::string flags =
        scheme.mode == Mode::kAffine
            ? fmt::format("--bits {} --group-size {}", scheme.bits, scheme.group_size)
            : fmt::format("--mode {}", mode_name(scheme.mode));
    add_row(std::move(flags), scheme, plan(options));
  }

  void add_row(std::string flags, std::optional<Scheme> scheme, const Result<Plan>& plan) {
    PlanRow row;
    row.flags = std::move(flags);
    row.scheme = scheme;
    if (!plan) {
      row.problem = plan.error().message();
      table_.rows.push_back(std::move(row));
      return;
    }
    row.output_bytes = plan->output_bytes;
    row.bits_per_weight = plan->bits_per_weight;
    for (const PlannedTensor& tensor : plan->tensors) row.weight_bytes += tensor.end - tensor.begin;
    if (in_.forward) {
      const architectures::StateFormat format{float_bytes(*plan, *in_.forward), in_.options.kv_bits,
                                              in_.kv_group_size};
      row.cache_bytes = architectures::state_bytes(*in_.forward, format, in_.options.context);
    }
    row.run_bytes = added(added(row.weight_bytes, row.cache_bytes), architectures::kWorkingBytes);
    table_.rows.push_back(std::move(row));
  }

  const TableInput& in_;
  ConvertOptions plain_;
  Table table_;
};

}  // namespace

Result<Table> make_table(const TableInput& input) { return TableMaker(input).make(); }

}  // namespace mlxmill::plan
