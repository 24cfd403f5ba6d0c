"""report.html: one page that needs no network and no script, readable on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from workbench.report.drawings import processes, time_line
from workbench.report.facts import ReportFacts, RunFacts
from workbench.report.status import first_error
from workbench.report.words import MODES, edited, headline, missing, scope, signs

_STYLE = """
:root { color-scheme: light dark; --ok: #2a7d2e; --bad: #b3261e; --warn: #9a6700; --line: #8884;
  --soft: #8882; }
@media (prefers-color-scheme: dark) { :root { --ok: #7fce83; --bad: #ff8a80; --warn: #e0b040; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 62rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin-bottom: 0; }
pre, code, .call { font: .85rem/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; background: var(--soft); padding: .6rem; border-radius: .3rem; }
pre.log { white-space: pre-wrap; }
ul { padding-left: 1.2rem; } p { margin: .3rem 0; }
.wall { border-left: .3rem solid var(--bad); padding: .2rem .8rem; margin: 1rem 0; background: var(--soft); }
.ok, .add { color: var(--ok); } .bad, .del { color: var(--bad); } .warn { color: var(--warn); }
.dim { opacity: .75; }
.road span { white-space: nowrap; margin-right: .8rem; }
.row { display: flex; gap: .8rem; border-top: 1px solid var(--line); padding: .15rem 0; }
.row > :first-child { flex: 0 0 auto; min-width: 3rem; max-width: 45%; }
.row > :last-child { flex: 1; min-width: 0; }
.life { background: var(--soft); margin: .1rem 0 .5rem; } .life i { display: block; height: .6rem; }
svg { width: 100%; height: auto; } svg text { fill: currentColor; } .line svg { max-width: 46rem; }
.shot { overflow-x: auto; } .shot svg { border: 1px solid var(--line); min-width: 34rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
"""
_INKS = {"gpu": "ok", "cpu": "bad", "load-failed": "bad"}
_STATES = {"ok": ("ok", "ok"), "failed": ("FAILED", "bad")}


def page(facts: ReportFacts, screenshots: Sequence[tuple[str, str]] = ()) -> str:
    """The page. `screenshots` are titles and SVG documents of the workbench's panes."""
    return "".join(_page(facts, screenshots))


def _page(facts: ReportFacts, screenshots: Sequence[tuple[str, str]]) -> Iterator[str]:
    title = escape(headline(facts))
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>shimbench: {title}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1 class="{_INKS.get(facts.gpu_mode.mode, "warn")}">{title}</h1>'
    yield f"<p>{escape(scope(facts))}</p>" + _road(facts)
    yield from _walls(facts)
    yield f'<h2>Time line</h2><div class="line">{time_line(facts)}</div>'
    yield '<p class="dim">Calls by time, on a logarithmic scale; red: those that returned an error.</p>'
    yield "<h2>What was tried</h2>"
    for run in facts.runs:
        yield from _run(facts, run)
    for build in facts.builds:
        if not build.get("ok"):
            yield f'<p class="bad">build {build.get("build")} failed: {escape(first_error(build))}</p>'
    yield "<h2>First errors</h2>"
    yield from _rows(
        (
            str(number),
            f'<span class="call">{escape(text)}</span>' + (f" and {like - 1} like it" if like > 1 else ""),
        )
        for number, text, like in facts.first_errors
    )
    if not facts.first_errors:
        yield "<p>No call of the last run failed.</p>"
    shown = " open" if facts.explanation.walls or facts.explanation.unexplained else ""
    yield f"<h2>Log</h2><details{shown}><summary>{len(facts.excerpt)} of {len(facts.session.log)} lines"
    yield '</summary><pre class="log">'
    yield "\n".join(f"{number:>6} {escape(text)}" for number, text in facts.excerpt) or "no lines"
    yield "</pre></details>"
    yield from _coverage(facts)
    if facts.timeline.bars:
        yield "<h2>Processes of the last run</h2>"
        yield from processes(facts)
    for name, picture in screenshots:
        yield f'<h2>{escape(name)}</h2><div class="shot">{picture}</div>'
    yield "<h2>Versions</h2>"
    yield from _rows((escape(name), escape(value)) for name, value in facts.versions.items())
    yield "</body></html>\n"


def _road(facts: ReportFacts) -> str:
    parts = []
    for stage in facts.stages:
        text, ink = _STATES.get(stage.state, (stage.state, "dim"))
        parts.append(f'<span class="{ink}">{escape(stage.name)} {text}</span>')
    return f'<p class="road">{" ".join(parts)}</p>'


def _walls(facts: ReportFacts) -> Iterator[str]:
    explanation = facts.explanation
    for wall in explanation.walls:
        met = f", in {wall.processes} processes" if wall.processes > 1 else ""
        yield f'<div class="wall"><strong>{escape(wall.what)}</strong> '
        yield f'<span class="dim">({wall.certainty}{met})</span><p>{escape(wall.cause)}</p>'
        if wall.fix:
            yield f"<p><strong>fix:</strong> {escape(wall.fix)}</p>"
        if wall.note:
            yield f'<p class="dim">{escape(wall.note)}</p>'
        follow = [each.what for each in explanation.diagnoses if each.consequence_of == wall.rule]
        said = [piece.text for piece in wall.evidence] + [f"follows from it: {what}" for what in follow]
        yield _list(said) + "</div>"
    if not explanation.walls:
        if explanation.unexplained:
            yield "<p>What failed last, and no rule explains:</p>"
        yield _list(signs(facts))
    for note in explanation.notes:
        yield f'<p class="dim">{escape(note)}</p>'


def _run(facts: ReportFacts, run: RunFacts) -> Iterator[str]:
    ink, mode = _INKS.get(run.gpu_mode, "warn"), MODES.get(run.gpu_mode, run.gpu_mode)
    yield f'<h3>Run {run.run} <span class="dim">({escape(run.reason or "started")})</span> '
    yield f'<span class="{ink}">{escape(mode)}</span></h3>'
    yield f"<p>{escape('; '.join(part for part in (run.figures, run.ended, run.outcome) if part))}</p>"
    if run.wall:
        yield f"<p>first wall: {escape(run.wall)}</p>"
    if changes := facts.changes(run):
        yield f"<p>against the run before: {escape(changes)}</p>"
    if run.diff:
        said = edited(run.diff) or "sources"
        yield f"<details><summary>edited before it: {escape(said)}</summary><pre>"
        yield "\n".join(map(_diff_line, run.diff.splitlines())) + "</pre></details>"


def _diff_line(line: str) -> str:
    ink = "dim" if line.startswith(("+++", "---", "@@")) else {"+": "add", "-": "del"}.get(line[:1], "")
    return f'<span class="{ink}">{escape(line)}</span>' if ink else escape(line)


def _coverage(facts: ReportFacts) -> Iterator[str]:
    grave, unknown, harmless = missing(facts)
    answered = len([row for row in facts.coverage if row.answered])
    not_answered = len(grave + unknown + harmless)
    yield f"<h2>Coverage</h2><p>{answered} names answered, {not_answered} asked for and not answered, "
    yield f"{len(harmless)} of these harmless.</p>"
    yield from _rows(
        (f"<code>{escape(name)}</code>", f"{escape(effect)}; asked for by {escape(by)}")
        for name, effect, by in grave
    )
    for what, names in (("of which nothing is known", unknown), ("harmless ones", harmless)):
        if names:
            listed = " ".join(f"<code>{escape(name)}</code>" for name in names)
            yield f"<details><summary>{len(names)} {what}</summary><p>{listed}</p></details>"
    yield f"<details><summary>{len(facts.functions)} functions called in the last run</summary>"
    yield from _rows((f"<code>{escape(use.name)}</code>", escape(use.said)) for use in facts.functions)
    yield "</details>"


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""


def _rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A short cell and a long one each; both are HTML."""
    for short, long in rows:
        yield f'<div class="row"><span>{short}</span><span>{long}</span></div>'
