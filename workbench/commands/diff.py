"""Compare two runs, call by call: where they part, the first divergence first.

A and B are sessions (path, name, @, @-1), each with :RUN behind it for another run than the newest, so
`shimbench diff @:1 @:2` compares two runs of the newest session. Without B, the session before A is compared
with A; without both, the two newest. `shimbench diff @good` holds the newest run against the one that was
marked good by `shimbench sessions good SESSION[:RUN]`. Mark a session that was recorded on a real driver, and
names, export tables and slots of them that are asked for since are listed.

Processes are paired by what they do, threads by what they call, else by the order in which they first do.
Exit status, for CI: 0 nothing differs, 1 something does, 2 they can't be compared. What is asked for,
answered and diagnosed is listed as well, what a session lacks of its run (lost calls, a killed writer) ahead
of all, and what is never compared by --ignored.

--json prints {"a", "b": {"session", "run", "calls", "gaps", "gpu_mode"}, "same", "counts": {kind: number},
"divergences": [{"kind", "role", "a", "b", "call", "detail", "calls", "repeats"}], "asked_only": {"a", "b"},
"missing_only": {"a", "b"}, "diagnoses_only": {"a", "b"}, "durations": [{"function", "calls", "median_ns",
"p10_p90_ns"}]}; call numbers start at 1, and missing_only is what got no answer on that side alone.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from workbench.commands.common import add_json, duration, need_terminal, print_json, told_as_errors
from workbench.errors import ShimbenchError, UsageError

if TYPE_CHECKING:
    from sessions import Session
    from sessions.decode import CallDecoder
    from sessions.diff import Comparison, Divergence, Durations

_MARKS = {
    "missing process": "-", "missing thread": "-", "missing call": "-",
    "extra process": "+", "extra thread": "+", "extra call": "+",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("sides", nargs="*", metavar="A B", help="SESSION[:RUN] twice")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="divergences shown (20)")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="GLOB",
        help="FUNCTION.PARAMETER not to compare, besides those of --ignored",
    )  # fmt: skip
    parser.add_argument("--ignored", action="store_true", help="list what is never compared, and stop")
    parser.add_argument("--screen", action="store_true", help="show them side by side in the workbench")
    parser.add_argument("--durations", action="store_true", help="compare durations by function as well")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from sessions.diff import IGNORED, NORMALISED

    if options.ignored:
        print("\n".join([*(f"({text})" for text in NORMALISED), *IGNORED, *options.ignore]))
        return 0
    if len(options.sides) > 2:
        raise UsageError("two sides are compared, A and B")
    words = [*options.sides] or ["@-1", "@"]
    if len(words) == 1:
        words = [words[0], "@"] if words[0].partition(":")[0] == "@good" else ["@-1", words[0]]
    if any(glob.count(".") != 1 for glob in options.ignore):
        raise UsageError("--ignore wants FUNCTION.PARAMETER, globs allowed: cuMemGetInfo*.free")
    try:
        if options.screen:
            return _on_screen(words)
        return _run(words, options)
    except ShimbenchError as error:
        raise UsageError(str(error)) from error  # status 1 is a difference


def _run(words: list[str], options: argparse.Namespace) -> int:
    from sessions.diff import IGNORED, compare

    with told_as_errors():
        (a, run_a), (b, run_b) = side_of(words[0]), side_of(words[1])
        found = compare(
            a, b, run_a, run_b, ignored=(*IGNORED, *options.ignore), limit=max(options.limit, 1000)
        )
        diagnoses = diagnoses_only(found)
        if options.json:
            print_json(_as_json(found, diagnoses))
        else:
            _print(found, diagnoses, options.limit, options.durations)
    return 0 if found.same else 1


def _on_screen(words: list[str]) -> int:
    """The workbench on B, with both side by side over it; -> 0."""
    from workbench.app import ShimbenchApp
    from workbench.panes.beside import show_beside

    session, _ = side_of(words[1])  # says what is wrong with it before the screen is taken
    side_of(words[0])
    need_terminal()
    ShimbenchApp(None, session, then=lambda app: show_beside(app, words[0], words[1])).run()
    return 0


def side_of(text: str) -> tuple[Session, int | None]:
    """The session and run that SESSION[:RUN] means. UsageError, ShimbenchError: there is none."""
    from workbench.commands.common import opened
    from workbench.sessions_store import label_of, resolve, split_run

    name, number = split_run(text)
    path = resolve(name)
    if name == "@good" and number is None:
        number = label_of(path).good
    return opened(path), number


def diagnoses_only(found: Comparison) -> tuple[list[str], list[str]]:
    """What was diagnosed on one side alone."""
    from workbench.diagnosis.engine import diagnose

    said = [{diagnosis.what for diagnosis in diagnose(side.session, side.run)} for side in (found.a, found.b)]
    return sorted(said[0] - said[1]), sorted(said[1] - said[0])


def _print(found: Comparison, diagnoses: tuple[list[str], list[str]], limit: int, durations: bool) -> None:
    from sessions.decode import CallDecoder

    decoders = CallDecoder(found.a.session.schema), CallDecoder(found.b.session.schema)
    for letter, side in (("A", found.a), ("B", found.b)):
        print(
            f"{letter}: {side.session.path} run {side.run},"
            f" {_count_of(len(side.members), 'process', 'processes')},"
            f" {_count_of(side.calls(), 'call', 'calls')}"
        )
        for gap in side.gaps():
            print(f"   {gap}")
    if found.same:
        print("no difference")
    else:
        print(", ".join(f"{count} x {kind}" for kind, count in Counter(found.counts).most_common()))
    for divergence in found.divergences[: max(limit, 0)]:
        print()
        print("\n".join(_lines(found, divergence, decoders)))
    left = sum(found.counts.values()) - sum(one.repeats for one in found.divergences[: max(limit, 0)])
    if left > 0:
        print(f"\nand {left} more (--limit)")
    for title, (gone, new) in (
        ("asked for", found.asked_only), ("without an answer", found.missing_only), ("diagnosed", diagnoses)
    ):  # fmt: skip
        for which, names in (("no longer", gone), ("newly", new)):
            if names:
                print(f"\n{which} {title}:")
                print("\n".join(f"  {name}" for name in names))
    if durations:
        print("\n" + "\n".join(_duration_lines(found.durations)))
    sys.stdout.flush()


def _count_of(number: int, one: str, many: str) -> str:
    """`1 process`, `2 processes`."""
    return f"{number} {one if number == 1 else many}"


def _lines(found: Comparison, divergence: Divergence, decoders: tuple[CallDecoder, CallDecoder]) -> list[str]:
    from workbench.views.demangle import with_demangled

    more = f" ({divergence.calls} calls)" if divergence.calls > 1 else ""
    more += f", {divergence.repeats} times" if divergence.repeats > 1 else ""
    detail = f": {divergence.detail}" if divergence.detail else ""
    lines = [f"{_MARKS.get(divergence.kind, '~')} {divergence.kind}{more} in {divergence.role}{detail}"]
    for letter, side, row, decoder in zip(
        "AB", (found.a, found.b), (divergence.a, divergence.b), decoders, strict=True
    ):
        if row is not None:
            lines.append(f"    {letter} {row + 1:>8}  {decoder.text(side.session, row)}")
    readable = [with_demangled(line) for line in lines]
    # Overloads differ in what a readable name leaves out.
    overloads = len({line.split(maxsplit=2)[2] for line in readable[1:]}) < len(
        {line.split(maxsplit=2)[2] for line in lines[1:]}
    )
    return lines if overloads else readable


def _duration_lines(rows: list[Durations]) -> list[str]:
    lines = [f"{'function':40} {'calls A':>9} {'B':>9}  {'median A':>9} {'B':>9}   10..90 % A / B"]
    for row in rows:
        low_high = [f"{duration(int(low))}..{duration(int(high))}" for low, high in row.spread]
        lines.append(
            f"{row.function:40} {row.calls[0]:>9} {row.calls[1]:>9}  {duration(int(row.median[0])):>9} "
            f"{duration(int(row.median[1])):>9}   {' / '.join(low_high)}"
        )
    return lines


def _as_json(found: Comparison, diagnoses: tuple[list[str], list[str]]) -> dict[str, Any]:
    from sessions.decode import CallDecoder
    from workbench.views.summary import gpu_mode

    decoders = CallDecoder(found.a.session.schema), CallDecoder(found.b.session.schema)
    sides = {
        letter: {
            "session": str(side.session.path),
            "run": side.run,
            "calls": side.calls(),
            "gaps": side.gaps(),
            "gpu_mode": gpu_mode(side.session, side.run).mode,
        }
        for letter, side in (("a", found.a), ("b", found.b))
    }
    divergences = []
    for divergence in found.divergences:
        at = divergence.a if divergence.a is not None else divergence.b
        side, decoder = (found.a, decoders[0]) if divergence.a is not None else (found.b, decoders[1])
        divergences.append(
            {
                "kind": divergence.kind,
                "role": divergence.role,
                "a": None if divergence.a is None else divergence.a + 1,
                "b": None if divergence.b is None else divergence.b + 1,
                "call": None if at is None else decoder.text(side.session, at),
                "detail": divergence.detail,
                "calls": divergence.calls,
                "repeats": divergence.repeats,
            }
        )
    return {
        **sides,
        "same": found.same,
        "counts": dict(found.counts),
        "divergences": divergences,
        "asked_only": {"a": found.asked_only[0], "b": found.asked_only[1]},
        "missing_only": {"a": found.missing_only[0], "b": found.missing_only[1]},
        "diagnoses_only": {"a": diagnoses[0], "b": diagnoses[1]},
        "durations": [
            {"function": row.function, "calls": row.calls, "median_ns": row.median, "p10_p90_ns": row.spread}
            for row in found.durations
        ],
    }
