"""The kernels of a run in lines: by time, and one of them opened with its launches and its PTX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.filter.language import matches
from workbench.panes.format import amount_text, bytes_text, count_text, duration_text
from workbench.panes.parts import Ink, Part, column
from workbench.panes.text_lines import TextLine
from workbench.views.demangle import demangled
from workbench.views.kernels import Kernels, KernelUse, Shape, Triple

if TYPE_CHECKING:
    from sessions import Session
    from workbench.views.kernels import ProcessKernels

PTX: Ink = "ptx"
"""Stands for the inks that a line of PTX gets when it is drawn: `ptx_text.coloured` knows them."""

_HOT, _WARM = 0.05, 0.01  # of all that was executed: lines whose counts are inked

ORDERS = ("time", "launches", "mean", "instructions", "name")
"""What kernels can be sorted by, in the order of their columns."""
_HEADS = ("    time share", " launches", "    mean", "   instr", "  kernel")
_KEYS: dict[str, Callable[[KernelUse], tuple[object, ...]]] = {
    "time": lambda use: (-(use.seconds or 0.0),),
    "launches": lambda use: (-use.launches,),
    "mean": lambda use: (-(_mean(use) or 0.0),),
    "instructions": lambda use: (-(use.instructions or 0),),
    "name": lambda use: (demangled(use.name), use.name),
}
HEADS = "heads"
"""The subject of the line over the columns."""

Chosen = tuple[int, str, int]
"""A kernel: its process, name and module."""


class KernelLines:
    """The table, or the kernel that was opened from it."""

    def __init__(self) -> None:
        self.view = Kernels()
        self.opened: Chosen | None = None
        self.order = ORDERS[0]
        self.filter_text = ""  # globs or parts of names; !WORD: not these
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
        total = process.seconds
        every = process.ranked
        ranked = sorted(filter(self._passes, every), key=_KEYS[self.order])  # stable: else by time
        launches = sum(use.launches for use in every)
        words = f"  run {facts.run}  {count_text(len(every))} kernels, {count_text(launches)} launches"
        known = f", {duration_text(round(total * 1e9))}" if total is not None else ", times not told"
        heads: list[Part] = [
            (text, "head" if name == self.order else "dim") for name, text in zip(ORDERS, _HEADS, strict=True)
        ]
        lines = [
            TextLine([(f"{facts.pid} {facts.exe.rsplit('/', 1)[-1]}", "head"), (words + known, "dim")]),
            TextLine(heads, HEADS),
        ]
        for use in ranked:
            share = f"{use.seconds / total:.0%}" if use.seconds is not None and total else ""
            counted = "" if use.instructions is None else amount_text(use.instructions)
            tier = {True: "", False: "  interpreted", None: ""}[use.compiled]
            parts: list[Part] = [
                column(_time(use.seconds), 8, "value", right=True),
                column(share, 6, "plain", right=True),
                column(count_text(use.launches), 9, "number", right=True),
                column(_time(_mean(use)), 8, "plain", right=True),
                column(counted, 8, "plain", right=True),
                (f"  {demangled(use.name)}", "name"),
                (tier, "dim"),
            ]
            lines.append(TextLine(parts, (process.process, use.name, use.module)))
        return lines

    def _passes(self, use: KernelUse) -> bool:
        return all(
            (word.lstrip("!") and matches(word.lstrip("!"))(f"{use.name} {demangled(use.name)}"))
            != word.startswith("!")
            for word in self.filter_text.split()
        )

    def next_order(self) -> None:
        """Sort by the next column."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]

    def order_at(self, x: int) -> None:
        """Sort by the column of the heads that was clicked."""
        at = 0
        for name, text in zip(ORDERS, _HEADS, strict=True):
            at += len(text)
            if x < at or name == ORDERS[-1]:
                self.order = name
                return

    def status(self) -> str:
        """What is shown, in words."""
        if self.opened is not None:
            return "a kernel, Esc: all"
        only = f", only {self.filter_text}" if self.filter_text else ""
        return f"kernels by {self.order}{only}, Esc: {'all' if self.filter_text else 'device'}"

    def _kernel(self, use: KernelUse) -> list[TextLine]:
        took = "times not told" if use.seconds is None else duration_text(round(use.seconds * 1e9))
        facts = [f"{count_text(use.launches)} launches", took]
        if use.instructions is not None:
            facts.append(f"{count_text(use.instructions)} instructions by warps")
        if use.compiled is not None:
            facts.append("compiled" if use.compiled else "interpreted")
        if use.static_shared:
            facts.append(f"static shared {bytes_text(use.static_shared)}")
        widths = (
            max([4, *(len(_numbers(shape.grid)) for shape in use.shapes)]),
            max([5, *(len(_numbers(shape.block)) for shape in use.shapes)]),
        )
        lines = [
            TextLine([(demangled(use.name), "head")]),
            TextLine([(use.name, "dim")]),
            TextLine([("  " + ", ".join(facts), "plain")]),
            TextLine(
                [
                    ("  launches      mean  shortest   longest  instructions", "dim"),
                    (f"  {'grid':{widths[0]}}  {'block':{widths[1]}}  shared", "dim"),
                ]
            ),
            *(TextLine(_shape(shape, widths)) for shape in use.shapes),
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
            said = f"executed in {use.counted_text(count_text)}"
            head = f"  line         warps threads  PTX, {said}"
        else:
            head = "  line  PTX, executions not counted"
        key = self.opened, use.blob, use.line, use.counted
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


def _mean(use: KernelUse) -> float | None:
    return use.seconds / use.launches if use.seconds is not None and use.launches else None


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration_text(round(seconds * 1e9))


def _shape(shape: Shape, widths: tuple[int, int]) -> list[Part]:
    mean = shape.seconds / shape.launches if shape.seconds is not None and shape.launches else None
    instructions = "" if shape.instructions is None else count_text(shape.instructions)
    return [
        column(count_text(shape.launches), 10, "number", right=True),
        column(_time(mean), 10, "value", right=True),
        column(_time(shape.shortest), 10, "plain", right=True),
        column(_time(shape.longest), 10, "plain", right=True),
        column(instructions, 14, "plain", right=True),
        (f"  {_numbers(shape.grid):{widths[0]}}  {_numbers(shape.block):{widths[1]}}", "value"),
        (f"  {bytes_text(shape.shared)}", "dim"),
    ]


def _numbers(triple: Triple) -> str:
    return ",".join(map(str, triple))


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
