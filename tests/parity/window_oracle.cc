// Windows of the mlx_lm.perplexity protocol for records of token ids, one a line on stdin.
//
//   window_oracle CONTEXT SAMPLES SEED
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "evaluate/windows.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  mlxmill::evaluate::TokenText text{"records", {}};
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    text.records.emplace_back();
    for (std::int32_t id = 0; words >> id;) text.records.back().push_back(id);
  }
  mlxmill::evaluate::WindowRule rule;
  rule.protocol = mlxmill::EvalProtocol::kMlxLmPerplexity;
  rule.context = std::atoi(argv[1]);
  rule.samples = std::atoi(argv[2]);
  rule.seed = static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10));
  const auto windows = mlxmill::evaluate::make_windows(rule, std::vector{text});
  if (!windows) {
    std::cerr << windows.error().message() << "\n";
    return 1;
  }
  for (const auto& window : *windows) {
    for (const std::int32_t id : window.tokens) std::cout << id << ' ';
    std::cout << '\n';
  }
  return 0;
}
