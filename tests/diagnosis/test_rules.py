"""Rules over sessions made by hand: what speaks, with what evidence, and what stays silent."""

from __future__ import annotations

import pytest
from steps import (
    HOOKS,
    NOT_SUPPORTED,
    SECOND,
    ask,
    bootstrap,
    call,
    number,
    only,
    rest_of_bootstrap,
    slot,
)

from sessions.format import CallFlag, Pseudo
from sessions.testing import SessionBuilder, string_item
from workbench.diagnosis import Stage, diagnose, explain


def test_nothing_is_said_of_a_healthy_session(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuDevicePrimaryCtxRetain", args=(1, 0))
    call(builder, "cuCtxGetDevice_v2", args=(1,), result=201)  # no context yet is an answer
    call(builder, "cuMemAlloc_v2", args=(1, 1 << 40), result=2)  # and so is a full device
    call(builder, "cuLaunchKernel", args=(1, 1, 1))
    builder.line("ggml_cuda_init: found 1 CUDA devices (Total VRAM: 8192 MiB):")
    builder.line("offloaded 3/3 layers to GPU")
    builder.exit(0)
    found = explain(builder.open())
    assert (found.diagnoses, found.unexplained) == ([], [])


def test_a_device_that_was_found_is_not_yet_said_to_compute(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    builder.line("ggml_cuda_init: found 1 CUDA devices (Total VRAM: 8192 MiB):")
    [doing] = explain(builder.open()).doing
    assert doing.text.startswith("a GPU, no kernel launched yet: log 1")


def test_a_process_killed_on_purpose_in_the_middle_of_its_discovery_is_healthy(
    builder: SessionBuilder,
) -> None:
    bootstrap(builder)
    call(builder, "cuDeviceGetUuid", args=(1, 0), flags=CallFlag.UNRETURNED, duration=2000)
    builder.exit(0, signal=9)
    assert diagnose(builder.open()) == []


@pytest.mark.parametrize(("name", "since"), [("cuInit", 2000), ("cuGetExportTable", 3000)])
def test_an_entry_that_was_asked_for_and_not_answered_explains_error_36(
    builder: SessionBuilder, name: str, since: int
) -> None:
    call(builder, "cuInit", args=(0,), flags=CallFlag.INTERNAL)  # of the shim's own constructor
    ask(builder, "cuDriverGetVersion", 2020, "cuDriverGetVersion")
    ask(builder, "cuLogsCurrent", 12090, None)
    ask(builder, name, since, None)
    number(builder, "cuDriverGetVersion", 13000)
    builder.line(
        "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver"
    )
    found = only(builder)
    assert (found.rule, found.certainty) == ("entry-not-resolvable", "proved")
    assert name in found.cause
    assert [(piece.call, piece.log, piece.name) for piece in found.evidence[:2]] == [
        (3, None, name),
        (None, 0, None),
    ]


def test_a_missing_libcuda_and_a_missing_link_time_symbol_are_read_from_the_log(
    builder: SessionBuilder,
) -> None:
    where = "load_backend: failed to load /opt/libggml-cuda.so: "
    builder.line(where + "libcuda.so.1: cannot open shared object file: No such file or directory")
    assert only(builder).rule == "library-not-found"
    builder.line(where + "/opt/libggml-cuda.so: undefined symbol: cuMemCreate")
    found = diagnose(builder.open())[1]
    assert (found.rule, "cuMemCreate" in found.fix) == ("link-time-symbol-missing", True)


@pytest.mark.parametrize(
    "piece", ["x", "lib", "lib.so", ".so", "not in compiled architectures cc=", "Device 1: "]
)
def test_a_line_of_megabytes_is_looked_at_in_one_go(builder: SessionBuilder, piece: str) -> None:
    """What grows with the square of the length would take hours."""
    builder.line(piece * ((4 << 20) // len(piece)))
    assert not diagnose(builder.open())


def test_a_name_that_dlsym_did_not_find_is_linked_against_by_nobody(builder: SessionBuilder) -> None:
    builder.call(Pseudo.DLSYM, result=0, items=[string_item(0, "cuMemAlloc_v2")])
    builder.line("/opt/shim/libcuda.so.1: undefined symbol: cuMemAlloc_v2")
    assert "link-time-symbol-missing" not in [found.rule for found in diagnose(builder.open())]


def test_a_library_that_has_nothing_to_do_with_cuda_is_nobodys_business(builder: SessionBuilder) -> None:
    builder.line(
        "load_backend: failed to load libggml-hip.so: libamdhip64.so.6: cannot open shared object file: "
        "No such file or directory"
    )
    builder.line("curl: out of memory")
    assert diagnose(builder.open()) == []


def test_cuGetProcAddress_that_fails_for_all_names_is_the_only_thing_said(
    builder: SessionBuilder,
) -> None:
    for name in ("", "cuInit", "cuGetProcAddress", "cuDeviceGetName"):
        ask(builder, name, 2000, None)
    found = only(builder)
    assert (found.rule, found.stage) == ("proc-address-fails", Stage.RESOLVE)


def test_a_runtime_that_gave_up_before_asking_for_newer_names_tells_its_major_by_its_file(
    builder: SessionBuilder,
) -> None:
    ask(builder, "cuInit", 2000, "cuInit")
    number(builder, "cuDriverGetVersion", 12040)
    builder.line("0.00.064 E ggml_cuda_init: CUDA driver version is insufficient for CUDA runtime version")
    found = only(builder)
    assert (found.rule, found.certainty) == ("driver-too-old", "proved")
    assert "12.4" in found.cause and "CUDA 13" in found.cause


def test_a_driver_older_than_the_runtime_is_told_with_both_versions(builder: SessionBuilder) -> None:
    ask(builder, "cuInit", 2000, "cuInit")
    ask(builder, "cuLogsCurrent", 13000, "cuLogsCurrent")
    number(builder, "cuDriverGetVersion", 12090)
    builder.line("x: CUDA driver version is insufficient for CUDA runtime version")
    found = only(builder)
    assert found.rule == "driver-too-old"
    assert "12.9" in found.cause and "CUDA 13" in found.cause


@pytest.mark.parametrize("called", [True, False])
def test_error_35_after_the_hooks_table_is_of_its_buffers_or_its_size(
    builder: SessionBuilder, called: bool
) -> None:
    bootstrap(builder)
    if called:
        slot(builder, HOOKS, 2)
    builder.line("x: CUDA driver version is insufficient for CUDA runtime version")
    assert only(builder).rule == ("hook-buffers-too-small" if called else "export-table-short")


def test_a_wrong_self_test_is_told_from_103_that_no_driver_call_returned(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    builder.line("ggml_cuda_init: failed to initialize CUDA: integrity checks failed")
    assert only(builder).rule == "self-test-wrong"


def test_a_failing_query_counts_only_when_the_runtime_gave_up_on_it(builder: SessionBuilder) -> None:
    bootstrap(builder)
    call(builder, "cuDeviceGetAttribute", args=(1, 9999, 0), result=1)
    rest_of_bootstrap(builder)
    assert diagnose(builder.open()) == []
    other = builder.process(["target", "2"], run=1)
    bootstrap(builder, other)
    call(builder, "cuDeviceGetUuid", process=other, args=(1, 0), result=NOT_SUPPORTED)
    builder.line("ggml_cuda_init: failed to initialize CUDA: initialization error", process=other)
    found = only(builder)
    assert (found.rule, found.process) == ("device-query-fails", other)
    assert "cuDeviceGetUuid" in found.what


def test_the_call_that_was_needed_is_the_last_that_failed_before_the_abort(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuStreamBeginCapture_v2", args=(1, 0), result=NOT_SUPPORTED)
    call(builder, "cuEventQuery", args=(1,), result=600)
    builder.line("ggml-cuda.cu:98: CUDA error: operation not supported")
    found = only(builder)
    assert (found.rule, found.certainty) == ("needed-not-supported", "proved")
    assert "cuStreamBeginCapture_v2" in found.cause


@pytest.mark.parametrize(("end", "speaks"), [({"signal": 6}, True), ({"exit_code": 1}, True), ({}, False)])
def test_a_target_that_names_an_error_in_its_own_words_gave_up_if_it_failed(
    builder: SessionBuilder, end: dict[str, int], speaks: bool
) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuOccupancyMaxPotentialBlockSize", args=(1, 2), result=NOT_SUPPORTED)
    call(builder, "cuEventQuery", args=(1,), result=600)
    builder.line('>>> cuda_check(): API error 0801 (CUDA_ERROR_NOT_SUPPORTED): "operation not supported"')
    builder.exit(0, **end)
    found = [each for each in diagnose(builder.open()) if each.rule == "needed-not-supported"]
    assert ["cuOccupancyMaxPotentialBlockSize" in each.cause for each in found] == [True] * speaks


def test_a_memory_call_that_fails_is_the_wall_and_the_abort_follows_from_it(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuMemCreate", args=(1, 4096), result=NOT_SUPPORTED)
    builder.line("CUDA error: operation not supported")
    first, second = diagnose(builder.open())
    assert (first.rule, first.consequence_of) == ("context-call-fails", None)
    assert (second.rule, second.consequence_of) == ("needed-not-supported", "context-call-fails")


def test_a_call_of_another_version_matters_once_it_was_called(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    ask(builder, "cuMemGetInfo", 3020, "cuMemGetInfo")
    assert diagnose(builder.open()) == []
    call(builder, "cuMemGetInfo", args=(1, 2))
    assert only(builder).rule == "wrong-variant"


def test_an_older_form_that_takes_the_same_arguments_is_good_enough(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    ask(builder, "cuDeviceGetUuid", 11040, "cuDeviceGetUuid")
    call(builder, "cuDeviceGetUuid", args=(1, 0))
    assert diagnose(builder.open()) == []


def test_the_plain_entry_point_for_a_per_thread_request_is_no_other_version(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    ask(builder, "cuMemcpyHtoDAsync", 7000, "cuMemcpyHtoDAsync_v2", flags=2)
    call(builder, "cuMemcpyHtoDAsync_v2", args=(1, 2, 3))
    assert diagnose(builder.open()) == []


def test_a_forwarder_that_ended_first_is_the_wall_behind_failing_calls(builder: SessionBuilder) -> None:
    host = builder.process(["shimbench-host"], role="host", time=10)
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuDevicePrimaryCtxRetain", args=(1, 0))
    builder.exit(host, signal=9, time=SECOND)
    call(builder, "cuMemcpyHtoD_v2", args=(1, 2, 3), result=46, time=2 * SECOND)
    builder.exit(0, exit_code=1, time=3 * SECOND)
    found = only(builder)
    assert (found.rule, found.stage) == ("host-died", Stage.WORK)
    assert "cuMemcpyHtoD_v2" in found.evidence[0].text


def test_a_device_of_no_memory_and_no_device_at_all(builder: SessionBuilder) -> None:
    number(builder, "cuDeviceTotalMem_v2", 0, size=8)
    assert only(builder).rule == "no-memory"
    number(builder, "cuDeviceGetCount", 0)
    assert {found.rule for found in diagnose(builder.open())} == {"no-memory", "no-devices"}


def test_a_device_that_is_used_is_not_said_to_be_dropped(builder: SessionBuilder) -> None:
    number(builder, "cuDeviceTotalMem_v2", 0, size=8)
    builder.line("offloaded 3/3 layers to GPU")
    found = only(builder)
    assert found.rule == "no-memory"
    assert "drops" not in found.what and "used all the same" in found.what


def test_a_call_under_way_for_long_hangs_and_one_just_begun_does_not(builder: SessionBuilder) -> None:
    call(builder, "cuDriverGetVersion", args=(1,))
    builder.in_flight("cuInit", age=SECOND // 10)
    assert diagnose(builder.open()) == []
    builder.in_flight("cuInit", age=7 * SECOND)
    found = only(builder)
    assert (found.rule, found.stage) == ("call-hangs", Stage.INIT)
    assert "7.0 s" in found.cause


def test_waiting_for_the_device_may_take_longer(builder: SessionBuilder) -> None:
    builder.in_flight("cuStreamSynchronize", age=7 * SECOND)
    assert diagnose(builder.open()) == []


def test_a_crash_names_the_call_and_the_signal(builder: SessionBuilder) -> None:
    call(builder, "cuMemAlloc_v2", args=(1, 64), flags=CallFlag.UNRETURNED)
    builder.exit(0, signal=11)
    found = only(builder)
    assert found.rule == "call-crashes"
    assert "SIGSEGV" in found.what and "cuMemAlloc_v2" in found.what


def test_our_shim_without_a_host_says_so(builder: SessionBuilder) -> None:
    builder.line("shimbench: libcuda.so.1: cuInit: no host listens at /x: Connection refused")
    call(builder, "cuInit", args=(0,), result=802)
    found = only(builder)
    assert (found.rule, "/x" in found.cause) == ("host-unreachable", True)


def test_a_host_that_serves_no_more_clients_names_the_key(builder: SessionBuilder) -> None:
    builder.line(
        "shimbench: libcuda.so.1: cuInit: the host refuses this process: there are 64 clients, the most it"
        " serves (shimbench-host --max-clients N serves up to 256)"
    )
    call(builder, "cuInit", args=(0,), result=46)
    found = only(builder)
    assert (found.rule, found.certainty) == ("host-unreachable", "proved")
    assert "serves no more clients" in found.what and "--max-clients" in found.fix


def test_launches_that_nobody_executes_are_told(builder: SessionBuilder) -> None:
    builder.event("host", device="count-only")
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuLaunchKernel", args=(1, 1, 1))
    found = only(builder)
    assert (found.rule, "only counts" in found.cause) == ("launches-not-executed", True)


def test_a_shim_that_keeps_launches_to_itself_is_told_from_a_device_that_counts(
    builder: SessionBuilder,
) -> None:
    builder.event("host", device={"name": "soft", "executes_kernels": True})
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuLaunchKernel", args=(1, 1, 1))
    builder.event("host", event="left", pid=4121, text="4 calls, 0 launches", time=9 * SECOND)
    builder.exit(0, time=9 * SECOND)
    found = only(builder)
    assert found.rule == "launches-not-executed"
    assert "the forwarder sees none" in found.cause and "count" not in found.cause


@pytest.mark.parametrize("told", [["-ngl", "0"], ["--n-gpu-layers=0"], ["-dev", "none"]])
def test_cpu_mode_that_a_command_line_asks_for_is_proved_by_it(
    builder: SessionBuilder, told: list[str]
) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    builder.process(["llama-server", "--model", "m", *told, "--port", "1"])
    builder.line("load_tensors: offloaded 0/5 layers to GPU")
    found = only(builder)
    assert (found.rule, found.certainty) == ("cpu-mode", "proved")
    assert f"{' '.join(told)} stands in its command line" in found.cause


def test_cpu_mode_without_a_cause_is_only_possible_and_claims_none(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    builder.line("offloaded 0/3 layers to GPU")
    found = only(builder)
    assert (found.rule, found.certainty, found.fix) == ("cpu-mode", "possible", "")


def test_the_same_wall_in_ten_processes_is_one_diagnosis(builder: SessionBuilder) -> None:
    for index in range(10):
        process = builder.process(["llama-server", str(index)], run=1)
        call(builder, "cuInit", process=process, args=(0,), result=100)
    assert only(builder).processes == 10


def test_what_no_rule_knows_is_left_as_it_is(builder: SessionBuilder) -> None:
    bootstrap(builder)
    rest_of_bootstrap(builder)
    call(builder, "cuEventQuery", args=(1,), result=1)
    builder.exit(0, exit_code=3)
    found = explain(builder.open())
    assert found.diagnoses == []
    assert "exit 3" in found.unexplained[0].text
    assert "cuEventQuery" in found.unexplained[-1].text


def test_processes_ended_as_ollama_means_to_are_no_failure(builder: SessionBuilder) -> None:
    serve = builder.process(["/usr/bin/ollama", "serve"])
    looks = builder.process(["/lib/ollama/llama-server", "--port", "1", "--offline"], parent=serve)
    call(builder, "cuCtxGetDevice_v2", process=looks, args=(1,), result=201)
    builder.exit(looks, signal=9)
    computes = builder.process(["/lib/ollama/llama-server", "--model", "/m"], parent=serve)
    builder.line("offloaded 3/3 layers to GPU", process=computes)
    call(builder, "cuLaunchKernel", process=computes, args=(1, 1, 1))
    call(builder, "cuGraphExecUpdate_v2", process=computes, args=(1, 2, 3), result=910)
    found = explain(builder.open())
    assert (found.diagnoses, found.unexplained) == ([], [])
    assert "on the GPU" in found.doing[0].text
    builder.exit(computes, signal=9)
    builder.exit(serve, signal=15)
    builder.exit(0, signal=15)
    builder.event("run-end", run=1, reason="stopped", exit_code=None, signal=15)
    assert explain(builder.open()).unexplained == []


def test_a_runner_killed_in_the_middle_of_a_run_is_told(builder: SessionBuilder) -> None:
    serve = builder.process(["/usr/bin/ollama", "serve"])
    computes = builder.process(["/lib/ollama/llama-server", "--model", "/m"], parent=serve)
    call(builder, "cuLaunchKernel", process=computes, args=(1, 1, 1))
    builder.exit(computes, signal=9)
    builder.line('level=ERROR msg="llama-server terminated" error="signal: killed"', process=serve)
    assert "signal 9" in explain(builder.open()).unexplained[0].text


def test_only_the_newest_run_is_diagnosed_unless_told(builder: SessionBuilder) -> None:
    call(builder, "cuInit", args=(0,), result=100)
    builder.event("run", run=2, reason="save", command=["target"], shim="/shim/libcuda.so.1", ours=False)
    second = builder.process(["target"], run=2)
    bootstrap(builder, second)
    assert diagnose(builder.open()) == []
    assert [found.rule for found in diagnose(builder.open(), run=1)] == ["init-fails"]


@pytest.mark.parametrize("width", [40, 110])
def test_lines_keep_to_the_width(builder: SessionBuilder, width: int) -> None:
    call(builder, "cuInit", args=(0,), result=100)
    lines = only(builder).lines(width)
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("cuInit fails")
