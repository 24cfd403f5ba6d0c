"""Sessions with fixed content for the tests of the panes: no times of day, no paths of this machine."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from sessions.testing import SessionBuilder, out_item, resolved_item, string_item

CUDART, GGML = 0x7000_0000, 0x7800_0000
MODULES = [
    ("/usr/lib/ollama/cuda_v13/libcudart.so.13", CUDART, CUDART + 0x100000),
    ("/usr/lib/ollama/cuda_v13/libggml-cuda.so", GGML, GGML + 0x100000),
]
FAILED_LINE = (
    "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver"
)
_SUCCESS, _NOT_FOUND, _OUT_OF_MEMORY, _NOT_SUPPORTED = 0, 500, 2, 801


def _param(name: str, type: str, kind: str = "uint", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type, "kind": kind, "size": 8, "direction": "in", **more}


def _out(name: str, pointee: str, kind: str, size: int, **more: Any) -> dict[str, Any]:
    return _param(
        name,
        f"{pointee} *",
        "pointer",
        direction="out",
        pointee=pointee,
        pointee_kind=kind,
        pointee_size=size,
        depth=1,
        **more,
    )


_FUNCTIONS: dict[str, list[dict[str, Any]]] = {
    "cuInit": [_param("Flags", "unsigned int", size=4)],
    "cuDriverGetVersion": [_out("driverVersion", "int", "int", 4)],
    "cuGetProcAddress_v2": [
        _param("symbol", "const char *", "string"),
        _out("pfn", "void *", "pointer", 8),
        _param("cudaVersion", "int", "int", size=4),
        _param("flags", "cuuint64_t"),
        _out("symbolStatus", "CUdriverProcAddressQueryResult", "enum", 4),
    ],
    "cuGetExportTable": [
        _out("ppExportTable", "void *", "pointer", 8),
        _param("pExportTableId", "const CUuuid *", "pointer"),
    ],
    "cuDeviceGetCount": [_out("count", "int", "int", 4)],
    "cuDeviceGet": [_out("device", "CUdevice", "int", 4), _param("ordinal", "int", "int", size=4)],
    "cuDeviceGetAttribute": [
        _out("pi", "int", "int", 4),
        _param("attrib", "CUdevice_attribute", "enum", size=4, enum="CUdevice_attribute_enum"),
        _param("dev", "CUdevice", "int", size=4),
    ],
    "cuDevicePrimaryCtxRetain": [
        _out("pctx", "CUcontext", "handle", 8),
        _param("dev", "CUdevice", "int", size=4),
    ],
    "cuMemGetInfo_v2": [_out("free", "size_t", "uint", 8), _out("total", "size_t", "uint", 8)],
    "cuMemAlloc_v2": [_out("dptr", "CUdeviceptr", "uint", 8), _param("bytesize", "size_t")],
    "cuMemcpyHtoDAsync_v2": [
        _param("dstDevice", "CUdeviceptr"),
        _param("srcHost", "const void *", "pointer"),
        _param("ByteCount", "size_t"),
        _param("hStream", "CUstream", "handle"),
    ],
    "cuLibraryLoadData": [
        _out("library", "CUlibrary", "handle", 8),
        _param("code", "const void *", "pointer"),
    ],
    "cuLibraryGetKernel": [
        _out("pKernel", "CUkernel", "handle", 8),
        _param("library", "CUlibrary", "handle"),
        _param("name", "const char *", "string"),
    ],
    "cuStreamCreate": [_out("phStream", "CUstream", "handle", 8), _param("Flags", "unsigned int", size=4)],
    "cuLaunchKernel": [
        _param("f", "CUfunction", "handle"),
        *(
            _param(name, "unsigned int", size=4)
            for name in (
                "gridDimX",
                "gridDimY",
                "gridDimZ",
                "blockDimX",
                "blockDimY",
                "blockDimZ",
                "sharedMemBytes",
            )
        ),
        _param("hStream", "CUstream", "handle"),
    ],
    "cuStreamSynchronize": [_param("hStream", "CUstream", "handle")],
    "cuGraphConditionalHandleCreate": [_out("pHandle_out", "CUgraphConditionalHandle", "uint", 8)],
}

MODEL: dict[str, Any] = {
    "format": 1,
    "hash": "0" * 31,
    "sources": [],
    "functions": [
        {
            "id": number,
            "name": name,
            "library": "cuda",
            "base": name.removesuffix("_v2"),
            "version": 3020 if name.endswith("_v2") else 2000,
            "per_thread": False,
            "result": "CUresult",
            "params": params,
            "performed": name != "cuGraphConditionalHandleCreate",
        }
        for number, (name, params) in enumerate(_FUNCTIONS.items(), 1)
    ],
    "enums": {
        "CUresult": {
            "CUDA_SUCCESS": 0,
            "CUDA_ERROR_OUT_OF_MEMORY": 2,
            "CUDA_ERROR_NOT_FOUND": 500,
            "CUDA_ERROR_NOT_SUPPORTED": 801,
        },
        "CUdevice_attribute_enum": {
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
            "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
        },
    },
    "structs": {},
    "ladders": {},
    "absence": {
        "cuGetExportTable": [
            {"runtime": "12.4-13.5", "effect": "fatal-at-init", "error": 36, "source": "recorded"}
        ],
        **{
            f"cuHarmless{number}": [
                {"runtime": "12.4-13.5", "effect": "harmless", "error": 0, "source": "recorded"}
            ]
            for number in range(300)
        },
    },
    "tables": {},
}

_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "0",
    "LD_LIBRARY_PATH": "/run/14/tap:/run/14/lib:/usr/lib/ollama/cuda_v13",
}
_MAPS = [
    {"path": "/run/14/tap/libcuda.so.1", "soname": "libcuda.so.1"},
    {"path": "/usr/lib/ollama/cuda_v13/libcudart.so.13", "soname": "libcudart.so.13"},
    {"path": "/run/14/lib/libcublas.so.13", "soname": "libcublas.so.13"},
]


def _start(builder: SessionBuilder, ok: bool = True) -> tuple[int, int]:
    """The loop's events and the first two processes; returns (server, runner)."""
    builder.event(
        "build",
        time=0,
        build=14,
        ok=ok,
        seconds=0.41,
        command="make -C shim",
        log_start=0,
        diagnostics=[],
        store_id="a91f77c0",
    )
    builder.event(
        "run",
        time=0,
        run=14,
        shim="build/libvgpu-cuda.so",
        shim_id="a91f77c0",
        libraries={},
        host="ok",
        command=["/usr/bin/ollama", "serve"],
        reason="shim/cuda/tables.c was saved",
    )
    builder.line(
        "cc -shared -fPIC -o build/libvgpu-cuda.so shim/cuda/*.c",
        process=-1,
        stream="build",
        role="build",
        time=0,
    )
    server = builder.process(["/usr/bin/ollama", "serve"], pid=4100, run=14, time=1_000_000)
    runner = builder.process(
        [
            "/usr/lib/ollama/llama-server",
            "--port",
            "40123",
            "--host",
            "127.0.0.1",
            "--no-webui",
            "--offline",
            "--verbose",
        ],
        pid=4121,
        ppid=4100,
        parent=server,
        run=14,
        env=_ENVIRONMENT,
        cwd="/srv",
        modules=MODULES,
        maps=_MAPS,
        time=80_000_000,
    )
    builder.event("first-call", time=90_000_000, run=14, seconds_since_save=0.913)
    builder.line('level=INFO source=routes.go:1953 msg="Ollama cloud disabled: true"', process=server)
    builder.line('level=INFO source=runner.go:67 msg="discovering available GPUs..."', process=server)
    builder.line(
        "load_backend: loaded CPU backend from /usr/lib/ollama/libggml-cpu-haswell.so", process=runner
    )
    return server, runner


