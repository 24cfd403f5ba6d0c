"""The inspector: everything that was recorded of the selected call, and the log around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sessions.format import ItemKind
from workbench.panes.format import bytes_text, duration_text, time_text
from workbench.panes.parts import Part, column
from workbench.panes.sgr import plain_text
from workbench.panes.text_lines import TextLine, TextLines

if TYPE_CHECKING:
    from sessions import Session
    from sessions.decode import CallDecoder

_ITEMS = {ItemKind.OUT: "written through", ItemKind.IN: "read through", ItemKind.STRING: "string of"}
_HEX_ROW = 16
_HEX_LIMIT = 64 * 1024  # bytes of one buffer shown; more can't be told apart by eye
_LOG_AROUND = 3


class InspectorPane(TextLines):
    """Arguments, out-values, structs, strings, buffers, caller, thread, nesting, log around."""

    where: ClassVar[str] = "inspect"
    empty = "select a call: j and k in the calls pane"

    def __init__(self, session: Session, decoder: CallDecoder, *, id: str = "inspect") -> None:
        super().__init__(id=id)
        self.session = session
        self.decoder = decoder
        self.row: int | None = None

    def show_row(self, row: int | None) -> None:
        """Show a call by its row index."""
        if row == self.row or row is None or row >= len(self.session.calls):
            return
        self.row = row
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.set_lines([*self._head(row), *self._arguments(row), *self._payload(row), *self._log(row)])
        self.post_message(self.StatusChanged(self))

    def again(self) -> None:
        """Draw the call anew: the session is one of another moment."""
        row, self.row = self.row, None
        if row is not None and row < len(self.session.calls):
            cursor, top = self.cursor, self.scroll_offset.y
            self.show_row(row)
            self.cursor = cursor
            self.scroll_to(y=top, animate=False, force=True)

    def status(self) -> str:
        """Which call is shown."""
        return "" if self.row is None else f"call {self.row + 1}"

    def _head(self, number: int) -> list[TextLine]:
        row = self.session.calls.row(number)
        process = self.session.processes[row.process]
        name = process.exe.rsplit("/", 1)[-1]
        lines = [
            TextLine([(self.decoder.text(self.session, number), "head")]),
            _fact("call", f"{number + 1}, sequence {row.sequence} of its thread"),
            _fact("time", f"{time_text(row.time)} s, took {duration_text(int(row.duration))}"),
            _fact("process", f"{process.pid} {name}, run {process.run}, thread {row.thread}"),
            _fact("caller", self.session.caller_name(row.process, row.caller) or f"0x{row.caller:x}"),
        ]
        if row.nesting:
            lines.append(
                _fact("nested", f"{row.nesting} deep, inside call sequence {row.parent} of its thread")
            )
        return lines

    def _arguments(self, number: int) -> list[TextLine]:
        arguments = self.decoder.arguments(self.session, number)
        if not arguments:
            return []
        names = min(max(len(argument.name) for argument in arguments), 24)
        types = min(max(len(argument.type) for argument in arguments), 22)
        lines = [TextLine([]), TextLine([("arguments", "accent")])]
        for argument in arguments:
            direction = "out " if argument.out else "    "
            parts: list[Part] = [
                (f" {direction}", "out"),
                column(argument.name, names, "name"),
                ("  ", "plain"),
            ]
            parts += [column(argument.type, types, "dim"), ("  ", "plain")]
            lines.append(TextLine([*parts, (argument.text, "out" if argument.out else "value")]))
        return lines

    def _payload(self, number: int) -> list[TextLine]:
        lines: list[TextLine] = []
        for item in self.session.calls.payload(number):
            if not item.data or item.kind not in _ITEMS:
                continue
            cut = "" if item.original <= len(item.data) else f", {bytes_text(len(item.data))} of it kept"
            what = f"{_ITEMS[ItemKind(item.kind)]} {self._parameter(number, item.index)}"
            title = f"{what}, {bytes_text(item.original)}{cut}"
            lines += [TextLine([]), TextLine([(title, "accent")])]
            lines += [
                TextLine(hex_row(item.data, at)) for at in range(0, min(len(item.data), _HEX_LIMIT), _HEX_ROW)
            ]
        return lines

    def _parameter(self, number: int, index: int) -> str:
        function = self.session.schema.functions.get(self.session.calls.row(number).function)
        return (
            function.params[index].name if function and index < len(function.params) else f"argument {index}"
        )

    def _log(self, number: int) -> list[TextLine]:
        log = self.session.log
        low, high = 0, len(log)
        while low < high:
            middle = (low + high) // 2
            if log.line(middle).after_call < number + 1:
                low = middle + 1
            else:
                high = middle
        lines: list[TextLine] = []
        for index in range(max(low - _LOG_AROUND, 0), min(low + _LOG_AROUND, len(log))):
            line = log.line(index)
            when = "before" if index < low else "after"
            lines.append(
                TextLine(
                    [
                        column(when, 7, "dim"),
                        column(str(line.pid), 7, "number", right=True),
                        (f" {line.length}B ", "dim"),
                        (plain_text(line.text), "plain"),
                    ]
                )
            )
        return [TextLine([]), TextLine([("log around", "accent")]), *lines] if lines else []


def _fact(name: str, text: str) -> TextLine:
    return TextLine([column(f" {name}", 10, "dim"), (text, "plain")])


def hex_row(data: bytes, at: int) -> list[Part]:
    """One row of a hex dump: offset, sixteen bytes, their printable characters."""
    row = data[at : at + _HEX_ROW]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return [(f" {at:06x}  ", "dim"), (f"{row.hex(' '):<48}", "value"), (f" {text}", "plain")]
