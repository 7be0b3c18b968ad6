#include "plan/published.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "base/ascii.h"
#include "base/parallel.h"
#include "base/quoted.h"
#include "base/value.h"
#include "formats/json.h"
#include "formats/quantization_config.h"
#include "hub/answer.h"
#include "hub/client.h"
#include "hub/model_name.h"
#include "hub/remote_model.h"
#include "hub/url.h"

namespace mlxmill::plan {
namespace {

using base::Value;

constexpr std::size_t kMostRead = 12;
constexpr int kMostListed = 50;
constexpr int kTries = 2;
constexpr int kConnections = 4;
constexpr std::string_view kCommunity = "mlx-community";

std::uint64_t count_of(const Value* value) {
  const std::int64_t* count = value ? value->as_int() : nullptr;
  return count && *count > 0 ? static_cast<std::uint64_t>(*count) : 0;
}

/// "2026-01-31T12:00:00": what dates are compared by; "" for anything else.
std::string moment(const std::string& date) {
  constexpr std::string_view kForm = "0000-00-00T00:00:00";
  if (date.size() < kForm.size()) return "";
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = date[i] >= '0' && date[i] <= '9';
    if (kForm[i] == '0' ? !digit : date[i] != kForm[i]) return "";
  }
  return date.substr(0, kForm.size());
}

/// Another try, but no long ones: the plan does not depend on this.
Result<Value> get_json(hub::Client& client, const std::string& url) {
  hub::Request request;
  request.url = url;
  Result<hub::Response> response = client.send_once(request);
  for (int tries = 1; tries < kTries; ++tries) {
    if (response ? !hub::is_passing(response->status) : response.error().code() != Code::kNetwork)
      break;
    response = client.send_once(request);
  }
  if (!response) return std::move(response).error();
  if (!response->ok()) return hub::refusal(*response, "", client.settings());
  Result<Value> value = formats::parse_json(response->body, {.refuse_duplicate_keys = false});
  if (!value)
    return Error(Code::kInvalidInput, "is no JSON: " + value.error().what())
        .at(hub::without_query(url));
  return value;
}

/// What the tags of a found model say of its base.
enum class Base : std::uint8_t { kThis, kOther, kNone };

Base base_of(const Value& item, const std::string& repo) {
  const Value* tags = item.find("tags");
  const base::Array* list = tags ? tags->as_array() : nullptr;
  Base found = Base::kNone;
  for (const Value& tag : list ? *list : base::Array()) {
    const std::string text = base::lower_ascii(hub::text_of(&tag));
    if (!text.starts_with("base_model:")) continue;
    const std::string name = text.substr(text.find_last_of(':') + 1);
    if (name == base::lower_ascii(repo)) return Base::kThis;
    found = Base::kOther;
  }
  return found;
}

class Finder {
 public:
  Finder(const hub::Settings& settings, const Source& source, std::function<bool()> cancelled)
      : settings_(settings), source_(source), cancelled_(std::move(cancelled)) {}

  Published find() {
    hub::Client client(settings_, cancelled_);
    const std::string expand =
        "&sort=downloads&expand[]=downloads&expand[]=tags&limit=" + std::to_string(kMostListed);
    search(client, "filter=" + hub::percent_encoded("base_model:quantized:" + source_.repo) +
                       "&filter=mlx" + expand);
    const std::string name = source_.repo.substr(source_.repo.find('/') + 1);
    search(client,
           fmt::format("author={}&search={}{}", kCommunity, hub::percent_encoded(name), expand));
    read_all();
    return std::move(result_);
  }

 private:
  void search(hub::Client& client, const std::string& query) {
    const Result<Value> answer =
        get_json(client, fmt::format("{}/api/models?{}", settings_.endpoint, query));
    const base::Array* items = answer ? answer->as_array() : nullptr;
    if (!items) {
      result_.notes.push_back("the search for published conversions failed: " +
                              (answer ? "the answer is no list" : answer.error().message()));
      return;
    }
    for (const Value& item : *items) take(item);
  }

  void take(const Value& item) {
    const std::string id = hub::text_of(item.find("id"));
    // A name becomes part of a URL and of what is printed.
    if (!hub::looks_like_model_name(id) || id.find_first_of("@:") != id.npos || id == source_.repo)
      return;
    const Base base = base_of(item, source_.repo);
    if (base == Base::kOther) return;
    const std::string name = base::lower_ascii(id.substr(id.find('/') + 1));
    const std::string own = base::lower_ascii(source_.repo.substr(source_.repo.find('/') + 1));
    if (base == Base::kNone && name != own && !name.starts_with(own + "-")) return;
    found_[id] = count_of(item.find("downloads"));
  }

