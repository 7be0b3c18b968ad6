// Errors as values: every fallible call of the library returns a Result or a Status.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mlxmill {

/// What kind of failure this is. The values are stable; the bands are 1- usage, 10- input,
/// 20- unsupported, 30- input/output, 40- resources, 50- cancelled, 90- internal.
enum class Code : std::uint8_t {
  kUsage = 1,          ///< A flag or argument is wrong or contradicts another.
  kOutputExists = 2,   ///< The output name is taken.
  kInvalidInput = 10,  ///< A file is damaged, hostile or contradicts another file.
  kNonFinite = 11,     ///< Weights hold NaN or infinity.
  kVerifyFailed = 12,  ///< A model folder is not what its manifest or config says.
  kUnsupported = 20,   ///< Well-formed, but nothing here can handle it.
  kUnknownModel = 21,  ///< No declaration serves this model_type.
  kIo = 30,            ///< The operating system reported a read or write failure.
  kNoSpace = 31,       ///< The disk is full, or would be.
  kNotFound = 32,      ///< A file or folder does not exist.
  kPermission = 33,    ///< The operating system refused access.
  kBusy = 34,          ///< Another process works on the same output.
  kNetwork = 35,       ///< A server cannot be reached, or keeps failing; another try may help.
  kNoMemory = 40,      ///< The memory budget cannot hold what must be held at once.
  kCancelled = 50,     ///< The caller asked to stop.
  kInternal = 90,      ///< A defect in mlxmill.
};

/// One failure. `message()` reads `where: what; expected X, got Y; hint`, whichever parts apply.
class Error {
 public:
  Error(Code code, std::string what) : code_(code), what_(std::move(what)) {}

  Code code() const { return code_; }

  /// Names the file, tensor or rule the failure is about. Contexts grow outwards: the one added
  /// last is printed first.
  Error& at(std::string_view where) & {
    where_ = where_.empty() ? std::string(where) : std::string(where) + ": " + where_;
    return *this;
  }
  Error&& at(std::string_view where) && { return std::move(this->at(where)); }

  /// What a person can do about it. The first hint given stays.
  Error& hint(std::string_view text) & {
    if (hint_.empty()) hint_ = text;
    return *this;
  }
  Error&& hint(std::string_view text) && { return std::move(this->hint(text)); }

  const std::string& what() const { return what_; }
  const std::string& where() const { return where_; }
  const std::string& hint() const { return hint_; }

  /// The whole text on one line.
  std::string message() const {
    std::string text = where_.empty() ? what_ : where_ + ": " + what_;
    if (!hint_.empty()) text += "; " + hint_;
    return text;
  }

 private:
  Code code_;
  std::string what_;
  std::string where_;
  std::string hint_;
};

}  // namespace mlxmill
