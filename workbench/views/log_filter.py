"""Which lines of a session's log pass a filter, kept up to date; a crash's report passes whole or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from workbench.filter.lines import Written
from workbench.views.growing import GrowingArray
from workbench.views.log import BATCH
from workbench.views.log_blocks import Block, LogBlocks

if TYPE_CHECKING:
    from sessions import Session
    from workbench.filter import LineFilter


class FilteredLog:
    """Lines and reports of one session; without a filter all lines pass."""

    def __init__(
        self, session: Session, line_filter: LineFilter | None = None, blocks: LogBlocks | None = None
    ) -> None:
        self._session = session
        self._filter = line_filter
        self.blocks = blocks or LogBlocks()
        """the reports, which another filter of the same session may have found before"""
        self.scanned = 0
        """lines looked at so far"""
        self._passing = GrowingArray() if line_filter is not None else None

    def __len__(self) -> int:
        return self.scanned if self._passing is None else len(self._passing)

    def number(self, index: int) -> int:
        """The log's own number (from 0) of a line that passes."""
        return index if self._passing is None else self._passing[index]

    def before(self, number: int) -> int:
        """How many of the lines before a number pass: the index of that line, or of the next that does."""
        return min(number, self.scanned) if self._passing is None else self._passing.searchsorted(number)

    def advance(self, until: int | None = None) -> None:
        """Take in lines written since, up to number `until`."""
        start, stop = self.scanned, len(self._session.log) if until is None else until
        if stop <= start:
            return
        self.blocks.update(self._session, max(stop, self.blocks.scanned))
        self.scanned = stop
        if self._filter is None or self._passing is None:
            return
        of_lines = map(self.blocks.of, range(start, stop))
        reports = {block.first: block for block in of_lines if block is not None}
        passing = list(self._chosen(self._filter, self._alone(start, stop)))
        passing += self._chosen(self._filter, map(self._report, reports.values()))
        passing = [number for number in passing if number < stop]  # the rest of a report comes with its lines
        if min(reports, default=start) >= start:
            self._passing.extend(np.array(sorted(passing), np.int64))
            return
        # What was shown of these reports before they had grown so far is judged anew.
        judged = [number for block in reports.values() for number in block.lines]
        kept = np.setdiff1d(self._passing.between(0, len(self._passing)), np.array(judged, np.int64))
        self._passing = GrowingArray()
        self._passing.extend(np.union1d(kept, np.array(passing, np.int64)))

    def _alone(self, start: int, stop: int) -> Iterator[Written]:
        for begin in range(start, stop, BATCH):
            for number, line in enumerate(self._session.log.lines(begin, min(begin + BATCH, stop)), begin):
                if self.blocks.of(number) is None:
                    yield Written(self._session, (number,), (line,), report=False)

    def _report(self, block: Block) -> Written:
        return written(self._session, self.blocks, block.first)

    def _chosen(self, line_filter: LineFilter, written: Iterable[Written]) -> Iterator[int]:
        """The numbers of what passes."""
        batch: list[Written] = []
        for each in written:
            batch.append(each)
            if len(batch) == BATCH:
                yield from _passing(line_filter, batch)
                batch = []
        yield from _passing(line_filter, batch)


def written(session: Session, blocks: LogBlocks, number: int) -> Written:
    """A line as filters see it: by itself, or with the report that it is part of."""
    block = blocks.of(number)
    numbers = (number,) if block is None else tuple(block.lines)
    return Written(session, numbers, [session.log.line(each) for each in numbers], report=block is not None)


def _passing(line_filter: LineFilter, batch: list[Written]) -> Iterator[int]:
    for at in line_filter.mask(batch).nonzero()[0].tolist():
        yield from batch[at].numbers
