#include "tokenize/class_rules.h"

#include <algorithm>
#include <iterator>

#include "vocabulary/bpe_tokenizer.h"

namespace mlxmill::tokenize {
namespace {

using base::Array;
using base::Object;
using base::Value;
using vocabulary::kSpace;
using vocabulary::replace_step;
using vocabulary::sequence_step;

/// Model types whose tokenizer.json transformers reads as it is, whatever class is named.
constexpr std::string_view kReadAsItIs[] = {"arctic",
                                            "aria",
                                            "ernie4_5",
                                            "ernie4_5_moe",
                                            "flex_olmo",
                                            "fuyu",
                                            "glm",
                                            "glm4",
                                            "glm4_moe",
                                            "glm4_moe_lite",
                                            "glm4v",
                                            "glm4v_moe",
                                            "gpt_bigcode",
                                            "granite",
                                            "granitemoe",
                                            "granitemoehybrid",
                                            "internlm2",
                                            "internlm3",
                                            "jamba",
                                            "kimi_k25",
                                            "kimi_linear",
                                            "llava",
                                            "llava_next",
                                            "mimo_v2_flash",
                                            "minicpm3",
                                            "minimax_m2",
                                            "ministral",
                                            "ministral3",
                                            "mistral",
                                            "mistral3",
                                            "mixtral",
                                            "molmo",
                                            "molmo2",
                                            "nemotron",
                                            "nvfp4",
                                            "olmo2",
                                            "olmo3",
                                            "olmo_hybrid",
                                            "paddleocr_vl",
                                            "persimmon",
                                            "phi3",
                                            "phi3_v",
                                            "phimoe",
                                            "pixtral",
                                            "smolvlm",
                                            "stablelm",
                                            "step3_vl",
                                            "umt5",
                                            "vipllava",
                                            "voxtral",
                                            "granitemoeshared",
                                            "iquestcoder",
                                            "qwen2",
                                            "qwen3_5",
                                            "qwen3_5_moe",
                                            "qwen3_5_moe_text"};

Value llama_decoder(bool prefix) {
  Array steps{replace_step(kSpace, " "), Object{{"type", "ByteFallback"}},
              Object{{"type", "Fuse"}}};
  if (prefix) {
    steps.emplace_back(Object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return sequence_step("decoders", std::move(steps));
}

void set_llama(const Settings& settings, Value& to) {
  const bool prefix = settings.add_prefix_space.value_or(true);
  const bool legacy = settings.legacy_given && settings.legacy;
  const char* scheme = !prefix ? "never" : (legacy ? "always" : "first");
  to.set("unless_byte_level", true);
  to.set("normalizer", Value());
  to.set("pre_tokenizer", Object{{"type", "Metaspace"},
                                 {"replacement", kSpace},
                                 {"prepend_scheme", scheme},
                                 {"split", false}});
  to.set("decoder", llama_decoder(prefix));
  to.set("model", Object{{"unk_token", Value()},
                         {"fuse_unk", true},
                         {"byte_fallback", true},
                         {"ignore_merges", false}});
}

Value added_tokens(const Settings& settings) {
  Array list;
  for (const AddedToken& token : settings.added) {
    Object entry{{"content", token.content}, {"single_word", token.single_word},
                 {"lstrip", token.lstrip},   {"rstrip", token.rstrip},
                 {"special", token.special}, {"only_if_absent", token.only_if_absent}};
    if (token.normalized) entry.push_back({"normalized", *token.normalized});
    list.emplace_back(std::move(entry));
  }
  return list;
}

}  // namespace

bool is_llama_class(const Settings& settings) {
  return settings.tokenizer_class == "LlamaTokenizer" &&
         std::find(std::begin(kReadAsItIs), std::end(kReadAsItIs), settings.model_type) ==
             std::end(kReadAsItIs);
}

Value engine_settings(const Settings& settings, bool from_json) {
  Value to{Object()};
  to.set("added_tokens", added_tokens(settings));
  if (is_llama_class(settings)) set_llama(settings, to);
  // The post-processor of a tokenizer.json stands; add_bos_token is for other files.
  if (!from_json) {
    Object around;
    const std::string* bos = settings.find_named("bos_token");
    const std::string* eos = settings.find_named("eos_token");
    if (settings.add_bos && bos) around.push_back({"before", *bos});
    if (settings.add_eos && eos) around.push_back({"after", *eos});
    to.set("around", std::move(around));
  }
  return to;
}

}  // namespace mlxmill::tokenize
