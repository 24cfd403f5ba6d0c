"""The kernels of a run in lines: by time, and one of them opened with its launches and its PTX."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from workbench.panes.format import bytes_text, count_text, duration_text
from workbench.panes.parts import Ink, Part, column
from workbench.panes.text_lines import TextLine
from workbench.views.demangle import demangled
from workbench.views.kernels import Kernels, KernelUse, Shape

if TYPE_CHECKING:
    from sessions import Session
    from workbench.views.kernels import ProcessKernels

PTX: Ink = "ptx"
"""Stands for the inks that a line of PTX gets when it is drawn: `coloured` knows them."""

_SHAPES = "  launches      mean  shortest   longest  instructions  grid  block  shared"
_HOT, _WARM = 0.05, 0.01  # of all that was executed: lines whose counts are inked

Chosen = tuple[int, str, int]
"""A kernel: its process, name and module."""


class KernelLines:
    """The table, or the kernel that was opened from it."""

    def __init__(self) -> None:
        self.view = Kernels()
        self.opened: Chosen | None = None
        self._rows: tuple[object, list[TextLine]] = (None, [])  # of the last text that was shown

    def lines(self, session: Session) -> list[TextLine]:
        """What the session knows now."""
        self.view.update(session)
        if self.opened is not None:
            index, name, module = self.opened
            process = self.view.processes.get(index)
            use = process.kernels.get((name, module)) if process else None
            if use is not None:
                return self._kernel(use)
            self.opened = None  # another run
        lines = []
        for process in self.view.processes.values():
            if process.kernels:
                lines += self._table(session, process)
        return lines or [TextLine([("no kernel was launched yet", "dim")])]

    def choose(self, subject: object) -> bool:
        """Open the kernel under the cursor; False when there is none."""
        if not isinstance(subject, tuple) or self.opened is not None:
            return False
        self.opened = subject
        return True

    def _table(self, session: Session, process: ProcessKernels) -> list[TextLine]:
        facts = session.processes[process.process]
        ranked, total = process.ranked, process.seconds
        launches = sum(use.launches for use in ranked)
        words = f"  run {facts.run}  {count_text(len(ranked))} kernels, {count_text(launches)} launches"
        known = f", {duration_text(round(total * 1e9))}" if total is not None else ", times not told"
        lines = [
            TextLine([(f"{facts.pid} {facts.exe.rsplit('/', 1)[-1]}", "head"), (words + known, "dim")]),
            TextLine([("    time share launches    mean  kernel, instructions by warps", "dim")]),
        ]
        for use in ranked:
            mean = use.seconds / use.launches if use.seconds is not None and use.launches else None
            share = f"{use.seconds / total:.0%}" if use.seconds is not None and total else ""
            counted = "" if use.instructions is None else count_text(use.instructions)
            tier = {True: "", False: "  interpreted", None: ""}[use.compiled]
            parts: list[Part] = [
                column(_time(use.seconds), 8, "value", right=True),
                column(share, 6, "plain", right=True),
                column(count_text(use.launches), 9, "number", right=True),
                column(_time(mean), 8, "plain", right=True),
                (f"  {demangled(use.name)}", "name"),
                (f"  {counted}", "plain"),
                (tier, "dim"),
            ]
            lines.append(TextLine(parts, (process.process, use.name, use.module)))
        return lines

    def _kernel(self, use: KernelUse) -> list[TextLine]:
        took = "times not told" if use.seconds is None else duration_text(round(use.seconds * 1e9))
        facts = [f"{count_text(use.launches)} launches", took]
        if use.instructions is not None:
            facts.append(f"{count_text(use.instructions)} instructions by warps")
        if use.compiled is not None:
            facts.append("compiled" if use.compiled else "interpreted")
        if use.static_shared:
            facts.append(f"static shared {bytes_text(use.static_shared)}")
        lines = [
            TextLine([(demangled(use.name), "head")]),
            TextLine([(use.name, "dim")]),
            TextLine([("  " + ", ".join(facts), "plain")]),
            TextLine(
                [("  launches      mean  shortest   longest  instructions  grid  block  shared", "dim")]
            ),
            *(TextLine(_shape(shape)) for shape in use.shapes),
        ]
        if use.other_shapes:
            others = f"{column(count_text(use.other_shapes), 10, right=True)[0]}  in other shapes"
            lines.append(TextLine([(others, "dim")]))
        return [*lines, *self._text(use)]

    def _text(self, use: KernelUse) -> list[TextLine]:
        text = self.view.text(use)
        if text is None:
            return [TextLine([(f"PTX  {_why_no_text(use)}", "dim")])]
        if use.lines:
            said = f"executed in {use.counted_text}"
            head = f"  line         warps threads  PTX, {said}"
        else:
            head = "  line  PTX, executions not counted"
        key = use.blob, use.line, use.counted
        if self._rows[0] != key:
            self._rows = key, _text_rows(use, text)
        return [TextLine([(head, "dim")]), *self._rows[1]]


def _text_rows(use: KernelUse, text: str) -> list[TextLine]:
    lines = []
    total = sum(count.warps for count in use.lines.values())
    for number, line in enumerate(text.splitlines(), use.line):
        parts: list[Part] = [column(str(number), 6, "dim", right=True)]
        if use.lines:
            parts += _counts(use, number, total)
        # Parameters carry their kernel's whole name.
        shown = line.replace(f"{use.name}_param_", "…_param_").expandtabs(8)
        lines.append(TextLine([*parts, ("  ", "plain"), (shown, PTX)]))
    return lines


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration_text(round(seconds * 1e9))


def _shape(shape: Shape) -> list[Part]:
    mean = shape.seconds / shape.launches if shape.seconds is not None and shape.launches else None
    instructions = "" if shape.instructions is None else count_text(shape.instructions)
    return [
        column(count_text(shape.launches), 10, "number", right=True),
        column(_time(mean), 10, "value", right=True),
        column(_time(shape.shortest), 10, "plain", right=True),
        column(_time(shape.longest), 10, "plain", right=True),
        column(instructions, 14, "plain", right=True),
        (f"  {','.join(map(str, shape.grid))}  {','.join(map(str, shape.block))}", "value"),
        (f"  {bytes_text(shape.shared)}", "dim"),
    ]


def _counts(use: KernelUse, number: int, total: int) -> list[Part]:
    """How often warps executed the line, and with how many of their threads on average."""
    count = use.lines.get(number)
    if count is None:
        return [(" " * 22, "plain")]
    share = count.warps / total if total else 0
    ink: Ink = "error" if share >= _HOT else "warn" if share >= _WARM else "plain" if count.warps else "dim"
    each = f"{count.threads / count.warps:.1f}" if count.warps else ""
    return [column(count_text(count.warps), 14, ink, right=True), column(each, 8, "dim", right=True)]


def _why_no_text(use: KernelUse) -> str:
    if use.text_bytes:
        return f"of {bytes_text(use.text_bytes)}: not kept in this session (too long, or a report's copy)"
    return "the forwarder told no text of this kernel"


@cache
def _lexer() -> Any:
    from pygments.lexers import PtxLexer  # type: ignore[import-untyped]

    return PtxLexer(stripnl=False, ensurenl=False)


def coloured(line: str) -> list[Part]:
    """A line of PTX with its inks: instructions, directives, registers, numbers, labels, comments."""
    return [(text, _ink(str(token))) for token, text in _lexer().get_tokens(line)]


def _ink(token: str) -> Ink:
    for kind, ink in (
        ("Token.Comment", "dim"),
        ("Token.Keyword.", "accent"),
        ("Token.Keyword", "name"),
        ("Token.Name.Label", "head"),
        ("Token.Name", "value"),
        ("Token.Literal", "number"),
    ):
        if token.startswith(kind):
            return ink
    return "plain"
