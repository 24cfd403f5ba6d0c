"""A session in one object: runs, processes, calls, errors, symbols, and whether the GPU was used."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sessions import FIRST_PSEUDO_FUNCTION, Pseudo
from sessions.decode import INTERNAL, UNRETURNED, CallDecoder
from workbench.target.roles import is_kernel_probe, role_of
from workbench.views.coverage import Coverage
from workbench.views.log import HEAD_BYTES, numbered_lines, of_run
from workbench.views.mapped import wrong_libraries

if TYPE_CHECKING:
    from sessions import Process, Session
    from sessions.events import Event

BATCH = 1 << 20
_SIZE = 1 << 16
_LAUNCHES = (
    "cuLaunchKernel",
    "cuLaunchKernelEx",
    "cuLaunchCooperativeKernel",
    "cuGraphLaunch",
)

Mode = Literal["gpu", "cpu", "not-executed", "load-failed", "unknown"]
"""gpu: it computes there; not-executed: it would, but no kernel is executed; load-failed: a GPU was found,
and no model gets onto it."""

DEVICE_COUNTS = "the forwarder's device counts launches and executes none"
_PATIENCE_NS = 2_000_000_000
"""So long after a launch a forwarder that counts none has executed none."""


@dataclass(frozen=True)
class ModeEvidence:
    """One thing that speaks for a mode: a call's row index, a line of the log, or an event."""

    mode: Mode
    text: str
    call: int | None = None
    log: int | None = None


@dataclass(frozen=True)
class GpuMode:
    """Whether the target computed on the GPU, with what shows it, the weightiest first."""

    mode: Mode
    evidence: list[ModeEvidence] = field(default_factory=list)


#: What the target says of itself: how heavy, the pattern, and the mode (None: by the first group,
#: a number that is 0 on a CPU).
_SAYINGS: tuple[tuple[int, re.Pattern[bytes], Mode | None], ...] = (
    (4, re.compile(rb"offloaded (\d+)/\d+ layers to GPU"), None),
    # A server that Ollama starts without a backend for the GPU, as for num_gpu 0, says no more than this.
    (4, re.compile(rb"no usable GPU found, --gpu-layers option will be ignored"), "cpu"),
    (3, re.compile(rb"inference compute.* library=(?:CUDA|cuda)\b"), "gpu"),
    (3, re.compile(rb"inference compute.* library=cpu\b"), "cpu"),
    (3, re.compile(rb"no compatible GPUs were discovered"), "cpu"),
    (2, re.compile(rb"using device CUDA\d+"), "gpu"),
    (1, re.compile(rb"ggml_cuda_init: found (\d+) CUDA devices"), None),
    (1, re.compile(rb"ggml_cuda_init: failed to initialize CUDA"), "cpu"),
    (1, re.compile(rb"load_backend: failed to load .*ggml-cuda"), "cpu"),
)
_LOAD_BEGUN = rb'msg="?(?:starting (?:llama-server|llama server|runner)|loading model via llama-server)'
_LOADED = rb"(?:llama-server|llama runner) started in "
_LOAD_FAILED = rb'msg="?(?:Load failed|llama-server terminated|llama runner terminated)'
_LOADING = re.compile(rb"(?P<begun>%s)|(?P<loaded>%s)|(?P<failed>%s)" % (_LOAD_BEGUN, _LOADED, _LOAD_FAILED))
_ANY_SAYING = re.compile(b"|".join([*(pattern.pattern for _, pattern, _ in _SAYINGS), _LOADING.pattern]))
_LEFT = re.compile(r"\d+ calls, (\d+) launches")


