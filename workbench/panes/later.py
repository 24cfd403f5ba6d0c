"""Calling something after a time, whatever the machine does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.message_pump import MessagePump


def later(pump: MessagePump, seconds: float, callback: Callable[[], object]) -> None:
    """Have a widget, a screen or the application call after so many seconds, unless it is gone by then.

    Textual's `set_timer` never calls when its task was kept waiting for longer than that between its two
    first looks at the clock. A busy machine does that with milliseconds, and each look at the session is
    appointed by the one before: the screen would stand still for ever.
    """
    asyncio.get_running_loop().call_later(seconds, pump.call_next, callback)
