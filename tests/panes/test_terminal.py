"""A terminal that vanishes while the workbench writes to it."""

from __future__ import annotations

import contextlib
import os
import pty

from textual.drivers._writer_thread import WriterThread

from workbench.panes.terminal import Vanishing


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
