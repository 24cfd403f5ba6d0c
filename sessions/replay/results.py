"""What the player says of each operation, mirror of workbench/replay/player/results.hpp."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sessions.errors import SessionError
from sessions.replay.plan import Plan

_HEAD = np.dtype(
    [("magic", "S8"), ("operations", "<u8"), ("threads", "<u4"), ("reserved", "<u4"), ("unknown", "<u8")]
)
_RESULT = np.dtype([("state", "<u4"), ("result", "<i4"), ("began", "<u8"), ("ended", "<u8")])


class State(IntEnum):
    """What became of an operation."""

    WAITING = 0
    UNDER_WAY = 1
    DONE = 2
    SKIPPED = 3
    ABSENT = 4


@dataclass(eq=False)
class Results:
    """Columns over the operations of a plan; times in ns of CLOCK_MONOTONIC."""

    thread_ids: list[int]
    states: npt.NDArray[np.uint32]
    results: npt.NDArray[np.int32]
    began: npt.NDArray[np.uint64]
    ended: npt.NDArray[np.uint64]
    unknown: int  #: handles that no recorded call had made

    @classmethod
    def none(cls, plan: Plan) -> Results:
        """Of a player that was not started."""
        count = len(plan.rows)
        times = np.zeros(count, np.uint64)
        return cls([], np.zeros(count, np.uint32), np.zeros(count, np.int32), times, times, 0)

    @classmethod
    def read(cls, path: Path) -> Results:
        """SessionError when the player left none: it did not begin."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SessionError(f"{path}: the player did not begin: {error.strerror}") from error
        if len(data) < _HEAD.itemsize or data[:8] != b"SBPLAY01":
            raise SessionError(f"{path}: the player did not begin")
        head = np.frombuffer(data, _HEAD, 1)[0]
        threads, count = int(head["threads"]), int(head["operations"])
        ids = np.frombuffer(data, "<u4", threads, _HEAD.itemsize)
        at = _HEAD.itemsize + (4 * threads + 7) // 8 * 8
        rows = np.frombuffer(data, _RESULT, count, at)
        return cls(
            ids.tolist(), rows["state"], rows["result"], rows["began"], rows["ended"], int(head["unknown"])
        )  # fmt: skip

    @property
    def under_way(self) -> list[int]:
        """Operations that were called and have not returned."""
        return [int(at) for at in np.flatnonzero(self.states == State.UNDER_WAY)]
