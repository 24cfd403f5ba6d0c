"""What a filter is made of: nodes that say for a stretch of calls, or of lines, which of them hold.

A node gets the rows that still matter (`wanted`) and may answer anything for the others, so that what
is dear to decide (text of decoded calls) is decided for few rows.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence, Sized
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sessions import Session

Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[typing.Any]
NUMBERS = 1 << 16  #: of functions, and of processes

_Things = TypeVar("_Things", bound=Sized)
_Taken = TypeVar("_Taken", bound=Sized, contravariant=True)


class Rows:
    """A stretch of a session's calls; columns are read once, when first asked for."""

    def __init__(self, session: Session, start: int, stop: int) -> None:
        self.session = session
        self.start = start
        self.stop = stop
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    def column(self, name: str) -> Column:
        """A column of these rows."""
        if name not in self._columns:
            self._columns |= self.session.calls.columns(self.start, self.stop, (name,))
        return self._columns[name]


class Node(Protocol[_Taken]):
    """A part of a filter. `dear`: decide it last."""

    dear: bool

    def mask(self, rows: _Taken, wanted: Mask) -> Mask: ...


class Test:
    """A term that looks at columns."""

    dear = False

    def __init__(self, holds: Callable[[Rows], Mask]) -> None:
        self._holds = holds

    def mask(self, rows: Rows, wanted: Mask) -> Mask:
        return self._holds(rows)


class RowTest:
    """A term that must look at each call by itself."""

    dear = True

    def __init__(self, holds: Callable[[Session, int], bool]) -> None:
        self._holds = holds

    def mask(self, rows: Rows, wanted: Mask) -> Mask:
        found = np.zeros(len(rows), bool)
        for at in np.flatnonzero(wanted).tolist():
            found[at] = self._holds(rows.session, rows.start + at)
        return found


class All(Generic[_Things]):
    """Every part must hold; none: everything passes."""

    def __init__(self, parts: Sequence[Node[_Things]]) -> None:
        self._parts = sorted(parts, key=lambda part: part.dear)
        self.dear = any(part.dear for part in parts)

    def mask(self, rows: _Things, wanted: Mask) -> Mask:
        left = wanted
        for part in self._parts:
            if not left.any():
                break
            left = left & part.mask(rows, left)
        return left


class Any(Generic[_Things]):
    """At least one part must hold."""

    def __init__(self, parts: Sequence[Node[_Things]]) -> None:
        self._parts = sorted(parts, key=lambda part: part.dear)
        self.dear = any(part.dear for part in parts)

    def mask(self, rows: _Things, wanted: Mask) -> Mask:
        found = np.zeros(len(rows), bool)
        for part in self._parts:
            open_rows = wanted & ~found
            if not open_rows.any():
                break
            found |= open_rows & part.mask(rows, open_rows)
        return found


class Not(Generic[_Things]):
    """The part must not hold."""

    def __init__(self, part: Node[_Things]) -> None:
        self._part = part
        self.dear = part.dear

    def mask(self, rows: _Things, wanted: Mask) -> Mask:
        return ~self._part.mask(rows, wanted)
