"""Device memory on two shims, hashed after each call that may write to it: the first call after which it
differs."""

from __future__ import annotations

import dataclasses
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sessions import Session
from sessions.decode import CallDecoder
from sessions.diff.values import READY_OR_NOT
from sessions.format import ItemKind
from sessions.items import out_word, string_of, words_of
from sessions.replay import Plan
from workbench.replay.perform import Performance, Wish, perform
from workbench.replay.stage import Stage
from workbench.views.demangle import demangled, with_demangled

_NAMING = {"cuModuleGetFunction": (0, 2), "cuLibraryGetKernel": (0, 2)}  # handle out, name
_ASKS = re.compile(
    r"nvml|cu(GetProcAddress|GetExportTable|GetError|Driver|Device(Get|TotalMem|Can|ComputeCap))"
)
"""Functions that only ask: two shims may answer otherwise, and memory is the same."""
_SHOWN = 4  # values that differ
_NOT_READY = READY_OR_NOT[1]

Hashes = dict[tuple[int, int], tuple[int, str]]


@dataclass(frozen=True)
class Divergence:
    """Where two shims part. `call` is its number; `memory` starts as recorded; `detail` the first values."""

    call: int
    pid: int
    line: str
    kernel: str | None
    parameters: list[str]
    memory: tuple[int, int] | None  #: start, bytes
    detail: str

    @property
    def text(self) -> str:
        """In lines."""
        what = f"kernel {demangled(self.kernel)}" if self.kernel else "no launch of a kernel"
        lines = [f"the first call after which they differ is {self.call}, of pid {self.pid}: {what}"]
        lines.append(f"    {with_demangled(self.line)}")
        lines += [f"    {parameter}" for parameter in self.parameters]
        if self.memory is not None:
            lines.append(f"    memory at 0x{self.memory[0]:x}, {self.memory[1]} bytes: {self.detail}")
        else:
            lines.append(f"    {self.detail}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "call": self.call,
            "pid": self.pid,
            "text": self.line,
            "kernel": self.kernel,
            "demangled": None if self.kernel is None else demangled(self.kernel),
            "parameters": self.parameters,
            "memory": None if self.memory is None else {"start": self.memory[0], "bytes": self.memory[1]},
            "detail": self.detail,
        }


def first_divergence(
    wish: Wish, stage: Stage, other: Stage, scratch: Path, until: int | None = None
) -> Divergence | None:
    """Perform on both; None when memory was the same after every call of every process."""
    stages = (stage, other)
    wish = dataclasses.replace(wish, nvml=stage.has_nvml and other.has_nvml)  # the same calls on both
    made = [perform(wish, each, scratch, until=until, hashed=True) for each in stages]
    parted = []
    for done in zip(*(replay.performances for replay in made), strict=True):
        found = _parted(done[0], done[1])
        if found is not None:
            parted.append((found, done[0].plan.process))
    if not parted:
        return None
    first, process = min(parted, key=lambda pair: pair[0].call)
    if first.memory is None:
        return _divergence(wish, process, first.call, None, first.detail)
    folders = [scratch / f"dump{side}" for side in range(2)]
    alone = dataclasses.replace(wish, processes=(process,))
    for each, folder in zip(stages, folders, strict=True):
        folder.mkdir()
        perform(alone, each, scratch, until=first.call, hashed=True, dump=(first.call, folder))
    detail = _first_values(*(folder / str(first.memory[0]) for folder in folders))
    return _divergence(wish, process, first.call, first.memory, detail)


@dataclass(frozen=True)
class _Parted:
    """Where one process's replays part: by memory (start, bytes), else by a result."""

    call: int
    memory: tuple[int, int] | None
    detail: str = ""


def _parted(a: Performance, b: Performance) -> _Parted | None:
    results = _first_result((a, b))
    found = _first_hash((_read(a.hashes), _read(b.hashes)))
    if found is None or (results is not None and results[0] < found[0]):
        return None if results is None else _Parted(results[0], None, results[1])
    return _Parted(found[0], found[1:])


