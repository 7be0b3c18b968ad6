// Products against the formula in F64: every scheme, dtype and engine, on every target.
#include "kernels/matmul.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/corpus.h"
#include "kernels/ref/floats.h"
#include "kernels/ref/matmul.h"

namespace mlxmill::kernels {
namespace {

std::uint32_t next(std::mt19937& random) { return static_cast<std::uint32_t>(random()); }

float uniform(std::mt19937& random) { return static_cast<float>(next(random)) * 0x1p-31f - 1.0f; }

ExactBuffer random_floats(DType type, std::size_t n, std::size_t offset, std::mt19937& random) {
  ExactBuffer out(n * dtype_bytes(type), offset);
  for (std::size_t i = 0; i < n; ++i) ref::store(type, uniform(random), out.data(), i);
  return out;
}

/// A weight with its memory, which ends where its allocations end.
struct Weight {
  std::vector<ExactBuffer> parts;
  MatrixView view;
};

Weight make_weight(std::optional<Scheme> scheme, DType type, std::size_t rows, std::size_t cols,
                   std::size_t offset, std::mt19937& random) {
  Weight w;
  w.view = {scheme, type, nullptr, nullptr, nullptr, 1.0f, rows, cols};
  const std::size_t n = rows * cols;
  w.parts.push_back(random_floats(scheme ? DType::kF32 : type, n, offset, random));
  if (scheme) {
    const bool affine = scheme->mode == Mode::kAffine;
    const std::size_t groups = n / static_cast<std::size_t>(scheme->group_size);
    const ExactBuffer weights = random_floats(type, n, 0, random);
    w.parts[0] = ExactBuffer(code_bytes(*scheme, n), offset);
    w.parts.emplace_back(groups * (affine ? dtype_bytes(type) : 1), offset);
    w.parts.emplace_back(affine ? groups * dtype_bytes(type) : 0, offset);
    quantize(*scheme, weights.data(), type, n,
             {w.parts[0].data(), w.parts[1].data(), w.parts[2].data()});
    w.view.scales = w.parts[1].data();
    w.view.biases = w.parts[2].data();
  }
  w.view.data = w.parts[0].data();
  return w;
}

/// How far y may be from the formula, in units of the sum of magnitudes: F32 sums in any order, and
/// decoding to BF16 where many rows meet BF16 weights.
double allowed(const Product& p, const std::string& engine) {
  // x in integers of 16 bits, by group.
  if (engine == "avx512-vnni" || engine.starts_with("highway-int16")) return 0x1p-13;
  // Of 8 bits: half of 1/127 of the group's largest.
  if (engine.starts_with("highway-int8")) return 0x1p-7;
  const bool decodes_to_bf16 = engine != "highway" && p.count > 4;
  return 0x1p-22 * std::sqrt(static_cast<double>(p.weight.cols)) + (decodes_to_bf16 ? 0x1p-9 : 0.0);
}

/// The half unit that rounding to the type of y costs.
double rounding(DType type, double y) {
  const double unit = type == DType::kBF16 ? 0x1p-8 : type == DType::kF16 ? 0x1p-11 : 0x1p-24;
  return std::fabs(y) * unit + (type == DType::kF16 ? 0x1p-25 : 0.0);
}

/// Runs the product and holds each of its outputs against the formula.
void expect_right(Product p, std::size_t y_offset = 0) {
  const std::size_t y_rows = p.out != nullptr ? 2 * p.count : p.count;
  ExactBuffer y(y_rows * p.y_stride * dtype_bytes(p.type), y_offset);
  p.y = y.data();
  multiply({&p, 1}, base::ThreadPool::shared());
  const std::string engine = active_matmul_engine();
  for (std::size_t i = 0; i < p.count; ++i) {
    const std::size_t row = p.out != nullptr ? p.out[i] : i;
    for (std::size_t n = 0; n < p.weight.rows; ++n) {
      const ref::Output want = ref::output(p, i, n);
      const double got = ref::load(p.type, y.data(), row * p.y_stride + n);
      const double limit = want.magnitude * allowed(p, engine) + rounding(p.type, want.value);
      ASSERT_LE(std::fabs(got - want.value), limit)
          << engine << " row " << i << " output " << n << " got " << got << " want " << want.value;
    }
  }
}

// What product_of() asks for.
bool int8_x = false;

Product product_of(const Weight& w, DType type, const ExactBuffer& x, std::size_t count) {
  Product p;
  p.weight = w.view;
  p.type = type;
  p.x = x.data();
  p.x_stride = w.view.cols;
  p.y_stride = w.view.rows;
  p.count = count;
  p.int8_x = int8_x;
  return p;
}

void expect_right(std::optional<Scheme> scheme, DType weight_type, DType type, std::size_t rows,
                  std::size_t cols, std::size_t count, std::size_t offset = 0) {
  SCOPED_TRACE(
      (scheme ? name_of(*scheme, weight_type) : "plain " + std::string(dtype_name(weight_type))) +
      " x " + std::string(dtype_name(type)) + " [" + std::to_string(count) + ", " +
      std::to_string(cols) + "] rows " + std::to_string(rows));
  std::mt19937 random(static_cast<unsigned>(rows * 31 + cols * 7 + count));
  const Weight w = make_weight(scheme, weight_type, rows, cols, offset, random);
  const ExactBuffer x = random_floats(type, count * cols, offset, random);
  expect_right(product_of(w, type, x, count), offset);
}

// On each target: Highway's kernels, whatever else the machine has.
class Matmul : public TargetTest {
 protected:
  void SetUp() override {
    TargetTest::SetUp();
    ASSERT_TRUE(set_matmul_engine("highway"));
  }
  void TearDown() override {
    ASSERT_TRUE(set_matmul_engine("auto"));
    TargetTest::TearDown();
  }
};

/// Chooses an engine, and products that it takes.
void choose(const std::string& engine) {
  ASSERT_TRUE(set_matmul_engine(engine));
  int8_x = engine.starts_with("highway-int8");
}

/// Those of the target in force.
std::vector<std::string> integer_engines() {
  std::vector<std::string> names = supported_matmul_engines();
  std::erase_if(names, [](const std::string& name) { return !name.starts_with("highway-int"); });
  return names;
}

// On each target, codes in integers.
class MatmulIntegers : public TargetTest {
 protected:
  void TearDown() override {
    choose("auto");
    TargetTest::TearDown();
  }
};

// Every engine on the best target.
class MatmulEngines : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { choose(GetParam()); }
  void TearDown() override { choose("auto"); }
};

void every_scheme_and_type(bool all_types) {
  for (const Scheme& scheme : all_schemes()) {
    const auto group = static_cast<std::size_t>(scheme.group_size);
    for (const DType type : kFloatTypes) {
      if (!all_types && type != DType::kBF16) continue;
      for (const DType weight_type : kFloatTypes) {
        if (scheme.mode != Mode::kAffine && weight_type != DType::kBF16) continue;
        expect_right(scheme, weight_type, type, 5, 3 * group, 1, 1);
        expect_right(scheme, weight_type, type, 7, 5 * group, 6);
        expect_right(scheme, weight_type, type, 3, 8 * group, 2);
      }
    }
  }
}

void every_count() {
  for (const Scheme& scheme :
       {Scheme{Mode::kAffine, 4, 64}, Scheme{Mode::kMxfp4, 4, 32}, Scheme{Mode::kNvfp4, 4, 16}}) {
    for (const std::size_t count : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 49}) {
      expect_right(scheme, DType::kBF16, DType::kBF16, 35, 192, count, count % 2);
    }
  }
}

