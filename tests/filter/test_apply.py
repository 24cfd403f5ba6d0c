"""Filters made of a call: it passes each of them, and their sum."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import Session
from workbench.filter import LINES, FilterError, help_lines, parse
from workbench.filter.apply import term, terms_of, with_term


def test_a_call_passes_every_filter_that_is_made_of_it(session: Session) -> None:
    for row in range(len(session.calls)):
        text = ""
        for what, each in terms_of(session, row).items():
            assert parse(each).mask(session, row, row + 1)[0], (what, each)
            text = with_term(text, each)
        assert parse(text).mask(session, 0, len(session.calls)).nonzero()[0].tolist() == [row]


def test_a_term_is_added_to_all_of_an_alternative() -> None:
    assert with_term("cuInit or cuDeviceGet", "!ok") == "(cuInit or cuDeviceGet) !ok"
    assert with_term("cuInit", "!ok") == "cuInit !ok"
    assert with_term("cuInit !ok", "!ok") == "cuInit !ok"
    assert with_term("", "ok") == "ok"


@pytest.mark.parametrize("name", ["ok", "error", "or", "two words", "a:b", "x|y"])
def test_a_name_that_is_a_word_of_the_language_or_holds_operators_is_still_a_name(name: str) -> None:
    assert term("fn", name).startswith("fn:")
    parse(term("fn", name))


def test_an_error_shows_the_filter_with_a_caret_at_the_column() -> None:
    with pytest.raises(FilterError) as raised:
        parse("ok pdi:4")
    _, text, caret = str(raised.value).split("\n")
    assert text[caret.index("^")] == "p" and "ok pdi:4" in text


def test_the_document_has_every_word_of_the_language() -> None:
    text = (Path(__file__).parents[2] / "docs" / "filter.md").read_text().replace("\\|", "|")
    for syntax, meaning in [*help_lines(), *help_lines(LINES)]:
        assert f"`{syntax}`" in text, syntax
        assert meaning in text, meaning
