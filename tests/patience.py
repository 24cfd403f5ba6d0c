"""How a test waits: for a condition, however long a busy machine takes to make it true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""until what did not come never will: no more than the end of a test that is broken"""


def wait_until(condition: Callable[[], T], what: str = "") -> T:
    """The first true value of a condition."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what or condition}"
        time.sleep(0.005)
    return value


async def reached(condition: Callable[[], T], what: str = "") -> T:
    """The same, while the asyncio loop goes on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what or condition}"
        await asyncio.sleep(0.01)
    return value
