"""Whether a call came off: by its result where it returns one, by the answer where it was a lookup."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sessions.items import Pseudo, string_of
from workbench.panes.parts import Ink

if TYPE_CHECKING:
    from sessions import Session

_RESULTS = ("CUresult", "nvmlReturn_t")
_NOT_YET = (600, 801)  # CUDA_ERROR_NOT_READY, CUDA_ERROR_NOT_SUPPORTED: worth a look, no failure of ours
_ASKS = ("cuGetProcAddress", "cuGetProcAddress_v2", "cuGetProcAddress_v2_ptsz")
_UNRETURNED = 2
_SIZE = 1 << 16
_TALLIED = 4096  # lookups of one fold that are looked at one by one

_SUFFIX = re.compile(r"(_v\d+)?(_pt[sd][sz])?$")

_EFFECTS: dict[str, tuple[str, Ink]] = {
    "": ("ok", "ok"),
    "fatal-at-init": ("FATAL", "fatal"),
    "fatal-later": ("fatal later", "error"),
    "unknown": ("not found", "warn"),
    "harmless": ("harmless", "dim"),
}


def base_name(name: str) -> str:
    """cuMemGetInfo for cuMemGetInfo_v2: what a lookup asks for."""
    return _SUFFIX.sub("", name)


class Outcomes:
    """Judges the calls of one session; `effect` tells what an unanswered name does."""

    def __init__(self, session: Session, effect: Callable[[str], str]) -> None:
        self.session = session
        self.effect = effect
        schema = session.schema
        self._returns_result = np.zeros(_SIZE, bool)
        self._returns_result[
            [n for n, function in schema.functions.items() if function.result in _RESULTS]
        ] = True
        self._is_symbol = np.zeros(_SIZE, bool)
        self._is_symbol[[int(Pseudo.DLSYM), int(Pseudo.DLVSYM)]] = True
        self._is_lookup = self._is_symbol.copy()
        self._is_lookup[[n for n in map(schema.function_id, _ASKS) if n is not None]] = True
        self._tallies: dict[tuple[int, int], list[tuple[str, Ink, int]]] = {}
        self.version = 0  #: grows when calls may be judged otherwise

    def failures(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which of the rows start..stop failed; lookups not counted, since most of theirs are harmless."""
        columns = self.session.calls.columns(start, stop, ("function", "result", "flags"))
        function = columns["function"]
        failed = (columns["result"] != 0) & self._returns_result[function] & ~self._is_lookup[function]
        failed |= (function == int(Pseudo.LOAD)) & (columns["result"] != 0)
        failed |= (columns["flags"].astype(np.uint8) & _UNRETURNED) != 0
        mask: NDArray[np.bool_] = failed
        return mask

    def fatal_lookups(self, start: int, stop: int) -> list[int]:
        """Row indices of lookups in vain whose name can't be done without."""
        function = self.session.calls.columns(start, stop, ("function",))["function"]
        rows = np.flatnonzero(self._is_lookup[function]) + start
        return [int(row) for row in rows if self._effect_of(int(row)).startswith("fatal")]

    def ink(self, function: int, result: int, flags: int) -> Ink:
        """The colour of a result."""
        if flags & _UNRETURNED:
            return "fatal"
        if self._is_symbol[function]:
            return "ok" if result else "warn"
        if not self._returns_result[function] or result == 0:
            return "ok"
        return "warn" if result in _NOT_YET else "error"

    def tally(self, rows: NDArray[np.int64], function: int) -> list[tuple[str, Ink, int]]:
        """(words, ink, how many) of the calls of a fold, all of one function."""
        key = (int(rows[0]), len(rows))
        if key not in self._tallies:
            if len(self._tallies) > 512:
                self._tallies.clear()
            by_name = bool(self._is_lookup[function]) and len(rows) <= _TALLIED
            self._tallies[key] = self._by_name(rows) if by_name else self._by_result(rows, function)
        return self._tallies[key]

    def forget(self) -> None:
        """What unanswered names do has changed."""
        self._tallies.clear()
        self.version += 1

    def _by_name(self, rows: NDArray[np.int64]) -> list[tuple[str, Ink, int]]:
        counts = dict.fromkeys(_EFFECTS, 0)
        for row in rows:
            effect = self._effect_of(int(row))
            counts[effect if effect in counts else "unknown"] += 1
        return [(*_EFFECTS[effect], count) for effect, count in counts.items() if count]

    def _effect_of(self, row: int) -> str:
        name = string_of(self.session.calls.payload(row), 0)
        return self.effect(name) if name else ""

    def _by_result(self, rows: NDArray[np.int64], function: int) -> list[tuple[str, Ink, int]]:
        low, high = int(rows[0]), int(rows[-1]) + 1
        results = self.session.calls.columns(low, high, ("result",))["result"][rows - low]
        if not self._returns_result[function]:
            return []
        kind = self.session.schema.functions[function].result
        tally: list[tuple[str, Ink, int]] = []
        for value, count in zip(*np.unique(results, return_counts=True), strict=True):
            if value == 0:
                tally.insert(0, ("ok", "ok", int(count)))
            else:
                name = self.session.schema.enum_name(kind, int(value)) or str(value)
                tally.append((short_result(name), self.ink(function, int(value), 0), int(count)))
        return tally


def short_result(name: str) -> str:
    """A result without what all of its kind begin with: `NOT_FOUND`, `ok`."""
    if name in ("CUDA_SUCCESS", "NVML_SUCCESS"):
        return "ok"
    return name.removeprefix("CUDA_ERROR_").removeprefix("NVML_ERROR_")
