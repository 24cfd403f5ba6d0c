"""Real llama.cpp on the software GPU against its own CPU backend."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.real.conftest import Consumer
from workbench.native import NativePaths

TOKENS = 24
VOCABULARY = 256
# Both backends quantise activations to 8 bits, each in its own order of sums; of logits that spread over
# about 1, no more than this has been seen between them.
MOST_DIFFERENCE = 0.15


def decode(
    consumer: Consumer, paths: NativePaths, model: Path, dump: Path, host: Mapping[str, str] | None
) -> npt.NDArray[np.float32]:
    """Logits of the prompt's end and of each token, by the CPU backend or by a host its words lead to."""
    words = ["--model", model, "--tokens", TOKENS, "--logits", dump]
    environment = {**os.environ, **consumer.environment}
    if host is None:
        words += ["--gpu-layers", 0]
    else:
        environment |= consumer.under_shim(paths) | host
    done = subprocess.run(
        consumer.command(paths, *words), env=environment, capture_output=True, text=True, errors="replace"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    if host is not None:
        assert "offloaded 5/5 layers to GPU" in done.stderr + done.stdout
    return np.fromfile(dump, dtype=np.float32).reshape(-1, VOCABULARY)


def test_a_tiny_model_says_the_same_on_the_software_gpu_as_on_the_cpu_backend(
    llama: Consumer,
    native_paths: NativePaths,
    start_shim_host: Callable[..., dict[str, str]],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """Token for token, up to where the two best logits are closer than the backends' own difference.

    From there on each may go its own way, and as each token is the next one's input, what follows is
    no longer comparable.
    """
    host = start_shim_host("--device", "soft")
    cpu = decode(llama, native_paths, tiny_model, tmp_path / "cpu", None)
    gpu = decode(llama, native_paths, tiny_model, tmp_path / "gpu", host)
    assert len(cpu) == len(gpu) == TOKENS + 1
    compared = 0
    for ours, theirs in zip(gpu, cpu, strict=True):
        assert np.abs(ours - theirs).max() < MOST_DIFFERENCE
        compared += 1
        if ours.argmax() != theirs.argmax():
            second, best = np.sort(theirs)[-2:]
            assert best - second < MOST_DIFFERENCE
            break
    assert compared >= 16
