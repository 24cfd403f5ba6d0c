"""Small models with random weights, of several architectures and weight types.

What a token is followed by is drawn from the weights too: each token's embedding points to another token's
row of the output, as strongly as all layers together point anywhere else. So the likeliest token is likeliest
by more than two backends differ, and what the layers compute still decides among the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from tests.real.ggml_ops.library import TYPES, Ggml
from workbench.demo.model import VOCABULARY, add_byte_tokenizer

LAYERS, EMBEDDING, FEED_FORWARD, CONTEXT = 4, 256, 512, 2048
POINTER_SCALE = 0.6
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Architecture:
    """What of llama.cpp's architectures differs; `settings` writes the keys that only it has."""

    name: str
    heads: int
    key_value_heads: int
    head_size: int
    layers: int = LAYERS
    embedding_scale: float = 2.0
    """about what the layers add, all together"""
    biases: bool = False
    norms: tuple[str, ...] = ("attn_norm", "ffn_norm")
    head_norms: tuple[str, ...] = ()
    settings: Callable[[gguf.GGUFWriter], None] = lambda writer: None


def _gemma3(writer: gguf.GGUFWriter) -> None:
    writer.add_sliding_window(32)  # shorter than prompt and answer, so that it hides something
    writer.add_final_logit_softcapping(30.0)
    writer.add_rope_freq_base(1e6)


def _qwen2(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_freq_base(1e6)


LLAMA = Architecture("llama", heads=4, key_value_heads=2, head_size=64)
QWEN2 = Architecture("qwen2", heads=4, key_value_heads=2, head_size=64, biases=True, settings=_qwen2)
GEMMA3 = Architecture(
    "gemma3", heads=4, key_value_heads=1, head_size=256, embedding_scale=5.0,
    layers=7,  # each sixth sees all of the context
    norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
    head_norms=("attn_q_norm", "attn_k_norm"), settings=_gemma3,
)  # fmt: skip
ARCHITECTURES = {architecture.name: architecture for architecture in (LLAMA, QWEN2, GEMMA3)}

WEIGHT_TYPES = {
    "f32": ("f32",), "f16": ("f16",), "bf16": ("bf16",), "q8_0": ("q8_0",),
    "mixed K": ("q4_K", "q5_K", "q6_K", "q4_0", "q2_K", "q3_K"),
}  # fmt: skip
"""name -> the types that matrices take in turn"""


def make_random_model(path: Path, ggml: Ggml, architecture: Architecture, types: tuple[str, ...]) -> Path:
    """Write a GGUF to `path` and return it; ggml itself quantizes."""
    writer = gguf.GGUFWriter(path, architecture.name)
    _add_settings(writer, architecture)
    add_byte_tokenizer(writer)
    random = np.random.default_rng(0)
    for number, (name, weights) in enumerate(_matrices(architecture, random).items()):
        kind = types[number % len(types)]
        shape = (len(weights), -1)
        stored = np.frombuffer(ggml.quantized(kind, weights), dtype=np.uint8).reshape(shape)
        if kind == "f32":
            writer.add_tensor(name, weights)
        else:
            writer.add_tensor(name, stored, raw_dtype=gguf.GGMLQuantizationType(TYPES[kind]))
    for name, vector in _vectors(architecture, random).items():
        writer.add_tensor(name, vector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_settings(writer: gguf.GGUFWriter, architecture: Architecture) -> None:
    writer.add_name(f"random {architecture.name}")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(architecture.layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(architecture.heads)
    writer.add_head_count_kv(architecture.key_value_heads)
    writer.add_key_length(architecture.head_size)
    writer.add_value_length(architecture.head_size)
    writer.add_rope_dimension_count(architecture.head_size)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCABULARY)
    architecture.settings(writer)


def _random(random: np.random.Generator, rows: int, columns: int) -> Weights:
    weights: Weights = random.standard_normal((rows, columns), dtype=np.float32) / np.float32(
        np.sqrt(columns)
    )
    return weights


def _matrices(architecture: Architecture, random: np.random.Generator) -> dict[str, Weights]:
    queries = architecture.heads * architecture.head_size
    keys = architecture.key_value_heads * architecture.head_size
    embedding = random.standard_normal((VOCABULARY, EMBEDDING), dtype=np.float32)
    output = _random(random, VOCABULARY, EMBEDDING)
    circle = random.permutation(VOCABULARY)  # each points to the next
    pointers = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    output[np.roll(circle, -1)] += np.float32(POINTER_SCALE) * pointers[circle]
    scale = architecture.embedding_scale
    if architecture is GEMMA3:
        scale /= np.sqrt(EMBEDDING)  # which llama.cpp multiplies gemma's embeddings by
    matrices = {"token_embd.weight": np.float32(scale) * embedding, "output.weight": output}
    shapes = {
        "attn_q": (queries, EMBEDDING), "attn_k": (keys, EMBEDDING), "attn_v": (keys, EMBEDDING),
        "attn_output": (EMBEDDING, queries), "ffn_gate": (FEED_FORWARD, EMBEDDING),
        "ffn_up": (FEED_FORWARD, EMBEDDING), "ffn_down": (EMBEDDING, FEED_FORWARD),
    }  # fmt: skip
    for layer in range(architecture.layers):
        for name, shape in shapes.items():
            matrices[f"blk.{layer}.{name}.weight"] = _random(random, *shape)
    return matrices


def _vectors(architecture: Architecture, random: np.random.Generator) -> dict[str, Weights]:
    def near_one(count: int) -> Weights:
        return random.uniform(0.8, 1.2, count).astype(np.float32)

    vectors = {"output_norm.weight": near_one(EMBEDDING)}
    for layer in range(architecture.layers):
        for name in architecture.norms:
            vectors[f"blk.{layer}.{name}.weight"] = near_one(EMBEDDING)
        for name in architecture.head_norms:
            vectors[f"blk.{layer}.{name}.weight"] = near_one(architecture.head_size)
        for name in ("attn_q", "attn_k", "attn_v") if architecture.biases else ():
            heads = architecture.heads if name == "attn_q" else architecture.key_value_heads
            bias = random.standard_normal(heads * architecture.head_size, dtype=np.float32)
            vectors[f"blk.{layer}.{name}.bias"] = bias * np.float32(0.5)
    return vectors
