"""cuInit: with a host, without one, after a fork."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.patience import PATIENCE_SECONDS
from workbench import native

Run = Callable[..., subprocess.CompletedProcess[str]]
Answers = Callable[..., list[str]]


def test_without_a_host_cuinit_says_which_socket_and_what_to_do(run_python: Run) -> None:
    done = run_python("print(cuda.cuInit(0), cuda.cuInit(0))")
    assert done.stdout == "802 802\n"
    assert done.stderr.count("\n") == 1
    for part in ("nobody.sock", "start shimbench-host", "SHIMBENCH_HOST=unix:/path"):
        assert part in done.stderr


def test_before_cuinit_only_what_needs_no_device_answers(answers: Answers) -> None:
    script = """
        value, pfn = c_int(), c_void_p()
        print(cuda.cuDriverGetVersion(byref(value)), value.value > 12000)
        print(cuda.cuGetProcAddress_v2(b"cuInit", byref(pfn), 2000, c_uint64(0), None), bool(pfn.value))
        print(cuda.cuDeviceGetCount(byref(value)), cuda.cuCtxGetCurrent(byref(pfn)))
        print(cuda.cuMemAlloc_v2(byref(pfn), c_size_t(1)))
    """
    assert answers(script) == ["0 True", "0 True", "3 3", "3"]


def test_a_child_of_an_initialised_process_cannot_use_cuda(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        count = c_int()
        assert cuda.cuInit(0) == 0
        if os.fork() == 0:
            print(cuda.cuInit(0), cuda.cuDeviceGetCount(byref(count)), flush=True)
            os._exit(0)
        os.wait()
        print(cuda.cuInit(0), cuda.cuDeviceGetCount(byref(count)), count.value)
    """
    assert answers(script, shim_host) == ["3 3", "0 0 1"]


def test_a_child_of_a_process_that_never_called_cuinit_can(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        count = c_int()
        if os.fork() == 0:
            print(cuda.cuInit(0), cuda.cuDeviceGetCount(byref(count)), count.value, flush=True)
            os._exit(0)
        os.wait()
        print(cuda.cuInit(0))
    """
    assert answers(script, shim_host) == ["0 0 1", "0"]


def test_many_threads_may_initialise_at_once(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        import threading
        results = []
        threads = [threading.Thread(target=lambda: results.append(cuda.cuInit(0))) for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(results == [0] * 16)
    """
    assert answers(script, shim_host) == ["True"]


def test_the_driver_version_is_configurable_and_hides_what_came_later(answers: Answers) -> None:
    script = """
        value, pfn, status = c_int(), c_void_p(), c_int()
        cuda.cuDriverGetVersion(byref(value))
        cuda.cuGetProcAddress_v2(b"cuCtxGetDevice", byref(pfn), 13050, c_uint64(0), byref(status))
        print(value.value, pfn.value == ctypes.cast(cuda.cuCtxGetDevice, c_void_p).value)
    """
    assert answers(script, {"SHIMBENCH_DRIVER_VERSION": "12.4"}) == ["12040 True"]


def test_a_constructor_of_a_preloaded_library_may_initialise(
    native_paths: native.NativePaths, tmp_path: Path, shim_host: dict[str, str]
) -> None:
    (tmp_path / "early.c").write_text("""
        #include <stdio.h>
        int cuInit(unsigned);
        int cuDeviceGetCount(int *);
        __attribute__((constructor)) static void early(void) {
            int count = 0, first = cuInit(0), second = cuDeviceGetCount(&count);
            printf("%d %d %d\\n", first, second, count);
        }
    """)
    early, cuda = tmp_path / "early.so", native_paths.lib / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", early, tmp_path / "early.c", cuda], check=True)
    done = subprocess.run(
        ["/bin/true"],
        env={**shim_host, "LD_PRELOAD": str(early), "LD_LIBRARY_PATH": str(native_paths.lib)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 0 1\n", "")
