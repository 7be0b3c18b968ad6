// The steps of bringing a model into the cache.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/cache.h"
#include "hub/client.h"
#include "hub/model_name.h"
#include "hub/monitor.h"
#include "hub/remote_model.h"
#include "hub/select_files.h"
#include "mlxmill/hub.h"
#include "mlxmill/result.h"

namespace mlxmill::hub {

/// The environment's settings with those of `options`.
Settings settings_for(const HubOptions& options);

/// The name with revision and file of `options`; the revision is never empty. Errors: kUsage.
Result<ModelName> name_for(const std::string& text, const HubOptions& options,
                           const Settings& settings);

/// One model on its way into the cache.
class Download {
 public:
  Download(Settings settings, ModelName name, const HubOptions& options,
           const Callbacks& callbacks);

  Client& client() { return client_; }
  const Settings& settings() const { return settings_; }
  Monitor& monitor() { return monitor_; }
  HubModel& result() { return result_; }

  /// Everything that a conversion needs; without a connection, what the cache has.
  Status run();

  /// Asks the Hub for the commit and files.
  Result<RemoteModel> open();
  /// Chooses the files and brings the small ones into the cache; the weights are only
  /// named. `only_settings`: of the small ones just what says how the weights lie and are coded.
  Result<Selection> take_small(const RemoteModel& model, bool only_settings = false);
  /// Brings the weights into the cache.
  Status take_weights(const RemoteModel& model, const Selection& selection);

 private:
  using Files = std::vector<const RemoteFile*>;

  Status from_cache();
  bool is_there(const RemoteFile& file) const;
  Status check_space(const Files& missing) const;
  Status take(const RemoteModel& model, const Files& files, std::string_view phase);

  Settings settings_;
  ModelName name_;
  HubOptions options_;
  RepoCache cache_;
  Monitor monitor_;
  Client client_;
  HubModel result_;
};

}  // namespace mlxmill::hub
