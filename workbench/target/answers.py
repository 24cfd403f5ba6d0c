"""What a server answers, as it streams: text, tokens and errors, in the shapes of Ollama, llama-server and
the OpenAI API; one JSON object, one a line, or server-sent events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

MOST_TEXT = 65536


@dataclass
class AnswerReader:
    """Takes the body in pieces as they come."""

    pieces: list[str] = field(default_factory=list)
    """the text of each object that had some, in order"""
    counted: int | None = None
    """tokens, where the server says how many"""
    error: str = ""
    raw: str = ""
    """the beginning of the body"""
    _rest: bytes = b""
    _whole: bytes = b""
    _lines: bool = False

    def feed(self, data: bytes) -> bool:
        """-> has this brought the first text?"""
        before = len(self.pieces)
        if len(self.raw) < MOST_TEXT:
            self.raw += data.decode(errors="replace")[: MOST_TEXT - len(self.raw)]
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._line(line)
        return before == 0 and len(self.pieces) > 0

    def finish(self) -> bool:
        """The body is complete; -> has the end brought the first text?"""
        before = len(self.pieces)
        if not self._line(self._rest) and not self._lines:
            self._take(_parsed(self._whole))  # one object, written over several lines
        return before == 0 and len(self.pieces) > 0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def tokens(self) -> int | None:
        """As the server counts them, else the pieces it sent; None when it speaks of none."""
        if self.counted is not None:
            return self.counted
        return len(self.pieces) or None

    def _line(self, line: bytes) -> bool:
        text = line.strip().removeprefix(b"data:").strip()
        if not text or text == b"[DONE]":
            return False
        value = _parsed(text)
        if not isinstance(value, dict):
            self._whole += line + b"\n"
            return False
        self._lines = True
        self._take(value)
        return True

    def _take(self, value: Any) -> None:
        if not isinstance(value, dict):
            return
        if error := value.get("error"):
            self.error = str(error.get("message", error)) if isinstance(error, dict) else str(error)
        for text in _texts(value):
            if text:
                self.pieces.append(text)
        usage = value.get("usage")
        for count in (
            value.get("eval_count"),
            value.get("tokens_predicted") if value.get("stop") else None,
            usage.get("completion_tokens") if isinstance(usage, dict) else None,
        ):
            if isinstance(count, int):
                self.counted = count


def _texts(value: dict[str, Any]) -> list[str]:
    found = [value.get("response"), value.get("thinking"), value.get("content")]
    choices = value.get("choices")
    for part in [value, *(choices if isinstance(choices, list) else [])]:
        if isinstance(part, dict):
            for name in ("message", "delta"):
                inner = part.get(name)
                if isinstance(inner, dict):
                    found += [inner.get("thinking"), inner.get("content")]
            if part is not value:
                found.append(part.get("text"))
    return [text for text in found if isinstance(text, str)]


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
