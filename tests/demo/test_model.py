"""The tiny model: what llama.cpp will find in the file."""

from __future__ import annotations

from pathlib import Path

import gguf

from workbench.demo.model import HEAD_SIZE, VOCABULARY, make_tiny_model


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (
        make_tiny_model(tmp_path / name, seed).read_bytes()
        for name, seed in (("a.gguf", 1), ("b.gguf", 1), ("c.gguf", 2))
    )
    assert first == again
    assert first != other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gguf", "b.gguf", "c.gguf"]


def test_every_matrix_is_q8_0_and_every_norm_a_plain_float(tmp_path: Path) -> None:
    reader = gguf.GGUFReader(make_tiny_model(tmp_path / "tiny.gguf"))
    kinds = {tensor.name: tensor.tensor_type for tensor in reader.tensors}
    assert len(kinds) == 39
    for name, kind in kinds.items():
        wanted = gguf.GGMLQuantizationType.F32 if "norm" in name else gguf.GGMLQuantizationType.Q8_0
        assert kind == wanted, name


def test_heads_are_of_a_size_flash_attention_supports(tmp_path: Path) -> None:
    reader = gguf.GGUFReader(make_tiny_model(tmp_path / "tiny.gguf"))
    heads = reader.fields["llama.attention.head_count"].contents()
    assert reader.fields["llama.embedding_length"].contents() // heads == HEAD_SIZE == 64
    assert len(reader.fields["tokenizer.ggml.tokens"].contents()) == VOCABULARY == 256
