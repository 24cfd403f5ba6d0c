"""What is kept of an error of shimbench's own: its traceback, in a file of the user's state directory.

A part that fails by a mistake in it must not take the rest along: who catches such an error keeps it here,
and says the sentence that comes back where the part would have shown something.
"""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

LOG_BYTES = 1 << 20
"""So much the file holds until it is begun anew; the one before stays beside it."""

raised = False
"""Whether errors are raised instead of kept: by tests, which would overlook them."""

_written: set[str] = set()  # the tracebacks: a row that can't be drawn is tried with each frame


def log_path() -> Path:
    """Where tracebacks lie."""
    import platformdirs  # only when something has failed

    return platformdirs.user_log_path("shimbench") / "workbench.log"


def keep(error: Exception, where: str) -> str:
    """Write down an error, with its traceback, that came up in a part of shimbench; -> what to say of it."""
    if raised:
        raise error
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    sentence = f"{where}: {what}: an error of shimbench's own"
    try:
        write_down(error, where)
    except OSError:  # on a full disk, say
        return sentence
    return f"{sentence}, its traceback is in {log_path()}"


def write_down(error: BaseException, where: str) -> None:
    """Append an error to the log, each once. Raises OSError."""
    text = "".join(traceback.format_exception(error))
    if text in _written:
        return
    path = log_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name("workbench.log.1"))
    with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S %z')}, process {os.getpid()}, in {where}\n")
        log.write(f"{text}\n")
    _written.add(text)
