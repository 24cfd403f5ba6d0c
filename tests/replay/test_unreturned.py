"""What a call that never returned is to come to again follows from how its process ended."""

from __future__ import annotations

import signal

import pytest

from sessions.processes import Process
from sessions.replay.unreturned import Expected, expected_of

MOMENT, LONG = 5_000_000, 20_000_000_000  # ns under way


@pytest.mark.parametrize(
    ("ended", "under_way", "threads", "expected"),
    [
        ({"signal": signal.SIGSEGV}, MOMENT, 1, Expected.CRASH),
        ({"signal": signal.SIGABRT}, LONG, 3, Expected.CRASH),
        ({"signal": signal.SIGKILL}, LONG, 1, Expected.HANG),
        ({"signal": signal.SIGKILL}, MOMENT, 1, Expected.NOTHING),
        ({"signal": signal.SIGTERM}, MOMENT, 2, Expected.NOTHING),
        ({"exit_code": 7}, MOMENT, 1, Expected.EXIT),
        ({"exit_code": 0}, MOMENT, 2, Expected.NOTHING),
        ({"exit_code": 0}, LONG, 2, Expected.HANG),
        ({}, MOMENT, 1, Expected.NOTHING),
    ],
)
def test_what_is_expected_of_a_call_that_never_returned(
    ended: dict[str, int], under_way: int, threads: int, expected: Expected
) -> None:
    process = Process(0)
    for name, value in ended.items():
        setattr(process, name, value)
    assert expected_of(process, under_way, threads) is expected
