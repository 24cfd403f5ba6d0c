"""What the software GPU makes of real libraries' code: what runs, and what is refused by name.

A selection of kernels by default; SHIMBENCH_KERNELS=all makes each of them ready.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.conftest import Consumer, Recorder
from workbench.native import NativePaths

CONTAINER = struct.Struct("<IHHQ")
"""magic, version, bytes of this head, bytes behind it"""
MAGIC = 0xBA55ED50
CUBIN = 2
"""the kind of an entry with SASS; PTX has kind 1"""


@pytest.mark.parametrize(
    ("consumer", "capability"), [("llama_13", 75), ("llama_13", 80), ("llama_13", 90), ("llama_12", 75)]
)
def test_every_kernel_can_be_made_ready_to_run(
    request: pytest.FixtureRequest, native_paths: NativePaths, consumer: str, capability: int
) -> None:
    llama: Consumer = request.getfixturevalue(consumer)
    (library,) = llama.libraries.glob("libggml-cuda*.so")
    every = 1 if os.environ.get("SHIMBENCH_KERNELS") == "all" else 60
    command = [str(native_paths.bin / "soft-survey"), str(library), str(capability), str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = re.search(r"(\d+) kernels, (\d+) of them lowered, (\d+) ready", done.stdout)
    assert found is not None
    kernels, lowered, ready = map(int, found.groups())
    assert kernels > 5000 and lowered == ready >= kernels // every


def only_sass(library: Path) -> bytes:
    """The first fat binary of a library without its PTX."""
    content = library.read_bytes()
    at = content.find(struct.pack("<I", MAGIC))
    while at % 8 or CONTAINER.unpack_from(content, at)[2] != CONTAINER.size:
        at = content.find(struct.pack("<I", MAGIC), at + 1)
    end = at + CONTAINER.size + CONTAINER.unpack_from(content, at)[3]
    at += CONTAINER.size
    kept = b""
    while at < end:
        kind, _, head, stored = struct.unpack_from("<HHIQ", content, at)
        if kind == CUBIN:
            kept += content[at : at + head + stored]
        at += head + stored
    assert kept
    return CONTAINER.pack(MAGIC, 1, CONTAINER.size, len(kept)) + kept


PROGRAM = """
import ctypes, sys
cuda = ctypes.CDLL("libcuda.so.1")
context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
image = open(sys.argv[1], "rb").read()
print("loaded:", cuda.cuModuleLoadData(ctypes.byref(module), image))
print("kernel:", cuda.cuModuleGetFunction(ctypes.byref(function), module, b"_Z6kernelPf"), flush=True)
"""


def test_a_kernel_of_a_real_library_without_ptx_is_refused_by_name_in_the_session(
    llama_13: Consumer, recorder: Recorder, tmp_path: Path
) -> None:
    (library,) = llama_13.libraries.glob("libggml-cuda*.so")
    (tmp_path / "sass.fatbin").write_bytes(only_sass(library))
    (tmp_path / "program.py").write_text(PROGRAM)
    done = recorder.run([sys.executable, str(tmp_path / "program.py"), str(tmp_path / "sass.fatbin")])
    assert "loaded: 0" in done.log and "kernel: 209" in done.log
    told = [event.fields for event in done.session.events if event.kind == "host"]
    (refused,) = [fields for fields in told if fields.get("event") == "kernel-refused"]
    assert (refused["error"], refused["kernel"]) == (209, "_Z6kernelPf")
    assert refused["text"].startswith(
        "no PTX for compute capability 8.0: its module holds no PTX and SASS for 86, 89, 120"
    )
    (found,) = [wall for wall in done.report["diagnosis"] if wall["rule"] == "kernel-refused"]
    assert found["what"] == "the device can't execute kernel" and "SASS for 86" in found["cause"]
