"""A report: what it says, that nothing private is in it, and that a stranger's zip does no harm."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import stat
import struct
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sessions import Session, SessionError
from sessions.archive import unpack
from sessions.testing import SessionBuilder, out_item, string_item
from tests.patience import PATIENCE_SECONDS
from workbench import cli, native
from workbench.loop.store import BuildStore

SECRET = "hf_NeverToBeSeenAnywhere42"
LINE = "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two runs; between them a source was edited, and the second misses a name."""
    tmp_path = tmp_path_factory.mktemp("report")
    (tmp_path / "shimbench.toml").write_text("")
    (tmp_path / "shim.c").write_text("int answer = 1;\n")
    (tmp_path / "lib.so").write_text("library")
    store = BuildStore(tmp_path / ".shimbench" / "store")
    builds = []
    for text in ("int answer = 1;\n", f'int answer = 2;\nchar *key = "{SECRET}";\n'):
        (tmp_path / "shim.c").write_text(text)
        sources = [tmp_path / "shim.c"]
        builds.append(store.keep({"libcuda.so.1": tmp_path / "lib.so"}, sources=sources, directory=tmp_path))
    path = tmp_path / ".shimbench/sessions/20261122-200000"
    path.parent.mkdir(parents=True)
    with SessionBuilder(path, native.paths().model.read_bytes()) as builder:
        for run, build in enumerate(builds, 1):
            builder.event("run", run=run, reason="shim.c" if run > 1 else "start", shim_id=build.id)
            process = builder.process(
                ["/home/alicesm/llama-server"], run=run, env={"HF_TOKEN": SECRET, "USER": "alicesm"}
            )
            builder.call("cuInit", process=process, args=(0,))
            if run == 2:
                asked = [string_item(0, "cuGetExportTable"), out_item(1, bytes(8))]
                builder.call(
                    "cuGetProcAddress_v2", process=process, args=(1, 2, 3000), result=500, items=asked
                )
                builder.call("cuDeviceGetCount", process=process, args=(16,), result=3)
            else:
                counted = out_item(0, struct.pack("<i", 1))
                builder.call("cuDeviceGetCount", process=process, args=(16,), items=[counted])
            builder.line(f"token is {SECRET} in /home/alicesm <b>&", process=process)
            builder.line(LINE if run == 2 else "fine", process=process)
            builder.exit(process, 1 if run == 2 else 0)
            builder.event("run-end", run=run, exit_code=run - 1)
    return tmp_path


@pytest.fixture(scope="module")
def report(project: Path) -> Path:
    session = project / ".shimbench/sessions/20261122-200000"
    assert cli.main(["report", str(session), "-o", str(project / "r.zip")]) == 0
    return project / "r.zip"


