"""Contexts, and what needs one."""

from __future__ import annotations

from collections.abc import Callable

Answers = Callable[..., list[str]]

START = """
    assert cuda.cuInit(0) == 0
    context, other, current, value = c_void_p(), c_void_p(), c_void_p(), c_int()
"""


def test_the_primary_context_is_counted_and_keeps_its_handle(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        flags = c_uint()
        def active():
            cuda.cuDevicePrimaryCtxGetState(0, byref(flags), byref(value))
            return value.value
        print(active(), cuda.cuDevicePrimaryCtxRelease_v2(0))
        retain = cuda.cuDevicePrimaryCtxRetain
        print(retain(byref(context), 0), retain(byref(other), 0))
        print(context.value == other.value, active())
        print(cuda.cuDevicePrimaryCtxRelease_v2(0), active(), cuda.cuDevicePrimaryCtxRelease_v2(0), active())
        print(retain(byref(other), 0), context.value == other.value)
    """
    assert answers(script, shim_host, START) == ["0 201", "0 0", "True 1", "0 1 0 0", "0 True"]


def test_memory_needs_a_context_that_is_alive(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        pointer = c_uint64()
        print(cuda.cuMemAlloc_v2(byref(pointer), c_size_t(64)))
        cuda.cuDevicePrimaryCtxRetain(byref(context), 0)
        print(cuda.cuMemAlloc_v2(byref(pointer), c_size_t(64)))
        print(cuda.cuCtxSetCurrent(context), cuda.cuMemAlloc_v2(byref(pointer), c_size_t(64)))
        print(cuda.cuMemFree_v2(pointer), cuda.cuDevicePrimaryCtxRelease_v2(0))
        print(cuda.cuMemAlloc_v2(byref(pointer), c_size_t(64)))
    """
    assert answers(script, shim_host, START) == ["201", "201", "0 0", "0 0", "709"]


def test_a_null_pointer_may_be_freed(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        cuda.cuDevicePrimaryCtxRetain(byref(context), 0)
        cuda.cuCtxSetCurrent(context)
        print(cuda.cuMemFree_v2(c_uint64(0)), cuda.cuMemFreeHost(None))
        print(cuda.cuMemFreeHost(c_void_p(64)))
    """
    assert answers(script, shim_host, START) == ["0 0", "1"]


def test_contexts_are_stacked_per_thread(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        import threading
        def top():
            cuda.cuCtxGetCurrent(byref(current))
            return current.value
        print(cuda.cuCtxCreate_v2(byref(context), 0, 0), top() == context.value)
        print(cuda.cuCtxCreate_v2(byref(other), 0, 0), top() == other.value)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(top())); thread.start(); thread.join()
        print(seen)
        print(cuda.cuCtxSetCurrent(other), cuda.cuCtxPopCurrent_v2(byref(current)), top() == context.value)
        print(cuda.cuCtxGetDevice_v2(byref(value), other), cuda.cuCtxGetDevice_v2(byref(value), c_void_p(77)))
        print(cuda.cuCtxDestroy_v2(other), cuda.cuCtxDestroy_v2(other), cuda.cuCtxDestroy_v2(context), top())
    """
    lines = answers(script, shim_host, START)
    assert lines == ["0 True", "0 True", "[None]", "0 0 True", "0 201", "0 709 0 None"]


def test_streams_events_and_copies_go_to_the_host(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        stream, event, pointer = c_void_p(), c_void_p(), c_uint64()
        cuda.cuDevicePrimaryCtxRetain(byref(context), 0); cuda.cuCtxSetCurrent(context)
        print(cuda.cuStreamCreate(byref(stream), 1), cuda.cuEventCreate(byref(event), 0))
        print(cuda.cuMemAlloc_v2(byref(pointer), c_size_t(64)))
        back = create_string_buffer(64)
        for where in (stream, c_void_p(0), c_void_p(1), c_void_p(2)):
            cuda.cuMemsetD8Async(pointer, 0x41, c_size_t(64), where)
            cuda.cuMemcpyHtoDAsync_v2(pointer, b"hello", c_size_t(5), where)
            cuda.cuEventRecord(event, where)
            print(cuda.cuMemcpyDtoHAsync_v2(back, pointer, c_size_t(8), where),
                  cuda.cuStreamSynchronize(where), cuda.cuEventSynchronize(event), back.raw[:8])
        print(cuda.cuMemcpyHtoD_v2_ptds(pointer, b"ptds", c_size_t(4)), cuda.cuStreamSynchronize_ptsz(None))
        print(cuda.cuMemcpyDtoH_v2(back, pointer, c_size_t(4)), back.raw[:4])
        print(cuda.cuStreamDestroy_v2(stream), cuda.cuEventDestroy_v2(event), cuda.cuMemFree_v2(pointer))
    """
    assert answers(script, shim_host, START) == [
        "0 0",
        "0",
        *["0 0 0 b'helloAAA'"] * 4,
        "0 0",
        "0 b'ptds'",
        "0 0 0",
    ]


def test_a_host_function_runs_after_what_was_given_before(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        called = []
        callback = ctypes.CFUNCTYPE(None, c_void_p)(called.append)
        cuda.cuDevicePrimaryCtxRetain(byref(context), 0); cuda.cuCtxSetCurrent(context)
        print(cuda.cuLaunchHostFunc(None, callback, c_void_p(7)), called)
    """
    assert answers(script, shim_host, START) == ["0 [7]"]
