#include "convert/conversion.h"
#include "hub/streamed_model.h"
#include "mlxmill/convert.h"

namespace mlxmill {
namespace convert {

ConvertOptions streamed_options(const ConvertOptions& options, const HubModel& model) {
  ConvertOptions changed = options;
  changed.source = model.path;
  if (changed.base_model.empty()) changed.base_model = model.repo;
  return changed;
}

}  // namespace convert

Result<Plan> plan_conversion(const ConvertOptions& options, const Callbacks& callbacks) {
  if (options.stream_model.empty()) {
    MLXMILL_ASSIGN(convert::Conversion conversion, convert::make_conversion(options));
    return convert::take_plan(std::move(conversion));
  }
  auto streamed = hub::StreamedModel::open(options.stream_model, options.hub, callbacks);
  if (!streamed && streamed.error().code() == Code::kUnsupported) {
    // GGUF files, and models that only the cache can be asked for.
    MLXMILL_ASSIGN(const HubModel model,
                   download_model(options.stream_model, options.hub, callbacks));
    MLXMILL_ASSIGN(convert::Conversion conversion,
                   convert::make_conversion(convert::streamed_options(options, model)));
    return convert::take_plan(std::move(conversion));
  }
  if (!streamed) return std::move(streamed).error();
  const ConvertOptions changed = convert::streamed_options(options, (*streamed)->model());
  MLXMILL_ASSIGN(convert::Conversion conversion,
                 convert::make_conversion(changed, (*streamed)->files()));
  return convert::take_plan(std::move(conversion));
}

}  // namespace mlxmill
