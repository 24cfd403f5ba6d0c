"""Modules: their variables; streams by number."""

from __future__ import annotations

from collections.abc import Callable

Answers = Callable[..., list[str]]

START = '''
    PTX = b"""
    .version 7.0
    .target sm_80
    .address_size 64
    .global .align 4 .u32 counter = 7;
    .visible .const .align 8 .b8 table[24];
    .visible .entry add(.param .u64 p)
    {
        .reg .u64 %rd<5>;
        .reg .u32 %r<8>;
        ld.param.u64 %rd1, [p];
        cvta.to.global.u64 %rd2, %rd1;
        ld.global.u32 %r1, [counter];
        ld.const.u32 %r2, [table+8];
        add.u32 %r3, %r1, %r2;
        st.global.u32 [%rd2], %r3;
        ret;
    }
    """
    context, module, function = c_void_p(), c_void_p(), c_void_p()
    pointer, variable, size, value = c_uint64(), c_uint64(), c_size_t(), c_uint()
    assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(byref(context), 0, 0) == 0
'''


def test_a_modules_variables_are_read_and_written_where_its_kernels_see_them(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        assert cuda.cuModuleLoadData(byref(module), PTX) == 0
        assert cuda.cuModuleGetFunction(byref(function), module, b"add") == 0
        assert cuda.cuMemAlloc_v2(byref(pointer), c_size_t(4)) == 0
        def find(name):
            return cuda.cuModuleGetGlobal_v2(byref(variable), byref(size), module, name), size.value
        def launched():
            words = (c_void_p * 1)(ctypes.addressof(pointer))
            assert cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, words, None) == 0
            assert cuda.cuMemcpyDtoH_v2(byref(value), pointer, c_size_t(4)) == 0
            return value.value
        print(*find(b"counter"))
        cuda.cuMemcpyDtoH_v2(byref(value), variable, c_size_t(4))
        print(value.value, launched())
        value.value = 1000
        print(cuda.cuMemcpyHtoD_v2(variable, byref(value), c_size_t(4)), launched())
        print(*find(b"table"))
        value.value = 30
        print(cuda.cuMemcpyHtoD_v2(c_uint64(variable.value + 8), byref(value), c_size_t(4)), launched())
        print(find(b"nothing")[0], find(None)[0], cuda.cuMemFree_v2(variable))
    """
    assert answers(script, shim_host, START) == ["0 4", "7 7", "0 1000", "0 24", "0 1030", "500 1 1"]


def test_a_modules_variables_take_device_memory_until_it_is_unloaded(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        def free():
            assert cuda.cuMemGetInfo_v2(byref(size), None) == 0
            return size.value
        before = free()
        assert cuda.cuModuleLoadData(byref(module), PTX) == 0
        assert cuda.cuModuleGetGlobal_v2(byref(variable), None, module, b"counter") == 0
        print(free() < before, cuda.cuModuleUnload(module), free() == before)
        print(cuda.cuModuleGetGlobal_v2(byref(variable), None, module, b"counter"))
    """
    assert answers(script, shim_host, START) == ["True 0 True", "400"]


def test_a_kernel_says_which_target_its_ptx_has_and_which_device_it_runs_on(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        PTX_VERSION, BINARY_VERSION = 5, 6
        assert cuda.cuModuleLoadData(byref(module), PTX.replace(b"sm_80", b"sm_75")) == 0
        assert cuda.cuModuleGetFunction(byref(function), module, b"add") == 0
        for attribute in (PTX_VERSION, BINARY_VERSION):
            print(cuda.cuFuncGetAttribute(byref(value), attribute, function), value.value)
    """
    assert answers(script, shim_host, START) == ["0 75", "0 80"]


def test_streams_have_numbers_that_do_not_come_again(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        stream, number, seen = c_void_p(), c_uint64(), []
        for _ in range(3):
            assert cuda.cuStreamCreate(byref(stream), 0) == 0
            print(cuda.cuStreamGetId(stream, byref(number)))
            seen.append(number.value)
            assert cuda.cuStreamDestroy_v2(stream) == 0
        assert cuda.cuStreamGetId(None, byref(number)) == 0
        seen.append(number.value)
        print(len(set(seen)), cuda.cuStreamGetId(None, byref(number)), number.value == seen[-1])
        print(cuda.cuStreamGetId(c_void_p(12345), byref(number)))
    """
    assert answers(script, shim_host, START) == ["0", "0", "0", "4 0 True", "400"]


def test_a_capture_tells_its_number_its_graph_and_what_comes_next_depends_on(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        stream, number, status, graph = c_void_p(), c_uint64(), c_int(), c_void_p()
        nodes, count, memory, all = ctypes.POINTER(c_void_p)(), c_size_t(9), c_uint64(), c_size_t()
        assert cuda.cuStreamCreate(byref(stream), 0) == 0
        assert cuda.cuMemAlloc_v2(byref(memory), c_size_t(64)) == 0
        def info():
            result = cuda.cuStreamGetCaptureInfo_v2(
                stream, byref(status), byref(number), byref(graph), byref(nodes), byref(count))
            return result, status.value, number.value != 0
        print(*info())
        assert cuda.cuStreamBeginCapture_v2(stream, 0) == 0
        print(*info(), graph.value != 0, count.value)
        print(cuda.cuStreamGetCaptureInfo(stream, byref(status), None))
        for made in (1, 2):
            assert cuda.cuMemsetD8Async(memory, 1, c_size_t(64), stream) == 0
            assert info()[0] == 0 and cuda.cuGraphGetNodes(graph, None, byref(all)) == 0
            listed = (c_void_p * all.value)()
            assert cuda.cuGraphGetNodes(graph, listed, byref(all)) == 0
            print(all.value, count.value, nodes[0] == listed[made - 1])
        captured = graph.value
        assert cuda.cuStreamEndCapture(stream, byref(graph)) == 0
        print(graph.value == captured, *info(), cuda.cuGraphDestroy(graph))
    """
    assert answers(script, shim_host, START) == [
        "0 0 False",
        "0 1 True True 0",
        "0",
        "1 1 True",
        "2 1 True",
        "True 0 0 False 0",
    ]


def test_the_best_block_size_fills_a_multiprocessor(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        grid, block, fits, limited = c_int(), c_int(), c_int(), c_int()
        assert cuda.cuModuleLoadData(byref(module), PTX) == 0
        assert cuda.cuModuleGetFunction(byref(function), module, b"add") == 0
        def best(bytes_of, limit):
            return cuda.cuOccupancyMaxPotentialBlockSize(
                byref(grid), byref(block), function, bytes_of, c_size_t(0), limit)
        def active(size, shared=0):
            fits = c_int()
            assert cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(
                byref(fits), function, size, c_size_t(shared)) == 0
            return fits.value
        print(best(None, 0), all(active(size) * size <= active(block.value) * block.value
                                 for size in range(32, 1025, 32)), grid.value % active(block.value))
        print(best(None, 200), block.value <= 200)
        def bytes_of(size):
            return 48 << 10 if size <= 64 else 1 << 20
        print(best(ctypes.CFUNCTYPE(c_size_t, c_int)(bytes_of), 0), block.value)
        print(best(None, -1), cuda.cuOccupancyMaxPotentialBlockSize(
            None, byref(block), function, None, c_size_t(0), 0))
    """
    assert answers(script, shim_host, START) == ["0 True 0", "0 True", "0 64", "1 1"]
