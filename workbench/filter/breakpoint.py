"""The filter language as a condition for breakpoints: the part of it that the tap can decide in a call."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from workbench.filter.errors import FilterError
from workbench.filter.language import matches
from workbench.filter.parse import Token, parse, tokenise
from workbench.filter.terms import WORDS

if TYPE_CHECKING:
    from sessions import Function, Schema

_RESULTS = ("CUresult", "nvmlReturn_t")
_WORDS = {word.word for word in WORDS}
_NTH = re.compile(r"@(\d+)$")


class BreakKind(IntEnum):
    """When a call stops, as the tap's shared memory says it (tap_abi.h: enum tap_break_kind)."""

    CALL = 1
    ERROR = 2
    OK = 3
    RESULT = 4
    NOT_RESULT = 5


@dataclass(frozen=True, slots=True)
class BreakRow:
    """A breakpoint on one function; `nth` 0 stops at each match."""

    function: int
    kind: BreakKind
    value: int = 0
    nth: int = 0


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """What was asked for, and the functions it stands on."""

    text: str
    rows: tuple[BreakRow, ...]


def compile_breakpoint(text: str, schema: Schema) -> Breakpoint:
    """A breakpoint of a filter: functions by GLOB, fn: or lib:, and ok, error or result: for its result.

    `@3` at the end stops at the third match of a process only. FilterError for what means nothing, asks for
    more than a stopping call can know, or names no function.
    """
    text = text.strip()
    nth = 0
    filter_text = text
    if found := _NTH.search(text):
        nth, filter_text = int(found[1]), text[: found.start()].rstrip()
        if nth == 0 or nth > 0xFFFFFFFF:
            raise FilterError("@ counts matches from 1", found.start() + 1)
    parse(filter_text)  # what is no filter is said in the language's own words
    condition = _Condition()
    negated = False
    for token in tokenise(filter_text):
        if token.kind == "!":
            negated = not negated
        elif token.kind == "term":
            condition.take(token, negated)
            negated = False
        elif token.kind != "&":
            raise FilterError("a breakpoint is one condition: set another for the other", token.column)
    return Breakpoint(text, condition.rows(schema, nth))


def _names(function: Function, key: str, value: str, names: set[str]) -> bool:
    """Whether a term names a function; a whole name is that one only, where a filter takes it as a part."""
    if key == "lib":
        return function.library == value
    return function.name == value if value in names else matches(value)(function.name)


class _Condition:
    def __init__(self) -> None:
        self._functions: list[tuple[str, str, bool]] = []  # key, value, negated
        self._result: tuple[str, bool, int] | None = None  # word or pattern, negated, column

    def take(self, token: Token, negated: bool) -> None:
        key, colon, value = token.text.partition(":")
        key, value = (key.lower(), value.replace('"', "")) if colon else ("", token.text.replace('"', ""))
        if not colon and value.lower() in ("ok", "error"):
            failing = (value.lower() == "error") != negated
            self._take_result("error" if failing else "ok", False, token.column)
        elif key == "result":
            self._take_result(value, negated, token.column)
        elif key in ("", "fn", "lib") and (colon or value.lower() not in _WORDS):
            self._functions.append((key or "fn", value, negated))
        else:
            raise FilterError(
                f"a breakpoint can't ask for {token.text}: only for the function, ok, error and result:",
                token.column,
            )

    def _take_result(self, what: str, negated: bool, column: int) -> None:
        if self._result is not None:
            raise FilterError("a breakpoint has one condition on the result", column)
        self._result = (what, negated, column)

    def rows(self, schema: Schema, nth: int) -> tuple[BreakRow, ...]:
        names = {function.name for function in schema.functions.values()}
        chosen = [
            number
            for number, function in schema.functions.items()
            if self._functions
            and all(_names(function, key, value, names) != negated for key, value, negated in self._functions)
        ]
        if not chosen:
            raise FilterError("no function is called so" if self._functions else "which function?", 1)
        rows = []
        for number in chosen:
            row = self._row(number, schema, nth)
            if row is not None:
                rows.append(row)
        if not rows:
            assert self._result is not None
            raise FilterError("none of these functions returns that", self._result[2])
        return tuple(rows)

    def _row(self, number: int, schema: Schema, nth: int) -> BreakRow | None:
        if self._result is None:
            return BreakRow(number, BreakKind.CALL, nth=nth)
        what, negated, column = self._result
        enum = schema.functions[number].result
        if enum not in _RESULTS:
            return None
        if what in ("ok", "error"):
            return BreakRow(number, BreakKind[what.upper()], nth=nth)
        if re.fullmatch(r"-?\d+", what):
            values = {int(what)}
        else:
            values = {value for name, value in schema.enums.get(enum, {}).items() if matches(what)(name)}
            exact = schema.enums.get(enum, {}).get(what.upper())
            values = values if exact is None else {exact}
        errors = {value for value in schema.enums.get(enum, {}).values() if value != 0}
        if len(values) == 1:
            kind = BreakKind.NOT_RESULT if negated else BreakKind.RESULT
            return BreakRow(number, kind, values.pop(), nth)
        if not values:
            return None
        if values == errors:  # CUDA_ERROR_*
            return BreakRow(number, BreakKind.OK if negated else BreakKind.ERROR, nth=nth)
        raise FilterError(f"{what} is several results: name one, or say error", column)
