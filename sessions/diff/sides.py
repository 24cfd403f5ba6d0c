"""One side of a comparison: the processes of a run by what they do, and their threads' calls as keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from sessions.diff.align import Keys
from sessions.diff.values import READY_OR_NOT, polls_of
from sessions.errors import SessionError
from sessions.format import FIRST_PSEUDO_FUNCTION, CallFlag, ItemKind
from sessions.processes import Process
from sessions.session import Session

_BATCH = 1 << 20
_LISTED = ("process", "thread", "sequence", "function", "flags", "nesting", "payload", "result", "duration")
_COLUMNS = (*_LISTED, "time", "arg0", "arg1", "arg2")
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]*")

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Thread:
    """A thread's calls in the order in which they began; `rows` are row indices of the session."""

    rows: npt.NDArray[np.int64]
    columns: Columns
    keys: Keys


@dataclass(frozen=True)
class Member:
    """A process and what it is to its run: two runs' processes with the same role stand for each other.

    `words`: its arguments without what is a run's own.
    """

    process: Process
    role: str
    words: tuple[str, ...]
    threads: list[Thread]

    @property
    def content(self) -> tuple[bytes, ...]:
        """What its threads call, whichever comes first."""
        return tuple(sorted(thread.keys.tobytes() for thread in self.threads))


class Names:
    """Numbers for what a call is: shared by both sides, so that equal keys mean equal calls."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}

    def number(self, *what: object) -> int:
        """The number of this, from 1."""
        return self._numbers.setdefault(what, len(self._numbers) + 1)


class Side:
    """A run of a session."""

    def __init__(self, session: Session, run: int | None, names: Names) -> None:
        """SessionError when the session has no such run."""
        self.session = session
        self.run = session.newest_run if run is None else run
        if not any(process.run == self.run and process.role == "target" for process in session.processes):
            raise SessionError(f"{session.path}: there is no run {self.run} of a target in it")
        self._names = names
        self._texts: dict[tuple[int, int], int] = {}
        schema = session.schema
        self._spelt = {
            number
            for number, function in schema.functions.items()
            if any(p.kind == "string" or p.pointee.endswith("CUuuid") for p in function.params)
        }
        self.members = self._members()

    @property
    def began_ns(self) -> int:
        """When the first process of the run started."""
        return min((member.process.started_ns for member in self.members), default=0)

    def calls(self) -> int:
        """How many calls the run has."""
        return sum(len(thread.rows) for member in self.members for thread in member.threads)

    def gaps(self) -> list[str]:
        """What of the run is not in the session, in sentences: what is missing may be among it."""
        said = [
            f"{member.process.lost} calls of pid {member.process.pid} were lost"
            for member in self.members
            if member.process.lost
        ]
        if self.session.lost_to_disk[0]:
            said.append(f"{self.session.lost_to_disk[0]} calls were lost: the disk did not take them")
        if self.session.broke_off:
            said.append("it was never finished: its writer was killed")
        return [*said, *self.session.damage]

    def _members(self) -> list[Member]:
        mine = [p for p in self.session.processes if p.run == self.run and p.role == "target"]
        rows, columns = self._rows_of([process.index for process in mine])
        order = np.lexsort((columns["sequence"], columns["thread"], columns["process"]))
        rows, columns = rows[order], {name: column[order] for name, column in columns.items()}
        identity = columns["process"].astype(np.int64) << 32 | columns["thread"].astype(np.int64)
        bounds = [0, *(np.flatnonzero(np.diff(identity)) + 1).tolist(), len(rows)] if len(rows) else [0]
        threads: dict[int, list[Thread]] = {process.index: [] for process in mine}
        for start, stop in pairwise(bounds):
            part = {name: column[start:stop] for name, column in columns.items()}
            thread = Thread(rows[start:stop], part, self._keys(part))
            threads[int(part["process"][0])].append(thread)
        members = []
        for process in mine:
            ordered = sorted(threads[process.index], key=lambda thread: int(thread.columns["time"][0]))
            members.append(Member(process, role_of(process), _words_of(process), ordered))
        return members

    def _rows_of(self, processes: list[int]) -> tuple[npt.NDArray[np.int64], Columns]:
        """Row indices and columns of the run's calls; what the shim did to itself is not compared."""
        calls, polls = self.session.calls, polls_of(self.session.schema)
        parts: list[tuple[npt.NDArray[np.int64], Columns]] = []
        for start in range(0, len(calls), _BATCH):
            stop = min(start + _BATCH, len(calls))
            columns = calls.columns(start, stop, _COLUMNS)
            mine = np.isin(columns["process"], processes)
            mine &= (columns["flags"] & int(CallFlag.INTERNAL)) == 0
            # How often somebody asks until it is ready is a matter of time.
            mine &= ~(np.isin(columns["function"], polls) & np.isin(columns["result"], READY_OR_NOT))
            chosen = np.flatnonzero(mine)
            parts.append((chosen + start, {name: column[chosen] for name, column in columns.items()}))
        if not parts:
            return np.empty(0, np.int64), calls.columns(0, 0, _COLUMNS)
        rows = np.concatenate([part[0] for part in parts])
        return rows, {name: np.concatenate([part[1][name] for part in parts]) for name in _COLUMNS}

    def _keys(self, columns: Columns) -> Keys:
        """A call's function, nesting, and what it named; not its results, which are compared afterwards."""
        functions = columns["function"].astype(np.int64)
        payloads = columns["payload"].astype(np.int64)
        spelt = functions >= FIRST_PSEUDO_FUNCTION
        spelt |= np.isin(functions, list(self._spelt))
        combined = functions << 32 | np.where(spelt, payloads, 0)
        unique, places = np.unique(combined, return_inverse=True)
        numbers = np.array(
            [self._key(int(value) >> 32, int(value) & 0xFFFFFFFF) for value in unique], np.int64
        )
        return (
            numbers[places] << 8 | columns["nesting"].astype(np.int64)
            if len(unique)
            else np.empty(0, np.int64)
        )

    def _key(self, function: int, payload: int) -> int:
        known = self._texts.get((function, payload))
        if known is None:
            name = self.session.schema.function_name(function)
            known = self._names.number(name, *self._named(function, payload))
            self._texts[(function, payload)] = known
        return known

    def _named(self, function: int, payload: int) -> list[bytes]:
        """The strings and table ids a call was given; of a path its last part, as runs have own folders."""
        spelt = []
        for item in self.session.calls.payload_of(payload):
            if item.kind == ItemKind.STRING and item.index < 2:
                spelt.append(item.data.rpartition(b"/")[2])
            elif item.kind == ItemKind.TABLE:
                spelt.append(item.data)
        return spelt


def _words_of(process: Process) -> tuple[str, ...]:
    """Its arguments, of paths the last part, and without numbers alone: ports, pids."""
    return tuple(word.rpartition("/")[2] for word in process.argv[1:] if not word.isdigit())


def role_of(process: Process) -> str:
    """`llama-server --list-devices`: the program and the words that say what it is to do, not where."""
    words = [PurePosixPath(process.argv[0] if process.argv else process.exe).name or "?"]
    for word in process.argv[1:]:
        option = word.partition("=")[0]
        if option.startswith("--") or (len(words) == 1 and _WORD.fullmatch(option)):
            words.append(option)
    return " ".join(words[:6])
