"""A real ggml out of a folder of libraries, called through ctypes.

Declared without its headers. All arguments go as 64-bit integers, floats or addresses: so the x86-64
convention passes an int as well as an int64_t. Of its structs only the first fields of ggml_tensor are
read, and checked when the library is loaded.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_K": 10, "q3_K": 11,
    "q4_K": 12, "q5_K": 13, "q6_K": 14, "iq2_xxs": 16, "iq2_xs": 17, "iq3_xxs": 18, "iq1_s": 19,
    "iq4_nl": 20, "iq3_s": 21, "iq2_s": 22, "iq4_xs": 23, "i32": 26, "i64": 27, "iq1_m": 29, "bf16": 30,
    "mxfp4": 39,
}  # fmt: skip
"""ggml's numbers of the types that the cases use"""
NAMES = {number: name for name, number in TYPES.items()}
CPU, GPU = 0, 1
"""kinds of ggml's devices"""


class GgmlError(Exception):
    """A library is missing, or is not what we take it for."""


class _Context(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


class _TensorHead(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
    )


@dataclass(frozen=True)
class Tensor:
    """A ggml_tensor by its address."""

    address: int

    @property
    def _head(self) -> _TensorHead:
        return _TensorHead.from_address(self.address)

    @property
    def type(self) -> str:
        return NAMES[self._head.type]

    @property
    def ne(self) -> tuple[int, ...]:
        """elements in each of the four dimensions, the innermost first"""
        return tuple(self._head.ne)

    @property
    def nb(self) -> tuple[int, ...]:
        """bytes from one to the next in each dimension"""
        return tuple(self._head.nb)


class Ggml:
    """The libraries of one build of ggml."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._libraries = [ctypes.CDLL(str(self.find(name))) for name in ("-base", "")]
        self._check_layout()

    def find(self, part: str) -> Path:
        """The library `libggml{part}`, whatever a build or a packager added to its name."""
        pattern = re.compile(rf"libggml{part}(-[0-9a-f]{{8}})?(\.[\w.]*)?\.so(\.[\d.]+)?")
        for path in sorted(self._folder.iterdir()):
            if pattern.fullmatch(path.name):
                return path
        raise GgmlError(f"no libggml{part} in {self._folder}")

    def find_cpu(self) -> Path:
        """The CPU backend that says of itself that it suits this processor best."""
        best: tuple[int, Path] | None = None
        for path in sorted(self._folder.glob("libggml-cpu*.so*")):
            score = getattr(ctypes.CDLL(str(path)), "ggml_backend_score", lambda: 1)()
            if score and (best is None or score > best[0]):
                best = (score, path)
        if best is None:
            raise GgmlError(f"no CPU backend in {self._folder} runs on this processor")
        return best[1]

    def call(self, name: str, *arguments: Any, returns: Any = ctypes.c_void_p) -> Any:
        """Call `name`; ints, floats, bytes, Tensors and ctypes objects are passed as what they are."""
        for library in self._libraries:
            function = getattr(library, name, None)
            if function is not None:
                function.restype = returns
                return function(*map(_converted, arguments))
        raise GgmlError(f"this ggml has no {name}")

    def has(self, name: str) -> bool:
        return any(hasattr(library, name) for library in self._libraries)

    def load_backend(self, path: Path) -> None:
        if not self.call("ggml_backend_load", str(path).encode()):
            raise GgmlError(f"{path.name} did not load as a backend")

    def device(self, kind: int) -> int:
        """The first device of that kind."""
        device = self.call("ggml_backend_dev_by_type", kind)
        if not device:
            raise GgmlError(f"ggml has no device of kind {kind}")
        return int(device)

    def context(self, bytes_: int = 1 << 20) -> int:
        """A ggml_context for so many bytes of tensors' heads and graphs, their data being elsewhere."""
        context = self.call("ggml_init", _Context(bytes_, None, True))
        if not context:
            raise GgmlError("ggml_init failed")
        return int(context)

    def quantized(self, kind: str, values: npt.NDArray[np.float32]) -> bytes:
        """Rows of numbers as ggml stores them in that type."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        rows, columns = int(np.prod(values.shape[:-1])), values.shape[-1]
        size = self.call("ggml_row_size", TYPES[kind], columns, returns=ctypes.c_size_t)
        room = ctypes.create_string_buffer(rows * size)
        weights = np.ones(columns, dtype=np.float32)  # of each column, which some types ask for
        source, importance = (array.ctypes.data_as(ctypes.c_void_p) for array in (values, weights))
        words = (TYPES[kind], source, room, 0, rows, columns, importance)
        self.call("ggml_quantize_chunk", *words, returns=ctypes.c_size_t)
        return room.raw

    def _check_layout(self) -> None:
        context = self.context(1 << 14)
        made = Tensor(self.call("ggml_new_tensor_4d", context, TYPES["f16"], 2, 3, 5, 7))
        if (made.type, made.ne, made.nb) != ("f16", (2, 3, 5, 7), (2, 4, 12, 60)):
            raise GgmlError("this ggml lays ggml_tensor out in a way we don't know")
        self.call("ggml_free", context, returns=None)


def _converted(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.address)
    if isinstance(argument, bool | int):
        return ctypes.c_int64(argument)
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    return argument
