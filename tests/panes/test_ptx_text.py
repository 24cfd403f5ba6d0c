"""The inks of PTX, a line at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.panes.parts import parts_text
from workbench.panes.ptx_text import coloured


@pytest.mark.parametrize(
    ("line", "inked"),
    [
        ("\tdp4a.s32.s32 %r1, %r2;", {"name": ["dp4a"], "accent": [".s32", ".s32"], "value": ["%r1", "%r2"]}),
        ("@!%p1 bra $L_2;", {"warn": ["@!%p1 "], "name": ["bra"], "head": ["$L_2"]}),
        ("{ cvt.f32.f16 f, h; }", {"name": ["cvt"], "accent": [".f32", ".f16"]}),
        ("loop: // again", {"head": ["loop:"], "dim": ["// again"]}),
        ("ld.shared::cta.u32 %r1, [%r2+4];", {"name": ["ld"], "accent": [".shared::cta", ".u32"],
         "value": ["%r1", "%r2"], "number": ["4"]}),
        ("mov.f32 %f1, 0f3F800000;", {"name": ["mov"], "accent": [".f32"], "value": ["%f1"],
         "number": ["0f3F800000"]}),
        ('.file 1 "a b.cu"', {"accent": [".file"], "number": ["1"], "ok": ['"a b.cu"']}),
        ("mov.u32 %r1, %tid.x;", {"name": ["mov"], "accent": [".u32"], "value": ["%r1", "%tid.x"]}),
    ],
)  # fmt: skip
def test_each_part_of_a_statement_has_its_ink(line: str, inked: dict[str, list[str]]) -> None:
    found: dict[object, list[str]] = {}
    for text, ink in coloured(line):
        if ink != "plain":
            found.setdefault(ink, []).append(text)
    assert found == inked


@given(st.text() | st.text('@%p.:;/*"$ abc01', max_size=30))
def test_no_text_is_lost(line: str) -> None:
    assert parts_text(coloured(line)) == line
