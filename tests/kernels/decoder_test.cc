// Norms, sums, gates, rotations and attention against the formulas in F64, on every target.
#include "kernels/decoder.h"

#include <cmath>

#include "kernels/corpus.h"
#include "kernels/ref/decoder.h"
#include "kernels/ref/floats.h"

namespace mlxmill::kernels {
namespace {

constexpr DType kTypes[] = {DType::kBF16, DType::kF16, DType::kF32};

class Decoder : public TargetTest {
 protected:
  base::ThreadPool pool_{2};
  std::mt19937 random_{3};

  ExactBuffer floats(DType type, std::size_t n) {
    ExactBuffer x(n * dtype_bytes(type), 1);
    for (std::size_t i = 0; i < n; ++i) {
      ref::store(type, static_cast<float>(random_()) * 0x1p-30f - 2.0f, x.data(), i);
    }
    return x;
  }
};

/// Equal but for one rounding to the type and the order of sums.
void expect_close(DType type, const ExactBuffer& got, const ExactBuffer& want, int roundings = 1) {
  ASSERT_EQ(got.size(), want.size());
  const double unit = type == DType::kBF16 ? 0x1p-7 : type == DType::kF16 ? 0x1p-10 : 0x1p-18;
  for (std::size_t i = 0; i < got.size() / dtype_bytes(type); ++i) {
    const double a = ref::load(type, got.data(), i);
    const double b = ref::load(type, want.data(), i);
    ASSERT_LE(std::fabs(a - b), roundings * unit * std::fabs(b) + 0x1p-18) << "element " << i;
  }
}

TEST_P(Decoder, NormsRowsOfAnyLength) {
  for (const DType type : kTypes) {
    for (const std::size_t cols : {1, 7, 16, 33, 64, 896}) {
      for (const bool weighted : {false, true}) {
        const std::size_t rows = cols == 896 ? 100 : 3;
        const ExactBuffer x = floats(type, rows * cols);
        const ExactBuffer weight = floats(type, cols);
        ExactBuffer got(x.size(), 1);
        ExactBuffer want(x.size(), 1);
        RmsNorm norm{type, x.data(), weighted ? weight.data() : nullptr, got.data(), rows,
                     cols, 1e-5f};
        rms_norm(norm, pool_);
        norm.y = want.data();
        ref::rms_norm(norm, 0, rows);
        // What is normed is rounded before it is weighted.
        expect_close(type, got, want, weighted ? 2 : 1);
      }
    }
  }
}

TEST_P(Decoder, AddsInPlace) {
  for (const DType type : kTypes) {
    ExactBuffer a = floats(type, 37);
    const ExactBuffer b = floats(type, 37);
    ExactBuffer want(a.size(), 1);
    for (std::size_t i = 0; i < 37; ++i) {
      ref::store(type, ref::load(type, a.data(), i) + ref::load(type, b.data(), i), want.data(), i);
    }
    add(type, a.data(), b.data(), a.data(), 37);
    EXPECT_EQ(difference(a, want), "");
  }
}

TEST_P(Decoder, GatesAnyNumber) {
  for (const DType type : kTypes) {
    for (const GateKind kind : {GateKind::kSilu, GateKind::kGeluTanh}) {
      for (const std::size_t n : {1, 31, 64, 40001}) {
        const ExactBuffer x = floats(type, n);
        const ExactBuffer up = floats(type, n);
        ExactBuffer got(x.size(), 1);
        ExactBuffer want(x.size(), 1);
        Gate g{type, kind, x.data(), up.data(), got.data(), n};
        gate(g, pool_);
        g.y = want.data();
        ref::gate(g, 0, n);
        expect_close(type, got, want);
      }
    }
  }
}

TEST_P(Decoder, GatesFarOut) {
  const float x[] = {-1e30f, -200.0f, -88.5f, 0.0f, 88.5f, 200.0f, 1e30f, NAN};
  const float up[] = {1, 1, 1, 1, 1, 1, 1, 1};
  float y[8];
  gate({DType::kF32, GateKind::kSilu, x, up, y, 8}, pool_);
  EXPECT_EQ(y[3], 0.0f);
  for (const int i : {1, 2}) EXPECT_NEAR(y[i], 0.0f, 1e-30f);
  for (const int i : {4, 5, 6}) EXPECT_EQ(y[i], x[i]);
  EXPECT_TRUE(std::isnan(y[7]));
}

TEST_P(Decoder, RotatesSomeOfAHead) {
  for (const DType type : kTypes) {
    for (const bool traditional : {false, true}) {
      for (const std::size_t dims : {2, 6, 32, 64}) {
        Rotation r;
        r.type = type;
        r.heads = 3;
        r.length = 5;
        r.size = 70;
        r.head_step = 70;
        r.token_step = 3 * 70;
        r.dims = dims;
        r.traditional = traditional;
        std::vector<float> cosines, sines;
        for (std::size_t i = 0; i < 5 * dims / 2; ++i) {
          cosines.push_back(std::cos(static_cast<float>(i)));
          sines.push_back(std::sin(static_cast<float>(i)));
        }
        r.cosines = cosines.data();
        r.sines = sines.data();
        const ExactBuffer x = floats(type, 3 * 5 * 70);
        ExactBuffer got(x.size(), 1);
        ExactBuffer want(x.size(), 1);
        r.x = x.data();
        r.y = got.data();
        rotate(r, pool_);
        r.y = want.data();
        for (std::size_t head = 0; head < 3; ++head) ref::rotate(r, head, 0, 5);
        expect_close(type, got, want);
      }
    }
  }
}

struct Shape {
  std::size_t heads, kv_heads, length, n, size, value_size;
  float softcap;
  bool masked, sinks;
};

TEST_P(Decoder, AttendsInAnyShape) {
  for (const DType type : kTypes) {
    for (const Shape& s :
         {Shape{1, 1, 1, 1, 1, 1, 0, false, false}, Shape{14, 2, 1, 65, 64, 64, 0, false, false},
          Shape{4, 4, 3, 200, 24, 40, 0, true, false}, Shape{6, 2, 70, 130, 80, 33, 0, true, true},
          Shape{8, 1, 100, 100, 16, 16, 30, true, false}}) {
      Attention a;
      a.type = type;
      a.heads = s.heads;
      a.kv_heads = s.kv_heads;
      a.length = s.length;
      a.n = s.n;
      a.size = s.size;
      a.value_size = s.value_size;
      a.key_step = s.n * s.size + 5;
      a.value_step = s.n * s.value_size + 9;
      a.scale = 0.3f;
      a.softcap = s.softcap;
      const ExactBuffer queries = floats(type, s.heads * s.length * s.size);
      const ExactBuffer keys = floats(type, (s.kv_heads - 1) * a.key_step + s.n * s.size);
      const ExactBuffer values = floats(type, (s.kv_heads - 1) * a.value_step + s.n * s.value_size);
      const ExactBuffer sinks = floats(type, s.heads);
      // A band with holes; one token sees nothing.
      const auto mask = std::make_unique<bool[]>(s.length * s.n);
      for (std::size_t t = 1; t < s.length; ++t) {
        for (std::size_t j = 0; j < s.n; ++j) {
          mask[t * s.n + j] = j <= t + s.n - s.length && j + 90 > t && (j + t) % 11 != 3;
        }
      }
      a.queries = queries.data();
      a.keys = keys.data();
      a.values = values.data();
      a.mask = s.masked ? mask.get() : nullptr;
      a.sinks = s.sinks ? sinks.data() : nullptr;
      ExactBuffer got(s.length * s.heads * s.value_size * dtype_bytes(type), 1);
      ExactBuffer want(got.size(), 1);
      a.y = got.data();
      attend(a, pool_);
      a.y = want.data();
      for (std::size_t head = 0; head < s.kv_heads; ++head) {
        ref::attend(a, {head, 0, s.heads / s.kv_heads * s.length});
      }
      SCOPED_TRACE(s.n);
      expect_close(type, got, want);
    }
  }
}

INSTANTIATE_FOR_TARGETS(Decoder);

}  // namespace
}  // namespace mlxmill::kernels
