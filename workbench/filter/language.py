"""What a filter language is made of: terms and words with their help, and how the values of terms are read.

There is one language, and two vocabularies: of calls (`terms`) and of lines of the log (`lines`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from workbench.filter.nodes import Node

if TYPE_CHECKING:
    from sessions import Session

Things = TypeVar("Things", bound=Sized)
"""what is filtered, a stretch at a time"""

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
_COMPARE = re.compile(r"(>=|<=|>|<|=)?(.+)")
_RANGE = re.compile(r"(.+?)(?:-|\.\.)(.+)")
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)")


@dataclass(frozen=True)
class Term(Generic[Things]):
    """One row of the language. `key` is what stands before the colon; "" for a bare word."""

    key: str
    syntax: str
    help: str
    example: str
    make: Callable[[str], Node[Things]]
    """from the value; ValueError says what is wrong with it"""


@dataclass(frozen=True)
class Word(Generic[Things]):
    """A word with a meaning of its own."""

    word: str
    help: str
    make: Callable[[], Node[Things]]


Candidates = Sequence[tuple[str, str]]
"""What could be written, each with a word of help."""


@dataclass(frozen=True)
class Language(Generic[Things]):
    """A vocabulary: `of` says of what, `values` offers values of a term, `names` what a bare word may be."""

    of: str
    terms: tuple[Term[Things], ...]
    words: tuple[Word[Things], ...]
    values: Callable[[str, Session | None], Candidates]
    names: Callable[[Session], Candidates] = lambda _: ()

    def term(self, key: str) -> Term[Things] | None:
        """The term with what stands before a colon."""
        return next((term for term in self.terms if term.key == key), None)

    def word(self, text: str) -> Word[Things] | None:
        """The word with a meaning of its own."""
        return next((word for word in self.words if word.word == text), None)


def matches(pattern: str) -> Callable[[str], bool]:
    """A glob when it has a wildcard, else a part of the name; capitals don't matter."""
    folded = pattern.casefold()
    if any(char in pattern for char in "*?["):
        return lambda name: fnmatchcase(name.casefold(), folded)
    return lambda name: folded in name.casefold()


def whole_number(value: str) -> int:
    """A whole number, also hexadecimal; ValueError when it is none."""
    try:
        return int(value, 0)
    except ValueError:
        raise ValueError(f"{value!r} is not a number") from None


def compare(value: str, read: Callable[[str], float]) -> Callable[[Any], Any]:
    """`>1ms`, `<=5`, `10-20` or `7` as a test of a number, or of each of an array; `read` makes numbers."""
    found = _RANGE.fullmatch(value)
    if found and value[0] not in "<>=":
        low, high = read(found[1]), read(found[2])
        return lambda array: (array >= low) & (array <= high)
    parts = _COMPARE.fullmatch(value)
    if parts is None:
        raise ValueError("expected a number, >number or number-number")
    bound = read(parts[2])
    match parts[1]:
        case ">":
            return lambda array: array > bound
        case ">=":
            return lambda array: array >= bound
        case "<":
            return lambda array: array < bound
        case "<=":
            return lambda array: array <= bound
        case _:
            return lambda array: array == bound


def nanoseconds(text: str) -> float:
    """`1.5ms` -> 1500000; without a unit ns."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a time such as 1ms, 20us or 1.5s")
    unit = found[2] or "ns"
    if unit not in _UNITS:
        raise ValueError(f"{unit!r} is not a unit of time: ns, us, ms, s or min")
    return round(float(found[1]) * _UNITS[unit])


def process_values(key: str, session: Session) -> list[tuple[str, str]]:
    """Values of the terms that both vocabularies have: pid, process, run."""
    processes = session.processes
    if key == "pid":
        return [(str(process.pid), PurePosixPath(process.exe).name) for process in processes]
    if key == "process":
        return [(name, "program") for name in dict.fromkeys(PurePosixPath(p.exe).name for p in processes)]
    if key == "run":
        return [(str(run), "run") for run in sorted({process.run for process in processes}, reverse=True)]
    return []
