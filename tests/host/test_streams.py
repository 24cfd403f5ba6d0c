"""Streams and events of the software GPU: calls come back at once, work is done in order, times are real."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from soft_client import kernel, run_client

from tests.patience import wait_until
from workbench.native import NativePaths

Run = Callable[[str, str], list[str]]
StartHost = Callable[..., dict[str, str]]

# Counts up to the parameter's first word, and then stores 1 into the word that follows it.
SPIN = kernel(
    """\
ld.global.u32 %r3, [%rd1];
mov.u32 %r4, 0;
LOOP:
add.s32 %r4, %r4, 1;
setp.lt.u32 %p1, %r4, %r3;
@%p1 bra LOOP;
st.global.u32 [%rd1+4], 1;""",
    "spin",
)
# Waits until another kernel, or the host, has stored into pinned memory.
WAIT = kernel(
    """\
LOOP:
ld.volatile.global.u32 %r3, [%rd1];
setp.eq.u32 %p1, %r3, 0;
@%p1 bra LOOP;
st.global.u32 [%rd1+4], %r3;""",
    "hold",
)
PINNED = """
place = ctypes.c_void_p()
call("cuMemHostAlloc", ctypes.byref(place), ctypes.c_size_t(64), 0)
pinned = (ctypes.c_uint32 * 16).from_address(place.value)
NOT_READY = 600
"""


@pytest.fixture
def run(native_paths: NativePaths, start_shim_host: StartHost, tmp_path: Path) -> Iterator[Run]:
    """Runs a script on a software GPU; the lines it prints."""
    host = start_shim_host("--device", "soft")
    yield lambda script, text: run_client(script, text, native_paths, host).splitlines()


def test_a_launch_comes_back_before_its_kernel_has_ended(run: Run) -> None:
    script = f"""{PINNED}
hold = function(load(TEXT), "hold")
launch(hold, (1, 1, 1), (1, 1, 1), place.value)
made = event()
call("cuEventRecord", made, None)
print(cuda.cuStreamQuery(None) == NOT_READY, cuda.cuEventQuery(made) == NOT_READY, pinned[1])
pinned[0] = 7
synchronize()
print(cuda.cuStreamQuery(None), cuda.cuEventQuery(made), pinned[1])
"""
    assert run(script, WAIT) == ["True True 0", "0 0 7"]


def test_copies_and_kernels_of_one_stream_are_done_in_their_order(run: Run) -> None:
    script = """
spin, where = function(load(TEXT), "spin"), allocate(64)
one = stream()
for value in (1000, 2000):
    data = ctypes.create_string_buffer(struct.pack("<2I", value, 0))
    call("cuMemcpyHtoDAsync_v2", u64(where), data, ctypes.c_size_t(8), one)
    launch(spin, (1, 1, 1), (1, 1, 1), where, stream=one)
    call("cuMemcpyDtoDAsync_v2", u64(where + 8), u64(where), ctypes.c_size_t(8), one)
call("cuStreamSynchronize", one)
print(words(where, 4))
"""
    assert run(script, SPIN) == ["[2000, 1, 2000, 1]"]


def test_a_stream_that_waits_for_an_event_sees_what_was_done_before_it(run: Run) -> None:
    script = """
spin, where = function(load(TEXT), "spin"), allocate(64)
first, second, made = stream(), stream(), event()
data = ctypes.create_string_buffer(struct.pack("<4I", 50000, 0, 0, 0))
call("cuMemcpyHtoDAsync_v2", u64(where), data, ctypes.c_size_t(16), first)
launch(spin, (1, 1, 1), (1, 1, 1), where, stream=first)
call("cuEventRecord", made, first)
call("cuStreamWaitEvent", second, made, 0)
call("cuMemcpyDtoDAsync_v2", u64(where + 8), u64(where + 4), ctypes.c_size_t(4), second)
call("cuStreamSynchronize", second)
print(words(where + 8, 1))
"""
    assert run(script, SPIN) == ["[1]"]


def test_events_measure_what_lies_between_them(run: Run) -> None:
    script = """
spin, where = function(load(TEXT), "spin"), allocate(64)
data = ctypes.create_string_buffer(struct.pack("<2I", 3000000, 0))
call("cuMemcpyHtoD_v2", u64(where), data, ctypes.c_size_t(8))
begin, end, later = event(), event(), event()
clock = time.monotonic()
call("cuEventRecord", begin, None)
launch(spin, (1, 1, 1), (1, 1, 1), where)
call("cuEventRecord", end, None)
call("cuEventSynchronize", end)
took = 1000 * (time.monotonic() - clock)
call("cuEventRecord", later, None)
call("cuEventSynchronize", later)
measured, rest = ctypes.c_float(), ctypes.c_float()
call("cuEventElapsedTime", ctypes.byref(measured), begin, end)
call("cuEventElapsedTime", ctypes.byref(rest), begin, later)
print(0 < measured.value <= took, measured.value <= rest.value)
"""
    assert run(script, SPIN) == ["True True"]


def test_a_kernel_that_runs_is_seen_in_nvml_s_utilisation(run: Run) -> None:
    script = f"""{PINNED}
nvml = ctypes.CDLL("libnvidia-ml.so.1")
assert nvml.nvmlInit_v2() == 0
board, rates = ctypes.c_void_p(), (ctypes.c_uint * 2)()
assert nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(board)) == 0
def rate():
    # Asked of another process: this one's calls wait behind its kernel.
    import subprocess
    code = ("import ctypes; n = ctypes.CDLL('libnvidia-ml.so.1'); n.nvmlInit_v2(); b = ctypes.c_void_p(); "
            "n.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(b)); r = (ctypes.c_uint * 2)(); "
            "assert n.nvmlDeviceGetUtilizationRates(b, r) == 0; print(r[0], r[1])")
    return [int(word) for word in subprocess.check_output([sys.executable, "-c", code]).split()]
print(rate()[0])
hold = function(load(TEXT), "hold")
launch(hold, (1, 1, 1), (1, 1, 1), place.value)
while rate()[0] < 90:
    pass
pinned[0] = 1
synchronize()
print(rate()[1] > 0)
while rate()[0] > 0:
    pass
print("idle")
"""
    assert run(script, WAIT) == ["0", "True", "idle"]


def test_a_kernel_that_runs_is_seen_in_the_state_that_the_host_tells(
    start_shim_host: StartHost, native_paths: NativePaths, tmp_path: Path
) -> None:
    path = tmp_path / "state.jsonl"
    host = start_shim_host("--device", "soft", "--state", str(path))
    script = f"""{PINNED}
import json
def busy():
    lines = [json.loads(line) for line in open({str(path)!r}).read().split("\\n")[:-1]]
    return [line["busy"] for line in lines if line["kind"] == "state"][-1]
print(busy())
launch(function(load(TEXT), "hold"), (1, 1, 1), (1, 1, 1), place.value)
while busy()["kernels"] < 90 or busy()["memory"] < 90:
    time.sleep(0.05)
pinned[0] = 1
synchronize()
"""
    assert run_client(script, WAIT, native_paths, host).splitlines() == ["{'kernels': 0, 'memory': 0}"]

    def idle() -> bool:  # which is told though the last client has left
        states = [json.loads(line) for line in path.read_text().splitlines()]
        return [line["busy"] for line in states if "busy" in line][-1] == {"kernels": 0, "memory": 0}

    wait_until(idle, "the device is idle")
