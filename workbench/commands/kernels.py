"""Print the kernels of a run by time, with their launches by grid, block and dynamic shared memory; with
--ptx one kernel's PTX, and how often its lines were executed (by warps, and by threads a warp on average).

Times, instructions, text and counts are the forwarder's to tell; the software GPU does. Else launches come
from the recorded calls. --json prints {"session", "run", "processes": [{"pid", "told", "seconds", "kernels":
[{"name", "demangled", "module", "launches", "instructions", "seconds", "compiled", "static_shared", "shapes":
[{"grid", "block", "shared", "launches", "instructions", "seconds", "shortest", "longest"}], "other_shapes",
"line", "text_bytes", "counted"}]}]}, and for the kernel of --ptx "text" and "lines": {line: [warps,
threads]}; what is unknown is null.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.commands.common import (
    add_session_words,
    check_run,
    duration,
    only_session,
    print_json,
    size,
    told_as_errors,
)
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.views.kernels import Kernels, KernelUse

_TOP = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--run", type=int, metavar="N", help="of this run instead of the newest")
    parser.add_argument("--ptx", metavar="NAME", help="one kernel, by its symbol or a part of its name")
    parser.add_argument("--all", action="store_true", help=f"every kernel, not the first {_TOP}")
    add_session_words(parser, "", "nothing else")


def run(options: argparse.Namespace) -> int:
    from workbench.views.kernels import Kernels

    session = only_session(options.words)
    check_run(session, options.run)
    view = Kernels(options.run)
    with told_as_errors():
        view.update(session)
        chosen = _find(view, options.ptx) if options.ptx else None
        if options.json:
            processes = [
                {
                    "pid": session.processes[process.process].pid,
                    "told": process.told,
                    "seconds": process.seconds,
                    "kernels": [
                        _as_json(view, use, use is chosen)
                        for use in process.ranked
                        if chosen is None or use is chosen
                    ],
                }
                for process in view.processes.values()
            ]
            print_json({"session": str(session.path), "run": view.run, "processes": processes})
            return 0
        if chosen is not None:
            print("\n".join(_ptx_lines(view, chosen)))
            return 0
    for process in view.processes.values():
        pid, told = session.processes[process.process].pid, process.seconds
        known = "times not told" if told is None else _time(told)
        print(f"process {pid}: {len(process.kernels)} kernels, {known}")
        limit = None if options.all else _TOP
        for use in process.ranked[:limit]:
            print("\n".join(_lines(use, told)))
        if limit is not None and len(process.kernels) > limit:
            print(f"  ... {len(process.kernels) - limit} more kernels (--all)")
    if not view.processes:
        print(f"no kernel was launched in run {view.run}")
    return 0


def _find(view: Kernels, name: str) -> KernelUse:
    """The kernel of that symbol, else the only one with `name` in its name."""
    from workbench.views.demangle import demangled

    uses = [use for process in view.processes.values() for use in process.ranked]
    found = [use for use in uses if use.name == name] or [
        use for use in uses if name in use.name or name in demangled(use.name)
    ]
    if not found:
        raise UsageError(f"no kernel {name} was launched in run {view.run}; shimbench kernels lists them")
    if len({use.name for use in found}) > 1:
        names = "\n  ".join(sorted({use.name for use in found})[:10])
        raise UsageError(f"{name} is in the names of several kernels; say one of\n  {names}")
    return found[0]


def _lines(use: KernelUse, total: float | None) -> list[str]:
    from workbench.views.demangle import demangled

    share = f"{use.seconds / total:4.0%}" if use.seconds is not None and total else ""
    took = "" if use.seconds is None else _time(use.seconds)
    made = "" if use.instructions is None else f", {use.instructions:,} instructions by warps"
    lines = [f"  {took:>8} {share} {use.launches:>8} x {demangled(use.name)}{made}"]
    for shape in use.shapes:
        each = "" if shape.seconds is None else f", {_time(shape.seconds / max(shape.launches, 1))} each"
        lines.append(
            f"  {'':13} {shape.launches:>8} x grid {_numbers(shape.grid)} block {_numbers(shape.block)} "
            f"shared {size(shape.shared)}{each}"
        )
    if use.other_shapes:
        lines.append(f"  {'':13} {use.other_shapes:>8} x in other shapes")
    return lines


def _ptx_lines(view: Kernels, use: KernelUse) -> list[str]:
    text = view.text(use)
    if text is None:
        raise UsageError(
            f"the session has no text of {use.name}: the forwarder told none, it is too long, "
            "or this is a report's copy"
        )
    lines = [f"// {use.name}: {use.counted_text('{:,}'.format)} counted (warps, threads a warp)"]
    for number, line in enumerate(text.splitlines(), use.line):
        count = use.lines.get(number)
        each = f"{count.threads / count.warps:5.1f}" if count and count.warps else ""
        lines.append(f"{number:6} {count.warps if count else '':>12} {each:>5}  {line}")
    return lines


def _as_json(view: Kernels, use: KernelUse, whole: bool) -> dict[str, Any]:
    from workbench.views.demangle import demangled

    fields = asdict(use)
    del fields["blob"], fields["lines"]
    fields["demangled"] = demangled(use.name)
    if whole:
        fields["text"] = view.text(use)
        fields["lines"] = {line: [count.warps, count.threads] for line, count in use.lines.items()}
    return fields


def _numbers(triple: tuple[int, int, int]) -> str:
    return ",".join(map(str, triple))


def _time(seconds: float) -> str:
    return duration(round(seconds * 1e9))
