"""Writes a checkpoint of make_model.py's qwen2 shape as a BF16 GGUF file, for llama.cpp (needs the gguf package)."""
import json
import struct

import gguf
import numpy


def tensors(file):
    """(name, shape, bytes) of a BF16 safetensors file."""
    with open(file, "rb") as stream:
        size = struct.unpack("<Q", stream.read(8))[0]
        header = json.loads(stream.read(size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            stream.seek(8 + size + first)
            yield name, entry["shape"], stream.read(last - first)


def make_gguf(folder, file):
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    # llama-bench draws token ids; what they stand for does not matter.
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"t{i}" for i in range(config["vocab_size"])])
    writer.add_token_types([gguf.TokenType.NORMAL] * config["vocab_size"])
    writer.add_token_merges(["t 0"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for name, shape, data in tensors(folder / "model.safetensors"):
        name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if len(shape) == 1:
            writer.add_tensor(name, (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4"))
        else:
            rows = numpy.frombuffer(data, numpy.uint8).reshape(shape[0], -1)
            writer.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
