"""Libraries to deploy: small real ones, made by the compiler."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def make_library(tmp_path: Path) -> Callable[..., Path]:
    """make_library("libx.so", soname, answer=7): a library whose cuInit returns `answer`."""

    def make(name: str, soname: str, answer: int = 0, extra: str = "", *options: str) -> Path:
        path = tmp_path / "made" / name
        path.parent.mkdir(exist_ok=True)
        source = path.with_suffix(".c")
        source.write_text(f"{extra}\nint cuInit(unsigned flags) {{ (void)flags; return {answer}; }}\n")
        words = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", *options]
        subprocess.run([*words, "-o", str(path), str(source)], check=True)
        return path

    return make
