"""How promptly a process's waits for its kernels end: a device that computes takes longer than none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sessions.part import Part

KERNELS = 8
"""A wait counts when so many launches went before it; a graph is worth as many."""
PROMPT_NS, APART_NS = 1_000, 3_000
"""A wait this short, begun so soon after the last kernel was posted, is shorter than any way to a device."""
ENOUGH = 2048
"""After so many waits that count it is known how a process waits: it is not looked at any more."""
LAUNCHES = ("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel")
GRAPHS = ("cuGraphLaunch",)
WAITS = ("cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize")
COPIES = ("cuMemcpyDtoHAsync_v2", "cuMemcpyAsync", "cuEventRecord", "cuMemcpyHtoDAsync_v2", "cuMemsetD8Async")


@dataclass
class Waited:
    """Of one process: waits that count, how many of them were prompt, and the row of the first that was."""

    waits: int = 0
    prompt: int = 0
    first_prompt: int = -1
    launches: int = 0  #: since the last wait
    posted_ns: int = -1  #: when the last thing to be waited for had been posted


def kinds_of(number_of: Callable[[str], int | None], size: int) -> npt.NDArray[np.int8]:
    """Function number -> what it is here; 0 for most."""
    kinds = np.zeros(size, np.int8)
    of_kind = {
        WaitTimes.LAUNCH: LAUNCHES,
        WaitTimes.GRAPH: GRAPHS,
        WaitTimes.WAIT: WAITS,
        WaitTimes.COPY: COPIES,
    }
    for kind, names in of_kind.items():
        for name in (*names, *(f"{name}_ptsz" for name in names)):
            if (number := number_of(name)) is not None:
                kinds[number] = kind
    return kinds


class WaitTimes:
    """Takes in calls by whole parts; `kinds` is what kinds_of() gives."""

    LAUNCH, GRAPH, WAIT, COPY = 1, 2, 3, 4

    def __init__(self, kinds: npt.NDArray[np.int8]) -> None:
        self._kinds = kinds
        self._of: dict[int, Waited] = {}

    def take(self, part: Part) -> None:
        """`part`: calls that returned, and lie in no other; those that failed are left out."""
        for number in part.processes:
            if number in self._of and self._of[number].waits >= ENOUGH:
                continue
            mine = part.of((number,))
            kinds = self._kinds.take(mine.column("function"))
            kinds[mine.failed] = 0
            places = np.flatnonzero(kinds)
            if len(places):
                waited = self._of.setdefault(number, Waited())
                time, duration = mine.column("time")[places], mine.column("duration")[places]
                _add(waited, kinds[places], time, duration, mine.rows(places))

    def all(self) -> dict[int, Waited]:
        """process -> what is known of it now."""
        return {number: replace(waited) for number, waited in self._of.items()}


def _add(
    waited: Waited,
    kinds: npt.NDArray[np.int8],
    time: npt.NDArray[np.generic],
    duration: npt.NDArray[np.generic],
    rows: npt.NDArray[np.int64],
) -> None:
    begun, took = time.astype(np.int64), duration.astype(np.int64)
    is_wait = kinds == WaitTimes.WAIT
    weights = np.where(kinds == WaitTimes.LAUNCH, 1, np.where(kinds == WaitTimes.GRAPH, KERNELS, 0))
    launched = np.cumsum(weights) + waited.launches
    places = np.flatnonzero(is_wait)
    # When the newest posted call before each row had returned.
    ends = np.maximum.accumulate(np.where(is_wait, -1, begun + took))
    if len(places):
        since = np.diff(launched[places], prepend=0)
        posted = np.maximum(ends[places], waited.posted_ns)
        counts = since >= KERNELS
        prompt = counts & (took[places] < PROMPT_NS) & (begun[places] - posted < APART_NS)
        waited.waits += int(counts.sum())
        waited.prompt += int(prompt.sum())
        if waited.first_prompt < 0 and prompt.any():
            waited.first_prompt = int(rows[places[int(np.argmax(prompt))]])
        waited.launches = int(launched[-1] - launched[places[-1]])
    else:
        waited.launches = int(launched[-1])
    waited.posted_ns = max(waited.posted_ns, int(ends[-1]))
