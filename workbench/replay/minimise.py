"""The shortest prefix of a recording's calls that still fails when it is performed again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessions.copy import Window, copy_session
from workbench.errors import ShimbenchError
from workbench.replay.perform import Performance, Replay, Wish, perform
from workbench.replay.stage import Stage


@dataclass(frozen=True)
class Prefix:
    """What was found. `until` is the number of its last call; None when nothing fails. `pid`: of the one
    process that it takes, None when it takes what others had done before."""

    until: int | None
    calls: int
    of: int
    attempts: int
    pid: int | None = None
    session: Path | None = None

    @property
    def text(self) -> str:
        """In a sentence."""
        if self.until is None:
            return "nothing fails: there is no prefix to look for"
        whose = f" of pid {self.pid} alone" if self.pid is not None else ""
        written = f"; written to {self.session}" if self.session else ""
        return (
            f"the shortest prefix that fails: {self.calls} of {self.of} calls{whose}, up to call {self.until}"
            f" ({self.attempts} replays){written}"
        )

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        session = str(self.session) if self.session else None
        return {
            "until": self.until, "calls": self.calls, "pid": self.pid, "attempts": self.attempts,
            "session": session,
        }  # fmt: skip


def ends_a_process(replay: Replay) -> bool:
    """Whether a call crashes, hangs or ends its process, be it as recorded: next to that no other result
    matters."""
    return any(_is_ended(done) for done in replay.performances)


def _is_ended(done: Performance) -> bool:
    return done.ending.begun and bool(done.results.under_way or done.verdict.not_reached)


def failing_call(done: Performance, ending: bool) -> int | None:
    """The number of the first call that fails: it differs, or never returned, be it as recorded. With
    `ending` only what ends its process does."""
    if ending and not _is_ended(done):
        return None
    numbers = [int(done.plan.rows[at]) + 1 for at in done.results.under_way]
    if not ending:
        numbers += [one.a + 1 for one in done.verdict.differences if one.a is not None]
    if not numbers and done.verdict.counts and done.ending.begun:
        return int(done.plan.rows.max()) + 1  # the process ended in none of them
    return min(numbers, default=None)


def first_failure(replay: Replay, ending: bool) -> tuple[int, Performance] | None:
    """The first call that fails, and the process whose it is."""
    failures = [
        (number, done) for done in replay.performances if (number := failing_call(done, ending)) is not None
    ]
    return min(failures, key=lambda pair: pair[0], default=None)


def minimise(
    wish: Wish, stage: Stage, scratch: Path, whole: Replay, until: int | None, output: Path | None
) -> Prefix:
    """Look for it, beginning with what the `whole` replay showed; written to `output` as a session.

    One process alone, if it fails by itself; else with what others had done before.
    """
    search = _Search(wish, stage, scratch, ends_a_process(whole))
    found = first_failure(whole, search.ending)
    if found is None:
        return Prefix(None, 0, whole.calls, 0)
    first, failing = found
    alone = len(whole.performances) == 1
    if not alone and search.fails((failing.plan.process,), until):
        alone, search.processes = True, (failing.plan.process,)
    rows = [row for done in whole.performances for row in done.plan.rows.tolist()]
    if alone:
        rows = failing.plan.rows.tolist()
    numbers = sorted(int(row) + 1 for row in rows)
    low, high = numbers.index(first), len(numbers) - 1
    if search.fails(search.processes, first):  # as a rule the call that shows it is the last that is needed
        high = low
    while low < high:  # later ones were needed for it to be seen
        middle = (low + high) // 2
        if search.fails(search.processes, numbers[middle]):
            high = middle
        else:
            low = middle + 1
    last = numbers[high]
    if output is not None:
        window = Window(calls=last, processes=frozenset(search.processes))
        copy_session(wish.session, output, window=window, keep_buffers=True)
    pid = wish.session.processes[failing.plan.process].pid if alone else None
    return Prefix(last, high + 1, whole.calls, search.attempts, pid, output)


class _Search:
    def __init__(self, wish: Wish, stage: Stage, scratch: Path, ending: bool) -> None:
        self._wish, self._stage, self._scratch, self.ending = wish, stage, scratch, ending
        self.processes = wish.processes
        self.attempts = 0

    def fails(self, processes: tuple[int, ...], until: int | None) -> bool:
        """Whether these processes' calls up to that number fail."""
        self.attempts += 1
        wish = dataclasses.replace(self._wish, processes=processes)
        try:
            replay = perform(wish, self._stage, self._scratch, until=until)
        except ShimbenchError:
            return False  # a prefix in which there is nothing to perform
        return first_failure(replay, self.ending) is not None
