"""The filter language without a session: what it accepts, and where it says what is wrong."""

from __future__ import annotations

import pytest

from workbench.filter import TERMS, FilterError, complete, help_lines, parse
from workbench.filter.language import nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cuMem*",
        "cuMem* !ok pid:123 thread:5 caller:libcudart dur:>1ms text:foo result:CUDA_ERROR_*",
        "(cuInit or cuDeviceGet*) and not result:100",
        "a|b&!c",
        'text:"two words" error',
        "NOT ok",
        "call:10-20 time:1s-2.5s nesting:>=1 arg:0xff",
    ],
)
def test_filters_that_mean_something_are_accepted(text: str) -> None:
    assert parse(text).text == text


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("pid:abc", 5, "not a number"),
        ("ok pdi:4", 4, "did you mean pid:"),
        ("dur:>3fortnights", 5, "not a unit"),
        ("dur:", 5, "the value is missing"),
        ("(ok", 1, "not closed"),
        ("ok)", 3, "no ( for this"),
        ("ok and", 7, "missing"),
        ("ok or and", 7, "missing before and"),
        ('text:"abc', 6, "quote"),
        ("lib:vulkan", 5, "cuda or nvml"),
    ],
)
def test_an_error_points_at_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert caught.value.column == column
    assert words in caught.value.message


def test_times_have_units() -> None:
    assert nanoseconds("1.5ms") == 1_500_000
    assert nanoseconds("20us") == 20_000
    assert nanoseconds("7") == 7


def test_every_term_is_explained_and_its_example_is_a_filter() -> None:
    for term in TERMS:
        assert term.help
        parse(term.example)
    assert len(help_lines()) > len(TERMS)


def test_completion_offers_terms_and_words_at_the_cursor() -> None:
    assert [(c.text, c.start) for c in complete("ok re", 5)] == [("result:", 3)]
    assert "dur:" in [c.text for c in complete("(", 1)]
    assert [c.text for c in complete("lib:n", 5)] == ["nvml"]
