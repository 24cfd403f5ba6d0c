"""A stand-in for the `ollama` program: same processes, environment, order, limits and log lines, no models
of its own and no Go. Which generation it plays stands in `version` beside the libraries.

    ollama serve                       listens, looks for GPUs, answers /, /api/version and /api/generate
    ollama gpu-discover --lib-dir D    from 0.30 on: libggml-cuda.so, libcuda.so.1 and NVML; JSON on stdout
    ollama runner --port N             before 0.30: libggml-cuda.so, then what it found by GET /info
    ollama --version

Read from ollama/ollama at v0.33.0-rc2 and from recordings of it; see facts/ollama.md.
"""

from __future__ import annotations

import ctypes
import datetime
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

SELF = Path(sys.argv[0]).absolute()
LIB = SELF.parent.parent / "lib" / "ollama"
VERSION = (LIB / "version").read_text().strip()
OLDEST_FOR_CUDA_12 = 550
FIRST_PASS, VALIDATION, NATIVE_PROBE, REFRESH = 30.0, 30.0, 15.0, 3.0
_DEVICE = re.compile(r"^\s+(\w+): (.+?) \((\d+) MiB, (\d+) MiB free\)")
_CAPABILITY = re.compile(r"Device (\d+): .*compute capability (\d+)\.(\d+)")
_ARCHS = re.compile(r"CUDA : ARCHS = ([\d,]+)")

Devices = list[dict[str, Any]]


def slog(level: str, source: str, message: str, **fields: Any) -> None:
    """A line as Go's slog writes it."""

    def quoted(value: Any) -> str:
        text = str(value)
        return json.dumps(text) if not text or re.search(r'[\s"=]', text) else text

    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    words = [f"time={now}", f"level={level}", f"source={source}", f"msg={quoted(message)}"]
    words += [f"{key}={quoted(value)}" for key, value in fields.items()]
    sys.stderr.write(" ".join(words) + "\n")
    sys.stderr.flush()


def era() -> int:
    """1, 2 or 3."""
    major, minor, patch = (int(part) for part in re.match(r"(\d+)\.(\d+)\.(\d+)", VERSION).groups())  # type: ignore[union-attr]
    if (major, minor) >= (0, 30):
        return 3
    return 1 if (major, minor, patch) <= (0, 12, 3) else 2


