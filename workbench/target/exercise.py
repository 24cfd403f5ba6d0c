"""The request made after each launch, so that every edit is tried on the same road."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from workbench.config import Exercise


@dataclass(frozen=True)
class Answer:
    """What became of the request."""

    ok: bool
    status: int | None
    seconds: float
    text: str
    """the beginning of the body, or what went wrong"""


async def perform(exercise: Exercise, url: str, patience: float = 60.0) -> Answer:
    """Wait until `url` answers, then make the request; never raises but when cancelled."""
    begun = time.monotonic()
    while True:
        answer = await asyncio.to_thread(_request, url + exercise.http, exercise)
        if answer is not None:
            return answer
        if time.monotonic() - begun > patience:
            return Answer(
                False, None, time.monotonic() - begun, f"{url} did not listen within {patience:.0f} s"
            )
        await asyncio.sleep(0.05)


def _request(url: str, exercise: Exercise) -> Answer | None:
    """-> None while nobody listens."""
    body = None if exercise.json is None else json.dumps(exercise.json).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=600) as response:
            text = response.read(65536).decode(errors="replace")
            return Answer(True, response.status, time.monotonic() - begun, text)
    except urllib.error.HTTPError as error:
        text = error.read(4096).decode(errors="replace")
        return Answer(False, error.code, time.monotonic() - begun, text)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return None
        return Answer(False, None, time.monotonic() - begun, str(error.reason))
    except OSError as error:
        return Answer(False, None, time.monotonic() - begun, str(error))
