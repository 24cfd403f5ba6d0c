"""An Ollama's ten processes with fixed times: a shim so slow that the refresh overruns its limit."""

from __future__ import annotations

from pathlib import Path

from scenario import MODEL

from sessions.testing import SessionBuilder

SECOND = 1_000_000_000
LIB = "/usr/lib/ollama"
_SHIM = {"path": "/run/3/tap/libcuda.so.1", "soname": "libcuda.so.1"}


def write_ollama_run(path: Path) -> SessionBuilder:
    """First pass, validation, refresh (3.3 s of 3 s), model load, tokens. Not finished yet."""
    builder = SessionBuilder(path, MODEL)
    builder.event(
        "run", time=0, run=3, shim="build/libvgpu.so", shim_id="77ab12", host="ok", libraries={},
        command=["/usr/bin/ollama", "serve"], reason="start",
    )  # fmt: skip
    backend = {
        "path": f"{LIB}/cuda_v13/libggml-cuda.so",
        "runtime": [13, 0],
        "architectures": [86, 89],
        "ptx": [75, 80],
    }
    builder.event("target", time=0, version="0.33.0", backends=[backend], warnings=[])
    env = {"LD_LIBRARY_PATH": "/run/3/tap:/run/3/lib"}
    server = builder.process(["/usr/bin/ollama", "serve"], pid=4100, run=3, env=env, time=10_000_000)
    builder.line('time=t level=INFO source=runner.go:60 msg="discovering available GPUs..."', process=server)
    pid, at = 4100, 0.1

    def child(
        words: list[str], extra: dict[str, str], seconds: float, lines: list[str], signal: int = 0
    ) -> int:
        nonlocal pid, at
        pid += 7
        own = {"LD_LIBRARY_PATH": f"{LIB}:{LIB}/cuda_v13:{env['LD_LIBRARY_PATH']}", **extra}
        made = builder.process(
            words, pid=pid, ppid=4100, parent=server, run=3, env=own, maps=[_SHIM], time=int(at * SECOND)
        )
        for number in range(20):
            begun = int((at + seconds * number / 25) * SECOND)
            builder.call("cuDeviceGetCount", process=made, time=begun, duration=int(seconds / 30 * SECOND))
        at += seconds
        for line in lines:
            builder.line(line, process=made, time=int(at * SECOND))
        if signal >= 0:
            builder.exit(made, signal=signal or None, time=int(at * SECOND))
        return made

    def look(extra: dict[str, str], seconds: float) -> None:
        server_words = [f"{LIB}/llama-server", "--port", "50001", "--offline"]
        info = "cmn  common_param: system_info: n_threads = 8 | CUDA : ARCHS = 750,800,860"
        child(server_words, extra, seconds, [info], signal=9)
        listed = "  CUDA0: My GPU (8192 MiB, 8000 MiB free)"
        child([f"{LIB}/llama-server", "--list-devices"], extra, seconds, [listed])
        told = '{"devices":[{"library":"CUDA","description":"My GPU","cuda_driver_major":13}]}'
        child(["/usr/bin/ollama", "gpu-discover", "--lib-dir", LIB], extra, seconds, [told])

    look({}, 0.8)
    look({"CUDA_VISIBLE_DEVICES": "0", "GGML_CUDA_INIT": "1"}, 0.7)
    compute = 'msg="inference compute" id=0 library=CUDA compute=8.0 name=CUDA0 description="My GPU"'
    builder.line(f"time=t level=INFO source=types.go:32 {compute}", process=server)
    at += 0.4
    look({"CUDA_VISIBLE_DEVICES": "0"}, 1.1)
    builder.line(
        'time=t level=WARN source=runner.go:380 msg="unable to refresh free memory, using old values"',
        process=server,
        time=int((at + 0.01) * SECOND),
    )
    at += 0.02
    words = [f"{LIB}/llama-server", "--model", "/models/tiny", "--port", "40001"]
    runner = child(words, {"CUDA_VISIBLE_DEVICES": "0"}, 0.5, [], signal=-1)
    builder.line("load_tensors: offloaded 33/33 layers to GPU", process=runner, time=int(at * SECOND))
    builder.line(
        'time=t level=INFO source=llama_server.go:1362 msg="llama-server started in 0.50 seconds"',
        process=server,
        time=int(at * SECOND),
    )
    builder.call("cuLaunchKernel", process=runner, time=int((at + 0.2) * SECOND))
    builder.exit(runner, signal=6, time=int((at + 1) * SECOND))
    return builder
