// mlxmill inspect: what is in a model.
#include <fmt/format.h>
#include <fnmatch.h>

#include <memory>

#include "args.h"
#include "command.h"
#include "exit_code.h"
#include "json_output.h"
#include "mlxmill/inspect.h"
#include "table.h"
#include "terminal.h"

namespace mlxmill::cli {
namespace {

constexpr int kBarWidth = 24;

struct InspectArgs {
  std::optional<std::string> path, filter;
  bool tensors = false, json = false;
};

bool matches(const std::optional<std::string>& glob, const std::string& name) {
  return !glob || fnmatch(glob->c_str(), name.c_str(), 0) == 0;
}

std::string coding_text(const ModelInfo& info) {
  using Align = Table::Align;
  Table table(
      {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  for (const CodingShare& share : info.codings) {
    table.add({printable(share.coding), bar(share.parameters, info.parameters, kBarWidth),
               fmt::format("{:.1f} %", percent(share.parameters, info.parameters)),
               format_count(share.parameters) + " parameters", plural(share.modules, "module"),
               format_bytes(share.bytes)});
  }
  return table.text("  ");
}

std::string summary_text(const std::string& path, const ModelInfo& info) {
  Summary summary;
  summary.add("path", printable(path));
  summary.add("kind", printable(info.kind));
  if (!info.model_type.empty()) {
    const std::string family =
        info.family.empty() ? "no declaration serves it" : "family " + printable(info.family);
    summary.add("model type", fmt::format("{} ({})", printable(info.model_type), family));
  }
  summary.add("parameters",
              fmt::format("{} ({})", format_count(info.parameters), format_exact(info.parameters)));
  summary.add("size", fmt::format("{} ({} bytes) in {}", format_bytes(info.bytes),
                                  format_exact(info.bytes), plural(info.tensors.size(), "tensor")));
  summary.add("bits per weight",
              fmt::format("{:.3f} (file bytes x 8 / parameters)", info.bits_per_weight));
  std::vector<std::string> files;
  for (const auto& [name, bytes] : info.files) {
    files.push_back(fmt::format("{}, {} bytes", printable(name), format_exact(bytes)));
  }
  summary.add("files", std::move(files));
  std::vector<std::string> metadata;
  for (const auto& [key, value] : info.metadata) {
    metadata.push_back(fmt::format("{} = {}", printable(key), printable(value)));
  }
  summary.add("metadata", std::move(metadata));
  return fmt::format("{}\ncoding, by parameters\n{}", summary.text(), coding_text(info));
}

std::string tensors_text(const ModelInfo& info, const std::optional<std::string>& filter) {
  using Align = Table::Align;
  Table table(
      {Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight, Align::kLeft, Align::kLeft});
  const bool many_files = info.files.size() > 1;
  table.add({"TENSOR", "DTYPE", "SHAPE", "BYTES", "CODING", many_files ? "FILE" : ""});
  for (const InspectedTensor& tensor : info.tensors) {
    if (!matches(filter, tensor.name)) continue;
    table.add({printable(tensor.name), std::string(dtype_name(tensor.dtype)),
               fmt::format("[{}]", fmt::join(tensor.shape, ", ")), format_exact(tensor.bytes),
               printable(tensor.coding), many_files ? printable(tensor.file) : ""});
  }
  return table.text();
}

Json tensors_json(const ModelInfo& info, const std::optional<std::string>& filter) {
  Json tensors = Json::array();
  for (const InspectedTensor& tensor : info.tensors) {
    if (!matches(filter, tensor.name)) continue;
    tensors.push_back({{"name", tensor.name},
                       {"dtype", dtype_name(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes},
                       {"file", tensor.file},
                       {"coding", tensor.coding}});
  }
  return tensors;
}

Json info_json(const InspectArgs& args, const ModelInfo& info) {
  Json codings = Json::array();
  for (const CodingShare& share : info.codings) {
    codings.push_back({{"coding", share.coding},
                       {"modules", share.modules},
                       {"parameters", share.parameters},
                       {"bytes", share.bytes}});
  }
  Json files = Json::array();
  for (const auto& [name, bytes] : info.files) files.push_back({{"name", name}, {"bytes", bytes}});
  Json metadata = Json::object();
  for (const auto& [key, value] : info.metadata) metadata[key] = value;
  Json document = {{"path", *args.path},
                   {"kind", info.kind},
                   {"model_type", info.model_type},
                   {"family", info.family},
                   {"parameters", info.parameters},
                   {"bytes", info.bytes},
                   {"bits_per_weight", info.bits_per_weight},
                   {"tensor_count", info.tensors.size()},
                   {"coding", std::move(codings)},
                   {"files", std::move(files)},
                   {"metadata", std::move(metadata)}};
  if (args.tensors) document["tensors"] = tensors_json(info, args.filter);
  return document;
}

int run_inspect(const CLI::App& app, InspectArgs& args) {
  if (!args.path) return print_error(missing_argument(app, kPathValue));
  if (args.filter) args.tensors = true;
  const Result<ModelInfo> info = inspect_model(without_trailing_slash(*args.path));
  if (!info) return print_error(info.error());
  if (args.json) {
    print_json(info_json(args, *info));
    return kExitOk;
  }
  if (args.tensors) print_out(tensors_text(*info, args.filter) + "\n");
  print_out(summary_text(*args.path, *info));
  return kExitOk;
}

}  // namespace

Command add_inspect_command(CLI::App& root) {
  CLI::App* app = root.add_subcommand("inspect", "Show what is in a model; reads headers only");
  const auto args = std::make_shared<InspectArgs>();
  add_text(app, kPathValue, args->path, kPathValue,
           "folder with config.json, one .safetensors file, or a GGUF file");
  add_switch(app, "--tensors", args->tensors, "list every tensor");
  add_text(app, "--filter", args->filter, "GLOB",
           "list only tensors whose name matches, for example '*.q_proj.*'; implies --tensors");
  add_switch(app, "--json", args->json, "print the result as JSON");
  return {
      app,
      {{"mlxmill inspect models/sample-llama", "kind, size, bits per weight, coding"},
       {"mlxmill inspect models/sample-llama --filter '*.q_proj.*'",
        "every tensor whose name matches"},
       {"mlxmill inspect models/sample-llama/model.safetensors --json", "one file, for a program"}},
      [app, args] { return run_inspect(*app, *args); }};
}

}  // namespace mlxmill::cli