class GpuModeTracker:
    """The mode of the newest run, kept up to date: update() looks only at what is new."""

    def __init__(self, run: int | None = None) -> None:
        self.wanted_run = run
        self.run = -1
        self._session: Session | None = None
        self._lines = 0
        self._calls = 0
        self._events = 0
        self._reset()

    def _reset(self) -> None:
        self._said: dict[int, ModeEvidence] = {}
        self._launch: ModeEvidence | None = None
        self._launched_ns = 0
        self._not_executed: ModeEvidence | None = None
        self._loading = False
        self._load_failed: ModeEvidence | None = None
        self._launches_of: dict[int, tuple[int, int]] = {}  # pid -> when, and how many its forwarder told

    def update(self, session: Session, stop: int | None = None, lines: int | None = None) -> bool:
        """Take in what has been recorded since, calls up to `stop` and as many `lines`; True if there was
        anything."""
        if session is not self._session:
            self._session, self._lines, self._calls, self._events, self.run = session, 0, 0, 0, -1
            launches = [session.schema.function_id(name) for name in _LAUNCHES]
            launches += [session.schema.function_id(f"{name}_ptsz") for name in _LAUNCHES]
            self._is_launch = np.zeros(_SIZE, bool)
            self._is_launch[[number for number in launches if number is not None]] = True
        run = self.wanted_run
        if run is None:
            run = session.newest_run
        changed = run != self.run
        if changed:
            self.run = run
            self._reset()
            self._events = 0  # a forwarder may have said what it is before the run began
        mine = {p.index for p in session.processes if p.run == run and not _discovers(session, p)}
        changed |= self._take_calls(session, mine, len(session.calls) if stop is None else stop)
        changed |= self._take_lines(session, len(session.log) if lines is None else lines)
        changed |= self._take_events(session.events)
        return changed

    @property
    def mode(self) -> GpuMode:
        """What all evidence so far comes to."""
        evidence = [self._said[weight] for weight in sorted(self._said, reverse=True)]
        if self._launch is not None:
            evidence.insert(0, self._launch)
        if not evidence:
            return GpuMode("unknown")
        if evidence[0].mode == "gpu":
            for against in (self._load_failed, self._not_executed, self._none_executed()):
                if against is not None:
                    return GpuMode(against.mode, [against, *evidence])
        return GpuMode(evidence[0].mode, evidence)

    def _none_executed(self) -> ModeEvidence | None:
        """A forwarder that counts no launch of the process whose launches were answered with success."""
        if self._launch is None or self._launch.call is None or self._session is None:
            return None
        process = self._session.processes[self._session.calls.row(self._launch.call).process]
        told, launches = self._launches_of.get(process.pid, (0, 1))
        if launches or told < self._launched_ns or self._waits(process.index):
            return None
        # It tells when something changes: silence since says that nothing did.
        now = max(self._session.now_ns(), self._session.events[-1].time_ns)
        if now < self._launched_ns + _PATIENCE_NS:
            return None
        text = f"the forwarder executed no launch of {process.pid}, though they succeeded"
        return ModeEvidence("not-executed", text)

    def _waits(self, process: int) -> bool:
        """Is a call of it under way, or was one when it ended? The kernel may not be done."""
        session = self._session
        assert session is not None
        if any(call.process == process for call in session.in_flight()):
            return True
        total = len(session.calls)
        last = session.calls.columns(max(0, total - 4096), total, ("process", "flags"))
        return bool((last["flags"][last["process"] == process] & UNRETURNED).any())

    def _take_calls(self, session: Session, mine: set[int], total: int) -> bool:
        before = self._calls
        while self._calls < total:
            stop = min(self._calls + BATCH, total)
            if self._launch is None:
                part = session.calls.part(self._calls, stop).of(mine)
                launches = part.places(self._is_launch)
                launches = launches[part.column("result")[launches] == 0]
                if len(launches):
                    first = int(launches[0])
                    row = part.row(first)
                    self._launched_ns = part.pick(("time",), launches[:1])["time"][0]
                    name = session.schema.function_name(int(part.column("function")[first]))
                    self._launch = ModeEvidence("gpu", f"call {row + 1}: {name} succeeded", call=row)
            self._calls = stop
        return total != before

    def _take_lines(self, session: Session, total: int) -> bool:
        before = self._lines
        for number, line in numbered_lines(session, before, total):
            head = line.text[:HEAD_BYTES]
            if line.role not in ("target", "exercise") or not _ANY_SAYING.search(head):
                continue
            if not of_run(session, line, self.run):
                continue
            if (step := _LOADING.search(head)) is not None:
                self._take_load(step, number)
            for weight, pattern, mode in _SAYINGS:
                found = pattern.search(head)
                if found is None:
                    continue
                said: Mode = mode or ("gpu" if int(found[1]) else "cpu")
                text = f"log {number + 1}: {found[0].decode('utf-8', 'replace')}"
                self._said[weight] = ModeEvidence(said, text, log=number)
        self._lines = total
        return total != before

    def _take_load(self, step: re.Match[bytes], number: int) -> None:
        """A load that fails takes back that a GPU was found; a crash after it was loaded does not."""
        if step["begun"]:
            self._loading = True
        elif step["loaded"]:
            self._loading, self._load_failed = False, None
        elif self._loading:
            text = (
                f"log {number + 1}: {step[0].decode('utf-8', 'replace').removeprefix('msg=').strip(chr(34))}"
            )
            self._load_failed = ModeEvidence("load-failed", text, log=number)

    def _take_events(self, events: list[Event]) -> bool:
        before, self._events = self._events, len(events)
        for event in events[before:]:
            if event.kind != "host":
                continue
            self._take_launches(event)
            if "device" in event.fields:
                device = event.fields["device"]
                counting = device == "count-only"
                if isinstance(device, dict):
                    counting = device.get("executes_kernels") is False
                self._not_executed = ModeEvidence("not-executed", DEVICE_COUNTS) if counting else None
        return before != self._events

    def _take_launches(self, event: Event) -> None:
        """How many launches a forwarder has seen of a client, as it tells now and then and at its end."""
        fields = event.fields
        left = _LEFT.search(str(fields.get("text", ""))) if fields.get("event") == "left" else None
        if left is not None and isinstance(fields.get("pid"), int):
            self._launches_of[fields["pid"]] = (event.time_ns, int(left[1]))
        clients = fields.get("clients")
        for client in clients if isinstance(clients, list) else ():
            if isinstance(client, dict) and isinstance(client.get("pid"), int) and "launches" in client:
                self._launches_of[client["pid"]] = (event.time_ns, int(client["launches"] or 0))


