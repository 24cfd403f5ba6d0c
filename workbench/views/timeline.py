"""The road to a GPU in time: each process of a run as a bar, Ollama's passes around them, and its limits.

Everything is derived from the session: roles from command lines, environment and parents
(target/roles.py), calls and the time in them from the records, results from the processes' own lines.
Programs that are no Ollama get plain bars. Times are ns since the session's start.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sessions import FIRST_PSEUDO_FUNCTION, Pseudo
from sessions.format import CallFlag
from workbench.target.log_grammar import parse_bytes
from workbench.target.roles import (
    NATIVE_PROBE,
    Era,
    Limit,
    PassKind,
    Role,
    era_of,
    library_folder,
    limit_of,
    pass_kind,
    program_name,
    role_of,
)
from workbench.views.log import HEAD_BYTES, numbered_lines
from workbench.views.mapped import WrongLibrary, wrong_libraries

if TYPE_CHECKING:
    from sessions import Line, Process, Session

BATCH = 1 << 20
TIGHT = 0.5
"""A pass that took this share of its limit or more is close to it."""

NEARLY = 0.95
"""A pass whose last process was killed after this share of the limit was ended by it."""

EndingKind = Literal["alive", "ok", "on-purpose", "failed", "unknown"]


@dataclass(frozen=True)
class Saying:
    """A line that tells a result: its index in the log, what it comes to, and whether that is bad."""

    text: str
    log: int
    bad: bool = False


@dataclass(frozen=True)
class Bar:
    """A process."""

    process: int
    pid: int
    role: Role
    name: str
    start_ns: int
    end_ns: int | None
    calls: int  #: of the driver and NVML, the shim's own left out
    failed: int  #: how many of them returned an error
    lost: int
    in_calls_ns: int  #: spent in them, summed over threads, nested ones counted once
    first_call: int | None  #: row index
    opened_driver: bool  #: loaded a library that is recorded
    ending: str
    ending_kind: EndingKind
    result: Saying | None = None
    limit: Limit | None = None  #: its own, beside its pass's

    @property
    def killed_early(self) -> bool:
        """Whether it was killed before it had told what it was started for."""
        return self.ending_kind == "failed" and self.ending.startswith("SIGKILL")

    @property
    def label(self) -> str:
        """Its role, or the name of a program that has none."""
        return str(self.role) or self.name


@dataclass(frozen=True)
class Pass:
    """Processes that Ollama starts in series for one purpose, against one limit."""

    kind: PassKind
    folder: str  #: cuda_v13; "" when not told
    start_ns: int
    end_ns: int | None  #: None while it goes on
    limit: Limit
    used_ns: int
    bars: tuple[Bar, ...]
    notes: tuple[Saying, ...] = ()  #: what the server said of it

    @property
    def share(self) -> float | None:
        """How much of the limit it took; more than 1: overrun. None without a limit."""
        return self.used_ns / (self.limit.seconds * 1e9) if self.limit.seconds else None

    @property
    def overrun(self) -> bool:
        """Whether Ollama gave up waiting: the limit is past, or at its end a process was killed."""
        share = self.share or 0.0
        return share >= 1 or (share >= NEARLY and any(bar.killed_early for bar in self.bars))

    @property
    def in_calls_ns(self) -> int | None:
        """The shim's part of it; None for a load, whose process goes on after it."""
        return None if self.kind == "load" else sum(bar.in_calls_ns for bar in self.bars)


@dataclass(frozen=True)
class Timeline:
    """A run."""

    run: int
    start_ns: int
    now_ns: int  #: its end, or how far the session has come
    era: Era | None
    passes: tuple[Pass, ...] = ()
    others: tuple[Bar, ...] = ()  #: the server, and what is of no pass, by their start
    verdict: Saying | None = None  #: what the server found: its newest `inference compute` line
    wrong: tuple[WrongLibrary, ...] = ()  #: libraries that are not those of the run
    installed: tuple[str, ...] = ()  #: what was known of the program before it ran, a line each
    warnings: tuple[str, ...] = ()  #: and what of that stands in the way

    @property
    def bars(self) -> list[Bar]:
        """All of them by their start."""
        return sorted(
            [*self.others, *(bar for each in self.passes for bar in each.bars)], key=lambda bar: bar.start_ns
        )

    @property
    def horizon_ns(self) -> int:
        """Where a picture of the road ends: at the last pass's end; without passes, at the run's."""
        ends = [each.end_ns or self.now_ns for each in self.passes]
        return max(ends, default=self.now_ns)


@dataclass
class _Tally:
    """What is counted of a process while the session grows."""

    calls: int = 0
    failed: int = 0
    in_calls_ns: int = 0
    first_call: int | None = None
    result: Saying | None = None
    weight: int = -1
    told_system_info: bool = False


