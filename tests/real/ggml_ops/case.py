"""What a case is: a graph of operations, its inputs, and how far two backends may differ."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from tests.real.ggml_ops.library import TYPES, Ggml, Tensor

Array = npt.NDArray[Any]
Values = Callable[[np.random.Generator, tuple[int, ...]], Array]
"""makes an array of that shape, the outermost dimension first"""

INTEGERS = {"i32": np.int32, "i64": np.int64}


@dataclass(frozen=True)
class Case:
    """One graph. `tolerance` bounds the normalised mean square error, as in ggml's own tests."""

    group: str
    name: str
    build: Callable[[Build], Tensor]
    tolerance: float = 1e-7
    every: bool = True
    """part of the usual selection; else only of the whole matrix"""
    any_order: bool = False
    """rows are sets: their order says nothing"""

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


def case(
    group: str, name: str, build: Callable[..., Tensor], *arguments: object, every: bool = True,
    tolerance: float = 1e-7, any_order: bool = False,
) -> Case:  # fmt: skip
    def make(b: Build) -> Tensor:
        return build(b, *arguments)

    return Case(group, name, make, tolerance, every, any_order)


def uniform(low: float = -1.0, high: float = 1.0) -> Values:
    return lambda random, shape: random.uniform(low, high, shape).astype(np.float32)


def integers(below: int) -> Values:
    return lambda random, shape: random.integers(0, below, shape)


def distinct(below: int) -> Values:
    """In each row different numbers below that."""

    def make(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        rows = [random.permutation(below)[: shape[-1]] for _ in range(int(np.prod(shape[:-1])))]
        return np.array(rows).reshape(shape)

    return make


def causal(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A mask: the last queries of a sequence see all keys, earlier ones fewer; whole blocks may be hidden."""
    queries, keys = shape[-2:]
    position = np.arange(keys)[None, :] - max(keys - queries, 0)
    mask = np.where(position > np.arange(queries)[:, None], -np.inf, 0.0)
    return np.broadcast_to(mask, shape).astype(np.float32)


@dataclass
class Build:
    """A graph being made in a context of its own. The same case makes the same inputs each time."""

    ggml: Ggml
    context: int
    random: np.random.Generator
    inputs: list[tuple[Tensor, bytes]] = field(default_factory=list)

    def new(self, kind: str, *ne: int, values: Values | None = None) -> Tensor:
        """An input of that type, filled once the graph has memory."""
        shape = (*ne, 1, 1, 1)[:4]
        tensor = Tensor(self.ggml.call("ggml_new_tensor_4d", self.context, TYPES[kind], *shape))
        content = (values or uniform())(self.random, tuple(reversed(shape)))
        self.inputs.append((tensor, self._encoded(kind, content)))
        return tensor

    def op(self, name: str, *arguments: Any) -> Tensor:
        """The result of `ggml_{name}`."""
        return Tensor(self.ggml.call(f"ggml_{name}", self.context, *arguments))

    def set(self, name: str, *arguments: Any) -> None:
        """Call `ggml_{name}`, which takes no context and gives nothing."""
        self.ggml.call(f"ggml_{name}", *arguments, returns=None)

    def _encoded(self, kind: str, content: Array) -> bytes:
        if kind in INTEGERS:
            return content.astype(INTEGERS[kind]).tobytes()
        return self.ggml.quantized(kind, content)


def decoded(kind: str, content: bytes) -> npt.NDArray[np.float64]:
    """A tensor's elements as numbers, in order."""
    if kind in INTEGERS:
        return np.frombuffer(content, dtype=INTEGERS[kind]).astype(np.float64)
    raw = np.frombuffer(content, dtype=np.uint8)
    if kind == "f32":
        return raw.view(np.float32).astype(np.float64)
    if kind == "f16":
        return raw.view(np.float16).astype(np.float64)
    numbers = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(TYPES[kind]))
    return numbers.astype(np.float64).reshape(-1)


@contextmanager
def building(ggml: Ggml, case: Case) -> Iterator[tuple[Build, Tensor]]:
    """The case's graph in a new context, without memory for its tensors."""
    context = ggml.context()
    try:
        build = Build(ggml, context, np.random.default_rng(zlib.crc32(str(case).encode())))
        yield build, case.build(build)
    finally:
        ggml.call("ggml_free", context, returns=None)
