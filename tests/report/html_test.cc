#include "report/html.h"

#include <gmock/gmock.h>

#include <cmath>

namespace mlxmill::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Escape, LeavesNoMarkup) {
  EXPECT_EQ(escape("</script><a href=\"x\" id='y'>&"),
            "&lt;/script&gt;&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;");
}

TEST(Escape, ReplacesWhatIsNoText) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(escape(std::string_view("a\0b\x1b\x7f", 5)), "a" + r + "b" + r + r);
  EXPECT_EQ(escape("caf\xe9!"), "caf" + r + "!");
  EXPECT_EQ(escape("\xed\xa0\x80"), r + r + r);  // Half of a surrogate pair.
  EXPECT_EQ(escape("a\xe2\x80\xae"
                   "b"),
            "a" + r + "b");  // Turns the direction of text.
  EXPECT_EQ(escape("é\n\t木"), "é\n\t木");
}

TEST(Number, ShowsFourDigitsThatMatter) {
  EXPECT_EQ(number(0), "0");
  EXPECT_EQ(number(0.0123456), "0.01235");
  EXPECT_EQ(number(12.3456), "12.35");
  EXPECT_EQ(number(123456.7), "123457");
  EXPECT_EQ(number(0.0000123), "1.23e-05");
  EXPECT_EQ(number(HUGE_VAL), "∞");
  EXPECT_EQ(with_error({0.012345, 0.00042}), "0.01235 ± 0.00042");
  EXPECT_EQ(with_error({123.4, 56}), "123 ± 56");
}

TEST(EvaluationHtml, EveryTextIsEscaped) {
  const std::string hostile = "</style></script><script>alert(1)</script>\"'";
  EvalReport report;
  report.reference = report.protocol = report.reference_storage = hostile;
  report.texts = {hostile, "b"};
  report.complete = false;
  EvalModel model;
  model.name = hostile;
  model.total.positions = 3;
  model.total.comparison = Comparison{};
  model.domains = {{hostile, model.total}, {"b", model.total}};
  model.histogram = {{0, 1e-6, 2}, {1e-6, HUGE_VAL, 1}};
  model.worst = {{hostile, 1, 2, hostile, hostile, hostile, hostile, 0.5, 0.1, 0.2}};
  model.layers = {{"model.layers.0." + hostile, hostile, 10, 0.1, 0.3, {}},
                  {hostile, hostile, 10, 0.2, std::nullopt, {}}};
  report.models = {model, model};
  const std::string page = evaluation_html(report);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("</script")));
  EXPECT_EQ(page.find("</style>"), page.rfind("</style>"));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)"));
  EXPECT_THAT(page, HasSubstr("Partial: the run was stopped"));
  EXPECT_THAT(page, Not(HasSubstr("http://")));
  EXPECT_THAT(page, Not(HasSubstr("https://")));
}

TEST(EvaluationHtml, OutputsHaveAMapOfThoseThatHaveAny) {
  EvalReport report;
  EvalModel model;
  model.name = "four";
  model.layers = {
      {"model.embed_tokens", "bfloat16", 10, 0.1, std::nullopt, {}},
      {"model.layers.0.mlp.up_proj", "4-bit", 10, 0.2, 0.125, {}},
      {"model.layers.1.mlp.up_proj", "4-bit", 10, 0.2, 0.375, {0.5, std::nullopt, 0.25}}};
  report.models = {model};
  report.output_tokens = 128;
  EXPECT_THAT(layer_heat(report), HasSubstr("outputs 12.50 % (4-bit)"));
  EXPECT_THAT(layer_heat(report), HasSubstr("model.embed_tokens: weights 10.00 % (bfloat16)"));
  const std::string map = output_heat(report);
  EXPECT_THAT(map, Not(HasSubstr("embed_tokens")));
  EXPECT_THAT(map, HasSubstr("<th scope=\"row\">mlp.up_proj</th><td>25.00 %</td>"));
  EXPECT_THAT(map, HasSubstr("--v:0.080\" title=\"model.layers.0.mlp.up_proj: weights 20.00 %, "
                             "outputs 12.50 % (4-bit)"));
  EXPECT_THAT(map, HasSubstr("--v:1.000\" title=\"model.layers.1.mlp.up_proj: weights 20.00 %, "
                             "outputs 37.50 % in 2 of 3 matrices (4-bit)"));
  EXPECT_THAT(evaluation_html(report), HasSubstr("<h2>Error of the outputs</h2>"));
  for (LayerError& e : report.models[0].layers) e.output_error.reset();
  EXPECT_EQ(output_heat(report), "");
  EXPECT_THAT(evaluation_html(report), Not(HasSubstr("Error of the outputs")));
}

TEST(EvaluationHtml, AnEmptyReportIsStillAPage) {
  const std::string page = evaluation_html({});
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_EQ(evaluation_card({}), "");
}

TEST(EvaluationCard, IsAMarkdownTable) {
  EvalReport report;
  report.reference = "base";
  report.protocol = "strided, context 512, stride 256";
  EvalModel model;
  model.name = "a|b";
  model.bytes = 4'500'000'000;
  model.bits_per_weight = 4.5;
  model.complete = true;
  model.total.positions = 100;
  model.total.perplexity = {12.34, 0.12};
  model.total.comparison = Comparison{};
  model.total.comparison->kl = {0.0123, 0.0004};
  model.total.comparison->same_top = {0.95, 0.01};
  report.models = {model};
  EXPECT_THAT(
      evaluation_card(report),
      HasSubstr("| `a_b` | 4.50 GB | 4.500 | 0.01230 ± 0.00040 | 95.00 % | 12.34 ± 0.12 |"));
}

}  // namespace
}  // namespace mlxmill::report
