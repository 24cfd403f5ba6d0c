"""Runs the rules over one session and puts what they found in order."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.diagnosis.calls import Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.gather import gather
from workbench.diagnosis.model import Certainty, Diagnosis, Evidence, Rule
from workbench.diagnosis.rules import RULES, cpu_mode
from workbench.diagnosis.versions import unknown_ollama, unknown_runtimes
from workbench.target.roles import FIRST_PASS, Role, role_of

if TYPE_CHECKING:
    from sessions import Process, Session

_LESS: dict[Certainty, Certainty] = {"proved": "likely", "likely": "possible", "possible": "possible"}
_STOPS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_STOPPING_NS = 6_000_000_000
"""A run's end is told so long after its first process was stopped, at most."""
_USUAL = (("cuCtxGetDevice", 201), ("cuGetExportTable", 500), ("cuGraphExecUpdate", 910))
"""A thread without a context, a table that no driver has any more, a graph to be made anew."""
_FAILING = ("error", "abort", "not-loaded", "symbol", "shim", "port", "cublas", "not-discovered")


@dataclass(frozen=True)
class Explanation:
    """All that is known. `unexplained`: where to look when something failed and no rule matches.

    `notes`: what limits it all, such as a runtime that the rules were not checked with. `doing`: what
    goes on, or how it ended, when nothing failed; empty otherwise.
    """

    run: int
    diagnoses: list[Diagnosis]
    unexplained: list[Evidence]
    notes: list[str]
    doing: list[Evidence]

    @property
    def walls(self) -> list[Diagnosis]:
        """Those that follow from no other, the first on the road first."""
        return [diagnosis for diagnosis in self.diagnoses if diagnosis.consequence_of is None]


def diagnose(session: Session, run: int | None = None) -> list[Diagnosis]:
    """What failed in a run (the newest unless told); the first wall on the road first. [] when nothing."""
    return explain(session, run).diagnoses


def explain(session: Session, run: int | None = None) -> Explanation:
    """The diagnoses, and without any the last failing line and calls that may matter."""
    return explain_facts(gather(session, run))


def explain_facts(facts: Facts) -> Explanation:
    """The same of facts that were gathered already."""
    found = [diagnosis for rule in RULES for diagnosis in rule(facts)]
    found = _merged(sorted(found, key=lambda diagnosis: (diagnosis.stage, diagnosis.certainty == "possible")))
    _fold(found)
    unknown = unknown_runtimes(facts)
    ollama = unknown_ollama(facts)
    for diagnosis in found:
        note = unknown.get(diagnosis.process) or (
            next(iter(unknown.values()), "") if diagnosis.process < 0 else ""
        )
        if note and diagnosis.by_runtime:
            diagnosis.certainty, diagnosis.note = _LESS[diagnosis.certainty], note
        if ollama and diagnosis.by_ollama:
            diagnosis.certainty, diagnosis.note = _LESS[diagnosis.certainty], ollama
    notes = [*dict.fromkeys(unknown.values()), *([ollama] if ollama else [])]
    left = [] if found else _leftovers(facts)
    doing = [] if found or left else _doing(facts)
    return Explanation(facts.run, found, left, notes, doing)


def _merged(found: list[Diagnosis]) -> list[Diagnosis]:
    """The same in several processes is one diagnosis, with the evidence of the first."""
    kept: dict[tuple[Rule, str, str], Diagnosis] = {}
    places: dict[tuple[Rule, str, str], set[int]] = {}
    for diagnosis in found:
        key = diagnosis.rule, diagnosis.what, diagnosis.cause
        kept.setdefault(key, diagnosis)
        places.setdefault(key, set()).add(diagnosis.process)
    for key, diagnosis in kept.items():
        diagnosis.processes = len(places[key])
    return list(kept.values())


def _fold(found: list[Diagnosis]) -> None:
    """What comes later in the same process follows from the wall in front of it."""
    for place, diagnosis in enumerate(found):
        if diagnosis.independent:
            continue
        for wall in found[:place]:
            same = wall.process == diagnosis.process or -1 in (wall.process, diagnosis.process)
            # Nothing stops at a device that is dropped, and yet it is why the target computes elsewhere.
            dropped = diagnosis.rule == cpu_mode.RULE and wall.rule in cpu_mode.DROPPED
            if same and (wall.stops or dropped) and wall.consequence_of is None:
                diagnosis.consequence_of = wall.rule
                if diagnosis.rule == cpu_mode.RULE:
                    diagnosis.cause = cpu_mode.FOLLOWS
                break


