"""Records that hold arrays are compared by identity: `==` of two arrays is an array, not an answer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_ARRAY = re.compile(r"\b(NDArray|ndarray)\b")


def _dataclasses() -> Iterator[tuple[Path, ast.ClassDef, str]]:
    for room in ("workbench", "sessions"):
        for path in sorted((_ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    decorators = [ast.unparse(each) for each in node.decorator_list]
                    yield from ((path, node, each) for each in decorators if each.startswith("dataclass"))


def _of_arrays() -> Iterator[tuple[str, str]]:
    for path, node, decorator in _dataclasses():
        fields = [ast.unparse(each.annotation) for each in node.body if isinstance(each, ast.AnnAssign)]
        if any(_ARRAY.search(each) for each in fields):
            yield f"{path.relative_to(_ROOT)}:{node.name}", decorator


@pytest.mark.parametrize(("name", "decorator"), sorted(_of_arrays()))
def test_a_record_that_holds_arrays_is_compared_by_identity(name: str, decorator: str) -> None:
    assert "eq=False" in decorator, f"{name}: two of its kind that are alike raise when compared"
