"""Names of C++ kernels as their authors wrote them."""

from __future__ import annotations

import ctypes
import re
from functools import cache, lru_cache

_MANGLED = re.compile(r"(?<![\w$.])_Z[\w$.]+")


@lru_cache(maxsize=4096)
def demangled(name: str) -> str:
    """`_Z12rms_norm_f32ILi256EEvPKf` -> `rms_norm_f32<256>`; other names, or without a C++ runtime, as is."""
    if not name.startswith("_Z"):
        return name
    runtime = _runtime()
    if runtime is None:
        return name
    status = ctypes.c_int(-1)
    text = runtime.__cxa_demangle(name.encode(), None, None, ctypes.byref(status))
    if status.value or not text:
        return name
    whole = ctypes.string_at(text).decode(errors="replace")
    _libc().free(ctypes.c_void_p(text))
    return without_parameters(whole)


def with_demangled(text: str) -> str:
    """A text with each name of C++ as its author wrote it: `name="_Z5scalePf"` -> `name="scale"`."""
    return _MANGLED.sub(lambda found: demangled(found[0]), text) if "_Z" in text else text


def without_parameters(text: str) -> str:
    """`void f<(kind)8, 1>(float const*, int)` -> `f<(kind)8, 1>`: the list of parameters, and the result."""
    depth = 0
    for at, character in enumerate(text):
        if character == "<":
            depth += 1
        elif character == ">":
            depth -= 1
        elif character == "(" and depth == 0 and at and not text.startswith("(anonymous", at):
            text = text[:at]
            break
    return text.removeprefix("void ")


@cache
def _runtime() -> ctypes.CDLL | None:
    try:
        runtime = ctypes.CDLL("libstdc++.so.6")
        runtime.__cxa_demangle.restype = ctypes.c_void_p
    except (OSError, AttributeError):
        return None
    return runtime


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
