"""A tiny model with random weights, for running the whole road of llama.cpp without any download.

Its shape is chosen for the CUDA backend: Q8_0 weights and heads of 64 with flash attention never need
cuBLAS, and four layers keep a token at a few dozen driver calls.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

LAYERS = 4
EMBEDDING = 256
FEED_FORWARD = 512
HEADS = 4
KEY_VALUE_HEADS = 2
HEAD_SIZE = EMBEDDING // HEADS
CONTEXT = 2048
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
BYTES = 0xFD  # UTF-8 never uses 0xfd and above, so that three special tokens and these make 256
VOCABULARY = len(SPECIAL_TOKENS) + BYTES


def make_tiny_model(path: Path, seed: int = 0) -> Path:
    """Write a llama-architecture GGUF of 2.6 MB to `path` and return it.

    The same seed gives the same file, byte for byte. The file appears whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    writer = gguf.GGUFWriter(partial, "llama")
    _add_shape(writer)
    _add_tokenizer(writer)
    random = np.random.default_rng(seed)
    for name, shape in _weight_shapes().items():
        weights = random.standard_normal(shape, dtype=np.float32) / np.sqrt(np.float32(shape[-1]))
        _add_quantized(writer, name, weights)
    for name in _norm_names():
        writer.add_tensor(name, np.ones(EMBEDDING, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return partial.replace(path)


def _add_shape(writer: gguf.GGUFWriter) -> None:
    writer.add_name("shimbench tiny")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    """A SentencePiece vocabulary that falls back to bytes for every character."""
    tokens = [*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(BYTES))]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    types += [gguf.TokenType.BYTE] * BYTES
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _weight_shapes() -> dict[str, tuple[int, int]]:
    """Name and (rows, columns) of every matrix."""
    key_value = KEY_VALUE_HEADS * HEAD_SIZE
    shapes = {
        "token_embd.weight": (VOCABULARY, EMBEDDING),
        "output.weight": (VOCABULARY, EMBEDDING),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_q.weight": (EMBEDDING, EMBEDDING),
            f"blk.{layer}.attn_k.weight": (key_value, EMBEDDING),
            f"blk.{layer}.attn_v.weight": (key_value, EMBEDDING),
            f"blk.{layer}.attn_output.weight": (EMBEDDING, EMBEDDING),
            f"blk.{layer}.ffn_gate.weight": (FEED_FORWARD, EMBEDDING),
            f"blk.{layer}.ffn_up.weight": (FEED_FORWARD, EMBEDDING),
            f"blk.{layer}.ffn_down.weight": (EMBEDDING, FEED_FORWARD),
        }
    return shapes


def _norm_names() -> list[str]:
    per_layer = [f"blk.{layer}.{which}_norm.weight" for layer in range(LAYERS) for which in ("attn", "ffn")]
    return [*per_layer, "output_norm.weight"]


def _add_quantized(writer: gguf.GGUFWriter, name: str, weights: npt.NDArray[np.float32]) -> None:
    quantized = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
