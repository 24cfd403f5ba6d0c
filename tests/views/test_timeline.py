"""A run in time: bars, passes, limits, ends and results, from sessions made by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sessions.decode import UNRETURNED
from sessions.testing import SessionBuilder
from workbench.target.roles import Role
from workbench.views.summary import gpu_mode
from workbench.views.timeline import Bar, Timeline, as_json
from workbench.views.timeline_text import duration_text, rows
from workbench.views.timeline_tracker import TimelineTracker, timeline_of

SECOND = 1_000_000_000
LIB = "/usr/lib/ollama"
LLAMA = f"{LIB}/llama-server"
SHIM = {"path": "/shim/libcuda.so.1", "soname": "libcuda.so.1"}


class Ollama:
    """Writes the processes of a server, one after the other."""

    def __init__(self, builder: SessionBuilder) -> None:
        self.builder = builder
        self.env = {"LD_LIBRARY_PATH": "/run/tap"}
        builder.event("run", time=0, run=2, command=["ollama", "serve"])
        self.server = builder.process(["/usr/bin/ollama", "serve"], pid=5000, run=2, env=self.env, time=0)
        self.pid = 5000

    def child(
        self,
        words: list[str],
        start: float,
        extra: Mapping[str, str] | None = None,
        folder: str = "cuda_v13",
        calls: int = 3,
    ) -> int:
        env = {
            "LD_LIBRARY_PATH": f"{LIB}:{LIB}/{folder}:/run/tap",
            "GGML_BACKEND_PATH": f"{LIB}/{folder}/libggml-cuda.so",
            **(extra or {}),
        }
        self.pid += 1
        made = self.builder.process(
            words, pid=self.pid, ppid=5000, parent=self.server, run=2, env=env, maps=[SHIM],
            time=int(start * SECOND),
        )  # fmt: skip
        for number in range(calls):
            self.builder.call(
                "cuInit", process=made, time=int(start * SECOND) + number, duration=SECOND // 10
            )
        return made

    def looks(
        self, start: float, each: float, extra: Mapping[str, str] | None = None, folder: str = "cuda_v13"
    ) -> float:
        """One pass of three processes; -> its end."""
        first = self.child([LLAMA, "--port", "1", "--offline"], start, extra, folder)
        self.line(first, "cmn  common_param: system_info: n_threads = 1 | CUDA : ARCHS = 800", start + each)
        self.builder.exit(first, signal=9, time=int((start + each) * SECOND))
        second = self.child([LLAMA, "--list-devices"], start + each, extra, folder)
        self.line(second, "  CUDA0: A GPU (8192 MiB, 8000 MiB free)", start + each)
        self.builder.exit(second, time=int((start + 2 * each) * SECOND))
        third = self.child(["/usr/bin/ollama", "gpu-discover"], start + 2 * each, extra, folder)
        self.line(
            third, '{"devices":[{"library":"CUDA","description":"A GPU","cuda_driver_major":13}]}', start
        )
        self.builder.exit(third, time=int((start + 3 * each) * SECOND))
        return start + 3 * each

    def line(self, process: int, text: str, at: float) -> None:
        self.builder.line(text, process=process, time=int(at * SECOND))

    def says(self, message: str, at: float, level: str = "INFO") -> None:
        self.line(self.server, f"time=t level={level} source=x.go:1 {message}", at)


@pytest.fixture
def ollama(builder: SessionBuilder) -> Ollama:
    return Ollama(builder)


def seen(ollama: Ollama) -> Timeline:
    return timeline_of(ollama.builder.open(), 2)


def test_the_passes_of_a_found_gpu_with_their_limits(ollama: Ollama) -> None:
    end = ollama.looks(1, 0.5)
    end = ollama.looks(end, 0.5, {"CUDA_VISIBLE_DEVICES": "0", "GGML_CUDA_INIT": "1"})
    ollama.says('msg="inference compute" id=0 library=CUDA compute=8.0 description="A GPU"', end)
    end = ollama.looks(10, 0.5, {"CUDA_VISIBLE_DEVICES": "0"})
    runner = ollama.child([LLAMA, "--model", "m.gguf"], end, {"CUDA_VISIBLE_DEVICES": "0"})
    ollama.line(runner, "load_tensors: offloaded 33/33 layers to GPU", end + 1)
    ollama.says('msg="llama-server started in 2.00 seconds"', end + 2)
    timeline = seen(ollama)
    told = [
        (each.kind, each.folder, each.used_ns / SECOND, each.limit.seconds, len(each.bars))
        for each in timeline.passes
    ]
    assert told == [
        ("bootstrap", "cuda_v13", 1.5, 30.0, 3),
        ("validation", "cuda_v13", 1.5, 30.0, 3),
        ("refresh", "cuda_v13", 1.5, 3.0, 3),
        ("load", "cuda_v13", 2.0, 300.0, 1),
    ]
    assert timeline.passes[2].share == 0.5
    assert timeline.era == ">=0.30"
    assert timeline.verdict is not None and timeline.verdict.text == "CUDA, A GPU, compute 8.0"
    assert timeline.horizon_ns == int((end + 2) * SECOND)
    first, second, third = timeline.passes[0].bars
    assert (first.ending_kind, first.ending) == ("on-purpose", "SIGKILL on purpose: it had told")
    assert second.result is not None and second.result.text == "CUDA0: A GPU (8192 MiB, 8000 MiB free)"
    assert third.result is not None and third.result.text == "A GPU, driver 13.0"
    assert third.limit is not None and third.limit.seconds == 15
    assert (first.calls, first.in_calls_ns) == (3, 3 * SECOND // 10)
    assert [bar.role for bar in timeline.others] == [Role.SERVE]
    assert timeline.passes[0].in_calls_ns == 9 * SECOND // 10
    assert timeline.passes[3].bars[0].result is not None


def test_two_library_folders_are_two_passes_and_two_loads_two_refreshes(ollama: Ollama) -> None:
    end = ollama.looks(1, 0.1, folder="cuda_v12")
    end = ollama.looks(end, 0.1, folder="cuda_v13")
    end = ollama.looks(end, 0.1, {"CUDA_VISIBLE_DEVICES": "0"})
    ollama.looks(end + 5, 0.1, {"CUDA_VISIBLE_DEVICES": "0"})
    assert [(each.kind, each.folder) for each in seen(ollama).passes] == [
        ("bootstrap", "cuda_v12"),
        ("bootstrap", "cuda_v13"),
        ("refresh", "cuda_v13"),
        ("refresh", "cuda_v13"),
    ]


def test_devices_validated_side_by_side_share_one_limit(ollama: Ollama) -> None:
    ollama.looks(1, 1, {"CUDA_VISIBLE_DEVICES": "0", "GGML_CUDA_INIT": "1"})
    ollama.looks(1.5, 1, {"CUDA_VISIBLE_DEVICES": "1", "GGML_CUDA_INIT": "1"})
    (validation,) = seen(ollama).passes
    assert len(validation.bars) == 6 and validation.used_ns == 3.5 * SECOND


def test_a_slow_shim_overruns_the_refresh_and_the_servers_words_stand_beside_it(ollama: Ollama) -> None:
    end = ollama.looks(1, 2.0, {"CUDA_VISIBLE_DEVICES": "0"})
    ollama.says('msg="unable to refresh free memory, using old values"', end + 0.001, "WARN")
    (refresh,) = seen(ollama).passes
    assert refresh.share == 2.0
    assert [note.text for note in refresh.notes] == ["unable to refresh free memory"]
    shown = [row.text for row in rows(seen(ollama), 100)]
    assert any("6.00 s of 3 s, 200% OVERRUN" in row for row in shown)
    assert any("┊" in row for row in shown)


def test_a_server_killed_before_it_told_did_not_die_on_purpose(ollama: Ollama) -> None:
    child = ollama.child([LLAMA, "--port", "1"], 1)
    ollama.builder.exit(child, signal=9, time=31 * SECOND)
    (only,) = seen(ollama).passes
    assert only.bars[0].ending == "SIGKILL before it had told" and only.bars[0].ending_kind == "failed"
    assert only.share == 1.0


def test_a_crash_is_a_failure_and_its_words_are_its_result(ollama: Ollama) -> None:
    child = ollama.child([LLAMA, "--model", "m"], 1)
    ollama.line(child, "load_tensors: offloaded 3/3 layers to GPU", 1)
    ollama.line(child, "CUDA error: an illegal memory access was encountered", 2)
    ollama.builder.exit(child, signal=6, time=3 * SECOND)
    (load,) = seen(ollama).passes
    bar = load.bars[0]
    assert (bar.ending, bar.ending_kind) == ("SIGABRT", "failed")
    assert bar.result is not None and bar.result.bad and bar.result.text.startswith("CUDA error: an illegal")


def test_a_runner_stopped_by_its_server_did_not_fail(ollama: Ollama) -> None:
    child = ollama.child([LLAMA, "--model", "m"], 1)
    ollama.says('msg="stopping llama-server" pid=1', 20)
    ollama.builder.exit(child, signal=9, time=21 * SECOND)
    assert seen(ollama).passes[0].bars[0].ending == "SIGKILL: stopped"


def test_failures_are_told_as_the_process_told_them(ollama: Ollama) -> None:
    child = ollama.child([LLAMA, "--port", "1"], 1)
    text = "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver"
    ollama.line(child, text, 1)
    ollama.line(child, "cmn: system_info: n_threads = 1", 1)
    ollama.says('msg="inference compute" id=cpu library=cpu name=cpu description=cpu', 2)
    timeline = seen(ollama)
    result = timeline.passes[0].bars[0].result
    assert result is not None and result.bad and result.text.startswith("API call is not supported")
    assert timeline.verdict is not None and timeline.verdict.bad and timeline.verdict.text == "cpu"


def test_programs_we_know_nothing_of_are_plain_bars(builder: SessionBuilder) -> None:
    builder.call("cuInit", time=1000)
    builder.call("cuInit", result=100, time=3000)
    builder.exit(0, exit_code=3, time=2 * SECOND)
    timeline = timeline_of(builder.open())
    (bar,) = timeline.others
    assert (bar.label, bar.calls, bar.failed, bar.ending) == ("target", 2, 1, "exit 3")
    assert timeline.passes == () and timeline.era is None
    assert timeline.horizon_ns == 2 * SECOND
    assert any("exit 3" in row.text for row in rows(timeline, 60))


def test_it_grows_with_the_session(ollama: Ollama) -> None:
    session = ollama.builder.open()
    tracker = TimelineTracker()
    tracker.update(session)
    assert tracker.timeline(2).passes == ()
    ollama.looks(1, 0.5)
    ollama.builder.publish()
    session.refresh()
    assert tracker.update(session)
    again = timeline_of(session, 2)
    assert tracker.timeline(2) == again and len(again.passes[0].bars) == 3
    assert not tracker.update(session)


def test_a_run_without_processes_has_an_empty_picture(builder: SessionBuilder) -> None:
    timeline = timeline_of(builder.open(), 7)
    assert timeline.bars == [] and len(rows(timeline, 80)) == 1


@pytest.mark.parametrize("width", [10, 40, 64, 80, 200])
def test_bars_stay_inside_the_picture(ollama: Ollama, width: int) -> None:
    end = ollama.looks(1, 0.5)
    ollama.looks(end + 100, 0.001, {"CUDA_VISIBLE_DEVICES": "0"})
    for row in rows(seen(ollama), width):
        if "█" in row.text and "│" not in row.text:
            assert len(row.text) <= max(width, 33)


def test_a_launch_while_looking_for_devices_is_no_sign_of_gpu_mode(ollama: Ollama) -> None:
    child = ollama.child([LLAMA, "--list-devices"], 1)
    ollama.builder.call("cuLaunchKernel", process=child)
    assert gpu_mode(ollama.builder.open()).mode == "unknown"


def test_a_gpu_that_no_model_gets_onto_is_not_gpu_mode(ollama: Ollama) -> None:
    builder = ollama.builder
    ollama.says('msg="inference compute" id=0 library=CUDA', 1)
    ollama.says('msg="starting llama-server" cmd=x', 2)
    ollama.says('msg="llama-server terminated" error="signal: aborted"', 3, "ERROR")
    session = builder.open()
    mode = gpu_mode(session)
    assert mode.mode == "load-failed" and mode.evidence[0].log == 2
    ollama.says('msg="starting llama-server" cmd=x', 4)
    ollama.says('msg="llama-server started in 0.5 seconds"', 5)
    ollama.says('msg="llama-server terminated" error="signal: aborted"', 6, "ERROR")
    builder.publish()
    session.refresh()
    assert gpu_mode(session).mode == "gpu"  # it was loaded; what happened then is another matter


def told_by_the_forwarder(builder: SessionBuilder, pid: int, launches: int, at: float) -> None:
    client = {"pid": pid, "calls": 9, "launches": launches}
    builder.event("host", time=int(at * SECOND), device={"executes_kernels": True}, clients=[client])


@pytest.mark.parametrize(("launches", "mode"), [(0, "not-executed"), (7, "gpu")])
def test_a_forwarder_that_counts_no_launch_refutes_their_success(
    ollama: Ollama, launches: int, mode: str
) -> None:
    child = ollama.child([LLAMA, "--model", "m"], 1)
    ollama.builder.call("cuLaunchKernel", process=child, time=2 * SECOND)
    told_by_the_forwarder(ollama.builder, 5001, 0, 1.9)
    ollama.builder.event("mark", time=9 * SECOND, call=1)
    session = ollama.builder.open()
    assert gpu_mode(session).mode == "gpu"  # told before it launched
    told_by_the_forwarder(ollama.builder, 5001, launches, 2.1)
    ollama.builder.event("mark", time=9 * SECOND, call=1)
    ollama.builder.publish()
    session.refresh()
    assert gpu_mode(session).mode == mode


def test_a_kernel_that_is_still_waited_for_is_not_called_unexecuted(ollama: Ollama) -> None:
    child = ollama.child([LLAMA, "--model", "m"], 1)
    ollama.builder.call("cuLaunchKernel", process=child, time=2 * SECOND)
    ollama.builder.call("cuCtxSynchronize", process=child, time=2 * SECOND, flags=UNRETURNED)
    told_by_the_forwarder(ollama.builder, 5001, 0, 2.1)
    ollama.builder.event("mark", time=9 * SECOND, call=2)
    assert gpu_mode(ollama.builder.open()).mode == "gpu"


def test_a_pass_whose_last_process_was_killed_at_the_limit_overran_it(ollama: Ollama) -> None:
    child = ollama.child([LLAMA, "--port", "1"], 1, {"CUDA_VISIBLE_DEVICES": "0"})
    ollama.builder.exit(child, signal=9, time=int(3.98 * SECOND))
    (refresh,) = seen(ollama).passes
    assert refresh.overrun and refresh.share is not None and refresh.share < 1


def test_what_a_process_forks_before_it_becomes_something_else_has_no_role(ollama: Ollama) -> None:
    words = [LLAMA, "--model", "m"]
    runner = ollama.child(words, 1)
    ollama.builder.process(words, pid=9000, ppid=5001, parent=runner, run=2, time=2 * SECOND)
    timeline = seen(ollama)
    assert [bar.label for bar in timeline.others] == ["serve", "llama-server"]
    assert len(timeline.passes) == 1


def test_what_was_known_before_the_start_stands_on_top(ollama: Ollama) -> None:
    backend = {
        "path": f"{LIB}/cuda_v13/libggml-cuda.so",
        "runtime": [13, 6],
        "architectures": [86],
        "ptx": [],
    }
    ollama.builder.event("target", version="0.33.0", backends=[backend], warnings=["cudart 13.6 not known"])
    shown = [row.text for row in rows(seen(ollama), 80)]
    assert shown[1:4] == [
        "  Ollama 0.33.0",
        "  cuda_v13: cudart 13.6, machine code for 86, PTX none",
        "warning cudart 13.6 not known",
    ]


@pytest.mark.parametrize(
    "piece", [" ", "inference compute ", "Device 0: ", "offloaded 1", "9", "starting ", "CUDA error: "]
)
def test_a_line_of_a_megabyte_is_looked_at_in_one_go(ollama: Ollama, piece: str) -> None:
    """What grows with the square of the length would take hours."""
    child = ollama.child([LLAMA, "--model", "m"], 1)
    for start in ("", "offloaded "):
        ollama.line(child, start + piece * ((1 << 20) // len(piece)), 2)
    assert len(seen(ollama).passes) == 1
    assert gpu_mode(ollama.builder.open()).mode == "unknown"


def test_json_counts_from_one_and_from_the_runs_start(ollama: Ollama) -> None:
    ollama.looks(1, 0.5)
    told = as_json(seen(ollama))
    first = told["passes"][0]["processes"][0]
    assert first["first_call"] == 1 and first["start_s"] == 1.0 and first["role"] == "bootstrap"
    assert first["result"]["log"] == 1


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(500, "0 us"), (1_500_000, "2 ms"), (1_230_000_000, "1.23 s"), (45e9, "45.0 s"), (300e9, "5.0 min")],
)
def test_durations_in_the_unit_that_suits_them(nanoseconds: float, text: str) -> None:
    assert duration_text(nanoseconds) == text


def test_the_label_of_a_bar_is_its_role_or_its_program() -> None:
    bar = Bar(0, 1, Role.OTHER, "train.py", 0, None, 0, 0, 0, 0, None, False, "alive", "alive")
    assert bar.label == "train.py"
