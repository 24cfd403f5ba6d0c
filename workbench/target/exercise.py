"""Driving the target after each launch: a request, a command, a script, or what it prints by itself."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import urllib3

from workbench.config import Exercise
from workbench.target.answers import MOST_TEXT, AnswerReader

PATIENCE_SECONDS = 60.0
"""For a server to listen."""
POLL_SECONDS = 0.05


Lines = Sequence[tuple[float, bytes]]
"""(seconds since the start, line without its newline)"""


@dataclass(frozen=True)
class Outcome:
    """What became of an exercise."""

    ok: bool
    seconds: float
    """of the request itself, without waiting for the server to listen"""
    text: str = ""
    """what came back, or the beginning of it"""
    error: str = ""
    """why it is not ok, in words"""
    status: int | None = None
    """of HTTP, or of the command"""
    tokens: int | None = None
    """None where they can't be told"""
    first_token_seconds: float | None = None
    pieces: tuple[str, ...] = ()
    """the tokens, or the pieces in which they came"""

    def as_json(self) -> dict[str, Any]:
        """For the session's event and `run --json`: plain values, without the pieces."""
        return {name: value for name, value in asdict(self).items() if name != "pieces"}

    def __str__(self) -> str:
        if not self.ok:
            return self.error
        if self.tokens is None:
            return f"ok, {self.seconds:.2f} s"
        first = f", the first after {self.first_token_seconds:.2f} s" if self.first_token_seconds else ""
        return f"{self.tokens} tokens{first}"


@dataclass(frozen=True)
class Expectation:
    """The target's tokens beside those of the CPU backend."""

    same: bool
    text: str
    """in words; names the first difference"""
    at: int | None = None
    """number of the first token that differs, from 1"""


def url_of(exercise: Exercise, target_url: str | None) -> str | None:
    """Where the request goes; None when nobody has said where the target listens."""
    assert exercise.http is not None
    if not exercise.http.startswith("/"):
        return exercise.http
    return target_url + exercise.http if target_url else None


