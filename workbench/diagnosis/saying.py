"""What a target prints of its failing: the runtime's error texts, loaders, aborts, our own shim."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

#: cudaGetErrorString's texts, the same in every runtime from 12.4 to 13.5 (facts/cudart-bootstrap.md).
ERROR_TEXTS = {
    b"invalid argument": 1,
    b"out of memory": 2,
    b"initialization error": 3,
    b"CUDA driver is a stub library": 34,
    b"CUDA driver version is insufficient for CUDA runtime version": 35,
    b"API call is not supported in the installed CUDA driver": 36,
    b"CUDA-capable device(s) is/are busy or unavailable": 46,
    b"no CUDA-capable device is detected": 100,
    b"invalid device ordinal": 101,
    b"integrity checks failed": 103,
    b"named symbol not found": 500,
    b"operation not permitted": 800,
    b"operation not supported": 801,
    b"unknown error": 999,
}

Kind = Literal["error", "abort", "not-loaded", "symbol", "shim"]


@dataclass(frozen=True)
class Said:
    """A line of the log (by index) that tells of a failure. `code`: the cudaError its text stands for."""

    kind: Kind
    log: int
    process: int
    time_ns: int
    after_call: int
    text: str
    code: int = 0
    subject: str = ""  #: library or symbol


# A bare text could be anything's; a line about CUDA names CUDA or the runtime's function.
_ABOUT_CUDA = re.compile(rb"CUDA|cuda|cublas")
_TEXTS = re.compile(b"|".join(re.escape(text) for text in sorted(ERROR_TEXTS, key=len, reverse=True)))
_ABORT = re.compile(rb"CUDA error\b|CUDA driver error|CU_CHECK|ggml-cuda\.cu:\d+: ")
_NOT_LOADED = re.compile(rb"([\w.+-]*lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_SYMBOL = re.compile(rb"undefined symbol: (\w+)")
_SHIM = re.compile(rb"shimbench: libcuda\.so\.1: cuInit: (.*)")
ANY = re.compile(
    b"|".join(pattern.pattern for pattern in (_TEXTS, _ABORT, _NOT_LOADED, _SYMBOL, _SHIM)),
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def parse(text: bytes, log: int, process: int, time_ns: int, after_call: int) -> Iterator[Said]:
    """What one line says; nothing for a line that is not about CUDA."""
    shown = _COLOUR.sub("", text.decode("utf-8", "replace")).strip()

    def said(kind: Kind, code: int = 0, subject: bytes = b"") -> Said:
        name = subject.decode("utf-8", "replace")
        return Said(kind, log, process, time_ns, after_call, shown, code, name)

    if found := _SHIM.search(text):
        yield said("shim", subject=found[1])
        return
    if found := _NOT_LOADED.search(text):
        if _ABOUT_CUDA.search(text):
            yield said("not-loaded", subject=found[1])
        return
    if found := _SYMBOL.search(text):
        if _ABOUT_CUDA.search(text) or found[1].startswith((b"cu", b"nvml")):
            yield said("symbol", subject=found[1])
        return
    code = 0
    if (found := _TEXTS.search(text)) and _ABOUT_CUDA.search(text):
        code = ERROR_TEXTS[found[0]]
    if _ABORT.search(text):
        yield said("abort", code)
    elif code:
        yield said("error", code)
