// Imports a GGUF file of plain floats as `mlxmill convert` would, for comparison by
// gguf_model_test.py.
//
//   gguf_model_oracle FILE OUT    writes into the folder OUT the model's files (config.json,
//                                 tokenizer.json, ...), tensors.bin and tensors.json, which lists
//                                 the tensors of the MLX layout with their places in tensors.bin.
//   gguf_model_oracle FILE OUT files    the files alone, without looking for a family of MLX.
// An error goes to stderr; exit status 1.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "architectures/declaration.h"
#include "formats/gguf.h"
#include "formats/json.h"
#include "gguf/import.h"
#include "streaming/view_reader.h"
#include "tensors/view.h"

namespace {

using mlxmill::DType;
using mlxmill::Error;
using mlxmill::Result;
using mlxmill::Status;
using mlxmill::tensors::TensorView;
namespace base = mlxmill::base;
namespace formats = mlxmill::formats;
namespace streaming = mlxmill::streaming;

Result<TensorView> view_of(const formats::GgufTensor& tensor, std::size_t index) {
  DType dtype = DType::kF32;
  if (tensor.type == base::GgmlType::kF16) dtype = DType::kF16;
  if (tensor.type == base::GgmlType::kBF16) dtype = DType::kBF16;
  return mlxmill::tensors::view_of({tensor.name, dtype, tensor.shape}, index);
}

Result<base::Value> write_tensors(const std::vector<mlxmill::architectures::Module>& modules,
                                  streaming::SourcePool& pool, std::ofstream& out) {
  base::Array list;
  std::int64_t offset = 0;
  streaming::Scratch scratch;
  for (const auto& module : modules) {
    for (const TensorView& view : module.tensors) {
      const streaming::ViewReader reader(view, pool);
      std::vector<std::byte> bytes(reader.elements() * reader.element_bytes());
      MLXMILL_TRY(reader.read(0, reader.elements(), bytes.data(), scratch));
      out.write(reinterpret_cast<const char*>(bytes.data()),
                static_cast<std::streamsize>(bytes.size()));
      base::Array shape;
      for (const std::int64_t extent : view.shape) shape.emplace_back(extent);
      list.emplace_back(base::Object{{"name", view.name},
                                     {"dtype", mlxmill::dtype_name(view.dtype)},
                                     {"shape", std::move(shape)},
                                     {"offset", offset}});
      offset += static_cast<std::int64_t>(bytes.size());
    }
  }
  return base::Value(std::move(list));
}

Status run(const std::string& file, const std::string& out, bool files_only) {
  MLXMILL_ASSIGN(const formats::GgufModel model, formats::open_gguf(file));
  std::vector<TensorView> views;
  std::vector<streaming::StoredTensor> stored;
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    const auto& [tensor, part] = model.tensors[i];
    MLXMILL_ASSIGN(TensorView view, view_of(tensor, i));
    views.push_back(std::move(view));
    stored.push_back({&model.parts[part].file, tensor.begin, tensor.end - tensor.begin});
  }
  MLXMILL_ASSIGN(mlxmill::gguf::ImportedModel imported,
                 mlxmill::gguf::import_gguf(model, std::move(views)));
  imported.files.emplace_back("config.json", formats::dump_json(imported.config));
  for (const auto& [name, text] : imported.files) {
    std::ofstream(out + "/" + name, std::ios::binary) << text;
  }
  for (const std::string& warning : imported.warnings) std::cout << warning << "\n";
  if (files_only) return {};
  MLXMILL_ASSIGN(const auto catalogue, mlxmill::architectures::Catalogue::built_in());
  MLXMILL_ASSIGN(const auto choice, catalogue.choose(imported.config, imported.tensors));
  streaming::SourcePool pool(std::move(stored));
  std::ofstream data(out + "/tensors.bin", std::ios::binary);
  MLXMILL_ASSIGN(base::Value tensors, write_tensors(choice.layout.modules, pool, data));
  base::Value report{base::Object()};
  report.set("family", choice.declaration.family());
  report.set("tensors", std::move(tensors));
  std::ofstream(out + "/tensors.json", std::ios::binary) << formats::dump_json(report);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const bool files_only = argc == 4 && std::string(argv[3]) == "files";
  if (argc != 3 && !files_only) {
    std::cerr << "usage: gguf_model_oracle FILE OUT [files]\n";
    return 2;
  }
  const Status status = run(argv[1], argv[2], files_only);
  if (status) return 0;
  std::cerr << status.error().message() << "\n";
  return 1;
}
