// What is evaluated: a model that runs, or logits that another engine wrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "evaluate/logits_source.h"
#include "evaluate/windows.h"
#include "io/hash.h"
#include "mlxmill/evaluate.h"
#include "mlxmill/result.h"
#include "mlxmill/run.h"

namespace mlxmill::measure {

/// Windows and the names of the texts they are of.
struct Cut {
  std::vector<std::string> texts;
  std::vector<evaluate::Window> windows;
};

/// What is known of a model beside its logits.
struct EngineFacts {
  std::string name;
  std::uint64_t bytes = 0;
  double bits_per_weight = 0;
  double decode_per_second = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const EngineFacts& facts() const = 0;
  virtual evaluate::LogitsSource& source() = 0;
  /// The windows that the options ask for. Errors: those of texts, tokenizer and make_windows.
  virtual Result<Cut> cut(const EvalOptions& options) = 0;
  /// Fails when the tokenizer cuts the options' texts otherwise than `reference` is cut.
  virtual Status check_tokens(const Cut& /*reference*/, const EvalOptions& /*options*/) {
    return {};
  }
  /// Tokens generated per second behind a short prompt; 0 where nothing is generated.
  virtual Result<double> decode_per_second(std::span<const std::int32_t> /*tokens*/) { return 0.0; }
  /// What reaches its modules at `positions` (rising) of these tokens. Errors: those of Model::run;
  /// kUnsupported for what has no modules.
  virtual Result<std::vector<ModuleInput>> inputs_at(std::span<const std::int32_t> /*tokens*/,
                                                     std::span<const std::uint32_t> /*positions*/) {
    return Error(Code::kUnsupported, "logits alone have no modules");
  }
  /// A token for people; "#ID" without a tokenizer.
  virtual std::string token_text(std::int32_t id) const = 0;
  /// Of everything its logits follow from.
  virtual Result<io::Digest> digest() const = 0;
};

/// A model folder or GGUF file over the runtime. Errors: those of Model::open and Tokenizer::open;
/// kUnsupported in a build that runs no models.
Result<std::unique_ptr<Engine>> open_model_engine(const std::filesystem::path& path,
                                                  const EvalOptions& options);

/// Opens a file of logits or a model. Errors: those of LogitsFile::open and open_model_engine.
Result<std::unique_ptr<Engine>> open_engine(const std::filesystem::path& path,
                                            const EvalOptions& options);

/// Digest of files one after the other, names included. Errors: kIo.
Result<io::Digest> digest_files(const std::vector<std::filesystem::path>& paths);

}  // namespace mlxmill::measure
