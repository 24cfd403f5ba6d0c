"""A session recorded by the first commit that could (94594a2): it is read, questioned and handed on as ever.

It is that commit's own shim and forwarder under real libggml-cuda.so and cudart 13.0, listing devices. What
is expected here is what that commit's own commands printed of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import Session
from sessions.archive import unpack
from sessions.copy import copy_session
from sessions.decode import CallDecoder
from workbench import cli

RECORDING = Path(__file__).parent / "recordings" / "first-format.zip"
LINE = "ggml_cuda_init: found 1 CUDA devices (Total VRAM: 8192 MiB):"
READING = (
    *("calls", "calls !ok", "log", "coverage", "device", "device --at @443", "timeline", "diagnose"),
    *("kernels", "marks", "search cuInit", "report --markdown", "report --preview"),
)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(unpack(RECORDING, tmp_path_factory.mktemp("first") / "session"))


def test_all_of_it_is_there(first: Session) -> None:
    assert (len(first.calls), len(first.log), len(first.events), len(first.processes)) == (602, 14, 17, 2)
    assert first.damage == [] and first.finished is not None and first.lost == 0
    assert first.in_flight() == []
    assert first.log.line(4).text.decode() == LINE
    said = CallDecoder(first.schema).text(first, 599)
    assert said.endswith("-> CUDA_SUCCESS [*free=8589934592, *total=8589934592]")
    last = first.calls.row(601)
    assert (last.thread, last.duration // 1_000_000, last.result) == (8772, 17, 0)


@pytest.mark.parametrize("words", READING)
def test_each_command_reads_it(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *options = words.split()
    wanted = options if command in ("calls", "search") else []
    flags = [option for option in options if option not in wanted]
    assert cli.main([command, str(RECORDING), *wanted, *flags]) == 0
    assert "damaged" not in capsys.readouterr().err


def test_it_can_be_copied_reported_and_compared(first: Session, tmp_path: Path) -> None:
    copy_session(first, tmp_path / "copy")
    copy = Session(tmp_path / "copy")
    assert [copy.calls.row(n) for n in range(602)] == [first.calls.row(n) for n in range(602)]
    assert cli.main(["report", str(RECORDING), "--no-pictures", "-o", str(tmp_path / "r.zip")]) == 0
    assert cli.main(["diff", str(RECORDING), str(tmp_path / "r.zip")]) == 0
