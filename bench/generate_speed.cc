// Tokens per second of a model: a prompt in one go, then tokens one at a time, greedy. Prints JSON
// for bench/generate_bench.py.
//   generate_speed MODEL [PROMPT_TOKENS] [NEW_TOKENS] [REPEATS]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
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
                        Speeds& speeds) {
  const std::vector<std::int32_t> ids = prompt_of(prompt, model.facts().vocabulary);
  for (int repeat = 0; repeat <= repeats; ++repeat) {
    ModelCache cache = model.new_cache();
    double start = now();
    MLXMILL_ASSIGN(Logits logits, model.run(ids, cache));
    const double prefill = static_cast<double>(prompt) / (now() - start);
    // As llama-bench does: from an empty cache.
    ModelCache fresh = model.new_cache();
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

/// Greedy tokens after a prompt of 16, for comparison with others, and the first logits.
mlxmill::Status answer(const Model& model, std::vector<std::int32_t>& tokens, Logits& first) {
  ModelCache cache = model.new_cache();
  MLXMILL_ASSIGN(Logits logits, model.run(prompt_of(16, model.facts().vocabulary), cache));
  first = logits;
  for (int i = 0; i < 8; ++i) {
    const std::int32_t next = likeliest(logits);
    tokens.push_back(next);
    MLXMILL_ASSIGN(logits, model.run({&next, 1}, cache));
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

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const auto number = [&](int i, int otherwise) {
    return argc > i ? std::atoi(argv[i]) : otherwise;
  };
  mlxmill::ModelOptions options;
  options.path = argv[1];
  const Result<Model> model = Model::open(options);
  if (!model) return fail(model.error());
  std::vector<std::int32_t> tokens;
  Logits first;
  if (auto status = answer(*model, tokens, first); !status) return fail(status.error());
  Speeds speeds;
  const auto prompt = static_cast<std::size_t>(number(2, 512));
  if (auto status = measure(*model, prompt, number(3, 64), number(4, 3), speeds); !status) {
    return fail(status.error());
  }
  const std::uint64_t bytes = model->facts().weight_bytes;
  mlxmill::base::ThreadPool pool(mlxmill::base::available_cores());
  std::printf("{");
  print("tokens", tokens);
  print("logits", first.values);
  print("prefill", speeds.prefill);
  print("decode", speeds.decode);
  std::printf("\"weight_bytes\": %llu, \"bandwidth\": %.0f}\n",
              static_cast<unsigned long long>(bytes),
              mlxmill::bench::read_bandwidth(pool, static_cast<std::size_t>(bytes), 3));
  return 0;
}
