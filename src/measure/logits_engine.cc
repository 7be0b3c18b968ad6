// Files of logits as engines.
#include <fmt/format.h>

#include <algorithm>

#include "base/decimal.h"
#include "measure/engine.h"
#include "measure/logits_file.h"

namespace mlxmill::measure {
namespace {

constexpr std::size_t kHashBlock = std::size_t{1} << 20;

// A number of the file's own metadata; 0 for what does not read as one.
double number_of(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return 0;
  const std::string& text = found->second;
  const bool plain = !text.empty() && text.size() <= 20 && text.front() != '.' &&
                     text.find_first_not_of("0123456789.") == std::string::npos &&
                     std::count(text.begin(), text.end(), '.') <= 1;
  return plain ? base::parse_decimal(text) : 0;
}

class LogitsEngine : public Engine {
 public:
  LogitsEngine(LogitsFile file, EngineFacts facts, std::filesystem::path path)
      : file_(std::move(file)), facts_(std::move(facts)), path_(std::move(path)) {}

  const EngineFacts& facts() const override { return facts_; }
  evaluate::LogitsSource& source() override { return file_; }

  Result<Cut> cut(const EvalOptions& options) override {
    if (!options.texts.empty()) {
      return Error(Code::kUsage, "files of logits bring their own tokens; give no texts with them");
    }
    return Cut{file_.domains(), file_.windows(options.protocol)};
  }

  std::string token_text(std::int32_t id) const override { return fmt::format("#{}", id); }
  Result<io::Digest> digest() const override { return digest_files({path_}); }

 private:
  LogitsFile file_;
  EngineFacts facts_;
  std::filesystem::path path_;
};

}  // namespace

Result<io::Digest> digest_files(const std::vector<std::filesystem::path>& paths) {
  io::Hasher hasher;
  std::vector<std::byte> block(kHashBlock);
  for (const std::filesystem::path& path : paths) {
    MLXMILL_ASSIGN(const io::File file, io::File::open_read(path));
    MLXMILL_ASSIGN(const std::uint64_t size, file.size());
    hasher.update(path.filename().string());
    hasher.update(std::as_bytes(std::span(&size, 1)));
    for (std::uint64_t at = 0; at < size; at += block.size()) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), size - at));
      MLXMILL_TRY(file.read_at(at, std::span(block).first(n)));
      hasher.update(std::span(block).first(n));
    }
  }
  return hasher.finish();
}

Result<std::unique_ptr<Engine>> open_logits_engine(const std::filesystem::path& path) {
  MLXMILL_ASSIGN(LogitsFile file, LogitsFile::open(path));
  EngineFacts facts;
  const auto name = file.metadata().find("name");
  facts.name = name != file.metadata().end() ? name->second : path.stem().string();
  facts.bytes = static_cast<std::uint64_t>(number_of(file.metadata(), "bytes"));
  facts.bits_per_weight = number_of(file.metadata(), "bits_per_weight");
  facts.decode_per_second = number_of(file.metadata(), "decode_per_second");
  return std::unique_ptr<Engine>(
      std::make_unique<LogitsEngine>(std::move(file), std::move(facts), path));
}

}  // namespace mlxmill::measure
