#include "hub/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/parallel.h"
#include "hub/blob_file.h"
#include "hub/range_source.h"

namespace mlxmill::hub {
namespace {

namespace fs = std::filesystem;

constexpr auto kLockPoll = std::chrono::milliseconds(100);
/// Files that are fetched at the same time.
constexpr int kMostOpen = 4;

/// One blob and what its download has come to.
struct Item {
  enum class State { kWaiting, kOpening, kOpen, kDone };

  const RemoteFile* file = nullptr;
  State state = State::kWaiting;
  io::File lock;
  std::optional<BlobFile> blob;
  std::optional<RangeSource> source;
  int fetching = 0;  ///< Connections that are at its ranges.
  bool refetched = false;
  bool told_waiting = false;
};

struct Task {
  enum class Kind { kOpen, kFetch, kIdle, kEnd };
  Kind kind = Kind::kEnd;
  Item* item = nullptr;
  Range range;
};

class Transfer {
 public:
  Transfer(const Settings& settings, const RepoCache& cache, const RemoteModel& model,
           Monitor& monitor)
      : settings_(settings), cache_(cache), model_(model), monitor_(monitor) {}

  void add(const RemoteFile& file) {
    // Equal files of one repository are one blob.
    const bool known = std::any_of(items_.begin(), items_.end(), [&](const auto& item) {
      return item->file->etag() == file.etag();
    });
    if (known) return;
    items_.push_back(std::make_unique<Item>());
    items_.back()->file = &file;
    items_.back()->source.emplace(settings_, model_.repo, model_.commit, file);
  }

  Result<TransferResult> run(int connections) {
    std::sort(items_.begin(), items_.end(),
              [](const auto& a, const auto& b) { return a->file->bytes < b->file->bytes; });
    const int workers = std::clamp<int>(connections, 1, 64);
    base::run_workers(workers, [&](int) {
      Client client(settings_, [this] { return monitor_.stopped(); });
      while (!monitor_.stopped()) {
        const Task task = next();
        if (task.kind == Task::Kind::kEnd) break;
        if (Status status = work(client, task); !status) monitor_.fail(std::move(status).error());
      }
    });
    MLXMILL_TRY(monitor_.status());
    return result_;
  }

 private:
  Task next() {
    const std::lock_guard lock(mutex_);
    int under_way = 0;
    for (const auto& item : items_)
      under_way += item->state == Item::State::kOpening || item->state == Item::State::kOpen;
    if (under_way >= kMostOpen) {
      if (const auto task = next_range()) return *task;
    }
    for (const auto& item : items_) {
      if (item->state != Item::State::kWaiting || item->told_waiting) continue;
      item->state = Item::State::kOpening;
      return {Task::Kind::kOpen, item.get(), {}};
    }
    if (const auto task = next_range()) return *task;
    // What other processes are at comes last.
    bool busy = false;
    for (const auto& item : items_) {
      busy = busy || item->state != Item::State::kDone;
      if (item->state != Item::State::kWaiting) continue;
      item->state = Item::State::kOpening;
      return {Task::Kind::kOpen, item.get(), {}};
    }
    return {busy ? Task::Kind::kIdle : Task::Kind::kEnd, nullptr, {}};
  }

  /// A range of the file that has fewest connections: writes to one file wait for each other, and
  /// each file is hashed by one thread at a time.
  std::optional<Task> next_range() {
    std::vector<Item*> open;
    for (const auto& item : items_) {
      if (item->state == Item::State::kOpen) open.push_back(item.get());
    }
    std::stable_sort(open.begin(), open.end(),
                     [](const Item* a, const Item* b) { return a->fetching < b->fetching; });
    for (Item* item : open) {
      const auto range = item->blob->take();
      if (!range) continue;
      ++item->fetching;
      return Task{Task::Kind::kFetch, item, *range};
    }
    return std::nullopt;
  }

  Status work(Client& client, const Task& task) {
    if (task.kind == Task::Kind::kIdle) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return {};
    }
    if (task.kind == Task::Kind::kOpen) return open(*task.item);
    Status status = fetch(client, *task.item, task.range);
    {
      const std::lock_guard lock(mutex_);
      --task.item->fetching;
    }
    if (!status) {
      task.item->blob->give_back(task.range);
      return std::move(status.error().at(task.item->file->path));
    }
    return settle(*task.item);
  }