void plain_weights() {
  for (const DType weight_type : kFloatTypes) {
    for (const DType type : kFloatTypes) {
      for (const std::size_t cols : {1, 31, 64, 77, 1100}) {
        expect_right(std::nullopt, weight_type, type, 9, cols, 1, 1);
        expect_right(std::nullopt, weight_type, type, 3, cols, 7);
      }
    }
  }
}

TEST_P(Matmul, AgreesWithTheFormulaForEverySchemeAndType) { every_scheme_and_type(true); }
TEST_P(Matmul, AgreesForAnyNumberOfRows) { every_count(); }
TEST_P(Matmul, TakesPlainWeights) { plain_weights(); }

TEST_P(Matmul, CrossesBlocksOfCodes) {
  expect_right(Scheme{Mode::kAffine, 4, 64}, DType::kF16, DType::kF16, 3, 4096 + 192, 1);
  expect_right(Scheme{Mode::kAffine, 3, 32}, DType::kF16, DType::kF32, 3, 4096 + 160, 5);
}

INSTANTIATE_FOR_TARGETS(Matmul);

TEST_P(MatmulIntegers, AgreeWithTheFormula) {
  for (const std::string& engine : integer_engines()) {
    choose(engine);
    every_scheme_and_type(true);
    every_count();
    expect_right(Scheme{Mode::kAffine, 8, 128}, DType::kBF16, DType::kBF16, 9, 4096 + 256, 3);
    expect_right(Scheme{Mode::kAffine, 6, 64}, DType::kBF16, DType::kBF16, 9, 4096 + 192, 4);
    expect_right(Scheme{Mode::kAffine, 6, 64}, DType::kBF16, DType::kF16, 21, 4096 + 192, 15);
  }
}

