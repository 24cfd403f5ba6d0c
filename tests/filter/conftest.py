"""One session with a bit of everything, for filters and for the commands that print sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import Session
from sessions.format import CallFlag, Pseudo
from sessions.testing import SessionBuilder, out_item, string_item
from workbench.native import NativePaths

CUDART, GGML = 0x10000000, 0x30000000
MODULES = [
    ("/opt/libs/libcudart.so.13", CUDART, CUDART + 0x100000),
    ("/opt/libs/libggml-cuda.so", GGML, GGML + 0x100000),
]


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory, native_paths: NativePaths) -> Session:
    """Eight calls of two processes in two runs, and three lines."""
    path: Path = tmp_path_factory.mktemp("filter") / "session"
    with SessionBuilder(path, native_paths.model.read_bytes()) as made:
        made.event("run", run=1, reason="start", command=["server"], shim="/s")
        made.process(["/opt/bin/server"], pid=100, run=1, modules=MODULES)
        made.process(["/opt/bin/llama-server"], pid=200, run=2, modules=MODULES)
        made.call("cuInit", process=0, thread=100, args=(0,), caller=CUDART + 1, duration=5_000_000)
        made.call("cuMemAlloc_v2", process=0, thread=101, args=(1, 4096), caller=GGML + 1, result=2)
        made.line("ggml: out of memory", process=0)
        made.call("cuMemFree_v2", process=0, thread=101, args=(0x7F00,), caller=GGML + 1)
        made.call(Pseudo.DLSYM, process=1, result=0, items=[string_item(0, "cuFoo")], caller=CUDART + 2)
        made.line("second process", process=1, stream="stdout")
        name = [out_item(0, b"Fancy GPU\0")]
        made.call("cuDeviceGetName", process=1, thread=200, args=(1, 100, 0), items=name, caller=CUDART + 2)
        made.call("nvmlInit_v2", process=1, thread=200, result=3, caller=CUDART + 2)
        made.call("cuDeviceGet", process=1, thread=200, nesting=1, parent=1, caller=CUDART + 2)
        made.line("no newline", process=1, torn=True)
        made.call("cuStreamSynchronize", process=1, thread=200, flags=int(CallFlag.UNRETURNED))
    return Session(path)