def child_environment(folders: list[Path], extra: dict[str, str], backend: bool = True) -> dict[str, str]:
    """The server's own, with the libraries' folders before the user's."""
    env = dict(os.environ)
    path = [*map(str, folders), *filter(None, [env.get("LD_LIBRARY_PATH")])]
    env["LD_LIBRARY_PATH"] = ":".join(path)
    found = [file for folder in folders for file in sorted(folder.glob("libggml-cuda*"))]
    if found and backend:
        env["GGML_BACKEND_PATH"] = str(found[0])
    return {**env, **extra}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def remaining(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


# From 0.30 on.


def tell_and_die(env: dict[str, str], deadline: float, folders: list[Path]) -> list[str]:
    """A llama-server without a model, killed once it has told its system_info."""
    words = [str(LIB / "llama-server"), "--port", str(free_port()), "--host", "127.0.0.1", "--no-webui"]
    words += ["--offline", "--verbose"]
    child = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    watchdog = threading.Timer(remaining(deadline), child.kill)
    watchdog.start()
    lines: list[str] = []
    assert child.stderr is not None
    for line in child.stderr:
        lines.append(line.rstrip("\n"))
        if "system_info:" in line:
            break
    watchdog.cancel()
    child.kill()
    child.wait()
    slog(
        "DEBUG",
        "llama_server.go:121",
        "llama-server discovery: stopped subprocess after collecting GPU info",
        exit="unknown",
        libDirs=names(folders),
    )
    return lines


def names(folders: list[Path]) -> str:
    return "[" + " ".join(map(str, folders)) + "]"


def look(folders: list[Path], extra: dict[str, str], limit: float) -> Devices | None:
    """One pass of three processes; None when it took too long."""
    begun = time.monotonic()
    deadline = begun + limit
    env = child_environment(folders, extra)
    told = tell_and_die(env, deadline, folders)
    try:
        listed = subprocess.run(
            [str(LIB / "llama-server"), "--list-devices", "--offline", "--verbose"],
            env=env,
            capture_output=True,
            text=True,
            timeout=remaining(deadline),
            check=False,
        ).stdout
        words = [str(SELF), "gpu-discover"]
        for folder in folders:
            words += ["--lib-dir", str(folder)]
        probe = subprocess.run(
            words,
            env=env,
            capture_output=True,
            text=True,
            timeout=min(NATIVE_PROBE, remaining(deadline)),
            check=False,
        )
    except subprocess.TimeoutExpired:
        slog(
            "WARN",
            "llama_server.go:180",
            "llama-server discovery: timed out waiting for server startup",
            error="context deadline exceeded",
            libDirs=names(folders),
        )
        return None
    if probe.returncode:
        slog(
            "DEBUG",
            "native_probe.go:259",
            "native GPU discovery failed",
            error=f"exit status {probe.returncode}",
            stderr=probe.stderr,
        )
    native = json.loads(probe.stdout)["devices"] if not probe.returncode else []
    found = read_devices(told, listed, native, folders)
    slog(
        "DEBUG",
        "runner.go:494",
        "bootstrap discovery took",
        duration=f"{time.monotonic() - begun:.6f}s",
        OLLAMA_LIBRARY_PATH=names(folders),
        extra_envs=f"map[{' '.join(f'{k}:{v}' for k, v in extra.items())}]",
    )
    return found


def read_devices(told: list[str], listed: str, native: Devices, folders: list[Path]) -> Devices:
    """What the three said, put together; devices whose capability the library lacks are left out."""
    text = "\n".join(told)
    archs = (_ARCHS.search(text) or [None, ""])[1].split(",")
    capabilities = {int(n): (int(major), int(minor)) for n, major, minor in _CAPABILITY.findall(text)}
    found: Devices = []
    for line in listed.splitlines():
        device = _DEVICE.match(line)
        if device is None:
            continue
        number = len(found)
        major, minor = capabilities.get(number, (0, 0))
        if f"{major}{minor}0" not in archs and archs != [""]:
            slog(
                "INFO",
                "llama_server.go:299",
                "skipping CUDA device — compute capability not in compiled architectures",
                device=device[2],
                cc=f"{major}{minor}0",
                archs=f"[{' '.join(archs)}]",
            )
            continue
        more = native[number] if number < len(native) else {}
        found.append(
            {
                "id": str(number),
                "name": device[1],
                "description": device[2],
                "total": int(device[3]),
                "free": int(device[4]),
                "compute": f"{major}.{minor}",
                "folders": folders,
                **more,
            }
        )
    return found


def leave_out_old_drivers(devices: Devices) -> Devices:
    """Those whose driver, by NVML, is new enough for the runtime 12.8 or later of a folder cuda_v12."""
    found: Devices = []
    for device in devices:
        driver = device.get("nvidia_driver_major", 0)
        if "cuda_v12" not in names(device["folders"]) or not 0 < driver < OLDEST_FOR_CUDA_12:
            found.append(device)
            continue
        slog(
            "WARN",
            "cuda_compat.go:65",
            "NVIDIA driver too old",
            device=device["description"],
            compute=device["compute"],
            driver=driver,
            required_driver=f"{OLDEST_FOR_CUDA_12} or newer",
        )
    return found


def gpu_discover(folders: list[str]) -> int:
    """libggml-cuda.so first, then the driver and NVML by hand."""
    backends = [file for folder in folders for file in sorted(Path(folder).glob("libggml-cuda*"))]
    try:
        if backends:
            ggml = ctypes.CDLL(str(backends[0]), mode=ctypes.RTLD_GLOBAL)
            ggml.ggml_backend_init.restype = ctypes.c_void_p
            ggml.ggml_backend_init()
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if status := cuda.cuInit(0):
        print(f"Error: cuInit {status}", file=sys.stderr)
        return 1
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    devices = [native_device(cuda, number) for number in range(count.value)]
    for device in devices:
        device |= {
            "cuda_driver_major": version.value // 1000,
            "cuda_driver_minor": version.value % 1000 // 10,
        }
        device["nvidia_driver_major"] = nvml_driver()
    print(json.dumps({"devices": devices}, separators=(",", ":")))
    return 0


def native_device(cuda: ctypes.CDLL, number: int) -> dict[str, Any]:
    device, value, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name, bus = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32)
    cuda.cuDeviceGet(ctypes.byref(device), number)
    attributes = []
    for attribute in (75, 76, 18):
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        attributes.append(value.value)
    cuda.cuDeviceGetName(name, 256, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device)
    cuda.cuDeviceGetPCIBusId(bus, 32, device)
    return {
        "library": "CUDA",
        "index": number,
        "description": name.value.decode(),
        "total_memory": total.value,
        "device_id": bus.value.decode().lower(),
        "compute_major": attributes[0],
        "compute_minor": attributes[1],
        "integrated": bool(attributes[2]),
    }


