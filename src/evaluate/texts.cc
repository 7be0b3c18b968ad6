#include "evaluate/built_in.h"

#include "mlxmill/evaluate.h"

namespace mlxmill {

std::vector<EvalText> built_in_texts() {
  std::vector<EvalText> texts;
  for (const base::BuiltInFile& file : evaluate::built_in_text_files()) {
    texts.push_back({std::string(file.name.substr(0, file.name.rfind('.'))), file.text});
  }
  return texts;
}

}  // namespace mlxmill