  void set_state(Item& item, Item::State state) {
    const std::lock_guard lock(mutex_);
    item.state = state;
  }

  bool is_there(const RemoteFile& file) const {
    std::error_code error;
    return fs::file_size(cache_.blob(file.etag()), error) == file.bytes && !error;
  }

  Status open(Item& item) {
    const RemoteFile& file = *item.file;
    MLXMILL_ASSIGN(item.lock, io::File::open_write(cache_.lock(file.etag())));
    Status locked = item.lock.lock();
    if (!locked && locked.error().code() == Code::kBusy) {
      if (!item.told_waiting)
        monitor_.note(fmt::format("{}: another process downloads it, waiting", file.path));
      item.told_waiting = true;
      set_state(item, Item::State::kWaiting);
      std::this_thread::sleep_for(kLockPoll);
      return {};
    }
    // A file system without locks costs a download twice at most: names appear complete.
    if (is_there(file)) {
      monitor_.add_bytes(static_cast<std::int64_t>(file.bytes));
      return close(item);
    }
    MLXMILL_ASSIGN(BlobFile blob, BlobFile::open(cache_.blobs(), file.etag(), file.bytes));
    const std::uint64_t resumed = blob.arrived();
    item.blob.emplace(std::move(blob));
    monitor_.add_resumed(resumed);
    {
      const std::lock_guard lock(mutex_);
      result_.bytes_resumed += resumed;
    }
    set_state(item, Item::State::kOpen);
    return settle(item);
  }

  Status close(Item& item) {
    item.lock = io::File();
    monitor_.add_file();
    set_state(item, Item::State::kDone);
    return {};
  }

  /// Checks and publishes the blob when its last range has arrived.
  Status settle(Item& item) {
    {
      const std::lock_guard lock(mutex_);
      if (item.state != Item::State::kOpen || !item.blob->complete()) return {};
      item.state = Item::State::kOpening;  // One thread alone goes on.
    }
    std::string got;
    MLXMILL_ASSIGN(const bool good, item.blob->check(got));
    const RemoteFile& file = *item.file;
    if (good) {
      MLXMILL_TRY(item.blob->publish(cache_.blob(file.etag())));
      return close(item);
    }
    if (item.refetched) {
      item.blob->discard();
      return Error(Code::kInvalidInput,
                   fmt::format("arrived twice with wrong bytes; expected {} {}, got {}",
                               file.sha256.empty() ? "git hash" : "SHA-256", file.etag(), got))
          .at(file.path)
          .hint("something between here and the Hub changes files; try another network");
    }
    item.refetched = true;
    monitor_.add_bytes(-static_cast<std::int64_t>(file.bytes));
    monitor_.warn(file.path + ": arrived with wrong bytes, fetching it again");
    set_state(item, Item::State::kOpen);
    return {};
  }

  Status fetch(Client& client, Item& item, const Range& range) {
    MLXMILL_TRY(item.source->fetch(
        client, range, [&](std::uint64_t offset, std::span<const std::byte> data) -> Status {
          MLXMILL_TRY(item.blob->write(offset, data));
          monitor_.add_bytes(static_cast<std::int64_t>(data.size()));
          const std::lock_guard lock(mutex_);
          result_.bytes_downloaded += data.size();
          return {};
        }));
    return item.blob->finish(range);
  }

  const Settings& settings_;
  const RepoCache& cache_;
  const RemoteModel& model_;
  Monitor& monitor_;
  std::mutex mutex_;  ///< Guards states of items, and the result.
  std::vector<std::unique_ptr<Item>> items_;
  TransferResult result_;
};

}  // namespace

Result<TransferResult> transfer_blobs(const Settings& settings, const RepoCache& cache,
                                      const RemoteModel& model,
                                      const std::vector<const RemoteFile*>& files, int connections,
                                      Monitor& monitor) {
  Transfer transfer(settings, cache, model, monitor);
  for (const RemoteFile* file : files) transfer.add(*file);
  return transfer.run(connections);
}

}  // namespace mlxmill::hub