def nvml_driver() -> int:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    version = ctypes.create_string_buffer(80)
    if nvml.nvmlInit_v2() == 0:
        nvml.nvmlSystemGetDriverVersion(version, 80)
        nvml.nvmlShutdown()
    return int(version.value.split(b".")[0] or 0)


# Before 0.30.


def runner_look(folders: list[Path], extra: dict[str, str], limit: float) -> Devices | None:
    """0.12.4 .. 0.24: a runner without a model is asked every 10 ms, and killed."""
    port, deadline = free_port(), time.monotonic() + limit
    words = [str(SELF), "runner", "--ollama-engine", "--port", str(port)]
    extra = {"OLLAMA_LIBRARY_PATH": ":".join(map(str, folders)), **extra}
    child = subprocess.Popen(words, env=child_environment(folders, extra, backend=False))
    try:
        while time.monotonic() < deadline and child.poll() is None:
            try:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{port}/info", timeout=remaining(deadline)
                ) as reply:
                    return [{**device, "folders": folders} for device in json.load(reply)]
            except OSError:
                time.sleep(0.01)
        slog(
            "INFO",
            "runner.go:464",
            "failure during GPU discovery",
            OLLAMA_LIBRARY_PATH=names(folders),
            error="failed to finish discovery before timeout",
        )
        return None
    finally:
        child.kill()
        child.wait()


def discovery_runner(port: int) -> int:
    """The runner that is asked: /info loads the backend and tells its devices."""
    folders = [Path(folder) for folder in os.environ["OLLAMA_LIBRARY_PATH"].split(":")]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply(self, 200, info(folders))

        def log_message(self, *_: Any) -> None:
            pass

    slog("INFO", "runner.go:1349", "starting ollama engine")
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
    return 0


def info(folders: list[Path]) -> Devices:
    backend = next(file for folder in folders for file in sorted(folder.glob("libggml-cuda*")))
    base = ctypes.CDLL(next(str(file) for folder in folders for file in folder.glob("libggml-base*")))
    ggml = ctypes.CDLL(str(backend))
    ggml.ggml_backend_init.restype = ctypes.c_void_p
    registry = ctypes.c_void_p(ggml.ggml_backend_init())
    for name, result in (
        ("ggml_backend_reg_dev_count", ctypes.c_size_t),
        ("ggml_backend_reg_dev_get", ctypes.c_void_p),
        ("ggml_backend_dev_description", ctypes.c_char_p),
    ):
        getattr(base, name).restype = result
    found: Devices = []
    for number in range(base.ggml_backend_reg_dev_count(registry) if registry else 0):
        device = ctypes.c_void_p(base.ggml_backend_reg_dev_get(registry, ctypes.c_size_t(number)))
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append(
            {
                "id": str(number),
                "name": f"CUDA{number}",
                "compute": "",
                "description": base.ggml_backend_dev_description(device).decode(),
                "total": total.value >> 20,
                "free": free.value >> 20,
            }
        )
    return found


