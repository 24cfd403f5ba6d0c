from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from workbench.panes.parts import parts_text, wrapped
from workbench.panes.sgr import plain_text, printable, styled_parts

OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_colours_and_weights_are_kept() -> None:
    parts = styled_parts(b"\x1b[1;31mbad\x1b[0m fine")
    assert [text for text, _ in parts] == ["bad", " fine"]
    assert parts[0][1].bold and parts[0][1].color is not None and parts[0][1].color.number == 1
    assert parts[1][1] == Style()


def test_256_and_true_colours_are_understood() -> None:
    parts = styled_parts(b"\x1b[38;5;196ma\x1b[48;2;1;2;3mb")
    assert parts[0][1].color is not None and parts[0][1].color.number == 196
    assert parts[1][1].bgcolor is not None and parts[1][1].bgcolor.triplet == (1, 2, 3)


def test_a_colour_number_that_is_none_is_ignored() -> None:
    assert styled_parts(b"\x1b[38;5;999mx\x1b[38m\x1b[99999my")[0][0] == "x"


def test_cursor_moves_titles_and_clipboard_writes_are_shown_not_obeyed() -> None:
    text = plain_text(b"a\x1b[2Jb\x1b]52;c;aGk=\x07c\x9b1md\rforged")
    assert not OBEYED.search(text)
    assert "␛[2J" in text and "]52;c;aGk=␇" in text and "␍forged" in text


def test_bytes_that_are_no_utf8_are_shown_as_bytes() -> None:
    assert plain_text(b"a\xff\xfeb\n") == "a\\xff\\xfeb"


def test_bidi_overrides_cannot_reorder_a_line() -> None:
    assert plain_text("a\u202eb".encode()) == "a\\u202eb"


@given(st.binary(max_size=300))
def test_no_line_holds_anything_a_terminal_obeys(data: bytes) -> None:
    text = plain_text(data)
    assert not OBEYED.search(text)
    text.encode()


@given(st.text(max_size=100))
def test_text_of_names_and_paths_is_safe_too(text: str) -> None:
    assert not OBEYED.search(printable(text))


@given(st.text(max_size=200), st.integers(2, 40), st.booleans())
def test_wrapping_drops_nothing(text: str, width: int, words: bool) -> None:
    safe = printable(text)
    rows = wrapped([(text, "plain")], width, words=words)
    assert "".join(parts_text(row) for row in rows) == safe
