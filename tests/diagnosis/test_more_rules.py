"""The rules about what comes after a runtime's start, and about what stands around the calls."""

from __future__ import annotations

import pytest
from steps import NOT_FOUND, SECOND, ask, bootstrap, call, number, only, rest_of_bootstrap, table

from sessions.decode import UNRETURNED
from sessions.format import Pseudo
from sessions.testing import SessionBuilder, out_item, string_item
from workbench.diagnosis import diagnose
from workbench.diagnosis.engine import explain
from workbench.diagnosis.gather import gather
from workbench.diagnosis.limits import limit_of, newest_limit

# Lines of a real `ollama serve` (0.33, facts/ollama.md).
SKIPPED = (
    'level=INFO source=llama_server.go:299 msg="skipping CUDA device — compute capability not in compiled '
    'architectures" device="FAKE GeForce RTX 3090" cc=700 archs="[750 800 860 890 900 1200 1210]"'
)
TIMED_OUT = (
    'level=WARN source=runner.go:584 msg="llama-server GPU discovery watchdog timed out" '
    'OLLAMA_LIBRARY_PATH="[/usr/local/lib/ollama]" extra_envs=map[] error="context deadline exceeded"'
)
NOT_REFRESHED = 'level=WARN source=runner.go:364 msg="unable to refresh free memory, using old values"'


def started(builder: SessionBuilder, process: int = 0) -> None:
    bootstrap(builder, process)
    rest_of_bootstrap(builder, process)


def attribute(builder: SessionBuilder, number: int, value: int, device: int = 0) -> None:
    items = [out_item(0, value.to_bytes(4, "little"))]
    call(builder, "cuDeviceGetAttribute", args=(1, number, device), items=items)


def text(builder: SessionBuilder, function: str, value: str, *args: int) -> None:
    call(builder, function, args=args or (1, 80), items=[out_item(0, value.encode() + b"\0")])


def rules(builder: SessionBuilder) -> list[str]:
    return [found.rule for found in diagnose(builder.open())]


def test_a_capability_that_ollama_skips_is_told_with_the_list(builder: SessionBuilder) -> None:
    started(builder)
    attribute(builder, 75, 7)
    attribute(builder, 76, 0)
    builder.line(SKIPPED)
    found = only(builder)
    assert found.rule == "capability-not-in-archs"
    assert "7.0" in found.cause and "7.5, 8.0, 8.6" in found.cause
    assert found.row == len(builder.open().calls) - 2


def test_a_capability_below_all_that_llama_cpp_was_compiled_for(builder: SessionBuilder) -> None:
    started(builder)
    attribute(builder, 75, 6)
    attribute(builder, 76, 1)
    builder.line("system_info: n_threads = 2 | CUDA : ARCHS = 750,800,860 | USE_GRAPHS = 1 |")
    assert only(builder).rule == "capability-not-in-archs"


def test_a_capability_between_those_that_were_compiled_is_no_fault(builder: SessionBuilder) -> None:
    started(builder)
    attribute(builder, 75, 8)
    attribute(builder, 76, 7)
    builder.line("system_info: n_threads = 2 | CUDA : ARCHS = 750,800,860 | USE_GRAPHS = 1 |")
    assert rules(builder) == []


@pytest.mark.parametrize("second", ["0000:05:00.0", "0000:06:00.0"])
def test_two_devices_at_one_address(builder: SessionBuilder, second: str) -> None:
    started(builder)
    text(builder, "cuDeviceGetPCIBusId", "0000:05:00.0", 1, 20, 0)
    text(builder, "cuDeviceGetPCIBusId", second, 1, 20, 1)
    assert rules(builder) == (["pci-id-doubled"] if second == "0000:05:00.0" else [])


@pytest.mark.parametrize("cuda", [13000, 13050])
@pytest.mark.parametrize(("release", "spoken"), [("535.54.03", True), ("580.95.05", False)])
def test_nvml_of_an_older_driver_than_cuda_claims(
    builder: SessionBuilder, release: str, spoken: bool, cuda: int
) -> None:
    started(builder)
    number(builder, "cuDriverGetVersion", cuda)
    call(builder, "nvmlInit_v2")
    text(builder, "nvmlSystemGetDriverVersion", release)
    found = rules(builder)
    assert found == (["nvml-inconsistent"] if spoken else [])


def test_nvml_that_no_loader_finds(builder: SessionBuilder) -> None:
    started(builder)
    for name in ("/usr/lib/wsl/lib/libnvidia-ml.so.1", "libnvidia-ml.so.1"):
        call(builder, int(Pseudo.DLOPEN), items=[string_item(0, name)], result=-1)
    builder.line('level=WARN msg="could not verify NVIDIA driver compatibility for CUDA"')
    found = only(builder)
    assert (found.rule, found.stops) == ("nvml-absent", False)


