"""NVML, as nvidia-ml-py and the three eras of Ollama use it."""

from __future__ import annotations

from collections.abc import Callable

Answers = Callable[..., list[str]]

PYNVML = """
    import pynvml
    pynvml.nvmlInit()
"""


def test_nvidia_ml_py_lists_the_device(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        print(pynvml.nvmlDeviceGetCount(), pynvml.nvmlSystemGetDriverVersion())
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        print(pynvml.nvmlDeviceGetName(device))
        print(pynvml.nvmlDeviceGetUUID(device))
        print(pynvml.nvmlDeviceGetPciInfo(device).busId)
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
        print(memory.total, memory.free, memory.used)
        print(pynvml.nvmlDeviceGetMemoryInfo(device, pynvml.nvmlMemory_v2).total)
        print(pynvml.nvmlDeviceGetCudaComputeCapability(device))
    """
    assert answers(script, shim_host, PYNVML) == [
        "1 580.00",
        "shimbench software GPU",
        "GPU-7368696d-6265-6e63-6800-736f66740000",
        "00000000:00:05.0",
        f"{8 << 30} {8 << 30} 0",
        f"{8 << 30}",
        "(8, 0)",
    ]


def test_what_is_not_known_is_not_supported(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        device = pynvml.nvmlDeviceGetHandleByIndex(0)
        for ask in (lambda d: pynvml.nvmlDeviceGetTemperature(d, 0), pynvml.nvmlDeviceGetPowerUsage):
            try:
                print(ask(device))
            except pynvml.NVMLError_NotSupported as error:
                print(error)
    """
    assert answers(script, shim_host, PYNVML) == ["Not Supported"] * 2


def test_memory_of_other_processes_counts(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        context, pointer = c_void_p(), c_uint64()
        assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(byref(context), 0, 0) == 0
        assert cuda.cuMemAlloc_v2(byref(pointer), c_size_t(64 << 20)) == 0
        import subprocess, sys
        ask = "pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used >= 64 << 20"
        subprocess.run([sys.executable, "-c", f"import pynvml; pynvml.nvmlInit(); print({ask})"])
    """
    assert answers(script, shim_host) == ["True"]


def test_a_device_is_found_by_the_uuid_of_the_driver(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        uuid = create_string_buffer(16)
        assert cuda.cuInit(0) == 0 and cuda.cuDeviceGetUuid(uuid, 0) == 0
        hex = uuid.raw.hex()
        name = "GPU-" + "-".join((hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]))
        print(pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(name.encode())))
        try:
            pynvml.nvmlDeviceGetHandleByUUID(b"GPU-00000000-0000-0000-0000-000000000000")
        except pynvml.NVMLError_NotFound as error:
            print(error)
    """
    assert answers(script, shim_host, PYNVML) == ["0", "Not Found"]


def test_initialising_and_the_driver_version_need_no_host(answers: Answers) -> None:
    script = """
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        nvml.nvmlErrorString.restype = c_char_p
        text, count = create_string_buffer(80), c_uint()
        print(nvml.nvmlSystemGetDriverVersion(text, 80), nvml.nvmlInit_v2())
        print(nvml.nvmlSystemGetDriverVersion(text, 80), text.value.decode())
        print(nvml.nvmlDeviceGetCount_v2(byref(count)), nvml.nvmlErrorString(9).decode())
        print(nvml.nvmlInternalGetExportTable(None, None))
        print(nvml.nvmlShutdown(), nvml.nvmlShutdown())
    """
    assert answers(script) == [
        "1 0",
        "0 580.00",
        "9 the driver is not loaded: no shimbench-host answers",
        "13",
        "0 1",
    ]