def _discovers(session: Session, process: Process) -> bool:
    """Whether it only looks for devices: what it launches is no sign that a model computes there."""
    if is_kernel_probe(process.argv):
        return True
    parent = process.parent_index
    known = 0 <= parent < len(session.processes)
    return role_of(process.argv, session.processes[parent].argv if known else ()).discovers


def gpu_mode(session: Session, run: int | None = None) -> GpuMode:
    """Whether the target computed on the GPU in a run (the newest unless told), with the evidence."""
    tracker = GpuModeTracker(run)
    tracker.update(session)
    return tracker.mode


def errors(session: Session) -> list[dict[str, Any]]:
    """Failed calls by function and result, most first: function, result, count, first_call (number)."""
    counts: Counter[tuple[int, int]] = Counter()
    first: dict[tuple[int, int], int] = {}
    total = len(session.calls)
    for start in range(0, total, BATCH):
        columns = session.calls.columns(start, min(start + BATCH, total), ("function", "result", "flags"))
        function, result = columns["function"].astype(np.int64), columns["result"].astype(np.int64)
        failed = (result != 0) & (function < FIRST_PSEUDO_FUNCTION)
        failed &= (columns["flags"] & (INTERNAL | UNRETURNED)) == 0
        rows = np.flatnonzero(failed)
        keys = (function[rows] << 32) | (result[rows] & 0xFFFFFFFF)
        found, places, times = np.unique(keys, return_index=True, return_counts=True)
        for key, place, count in zip(found.tolist(), places.tolist(), times.tolist(), strict=True):
            value = key & 0xFFFFFFFF
            pair = key >> 32, value - (1 << 32) if value >> 31 else value
            counts[pair] += count
            first.setdefault(pair, start + int(rows[place]) + 1)
    decoder = CallDecoder(session.schema)
    return [
        {
            "function": session.schema.function_name(function),
            "result": decoder.result_text(function, result),
            "count": count,
            "first_call": first[function, result],
        }
        for (function, result), count in counts.most_common()
    ]


