#include "convert/open_catalogue.h"

#include "io/file.h"

namespace mlxmill::convert {

Result<OpenedCatalogue> open_catalogue(const base::Value& config, const std::string& file,
                                       std::uint64_t most_bytes) {
  OpenedCatalogue opened;
  MLXMILL_ASSIGN(opened.catalogue, architectures::Catalogue::for_config(config));
  if (file.empty()) return opened;
  MLXMILL_ASSIGN(opened.own_text, io::read_text(file, most_bytes));
  MLXMILL_ASSIGN(architectures::Declaration own,
                 architectures::Declaration::parse(opened.own_text, file));
  opened.catalogue.add(std::move(own));
  return opened;
}

}  // namespace mlxmill::convert