def test_nvml_that_was_found_at_the_second_place_is_there(builder: SessionBuilder) -> None:
    started(builder)
    call(builder, int(Pseudo.DLOPEN), items=[string_item(0, "/usr/lib/wsl/lib/libnvidia-ml.so.1")], result=-1)
    call(builder, int(Pseudo.DLOPEN), items=[string_item(0, "libnvidia-ml.so.1")], result=1)
    assert rules(builder) == []


def test_a_module_without_code_for_the_device(builder: SessionBuilder) -> None:
    started(builder)
    call(builder, "cuLibraryLoadData", args=(1, 2, 0), result=209)
    builder.line("CUDA error: no kernel image is available for execution on the device")
    first, second = diagnose(builder.open())
    assert (first.rule, second.consequence_of) == ("no-code-for-architecture", "no-code-for-architecture")


def test_a_module_that_failed_on_the_way_to_one_that_ran_is_no_fault(builder: SessionBuilder) -> None:
    started(builder)
    call(builder, "cuLibraryLoadData", args=(1, 2, 0), result=209)
    call(builder, "cuLaunchKernel", args=(1, 1, 1))
    assert rules(builder) == []


def test_a_forbidden_call_during_capture_is_named_by_who_made_it(builder: SessionBuilder) -> None:
    started(builder)
    call(builder, "cuStreamBeginCapture_v2", args=(1, 0))
    call(builder, "cuMemAlloc_v2", args=(1, 64), result=900)
    call(builder, "cuStreamEndCapture", args=(1, 2), result=901)
    builder.line("CUDA error: operation failed due to a previous error during capture")
    found = only(builder)
    assert found.rule == "forbidden-during-capture"
    assert found.cause.startswith("libcudart.so.13 called cuMemAlloc_v2")


def test_who_holds_the_memory_that_is_missing(builder: SessionBuilder) -> None:
    started(builder)
    items = [out_item(0, (0x7F000000).to_bytes(8, "little"))]
    call(builder, "cuMemAlloc_v2", args=(1, 6 << 30), items=items)
    call(builder, "cuMemAlloc_v2", args=(1, 4 << 30), result=2)
    builder.line("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory")
    found = only(builder)
    assert (found.rule, found.certainty) == ("out-of-memory", "proved")
    assert "process 4121 target holds 6144.0 MiB" in found.cause


def test_success_with_a_null_handle_is_no_success(builder: SessionBuilder) -> None:
    started(builder)
    items = [out_item(0, bytes(8))]
    call(builder, "cuStreamCreate", args=(1, 0), items=items)
    found = only(builder)
    assert (found.rule, "cuStreamCreate" in found.cause) == ("success-without-effect", True)


def test_an_allocation_of_nothing_gives_nothing(builder: SessionBuilder) -> None:
    started(builder)
    call(builder, "cuMemAlloc_v2", args=(1, 0), items=[out_item(0, bytes(8))])
    assert rules(builder) == []


def test_a_port_that_is_taken(builder: SessionBuilder) -> None:
    builder.line("Error: listen tcp 127.0.0.1:11434: bind: address already in use")
    found = only(builder)
    assert (found.rule, "127.0.0.1:11434" in found.cause) == ("port-taken", True)


def ollama(builder: SessionBuilder, *words: str, environment: dict[str, str] | None = None, time: int) -> int:
    server = next((p.index for p in builder.open().processes if p.argv[0] == "ollama"), None)
    if server is None:
        server = builder.process(["ollama", "serve"], time=0)
    return builder.process(["/lib/llama-server", *words], parent=server, env=environment, time=time)


