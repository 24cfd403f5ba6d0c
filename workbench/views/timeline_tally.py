"""What is counted of each process of a timeline, and read from lines of the log, while a session grows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sessions import FIRST_PSEUDO_FUNCTION, Pseudo
from sessions.format import CallFlag
from workbench.target.log_grammar import parse_bytes
from workbench.views.log import HEAD_BYTES
from workbench.views.timeline import Saying

if TYPE_CHECKING:
    from sessions import Line, Session


@dataclass
class Tally:
    """What is counted of a process while the session grows."""

    calls: int = 0
    failed: int = 0
    in_calls_ns: int = 0
    first_call: int | None = None
    result: Saying | None = None
    weight: int = -1
    told_system_info: bool = False


@dataclass
class Told:
    """What the servers of a run said, in order: time, saying."""

    notes: list[tuple[int, int, Saying]] = field(default_factory=list)
    verdict: Saying | None = None
    ready: list[int] = field(default_factory=list)
    stopping: list[int] = field(default_factory=list)


#: A process's own lines: weight, pattern, how it is told (group 1 for {}), whether it is bad.
_RESULTS: tuple[tuple[int, re.Pattern[bytes], str, bool], ...] = (
    (1, re.compile(rb"system_info: "), "told its system_info", False),
    (2, re.compile(rb"ggml_cuda_init: found (\d+) CUDA devices"), "{} device(s)", False),
    (3, re.compile(rb"Device \d+: (.{1,80}?), compute capability (\d+\.\d+)"), "{}, cc {}", False),
    (4, re.compile(rb"^\s+(CUDA\d+: .{1,80}? \(\d+ MiB, \d+ MiB free\))"), "{}", False),
    (5, re.compile(rb"ggml_cuda_init: found (0) CUDA devices"), "0 devices", True),
    (5, re.compile(rb"ggml_cuda_init: failed to initialize CUDA: (.{1,200})"), "{}", True),
    (5, re.compile(rb"load_backend: failed to load (.{1,400})"), "not loaded: {}", True),
    (6, re.compile(rb"offloaded (\d+/\d+) layers to GPU"), "{} layers on the GPU", False),
    (6, re.compile(rb"offloaded (0/\d+) layers to GPU"), "{} layers on the GPU", True),
    (7, re.compile(rb"(CUDA error: .{1,200})"), "{}", True),
    (7, re.compile(rb"(GGML_ASSERT\(.{1,200})"), "{}", True),
)
#: A server's lines that tell how a pass went.
_NOTES = (
    b"failure during llama-server GPU discovery",
    b"failure during GPU discovery",
    b"GPU discovery watchdog timed out",
    b"timed out waiting for server startup",
    b"system_info line not found",
    b"could not determine compute capability",
    b"compute capability not in compiled architectures",
    b"NVIDIA driver too old",
    b"could not verify NVIDIA driver compatibility",
    b"native GPU discovery failed",
    b"filtering device which didn't fully initialize",
    b"dropping duplicate device",
    b"unable to refresh free memory",
    b"llama-server terminated",
    b"llama runner terminated",
)
_READY = re.compile(rb"(?:llama-server|llama runner) started in ")
_STOPPING = re.compile(rb"stopping (?:llama-server|runner)|shutting down runner|stopping llama server")
_VERDICT = re.compile(rb"inference compute.* library=(\S+)")
_DEVICES = re.compile(rb'^\{"devices":')
_OWN = re.compile(b"|".join(pattern.pattern.removeprefix(rb"^\s+") for _, pattern, _, _ in _RESULTS))
_SERVERS = re.compile(
    b"|".join([*map(re.escape, _NOTES), _READY.pattern, _STOPPING.pattern, _VERDICT.pattern])
)


Counts = dict[int, tuple[int, int, int, int | None]]
"""Of processes, by index: calls, failed ones, ns in them, the row of the first."""


class Tallies:
    """All that is counted and read of one session."""

    def __init__(self, counts: Counts | None = None) -> None:
        self.processes = {index: Tally(*counted) for index, counted in (counts or {}).items()}
        self.told: dict[int, Told] = {}
        """by run"""

    def of_process(self, index: int) -> Tally:
        """What is counted of a process."""
        return self.processes.setdefault(index, Tally())

    def counts(self) -> Counts:
        """What was counted of calls so far."""
        return {
            index: (tally.calls, tally.failed, tally.in_calls_ns, tally.first_call)
            for index, tally in self.processes.items()
        }

    def take_calls(self, session: Session, start: int, stop: int, times: int = 1) -> None:
        """Count the calls of the rows start..stop; -1 `times`: take them back, as they were counted."""
        if start >= stop:
            return
        names = ("function", "process", "flags", "result", "duration", "nesting")
        columns = session.calls.columns(start, stop, names)
        function, process, flags = columns["function"], columns["process"], columns["flags"]
        driver = (function < FIRST_PSEUDO_FUNCTION) | (function == Pseudo.UNKNOWN)
        call = driver & ((flags & int(CallFlag.INTERNAL)) == 0)
        outer = (call | (function == Pseudo.TABLE_SLOT)) & (columns["nesting"] == 0)
        failed = call & (columns["result"] != 0) & ((flags & int(CallFlag.UNRETURNED)) == 0)
        size = int(process.max()) + 1
        calls = np.bincount(process[call], minlength=size)
        failures = np.bincount(process[failed], minlength=size)
        weights = columns["duration"][outer].astype(np.float64)
        spent = np.bincount(process[outer], weights=weights, minlength=size)
        for index in np.flatnonzero(calls + spent).tolist():
            tally = self.of_process(index)
            tally.calls += times * int(calls[index])
            tally.failed += times * int(failures[index])
            tally.in_calls_ns += times * int(spent[index])
            if tally.first_call is None and calls[index]:
                tally.first_call = start + int(np.argmax(call & (process == index)))

    def take_line(self, session: Session, number: int, line: Line) -> bool:
        """Read a line of the log; False when it tells nothing."""
        if line.role not in ("target", "exercise"):
            return False
        known = 0 <= line.process < len(session.processes)
        text = line.text[:HEAD_BYTES]
        told = _SERVERS.search(text) is not None
        if told:
            self._take_servers_line(session, number, line, text)
        own = known and (_OWN.search(text) or _DEVICES.match(text)) is not None
        if own:
            self._take_own_line(number, line, text)
        return told or own

    def _take_own_line(self, number: int, line: Line, text: bytes) -> None:
        # A server quotes its children's output in fields of its own lines: that is no result of its own.
        if text.startswith((b"time=", b"level=")):
            return
        tally = self.of_process(line.process)
        if b"system_info:" in text:
            tally.told_system_info = True
        if _DEVICES.match(text):
            self._put(tally, 4, Saying(_devices_told(line.text), number, b'"devices":[]' in line.text))
            return
        for weight, pattern, words, bad in _RESULTS:
            found = pattern.search(text)
            if found is not None:
                told = [(part or b"").decode("utf-8", "replace") for part in found.groups()]
                self._put(tally, weight, Saying(words.format(*told), number, bad))

    @staticmethod
    def _put(tally: Tally, weight: int, saying: Saying) -> None:
        if weight >= tally.weight:
            tally.weight, tally.result = weight, saying

    def _take_servers_line(self, session: Session, number: int, line: Line, text: bytes) -> None:
        known = 0 <= line.process < len(session.processes)
        run = session.processes[line.process].run if known else session.newest_run
        told = self.told.setdefault(run, Told())
        if (found := _VERDICT.search(text)) is not None:
            told.verdict = Saying(_verdict(text), number, found[1].lower() == b"cpu")
        if _READY.search(text):
            told.ready.append(line.time_ns)
        if _STOPPING.search(text):
            told.stopping.append(line.time_ns)
        note = next((note for note in _NOTES if note in text), None)
        if note is not None:
            told.notes.append((line.time_ns, line.process, Saying(note.decode(), number, True)))


def _verdict(text: bytes) -> str:
    """`inference compute` in a few words."""
    line = parse_bytes(text)
    words = [line.field("library"), line.field("description") or line.field("name")]
    if line.field("compute"):
        words.append(f"compute {line.field('compute')}")
    return ", ".join(word for word in dict.fromkeys(words) if word) or "inference compute"


def _devices_told(text: bytes) -> str:
    """The JSON of `ollama gpu-discover` in a few words."""
    try:
        devices = json.loads(text)["devices"]
        words = []
        for device in devices:
            driver = f"{device.get('cuda_driver_major', '?')}.{device.get('cuda_driver_minor', 0)}"
            words.append(
                f"{device.get('description') or device.get('name') or device.get('library')}, driver {driver}"
            )
        return "; ".join(words) or "0 devices"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "devices that can't be read"
