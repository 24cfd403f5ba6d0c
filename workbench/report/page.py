"""report.html: one page that needs no network and no script, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

import numpy as np

from workbench.report.facts import ReportFacts, RunFacts

_STYLE = """
:root { color-scheme: light dark; --ok: #2a7d2e; --bad: #b3261e; --warn: #9a6700; --line: #8884;
  --soft: #8882; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 62rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
pre, code, td.call { font: .85rem/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; background: var(--soft); padding: .6rem; border-radius: .3rem; }
code, td { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .15rem .6rem .15rem 0;
  border-top: 1px solid var(--line); vertical-align: top; }
.wall { border-left: .3rem solid var(--bad); padding: .2rem .8rem; margin: 1rem 0; background: var(--soft); }
.wall, li { overflow-wrap: anywhere; } .scroll { overflow-x: auto; } .scroll svg { min-width: 40rem; }
.ok { color: var(--ok); } .bad { color: var(--bad); } .warn { color: var(--warn); } .dim { opacity: .7; }
svg { width: 100%; height: auto; } svg text { fill: currentColor; }
.shot { overflow-x: auto; }
.shot svg { min-width: 50rem; border: 1px solid var(--line); }
details { margin: .5rem 0; } summary { cursor: pointer; }
"""
_MODES = {
    "gpu": ("GPU mode", "ok"),
    "cpu": ("CPU mode", "bad"),
    "load-failed": ("GPU found, loading the model fails", "bad"),
    "not-executed": ("GPU, kernels not executed", "warn"),
    "unknown": ("mode not known", "warn"),
}
_BINS = 160
_ENDINGS = {"ok": "ok", "on-purpose": "ok", "alive": "ok", "failed": "bad", "unknown": "warn"}
_COLOURS = {"ok": "#4c9f50", "bad": "#d0463b", "warn": "#c99a2e"}


def page(facts: ReportFacts, screenshots: Sequence[tuple[str, str]] = ()) -> str:
    """The page. `screenshots` are titles and SVG documents of the workbench's panes."""
    return "".join(_page(facts, screenshots))


def _page(facts: ReportFacts, screenshots: Sequence[tuple[str, str]]) -> Iterator[str]:
    session = facts.session
    mode, ink = _MODES.get(facts.gpu_mode, (facts.gpu_mode, "warn"))
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>shimbench report: {escape(mode)}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1>shimbench report: <span class="{ink}">{escape(mode)}</span></h1>'
    yield (
        f"<p>Runs: {len(facts.runs)}. Processes: {len(session.processes)}. Calls: {len(session.calls)}, "
        f"lost: {session.lost}. Log lines: {len(session.log)}.</p>"
    )
    yield from _walls(facts)
    yield "<h2>Time line</h2>"
    yield f'<div class="scroll">{time_line(facts)}</div>'
    if facts.timeline.bars:
        yield "<h2>Processes of the last run</h2>"
        yield _processes(facts)
    yield "<h2>Runs</h2>" + _table(
        ("run", "mode", "calls", "failed", "end", "first wall, exercise"), map(_run_row, facts.runs)
    )
    yield "<h2>First errors</h2>"
    rows = ((str(number), f'<td class="call">{escape(text)}') for number, text in facts.first_errors)
    yield _table(("call", "what"), rows) if facts.first_errors else "<p>No call of the last run failed.</p>"
    yield from _coverage(facts)
    yield "<h2>Log</h2><pre>"
    yield "\n".join(f"{number:>6}  {escape(text)}" for number, text in facts.excerpt) or "no lines"
    yield "</pre>"
    if facts.diff:
        yield f"<h2>Edits between runs</h2><pre>{escape(facts.diff)}</pre>"
    for title, picture in screenshots:
        yield f'<h2>{escape(title)}</h2><div class="shot">{picture}</div>'
    yield "<h2>Versions</h2>" + _table(
        ("", ""), ((escape(name), escape(value)) for name, value in facts.versions.items())
    )
    yield "</body></html>\n"


def _walls(facts: ReportFacts) -> Iterator[str]:
    walls = [each for each in facts.explanation.diagnoses if each.consequence_of is None]
    for wall in walls:
        yield f'<div class="wall"><strong>{escape(wall.what)}</strong> '
        yield f'<span class="dim">({wall.certainty})</span><br>'
        yield f"{escape(wall.cause)}"
        if wall.fix:
            yield f"<br><strong>fix:</strong> {escape(wall.fix)}"
        yield "<ul>" + "".join(f"<li>{escape(piece.text)}</li>" for piece in wall.evidence) + "</ul></div>"
    for piece in [] if walls else facts.explanation.unexplained:
        yield f"<p>{escape(piece.text)}</p>"


def time_line(facts: ReportFacts) -> str:
    """Calls a second over the session as an SVG, with runs, builds and marks."""
    session = facts.session
    total = len(session.calls)
    moments = [event.time_ns for event in session.events] + [1]
    counts, errors, end = np.zeros(_BINS), np.zeros(_BINS), max(moments)
    for start in range(0, total, 1 << 20):
        columns = session.calls.columns(start, min(start + (1 << 20), total), ("time",))
        end = max(end, int(columns["time"].max()))
    for start in range(0, total, 1 << 20):
        stop = min(start + (1 << 20), total)
        columns = session.calls.columns(start, stop, ("time", "result"))
        bins = np.clip(columns["time"].astype(np.int64) * _BINS // (end + 1), 0, _BINS - 1)
        counts += np.bincount(bins, minlength=_BINS)
        errors += np.bincount(bins[columns["result"] != 0], minlength=_BINS)
    tallest = max(float(np.log1p(counts).max()), 1.0)
    parts = ['<svg viewBox="0 0 800 150" role="img" aria-label="calls over time">']
    for place in range(_BINS):
        for number, colour in ((counts[place], "#6b8fd6"), (errors[place], _COLOURS["bad"])):
            if number:
                height = 100 * float(np.log1p(number)) / tallest
                parts.append(
                    f'<rect x="{place * 5}" y="{110 - height:.1f}" width="4" height="{height:.1f}" '
                    f'fill="{colour}"><title>{int(number)} calls</title></rect>'
                )
    for event in session.events:
        if event.kind in ("run", "build", "mark"):
            x = 800 * event.time_ns / end
            bad = event.kind == "build" and not event.fields.get("ok")
            name = f"run {event.fields.get('run')}" if event.kind == "run" else event.kind
            colour = _COLOURS["bad"] if bad else "currentColor"
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="114" stroke="{colour}" stroke-dasharray="3"/>'
            )
            if event.kind == "run":
                parts.append(f'<text x="{min(x + 3, 760):.1f}" y="10" font-size="11">{escape(name)}</text>')
    parts.append(
        f'<text x="0" y="128" font-size="12">0 s</text><text x="800" y="128" font-size="12" '
        f'text-anchor="end">{end / 1e9:.1f} s</text><text x="0" y="146" font-size="11">'
        "calls by time, on a logarithmic scale; red: those that failed</text></svg>"
    )
    return "".join(parts)


def _processes(facts: ReportFacts) -> str:
    """Each process as a bar, with its calls and its end."""
    bars = facts.timeline.bars[:60]
    start = facts.timeline.start_ns
    span = max(facts.timeline.now_ns - start, 1)
    parts = [f'<svg viewBox="0 0 800 {len(bars) * 20 + 8}" role="img" aria-label="processes over time">']
    for number, bar in enumerate(bars):
        x = 260 + 530 * (bar.start_ns - start) / span
        width = max(530 * ((bar.end_ns or facts.timeline.now_ns) - bar.start_ns) / span, 2)
        colour = _COLOURS[_ENDINGS.get(bar.ending_kind, "warn")]
        y = number * 20
        title = f"{bar.label}, pid {bar.pid}: {bar.calls} calls, {bar.failed} failed, {bar.ending}"
        parts.append(
            f'<text x="0" y="{y + 14}" font-size="12">{escape(f"{bar.label} {bar.pid}"[:38])}</text>'
            f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="12" rx="2" fill="{colour}">'
            f"<title>{escape(title)}</title></rect>"
        )
    return f'<div class="scroll">{"".join(parts)}</svg></div>' + _table(
        ("process", "calls", "failed", "end"),
        (
            (escape(f"{bar.label} {bar.pid}"), str(bar.calls), str(bar.failed), escape(bar.ending))
            for bar in bars
        ),
    )


def _run_row(run: RunFacts) -> tuple[str, ...]:
    last = "; ".join(part for part in (run.wall, run.outcome) if part)
    numbers = str(run.run), escape(run.gpu_mode), str(run.calls), str(run.failed)
    return (*numbers, escape(run.ended), escape(last))


def _coverage(facts: ReportFacts) -> Iterator[str]:
    missing = [row for row in facts.coverage if row.asked and not row.answered]
    answered = len([row for row in facts.coverage if row.answered])
    yield f"<h2>Coverage</h2><p>{answered} names answered, {len(missing)} asked for and not answered.</p>"
    grave = [row for row in missing if row.effect != "harmless"]
    rest = [row for row in missing if row.effect == "harmless"]
    if grave:
        asked = [", ".join(sorted({each.by for each in row.asked})) for row in grave]
        yield _table(
            ("name", "its absence", "asked by"),
            (
                (f"<code>{escape(row.name)}</code>", escape(row.effect), escape(by))
                for row, by in zip(grave, asked, strict=True)
            ),
        )
    if rest:
        names = " ".join(f"<code>{escape(row.name)}</code>" for row in rest)
        yield f"<details><summary>{len(rest)} harmless ones</summary><p>{names}</p></details>"
    rows = (
        (
            f"<code>{escape(use.name)}</code>",
            str(use.calls),
            escape(", ".join(f"{count} x {result}" for result, count in use.results[:4])),
        )
        for use in facts.functions
    )
    yield "<details><summary>functions called in the last run</summary>"
    yield _table(("function", "calls", "results"), rows) + "</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML; one that begins with <td brings its own."""
    parts = ["<table>"]
    if any(head):
        parts.append("<tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>")
    for row in rows:
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}" for cell in row)
        parts.append(f"<tr>{cells}</tr>")
    return "".join([*parts, "</table>"])
