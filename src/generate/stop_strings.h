// Texts that end an answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlxmill::generate {

/// Lets a stream of text through up to the first stop string, which may be spread over pieces.
/// Text that could be the beginning of one is held back until that is decided.
class StopStrings {
 public:
  /// Empty strings never stop anything.
  explicit StopStrings(std::vector<std::string> stops);

  /// What may be shown after this piece. Nothing once a stop string was found.
  std::string push(std::string_view piece);

  /// What was held back, when the stream ends by itself.
  std::string finish();

  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace mlxmill::generate
