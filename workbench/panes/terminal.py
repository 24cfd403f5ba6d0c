"""The terminal, which may vanish at any moment: what is written then goes nowhere, and nobody waits for it.

Textual writes in a thread of its own, behind a queue of a few writes. That thread would end with the first
write that fails, and whoever fills the queue after that, who wants to end as well, would wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, cast

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App


class Vanishing:
    """A terminal's file that takes everything, whether it is still there or not."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError, ValueError):
            return self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


async def lend_terminal(app: App[Any], use: Callable[[], str | None]) -> str | None:
    """Let `use` have the terminal, in a thread, and say what it says. The application goes on behind it
    without drawing anything: what is saved in an editor is built and launched while it is open."""
    # Ctrl+C goes to all in the foreground; it is meant for the program there. Not ignored, but handled, for
    # what is ignored stays so in a program that is started.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with app.batch_update(), app.suspend():
            return await asyncio.to_thread(use)
    finally:
        signal.signal(signal.SIGINT, before)


class TerminalDriver(LinuxDriver):
    """Textual's driver, on a terminal that may vanish."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._file = cast(Any, Vanishing(cast(TextIO, self._file)))

    def write(self, data: str) -> None:
        """Nothing is written while another program has the terminal: no thread takes it then."""
        if self._writer_thread is None or self._writer_thread.is_alive():
            super().write(data)

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, if it was given up. A terminal that vanishes sends SIGCONT too, behind its
        SIGHUP: Textual would start its threads a second time, and never end the first."""
        if self._must_signal_resume:
            super()._sigcont_application()
