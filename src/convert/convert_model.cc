#include "mlxmill/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <system_error>

#include "base/process.h"
#include "convert/conversion.h"
#include "convert/journal.h"
#include "convert/manifest.h"
#include "convert/pipeline.h"
#include "hub/streamed_model.h"
#include "io/file.h"
#include "io/free_space.h"
#include "io/work_folder.h"
#include "mlxmill/simd.h"
#include "mlxmill/version.h"

namespace mlxmill {
namespace {

namespace fs = std::filesystem;
using convert::Conversion;
using convert::PipelineResult;

void say(const std::function<void(std::string_view)>& callback, const std::string& text) {
  if (callback) callback(text);
}

/// Refuses a taken output name, and a replacement of anything that is not a model folder.
Status check_output(const ConvertOptions& options) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(options.output, error))) return {};
  if (!options.force) {
    io::WorkFolder::discard_published(options.output);
    return Error(Code::kOutputExists, "already exists")
        .at(options.output.string())
        .hint("choose another output, or --force to replace it once the new one is complete");
  }
  const bool replaceable =
      fs::is_directory(options.output, error) &&
      (fs::is_empty(options.output, error) || fs::exists(options.output / "config.json", error));
  if (replaceable) return {};
  return Error(Code::kOutputExists,
               "exists and is not a model folder, so it is not replaced even with --force")
      .at(options.output.string())
      .hint("choose another output");
}

Status check_space(const Conversion& conversion, const fs::path& work_root) {
  const Plan& plan = conversion.plan;
  const std::uint64_t available = plan.disk_free + io::allocated_bytes(work_root);
  if (plan.disk_needed <= available) return {};
  return Error(Code::kNoSpace,
               fmt::format("not enough disk space; the output needs {}, {} are free",
                           io::format_bytes(plan.disk_needed), io::format_bytes(available)))
      .at(conversion.options.output.string())
      .hint("free some space or choose another disk");
}

/// Takes the work folder and its journal; what an earlier run with other settings or another source
/// left is cleared.
Result<convert::Journal> begin(const Conversion& conversion, io::WorkFolder& work,
                               const Callbacks& callbacks) {
  const fs::path journal_path = work.root() / "journal";
  if (conversion.options.restart && work.found()) {
    // The lock first: another process may be at work here.
    MLXMILL_ASSIGN(io::File held, io::File::open_write(journal_path));
    MLXMILL_TRY(held.lock());
    MLXMILL_TRY(held.resize(0));
  }
  MLXMILL_ASSIGN(convert::Journal journal,
                 convert::Journal::open(journal_path, conversion.fingerprint, conversion.n_units));
  if (work.found() && journal.fresh()) {
    say(callbacks.note,
        conversion.options.restart
            ? "starting over: an unfinished earlier run is thrown away"
            : "starting over: an unfinished earlier run had another source or other settings");
    MLXMILL_TRY(work.clear());
  } else if (work.found()) {
    say(callbacks.note, "resuming an unfinished earlier run");
  }
  return journal;
}

Error non_finite_error(const PipelineResult& result) {
  std::string list;
  constexpr std::size_t kMost = 8;
  for (std::size_t i = 0; i < std::min(kMost, result.non_finite.size()); ++i) {
    list += fmt::format("{}{} ({})", i ? ", " : "", result.non_finite[i].first,
                        result.non_finite[i].second);
  }
  if (result.non_finite.size() > kMost)
    list += fmt::format(" and {} more modules", result.non_finite.size() - kMost);
  return Error(Code::kNonFinite,
               fmt::format("{} values are NaN or infinite: {}", result.non_finite_total, list))
      .hint(
          "the checkpoint is damaged, or --dtype cannot hold its values; --allow-non-finite passes "
          "them on");
}

/// Writes everything beside the shards and the manifest over all of it.
Status write_small_files(const Conversion& c, const PipelineResult& result,
                         const fs::path& folder) {
  MLXMILL_TRY(io::write_text(folder / "config.json", c.config_text));
  MLXMILL_TRY(io::write_text(folder / "model.safetensors.index.json", convert::index_text(c)));
  MLXMILL_TRY(io::write_text(folder / "README.md", c.card));
  std::vector<std::string> names = {"config.json", "model.safetensors.index.json", "README.md"};
  for (const std::string& name : c.copies) {
    std::error_code error;
    fs::create_directories((folder / name).parent_path(), error);
    MLXMILL_TRY(io::copy_file(c.options.source / name, folder / name));
    names.push_back(name);
  }
  for (const auto& [name, text] : c.made) {
    MLXMILL_TRY(io::write_text(folder / name, text));
    names.push_back(name);
  }
  convert::Manifest manifest;
  manifest.made_with = fmt::format("mlxmill {}", version());
  for (const std::string& name : names) {
    MLXMILL_ASSIGN(manifest.files[name], convert::digest_file(folder / name));
  }
  for (const convert::OutputFile& file : c.files)
    manifest.shards[file.name] = {file.bytes, io::digest(file.prefix)};
  std::vector<std::pair<std::string_view, convert::Manifest::TensorEntry>> tensors;
  tensors.reserve(c.outputs.size());
  for (std::size_t i = 0; i < c.outputs.size(); ++i) {
    tensors.push_back({c.outputs[i].name, {c.outputs[i].chunk_bytes, result.tensor_digests[i]}});
  }
  MLXMILL_TRY(io::write_text(folder / convert::kManifestName,
                             convert::write_manifest(manifest, std::move(tensors))));
  return io::sync_folder(folder);
}

