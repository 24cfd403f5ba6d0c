"""The demo's target: the command that runs a tiny model on a real llama.cpp CUDA backend."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.config import Exercise
from workbench.demo.consumer import LLAMA_CUDA_12, fetch
from workbench.errors import ShimbenchError


@dataclass(frozen=True)
class DemoTarget:
    """What to launch. The shim's libcublas comes to it by LD_PRELOAD, as the loop gives it."""

    command: tuple[str, ...]
    environment: dict[str, str]
    """to be set over the environment of the workbench"""
    exercise: Exercise
    """it prints its tokens by itself; the same words on the CPU say what they should be"""
    ladder: Mapping[str, tuple[str, ...]]


def demo_target(
    driver: Path, cache: Path, repeat_seconds: int, say: Callable[[str], None] = lambda text: None
) -> DemoTarget:
    """Fetch llama.cpp and make the model (once, into `cache`); -> how to run `driver` on them.

    `driver` is shimbench-llama. The target decodes for `repeat_seconds`, so that there is something to
    watch. Raises ShimbenchError when a package can't be had.
    """
    libraries = fetch(LLAMA_CUDA_12, cache, say)
    model = cache / "tiny-q8_0.gguf"
    if not model.is_file():
        from workbench.demo.model import (
            make_tiny_model,  # brings numpy, which the first frame need not wait for
        )

        make_tiny_model(model)
    command = [str(driver), "--libs", str(libraries), "--model", str(model), "--repeat", str(repeat_seconds)]
    on_cpu = (*command[:-2], "--gpu-layers", "0")
    exercise = Exercise(output=r"token \d+: \d+ -> (\d+)", expect="cpu", cpu=on_cpu)
    environment = {"LD_LIBRARY_PATH": str(cuda_runtime_12())}
    return DemoTarget(tuple(command), environment, exercise, {"probe": (), "list-devices": ()})


def cuda_runtime_12() -> Path:
    """The folder of the libcudart.so.12 that is installed beside us as a Python package."""
    for file in importlib.metadata.files("nvidia-cuda-runtime-cu12") or []:
        if file.name == "libcudart.so.12":
            return Path(str(file.locate())).resolve().parent
    raise ShimbenchError("the package nvidia-cuda-runtime-cu12 holds no libcudart.so.12: install it again")
