"""How often each function came off in which way, run by run, and the first calls that failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sessions import FIRST_PSEUDO_FUNCTION, CallFlag
from sessions.decode import CallDecoder
from workbench.target.roles import is_kernel_probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions import Session
    from sessions.columns import Array

_BATCH = 1 << 20
_ASKING = "cuGetProcAddress"
NEVER_RETURNED = "never returned"
FIRST_ERRORS = 20


@dataclass(frozen=True)
class FunctionUse:
    """A function of one run: calls, and how often which result, the commonest first."""

    name: str
    calls: int
    results: list[tuple[str, int]]

    @property
    def works(self) -> bool:
        """Whether any call of it succeeded."""
        return any(result.endswith("SUCCESS") for result, _ in self.results)

    @property
    def always_works(self) -> bool:
        """Whether every call of it succeeded."""
        return self.works and len(self.results) == 1

    @property
    def said(self) -> str:
        """`3 x CUDA_SUCCESS, 1 x never returned`, the four commonest."""
        return ", ".join(f"{count} x {result}" for result, count in self.results[:4])


def asking_functions(session: Session) -> list[int]:
    """Numbers of those that ask for a name: where they find none, no call has failed by that."""
    return [number for number, known in session.schema.functions.items() if known.name.startswith(_ASKING)]


class Tallies:
    """Of the target's own calls to the driver and NVML: what the shim calls of itself, and what a kernel of
    ours did before the target, are left out."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._counts: dict[int, Counter[tuple[int, int | None]]] = {}
        self._asking = set(asking_functions(session))
        self._run_of = np.array(
            [-1 if is_kernel_probe(process.argv) else process.run for process in session.processes] or [-1],
            np.int64,
        )
        self._count()

    def calls(self, run: int) -> int:
        """How many were made."""
        return self._counts.get(run, Counter()).total()

    def not_found(self, run: int) -> int:
        """How many asked for a name and got none: no failure by itself, a newer driver has more names."""
        counts = self._counts.get(run, Counter())
        return sum(n for (function, result), n in counts.items() if result and function in self._asking)

    def failed(self, run: int) -> int:
        """How many others returned an error."""
        counts = self._counts.get(run, Counter())
        return sum(n for (function, result), n in counts.items() if result and function not in self._asking)

    def unreturned(self, run: int) -> int:
        """How many were under way when their process ended."""
        return sum(n for (_, result), n in self._counts.get(run, Counter()).items() if result is None)

    def functions(self, run: int) -> list[FunctionUse]:
        """Those that were called, the most called first."""
        decoder = CallDecoder(self._session.schema)
        results: dict[int, list[tuple[str, int]]] = {}
        for (function, result), count in self._counts.get(run, Counter()).most_common():
            text = NEVER_RETURNED if result is None else decoder.result_text(function, result)
            results.setdefault(function, []).append((text, count))
        uses = [
            FunctionUse(self._session.schema.function_name(function), sum(n for _, n in found), found)
            for function, found in results.items()
        ]
        return sorted(uses, key=lambda use: (-use.calls, use.name))

    def first_errors(self, run: int) -> list[tuple[int, str, int]]:
        """The first that returned an error, or never, of each function with each result: its displayed
        number, its text, and how many there were like it."""
        decoder = CallDecoder(self._session.schema)
        counts = self._counts.get(run, Counter())
        found: dict[tuple[int, int | None], tuple[int, str, int]] = {}
        for start, columns, mine in self._batches():
            unreturned = (columns["flags"] & CallFlag.UNRETURNED) != 0
            bad = (mine == run) & ((columns["result"] != 0) | unreturned)
            bad &= ~np.isin(columns["function"], list(self._asking)) | unreturned
            for row in np.flatnonzero(bad).tolist():
                result = None if unreturned[row] else int(columns["result"][row])
                like = int(columns["function"][row]), result
                if like not in found:
                    text = decoder.text(self._session, start + row)
                    found[like] = start + row + 1, text, counts[like]
                if len(found) >= FIRST_ERRORS:
                    return list(found.values())
        return list(found.values())

    def _batches(self) -> Iterator[tuple[int, dict[str, Array], npt.NDArray[np.int64]]]:
        """Each batch's first row, its columns, and by call the run it counts for; -1: for none."""
        calls = self._session.calls
        for start in range(0, len(calls), _BATCH):
            columns = calls.columns(
                start, min(start + _BATCH, len(calls)), ("process", "function", "result", "flags")
            )
            real = (columns["function"] < FIRST_PSEUDO_FUNCTION) & (
                (columns["flags"] & CallFlag.INTERNAL) == 0
            )
            runs = self._run_of[np.minimum(columns["process"], len(self._run_of) - 1)]
            yield start, columns, np.where(real, runs, -1)

    def _count(self) -> None:
        for _, columns, mine in self._batches():
            unreturned = (columns["flags"] & CallFlag.UNRETURNED) != 0
            result = np.where(unreturned, 0, columns["result"]).astype(np.int32).view(np.uint32)
            key = (unreturned.astype(np.int64) << 48) | (columns["function"].astype(np.int64) << 32) | result
            for run in np.unique(mine[mine >= 0]).tolist():
                counts = self._counts.setdefault(run, Counter())
                unique, numbers = np.unique(key[mine == run], return_counts=True)
                for each, number in zip(unique.tolist(), numbers.tolist(), strict=True):
                    signed = int(np.uint32(each & 0xFFFFFFFF).view(np.int32))
                    counts[each >> 32 & 0xFFFF, None if each >> 48 else signed] += number
