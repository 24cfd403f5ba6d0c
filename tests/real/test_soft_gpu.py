"""Real llama.cpp on the software GPU against its own CPU backend: the demo's model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.real.conftest import Consumer
from tests.real.decoding import Decoding
from workbench.native import NativePaths

TOKENS = 24
# Both backends quantise activations to 8 bits, each in its own order of sums; of logits that spread over
# about 1, no more than this has been seen between them.
MOST_DIFFERENCE = 0.15


def test_a_tiny_model_says_the_same_on_the_software_gpu_as_on_the_cpu_backend(
    llama: Consumer,
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """Token for token, up to where the two best logits are closer than the backends' own difference.

    From there on each may go its own way, and as each token is the next one's input, what follows is
    no longer comparable. Models that are made to have no such places are in test_models.py.
    """
    decoding = Decoding(tiny_model, TOKENS)
    cpu = decoding.run(llama, native_paths, tmp_path / "cpu", None)
    gpu = decoding.run(llama, native_paths, tmp_path / "gpu", start_shim_host("--device", "soft"))
    compared = 0
    for ours, theirs in zip(gpu, cpu, strict=True):
        assert np.abs(ours - theirs).max() < MOST_DIFFERENCE
        compared += 1
        if ours.argmax() != theirs.argmax():
            second, best = np.sort(theirs)[-2:]
            assert best - second < MOST_DIFFERENCE
            break
    assert compared >= 16


@pytest.mark.parametrize("capability", ["7.5", "9.0"])
def test_other_capabilities_code_decodes_too(
    llama_13: Consumer,
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    tiny_model: Path,
    tmp_path: Path,
    capability: str,
) -> None:
    """The consumer that carries PTX for 7.5, 8.0 and more: each has kernels of its own."""
    decoding = Decoding(tiny_model, 4)
    cpu = decoding.run(llama_13, native_paths, tmp_path / "cpu", None)
    host = start_shim_host("--device", "soft", "--compute-capability", capability)
    gpu = decoding.run(llama_13, native_paths, tmp_path / "gpu", host)
    assert np.abs(gpu[0] - cpu[0]).max() < MOST_DIFFERENCE