def tally(session: Session) -> dict[str, int]:
    """How many records there are of each kind: calls of the API, the shim's calls of itself through the
    tap, calls through export tables, lookups (dlsym, dlopen, loading)."""
    calls = internal = table = lookups = 0
    total = len(session.calls)
    for start in range(0, total, BATCH):
        columns = session.calls.columns(start, min(start + BATCH, total), ("function", "flags"))
        # An export that the model does not know is called like any other.
        function = columns["function"]
        is_call = (function < FIRST_PSEUDO_FUNCTION) | (function == Pseudo.UNKNOWN)
        is_internal = is_call & ((columns["flags"] & INTERNAL) != 0)
        is_table = function == Pseudo.TABLE_SLOT
        internal += int(np.count_nonzero(is_internal))
        calls += int(np.count_nonzero(is_call & ~is_internal))
        table += int(np.count_nonzero(is_table))
        lookups += int(np.count_nonzero(~is_call & ~is_table))
    return {"calls": calls, "internal_calls": internal, "table_calls": table, "lookups": lookups}


def unrecorded(session: Session) -> list[dict[str, Any]]:
    """Processes whose calls are not recorded, those of one program and reason together."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for process in session.processes:
        if process.unrecorded:
            program = process.argv[0] if process.argv else process.exe
            row = found.setdefault(
                (program, process.unrecorded),
                {
                    "program": program,
                    "command": process.argv,
                    "pids": [],
                    "why": process.unrecorded,
                    "advice": process.advice or None,
                },
            )
            row["pids"].append(process.pid)
    return list(found.values())


def summarize(session: Session) -> dict[str, Any]:
    """Everything `shimbench run --json` says of a session; plain JSON.

    runs, processes (with how they ended), unrecorded (processes that no tap could speak for: command, pids,
    why, advice), calls and what else is recorded (tally()), lost,
    calls_by_function, errors, symbols (asked, answered, missing: of the newest run), in_flight,
    wrong_libraries (mapped instead of those of the run), gpu_mode with its evidence.
    """
    coverage = Coverage()
    coverage.update(session)
    asked = [row for row in coverage.rows() if row.asked]
    mode = gpu_mode(session)
    return {
        "runs": [_run(event, session) for event in session.events if event.kind == "run"],
        "processes": [
            {
                "pid": process.pid,
                "ppid": process.ppid,
                "command": process.argv,
                "run": process.run,
                "role": process.role,
                "exit_code": process.exit_code,
                "signal": process.signal,
                "lost": process.lost,
                "unrecorded": process.unrecorded or None,
                "maps": [{"path": m.path, "soname": m.soname} for m in process.maps],
            }
            for process in session.processes
        ],
        "unrecorded": unrecorded(session),
        **tally(session),
        "lost": session.lost,
        "log_lines": len(session.log),
        "calls_by_function": {row.name: row.calls for row in coverage.rows() if row.calls},
        "errors": errors(session),
        "symbols": {
            "asked": len(asked),
            "answered": sum(row.answered for row in asked),
            "missing": [
                {
                    "name": row.name,
                    "effect": row.effect,
                    "error": row.error,
                    "asked_by": sorted({entry.by for entry in row.asked if entry.answered is None}),
                    "source": row.reason,
                }
                for row in asked
                if not row.answered
            ],
        },
        "in_flight": [
            {
                "function": session.schema.function_name(call.function),
                "pid": session.processes[call.process].pid,
                "thread": call.thread,
                "age_s": round(call.age_ns / 1e9, 3),
            }
            for call in session.in_flight()
        ],
        "wrong_libraries": [wrong.as_json() for wrong in wrong_libraries(session)],
        "gpu_mode": mode.mode,
        "gpu_mode_evidence": [asdict(piece) for piece in mode.evidence],
    }


def _run(event: Event, session: Session) -> dict[str, Any]:
    number = event.fields.get("run")
    ends = [e.fields for e in session.events if e.kind == "run-end" and e.fields.get("run") == number]
    end = ends[-1] if ends else {}
    return {
        "run": number,
        "reason": event.fields.get("reason"),
        "command": event.fields.get("command"),
        "shim": event.fields.get("shim"),
        "shim_id": event.fields.get("shim_id"),
        "exit_code": end.get("exit_code"),
        "signal": end.get("signal"),
    }
