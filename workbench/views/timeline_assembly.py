"""One run of a session put together as a timeline, from what was counted of its processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from workbench.target.roles import (
    NATIVE_PROBE,
    PassKind,
    Role,
    era_of,
    library_folder,
    limit_of,
    pass_kind,
    program_name,
    role_of,
)
from workbench.views.mapped import wrong_libraries
from workbench.views.timeline import Bar, EndingKind, Pass, Timeline
from workbench.views.timeline_tally import Tallies, Tally, Told

if TYPE_CHECKING:
    from sessions import Process, Session

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)


class Assembly:
    """One run put together."""

    def __init__(self, session: Session, tallies: Tallies, run: int | None) -> None:
        self.session = session
        self.run = session.newest_run if run is None else run
        self.tallies = tallies.processes
        self.told = tallies.told.get(self.run, Told())
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
        tally = self.tallies.get(process.index, Tally())
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

    def _ending(self, process: Process, role: Role, tally: Tally) -> tuple[EndingKind, str]:
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
