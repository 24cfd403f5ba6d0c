"""cuGetProcAddress hands out another version of a function than was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.views.runtimes import Ladders

if TYPE_CHECKING:
    from sessions.schema import Function

SHOWN = 5
_HARMLESS = ("cuGetProcAddress",)
"""The older form just does not look at its last argument."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    functions = facts.session.schema
    ladders = Ladders(functions)
    called = {row.name for row in facts.coverage if row.calls}
    wrong: list[tuple[int, str, str, int]] = []
    for row in facts.coverage:
        wanted = functions.functions.get(functions.function_id(row.name) or 0)
        if wanted is None or wanted.base in _HARMLESS:
            continue
        for asked in row.asked:
            if asked.how != "proc-address" or asked.answered in (None, row.name):
                continue
            given = functions.functions.get(functions.function_id(asked.answered or "") or 0)
            if given is None or given.base != wanted.base or given.version == wanted.version:
                continue
            # A per-thread request answered by the plain entry point is a matter of streams, not of sizes.
            if given.name == ladders.export_for(wanted.base, asked.version, False):
                continue
            if given.name not in called or _shape(given) == _shape(wanted):
                continue  # nothing has come of it, or what they are given looks alike
            wrong.append((asked.first_call, row.name, given.name, asked.version))
    if not wrong:
        return
    wrong.sort()
    first, name, given_name, version = wrong[0]
    names = ", ".join(dict.fromkeys(f"{a} for {b}" for _, b, a, _ in wrong[:SHOWN]))
    yield Diagnosis(
        rule="wrong-variant",
        what=f"{len(wrong)} functions are of another version than the runtime asked for",
        cause=f"{given_name} was handed out where {name} belongs (asked for at version {version}): {names}",
        fix="choose the export by name and version: the newest that is not newer than the version asked for",
        certainty="proved",
        stage=Stage.RESOLVE,
        evidence=[
            Evidence(f"call {row + 1}: {facts.text(row)}", call=row, name=wanted_name)
            for row, wanted_name, _, _ in wrong[:SHOWN]
        ],
        process=facts.session.calls.row(first).process,
        stops=True,
    )


def _shape(function: Function) -> list[tuple[str, int, int]]:
    """What callers must agree on: how many parameters, how large, and how large what they point to."""
    return [(param.kind, param.size, param.pointee_size) for param in function.params]
