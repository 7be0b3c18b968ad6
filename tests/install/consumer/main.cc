// consumer SOURCE OUTPUT: converts SOURCE to 4 bits with the installed library.
#include <mlxmill/mlxmill.h>

#include <cstdio>

int main(int, char** argv) {
  mlxmill::ConvertOptions options{.source = argv[1], .output = argv[2], .quantize = true};
  const auto report = mlxmill::convert_model(options);
  if (!report) return std::fprintf(stderr, "%s\n", report.error().message().c_str()), 1;
  std::printf("mlxmill %s: %.3f bits per weight\n", mlxmill::version(),
              report->plan.bits_per_weight);
}
