// Tokens per second of a model: a prompt in one go, then tokens one at a time, greedy, from a cache
// that holds DEPTH tokens (0). With INT8 other than 0, activations are rounded to 8 bits. Prints
// JSON for bench/generate_bench.py. With `logits`: those after a prompt of 4 tokens instead, as the
// model computes and in float32.
//   generate_speed MODEL [PROMPT_TOKENS] [NEW_TOKENS] [REPEATS] [DEPTH] [INT8]
//   generate_speed MODEL logits
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "bandwidth.h"
#include "base/parallel.h"
#include "mlxmill/run.h"

namespace {

using mlxmill::Error;
using mlxmill::Logits;
using mlxmill::Model;
using mlxmill::ModelCache;
using mlxmill::Result;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int32_t likeliest(const Logits& logits) {
  const auto row = logits.row(logits.positions - 1);
  return static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

/// The same for every contender: i * 7919 + 11, within the vocabulary.
std::vector<std::int32_t> prompt_of(std::size_t tokens, std::int64_t vocabulary) {
  std::vector<std::int32_t> ids(tokens);
  for (std::size_t i = 0; i < tokens; ++i) {
    ids[i] = static_cast<std::int32_t>((static_cast<std::int64_t>(i) * 7919 + 11) % vocabulary);
  }
  return ids;
}

/// Tokens per second of each repeat, after one that warms up.
struct Speeds {
  std::vector<double> prefill, decode;
};

mlxmill::Status measure(const Model& model, std::size_t prompt, int tokens, int repeats,
                        std::size_t depth, Speeds& speeds) {
  const std::vector<std::int32_t> ids = prompt_of(prompt, model.facts().vocabulary);
  for (int repeat = 0; repeat <= repeats; ++repeat) {
    ModelCache cache = model.new_cache();
    double start = now();
    MLXMILL_ASSIGN(Logits logits, model.run(ids, cache));
    const double prefill = static_cast<double>(prompt) / (now() - start);
    // As llama-bench does: from a cache of its own.
    ModelCache fresh = model.new_cache();
    if (depth > 0) {
      MLXMILL_ASSIGN(const Logits before,
                     model.run(prompt_of(depth, model.facts().vocabulary), fresh));
    }
    std::int32_t next = likeliest(logits);
    start = now();
    for (int i = 0; i < tokens; ++i) {
      MLXMILL_ASSIGN(logits, model.run({&next, 1}, fresh));
      next = likeliest(logits);
    }
    if (repeat == 0) continue;
    speeds.prefill.push_back(prefill);
    speeds.decode.push_back(tokens / (now() - start));
  }
  return {};
}

template <class T>
void print(const char* name, const std::vector<T>& values) {
  std::printf("\"%s\": [", name);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::printf("%s%.9g", i == 0 ? "" : ", ", static_cast<double>(values[i]));
  }
  std::printf("], ");
}

int fail(const Error& error) {
  std::fprintf(stderr, "generate_speed: %s\n", error.message().c_str());
  return 1;
}

/// The last logits of a prompt of 4 whose last token comes alone, as when generating.
Result<Logits> logits_of(const Model& model) {
  const std::vector<std::int32_t> ids = prompt_of(4, model.facts().vocabulary);
  ModelCache cache = model.new_cache();
  MLXMILL_ASSIGN(const Logits first, model.run(std::span(ids).first(3), cache));
  return model.run(std::span(ids).last(1), cache);
}

int print_logits(mlxmill::ModelOptions options) {
  std::printf("{");
  for (const char* name : {"logits", "logits32"}) {
    const Result<Model> model = Model::open(options);
    if (!model) return fail(model.error());
    const Result<Logits> logits = logits_of(*model);
    if (!logits) return fail(logits.error());
    print(name, logits->values);
    options.dtype = mlxmill::DType::kF32;
  }
  std::printf("\"prompt\": 4}\n");
  return 0;
}

int print_speed(mlxmill::ModelOptions options, int prompt, int tokens, int repeats, int depth) {
  options.context = std::max<std::int64_t>({4096, prompt, std::int64_t{depth} + tokens});
  const Result<Model> model = Model::open(options);
  if (!model) return fail(model.error());
  Speeds speeds;
  const auto status = measure(*model, static_cast<std::size_t>(prompt), tokens, repeats,
                              static_cast<std::size_t>(depth), speeds);
  if (!status) return fail(status.error());
  const std::uint64_t bytes = model->facts().weight_bytes;
  mlxmill::base::ThreadPool pool(mlxmill::base::available_cores());
  std::printf("{");
  print("prefill", speeds.prefill);
  print("decode", speeds.decode);
  std::printf("\"weight_bytes\": %llu, \"bandwidth\": %.0f}\n",
              static_cast<unsigned long long>(bytes),
              mlxmill::bench::read_bandwidth(pool, static_cast<std::size_t>(bytes), 3));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  mlxmill::ModelOptions options;
  options.path = argv[1];
  if (argc > 2 && std::string(argv[2]) == "logits") return print_logits(options);
  const auto number = [&](int i, int other) { return argc > i ? std::atoi(argv[i]) : other; };
  options.int8_activations = number(6, 0) != 0;
  return print_speed(options, number(2, 512), number(3, 64), number(4, 3), number(5, 0));
}
