"""The shortest prefix of a recording's calls that still fails when it is performed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessions.copy import Window, copy_session
from workbench.replay.perform import Performance, Stage, Wish, perform


@dataclass(frozen=True)
class Prefix:
    """What was found. `until` is the number of its last call; None when nothing fails."""

    until: int | None
    calls: int
    of: int
    attempts: int
    session: Path | None = None

    @property
    def text(self) -> str:
        """In a sentence."""
        if self.until is None:
            return "nothing fails: there is no prefix to look for"
        written = f"; written to {self.session}" if self.session else ""
        return (
            f"the shortest prefix that fails: {self.calls} of {self.of} calls, up to call {self.until}"
            f" ({self.attempts} replays){written}"
        )

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        session = str(self.session) if self.session else None
        return {"until": self.until, "calls": self.calls, "attempts": self.attempts, "session": session}


def failing_call(done: Performance) -> int | None:
    """The number of the first call that fails: it differs, or never returned, be it as recorded."""
    numbers = [int(done.plan.rows[at]) + 1 for at in done.results.under_way]
    numbers += [one.a + 1 for one in done.verdict.differences if one.a is not None]
    if not numbers and done.verdict.counts:
        return int(done.plan.rows.max()) + 1  # the process ended in none of them
    return min(numbers, default=None)


def minimise(
    wish: Wish, stage: Stage, scratch: Path, whole: Performance, until: int | None, output: Path | None
) -> Prefix:
    """Look for it, beginning with what the `whole` replay showed; written to `output` as a session."""
    attempts = 0

    def fails(number: int) -> bool:
        nonlocal attempts
        attempts += 1
        return failing_call(perform(wish, stage, scratch, until=number)) is not None

    first = failing_call(whole)
    count = len(whole.plan.rows)
    if first is None:
        return Prefix(None, 0, count, 0)
    numbers = sorted(int(row) + 1 for row in whole.plan.rows)
    low, high = numbers.index(first), len(numbers) - 1
    if fails(first):  # as a rule the call that shows it is the last that is needed
        high = low
    while low < high:  # later ones were needed for it to be seen
        middle = (low + high) // 2
        if fails(numbers[middle]):
            high = middle
        else:
            low = middle + 1
    last = numbers[high]
    if output is not None:
        moment = wish.session.calls.row(last - 1).time
        copy_session(wish.session, output, window=Window(until_ns=moment), keep_buffers=True)
    return Prefix(last, high + 1, count, attempts, output)
