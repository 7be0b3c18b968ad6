// An output folder that appears all at once or not at all.
#pragma once

#include <filesystem>

#include "mlxmill/result.h"

namespace mlxmill::io {

/// The hidden sibling in which an output folder is made: `.NAME.mlxmill-work` beside NAME, holding
/// the folder itself as `model` and whatever the maker keeps beside it. It survives a crash, so
/// work can go on.
class WorkFolder {
 public:
  /// Creates (or finds) the work folder of `output`, and the folders above it. Errors: kPermission,
  /// kNoSpace, kIo.
  static Result<WorkFolder> open(const std::filesystem::path& output);

  /// Where the work folder of `output` is or would be.
  static std::filesystem::path root_of(const std::filesystem::path& output);

  /// Removes the empty shell that a run killed right after publishing left beside `output`.
  static void discard_published(const std::filesystem::path& output);

  /// True when the work folder was there before.
  bool found() const { return found_; }
  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path model() const { return root_ / "model"; }

  /// Empties `model`.
  Status clear();
  /// Removes the work folder with all in it.
  Status remove();

  /// Gives `model` its final name and removes the work folder. With `replace`, an existing output
  /// is exchanged in one step where the system can do that, and removed then. Everything in `model`
  /// must be synced before. Errors: kOutputExists when the output is there and `replace` is false.
  Status publish(bool replace);

 private:
  std::filesystem::path output_;
  std::filesystem::path root_;
  bool found_ = false;
};

/// True when one path is the other or lies below it, links resolved as far as they exist.
bool is_within(const std::filesystem::path& inner, const std::filesystem::path& outer);

}  // namespace mlxmill::io