def own_look() -> Devices:
    """<= 0.12.3: the server itself opens the driver."""
    cuda = ctypes.CDLL("libcuda.so.1")
    version, count = ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0):
        slog("WARN", "gpu.go:612", "unable to load cuda driver library")
        return []
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    found: Devices = []
    for number in range(count.value):
        device = native_device(cuda, number)
        context = ctypes.c_void_p()
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        cuda.cuCtxCreate_v3(ctypes.byref(context), None, 0, 0, number)
        cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        cuda.cuCtxDestroy(context)
        found.append(
            {
                "id": str(number),
                "name": device["description"],
                "description": device["description"],
                "total": total.value >> 20,
                "free": free.value >> 20,
                "folders": [LIB],
                "compute": f"{device['compute_major']}.{device['compute_minor']}",
            }
        )
    return found


# The server.


class Server:
    """What `ollama serve` keeps: devices and the runner of the one model."""

    def __init__(self) -> None:
        self.devices: Devices = []
        self.runner: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.lock = threading.Lock()

    def discover(self) -> None:
        begun = time.monotonic()
        slog("INFO", "runner.go:60", "discovering available GPUs...")
        wanted = os.environ.get("OLLAMA_LLM_LIBRARY")
        folders = [
            folder for folder in sorted(LIB.iterdir()) if folder.is_dir() and any(folder.glob("*ggml-*"))
        ]
        if era() == 1:
            self.devices = own_look()
        else:
            look_once = look if era() == 3 else runner_look
            for folder in folders:
                if wanted in (None, "", folder.name):
                    self.devices += look_once([LIB, folder], {}, FIRST_PASS) or []
            self.devices = leave_out_old_drivers(self.devices)
            deadline, kept = time.monotonic() + VALIDATION, []
            for device in self.devices:
                extra = {"CUDA_VISIBLE_DEVICES": device["id"], "GGML_CUDA_INIT": "1"}
                if look_once(device["folders"], extra, remaining(deadline)):
                    kept.append(device)
                else:
                    slog(
                        "DEBUG",
                        "runner.go:180",
                        "filtering device which didn't fully initialize",
                        id=device["id"],
                    )
            self.devices = kept
        slog(
            "DEBUG",
            "runner.go:42",
            "GPU bootstrap discovery took",
            duration=f"{time.monotonic() - begun:.6f}s",
        )
        for device in self.devices:
            slog(
                "INFO",
                "types.go:32",
                "inference compute",
                id=device["id"],
                filter_id=device["id"],
                library="cuda" if era() == 1 else "CUDA",
                compute=device["compute"],
                name=device["name"],
                description=device["description"],
                libdirs="ollama,cuda_v13",
                type="discrete",
                pci_id=device.get("device_id", ""),
                total=f"{device['total'] / 1024:.1f} GiB",
                available=f"{device['free'] / 1024:.1f} GiB",
            )
        if not self.devices:
            slog(
                "INFO",
                "types.go:50",
                "inference compute",
                id="cpu",
                library="cpu",
                compute="",
                name="cpu",
                description="cpu",
                libdirs="ollama",
                driver="",
                pci_id="",
                type="",
            )
        total = sum(device["total"] for device in self.devices) / 1024
        slog(
            "INFO",
            "routes.go:2058",
            "vram-based default context",
            default_num_ctx=4096,
            total_vram=f"{total:.1f} GiB" if total else "0 B",
        )

    def generate(self, model: str, layers: int | None) -> Any:
        """`layers`: how many to put on the GPU; all of them unless told."""
        with self.lock:
            if self.runner is None:
                self.load(model, layers)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/completion", b"{}", timeout=300) as answer:
            return json.load(answer)

    def load(self, model: str, layers: int | None) -> None:
        extra: dict[str, str] = {}
        folders = [LIB]
        if self.devices:
            folders = self.devices[0]["folders"]
            extra = {"CUDA_VISIBLE_DEVICES": self.devices[0]["id"]}
            slog("DEBUG", "runner.go:272", "refreshing free memory")
            if era() == 3 and look(folders, extra, REFRESH) is None:
                slog("WARN", "runner.go:380", "unable to refresh free memory, using old values")
        self.port, begun = free_port(), time.monotonic()
        words = [str(LIB / "llama-server"), "--model", model, "--port", str(self.port), "--host", "127.0.0.1"]
        words += ["--no-webui", "--offline", "-c", "2048", "-np", "1", "--log-verbosity", "4"]
        words += ["-ngl", str(layers)] if layers is not None else []
        if era() == 1:
            folders = [LIB, *[folder for folder in sorted(LIB.iterdir()) if folder.is_dir()]]
        slog("INFO", "llama_server.go:433", "starting llama-server", cmd=" ".join(words))
        backend = bool(self.devices) and layers != 0
        self.runner = subprocess.Popen(words, env=child_environment(folders, extra, backend))
        while self.runner.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    slog(
                        "INFO",
                        "llama_server.go:1362",
                        f"llama-server started in {time.monotonic() - begun:.2f} seconds",
                    )
                    return
            time.sleep(0.02)
        slog(
            "ERROR",
            "llama_server.go:900",
            "llama-server terminated",
            error=f"exit status {self.runner.returncode}",
        )
        self.runner = None
        raise RuntimeError("llama-server terminated")

    def stop(self) -> None:
        if self.runner is not None:
            slog("DEBUG", "llama_server.go:2580", "stopping llama-server", pid=self.runner.pid)
            self.runner.kill()
            self.runner.wait()
            slog("DEBUG", "llama_server.go:2588", "llama-server stopped", pid=self.runner.pid)


