// mlxmill/run.h in a build without libmlx: every call says so.
#include "mlxmill/run.h"

namespace mlxmill {
namespace {

Error absent() {
  return Error(Code::kUnsupported, "this mlxmill was built without libmlx and cannot run models")
      .hint("build it with -DMLXMILL_WITH_RUNTIME=ON");
}

}  // namespace

struct Model::Parts {
  ModelFacts facts;
};
struct ModelCache::Parts {};

ModelCache::ModelCache(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ModelCache::ModelCache(ModelCache&&) noexcept = default;
ModelCache& ModelCache::operator=(ModelCache&&) noexcept = default;
ModelCache::~ModelCache() = default;
std::int64_t ModelCache::length() const { return 0; }
bool ModelCache::trim_to(std::int64_t /*length*/) { return false; }

Model::Model(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;
const ModelFacts& Model::facts() const { return parts_->facts; }
Result<Model> Model::open(const ModelOptions& /*options*/) { return absent(); }
ModelCache Model::new_cache() const { return ModelCache(std::make_unique<ModelCache::Parts>()); }
Result<Logits> Model::run(std::span<const std::int32_t> /*ids*/, ModelCache& /*cache*/,
                          LogitsOf /*which*/) const {
  return absent();
}
Result<std::vector<ModuleInput>> Model::run_watched(std::int32_t /*id*/,
                                                    ModelCache& /*cache*/) const {
  return absent();
}
Status Model::save_cache(const ModelCache& /*cache*/, const std::filesystem::path& /*file*/,
                         std::span<const std::int32_t> /*ids*/) const {
  return absent();
}
Result<Model::LoadedCache> Model::load_cache(const std::filesystem::path& /*file*/) const {
  return absent();
}
std::string mlx_version() { return {}; }

}  // namespace mlxmill
