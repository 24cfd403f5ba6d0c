"""What Ollama, llama-server and ggml write to their logs, taken apart: time, level, source, message, fields.

A line is parsed into spans that lie edge to edge from its first character to its last, so that nothing of
it can be lost or changed; a line in no form we know is one span. Every pattern moves forward only, and the
time a line takes grows with its length and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Literal

Form = Literal["slog", "go", "gin", "ggml", "abort", "plain"]
"""slog: time= level= msg=; go: Go's log package (old Ollamas); gin: requests and routes; ggml: llama.cpp's
`function: message`; abort: a line of a crash; plain: none of these."""

Kind = Literal["time", "level", "source", "message", "key", "value", "gap"]


class Level(IntEnum):
    """How grave a line is; slog's numbers. UNKNOWN: it does not say, and its words don't either."""

    UNKNOWN = -100
    TRACE = -8
    DEBUG = -4
    INFO = 0
    WARN = 4
    ERROR = 8

    @classmethod
    def named(cls, name: str) -> Level:
        """By any of its usual names; ValueError when it is none."""
        level = _LEVELS.get(name.lower())
        if level is None:
            raise ValueError(f"{name!r} is no level: trace, debug, info, warn or error")
        return level


_LEVELS = {
    "trace": Level.TRACE,
    "debug": Level.DEBUG,
    "info": Level.INFO,
    "warn": Level.WARN,
    "warning": Level.WARN,
    "error": Level.ERROR,
    "fatal": Level.ERROR,
    "t": Level.TRACE,
    "d": Level.DEBUG,
    "i": Level.INFO,
    "w": Level.WARN,
    "e": Level.ERROR,
}


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the line: text[start:end]."""

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line taken apart. Texts are as written; quoted values are unquoted in `fields` and `message`."""

    text: str
    form: Form
    spans: tuple[Span, ...]
    level: Level = Level.UNKNOWN
    time: str = ""
    source: str = ""
    message: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    def field(self, key: str) -> str | None:
        """The value of the first field of that name."""
        return next((value for name, value in self.fields if name == key), None)


_KEPT_LENGTH = 8192
"""Longer lines are parsed anew each time, so that a few of them don't fill the memory."""

_ERROR_WORDS = re.compile(r"\b(?:error|fail(?:ed|ure)?|fatal|abort(?:ed)?|panic|segfault)\b", re.IGNORECASE)
_WARNING_WORDS = re.compile(r"\bwarn(?:ing)?\b", re.IGNORECASE)

_SLOG = re.compile(r"(?:time=(\S++) )?level=([A-Z]++(?:[+-]\d++)?)(?= |$)")
# Values are what Go's slog writes: bare, or quoted with backslashes. Possessive, so never tried twice.
_PAIR = re.compile(r'( ++)([^\s="]++)=("(?:[^"\\]|\\.)*+"|[^\s"]*+)(?= |$)', re.DOTALL)
_GO_TIME = re.compile(r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?) ")
_GO_SOURCE = re.compile(r"([\w./-]{1,200}\.go:\d{1,9}):? ")
_GO_LEVEL = re.compile(r"(TRACE|DEBUG|INFO|WARN|WARNING|ERROR)(?: |$)")
_GIN = re.compile(r"\[GIN\] (\d{4}/\d\d/\d\d - \d\d:\d\d:\d\d) \| *+(\d{3}) \|")
_GIN_DEBUG = re.compile(r"\[GIN-debug\](?: \[(\w++)\])?")
# llama.cpp with timestamps: minutes.seconds.ms.us, then the level's letter.
_LLAMA_TIME = re.compile(r"(\d{1,9}\.\d\d\.\d{3}\.\d{3}) (?:([IWEDT]) )?")
_LLAMA_TAG = re.compile(r"(?:srv|slot|cmn|spec|que|res|main|log|init|chat) {1,20}(?=[\w~:<>().]{1,100}: ?)")
_FUNCTION = re.compile(r"([A-Za-z_~][\w~]{0,120}(?:::[\w~]{1,120}){0,8}(?:<[\w, ]{0,80}>)?(?:\(\))?):(?: |$)")
_KNOWN_FUNCTIONS = frozenset(("load", "build", "main", "init", "llama", "ggml", "graph", "sched", "clip"))
_IDS = re.compile(r"(id|task) {1,8}(-?\d{1,12})(?: \| |$)")
_SETTING = re.compile(r"([A-Za-z_][\w .()-]{0,79}?) {0,60}= {1,20}(\S[^=]{0,400})$")

