"""The timeline drawn in character cells, for the pane and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.views.timeline import TIGHT, Bar, EndingKind, Pass, Timeline

LABEL = 21
"""Columns of pid and role before the bars."""

GAUGE = 10
"""Cells of the gauge that shows a pass against its limit."""

_INKS: dict[EndingKind, str] = {
    "alive": "warn",
    "ok": "ok",
    "on-purpose": "ok",
    "failed": "error",
    "unknown": "dim",
}
_TITLES = {"bootstrap": "first pass", "validation": "validation", "refresh": "refresh", "load": "model load"}


@dataclass(frozen=True)
class Row:
    """A line: parts of (text, ink), and the call's row or the log's line it is about."""

    parts: tuple[tuple[str, str], ...]
    call: int | None = None
    log: int | None = None

    @property
    def text(self) -> str:
        """Without colours."""
        return "".join(text for text, _ in self.parts).rstrip()


def rows(timeline: Timeline, width: int) -> list[Row]:
    """The whole picture, `width` cells wide; texts longer than that are not cut."""
    width = max(width, LABEL + 12)
    drawn: list[Row] = [_head(timeline)]
    drawn += [Row((("  ", "plain"), (line, "dim"))) for line in timeline.installed]
    drawn += [Row((("warning ", "warn"), (line, "warn"))) for line in timeline.warnings]
    drawn += [Row((("WARNING ", "fatal"), (wrong.text, "error"))) for wrong in timeline.wrong]
    if timeline.bars:
        drawn.append(_axis(timeline, width))
    for bar in timeline.others:
        drawn += _bar(timeline, bar, None, width)
    for each in timeline.passes:
        drawn.append(_pass(each, width))
        for bar in each.bars:
            drawn += _bar(timeline, bar, each, width)
        drawn += [Row(((" " * 9, "plain"), (note.text, "warn")), log=note.log) for note in each.notes]
    return drawn


def duration_text(nanoseconds: float) -> str:
    """In the unit that suits it, three digits."""
    seconds = nanoseconds / 1e9
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    if seconds >= 10:
        return f"{seconds:.1f} s"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} us"


def limit_text(seconds: float) -> str:
    """30 s, 5 min."""
    return f"{seconds / 60:g} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds:g} s"


def _head(timeline: Timeline) -> Row:
    parts = [(f"run {timeline.run}", "head")]
    if timeline.era:
        parts.append((f"  Ollama {timeline.era}", "plain"))
    if timeline.verdict is not None:
        parts += [("  ", "plain"), (timeline.verdict.text, "error" if timeline.verdict.bad else "ok")]
    return Row(tuple(parts), log=timeline.verdict.log if timeline.verdict else None)


def _scale(timeline: Timeline, width: int) -> tuple[int, float]:
    """Cells there are, and how many of them a nanosecond takes."""
    cells = width - LABEL - 1
    return cells, cells / max(timeline.horizon_ns - timeline.start_ns, 1)


def _axis(timeline: Timeline, width: int) -> Row:
    """Ticks at round times, as many as fit."""
    cells, scale = _scale(timeline, width)
    length = max(timeline.horizon_ns - timeline.start_ns, 1)
    step = 1_000_000.0
    for factor in (2, 2.5, 2) * 6:
        if length / step <= max(cells // 10, 1):
            break
        step *= factor
    line = [" "] * cells
    moment = 0.0
    while moment <= length:
        at = int(moment * scale)
        text = "0" if moment == 0 else duration_text(moment)
        if at + len(text) + 1 <= cells:
            line[at : at + len(text) + 1] = "╷" + text
        moment += step
    return Row(((" " * LABEL, "plain"), ("".join(line), "dim")))


def _pass(each: Pass, width: int) -> Row:
    title = _TITLES[each.kind] + (f" {each.folder}" if each.folder else "")
    parts = [(f"{title:<22} ", "head")]
    share, limit = each.share, each.limit.seconds
    if share is None or limit is None:
        parts.append((f"{duration_text(each.used_ns)}, no limit", "plain"))
    else:
        ink = "fatal" if each.overrun else "warn" if share >= TIGHT else "ok"
        full = min(int(share * GAUGE + 0.5), GAUGE)
        parts += [("█" * full, ink), ("·" * (GAUGE - full) + "│", "dim")]
        over = " OVERRUN" if each.overrun else ""
        parts.append((f" {duration_text(each.used_ns)} of {limit_text(limit)}, {share:.0%}{over}", ink))
    if each.in_calls_ns:
        parts.append((f"  shim {duration_text(each.in_calls_ns)}", "dim"))
    return Row(tuple(parts))


def _bar(timeline: Timeline, bar: Bar, of: Pass | None, width: int) -> list[Row]:
    cells, scale = _scale(timeline, width)
    begin = min(max(int((bar.start_ns - timeline.start_ns) * scale), 0), cells - 1)
    end_ns = bar.end_ns if bar.end_ns is not None else timeline.now_ns
    goes_on = end_ns > timeline.horizon_ns
    end = min(max(int((end_ns - timeline.start_ns) * scale + 0.5), begin + 1), cells)
    line = [" "] * cells
    line[begin:end] = ["█"] * (end - begin)
    if goes_on:
        line[cells - 1] = "→"
    ink = _INKS[bar.ending_kind]
    label = f"{bar.pid:>7} {bar.label:.12} "
    parts = [(f"{label:<{LABEL}}", "name")]
    mark = _limit_mark(timeline, bar, of, scale, cells)
    if mark is None:
        parts.append(("".join(line), ink))
    else:
        parts += [("".join(line[:mark]), ink), ("┊", "fatal"), ("".join(line[mark + 1 :]), ink)]
    rest = [(" " * 9, "plain"), (f"{bar.calls:,}".replace(",", " ") + " calls", "plain")]
    if bar.failed:
        rest.append((f", {bar.failed} failed", "dim"))
    if bar.lost:
        rest.append((f", {bar.lost} LOST", "fatal"))
    if bar.in_calls_ns:
        rest.append((f" in {duration_text(bar.in_calls_ns)}", "dim"))
    took = f" after {duration_text(end_ns - bar.start_ns)}"
    if bar.limit is not None and bar.limit.seconds:
        took += f" of {limit_text(bar.limit.seconds)}"
    rest += [("  ", "plain"), (bar.ending, ink), (took, "dim")]
    if bar.result is not None:
        rest += [("  ", "plain"), (bar.result.text, "error" if bar.result.bad else "ok")]
    log = bar.result.log if bar.result else None
    return [Row(tuple(parts), bar.first_call, log), Row(tuple(rest), bar.first_call, log)]


def _limit_mark(timeline: Timeline, bar: Bar, of: Pass | None, scale: float, cells: int) -> int | None:
    """The cell at which this bar's pass, or the process itself, would hit its limit; None off the axis."""
    marks = []
    if of is not None and of.limit.seconds:
        marks.append(of.start_ns + of.limit.seconds * 1e9)
    if bar.limit is not None and bar.limit.seconds:
        marks.append(bar.start_ns + bar.limit.seconds * 1e9)
    at = int((min(marks) - timeline.start_ns) * scale) if marks else cells
    return at if at < cells else None
