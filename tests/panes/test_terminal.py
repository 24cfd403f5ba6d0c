"""A terminal that vanishes while the workbench writes to it."""

from __future__ import annotations

import contextlib
import os
import pty
import signal

import pytest
from textual.app import App
from textual.drivers._writer_thread import WriterThread

from workbench.panes.terminal import TerminalDriver, Vanishing


def test_what_is_written_to_a_terminal_that_is_gone_holds_nobody_up() -> None:
    far, near = pty.openpty()
    file = os.fdopen(near, "w")
    writer = WriterThread(Vanishing(file))  # type: ignore[arg-type]
    writer.start()
    os.close(far)
    for _ in range(1000):  # more than its queue holds
        writer.write("a frame")
    writer.stop()
    assert not writer.is_alive()
    with contextlib.suppress(OSError):  # of what it still holds
        file.close()


async def test_the_continue_signal_of_a_vanishing_terminal_starts_no_second_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
    taken: list[str] = []
    try:
        driver = TerminalDriver(App())
        monkeypatch.setattr(driver, "resume_application_mode", lambda: taken.append("again"))
        signal.raise_signal(signal.SIGCONT)
        assert taken == []
        driver._must_signal_resume = True  # as Ctrl+Z leaves it
        signal.raise_signal(signal.SIGCONT)
        assert taken == ["again"]
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