def test_limits_of_ollama_count_from_where_a_pass_began(builder: SessionBuilder) -> None:
    first = ollama(builder, "--port", "1", time=SECOND)
    second = ollama(builder, "--list-devices", time=3 * SECOND)
    named = {"CUDA_VISIBLE_DEVICES": "0"}
    refresh = ollama(builder, "--port", "2", environment=named, time=9 * SECOND)
    model = ollama(builder, "--model", "x", environment=named, time=12 * SECOND)
    session = builder.open()
    limits = [limit_of(session, session.processes[index]) for index in (first, second, refresh, model)]
    assert [(limit.name, limit.seconds, limit.began_ns // SECOND) for limit in limits if limit] == [
        ("discovery", 30, 1),
        ("discovery", 30, 1),
        ("refresh", 3, 9),
        ("model load", 300, 12),
    ]
    assert limit_of(session, session.processes[0]) is None


def test_the_limit_of_a_load_ends_when_the_model_is_loaded(builder: SessionBuilder) -> None:
    ollama(builder, "--model", "x", time=12 * SECOND)
    limit = newest_limit(builder.open(), 1, [11 * SECOND])
    assert limit is not None and limit.name == "model load"
    builder.line('msg="llama-server started in 2.02 seconds"', time=14 * SECOND)
    session = builder.open()
    loaded = [said.time_ns for said in gather(session).said if said.kind == "loaded"]
    assert loaded == [14 * SECOND]
    assert newest_limit(session, 1, loaded) is None


def test_a_slow_constructor_is_held_against_the_limit_that_ran_out(builder: SessionBuilder) -> None:
    process = ollama(builder, "--port", "1", environment={"CUDA_VISIBLE_DEVICES": "0"}, time=SECOND)
    items = [string_item(0, "/shim/libcuda.so.1")]
    builder.call(int(Pseudo.LOAD), process=process, items=items, duration=2 * SECOND)
    builder.line(NOT_REFRESHED, process=process)
    found = only(builder)
    assert (found.rule, found.certainty) == ("slow-load", "proved")
    assert "constructors took 2.0 s" in found.cause and "refresh has 3 s" in found.what


def test_a_limit_that_ran_out_without_a_slow_call_is_told_as_it_was_printed(builder: SessionBuilder) -> None:
    builder.line(TIMED_OUT)
    found = only(builder)
    assert (found.rule, found.certainty) == ("slow-load", "likely")


def test_a_process_that_lost_the_environment(builder: SessionBuilder) -> None:
    folder = f"{builder.path}/runs/1"
    parent = builder.process(["sh", "-c", "run"], env={"LD_LIBRARY_PATH": f"{folder}/tap:{folder}/lib"})
    child = builder.process(["sudo", "server"], parent=parent)
    builder.event("process", index=child, registered=False)
    builder.line("libcuda.so.1: cannot open shared object file: No such file or directory", process=child)
    found = diagnose(builder.open())[0]
    assert (found.rule, found.process) == ("environment-dropped", child)
    assert "LD_LIBRARY_PATH" in found.cause


def test_a_program_whose_loader_takes_no_tap(builder: SessionBuilder) -> None:
    child = builder.process(["server"])
    builder.event("process", index=child, registered=False)
    builder.event("unrecorded", index=child, why="it is setuid", advice="run a copy")
    assert rules(builder) == []  # as long as it does without the run's libraries
    builder.line("libcuda.so.1: cannot open shared object file: No such file or directory", process=child)
    found = diagnose(builder.open())[0]
    assert (found.rule, found.process, found.fix) == ("environment-dropped", child, "run a copy")
    assert "it is setuid" in found.cause


@pytest.mark.parametrize("ours", [True, False])
def test_another_driver_than_the_one_that_was_built(builder: SessionBuilder, ours: bool) -> None:
    libraries = {"libcuda.so.1": "/store/libcuda.so.1"}
    builder.event("run", run=2, reason="start", command=["t"], libraries=libraries, ours=False)
    path = f"{builder.path}/runs/2/tap/libcuda.so.1" if ours else "/usr/lib/libcuda.so.550.54"
    builder.process(["t"], run=2, maps=[{"path": path, "soname": "libcuda.so.1"}])
    assert rules(builder) == ([] if ours else ["other-driver-mapped"])


@pytest.mark.parametrize("by_shim", [True, False])
def test_a_driver_that_the_shim_itself_opens_behind_it_is_no_wall(
    builder: SessionBuilder, by_shim: bool
) -> None:
    shim, driver = "/store/libcuda.so.1", "/usr/lib/libcuda.so.1"
    builder.event("run", run=2, reason="start", command=["t"], libraries={"libcuda.so.1": shim}, ours=False)
    modules = [(shim, 0x1000, 0x2000), ("/opt/ollama", 0x4000, 0x5000)]
    maps = [{"path": path, "soname": "libcuda.so.1"} for path in (shim, driver)]
    process = builder.process(["t"], run=2, maps=maps, modules=modules)
    caller = 0x1010 if by_shim else 0x4010
    opened = {"items": [string_item(0, driver)], "result": 1, "caller": caller}
    builder.call(int(Pseudo.DLOPEN), process=process, **opened)
    assert rules(builder) == ([] if by_shim else ["other-driver-mapped"])


def test_a_shim_of_the_runtime_is_bypassed_by_cublas(builder: SessionBuilder) -> None:
    libraries = {"libcudart.so.13": "/store/libcudart.so.13"}
    builder.event("run", run=2, reason="start", command=["t"], libraries=libraries, ours=False)
    modules = [("/opt/libcublasLt.so.13", 0x10000000, 0x10100000)]
    process = builder.process(["t"], run=2, modules=modules)
    ask(builder, "cuInit", 2000, "cuInit", process)
    ask(builder, "cuLogsCurrent", 13000, None, process)
    ask(builder, "cuGetExportTable", 3000, None, process)
    builder.line("cublasCreate failed: CUBLAS_STATUS_NOT_INITIALIZED", process=process)
    assert "cudart-shim-bypassed" in rules(builder)


def test_a_version_that_is_claimed_without_its_functions(builder: SessionBuilder) -> None:
    started(builder)
    ask(builder, "cuLogsCurrent", 13000, None)
    ask(builder, "cuCtxGetDevice", 13000, None)
    builder.line("ggml-cuda: cudaMemGetInfo: API call is not supported in the installed CUDA driver")
    assert {"name-missing", "version-without-its-symbols"} <= set(rules(builder))


def test_a_runtime_newer_than_the_rules_lowers_the_certainty(builder: SessionBuilder) -> None:
    modules = [("/opt/libcudart.so.13.6.12", 0x20000000, 0x20100000)]
    process = builder.process(["t"], run=1, modules=modules)
    bootstrap(builder, process)
    table(builder, "d4082055-bde6-704b-8d34-ba123c66e1f2", process=process)
    builder.line("x: CUDA: integrity checks failed", process=process)
    found = only(builder)
    assert (found.rule, found.certainty) == ("self-test-wrong", "likely")
    assert found.note == "cudart 13.6 not known, rules checked to 13.5"


def test_stacks_say_where_a_call_hangs(builder: SessionBuilder) -> None:
    builder.in_flight("cuDeviceGetCount", age=9 * SECOND)
    frames = [
        "Thread 2 (LWP 5):",
        "#0  poll () from /lib/libc.so.6",
        "Thread 1 (LWP 4121):",
        "#0  0x00007f in __lll_lock_wait () from /lib/libc.so.6",
        "#1  0x00007f in take_lock () from /shim/libvgpu.so",
    ]
    builder.event("stacks", run=1, process=0, lines=frames, idle_seconds=9.0)
    found = only(builder)
    assert found.rule == "call-hangs"
    assert found.cause.endswith("in the guest (take_lock in libvgpu.so)")


def test_a_hang_in_no_call_is_told_from_the_stacks(builder: SessionBuilder) -> None:
    call(builder, "cuInit", args=(0,))
    frames = [
        "Thread 1 (LWP 4121):",
        "#0  0x00007f in __lll_lock_wait () from /lib/libc.so.6",
        "#1  0x00007f in _dl_open () from /lib64/ld-linux-x86-64.so.2",
        "#2  0x00007f in load_driver () from /opt/libcudart.so.13",
    ]
    builder.event("stacks", run=1, process=0, lines=frames, idle_seconds=5.0)
    builder.exit(0, signal=15)
    found = only(builder)
    assert found.rule == "hangs-outside-calls"
    assert "loader's lock" in found.cause


def test_a_refused_table_is_the_last_one_that_was_asked_for(builder: SessionBuilder) -> None:
    bootstrap(builder)
    table(builder, "42d85a81-23f6-cb47-8298-f6e78a3aecdc")
    table(builder, "263e8860-7cd2-6143-92f6-bbd5006dfa7e", result=NOT_FOUND)  # 12.x can do without
    table(builder, "d4082055-bde6-704b-8d34-ba123c66e1f2", result=NOT_FOUND)
    builder.line("ggml_cuda_init: failed to initialize CUDA: named symbol not found")
    number(builder, "cuMemGetInfo_v2", 0, size=8)
    found = diagnose(builder.open())[0]
    assert found.rule == "export-table-refused" and "d4082055" in found.cause


def test_a_driver_that_a_program_asks_for_in_silence_and_does_not_get(builder: SessionBuilder) -> None:
    builder.call(int(Pseudo.DLOPEN), items=[string_item(0, "libcuda.so.1")], result=-1, caller=0x10000010)
    builder.exit(0, exit_code=0)
    found = only(builder)
    assert (found.rule, found.cause.split()[0]) == ("library-not-found", "libcudart.so.13")


def test_a_forwarder_that_never_started(builder: SessionBuilder) -> None:
    builder.event("host", state="failed", detail="vgpu-host: exit 127")
    call(builder, "cuInit", args=(0,), result=802)
    first, second = diagnose(builder.open())
    assert (first.rule, second.rule) == ("host-not-started", "init-fails")


def test_one_device_for_two_ordinals_is_a_wall(builder: SessionBuilder) -> None:
    number(builder, "cuDeviceGetCount", 2)
    for ordinal in (0, 1):
        items = [out_item(0, (0).to_bytes(4, "little"))]
        call(builder, "cuDeviceGet", args=(1, ordinal), items=items)
    builder.line("ggml_cuda_init: failed to initialize CUDA: invalid device ordinal")
    found = only(builder)
    assert (found.rule, found.certainty) == ("success-without-effect", "proved")
    assert "for ordinal 0 and for ordinal 1" in found.cause


def test_a_limit_that_ran_out_over_a_call_that_hangs_follows_from_it(builder: SessionBuilder) -> None:
    server = builder.process(["ollama", "serve"])
    child = builder.process(["llama-server", "--list-devices"], parent=server)
    call(builder, "cuDeviceGetName", process=child, duration=30 * SECOND, flags=UNRETURNED)
    builder.exit(child, signal=9)
    builder.line(TIMED_OUT, process=server)
    assert only(builder).rule == "call-hangs"
    assert [found.rule for found in diagnose(builder.open())] == ["call-hangs", "slow-load"]


def test_a_runtime_that_an_old_driver_holds_back_is_not_called_an_old_runtime(
    builder: SessionBuilder,
) -> None:
    number(builder, "cuDriverGetVersion", 12020)
    ask(builder, "cuInit", 12020, "cuInit")
    table(builder, "6bd5fb6c-5bf4-e74a-8987-d93912fd9df9")
    assert explain(builder.open()).notes == []


def test_a_crash_at_the_end_of_a_process_that_worked_is_no_empty_slot(builder: SessionBuilder) -> None:
    started(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuMemAlloc_v2")
    call(builder, "cuDevicePrimaryCtxRelease")
    builder.exit(0, signal=11)
    found = only(builder)
    assert (found.rule, found.certainty) == ("crashes-outside-calls", "possible")
    assert "a destructor or a thread of the shim's" in found.cause


def test_the_cpu_mode_behind_a_wall_does_not_say_that_nothing_is_known(builder: SessionBuilder) -> None:
    started(builder)
    call(builder, "cuMemGetInfo_v2", result=801)
    builder.line("ggml_cuda_init: failed to initialize CUDA: operation not supported (CUDA)")
    builder.line('msg="inference compute" id=cpu library=cpu compute="" name=cpu')
    last = diagnose(builder.open())[-1]
    assert (last.rule, last.consequence_of) == ("cpu-mode", "context-call-fails")
    assert "does not show" not in last.cause


def test_a_call_that_waits_for_a_worker_of_the_forwarder_hangs_in_the_host(builder: SessionBuilder) -> None:
    host = builder.process(["forwarder"], role="host", pid=50)
    call(builder, "cuCtxSynchronize", duration=30 * SECOND, flags=UNRETURNED)
    builder.exit(0, signal=15)
    guest = [
        "Thread 1 (LWP 9):",
        "#0  0x1 in nanosleep () from libc.so.6",
        "#1  0x2 in wire_wait (s=1) at c.c:8",
    ]
    builder.event("stacks", run=1, process=0, pid=4121, lines=guest)
    idle = ["Thread 1 (LWP 50):", "#0  0x1 in epoll_wait () from libc.so.6", "#1  0x2 in serve () at s.cpp:3"]
    builder.event("stacks", run=1, process=host, pid=50, lines=idle)
    busy = ["Thread 1 (LWP 51):", "#0  0x1 in run_warp (w=1) at warp.cpp:7", "#1  0x2 in work () at w.cpp:3"]
    builder.event("stacks", run=1, process=host, pid=51, lines=busy)
    builder.event("stacks", run=1, process=host, pid=52, lines=idle)
    builder.exit(host)
    found = diagnose(builder.open())[0]
    assert found.rule == "call-hangs"
    assert "in the host (run_warp" in found.cause


def test_a_crash_in_no_call_is_told_without_what_fails_in_every_run(builder: SessionBuilder) -> None:
    call(builder, "cuCtxGetDevice_v2", result=201)
    call(builder, "cuStreamSynchronize")
    builder.exit(0, signal=11, time=90 * SECOND)
    [left] = explain(builder.open()).unexplained
    assert "signal 11 outside of the driver" in left.text and "cuStreamSynchronize" in left.text
