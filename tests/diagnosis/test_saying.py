"""What a line of the log says to the rules, and the quick look that passes most lines by."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis import saying

try:
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as sre_parse  # type: ignore[attr-defined]
except ImportError:  # before Python 3.11
    import sre_constants as sre
    import sre_parse


def written(parsed: object) -> Iterator[bytes]:
    """A text for each alternative of a parsed pattern, with what it must have and no more."""
    texts = [b""]
    for operation, value in parsed:  # type: ignore[attr-defined]
        if operation is sre.LITERAL:
            texts = [text + bytes([value]) for text in texts]
        elif operation is sre.BRANCH:
            texts = [text + end for text in texts for branch in value[1] for end in written(branch)]
        elif operation is sre.SUBPATTERN:
            texts = [text + end for text in texts for end in written(value[-1])]
        elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT) and value[0]:
            texts = [text + end * value[0] for text in texts for end in written(value[2])]
        elif operation is sre.IN:
            texts = [text + b"\x00" for text in texts]
    yield from texts


def test_the_quick_look_passes_by_nothing_that_the_patterns_find() -> None:
    alternatives = list(written(sre_parse.parse(saying.ANY.pattern)))
    assert len(alternatives) > len(saying.ERROR_TEXTS) + len(saying.ERROR_NAMES)
    missed = [text for text in alternatives if not any(hint in text for hint in saying.HINTS)]
    assert missed == []


def test_a_line_that_says_nothing_is_passed_by() -> None:
    assert saying.speaks(b"CUDA error: out of memory")
    assert not saying.speaks(b"memory of summer")
    assert not saying.speaks(b"token 7: 168 -> 52, 86.84 ms")
