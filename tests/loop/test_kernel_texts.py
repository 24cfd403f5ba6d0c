"""Texts of kernels on their way from the forwarder's state into the session."""

from __future__ import annotations

import zstandard

from workbench.loop.kernel_texts import KernelTexts

TOLD = {"kind": "event", "event": "ptx", "pid": 7, "kernel": "k", "line": 3}


def test_a_text_becomes_the_number_of_a_packed_payload() -> None:
    kept: list[bytes] = []

    def keep(data: bytes) -> int:
        kept.append(data)
        return len(kept)

    texts = KernelTexts(keep)
    told = texts.kept({**TOLD, "text": ".entry k() { ret; }"})
    assert told == {**TOLD, "blob": 1}
    assert zstandard.decompress(kept[0]) == b".entry k() { ret; }"
    assert texts.kept({**TOLD, "pid": 8, "text": ".entry k() { ret; }"})["blob"] == 1 and len(kept) == 1


def test_what_has_no_room_any_more_is_left_out() -> None:
    texts = KernelTexts(lambda data: 1, limit=10)
    assert "blob" in texts.kept({**TOLD, "text": "123456"})
    told = texts.kept({**TOLD, "text": "7890123"})
    assert "blob" not in told and "text" not in told


def test_lines_of_other_kinds_pass_untouched() -> None:
    told = {"kind": "state", "text": "here"}
    assert KernelTexts(lambda data: 1).kept(told) == told