def texts(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_a_report_holds_the_page_the_status_and_the_session(report: Path) -> None:
    held = texts(report)
    assert {
        "report.html",
        "status.md",
        "versions.json",
        "sources.diff",
        "session/session.json",
    } <= held.keys()
    status = held["status.md"].decode()
    assert "GPU mode is not reached" in status
    assert "Each time: `cuInit` 1 x CUDA_SUCCESS" in status
    assert "- `cuDeviceGetCount`: 1 x CUDA_ERROR_NOT_INITIALIZED" in status
    assert "init ok > device FAILED > model -" in status
    assert "- run 1 (start)" in status and "- run 2 (shim.c)" in status
    assert "edited before it: shim.c (+2 -1 lines)" in status and "  -int answer = 1;\n" in status
    assert "against the run before: new: " in status
    assert "-int answer = 1;" in held["sources.diff"].decode()
    assert json.loads(held["versions.json"])["session format"] == "1"


def test_nothing_private_is_in_a_report(report: Path, tmp_path: Path) -> None:
    session = Session(unpack(report, tmp_path / "unpacked"))
    everything = b"".join(texts(report).values())
    everything += b"".join(line.text for line in session.log.lines(0, len(session.log)))
    assert SECRET.encode() not in everything and b"alicesm" not in everything
    assert LINE.encode() in everything


def test_the_page_is_whole_html_that_loads_nothing(report: Path) -> None:
    page = texts(report)["report.html"].decode()

    class Checker(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.outside: list[str] = []
            self.scripts = 0

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.scripts += tag == "script"
            for name, value in attrs:
                if name in ("src", "href", "xlink:href", "data", "poster") and not (value or "").startswith(
                    "#"
                ):
                    self.outside.append(f"{name}={value}")

    checker = Checker()
    checker.feed(page)
    assert checker.outside == [] and checker.scripts == 0
    assert not re.search(r"url\(\s*['\"]?(?:https?:)?//|@import", page)
    assert "&lt;b&gt;&amp;" in page and page.rstrip().endswith("</html>")
    assert page.count("<svg") >= 4  # time line, processes, pictures of panes


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_the_page_fits_a_phone(report: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(texts(report)["report.html"])
    probe = "<script>document.title = document.documentElement.scrollWidth + '/' + innerWidth</script>"
    with (tmp_path / "page.html").open("a") as page:
        page.write(probe)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    match = re.search(r"<title>(\d+)/(\d+)</title>", done.stdout)
    assert match is not None and int(match[1]) <= int(match[2])


def test_the_zip_opens_like_a_session(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calls", str(report), "cuDeviceGetCount", "--json"]) == 0
    calls = json.loads(capsys.readouterr().out)["calls"]
    assert [call["result"] for call in calls] == ["CUDA_SUCCESS", "CUDA_ERROR_NOT_INITIALIZED"]


def test_a_preview_and_a_text_write_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    before = sorted(project.iterdir())
    assert cli.main(["report", "--preview"]) == 0
    preview = capsys.readouterr().out
    assert f"- token is {SECRET}" in preview and "+ token is <secret> in /home/<user>" in preview
    assert cli.main(["report", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Status") and SECRET not in text
    assert sorted(project.iterdir()) == before


def test_a_call_that_never_returned_is_said_to_and_no_success(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["report", "gallery:crash", "--no-pictures", "-o", str(tmp_path / "r.zip")]) == 0
    held = texts(tmp_path / "r.zip")
    status, page = held["status.md"].decode(), held["report.html"].decode()
    assert status.startswith("# Status: the process dies by SIGSEGV in cuDeviceGet\n")
    assert "- `cuDeviceGet`: 1 x never returned" in status and "1 never returned; SIGSEGV" in status
    first = page.partition("<h2>First errors</h2>")[2].partition("<h2>")[0]
    assert "cuDeviceGet(" in first and "never returned" in first


def test_a_file_that_exists_is_not_written_over(report: Path) -> None:
    assert cli.main(["report", "-o", str(report)]) == 2


def hostile(report: Path, path: Path, change: dict[str, bytes | None], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in (texts(report) | change).items():
            if data is not None:
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = (mode if name in change else 0) << 16
                file.writestr(info, data)
    return path


def test_a_strangers_zip_writes_nothing_outside(report: Path, tmp_path: Path) -> None:
    change: dict[str, bytes | None] = {
        "session/../../evil": b"x", "/etc/evil": b"x", "session/run.sh": b"x", "session/sub/evil": b"x",
    }  # fmt: skip
    into = unpack(hostile(report, tmp_path / "h.zip", change), tmp_path / "in" / "s")
    assert len(Session(into).calls) == 5
    assert not list(tmp_path.rglob("evil")) and not list(tmp_path.rglob("run.sh"))


@pytest.mark.parametrize("case", ["link", "bomb", "nothing", "cut", "garbage"])
def test_a_strangers_zip_is_refused_in_a_sentence(report: Path, tmp_path: Path, case: str) -> None:
    path = tmp_path / "h.zip"
    if case == "link":
        hostile(report, path, {"session/log.bytes": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    elif case == "bomb":
        hostile(report, path, {"session/blobs.dat": bytes(64 << 20)})
    elif case == "nothing":
        hostile(report, path, {"session/session.json": None})
    else:
        data = report.read_bytes()
        at = data.index(b"session/calls.dat") + 60
        garbled = data[:at] + b"\xff" * 40 + data[at + 40 :]
        path.write_bytes(data[: len(data) // 2] if case == "cut" else garbled)
    with pytest.raises(SessionError):
        Session(unpack(path, tmp_path / "s"))


def test_every_byte_of_a_zips_directory_flipped_gives_an_error_or_a_session(
    report: Path, tmp_path: Path
) -> None:
    data = report.read_bytes()
    start = data.rfind(b"PK\x05\x06")
    for at in range(start, len(data)):
        broken = tmp_path / "b.zip"
        broken.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        into = tmp_path / f"s{at}"
        with contextlib.suppress(SessionError):
            assert len(Session(unpack(broken, into)).calls) == 5
