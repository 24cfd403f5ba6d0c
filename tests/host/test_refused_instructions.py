"""Instructions that are not performed: a launch of their kernel is refused by name, its module goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from soft_client import run_client

from workbench.native import NativePaths

TEXT = """.version 7.8
.target sm_80
.address_size 64
.global .texref picture;
.visible .entry good(.param .u64 where)
{ .reg .b64 %rd<2>; ld.param.u64 %rd1, [where]; st.global.u32 [%rd1], 7; ret; }
.visible .entry sampled(.param .u64 where)
{ .reg .b64 %rd<2>; .reg .f32 %f<5>; .reg .s32 %r<2>; ld.param.u64 %rd1, [where]; mov.s32 %r1, 0;
tex.1d.v4.f32.s32 {%f1, %f2, %f3, %f4}, [picture, {%r1}];
st.global.f32 [%rd1], %f1; ret; }
.visible .entry video(.param .u64 where)
{ .reg .b64 %rd<2>; .reg .u32 %r<4>; ld.param.u64 %rd1, [where];
vadd.u32.u32.u32 %r1, %r2.b0, %r3.h1; st.global.u32 [%rd1], %r1; ret; }
"""
NOT_SUPPORTED = 801


def test_only_a_launch_of_their_kernel_is_refused_with_name_and_line(
    start_shim_host: Callable[..., dict[str, str]], native_paths: NativePaths, tmp_path: Path
) -> None:
    state = tmp_path / "state.jsonl"
    host = start_shim_host("--device", "soft", "--state", str(state))
    script = f"""
module, where = load(TEXT), allocate(64)
for name in ("sampled", "video"):
    launch(function(module, name), (1, 1, 1), (1, 1, 1), where)
    synchronize(result={NOT_SUPPORTED})
launch(function(module, "good"), (1, 1, 1), (1, 1, 1), where)
synchronize()
print(*words(where, 1))
"""
    assert run_client(script, TEXT, native_paths, host).split() == ["7"]
    events = [json.loads(line) for line in state.read_text().splitlines()]
    refused = [event for event in events if event.get("event") == "kernel-refused"]
    assert [(event["error"], event["kernel"], event["line"]) for event in refused] == [
        (NOT_SUPPORTED, "sampled", 9),
        (NOT_SUPPORTED, "video", 13),
    ]
    for event, name in zip(refused, ("tex.1d.v4.f32.s32", "vadd.u32.u32.u32"), strict=True):
        assert name in event["text"]
