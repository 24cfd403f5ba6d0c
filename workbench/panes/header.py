"""The two lines on top: which shim runs under what, and how far the run came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.panes.format import count_text, duration_text, elide, ended_words
from workbench.panes.parts import Ink, Inked, Part, parts_text

if TYPE_CHECKING:
    from sessions import Session
    from workbench.loop import LoopStatus
    from workbench.views.stages import Stage

_MODES: dict[str, tuple[str, Ink]] = {
    "gpu": ("GPU", "ok"),
    "cpu": ("CPU FALLBACK", "error"),
    "not-executed": ("GPU, kernels not executed", "fatal"),
    "load-failed": ("GPU FOUND, LOAD FAILS", "error"),
    "unknown": ("GPU mode not known yet", "dim"),
}


@dataclass(frozen=True)
class HeaderFacts:
    """What the first line says; the same for a live session and a saved one."""

    run: int = 0
    shim: str = "none"  # state: ok, building, failed, none
    shim_detail: str = ""  # time and build id
    host: str = "none"
    target: str = ""
    processes: int = 0
    alive: bool = False
    calls: int = 0
    lost: int = 0
    disk_full: bool = False
    live: bool = False
    broke_off_ns: int | None = None  # when its writer was gone, without having ended the session
    save_to_call: float | None = None
    run_ns: int | None = None  # since the run began, or how long it took
    ending: str = ""  # how the target ended
    rung: str = ""  # the newest of the ladder, with what was found
    top: str = ""  # the rung to climb to, when that isn't all of it
    driven: str = ""  # what the exercise brought, and what is different from the run before


def header_facts(session: Session, status: LoopStatus | None) -> HeaderFacts:
    """Read from the session's events and processes, and from the loop when there is one."""
    run_event: dict[str, Any] = {}
    build: dict[str, Any] = {}
    save_to_call: float | None = None
    ended: dict[str, Any] | None = None
    began: int | None = None
    stopped: int | None = None
    rung, driven = "", ""
    for event in session.events:
        if event.kind == "run":
            run_event, ended, save_to_call = event.fields, None, None
            rung, driven = "", ""
            began, stopped = event.time_ns, None
        elif event.kind == "build":
            build = event.fields
        elif event.kind == "first-call":
            save_to_call = event.fields.get("seconds_since_save")
        elif event.kind == "rung":
            rung = str(event.fields.get("text") or "")
            rung = f"{event.fields.get('name')} {event.fields.get('state')}: {rung}"
        elif event.kind == "exercise":
            driven = str(event.fields.get("error") or _tokens(event.fields))
        elif event.kind == "run-end":
            ended, stopped = event.fields, event.time_ns
    run = int(run_event.get("run") or max(session.newest_run, 0))
    mine = [process for process in session.processes if process.run == run and process.role in ("", "target")]
    alive = sum(process.ended_ns is None for process in mine)
    shim, detail, host = "none", "", "none"
    if build:
        shim = "ok" if build.get("ok") else "failed"
        detail = f"{float(build.get('seconds') or 0):.1f}s"
    elif run_event.get("shim"):
        shim = "ok"
    if run_event.get("host"):
        host = "ok"
    if status is not None:
        shim, host = status.shim.state, status.host.state
        detail = f"{status.shim.seconds:.1f}s" if status.shim.seconds else detail
    name = (status.shim.build_id if status is not None else None) or run_event.get("shim_id") or ""
    command = run_event.get("command") or (mine[0].argv if mine else [])
    words = [command] if isinstance(command, str) else [str(word) for word in command]
    if words:
        words[0] = words[0].rsplit("/", 1)[-1]
    target, ending = " ".join(words), ""
    if ended is not None and not alive:
        ending = _how_it_ended(ended)
    return HeaderFacts(
        run, shim, f"{detail} {str(name)[:4]}".strip(), host, target, alive if session.live else len(mine),
        bool(alive), len(session.calls), int(session.lost), any(session.lost_to_disk), session.live,
        _last_moment(session, None) if session.broke_off else None,
        save_to_call, None if began is None else max(_last_moment(session, stopped) - began, 0),
        ending, rung, status.top if status is not None and status.top != "tokens" else "", driven,
    )  # fmt: skip


def _how_it_ended(ended: Mapping[str, Any]) -> str:
    """By itself, or because the workbench ended it: that is no failure, whatever signal it took."""
    signal, code = ended.get("signal"), ended.get("exit_code")
    reason = str(ended.get("reason") or "by itself")
    if reason != "by itself" and signal in (None, 9, 15):
        return ended_words(reason)
    return f"killed by signal {signal}" if signal else f"exit {code}" if code else "ended"


def _tokens(fields: Mapping[str, Any]) -> str:
    """What an exercise brought, in few words."""
    tokens, first = fields.get("tokens"), fields.get("first_token_seconds")
    if tokens is None:
        return "exercise ok" if fields.get("ok") else ""
    return f"{tokens} tokens" + (f", first {duration_text(int(first * 1e9))}" if first else "")


def _last_moment(session: Session, stopped: int | None) -> int:
    """When the newest run ended; while it goes on, now; where neither is known, the last call or line."""
    if stopped is not None:
        return stopped
    if session.live:
        return session.now_ns()
    calls, log = len(session.calls), len(session.log)
    last = session.calls.row(calls - 1) if calls else None
    return max(last.time + last.duration if last else 0, session.log.line(log - 1).time_ns if log else 0)


