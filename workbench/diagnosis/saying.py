"""What a target prints of its failing: the runtime's error texts, loaders, aborts, Ollama, our own shim."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.views.log import HEAD_BYTES

if TYPE_CHECKING:
    from sessions import Line

#: cudaGetErrorString's texts, the same in every runtime from 12.4 to 13.5 (facts/cudart-bootstrap.md).
ERROR_TEXTS = {
    b"invalid argument": 1,
    b"out of memory": 2,
    b"initialization error": 3,
    b"driver shutting down": 4,
    b"CUDA driver is a stub library": 34,
    b"CUDA driver version is insufficient for CUDA runtime version": 35,
    b"API call is not supported in the installed CUDA driver": 36,
    b"CUDA-capable device(s) is/are busy or unavailable": 46,
    b"no CUDA-capable device is detected": 100,
    b"invalid device ordinal": 101,
    b"integrity checks failed": 103,
    b"device kernel image is invalid": 200,
    b"invalid device context": 201,
    b"no kernel image is available for execution on the device": 209,
    b"a PTX JIT compilation failed": 218,
    b"the provided PTX was compiled with an unsupported toolchain": 222,
    b"invalid resource handle": 400,
    b"named symbol not found": 500,
    b"an illegal memory access was encountered": 700,
    b"too many resources requested for launch": 701,
    b"unspecified launch failure": 719,
    b"operation not permitted when stream is capturing": 900,
    b"operation failed due to a previous error during capture": 901,
    b"operation would make the legacy stream depend on a capturing blocking stream": 906,
    b"operation not permitted on an event last recorded in a capturing stream": 907,
    b"operation not permitted": 800,
    b"operation not supported": 801,
    b"system not yet initialized": 802,
    b"unknown error": 999,
}
#: Names of cudaError and CUresult: other languages' bindings print these instead of texts.
ERROR_NAMES = {
    b"cudaErrorInvalidValue": 1,
    b"cudaErrorMemoryAllocation": 2,
    b"cudaErrorInitializationError": 3,
    b"cudaErrorStubLibrary": 34,
    b"cudaErrorInsufficientDriver": 35,
    b"cudaErrorCallRequiresNewerDriver": 36,
    b"cudaErrorDevicesUnavailable": 46,
    b"cudaErrorNoDevice": 100,
    b"cudaErrorInvalidDevice": 101,
    b"cudaErrorSoftwareValidityNotEstablished": 103,
    b"cudaErrorInvalidKernelImage": 200,
    b"cudaErrorDeviceUninitialized": 201,
    b"cudaErrorNoKernelImageForDevice": 209,
    b"cudaErrorInvalidPtx": 218,
    b"cudaErrorUnsupportedPtxVersion": 222,
    b"cudaErrorSymbolNotFound": 500,
    b"cudaErrorStreamCaptureUnsupported": 900,
    b"cudaErrorStreamCaptureInvalidated": 901,
    b"cudaErrorNotPermitted": 800,
    b"cudaErrorNotSupported": 801,
    b"cudaErrorUnknown": 999,
    b"CUDA_ERROR_INVALID_VALUE": 1,
    b"CUDA_ERROR_OUT_OF_MEMORY": 2,
    b"CUDA_ERROR_NOT_INITIALIZED": 3,
    b"CUDA_ERROR_STUB_LIBRARY": 34,
    b"CUDA_ERROR_DEVICE_UNAVAILABLE": 46,
    b"CUDA_ERROR_NO_DEVICE": 100,
    b"CUDA_ERROR_INVALID_DEVICE": 101,
    b"CUDA_ERROR_INVALID_IMAGE": 200,
    b"CUDA_ERROR_INVALID_CONTEXT": 201,
    b"CUDA_ERROR_NO_BINARY_FOR_GPU": 209,
    b"CUDA_ERROR_INVALID_PTX": 218,
    b"CUDA_ERROR_UNSUPPORTED_PTX_VERSION": 222,
    b"CUDA_ERROR_NOT_FOUND": 500,
    b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": 900,
    b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED": 901,
    b"CUDA_ERROR_NOT_PERMITTED": 800,
    b"CUDA_ERROR_NOT_SUPPORTED": 801,
    b"CUDA_ERROR_UNKNOWN": 999,
}

Kind = Literal[
    "error", "abort", "not-loaded", "symbol", "shim", "port",
    "archs", "device-archs", "built-archs", "driver-old", "driver-unverified", "duplicate",
    "slow-refresh", "slow-discovery", "cublas", "terminated", "loaded", "not-discovered",
    "heap",
]  # fmt: skip


@dataclass(frozen=True)
class Said:
    """A line of the log (by index) that tells of a failure, or that a model is loaded.

    `code`: the cudaError its text stands for.
    """

    kind: Kind
    log: int
    process: int
    time_ns: int
    after_call: int
    text: str
    length: int
    code: int = 0
    subject: str = ""  #: library or symbol, or what else the kind is about


# A bare text could be anything's; a line about CUDA names CUDA or the runtime's function.
_ABOUT_CUDA = re.compile(rb"CUDA|cuda|cublas|\bcu[A-Z]")
_LONGEST = sorted({**ERROR_TEXTS, **ERROR_NAMES}.items(), key=lambda row: -len(row[0]))
_CODES = dict(_LONGEST)
_TEXTS = re.compile(b"|".join(re.escape(text) for text, _ in _LONGEST))
_ABORT = re.compile(rb"CUDA error\b|CUDA driver error|CU_CHECK|ggml-cuda\.cu:\d+: ")
_NOT_LOADED = re.compile(rb"(?<![\w.+-])([\w.+-]++): cannot open shared object file")
_SYMBOL = re.compile(rb"undefined symbol: (\w+)")
_SHIM = re.compile(rb"shimbench: libcuda\.so\.1: cuInit: (.*)")
#: Lines whose meaning does not hang on an error's text: kind, pattern, its first group is the subject.
_PATTERNS: dict[Kind, tuple[bytes, ...]] = {
    "port": (
        rb"([\d.:\[\]a-f]*):? ?(?:bind: )?[Aa]ddress already in use",
        rb"EADDRINUSE",
        rb"couldn't bind HTTP server socket(?:, hostname: ([\d.]+, port: \d+))?",
    ),
    "archs": (rb"not in compiled architectures.*?\bcc=(\d+) archs=\"?\[([\d ]*)\]",),
    "device-archs": (rb"Device \d+: .*, compute capability (\d+\.\d+)",),
    "built-archs": (rb"CUDA : ARCHS = ([\d,]+)",),
    "driver-old": (rb"NVIDIA driver too old(.*)",),
    "driver-unverified": (rb"could not verify NVIDIA driver compatibility for CUDA(.*)",),
    "duplicate": (rb"dropping duplicate device(.*)",),
    "slow-refresh": (rb"(unable to refresh free memory, using old values)",),
    "slow-discovery": (
        rb"(GPU discovery watchdog timed out)",
        rb"(discovery: timed out waiting for server startup)",
    ),
    "cublas": (
        rb"(CUBLAS_STATUS_NOT_INITIALIZED)",
        rb"(CUBLAS_STATUS_ALLOC_FAILED)",
        rb"(cublasCreate[\w: ]*fail\w*)",
        rb"(the library was not initialized)",
    ),
    "not-discovered": (rb"(failure during (?:llama-server )?GPU discovery.*)",),
    "loaded": (rb"llama-server (started) in [\d.]+ s", rb"llama runner (started) in [\d.]+ s"),
    # glibc's last words before it aborts a process whose heap or stack it finds overwritten.
    "heap": (
        rb"^((?:free|malloc|realloc|calloc|munmap_chunk|_int_\w+)\(\): .+)",
        rb"^(double free or corruption.*|corrupted (?:size vs\. prev_size|double-linked list).*)",
        rb"\*\*\* (stack smashing detected|buffer overflow detected) \*\*\*",
    ),
    "terminated": (rb"llama-server (terminated)", rb"llama runner (terminated)"),
}
_PLAIN = [(kind, re.compile(b"|".join(patterns))) for kind, patterns in _PATTERNS.items()]
ANY = re.compile(
    b"|".join(
        pattern.pattern
        for pattern in (_TEXTS, _ABORT, _NOT_LOADED, _SYMBOL, _SHIM, *(pattern for _, pattern in _PLAIN))
    ),
)
#: Whatever ANY finds has one of these: looking for all of them takes a tenth of the time of ANY.
HINTS = (
    b"CUDA", b"cuda", b"CUBLAS", b"cublas", b"CU_CHECK", b"driver", b"error", b"invalid", b"initialized",
    b"memory", b"image", b"integrity", b"launch", b"operation", b"PTX", b"symbol", b"shared object",
    b"already in use", b"EADDRINUSE", b"bind", b"architectures", b"Device ", b"duplicate", b"refresh",
    b"discovery", b" started", b"terminated", b"(): ", b"corrupt", b"smashing", b"overflow",
)  # fmt: skip


def speaks(text: bytes) -> bool:
    """Whether a line may have something to say for parse(): most lines of a long log have not."""
    head = text[:HEAD_BYTES]
    return any(map(head.__contains__, HINTS)) and ANY.search(head) is not None


_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def parse(line: Line, log: int) -> Iterator[Said]:
    """What one line's head says; nothing for a line that is not about CUDA."""
    text = line.text[:HEAD_BYTES]
    shown = _COLOUR.sub("", text.decode("utf-8", "replace")).strip()

    def said(kind: Kind, code: int = 0, subject: bytes | None = b"") -> Said:
        name = (subject or b"").decode("utf-8", "replace").strip()
        return Said(kind, log, line.process, line.time_ns, line.after_call, shown, line.length, code, name)

    if found := _SHIM.search(text):
        yield said("shim", subject=found[1])
        return
    for kind, pattern in _PLAIN:
        if found := pattern.search(text):
            yield said(kind, subject=b" ".join(group for group in found.groups() if group))
    if found := _NOT_LOADED.search(text):
        if b".so" in found[1] and (_ABOUT_CUDA.search(text) or b"libnvidia-ml" in text):
            yield said("not-loaded", subject=found[1])
        return
    if found := _SYMBOL.search(text):
        if _ABOUT_CUDA.search(text) or found[1].startswith((b"cu", b"nvml")):
            yield said("symbol", subject=found[1])
        return
    code = 0
    if (found := _TEXTS.search(text)) and _ABOUT_CUDA.search(text):
        code = _CODES[found[0]]
    if _ABORT.search(text):
        yield said("abort", code)
    elif code:
        yield said("error", code)