def _leftovers(facts: Facts) -> list[Evidence]:
    """Nothing matched: the last line that speaks of failing, and how the processes ended."""
    left = [facts.line_evidence(said) for said in [s for s in facts.said if s.kind in _FAILING][-1:]]
    for process in facts.processes:
        if (process.signal is not None or process.exit_code) and not _was_ended(facts, process):
            end = f"signal {process.signal}" if process.signal is not None else f"exit {process.exit_code}"
            last = facts.last_rows.get(process.index)
            where = ""
            if last is not None:
                columns = facts.session.calls.columns(last, last + 1, ("time", "duration"))
                returned = int(columns["time"][0]) + int(columns["duration"][0])
                after = ((process.ended_ns or 0) - returned) / 1e6
                outside = f" outside of the driver, {after:.0f} ms after its last call" if after > 0 else ""
                where = f"{outside}: {last + 1} {facts.text(last)}"
            left.append(Evidence(f"process {process.pid} ended with {end}{where}", call=last))
    if left:
        left += [facts.call_evidence(call.row) for call in [c for c in facts.failed if not _usual(c)][-3:]]
    return left


def _usual(call: Call) -> bool:
    """Does a runtime meet that failure in every healthy run, and go on?"""
    return any(call.name.startswith(name) and call.result == result for name, result in _USUAL)


def _was_ended(facts: Facts, process: Process) -> bool:
    """Did whoever started it end it, as is its way: with the run, or Ollama one that it had no more use for?

    Ollama kills each llama-server that has told its devices, and a model's when it unloads it; of one that
    ended otherwise its server says that it terminated.
    """
    if process.signal not in _STOPS or process.ended_ns is None:
        return False
    ends = [
        e.time_ns for e in facts.session.events if e.kind == "run-end" and e.fields.get("run") == facts.run
    ]
    if ends and process.ended_ns >= ends[-1] - _STOPPING_NS:
        return True
    parents = facts.session.processes
    parent = parents[process.parent_index] if 0 <= process.parent_index < len(parents) else None
    role = role_of(process.argv, parent.argv if parent else ())
    if role in (Role.BOOTSTRAP, Role.DISCOVER):
        return process.ended_ns - process.started_ns < (FIRST_PASS.seconds or 0) * 0.9e9
    told = any(said.kind == "terminated" and said.time_ns >= process.ended_ns for said in facts.said)
    return role is Role.RUNNER and parent is not None and not told


def _doing(facts: Facts) -> list[Evidence]:
    """Nothing failed: what shows the GPU at work, or the last call so far."""
    if facts.mode.mode == "gpu":
        piece = facts.mode.evidence[0]  # a line tells of a device or of layers, only a launch of work
        state = "it computes on the GPU" if piece.call is not None else "a GPU, no kernel launched yet"
        return [Evidence(f"{state}: {piece.text}", call=piece.call, log=piece.log)]
    if not facts.processes:
        return []
    alive = [process for process in facts.processes if process.ended_ns is None]
    under_way = max(facts.in_flight, key=lambda flight: flight.age_ns, default=None)
    if under_way is not None:
        name = facts.session.schema.function_name(under_way.function)
        pid = facts.session.processes[under_way.process].pid
        return [Evidence(f"{name} is under way for {under_way.age_ns / 1e9:.1f} s in process {pid}")]
    last = max(facts.last_rows.items(), key=lambda item: item[1], default=None)
    if last is None:
        count = len(alive)
        waits = f"{count} process{'es' if count > 1 else ''} of the target" if count else "the target ended;"
        return [Evidence(f"{waits} made no call of the driver" + (" yet" if count else ""))]
    row = last[1]
    text = f"the last call so far is {row + 1}" if alive else f"it ended; its last call was {row + 1}"
    return [Evidence(f"{text} {facts.text(row)}", call=row)]
