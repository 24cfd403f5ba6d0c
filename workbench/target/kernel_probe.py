"""Does a kernel do anything? Runs one of ours through the driver and looks at what it wrote.

    python -I -S kernel_probe.py ANSWER

Run as a program, in the target's environment, by a Python that has nothing but its standard library, in a
process of its own: whatever the shim does to it, the target does not notice. ANSWER gets one JSON object:
outcome (computed, nothing, wrong, copies, failed), text, call.
"""

import ctypes
import json
import sys

COUNT = 64
SENTINEL = 0x5A5A5A5A
# Plain enough for every assembler and driver since compute capability 5.0: out[i] = 3 * in[i] + i.
PTX = b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry shimbench_probe(.param .u64 numbers, .param .u64 results)
{
    .reg .b32 %r<5>;
    .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [numbers];
    ld.param.u64 %rd2, [results];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.u32 %r2, [%rd4];
    mul.lo.s32 %r3, %r2, 3;
    add.s32 %r4, %r3, %r1;
    st.global.u32 [%rd5], %r4;
    ret;
}
\0"""

Words = ctypes.c_uint32 * COUNT


class CallFailed(Exception):
    """A call that did not succeed, or that the shim does not have: its name and result."""


class Driver:
    """libcuda.so.1 as the loader finds it, each call checked."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")

    def has(self, name: str) -> bool:
        return hasattr(self._library, name)

    def __call__(self, name: str, *words: object) -> None:
        if not self.has(name):
            raise CallFailed(f"{name} is not there")
        result = getattr(self._library, name)(*words)
        if result != 0:
            raise CallFailed(f"{name} returned {result}")


def load(call: Driver) -> ctypes.c_void_p:
    """Our kernel as a function handle: by the way that today's runtimes go where the shim has it."""
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    name = b"shimbench_probe"
    if call.has("cuLibraryLoadData") and call.has("cuLibraryGetKernel"):
        call("cuLibraryLoadData", ctypes.byref(module), PTX, None, None, 0, None, None, 0)
        call("cuLibraryGetKernel", ctypes.byref(function), module, name)
    else:
        call("cuModuleLoadData", ctypes.byref(module), PTX)
        call("cuModuleGetFunction", ctypes.byref(function), module, name)
    return function


def run(call: Driver) -> tuple[str, str]:
    """-> the outcome and what it means."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxSetCurrent", context)
    numbers, results = ctypes.c_uint64(), ctypes.c_uint64()
    size = ctypes.c_size_t(ctypes.sizeof(Words))
    call("cuMemAlloc_v2", ctypes.byref(numbers), size)
    call("cuMemAlloc_v2", ctypes.byref(results), size)
    given, before, after = Words(*(7 * i + 1 for i in range(COUNT))), Words(*[SENTINEL] * COUNT), Words()
    call("cuMemcpyHtoD_v2", numbers, given, size)
    call("cuMemcpyHtoD_v2", results, before, size)
    call("cuMemcpyDtoH_v2", after, results, size)
    if list(after) != list(before):
        return (
            "copies",
            f"what cuMemcpyHtoD wrote cuMemcpyDtoH does not give back: {after[0]:#x} for {SENTINEL:#x}",
        )
    function = load(call)
    words = (ctypes.c_void_p * 2)(
        *(ctypes.cast(ctypes.pointer(each), ctypes.c_void_p) for each in (numbers, results))
    )
    call("cuLaunchKernel", function, 1, 1, 1, COUNT, 1, 1, 0, None, words, None)
    call("cuCtxSynchronize")
    call("cuMemcpyDtoH_v2", after, results, size)
    wanted = [3 * value + i for i, value in enumerate(given)]
    if list(after) == wanted:
        return "computed", f"a kernel of ours computed {COUNT} numbers right"
    if list(after) == list(before):
        return "nothing", "a kernel of ours was launched and waited for with success, and wrote nothing"
    place = next(i for i, value in enumerate(wanted) if after[i] != value)
    return (
        "wrong",
        f"a kernel of ours wrote {after[place]} where {wanted[place]} was due (number {place} of {COUNT})",
    )


def main(answer: str) -> int:
    try:
        outcome, text = run(Driver())
    except (CallFailed, OSError) as error:
        outcome, text = "failed", f"a kernel of ours could not be tried: {error}"
    with open(answer, "w") as stream:  # noqa: PTH123 - the target's environment is not slowed by pathlib
        json.dump({"outcome": outcome, "text": text}, stream)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