# The first line of what belongs together, and the lines that go on with it.
_ABORT = re.compile(
    r"(?:CUDA|ROCm) error: |ggml_abort|GGML_ASSERT\(|"
    r"\S{1,400}:\d{1,7}: (?:GGML_ASSERT\(|CUDA error|fatal error)"
)
_GO_CRASH = re.compile(
    r"panic: |fatal error: |SIG(?:SEGV|ABRT|BUS|ILL|FPE|TRAP)\b|unexpected fault address|"
    r"runtime error: |runtime: (?:goroutine|unexpected)"
)
_FRAME = re.compile(
    r"\S{1,400}\(\+?[^)]{0,400}\) ?\[0x[0-9a-f]{1,16}\]|#\d{1,4} {1,4}|/\S{1,400}:\d{1,7}: |"
    r"  current device: | {2}[A-Za-z_][\w:]{0,80}\(|"
    r"\[New LWP |\[Thread debugging|Using host libthread_db|\[Inferior |__\w{1,40} |"
    r"goroutine \d|\t|created by |PC=0x|r\w{1,3} {2,8}0x|[\w./*()-]{1,400}\(\S{0,400}\)$|"
    r"CUDA error|signal arrived during|\[signal |exit status |rax|cs |fs |gs |$"
)


def parse(text: str) -> LogLine:
    """Take a line (without its newline) apart."""
    return _parse_short(text) if len(text) <= _KEPT_LENGTH else _parse(text)


def _parse(text: str) -> LogLine:
    for form in (_slog, _gin, _go, _ggml):
        found = form(text)
        if found is not None:
            return found
    if starts_abort(text):
        return LogLine(text, "abort", _cover(text, [], "message"), Level.ERROR, message=text)
    return LogLine(text, "plain", _cover(text, [], "message"), guess_level(text), message=text)


_parse_short = lru_cache(maxsize=4096)(_parse)


def parse_bytes(data: bytes) -> LogLine:
    """The same of a line's bytes; `text.encode("utf-8", "surrogateescape")` gives them back."""
    return parse(data.decode("utf-8", "surrogateescape"))


def guess_level(text: str) -> Level:
    """By its words, for lines that name no level."""
    if _ERROR_WORDS.search(text):
        return Level.ERROR
    return Level.WARN if _WARNING_WORDS.search(text) else Level.UNKNOWN


def starts_abort(text: str) -> bool:
    """Is this the first line of a crash's report (CUDA error, failed assertion, Go panic)?"""
    head = _LLAMA_TIME.match(text)
    at = head.end() if head is not None else 0
    return bool(_ABORT.match(text, at) or _GO_CRASH.match(text, at))


def continues_abort(text: str) -> bool:
    """Does this line go on with the report before it: location, statement, stack, registers?"""
    return bool(_FRAME.match(text)) or starts_abort(text)


