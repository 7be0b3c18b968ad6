// Logits that an engine wrote to a safetensors file. docs/EVALUATION.md has the layout.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "evaluate/logits_source.h"
#include "evaluate/windows.h"
#include "formats/safetensors.h"
#include "io/file.h"
#include "measure/engine.h"
#include "mlxmill/result.h"

namespace mlxmill::measure {

/// Tensors `logits` [windows, length, vocabulary] (F32, F16 or BF16) and `tokens` [windows, length]
/// (I32, I64 or U32), or one such pair per domain: `NAME.logits`, `NAME.tokens`.
class LogitsFile : public evaluate::LogitsSource {
 public:
  /// Errors: those of the safetensors reader; kInvalidInput for missing tensors, shapes that do not
  /// fit together, ids outside the vocabulary.
  static Result<LogitsFile> open(const std::filesystem::path& path);

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<std::string>& domains() const { return domains_; }
  /// The windows of the file, every position scored; kLlamaPerplexity: the second half.
  std::vector<evaluate::Window> windows(EvalProtocol protocol) const;

  std::int64_t vocabulary() const override { return vocabulary_; }
  std::int64_t context() const override { return 0; }
  /// Finds the window by its place: the k-th window started is any whose tokens are equal, looked
  /// for from the one after the last.
  Status start(std::span<const std::int32_t> tokens) override;
  Status read(std::int64_t first, std::int64_t n, std::span<float> out) override;

 private:
  struct Place {
    std::uint32_t domain = 0;
    DType dtype = DType::kF32;
    std::uint64_t begin = 0;  ///< Of the window's logits, bytes from the start of the file.
    std::vector<std::int32_t> tokens;
  };
  Status add_pair(const formats::StoredTensor& logits, const formats::StoredTensor& tokens,
                  std::uint32_t domain);

  io::File file_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> domains_;
  std::vector<Place> places_;
  std::int64_t vocabulary_ = 0;
  std::size_t current_ = 0;
  std::size_t next_ = 0;
  std::vector<std::byte> bytes_;
};

/// True for a path that ends in ".safetensors".
bool is_logits_file(const std::filesystem::path& path);

/// The file as an engine. Its metadata may hold `name`, `bytes`, `bits_per_weight` and
/// `decode_per_second`, for tables.
Result<std::unique_ptr<Engine>> open_logits_engine(const std::filesystem::path& path);

}  // namespace mlxmill::measure
