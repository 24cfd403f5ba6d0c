"""Text of strangers made safe for the terminal.

A target may print anything. Colours and weights (SGR) are kept, everything else that a terminal
would obey (cursor moves, titles, clipboard writes, 8-bit controls, bidi overrides) is shown as
characters, so that no line can forge or hide another.
"""

from __future__ import annotations

import re

from rich.color import Color
from rich.style import Style

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0x2028, 0x2029, 0xFEFF]
_PICTURES: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in _BIDI},
    **{code: f"\\x{code - 0xDC00:02x}" for code in range(0xDC80, 0xDD00)},  # bytes that are no UTF-8
}
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

PLAIN = Style()


def printable(text: str) -> str:
    """The text with each character a terminal would obey replaced by a picture or an escape."""
    if not _UNSAFE.search(text):
        return text
    return text.expandtabs(8).translate(_PICTURES).encode("utf-8", "replace").decode()


def styled_parts(data: bytes) -> list[tuple[str, Style]]:
    """A line's bytes as (safe text, style) parts: SGR obeyed, line end dropped, UTF-8 errors shown."""
    text = data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    if "\x1b" not in text:
        return [(printable(text), PLAIN)]
    parts: list[tuple[str, Style]] = []
    style, at = PLAIN, 0
    for match in _SGR.finditer(text):
        if match.start() > at:
            parts.append((printable(text[at : match.start()]), style))
        style, at = _apply(style, match.group(1)), match.end()
    if at < len(text):
        parts.append((printable(text[at:]), style))
    return parts


def plain_text(data: bytes) -> str:
    """A line's bytes as safe text without colours."""
    return "".join(text for text, _ in styled_parts(data))


def _apply(style: Style, parameters: str) -> Style:
    codes = [int(code) if code else 0 for code in re.split("[;:]", parameters)]
    at = 0
    while at < len(codes):
        code = codes[at]
        at += 1
        if code == 0:
            style = PLAIN
        elif code in (38, 48):
            colour, used = _extended(codes[at:])
            at += used
            if colour is not None:
                style += Style(color=colour) if code == 38 else Style(bgcolor=colour)
        else:
            style += _SIMPLE.get(code, PLAIN)
    return style


def _extended(codes: list[int]) -> tuple[Color | None, int]:
    """The colour of `38;5;n` or `38;2;r;g;b` after its first number, and how many numbers it took."""
    if len(codes) >= 2 and codes[0] == 5:
        return (Color.from_ansi(codes[1]) if codes[1] < 256 else None), 2
    if len(codes) >= 4 and codes[0] == 2:
        red, green, blue = (min(code, 255) for code in codes[1:4])
        return Color.from_rgb(red, green, blue), 4
    return None, len(codes)


def _simple_codes() -> dict[int, Style]:
    codes = {
        1: Style(bold=True),
        2: Style(dim=True),
        3: Style(italic=True),
        4: Style(underline=True),
        7: Style(reverse=True),
        9: Style(strike=True),
        22: Style(bold=False, dim=False),
        23: Style(italic=False),
        24: Style(underline=False),
        27: Style(reverse=False),
        29: Style(strike=False),
        39: Style(color="default"),
        49: Style(bgcolor="default"),
    }
    for number in range(8):
        codes[30 + number] = Style(color=Color.from_ansi(number))
        codes[40 + number] = Style(bgcolor=Color.from_ansi(number))
        codes[90 + number] = Style(color=Color.from_ansi(number + 8))
        codes[100 + number] = Style(bgcolor=Color.from_ansi(number + 8))
    return codes


_SIMPLE = _simple_codes()