def _read(path: Path) -> Hashes:
    """(call, start) -> (bytes, hash)."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        call, start, size, value = line.split()
        found[int(call), int(start)] = (int(size), value)
    return found


def _first_hash(hashes: tuple[Hashes, Hashes]) -> tuple[int, int, int] | None:
    for key in sorted(hashes[0].keys() & hashes[1].keys()):
        if hashes[0][key] != hashes[1][key]:
            return (*key, hashes[0][key][0])
    return None


def _first_result(done: tuple[Performance, Performance]) -> tuple[int, str] | None:
    """The first call with another result, or that only one side came through."""
    a, b = (each.results for each in done)
    results = [np.where(each.results == _NOT_READY, 0, each.results) for each in (a, b)]
    differs = (a.states != b.states) | (results[0] != results[1])
    differs &= ~_asking(done[0].plan)
    if not differs.any():
        return None
    rows = done[0].plan.rows
    at = int(np.flatnonzero(differs)[np.argmin(rows[differs])])
    said = [
        f"{each.results.states[at]:d}"
        if each.results.states[at] != 2
        else f"result {each.results.results[at]}"
        for each in done
    ]
    names = {"0": "not come to", "1": "not returned from", "3": "left out", "4": "no such function"}
    return int(rows[at]) + 1, f"A: {names.get(said[0], said[0])}, B: {names.get(said[1], said[1])}"


def _asking(plan: Plan) -> npt.NDArray[np.bool_]:
    """Which of a plan's calls only ask."""
    schema = plan.session.schema
    asking = [number for number, function in schema.functions.items() if _ASKS.match(function.name)]
    columns = plan.session.calls.columns(0, int(plan.rows.max()) + 1, ["function"])
    answer: npt.NDArray[np.bool_] = np.isin(columns["function"][plan.rows], asking)
    return answer


def _first_values(a: Path, b: Path) -> str:
    if not (a.exists() and b.exists()):
        return "differs"
    mine, other = np.fromfile(a, np.uint8), np.fromfile(b, np.uint8)
    count = min(len(mine), len(other)) // 4 * 4
    words = mine[:count].view("<u4"), other[:count].view("<u4")
    places = np.flatnonzero(words[0] != words[1])
    if not len(places):
        return "differs once, and not when it is done again: its order is not fixed"
    floats = mine[:count].view("<f4"), other[:count].view("<f4")
    shown = ", ".join(
        f"+{4 * at}: {words[0][at]:08x} {words[1][at]:08x} (floats {floats[0][at]:.9g} {floats[1][at]:.9g})"
        for at in places[:_SHOWN].tolist()
    )
    return f"{len(places)} of {count // 4} words differ: {shown}"


def _divergence(
    wish: Wish, process: int, call: int, memory: tuple[int, int] | None, detail: str
) -> Divergence:
    session, row = wish.session, call - 1
    kernel = kernel_of(session, process, row)
    line = CallDecoder(session.schema).text(session, row)
    pid = session.processes[process].pid
    return Divergence(call, pid, line, kernel, parameters_of(session, row), memory, detail)


def kernel_of(session: Session, process: int, row: int) -> str | None:
    """The name of the kernel that call `row` launches, as its module calls it; None when it launches none."""
    call = session.calls.row(row)
    function = session.schema.functions.get(call.function)
    if function is None or not function.base.startswith("cuLaunch"):
        return None
    names = [param.name for param in function.params]
    words = words_of(call.args, session.calls.payload(row))
    return _names(session, process, row).get(words[names.index("f")]) if "f" in names else None


def _names(session: Session, process: int, before: int) -> dict[int, str]:
    """What functions' handles are called."""
    ids = {session.schema.function_id(name): places for name, places in _NAMING.items()}
    asked = session.schema.function_id("cuKernelGetFunction")
    columns = session.calls.columns(0, before, ["function", "process"])
    wanted = np.isin(columns["function"], [number for number in (*ids, asked) if number is not None])
    named: dict[int, str] = {}
    for row in np.flatnonzero(wanted & (columns["process"] == process)).tolist():
        call, items = session.calls.row(row), session.calls.payload(row)
        handle = out_word(items, 0)
        if handle is None:
            continue
        if call.function == asked:
            named[handle] = named.get(call.args[1], "")
        else:
            named[handle] = string_of(items, ids[call.function][1]) or ""
    return named


def parameters_of(session: Session, row: int) -> list[str]:
    """A launch's parameters as they were recorded: `+8 8 bytes 0x7f...`."""
    for item in session.calls.payload(row):
        if item.kind == ItemKind.KERNEL and len(item.data) >= 8:
            count = struct.unpack_from("<I", item.data)[0]
            block = item.data[8 + 8 * count :]
            said = []
            for number in range(count):
                offset, size = struct.unpack_from("<II", item.data, 8 + 8 * number)
                value = block[offset : offset + size]
                shown = f"0x{int.from_bytes(value, 'little'):x}" if size <= 8 else value.hex(" ", 4)
                said.append(f"parameter {number} at +{offset}, {size} bytes: {shown}")
            return said
    return []