// Codes and x as large as they get: no sum may overflow.
TEST_P(MatmulIntegers, HoldTheLargestSums) {
  for (const std::string& engine : integer_engines()) {
    choose(engine);
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      for (const int group : {32, 64, 128}) {
        for (const float sign : {1.0f, -1.0f}) {
          for (const std::uint8_t code : {0xFF, 0x00}) {
            const Scheme scheme{Mode::kAffine, bits, group};
            std::mt19937 random(3);
            Weight w = make_weight(scheme, DType::kBF16, 2, 256, 0, random);
            std::memset(w.parts[0].data(), code, code_bytes(scheme, 512));
            for (std::size_t g = 0; g < 512 / static_cast<std::size_t>(group); ++g) {
              ref::store(DType::kBF16, 1.0f, w.parts[1].data(), g);
              ref::store(DType::kBF16, -100.0f, w.parts[2].data(), g);
            }
            const std::size_t count = engine.ends_with("batch") ? 7 : 1;
            ExactBuffer x(count * 256 * 2);
            for (std::size_t k = 0; k < count * 256; ++k) {
              ref::store(DType::kBF16, sign * 1.9921875f, x.data(), k);
            }
            SCOPED_TRACE(name_of(scheme, DType::kBF16));
            expect_right(product_of(w, DType::kBF16, x, count));
          }
        }
      }
    }
  }
}

INSTANTIATE_FOR_TARGETS(MatmulIntegers);

TEST_P(MatmulEngines, AgreesWithTheFormulaForEveryScheme) { every_scheme_and_type(false); }
TEST_P(MatmulEngines, AgreesForAnyNumberOfRows) { every_count(); }
TEST_P(MatmulEngines, TakesPlainWeights) { plain_weights(); }

TEST_P(MatmulEngines, TakesAnyNumberOfWeightRows) {
  for (const std::size_t rows : {1, 15, 16, 17, 32, 33, 63, 64, 65, 97, 300}) {
    expect_right(Scheme{Mode::kAffine, 4, 64}, DType::kBF16, DType::kBF16, rows, 128, 1);
    expect_right(Scheme{Mode::kAffine, 4, 64}, DType::kBF16, DType::kBF16, rows, 128, 20, 1);
  }
}

TEST_P(MatmulEngines, TakesColumnsBeyondOneStretch) {
  for (const std::size_t cols : {1024, 1088, 2080}) {
    expect_right(Scheme{Mode::kAffine, 5, 32}, DType::kBF16, DType::kBF16, 33, cols, 1);
    expect_right(Scheme{Mode::kAffine, 5, 32}, DType::kBF16, DType::kBF16, 33, cols, 18);
  }
}

TEST_P(MatmulEngines, RunsWhereItCan) {
  std::mt19937 random(5);
  const Weight w = make_weight(Scheme{}, DType::kBF16, 4, 64, 0, random);
  const ExactBuffer x = random_floats(DType::kBF16, 8 * 64, 0, random);
  // Integers of 16 bits are for few rows.
  const bool few = GetParam() == "avx512-vnni" || GetParam() == "highway-int16";
  expect_right(product_of(w, DType::kBF16, x, few ? 3 : 8));
  EXPECT_EQ(active_matmul_engine(), GetParam());
}

TEST_P(MatmulEngines, GathersAndScattersRows) {
  std::mt19937 random(6);
  for (const std::size_t count : {1u, 3u, 9u}) {
    const Weight w = make_weight(Scheme{Mode::kAffine, 4, 32}, DType::kBF16, 21, 96, 0, random);
    const ExactBuffer x = random_floats(DType::kBF16, 10 * 100, 0, random);
    std::vector<std::uint32_t> in, out;
    for (std::uint32_t i = 0; i < count; ++i) {
      in.push_back((i * 7 + 3) % 10);
      out.push_back(2 * i + 1);
    }
    Product p = product_of(w, DType::kBF16, x, count);
    p.x_stride = 100;
    p.y_stride = 25;
    p.in = in.data();
    p.out = out.data();
    expect_right(p);
  }
}

