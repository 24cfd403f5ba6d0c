"""The terminal, which may vanish at any moment: what is written then goes nowhere, and nobody waits for it.

Textual writes in a thread of its own, behind a queue of a few writes. That thread would end with the first
write that fails, and whoever fills the queue after that, who wants to end as well, would wait for ever.
"""

from __future__ import annotations

import contextlib
from typing import Any, TextIO, cast

from textual.drivers.linux_driver import LinuxDriver


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


class TerminalDriver(LinuxDriver):
    """Textual's driver, on a terminal that may vanish."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._file = cast(Any, Vanishing(cast(TextIO, self._file)))

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, if it was given up. A terminal that vanishes sends SIGCONT too, behind its
        SIGHUP: Textual would start its threads a second time, and never end the first."""
        if self._must_signal_resume:
            super()._sigcont_application()
