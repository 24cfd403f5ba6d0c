"""./dev gallery [NAME ...]: record the gallery's failures anew, from broken shims under real runtimes.

Each recording is redacted, cut down to the part of the API model it speaks of, and packed. Nothing is
written unless the diagnosis of what was packed is the one that gallery.toml names.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from sessions import Session, open_session
from sessions.archive import unpack
from sessions.copy import copy_session
from sessions.gallery import Recording, recordings
from sessions.redact import Redactor
from sessions.slim import slim_model
from tests.real.conftest import CUDART, ROOT, break_proxy_shim, build_proxy_shim, copy_foreign_shim
from workbench import native
from workbench.demo.consumer import LLAMA_CUDA_12, Package, fetch
from workbench.diagnosis import diagnose

MOST_BYTES = 100_000
_DATE = (2026, 1, 1, 0, 0, 0)  # the same sessions make the same zips


def main(names: list[str]) -> int:
    known = {recording.name: recording for recording in recordings()}
    if unknown := [name for name in names if name not in known]:
        print(f"gallery: no {', '.join(unknown)}; there are: {' '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        with tempfile.TemporaryDirectory(prefix="shimbench-gallery-") as folder:
            print(f"{name}: {make(known[name], Path(folder))} bytes", flush=True)
    return 0


def make(recording: Recording, folder: Path) -> int:
    """Record one, check it and put it in its place; -> its size in bytes."""
    session = record(recording, folder)
    redactor = Redactor()
    redactor.learn(session, os.environ)
    copy_session(session, folder / "copy", redactor, model=slim_model(session))
    packed = folder / "packed.zip"
    pack(folder / "copy", packed)
    size = packed.stat().st_size
    found = diagnose(open_session(unpack(packed, folder / "again")))
    if not found or found[0].rule != recording.rule or recording.word not in found[0].cause:
        raise SystemExit(
            f"gallery: {recording.name} is diagnosed as {[each.rule for each in found]}: not kept"
        )
    if size > MOST_BYTES:
        raise SystemExit(f"gallery: {recording.name} has {size} bytes, at most {MOST_BYTES} are wanted")
    packed.replace(recording.path)
    return size


def record(recording: Recording, folder: Path) -> Session:
    """Run the target under the broken shim, as a user would, in an environment that says little."""
    session = folder / "session"
    words = [sys.executable, "-m", "workbench.cli", "run", str(shim(recording, folder))]
    words += ["--session", str(session), "--timeout", f"{recording.seconds:g}", "--json", "--"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GGML_NO_BACKTRACE": "1"}
    runtime = consumer(CUDART[recording.runtime])
    command = [str(runtime / f"libcudart.so.{recording.runtime.split('.')[0]}")]
    if recording.target == "llama":
        environment["LD_LIBRARY_PATH"] = str(runtime)
        driver = native.paths().bin / "shimbench-llama"
        command = [str(driver), "--libs", str(consumer(LLAMA_CUDA_12)), "--list-devices"]
    else:
        command.insert(0, str(program(recording.target, folder)))
    subprocess.run([*words, *command], env=environment, stdout=subprocess.DEVNULL, check=False)
    return open_session(session)


def shim(recording: Recording, folder: Path) -> Path:
    """The folder of the broken shim's shimbench.toml."""
    if recording.shim == "own":
        (folder / "own").mkdir()
        return folder / "own"
    build = recording.build if recording.shim == "foreign" else {}
    foreign = copy_foreign_shim(folder / "shim", native.paths(), build)
    if recording.shim == "foreign":
        return foreign
    for name in ("proxy", "broken"):
        (folder / name).mkdir()
    whole = build_proxy_shim(folder / "proxy", foreign)
    return break_proxy_shim(whole, folder / "broken", recording.build["FAULT"])


def program(name: str, folder: Path) -> Path:
    source = ROOT / "tests" / "fixtures" / "targets" / f"{name}.c"
    subprocess.run(
        ["cc", "-std=gnu11", "-O1", "-g", "-o", str(folder / name), str(source), "-ldl"], check=True
    )
    return folder / name


def consumer(package: Package) -> Path:
    return fetch(package, Path(os.environ.get("SHIMBENCH_CONSUMERS", ROOT / ".cache" / "consumers")))


def pack(session: Path, path: Path) -> None:
    """As a report packs a session, and the same bytes each time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(session.iterdir()):
            if file.is_file() and file.name != "writer.lock":
                info = zipfile.ZipInfo(f"session/{file.name}", _DATE)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, file.read_bytes())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