class Bar(Inked, Widget):
    """One row of parts, some at the right end; what doesn't fit is cut at the end of the left."""

    DEFAULT_CSS = "Bar { height: 1; width: 1fr; }"

    @dataclass
    class Clicked(Message):
        """A click on it."""

        bar: Bar

    def on_click(self) -> None:
        """Tell the workbench."""
        self.post_message(self.Clicked(self))

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.left: list[Part] = []
        self.right: list[Part] = []

    def show(self, left: list[Part], right: list[Part] | None = None) -> None:
        """Change what the bar says."""
        if (left, right or []) != (self.left, self.right):
            self.left, self.right = left, right or []
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The bar."""
        width = self.size.width
        right = Strip(self.segments(self.right))
        left = Strip([Segment(" "), *self.segments(self.left)])
        room = width - right.cell_length
        if left.cell_length + 2 > room:  # what stands at the right is worth less
            right, room = Strip([]), width
        strip = Strip.join([left.crop(0, room).extend_cell_length(room), right])
        return strip.adjust_cell_length(width).apply_style(self.rich_style)


@dataclass
class HeaderLine:
    """Words of the first line, shortened step by step until they fit."""

    facts: HeaderFacts
    banner: list[Part] = field(default_factory=list)

    def parts(self, width: int) -> list[Part]:
        """The line for a width."""
        facts = self.facts
        for brief in (False, True):
            rest = len(parts_text(self._parts(0, brief=brief, named=width >= 90))) + 2
            if width - rest >= min(24, len(facts.target)):
                break
        return self._parts(max(width - rest, 8), brief=brief, named=width >= 90)

    def _parts(self, target_width: int, brief: bool, named: bool) -> list[Part]:
        facts = self.facts
        bar: Part = (" | ", "rule")
        inks: dict[str, Ink] = {"ok": "ok", "building": "warn", "failed": "fatal", "none": "dim"}
        parts: list[Part] = [("shimbench", "head"), ("  ", "plain")] if named else []
        parts += [(f"run {facts.run}" if facts.run else "no run yet", "plain")]
        parts += [bar, ("shim ", "dim"), (facts.shim, inks.get(facts.shim, "warn"))]
        if facts.shim_detail:
            parts.append((f" {facts.shim_detail}", "plain"))
        if facts.save_to_call is not None and named:
            parts += [("  first call ", "dim"), (duration_text(int(facts.save_to_call * 1e9)), "plain")]
        parts += [
            bar,
            ("host ", "dim"),
            (facts.host, inks.get(facts.host, "ok" if facts.host == "running" else "error")),
        ]
        count = f"{facts.processes} process{'' if facts.processes == 1 else 'es'}"
        target = elide(facts.target or "none", target_width) if target_width else ""
        parts += [
            bar,
            ("" if brief else "target ", "dim"),
            (target, "plain"),
        ]
        if facts.ending:
            ending = facts.ending.removeprefix("killed by ") if brief else facts.ending
            parts.append((f", {ending}", "dim" if ending.startswith("ended") else "error"))
        else:
            parts.append((f", {facts.processes}p" if brief else f", {count}", "dim"))
        if facts.top:
            parts += [bar, ("top ", "dim"), (facts.top, "warn")]
        if facts.rung.partition(":")[0].endswith("failed"):
            parts += [bar, (elide(facts.rung, 40 if brief or not named else 72), "error")]
        elif facts.driven and not brief:
            parts += [bar, (elide(facts.driven, 40), "plain")]
        parts += [bar, (count_text(facts.calls), "plain"), (" calls ", "dim")]
        if facts.broke_off_ns is not None:  # how many came after is not known
            words = "broke off at" if brief else "recording broke off at"
            parts.append((f"{words} {duration_text(facts.broke_off_ns)}", "fatal"))
            return parts
        lost = f"{count_text(facts.lost)} lost"
        if facts.disk_full:
            lost += " (disk)" if brief else ", DISK FULL"
        parts.append((lost, "fatal" if facts.lost or facts.disk_full else "dim"))
        if not facts.live and not brief:
            parts.append(("  saved", "accent"))
        return parts


def stage_parts(mode: str, stages: Sequence[Stage], width: int) -> list[Part]:
    """`CPU FALLBACK   load ok > symbols ok > TABLES FAILED > init -`, without words where it is narrow."""
    words, ink = _MODES.get(mode, (mode, "warn"))
    parts: list[Part] = [(words, ink)]
    road: list[Part] = []
    for number, stage in enumerate(stages):
        if number:
            road.append((" > ", "dim"))
        if stage.state == "failed":
            road.append((f"{stage.name.upper()} FAILED", "fatal"))
        else:
            road.append((f"{stage.name} {stage.state}", "ok" if stage.state == "ok" else "dim"))
    if len(words) + 3 + len(parts_text(road)) + 2 > width:
        short = {"ok": "ok", "failed": "FAILED", "-": "-"}
        road = []
        for number, stage in enumerate(stages):
            text = stage.name.upper() if stage.state == "failed" else stage.name
            stage_ink: Ink = "fatal" if stage.state == "failed" else "ok" if stage.state == "ok" else "dim"
            road += [(">" if number else "", "dim"), (text, stage_ink)]
            if short[stage.state] == "FAILED":
                road.append((" FAILED", "fatal"))
    return [*parts, ("   " if len(parts_text(road)) + len(words) + 4 < width else " ", "plain"), *road]