  void read_all() {
    std::vector<PublishedModel> models;
    for (const auto& [name, downloads] : found_) {
      models.push_back({});
      models.back().name = name;
      models.back().downloads = downloads;
    }
    std::stable_sort(models.begin(), models.end(),
                     [](const auto& a, const auto& b) { return a.downloads > b.downloads; });
    if (models.size() > kMostRead) {
      result_.notes.push_back(fmt::format(
          "{} more conversions, with fewer downloads, were not read", models.size() - kMostRead));
      models.resize(kMostRead);
    }
    std::vector<Status> statuses(models.size());
    std::atomic<std::size_t> next{0};
    base::run_workers(kConnections, [&](int) {
      hub::Client client(settings_, cancelled_);
      for (std::size_t i = next++; i < models.size(); i = next++)
        statuses[i] = read(client, models[i]);
    });
    for (std::size_t i = 0; i < models.size(); ++i) {
      if (statuses[i]) {
        result_.models.push_back(std::move(models[i]));
      } else {
        result_.notes.push_back(fmt::format("{} could not be read: {}",
                                            base::quoted(models[i].name),
                                            statuses[i].error().message()));
      }
    }
  }

  /// Commit, date, weights and coding of one.
  Status read(hub::Client& client, PublishedModel& model) const {
    MLXMILL_ASSIGN(const Value info,
                   get_json(client, fmt::format("{}/api/models/{}?blobs=true", settings_.endpoint,
                                                hub::percent_encoded(model.name, true))));
    model.commit = hub::text_of(info.find("sha"));
    if (!hub::is_commit(model.commit)) return Error(Code::kInvalidInput, "names no commit");
    model.last_modified = hub::text_of(info.find("lastModified"));
    if (moment(model.last_modified).empty()) model.last_modified.clear();
    const Value* files = info.find("siblings");
    for (const Value& file : files && files->as_array() ? *files->as_array() : base::Array()) {
      const std::string path = hub::text_of(file.find("rfilename"));
      if (path.ends_with(".safetensors") && path.find('/') == path.npos)
        model.weight_bytes += std::min<std::uint64_t>(count_of(file.find("size")), kMostFileBytes);
    }
    if (model.weight_bytes == 0) return Error(Code::kInvalidInput, "has no weights");
    if (source_.parameters > 0)
      model.bits_per_weight =
          static_cast<double>(model.weight_bytes) * 8 / static_cast<double>(source_.parameters);
    MLXMILL_TRY(read_coding(client, model));
    relate(info, model);
    return {};
  }

  Status read_coding(hub::Client& client, PublishedModel& model) const {
    MLXMILL_ASSIGN(
        const Value config,
        get_json(client, hub::file_url(settings_, model.name, model.commit, "config.json")));
    MLXMILL_ASSIGN(const auto coding, formats::read_quantization_config(config));
    if (!coding) {
      model.coding = "16-bit";
      return {};
    }
    const auto other = [&](const auto& entry) {
      return entry.second && *entry.second != coding->scheme;
    };
    const bool mixed = std::any_of(coding->entries.begin(), coding->entries.end(), other);
    model.coding = describe(coding->scheme) + (mixed ? ", mixed" : "");
    if (!mixed) model.scheme = coding->scheme;
    return {};
  }

  /// Which revision of the source it is of, as far as that can be known.
  void relate(const Value& info, PublishedModel& model) const {
    if (const Value* card = info.find("cardData")) {
      for (const char* key : {"base_model_revision", "base_revision"}) {
        const std::string text = hub::text_of(card->find(key));
        if (hub::is_commit(text)) model.base_revision = text;
      }
    }
    const std::string theirs = moment(model.last_modified);
    const std::string ours = moment(source_.last_modified);
    if (!model.base_revision.empty()) {
      model.revision = model.base_revision == source_.commit ? "this revision" : "another revision";
    } else if (theirs.empty() || ours.empty()) {
      model.revision = "unknown";
    } else {
      model.revision = theirs < ours ? "older than the source's last change"
                                     : "newer than the source's last change";
    }
  }

  static constexpr std::uint64_t kMostFileBytes = std::uint64_t{1} << 50;

  const hub::Settings& settings_;
  const Source& source_;
  std::function<bool()> cancelled_;
  std::map<std::string, std::uint64_t> found_;  ///< Names and downloads.
  Published result_;
};

}  // namespace

Published find_published(const hub::Settings& settings, const Source& source,
                         const std::function<bool()>& cancelled) {
  return Finder(settings, source, cancelled).find();
}

}  // namespace mlxmill::plan