@dataclass
class _Told:
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
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)


class TimelineTracker:
    """Counts while the session grows; `update` looks only at what is new, `timeline` puts a run together."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._calls = self._lines = 0
        self._tallies: dict[int, _Tally] = {}
        self._told: dict[int, _Told] = {}

    def update(self, session: Session) -> bool:
        """Take in what was recorded since; True if there was anything."""
        if session is not self._session:
            self._session, self._calls, self._lines = session, 0, 0
            self._tallies, self._told = {}, {}
        before = self._calls, self._lines
        self._take_calls(session)
        self._take_lines(session)
        return before != (self._calls, self._lines)

    def timeline(self, run: int | None = None) -> Timeline:
        """A run of the session looked at last, the newest unless told."""
        assert self._session is not None, "update first"
        return _Assembly(self._session, self._tallies, self._told, run).timeline()

    def _tally(self, process: int) -> _Tally:
        return self._tallies.setdefault(process, _Tally())

    def _take_calls(self, session: Session) -> None:
        total = len(session.calls)
        names = ("function", "process", "flags", "result", "duration", "nesting")
        while self._calls < total:
            stop = min(self._calls + BATCH, total)
            columns = session.calls.columns(self._calls, stop, names)
            function, process, flags = columns["function"], columns["process"], columns["flags"]
            driver = (function < FIRST_PSEUDO_FUNCTION) | (function == Pseudo.UNKNOWN)
            call = driver & ((flags & int(CallFlag.INTERNAL)) == 0)
            outer = (call | (function == Pseudo.TABLE_SLOT)) & (columns["nesting"] == 0)
            failed = call & (columns["result"] != 0) & ((flags & int(CallFlag.UNRETURNED)) == 0)
            size = int(process.max()) + 1
            calls = np.bincount(process[call], minlength=size)
            failures = np.bincount(process[failed], minlength=size)
            weights = columns["duration"][outer].astype(np.float64)
            times = np.bincount(process[outer], weights=weights, minlength=size)
            for index in np.flatnonzero(calls + times).tolist():
                tally = self._tally(index)
                tally.calls += int(calls[index])
                tally.failed += int(failures[index])
                tally.in_calls_ns += int(times[index])
                if tally.first_call is None and calls[index]:
                    tally.first_call = self._calls + int(np.argmax(call & (process == index)))
            self._calls = stop

    def _take_lines(self, session: Session) -> None:
        total = len(session.log)
        for number, line in numbered_lines(session, self._lines, total):
            if line.role not in ("target", "exercise"):
                continue
            known = 0 <= line.process < len(session.processes)
            text = line.text[:HEAD_BYTES]
            if _SERVERS.search(text):
                self._take_servers_line(session, number, line, text)
            if known and (_OWN.search(text) or _DEVICES.match(text)):
                self._take_own_line(number, line, text)
        self._lines = total

    def _take_own_line(self, number: int, line: Line, text: bytes) -> None:
        # A server quotes its children's output in fields of its own lines: that is no result of its own.
        if text.startswith((b"time=", b"level=")):
            return
        tally = self._tally(line.process)
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
    def _put(tally: _Tally, weight: int, saying: Saying) -> None:
        if weight >= tally.weight:
            tally.weight, tally.result = weight, saying

    def _take_servers_line(self, session: Session, number: int, line: Line, text: bytes) -> None:
        known = 0 <= line.process < len(session.processes)
        run = session.processes[line.process].run if known else session.newest_run
        told = self._told.setdefault(run, _Told())
        if (found := _VERDICT.search(text)) is not None:
            told.verdict = Saying(_verdict(text), number, found[1].lower() == b"cpu")
        if _READY.search(text):
            told.ready.append(line.time_ns)
        if _STOPPING.search(text):
            told.stopping.append(line.time_ns)
        note = next((note for note in _NOTES if note in text), None)
        if note is not None:
            told.notes.append((line.time_ns, line.process, Saying(note.decode(), number, True)))


class _Assembly:
    """One run put together."""

    def __init__(
        self, session: Session, tallies: dict[int, _Tally], told: dict[int, _Told], run: int | None
    ) -> None:
        self.session = session
        self.run = session.newest_run if run is None else run
        self.tallies = tallies
        self.told = told.get(self.run, _Told())
        self.processes = [p for p in session.processes if p.run == self.run and p.role in ("", "target")]
        began = [e.time_ns for e in session.events if e.kind == "run" and e.fields.get("run") == self.run]
        ended = [e.time_ns for e in session.events if e.kind == "run-end" and e.fields.get("run") == self.run]
        starts = [process.started_ns for process in self.processes]
        self.start = min([*began[:1], *starts], default=0)
        self.ended = ended[-1] if ended else None
        self.now = self._now()

    def _now(self) -> int:
        moments = [self.start, *(process.ended_ns or process.started_ns for process in self.processes)]
        if self.ended is not None:
            moments.append(self.ended)
        elif self.session.live or any(process.ended_ns is None for process in self.processes):
            moments.append(self.session.now_ns())
        return max(moments)

    def timeline(self) -> Timeline:
        roles = {process.index: self._role(process) for process in self.processes}
        bars = {process.index: self._bar(process, roles[process.index]) for process in self.processes}
        groups: list[tuple[PassKind, str, Process | None, list[Bar]]] = []
        others: list[Bar] = []
        for process in sorted(self.processes, key=lambda p: (p.started_ns, p.index)):
            role, bar = roles[process.index], bars[process.index]
            parent = self._parent(process)
            if role.discovers:
                env = parent.env if parent is not None else {}
                kind, folder = pass_kind(process.env, env), library_folder(process.env, env)
                self._group(groups, kind, folder, parent, bar)
            elif role is Role.RUNNER and parent is not None and roles.get(parent.index) is Role.SERVE:
                groups.append(("load", library_folder(process.env, parent.env), parent, [bar]))
            else:
                others.append(bar)
        told = next((e.fields for e in reversed(self.session.events) if e.kind == "target"), {})
        opened = any(bar.opened_driver and bar.role is Role.SERVE for bar in bars.values())
        return Timeline(
            run=self.run,
            start_ns=self.start,
            now_ns=self.now,
            era=era_of(list(roles.values()), opened),
            passes=tuple(self._pass(*group) for group in groups),
            others=tuple(others),
            verdict=self.told.verdict,
            wrong=tuple(wrong_libraries(self.session, self.run)),
            installed=tuple(_installed(told)),
            warnings=tuple(str(warning) for warning in told.get("warnings") or ()),
        )

    def _parent(self, process: Process) -> Process | None:
        index = process.parent_index
        return self.session.processes[index] if 0 <= index < len(self.session.processes) else None

    def _role(self, process: Process) -> Role:
        parent = self._parent(process)
        if parent is not None and process.argv == parent.argv:
            return Role.OTHER  # forked, and not yet what it will be
        return role_of(process.argv, parent.argv if parent is not None else ())

    @staticmethod
    def _group(
        groups: list[tuple[PassKind, str, Process | None, list[Bar]]],
        kind: PassKind,
        folder: str,
        parent: Process | None,
        bar: Bar,
    ) -> None:
        """Into the pass that goes on; the second process of a role begins another, but in validation,
        whose devices are looked at side by side against one limit."""
        for known, of, by, bars in reversed(groups):
            if (known, of, by) == (kind, folder, parent):
                if kind == "validation" or all(other.role is not bar.role for other in bars):
                    bars.append(bar)
                    return
                break
        groups.append((kind, folder, parent, [bar]))

    def _pass(self, kind: PassKind, folder: str, parent: Process | None, bars: list[Bar]) -> Pass:
        start = min(bar.start_ns for bar in bars)
        end: int | None = None
        if kind == "load":
            ready = [moment for moment in self.told.ready if moment >= start]
            end = min(ready) if ready else bars[0].end_ns
        elif all(bar.end_ns is not None for bar in bars):
            end = max(bar.end_ns or 0 for bar in bars)
        # The server tells of a pass once it is over, and before the next begins.
        following = [p.started_ns for p in self.processes if p.started_ns > (end or self.now)]
        until = min([*following, (end or self.now) + 2_000_000_000])
        notes = [
            saying
            for moment, _, saying in self.told.notes
            if start <= moment < until and (kind == "load") == ("terminated" in saying.text)
        ]
        return Pass(
            kind=kind,
            folder=folder,
            start_ns=start,
            end_ns=end,
            limit=limit_of(kind, parent.env if parent is not None else {}),
            used_ns=(self.now if end is None else end) - start,
            bars=tuple(bars),
            notes=tuple(notes),
        )

    def _bar(self, process: Process, role: Role) -> Bar:
        tally = self.tallies.get(process.index, _Tally())
        kind, ending = self._ending(process, role, tally)
        return Bar(
            process=process.index,
            pid=process.pid,
            role=role,
            name=program_name(process.argv) or process.exe.rsplit("/", 1)[-1] or "?",
            start_ns=process.started_ns,
            end_ns=process.ended_ns,
            calls=tally.calls,
            failed=tally.failed,
            lost=process.lost,
            in_calls_ns=tally.in_calls_ns,
            first_call=tally.first_call,
            opened_driver=any(_is_driver(m.soname or m.path) for m in process.maps) or tally.calls > 0,
            ending=ending,
            ending_kind=kind,
            # A server prints its runner's lines as they come: they are not its own result.
            result=None if role is Role.SERVE else tally.result,
            limit=NATIVE_PROBE if role is Role.GPU_DISCOVER else None,
        )

    def _ending(self, process: Process, role: Role, tally: _Tally) -> tuple[EndingKind, str]:
        if process.ended_ns is None:
            return "alive", "alive" if self.session.live else "alive at the end"
        if process.signal is None:
            if process.exit_code is None:
                return "unknown", "ended"
            return ("failed" if process.exit_code else "ok"), f"exit {process.exit_code}"
        name = _signal_name(process.signal)
        if process.signal not in _STOP_SIGNALS:
            return "failed", name
        if role is Role.BOOTSTRAP and process.signal == signal.SIGKILL:
            if tally.told_system_info:
                return "on-purpose", f"{name} on purpose: it had told"
            return "failed", f"{name} before it had told"
        if role is Role.DISCOVER and process.signal == signal.SIGKILL:
            quick = process.ended_ns - process.started_ns < (limit_of("bootstrap", {}).seconds or 0) * 9e8
            return ("on-purpose", f"{name} on purpose") if quick else ("failed", f"{name} by the limit")
        if self._stopped(process):
            return "on-purpose", f"{name}: stopped"
        return "failed", name

    def _stopped(self, process: Process) -> bool:
        """Whether its end was asked for: by the server's own words, or with the run."""
        assert process.ended_ns is not None
        if any(0 <= process.ended_ns - moment < 6_000_000_000 for moment in self.told.stopping):
            return True
        return self.ended is not None and process.ended_ns >= self.ended - 6_000_000_000


