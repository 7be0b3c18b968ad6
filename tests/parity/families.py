"""Small checkpoints of families whose published layout is mlx-lm's own: made by mlx-lm's model classes, random weights.

Each maker writes a folder and yields its name; what differs from MLX's layout is put back into the published one.
"""
import importlib
import json
import shutil

import mlx.core as mx
from mlx.utils import tree_flatten

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def tensors_of(config, dtype=mx.bfloat16):
    """The parameters of mlx-lm's model for that config, random and of one dtype; integers stay."""
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(json.loads(json.dumps(config))))
    tensors = {}
    for index, (name, value) in enumerate(sorted(tree_flatten(model.parameters()))):
        key = mx.random.key(index)
        if mx.issubdtype(value.dtype, mx.floating):
            tensors[name] = (0.05 * mx.random.normal(value.shape, key=key)).astype(dtype)
            if name.endswith("norm.weight"):
                tensors[name] = tensors[name] + 1
        else:
            tensors[name] = mx.random.randint(0, 256, value.shape, key=key).astype(value.dtype)
    return tensors


def write(folder, base, config, tensors):
    folder.mkdir(parents=True)
    for name in TOKENIZER:
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    if config["model_type"] == "muse_spark":  # mlx-lm's default template for it does not load
        (folder / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "pt"})


def afm7():
    config = {"model_type": "afm7", "vocab_size": 512, "hidden_dim": 128, "num_layers": 4, "num_kv_reuse_layers": 2,
              "num_heads": 4, "num_kv_heads": 2, "hidden_dim_scale_factor": 3.26, "torch_dtype": "bfloat16"}
    return config, tensors_of(config)


def bitnet(**more):
    config = {"model_type": "bitnet", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256,
              "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 512,
              "torch_dtype": "bfloat16", "tie_word_embeddings": True,
              "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear",
                                      "quantization_mode": "offline"}}
    config.update(more)
    return config, tensors_of(config)


def bitnet_with_a_head():
    """The output layer is ternary too, as nothing excepts it."""
    config, tensors = bitnet(tie_word_embeddings=False, attention_bias=True)
    tensors["lm_head.weight"] = mx.random.randint(0, 256, (128, 128), key=mx.random.key(7)).astype(mx.uint8)
    tensors["lm_head.weight_scale"] = mx.array([0.5]).astype(mx.bfloat16)
    return config, tensors


def bitnet_with_a_plain_head():
    config, tensors = bitnet(tie_word_embeddings=False)
    config["quantization_config"]["modules_to_not_convert"] = ["lm_head"]
    return config, tensors