def _lookups(builder: SessionBuilder, runner: int) -> None:
    """440 names asked of cuGetProcAddress_v2: 139 answered, one fatally missing, 300 harmlessly."""
    names = [*list(_FUNCTIONS)[:17], *(f"cuAnswered{number}" for number in range(139 - 16))]
    names.remove("cuGetExportTable")
    names += ["cuGetExportTable", *(f"cuHarmless{number}" for number in range(300))]
    for number, name in enumerate(names):
        found = number < 139
        function = list(_FUNCTIONS).index(name) + 1 if name in _FUNCTIONS else 0
        items = [string_item(0, name.removesuffix("_v2"))]
        if found:
            items.append(resolved_item(function, 0x7F00_0000 + 16 * number))
        builder.call(
            "cuGetProcAddress_v2",
            process=runner,
            caller=CUDART + 0x1234,
            items=items,
            args=(0x7FFD_1000, 0x7FFD_2000, 13000, 0, 0),
            result=_SUCCESS if found else _NOT_FOUND,
            duration=250 + number,
        )


def _call(builder: SessionBuilder, process: int, name: str, *args: int, **more: Any) -> None:
    builder.call(name, process=process, args=args, caller=more.pop("caller", CUDART + 0x2000), **more)


def write_broken_run(path: Path) -> SessionBuilder:
    """Ollama falls back to the CPU: libcudart asked in vain for cuGetExportTable. Not finished yet."""
    builder = SessionBuilder(path, MODEL)
    server, runner = _start(builder)
    _lookups(builder, runner)
    _call(builder, runner, "cuDriverGetVersion", 0x7FFD_3000, items=[out_item(0, struct.pack("<i", 13000))])
    _call(builder, runner, "cuInit", 0, duration=1_840_000)
    builder.line(FAILED_LINE, process=runner)
    builder.line(
        b"\x1b[32msystem_info:\x1b[0m n_threads = 2 | \x1b[1;33mAVX2 = 1\x1b[0m | \x1b]52;c;aGk=\x07",
        process=runner,
        stream="stdout",
    )
    builder.line(
        'level=INFO source=types.go:60 msg="inference compute" id=cpu library=cpu total="31.3 GiB"',
        process=server,
    )
    builder.exit(runner, signal=9, time=7_100_000_000)
    lister = builder.process(
        ["/usr/lib/ollama/llama-server", "--list-devices", "--offline", "--verbose"],
        pid=4150,
        ppid=4100,
        parent=server,
        run=14,
        env=_ENVIRONMENT,
        cwd="/srv",
        modules=MODULES,
        maps=_MAPS,
        time=7_200_000_000,
    )
    _call(builder, lister, "cuInit", 0, time=7_300_000_000)
    builder.in_flight(
        "cuStreamSynchronize",
        process=lister,
        args=(0x5500,),
        age=2_400_000_000,
        caller=GGML + 0x10,
        started=7_300_100_000,
    )
    return builder