TEST_P(MatmulEngines, MultipliesByTheFactor) {
  std::mt19937 random(7);
  for (const auto& scheme : {std::optional(Scheme{Mode::kNvfp4, 4, 16}), std::optional(Scheme{}),
                             std::optional<Scheme>()}) {
    for (const std::size_t count : {1u, 6u}) {
      Weight w = make_weight(scheme, DType::kBF16, 6, 128, 0, random);
      w.view.factor = 0.37f;
      const ExactBuffer x = random_floats(DType::kBF16, count * 128, 0, random);
      expect_right(product_of(w, DType::kBF16, x, count));
    }
  }
}

// Products that share x, and ones that do not, in one call.
TEST_P(MatmulEngines, ComputesSeveralProductsAtOnce) {
  std::mt19937 random(8);
  for (const std::size_t count : {1u, 5u}) {
    const Weight a = make_weight(Scheme{}, DType::kBF16, 70, 128, 0, random);
    const Weight b = make_weight(Scheme{}, DType::kBF16, 3, 128, 0, random);
    const Weight c = make_weight(Scheme{Mode::kMxfp8, 8, 32}, DType::kBF16, 9, 64, 0, random);
    const ExactBuffer x = random_floats(DType::kBF16, count * 128, 0, random);
    const ExactBuffer z = random_floats(DType::kBF16, count * 64, 0, random);
    Product all[] = {product_of(a, DType::kBF16, x, count), product_of(b, DType::kBF16, x, count),
                     product_of(c, DType::kBF16, z, count), product_of(b, DType::kBF16, x, count)};
    std::vector<ExactBuffer> together, alone;
    for (Product& p : all) {
      together.emplace_back(count * p.weight.rows * 2);
      alone.emplace_back(count * p.weight.rows * 2);
    }
    for (std::size_t i = 0; i < 4; ++i) all[i].y = together[i].data();
    multiply(all, base::ThreadPool::shared());
    for (std::size_t i = 0; i < 4; ++i) {
      all[i].y = alone[i].data();
      multiply({&all[i], 1}, base::ThreadPool::shared());
      EXPECT_EQ(difference(together[i], alone[i]), "") << i;
    }
    EXPECT_EQ(difference(together[1], together[3]), "");
  }
}

TEST_P(MatmulEngines, GivesTheSameBytesOnAnyNumberOfThreads) {
  std::mt19937 random(9);
  for (const std::size_t count : {1u, 40u}) {
    const Weight w = make_weight(Scheme{}, DType::kBF16, 700, 1216, 0, random);
    const ExactBuffer x = random_floats(DType::kBF16, count * 1216, 0, random);
    Product p = product_of(w, DType::kBF16, x, count);
    ExactBuffer first(count * 700 * 2), second(count * 700 * 2);
    for (const int threads : {1, 2, 5}) {
      base::ThreadPool pool(threads);
      ExactBuffer& y = threads == 1 ? first : second;
      p.y = y.data();
      multiply({&p, 1}, pool);
      if (threads > 1) {
        EXPECT_EQ(difference(first, second), "") << threads;
      }
    }
  }
}

// What is not finite in x or in a scale makes all outputs it reaches not finite, and no others.
TEST_P(MatmulEngines, KeepsWhatIsNotFiniteInItsRow) {
  std::mt19937 random(10);
  for (const std::size_t count : {3u, 6u}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Weight w = make_weight(Scheme{}, DType::kBF16, 10, 128, 0, random);
      ExactBuffer x = random_floats(DType::kBF16, count * 128, 0, random);
      ref::store(DType::kBF16, bad, x.data(), 128 + 5);
      ref::store(DType::kBF16, bad, w.parts[1].data(), 2 * 7);
      Product p = product_of(w, DType::kBF16, x, count);
      ExactBuffer y(count * 10 * 2);
      p.y = y.data();
      multiply({&p, 1}, base::ThreadPool::shared());
      for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t n = 0; n < 10; ++n) {
          const float got = ref::load(DType::kBF16, y.data(), i * 10 + n);
          EXPECT_EQ(ref::is_finite(got), i != 1 && n != 7) << i << ' ' << n;
        }
      }
    }
  }
}

TEST(MatmulEngine, RefusesUnknownNamesAndListsTheOthers) {
  const Status status = set_matmul_engine("abacus");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Code::kUsage);
  EXPECT_NE(status.error().message().find("abacus"), std::string::npos);
  EXPECT_NE(status.error().message().find("highway"), std::string::npos);
}

TEST(MatmulEngine, DoesNothingForNothing) {
  Product p;
  multiply({&p, 1}, base::ThreadPool::shared());
  multiply({}, base::ThreadPool::shared());
}

std::string name_of_engine(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Machine, MatmulEngines, testing::ValuesIn(supported_matmul_engines()),
                         name_of_engine);

}  // namespace
}  // namespace mlxmill::kernels
