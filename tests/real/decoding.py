"""A model's answer by real llama.cpp: on its CPU backend, or on a host of ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.real.conftest import Consumer
from workbench.native import NativePaths

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Decoding:
    """What is decoded: greedily, after a text or else 40 tokens without a meaning."""

    model: Path
    tokens: int
    flash_attention: str = "auto"
    prompt: str = ""

    def run(
        self, consumer: Consumer, paths: NativePaths, dump: Path, host: Mapping[str, str] | None
    ) -> Logits:
        """Logits of the prompt's end and of each token, by the CPU backend or by a host of ours."""
        words = ["--model", self.model, "--tokens", self.tokens, "--flash-attention", self.flash_attention]
        words += ["--prompt", self.prompt] if self.prompt else []
        environment = {**os.environ, **consumer.environment}
        if host is None:
            words += ["--gpu-layers", 0]
        else:
            environment |= consumer.under_shim(paths) | host
        done = subprocess.run(
            consumer.command(paths, *words, "--logits", dump),
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
        )
        said = done.stderr + done.stdout
        assert done.returncode == 0, said[-2000:]
        if host is not None:
            whole = [line for line in said.splitlines() if "layers to GPU" in line]
            counts = whole[-1].split("offloaded ")[1].split(" ")[0].split("/")
            assert counts[0] == counts[1], whole[-1]
        return np.fromfile(dump, dtype=np.float32).reshape(self.tokens + 1, -1)


def error_between(ours: Logits, theirs: Logits) -> float:
    """Normalised mean square error of the step where it is largest."""
    difference = ((ours - theirs).astype(np.float64) ** 2).sum(axis=1)
    return float((difference / (theirs.astype(np.float64) ** 2).sum(axis=1)).max())