def reply(handler: http.server.BaseHTTPRequestHandler, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def serve() -> int:
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply(self, 200, {"version": VERSION} if self.path == "/api/version" else "Ollama is running")

        def do_POST(self) -> None:
            begun = time.monotonic()
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, value = (
                    200,
                    server.generate(request["model"], request.get("options", {}).get("num_gpu")),
                )
            except (RuntimeError, OSError) as error:
                status, value = 500, {"error": str(error)}
            took = f"{time.monotonic() - begun:.9f}s"
            now = datetime.datetime.now().strftime("%Y/%m/%d - %H:%M:%S")
            sys.stderr.write(
                f'[GIN] {now} | {status} | {took:>12} |       127.0.0.1 | POST     "{self.path}"\n'
            )
            sys.stderr.flush()
            reply(self, status, value)

        def log_message(self, *_: Any) -> None:
            pass

    host, _, port = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
    web = http.server.ThreadingHTTPServer((host or "127.0.0.1", int(port)), Handler)
    slog("INFO", "routes.go:2008", f"Listening on {host}:{port} (version {VERSION})")

    def stop(*_: Any) -> None:
        server.stop()
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.discover()
    threading.Thread(target=web.serve_forever, daemon=True).start()
    while True:
        signal.pause()


def main(words: list[str]) -> int:
    if "--version" in words:
        print("Warning: could not connect to a running Ollama instance")
        print(f"Warning: client version is {VERSION}")
        return 0
    if words[:1] == ["serve"]:
        return serve()
    if words[:1] == ["gpu-discover"]:
        return gpu_discover(
            [word for word, before in zip(words[1:], words, strict=False) if before == "--lib-dir"]
        )
    if words[:1] == ["runner"]:
        return discovery_runner(int(words[words.index("--port") + 1]))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