def ternary_llama():
    """Another family with quant_method bitnet: every linear layer becomes ternary."""
    config = {"model_type": "llama", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256,
              "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 512,
              "torch_dtype": "bfloat16", "tie_word_embeddings": False,
              "quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}}
    tensors = {}
    for index, (name, value) in enumerate(tensors_of(config).items()):
        if name.endswith("_proj.weight"):
            key = mx.random.key(1000 + index)
            tensors[name] = mx.random.randint(0, 256, (value.shape[0] // 4, value.shape[1]), key=key).astype(mx.uint8)
            tensors[name + "_scale"] = mx.array([30.0]).astype(mx.bfloat16)
        else:
            tensors[name] = value
    return config, tensors


def openelm(**more):
    config = {"model_type": "openelm", "head_dim": 32, "num_transformer_layers": 4, "model_dim": 128,
              "vocab_size": 512, "ffn_dim_divisor": 32, "num_query_heads": [4, 4, 6, 8], "num_kv_heads": [2, 2, 3, 4],
              "ffn_multipliers": [0.5, 1.3, 2.8, 4.0], "torch_dtype": "bfloat16"}
    config.update(more)
    return config, tensors_of(config)


def openelm_without_qk_norm():
    return openelm(normalize_qk_projections=False, share_input_output_layers=False, ffn_dim_divisor=7)


def nemotron_nas():
    full = {"no_op": False, "replace_with_linear": False}
    blocks = [
        {"attention": {**full, "n_heads_in_group": 2}, "ffn": {**full, "ffn_mult": 2.625}},
        {"attention": {"no_op": True}, "ffn": {**full, "ffn_mult": 1}},
        {"attention": {"replace_with_linear": True}, "ffn": {"no_op": True}},
        {"attention": {**full, "n_heads_in_group": 4}, "ffn": {"replace_with_linear": True}},
    ]
    config = {"model_type": "nemotron-nas", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
              "rms_norm_eps": 1e-5, "vocab_size": 512, "block_configs": blocks, "torch_dtype": "bfloat16",
              "max_position_embeddings": 512}
    return config, tensors_of(config)


def gpt_oss():
    """Unpacked, with the experts as mlx-lm names them: what it reads without packed blocks."""
    config = {"model_type": "gpt_oss", "num_hidden_layers": 2, "num_local_experts": 4, "vocab_size": 512,
              "hidden_size": 128, "intermediate_size": 128, "head_dim": 32, "num_attention_heads": 4,
              "num_key_value_heads": 2, "sliding_window": 8, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
              "torch_dtype": "bfloat16", "layer_types": ["sliding_attention", "full_attention"]}
    return config, tensors_of(config)


def gpt_oss_of_transformers():
    """Unpacked as transformers saves it: experts fused, transposed, gate and up in turns. mlx-lm does not read this."""
    config, tensors = gpt_oss()
    for layer in range(2):
        at = f"model.layers.{layer}.mlp.experts."
        for kind, turn in (("weight", lambda x: x.swapaxes(1, 2)), ("bias", lambda x: x)):
            gate, up = (turn(tensors.pop(f"{at}{part}_proj.{kind}")) for part in ("gate", "up"))
            fused = mx.stack([gate, up], axis=-1).flatten(-2)
            tensors[at + ("gate_up_proj" if kind == "weight" else "gate_up_proj_bias")] = mx.contiguous(fused)
            down = turn(tensors.pop(f"{at}down_proj.{kind}"))
            tensors[at + ("down_proj" if kind == "weight" else "down_proj_bias")] = mx.contiguous(down)
    return config, tensors


def bailing_moe_v3():
    config = {"model_type": "bailing_moe_v3", "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256,
              "moe_intermediate_size": 64, "moe_shared_expert_intermediate_size": 64, "num_hidden_layers": 4,
              "num_attention_heads": 4, "num_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
              "layer_group_size": 2, "head_dim": 32, "q_lora_rank": 64, "kv_lora_rank": 64, "qk_nope_head_dim": 32,
              "qk_rope_head_dim": 32, "v_head_dim": 32, "torch_dtype": "bfloat16"}
    tensors = tensors_of(config)
    config.update(model_type="bailing_hybrid", architectures=["BailingMoeV3ForCausalLM"])
    return config, tensors


def gemma3():
    """text_config without what mlx-lm fills in, and a head although the config says tied."""
    text = {"model_type": "gemma3_text", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256,
            "head_dim": 32, "sliding_window": 8, "sliding_window_pattern": 2, "num_attention_heads": 8,
            "num_key_value_heads": 4, "tie_word_embeddings": True}
    config = {"model_type": "gemma3", "text_config": text, "vocab_size": 512, "torch_dtype": "bfloat16",
              "vision_config": {"hidden_size": 8}}
    tensors = tensors_of(config)
    for key in ("num_attention_heads", "num_key_value_heads"):
        text.pop(key)
    tensors["vision_tower.x.weight"] = mx.zeros((8, 8))
    return config, tensors


def gemma3_tied():
    """Tied because the weights have no head, with names as transformers saves them since 4.52."""
    config, tensors = gemma3()
    del tensors["language_model.lm_head.weight"]
    return config, tensors


def gemma3_of_transformers():
    config, tensors = gemma3_tied()
    named = {name.replace("language_model.model.", "model.language_model.").replace("vision", "model.vision"): tensor
             for name, tensor in tensors.items()}
    return config, named


def gemma4_unified():
    """Without an encoder for images, and the experts of every layer fused."""
    text = {"model_type": "gemma4_text", "hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 256,
            "num_attention_heads": 8, "head_dim": 32, "global_head_dim": 64, "vocab_size_per_layer_input": 512,
            "num_key_value_heads": 1, "num_kv_shared_layers": 1, "hidden_size_per_layer_input": 64,
            "sliding_window": 8, "sliding_window_pattern": 2, "enable_moe_block": True, "num_experts": 4,
            "top_k_experts": 2, "moe_intermediate_size": 64}
    config = {"model_type": "gemma4", "text_config": text, "vocab_size": 512, "torch_dtype": "bfloat16"}
    tensors = tensors_of(config)
    config["model_type"] = "gemma4_unified"
    for key in ("num_attention_heads", "num_key_value_heads"):
        text.pop(key)
    for layer in range(4):
        at = f"language_model.model.layers.{layer}.experts."
        gate, up = (tensors.pop(f"{at}switch_glu.{part}_proj.weight") for part in ("gate", "up"))
        tensors[at + "gate_up_proj"] = mx.concatenate([gate, up], axis=-2)
        tensors[at + "down_proj"] = tensors.pop(f"{at}switch_glu.down_proj.weight")
    named = {name.replace("language_model.model.", "model.language_model."): tensor
             for name, tensor in tensors.items()}
    named["model.vision_embedder.x.weight"] = mx.zeros((8, 8))
    return config, named


def pixtral():
    """text_config without the number of heads, and tied, which mlx-lm unties."""
    text = {"model_type": "mistral", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256,
            "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 8, "rms_norm_eps": 1e-5,
            "vocab_size": 512, "tie_word_embeddings": True}
    config = {"model_type": "pixtral", "text_config": text, "torch_dtype": "bfloat16"}
    tensors = tensors_of(config)
    text.update(tie_word_embeddings=True)
    text.pop("num_attention_heads")
    return config, tensors


def mistral3():
    """text_config that does not say whether the output layer is tied."""
    text = {"model_type": "mistral", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-5,
            "vocab_size": 512}
    config = {"model_type": "mistral3", "text_config": text, "torch_dtype": "bfloat16"}
    return config, tensors_of(config)


def lfm2_vl(**more):
    text = {"model_type": "lfm2", "vocab_size": 512, "hidden_size": 128, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "norm_eps": 1e-5,
            "conv_bias": True, "conv_L_cache": 3, "block_dim": 128, "block_ff_dim": 300, "block_multiple_of": 32,
            "block_ffn_dim_multiplier": 1.3, "block_auto_adjust_ff_dim": True,
            "layer_types": ["conv", "full_attention", "conv"]}
    config = {"model_type": "lfm2-vl", "text_config": text, "torch_dtype": "bfloat16", **more}
    return config, tensors_of(config)


def lfm2_vl_of_transformers():
    """Convolutions [C, 1, K] and other prefixes, neither of which mlx-lm knows here."""
    config, tensors = lfm2_vl()
    named = {}
    for name, tensor in tensors.items():
        turned = mx.contiguous(tensor.swapaxes(1, 2)) if name.endswith("conv.weight") else tensor
        named[name.replace("language_model.model.", "model.language_model.")] = turned
    config["model_type"] = "lfm2_vl"  # mlx-lm's spelling is lfm2-vl, which the output has
    return config, named


def kimi_vl():
    text = {"model_type": "deepseek_v3", "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256,
            "moe_intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
            "n_shared_experts": 1, "n_routed_experts": 4, "kv_lora_rank": 64, "q_lora_rank": None,
            "qk_rope_head_dim": 32, "v_head_dim": 32, "qk_nope_head_dim": 32, "num_experts_per_tok": 2,
            "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
    config = {"model_type": "kimi_vl", "text_config": text, "torch_dtype": "bfloat16"}
    return config, tensors_of(config)


def with_kv_b(tensors, prefix, layers):
    """Both halves of latent attention in one kv_b_proj."""
    for layer in range(layers):
        at = f"{prefix}{layer}.self_attn."
        keys = tensors.pop(at + "embed_q.weight").swapaxes(1, 2)
        values = tensors.pop(at + "unembed_out.weight")
        tensors[at + "kv_b_proj.weight"] = mx.contiguous(mx.concatenate([keys, values], axis=1).flatten(0, 1))
    return tensors


def kimi_vl_of_transformers():
    """Both halves of latent attention in one kv_b_proj, which mlx-lm does not split here."""
    config, tensors = kimi_vl()
    return config, with_kv_b(tensors, "language_model.model.layers.", 2)


def llama():
    config = {"model_type": "llama", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256,
              "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 512,
              "torch_dtype": "bfloat16", "tie_word_embeddings": False}
    return config, tensors_of(config)


def unknown_type():
    """A model_type nobody knows, on a llama."""
    config, tensors = llama()
    config["model_type"] = "mynewllama"
    return config, tensors


# BitLinear computes with a Metal kernel: on the CPU its models only load.
NO_FORWARD = {"bitnet", "bitnet_with_a_head", "bitnet_with_a_plain_head", "ternary_llama"}
# mlx-lm quantizes the rest of these and loses the entry of config.json that makes their linear layers ternary or rotated.
NOT_TO_QUANTIZE = {"bitnet_with_a_head", "prism_hadamard_qwen35", "prism_hadamard_qwen35_in_bf16"}
# The same, where ours makes affine codes of the ternary weights, which load.
REPACKED = {"ternary_llama"}
# Quantized already, and the same weights as floats, which -d must give: mlx-lm rounds halves of attention once more.
PACKED = {"mlx_deepseek_with_kv_b": "mlx_deepseek_decoded"}
# The recipes look for modules named down_proj.
NO_RECIPES = {"lfm2_vl", "lfm2_vl_of_transformers", "openelm", "openelm_without_qk_norm"}
# mlx-lm is told to leave the output layer alone; recipes would not listen.
NORM_HEADS = {"bailing_norm_head", "bailing_linear_norm_head"}
# What mlx-lm cannot read, and a checkpoint of the same weights that it can.
TWINS = {name: name.replace("_of_transformers", "") for name in
         ("gpt_oss_of_transformers", "lfm2_vl_of_transformers", "kimi_vl_of_transformers")}
TWINS["unknown_type"] = "llama"
TWINS["gemma3_of_transformers"] = "gemma3_tied"

MAKERS = [afm7, bitnet, bitnet_with_a_head, bitnet_with_a_plain_head, ternary_llama, openelm, openelm_without_qk_norm,
          nemotron_nas, gpt_oss, gpt_oss_of_transformers, bailing_moe_v3, gemma3, gemma3_tied, gemma3_of_transformers,
          gemma4_unified, pixtral, mistral3, lfm2_vl, lfm2_vl_of_transformers, kimi_vl, kimi_vl_of_transformers,
          llama, unknown_type]


def make_all(base, work, makers):
    """Writes what every maker makes below `work`, with the tokenizer of `base`. Returns the folders by name."""
    result = {}
    for maker in makers:
        config, tensors = maker()
        write(work / maker.__name__, base, config, tensors)
        result[maker.__name__] = work / maker.__name__
    return result
