"""What a SIGKILL may cost: of calls and lines nothing that was done 250 ms before it.

The targets count what they completed in a file they map; the counts of each moment are kept here, and
compared with the session afterwards. The bound is one of content: no test waits for a time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sessions import CallFlag, Session, open_session
from tests.collector.conftest import Bench, completed
from tests.patience import wait_until

BOUND_SECONDS = 0.250
ROUNDS = 6

# Says how many lines it has written, each with its number, in the first word of a file it maps.
WRITER = """
import mmap, os, struct, sys, time
path = sys.argv[1]
with open(path, "wb") as file:
    file.truncate(512)
with open(path, "r+b") as file:
    counts = mmap.mmap(file.fileno(), 512)
for number in range(1, 1 << 40):
    os.write(1 + number % 2, b"line %d\\n" % number)
    counts[:8] = struct.pack("<Q", number)
    time.sleep(0.0005)
"""


class History:
    """How many were completed at each moment, looked at as often as the machine lets us."""

    def __init__(self, counts: Path) -> None:
        self._counts = counts
        self._seen: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.002):
            self._seen.append((time.monotonic(), completed(self._counts)))

    def until(self, kill: Callable[[], None]) -> int:
        """Kill; -> how many were completed 250 ms before at the latest.."""
        moment = time.monotonic()
        kill()
        self._over.set()
        self._thread.join()
        # The count was read after its time was taken: only a look that ended before the bound counts.
        pairs = zip(self._seen, self._seen[1:], strict=False)
        return max((count for (_, count), (after, _) in pairs if after <= moment - BOUND_SECONDS), default=0)


def returned_calls(session: Session) -> int:
    flags = session.calls.columns(0, len(session.calls), ["flags"])["flags"]
    return int(((flags & CallFlag.UNRETURNED) == 0).sum())


def numbered_lines(session: Session) -> list[int]:
    lines = session.log.lines(0, len(session.log))
    return [int(line.text.split()[1]) for line in lines if line.text.startswith(b"line ")]


def is_over(bench: Bench) -> Session:
    """The session once nobody writes it any more, opened anew."""
    session = bench.open()
    wait_until(lambda: (session.refresh(), not session.live)[1], "the end of its collector")
    return open_session(bench.collector.directory)


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("victim", ["collector", "target"])
def test_of_calls_at_most_the_last_250_ms_are_lost(bench: Bench, victim: str, number: int) -> None:
    pid, counts = bench.produce(threads=2, calls=1 << 40, rate=20_000, payload=20, chunks=4096)
    history = History(counts)
    enough = random.Random(number).randrange(4_000, 60_000)
    wait_until(lambda: completed(counts) >= enough, "some calls")
    if victim == "collector":
        assert bench.collector.pid is not None
        done = history.until(lambda: os.kill(bench.collector.pid or 0, signal.SIGKILL))
        session = is_over(bench)
        os.kill(pid, signal.SIGKILL)
    else:
        done = history.until(lambda: os.kill(pid, signal.SIGKILL))
        bench.wait(pid)
        session = bench.open()
    assert session.damage == []
    assert returned_calls(session) >= done > 0
    assert session.lost == 0


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("victim", ["collector", "target"])
def test_of_lines_at_most_the_last_250_ms_are_lost(bench: Bench, victim: str, number: int) -> None:
    counts = bench.folder / "lines"
    pid = bench.spawn(sys.executable, "-c", WRITER, str(counts))
    history = History(counts)
    enough = random.Random(number).randrange(400, 2_000)
    wait_until(lambda: completed(counts) >= enough, "some lines")
    if victim == "collector":
        assert bench.collector.pid is not None
        done = history.until(lambda: os.kill(bench.collector.pid or 0, signal.SIGKILL))
        session = is_over(bench)
        os.kill(pid, signal.SIGKILL)
    else:
        done = history.until(lambda: os.kill(pid, signal.SIGKILL))
        bench.wait(pid)
        session = bench.open()
    assert session.damage == []
    # Two pipes: their lines may have come in another order, but none may be missing.
    found = set(numbered_lines(session))
    missing = [each for each in range(1, done + 1) if each not in found]
    assert done > 0
    assert missing == []
