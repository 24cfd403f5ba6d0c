"""A tiny model with random weights, for running the whole road of llama.cpp without any download.

Its shape is chosen for the CUDA backend: Q8_0 weights and heads of 64 with flash attention never need
cuBLAS, and four layers keep a token at a few dozen driver calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

HEAD_SIZE = 64
CONTEXT = 2048
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
BYTES = 0xFD  # UTF-8 never uses 0xfd and above, so that three special tokens and these make 256
VOCABULARY = len(SPECIAL_TOKENS) + BYTES


@dataclass(frozen=True)
class Shape:
    """Sizes of a llama model; heads have HEAD_SIZE elements."""

    layers: int = 4
    embedding: int = 256
    feed_forward: int = 512
    key_value_heads: int = 2

    @property
    def heads(self) -> int:
        return self.embedding // HEAD_SIZE


TINY = Shape()


def make_tiny_model(path: Path, seed: int = 0, shape: Shape = TINY) -> Path:
    """Write a llama-architecture GGUF, by default of 2.6 MB, to `path` and return it.

    The same seed gives the same file, byte for byte. The file appears whole or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    writer = gguf.GGUFWriter(partial, "llama")
    _add_shape(writer, shape)
    add_byte_tokenizer(writer)
    random = np.random.default_rng(seed)
    for name, size in _weight_shapes(shape).items():
        weights = random.standard_normal(size, dtype=np.float32) / np.sqrt(np.float32(size[-1]))
        _add_quantized(writer, name, weights)
    for name in _norm_names(shape):
        writer.add_tensor(name, np.ones(shape.embedding, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return partial.replace(path)


def _add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("shimbench tiny")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.embedding)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_rope_dimension_count(HEAD_SIZE)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)


def add_byte_tokenizer(writer: gguf.GGUFWriter) -> None:
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


def _weight_shapes(shape: Shape) -> dict[str, tuple[int, int]]:
    """Name and (rows, columns) of every matrix."""
    key_value = shape.key_value_heads * HEAD_SIZE
    shapes = {
        "token_embd.weight": (VOCABULARY, shape.embedding),
        "output.weight": (VOCABULARY, shape.embedding),
    }
    for layer in range(shape.layers):
        shapes |= {
            f"blk.{layer}.attn_q.weight": (shape.embedding, shape.embedding),
            f"blk.{layer}.attn_k.weight": (key_value, shape.embedding),
            f"blk.{layer}.attn_v.weight": (key_value, shape.embedding),
            f"blk.{layer}.attn_output.weight": (shape.embedding, shape.embedding),
            f"blk.{layer}.ffn_gate.weight": (shape.feed_forward, shape.embedding),
            f"blk.{layer}.ffn_up.weight": (shape.feed_forward, shape.embedding),
            f"blk.{layer}.ffn_down.weight": (shape.embedding, shape.feed_forward),
        }
    return shapes


def _norm_names(shape: Shape) -> list[str]:
    per_layer = [
        f"blk.{layer}.{which}_norm.weight" for layer in range(shape.layers) for which in ("attn", "ffn")
    ]
    return [*per_layer, "output_norm.weight"]


def _add_quantized(writer: gguf.GGUFWriter, name: str, weights: npt.NDArray[np.float32]) -> None:
    quantized = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
