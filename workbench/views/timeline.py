"""The road to a GPU in time: each process of a run as a bar, Ollama's passes around them, and its limits.

Everything is derived from the session: roles from command lines, environment and parents
(target/roles.py), calls and the time in them from the records, results from the processes' own lines.
Programs that are no Ollama get plain bars. Times are ns since the session's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from workbench.target.roles import Era, Limit, PassKind, Role
from workbench.views.mapped import WrongLibrary

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