/// A source that was written to while it was read gives a mixture of two models.
Status check_unchanged(const Conversion& conversion) {
  for (std::size_t i = 0; i < conversion.checkpoint.shards.size(); ++i) {
    const formats::Shard& shard = conversion.checkpoint.shards[i];
    MLXMILL_ASSIGN(const std::int64_t modified, shard.file.modified());
    if (modified == conversion.modified[i]) continue;
    return Error(Code::kInvalidInput, "changed while it was converted")
        .at(shard.name)
        .hint("run again when the source is complete");
  }
  return {};
}

Result<PipelineResult> make_folder(Conversion& conversion, io::WorkFolder& work,
                                   convert::Journal& journal, const Callbacks& callbacks,
                                   hub::StreamedModel* streamed) {
  MLXMILL_ASSIGN(PipelineResult result,
                 convert::run_pipeline(conversion, work.model(), journal, callbacks));
  if (streamed) {
    say(callbacks.note, "checking the rest of the source's files");
    MLXMILL_TRY(streamed->stream().finish());
  }
  if (result.non_finite_total && !conversion.options.allow_non_finite) {
    return non_finite_error(result);
  }
  MLXMILL_TRY(check_unchanged(conversion));
  // Done with; the manifest takes as much again.
  std::vector<convert::Job>().swap(conversion.jobs);
  base::return_free_memory();
  MLXMILL_TRY(write_small_files(conversion, result, work.model()));
  return result;
}

/// Callbacks for two at once: they reach the caller one at a time.
Callbacks one_at_a_time(const Callbacks& callbacks) {
  const auto mutex = std::make_shared<std::mutex>();
  Callbacks guarded;
  const auto guard = [&](const auto& callback, auto& out) {
    if (!callback) return;
    out = [mutex, callback](const auto&... arguments) {
      const std::lock_guard lock(*mutex);
      return callback(arguments...);
    };
  };
  guard(callbacks.progress, guarded.progress);
  guard(callbacks.warning, guarded.warning);
  guard(callbacks.note, guarded.note);
  guard(callbacks.cancelled, guarded.cancelled);
  return guarded;
}

Result<ConvertReport> run_conversion(const ConvertOptions& options, const Callbacks& callbacks,
                                     hub::StreamedModel* streamed) {
  const auto start = std::chrono::steady_clock::now();
  MLXMILL_ASSIGN(
      Conversion conversion,
      convert::make_conversion(options, streamed ? streamed->files() : formats::RemoteFiles()));
  for (const std::string& text : conversion.plan.warnings) say(callbacks.warning, text);
  MLXMILL_TRY(check_output(options));
  MLXMILL_TRY(check_space(conversion, io::WorkFolder::root_of(options.output)));
  MLXMILL_ASSIGN(io::WorkFolder work, io::WorkFolder::open(options.output));

  // Held until the output has its name: no other process may work on it meanwhile.
  MLXMILL_ASSIGN(convert::Journal journal, begin(conversion, work, callbacks));
  if (streamed) MLXMILL_TRY(streamed->stream().start(work.root() / "stream", journal.fresh()));
  Result<PipelineResult> result = make_folder(conversion, work, journal, callbacks, streamed);
  if (!result) {
    // Nothing to come back to when the input itself is at fault.
    const Code code = result.error().code();
    if (code == Code::kNonFinite || code == Code::kInvalidInput) (void)work.remove();
    return std::move(result).error();
  }
  if (result->non_finite_total) {
    say(callbacks.warning,
        fmt::format("{} values are NaN or infinite and were passed on", result->non_finite_total));
  }
  MLXMILL_TRY(work.publish(options.force));

  ConvertReport report;
  report.output = options.output;
  report.seconds_reading_back = result->seconds_reading_back;
  report.bytes_resumed = result->bytes_resumed;
  report.non_finite = result->non_finite_total;
  report.threads = result->threads;
  report.simd_target = active_simd_target();
  report.peak_memory = base::peak_memory();
  report.plan = convert::take_plan(std::move(conversion));
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

Result<ConvertReport> convert_streamed(const ConvertOptions& options, const Callbacks& callbacks) {
  const Callbacks guarded = one_at_a_time(callbacks);
  MLXMILL_ASSIGN(const auto streamed,
                 hub::StreamedModel::open(options.stream_model, options.hub, guarded));
  return run_conversion(convert::streamed_options(options, streamed->model()), guarded,
                        streamed.get());
}

}  // namespace

Result<ConvertReport> convert_model(const ConvertOptions& options, const Callbacks& callbacks) {
  if (options.stream_model.empty()) return run_conversion(options, callbacks, nullptr);
  Result<ConvertReport> report = convert_streamed(options, callbacks);
  if (report || report.error().code() != Code::kInvalidInput) return report;
  // Wrong bytes have gone into what was made: it has been thrown away, and once more may help.
  say(callbacks.warning, report.error().message() + "; starting over");
  return convert_streamed(options, callbacks);
}

}  // namespace mlxmill
