"""The summary, and the mode with its evidence."""

from __future__ import annotations

import json

import pytest
from target_libraries import CUDART

from sessions.format import CallFlag, Pseudo
from sessions.testing import SessionBuilder, string_item
from workbench.views.summary import gpu_mode, summarize

FAILED = "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver"


@pytest.mark.parametrize(
    ("lines", "mode"),
    [
        ([], "unknown"),
        (["ggml_cuda_init: found 1 CUDA devices (Total VRAM: 8192 MiB):"], "gpu"),
        (["ggml_cuda_init: found 0 CUDA devices (Total VRAM: 0 MiB):"], "cpu"),
        ([FAILED], "cpu"),
        (['msg="inference compute" id=cpu library=cpu compute=""'], "cpu"),
        (['msg="inference compute" id=GPU-1 library=CUDA compute=8.0'], "gpu"),
        (["ggml_cuda_init: found 1 CUDA devices", "load_tensors: offloaded 0/33 layers to GPU"], "cpu"),
        ([FAILED, "load_tensors: offloaded 33/33 layers to GPU"], "gpu"),
        (
            [
                'msg="inference compute" id=0 library=CUDA compute=8.0',
                "warning: no usable GPU found, --gpu-layers option will be ignored",
            ],
            "cpu",
        ),
        (["using device CUDA0 (NVIDIA) (0000:00:05.0) - 8000 MiB free"], "gpu"),
    ],
)
def test_the_target_says_where_it_computes(builder: SessionBuilder, lines: list[str], mode: str) -> None:
    for line in lines:
        builder.line(line)
    found = gpu_mode(builder.open())
    assert found.mode == mode
    assert len(found.evidence) == len(lines)


def test_a_launch_weighs_more_than_words(builder: SessionBuilder) -> None:
    builder.line(FAILED)
    builder.call("cuLaunchKernel", args=(0x33, 1, 1))
    found = gpu_mode(builder.open())
    assert found.mode == "gpu"
    assert (found.evidence[0].call, found.evidence[1].log) == (0, 0)


def test_a_failed_launch_is_none(builder: SessionBuilder) -> None:
    builder.call("cuLaunchKernel", args=(0x33, 1, 1), result=801)
    assert gpu_mode(builder.open()).mode == "unknown"


def test_launches_on_a_counting_device_are_not_executed(builder: SessionBuilder) -> None:
    builder.event("host", device={"kind": "count-only", "executes_kernels": False}, clients=[])
    builder.call("cuLaunchKernel", args=(0x33, 1, 1))
    found = gpu_mode(builder.open())
    assert found.mode == "not-executed"
    assert "executes none" in found.evidence[0].text


def test_the_summary_is_plain_json_with_errors_and_missing_names(builder: SessionBuilder) -> None:
    ask = [string_item(0, "cuGetExportTable")]
    builder.call("cuGetProcAddress_v2", args=(1, 2, 3000, 0, 0), items=ask, result=500, caller=CUDART + 1)
    builder.call("cuInit", args=(0,))
    for _ in range(3):
        builder.call("cuMemAlloc_v2", args=(1, 2), result=2)
    builder.call("cuStreamSynchronize", flags=int(CallFlag.UNRETURNED))
    builder.call(Pseudo.DLSYM, items=[string_item(0, "cuInit")], result=1)
    builder.call(Pseudo.TABLE_SLOT, args=(2,))
    builder.exit(0, exit_code=3)
    builder.event("run-end", run=1, exit_code=3, signal=None)
    found = json.loads(json.dumps(summarize(builder.open())))
    assert (found["calls"], found["table_calls"], found["lookups"]) == (6, 1, 1)
    assert {
        "function": "cuMemAlloc_v2",
        "result": "CUDA_ERROR_OUT_OF_MEMORY",
        "count": 3,
        "first_call": 3,
    } in found["errors"]
    assert len(found["errors"]) == 2
    (missing,) = found["symbols"]["missing"]
    assert (missing["name"], missing["effect"], missing["error"]) == ("cuGetExportTable", "fatal-at-init", 36)
    assert missing["asked_by"] == ["libcudart.so.13"]
    assert found["runs"][0]["exit_code"] == 3
    assert found["processes"][0]["pid"] == 4121
    assert found["gpu_mode"] == "unknown"


def test_a_build_after_the_run_does_not_hide_the_run(builder: SessionBuilder) -> None:
    builder.call("cuLaunchKernel", args=(0x33, 1, 1))
    builder.process(pid=4242, run=9, role="build")
    session = builder.open()
    assert session.newest_run == 1
    assert gpu_mode(session).mode == "gpu"