def write_working_run(path: Path) -> SessionBuilder:
    """A model decodes on a device that only counts launches; one allocation fails. Not finished yet."""
    builder = SessionBuilder(path, MODEL)
    _, runner = _start(builder)
    ggml: dict[str, Any] = {"caller": GGML + 0x40}
    _call(builder, runner, "cuDriverGetVersion", 0x7FFD_3000, items=[out_item(0, struct.pack("<i", 13000))])
    _call(builder, runner, "cuInit", 0, duration=1_840_000)
    _call(builder, runner, "cuDeviceGetCount", 0x7FFD_3000, items=[out_item(0, struct.pack("<i", 1))])
    _call(builder, runner, "cuDeviceGet", 0x7FFD_3000, 0, items=[out_item(0, struct.pack("<i", 0))])
    for attribute, value in ((75, 8), (76, 0)):
        _call(
            builder,
            runner,
            "cuDeviceGetAttribute",
            0x7FFD_3000,
            attribute,
            0,
            items=[out_item(0, struct.pack("<i", value))],
        )
    builder.line("ggml_cuda_init: found 1 CUDA devices (Total VRAM: 8192 MiB):", process=runner)
    builder.line(
        "  Device 0: shimbench count-only, compute capability 8.0, VMM: yes, VRAM: 8192 MiB", process=runner
    )
    _call(
        builder,
        runner,
        "cuDevicePrimaryCtxRetain",
        0x7FFD_3000,
        0,
        items=[out_item(0, struct.pack("<Q", 0x5100))],
    )
    _call(
        builder,
        runner,
        "cuMemGetInfo_v2",
        0x7FFD_3000,
        0x7FFD_3008,
        items=[out_item(0, struct.pack("<Q", 8 << 30)), out_item(1, struct.pack("<Q", 8 << 30))],
    )
    _call(
        builder,
        runner,
        "cuStreamCreate",
        0x7FFD_3000,
        1,
        items=[out_item(0, struct.pack("<Q", 0x5500))],
        **ggml,
    )
    _call(
        builder,
        runner,
        "cuLibraryLoadData",
        0x7FFD_3000,
        GGML + 0x8000,
        items=[out_item(0, struct.pack("<Q", 0x6100))],
    )
    kernels = ("mul_mat_vec_q<8, 1>", "rms_norm_f32<1024, true>", "rope_norm<float>")
    for number, name in enumerate(kernels):
        _call(
            builder,
            runner,
            "cuLibraryGetKernel",
            0x7FFD_3000,
            0x6100,
            0x7800_9000,
            items=[string_item(2, name), out_item(0, struct.pack("<Q", 0x6200 + number))],
        )
    address = 0x7F00_0000_0000
    for size in (1 << 30, 256 << 20, 4 << 20, 96 << 10):
        _call(
            builder,
            runner,
            "cuMemAlloc_v2",
            0x7FFD_3000,
            size,
            items=[out_item(0, struct.pack("<Q", address))],
            **ggml,
        )
        _call(
            builder,
            runner,
            "cuMemcpyHtoDAsync_v2",
            address,
            0x7F55_0000_0000,
            min(size, 1 << 20),
            0x5500,
            **ggml,
        )
        address += 2 << 30
    _call(builder, runner, "cuMemAlloc_v2", 0x7FFD_3000, 64 << 30, result=_OUT_OF_MEMORY, **ggml)
    builder.line(
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 65536.00 MiB on device 0: "
        "cudaMalloc failed: out of memory",
        process=runner,
    )
    _call(builder, runner, "cuGraphConditionalHandleCreate", 0x7FFD_3000, result=_NOT_SUPPORTED)
    for _ in range(12):
        for number, amount in ((0, 7), (1, 1), (2, 2)):
            for _ in range(amount):
                _call(
                    builder, runner, "cuLaunchKernel", 0x6200 + number, 64, 1, 1, 256, 1, 1, 0, 0x5500, **ggml
                )
        _call(builder, runner, "cuStreamSynchronize", 0x5500, duration=48_000, **ggml)
        builder.line(
            "slot update_slots: id  0 | task 3 | n_past = 12, n_ctx = 4096, n_tokens = 1",
            process=runner,
            stream="stdout",
        )
    device = {
        "kind": "count-only",
        "name": "shimbench count-only",
        "pci": "0000:00:05.0",
        "compute_capability": "8.0",
        "memory": 8 << 30,
        "executes_kernels": False,
    }
    client = {"pid": 4121, "memory": 1_346_469_888, "calls": 155, "launches": 120, "errors": 2}
    builder.event(
        "host", device=device, memory_used=1_346_469_888, launches=120, clients=[client], time=8_900_000_000
    )
    return builder