def unquote(value: str) -> str:
    """What Go quoted; a value that isn't quoted stays as it is."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    inner = value[1:-1]
    return _ESCAPE.sub(_unescape, inner) if "\\" in inner else inner


_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) == 1:
        return _ESCAPED.get(code, code)
    number = int(code[1:], 16)
    return chr(number) if number < 0x110000 else found[0]


def _slog_level(word: str) -> Level:
    """slog writes what lies between its levels as DEBUG-4 or INFO+2."""
    name = word.rstrip("+-0123456789")
    number = int(_LEVELS.get(name.lower(), Level.INFO)) + int((word[len(name) :] or "0")[:6])
    return max((level for level in Level if level <= number), default=Level.TRACE)


def _slog(text: str) -> LogLine | None:
    head = _SLOG.match(text)
    if head is None:
        return None
    spans = [Span(*head.span(1), "time")] if head[1] else []
    spans.append(Span(*head.span(2), "level"))
    fields: list[tuple[str, str]] = []
    source = message = ""
    at = head.end()
    while (pair := _PAIR.match(text, at)) is not None:
        key, value = pair[2], pair[3]
        kind: Kind = "value"
        if key == "source" and not source:
            source, kind = unquote(value), "source"
        elif key == "msg" and not message:
            message, kind = unquote(value), "message"
        else:
            spans.append(Span(*pair.span(2), "key"))
            fields.append((key, unquote(value)))
        spans.append(Span(*pair.span(3), kind))
        at = pair.end()
    if at < len(text):
        spans.append(Span(at, len(text), "message"))
    return LogLine(
        text, "slog", _cover(text, spans), _slog_level(head[2]), head[1] or "", source, message, tuple(fields)
    )


def _go(text: str) -> LogLine | None:
    head = _GO_TIME.match(text)
    if head is None:
        return None
    spans = [Span(*head.span(1), "time")]
    at, source, level = head.end(), "", Level.UNKNOWN
    if (found := _GO_SOURCE.match(text, at)) is not None:
        spans.append(Span(*found.span(1), "source"))
        at, source = found.end(), found[1]
    if (found := _GO_LEVEL.match(text, at)) is not None:
        spans.append(Span(*found.span(1), "level"))
        at, level = found.end(), Level.named(found[1])
    spans.append(Span(at, len(text), "message"))
    if level == Level.UNKNOWN:
        level = guess_level(text[at:])
    return LogLine(text, "go", _cover(text, spans), level, head[1], source, text[at:])


def _gin(text: str) -> LogLine | None:
    if not text.startswith("[GIN"):
        return None
    if (head := _GIN.match(text)) is not None:
        status = int(head[2])
        level = Level.ERROR if status >= 500 else Level.WARN if status >= 400 else Level.INFO
        spans = [Span(*head.span(1), "time"), Span(*head.span(2), "level")]
        rest = text[head.end() :].split("|")
        fields = [("status", head[2])]
        if len(rest) >= 3:
            words = rest[-1].split(None, 1)
            fields += [("took", rest[0].strip()), ("client", rest[1].strip())]
            if len(words) == 2:
                fields += [("method", words[0]), ("path", unquote(words[1].strip()))]
        spans.append(Span(head.end(), len(text), "message"))
        message = text[head.end() :].strip()
        return LogLine(text, "gin", _cover(text, spans), level, head[1], "GIN", message, tuple(fields))
    debug = _GIN_DEBUG.match(text)
    if debug is None:
        return None
    # GIN shouts [WARNING] about its own defaults at each start: that is no warning to anybody.
    spans = [Span(0, debug.end(), "source"), Span(debug.end(), len(text), "message")]
    return LogLine(
        text, "gin", _cover(text, spans), Level.DEBUG, source="GIN-debug", message=text[debug.end() :].strip()
    )


def _ggml(text: str) -> LogLine | None:
    spans: list[Span] = []
    at, time, level = 0, "", Level.UNKNOWN
    if (head := _LLAMA_TIME.match(text)) is not None:
        spans.append(Span(*head.span(1), "time"))
        time, at = head[1], head.end()
        if head[2]:
            spans.append(Span(*head.span(2), "level"))
            level = _LEVELS[head[2].lower()]
    tag = _LLAMA_TAG.match(text, at)
    begin = at
    if tag is not None:
        at = tag.end()
    function = _FUNCTION.match(text, at)
    known = tag is not None or head is not None
    if function is None or not (known or "_" in function[1] or function[1] in _KNOWN_FUNCTIONS):
        if head is None:
            return None
        function = None
    source = ""
    if function is not None:
        spans.append(Span(begin, function.end(1), "source"))
        source, at = function[1], function.end()
    body = text[at:]
    fields = _settings(text, at, spans)
    if level == Level.UNKNOWN:
        level = guess_level(body)
    return LogLine(text, "ggml", _cover(text, spans), level, time, source, body.strip(), tuple(fields))


def _settings(text: str, at: int, spans: list[Span]) -> list[tuple[str, str]]:
    """The ids of a slot's line, or the one `name = value` that a llama.cpp line ends with."""
    fields: list[tuple[str, str]] = []
    start = at
    while (found := _IDS.match(text, start)) is not None:
        spans += [Span(*found.span(1), "key"), Span(*found.span(2), "value")]
        fields.append((found[1], found[2]))
        start = found.end()
    setting = _SETTING.match(text, start + len(text[start:]) - len(text[start:].lstrip()))
    if setting is not None and len(text) - start < 600:
        spans += [Span(*setting.span(1), "key"), Span(*setting.span(2), "value")]
        fields.append((setting[1], setting[2].strip()))
    elif start < len(text):
        spans.append(Span(start, len(text), "message"))
    return fields


def _cover(text: str, spans: list[Span], rest: Kind = "gap") -> tuple[Span, ...]:
    """The spans with what lies between them, so that they cover the text."""
    return tuple(_edge_to_edge(len(text), spans, rest))


def _edge_to_edge(length: int, spans: list[Span], rest: Kind) -> Iterator[Span]:
    at = 0
    for span in spans:
        if span.start > at:
            yield Span(at, span.start, rest)
        if span.end > span.start:
            yield span
        at = span.end
    if at < length:
        yield Span(at, length, rest)