async def request(exercise: Exercise, url: str, patience: float = PATIENCE_SECONDS) -> Outcome:
    """Wait until `url` listens, then ask; never raises but when cancelled."""
    begun, cancelled = time.monotonic(), threading.Event()
    try:
        while True:
            outcome = await asyncio.to_thread(_ask, exercise, url, cancelled)
            if outcome is not None:
                return outcome
            if time.monotonic() - begun > patience:
                return Outcome(False, 0.0, error=f"{url} did not listen within {patience:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
    finally:
        cancelled.set()


def _ask(exercise: Exercise, url: str, cancelled: threading.Event) -> Outcome | None:
    """-> None while nobody listens."""
    reader, begun = AnswerReader(), time.monotonic()
    first: float | None = None
    body = None if exercise.json is None else json.dumps(exercise.json).encode()
    timeout = urllib3.Timeout(connect=5.0, read=exercise.timeout)
    # No proxy of the environment: the target is on this machine.
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        status: int | None = None
        try:
            response = pool.request(
                "GET" if body is None else "POST",
                url,
                body=body,
                headers={"Content-Type": "application/json"},
                preload_content=False,
            )
            status = response.status
            while not cancelled.is_set() and time.monotonic() - begun < exercise.timeout:
                data = response.read1(65536, decode_content=True)
                if not data:
                    break
                if reader.feed(data) and first is None:
                    first = time.monotonic() - begun
            else:
                return _failed(begun, reader, first, status, f"no end after {exercise.timeout:g} s")
        except urllib3.exceptions.NewConnectionError as error:
            if isinstance(error.__cause__, ConnectionRefusedError) or "refused" in str(error):
                return None
            return _failed(begun, reader, first, status, f"{url}: {error}")
        except (urllib3.exceptions.TimeoutError, TimeoutError):
            return _failed(begun, reader, first, status, f"no answer within {exercise.timeout:g} s")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return _failed(begun, reader, first, status, f"the connection broke: {error}")
    if reader.finish() and first is None:
        first = time.monotonic() - begun
    refused = f"HTTP {status}: {reader.raw.strip()[:200]}" if status >= 400 else ""
    problem, seconds, text = reader.error or refused, time.monotonic() - begun, reader.text or reader.raw
    return Outcome(not problem, seconds, text, problem, status, reader.tokens, first, tuple(reader.pieces))


def _failed(
    begun: float, reader: AnswerReader, first: float | None, status: int | None, error: str
) -> Outcome:
    seconds = time.monotonic() - begun
    return Outcome(False, seconds, reader.text, error, status, reader.tokens, first, tuple(reader.pieces))


def command_of(exercise: Exercise, directory: Path) -> tuple[str, ...]:
    """The words that run a `command` or a `script`."""
    if exercise.command is not None:
        return exercise.command
    assert exercise.script is not None
    path = (directory / exercise.script).absolute()
    if os.access(path, os.X_OK):
        return (str(path),)
    return (sys.executable if path.suffix == ".py" else "/bin/sh", str(path))


def of_command(status: int | None, ending: str, lines: Lines, seconds: float) -> Outcome:
    """What a command's end and its stdout come to. JSON of a kind that a server would answer is counted;
    of other output the words are what can be compared."""
    reader = AnswerReader()
    first: float | None = None
    for moment, line in lines:
        if reader.feed(line + b"\n") and first is None:
            first = moment
    reader.finish()
    error = reader.error or ("" if status == 0 else f"the exercise ended with {ending}")
    text = reader.text or b"\n".join(line for _, line in lines).decode(errors="replace")[:MOST_TEXT]
    pieces = tuple(reader.pieces) or tuple(text.split())
    return Outcome(not error, seconds, text, error, status, reader.tokens, first, pieces)


def of_output(pattern: str, wanted: int, lines: Lines, ending: str = "") -> Outcome | None:
    """The tokens in a target's own output; None while fewer than `wanted` have come and it has not ended
    (`ending` says how, in words)."""
    expression, pieces, first, last = re.compile(pattern.encode()), [], None, 0.0
    for moment, line in lines:
        for match in expression.finditer(line):
            pieces.append((match[1] if match.re.groups else match[0]).decode(errors="replace"))
            first = moment if first is None else first
            last = moment
            if len(pieces) == wanted:
                return Outcome(True, last, " ".join(pieces), "", None, wanted, first, tuple(pieces))
    if not ending:
        return None
    error = f"{len(pieces)} of {wanted} tokens, then {ending}"
    return Outcome(False, last, " ".join(pieces), error, None, len(pieces), first, tuple(pieces))


def on_cpu(json_body: Mapping[str, Any] | None, gpu: bool) -> dict[str, Any]:
    """The same request to Ollama, greedy, on the GPU or on the CPU alone; answered token by token, since a
    whole text is one piece and would hide which token differs first."""
    body = dict(json_body or {})
    options = {**body.get("options", {}), "temperature": 0, "top_k": 1, "seed": 0}
    if not gpu:
        options["num_gpu"] = 0
    return {**body, "stream": True, "options": options}


def greedy(exercise: Exercise, gpu: bool) -> Exercise:
    """`exercise` so that its tokens may be compared with the other's."""
    return replace(exercise, json=on_cpu(exercise.json, gpu))


def compare_tokens(gpu: Outcome, cpu: Outcome) -> Expectation:
    """Token for token; where the pieces were cut differently, by the text."""
    if not cpu.ok:
        return Expectation(False, f"the CPU backend gave no tokens to compare with: {cpu.error}")
    if not gpu.ok:
        return Expectation(False, f"no tokens to compare with the CPU backend's: {gpu.error}")
    ours, theirs = gpu.pieces, cpu.pieces
    if not ours or not theirs:
        which = "the target" if not ours else "the CPU backend"
        return Expectation(False, f"{which} gave no tokens to compare")
    shorter = min(len(ours), len(theirs))
    for number in range(shorter):
        if ours[number] != theirs[number]:
            text = f"token {number + 1} is {ours[number]!r}, the CPU backend's is {theirs[number]!r}"
            return Expectation(False, text, number + 1)
    if "".join(ours) != "".join(theirs):
        text = f"{len(ours)} tokens, the CPU backend gave {len(theirs)}; the first {shorter} are the same"
        return Expectation(False, text, shorter + 1)
    return Expectation(True, f"the same {shorter} token{'s' if shorter > 1 else ''} as the CPU backend")