def _is_driver(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith(("libcuda.so", "libnvidia-ml.so"))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _installed(told: Mapping[str, Any]) -> Iterator[str]:
    """The event about the program, written by target/installation.py, in a line a library folder."""
    if told.get("version"):
        yield f"Ollama {told['version']}"
    for backend in told.get("backends") or ():
        runtime = backend.get("runtime")
        version = f"cudart {runtime[0]}.{runtime[1]}" if runtime else "cudart not found"
        code = " ".join(map(str, backend.get("architectures") or ())) or "none"
        ptx = " ".join(map(str, backend.get("ptx") or ())) or "none"
        folder = str(backend.get("path", "")).split("/")[-2:][0]
        yield f"{folder}: {version}, machine code for {code}, PTX {ptx}"


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


def timeline_of(session: Session, run: int | None = None) -> Timeline:
    """A run of a session, the newest unless told."""
    tracker = TimelineTracker()
    tracker.update(session)
    return tracker.timeline(run)


def as_json(timeline: Timeline) -> dict[str, Any]:
    """Plain JSON: seconds since the run's start, displayed numbers of calls and lines (from 1)."""

    def seconds(moment: int | None) -> float | None:
        return None if moment is None else round((moment - timeline.start_ns) / 1e9, 6)

    def saying(said: Saying | None) -> dict[str, Any] | None:
        return None if said is None else {"text": said.text, "log": said.log + 1, "bad": said.bad}

    def bar(each: Bar) -> dict[str, Any]:
        return {
            "pid": each.pid,
            "role": str(each.role) or None,
            "name": each.name,
            "start_s": seconds(each.start_ns),
            "end_s": seconds(each.end_ns),
            "calls": each.calls,
            "failed": each.failed,
            "lost": each.lost,
            "in_calls_s": round(each.in_calls_ns / 1e9, 6),
            "first_call": None if each.first_call is None else each.first_call + 1,
            "opened_driver": each.opened_driver,
            "ending": each.ending,
            "ending_kind": each.ending_kind,
            "limit_s": each.limit.seconds if each.limit else None,
            "result": saying(each.result),
        }

    return {
        "run": timeline.run,
        "era": timeline.era,
        "passes": [
            {
                "kind": each.kind,
                "folder": each.folder or None,
                "start_s": seconds(each.start_ns),
                "end_s": seconds(each.end_ns),
                "used_s": round(each.used_ns / 1e9, 6),
                "limit": each.limit.what,
                "limit_s": each.limit.seconds,
                "overrun": each.overrun,
                "share": None if each.share is None else round(each.share, 4),
                "in_calls_s": None if each.in_calls_ns is None else round(each.in_calls_ns / 1e9, 6),
                "processes": [bar(one) for one in each.bars],
                "notes": [saying(note) for note in each.notes],
            }
            for each in timeline.passes
        ],
        "others": [bar(each) for each in timeline.others],
        "verdict": saying(timeline.verdict),
        "installed": list(timeline.installed),
        "warnings": list(timeline.warnings),
        "wrong_libraries": [each.as_json() for each in timeline.wrong],
    }
