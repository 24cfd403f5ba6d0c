"""Code that is compiled when it is loaded: what its author is told; several texts linked to one."""

from __future__ import annotations

from collections.abc import Callable

Answers = Callable[..., list[str]]

START = """
    def text(body, level=""):
        return (".version 7.0\\n.target sm_80\\n.address_size 64\\n" + level +
                "\\n.visible .entry k(.param .u64 p)\\n{\\n.reg .b64 %rd<4>; .reg .b32 %r<4>;\\n"
                "ld.param.u64 %rd1, [p];\\n" + body + "\\nret;\\n}\\n").encode() + b"\\0"
    ERROR, ERROR_SIZE, INFO, INFO_SIZE = 5, 6, 3, 4
    errors, infos = ctypes.create_string_buffer(b"x" * 400, 400), ctypes.create_string_buffer(b"x" * 40, 40)
    kinds = (c_int * 4)(ERROR, ERROR_SIZE, INFO_SIZE, INFO)
    values = (c_void_p * 4)(ctypes.addressof(errors), 400, 40, ctypes.addressof(infos))
    def reset():
        values[1], values[2] = 400, 40
    context, module, function, pointer = c_void_p(), c_void_p(), c_void_p(), c_uint64()
    value = c_uint()
    assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(byref(context), 0, 0) == 0
    assert cuda.cuMemAlloc_v2(byref(pointer), c_size_t(4)) == 0
    def launched(module):
        assert cuda.cuModuleGetFunction(byref(function), module, b"k") == 0
        words = (c_void_p * 1)(ctypes.addressof(pointer))
        assert cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, words, None) == 0
        assert cuda.cuMemcpyDtoH_v2(byref(value), pointer, c_size_t(4)) == 0
        return value.value
"""


def test_what_cannot_be_read_is_said_with_its_line_in_the_log_that_the_program_gave(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        wrong = text("mov.u32 %r1, 5;\\nmov.u32 %r9, %r1;")
        print(cuda.cuModuleLoadDataEx(byref(module), wrong, 4, kinds, values), values[1], values[2] or 0)
        print(errors.value.decode())
        reset()
        wrong = text("mov.u32 %r1 5;")
        result = cuda.cuLibraryLoadData(byref(module), wrong, kinds, values, 4, None, None, 0)
        print(result, errors.value.decode())
        reset()
        right = text("mov.u32 %r1, 5;\\nst.global.u32 [%rd1], %r1;")
        print(cuda.cuModuleLoadDataEx(byref(module), right, 4, kinds, values), values[1] or 0, errors.value)
        print(launched(module))
        values[1] = 10
        print(cuda.cuModuleLoadDataEx(byref(module), wrong, 4, kinds, values), values[1], errors.value)
        print(cuda.cuModuleLoadDataEx(byref(module), wrong, 0, None, None))
    """
    said = answers(script, shim_host, START)
    assert said[0] == f"218 {len(said[1]) + 1} 0"
    assert said[1].startswith("ptxas application ptx input, line 10; error : ") and "%r9" in said[1]
    rest = [line for line in said[2:] if line]
    assert rest[0].startswith("218 ptxas application ptx input, line 9; error : ")
    assert rest[1:] == ["0 0 b''", "5", "218 9 b'ptxas app'", "218"]


def test_several_texts_are_linked_and_what_one_declares_another_defines(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        first = text("{ .param .b32 a; .param .b32 b; st.param.b32 [a], 20; call.uni (b), f, (a); "
                     "ld.param.b32 %r1, [b]; }\\nld.global.u32 %r2, [shared_word]; add.u32 %r1, %r1, %r2;\\n"
                     "st.global.u32 [%rd1], %r1;",
                     ".extern .func (.param .b32 out) f(.param .b32 in);\\n"
                     ".extern .global .align 4 .u32 shared_word;")
        second = (b".version 7.0\\n.target sm_75\\n.address_size 64\\n"
                  b".visible .global .align 4 .u32 shared_word = 300;\\n"
                  b".visible .func (.param .b32 out) f(.param .b32 in)\\n{\\n.reg .b32 %r<3>;\\n"
                  b"ld.param.b32 %r1, [in]; add.u32 %r2, %r1, 1; st.param.b32 [out], %r2; ret;\\n}\\n")
        PTX, OBJECT = 1, 3
        def add(kind, code):
            return cuda.cuLinkAddData_v2(state, kind, code, c_size_t(len(code)), b"part", 0, None, None)
        for order in ((first, second), (second, first)):
            state, image, size = c_void_p(), c_void_p(), c_size_t()
            assert cuda.cuLinkCreate_v2(4, kinds, values, byref(state)) == 0
            for part in order:
                assert add(PTX, part) == 0
            assert cuda.cuLinkComplete(state, byref(image), byref(size)) == 0
            assert cuda.cuModuleLoadData(byref(module), image) == 0
            print(cuda.cuLinkDestroy(state), launched(module), size.value > 500)
        state = c_void_p()
        reset()
        cuda.cuLinkCreate_v2(4, kinds, values, byref(state))
        print([add(PTX, second), add(PTX, second)], cuda.cuLinkComplete(state, byref(image), byref(size)))
        print("is there twice" in errors.value.decode())
        bad = b".version 7.0\\n.target sm_80\\nnonsense\\n"
        print(add(PTX, bad), errors.value.decode().strip())
        print(add(OBJECT, bad), cuda.cuLinkDestroy(state))
    """
    assert answers(script, shim_host, START) == [
        "0 321 True",
        "0 321 True",
        "[0, 0] 218",
        "True",
        "218 ptxas application ptx input, line 3; error : unknown at module level: 'nonsense'",
        "801 0",
    ]


def test_what_is_private_to_a_text_may_have_another_ones_name(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        def part(entry, number, linkage=b""):
            return (b".version 7.0\\n.target sm_75\\n.address_size 64\\n"
                    + linkage + b".global .align 4 .u32 word = %d;\\n"
                    b".global .align 8 .u64 where = generic(word);\\n"
                    b".func (.param .b32 out) own(.param .b32 in)\\n{\\n"
                    b".reg .b32 %%r<4>; .reg .b64 %%rd<3>;\\n"
                    b"ld.param.b32 %%r1, [in]; ld.global.u64 %%rd1, [where]; ld.u32 %%r2, [%%rd1];\\n"
                    b"add.u32 %%r3, %%r1, %%r2; st.param.b32 [out], %%r3; ret;\\n}\\n"
                    b".visible .func (.param .b32 out) %s(.param .b32 in)\\n{\\n.reg .b32 %%r<4>;\\n"
                    b"ld.param.b32 %%r1, [in]; { .param .b32 a; .param .b32 b; st.param.b32 [a], %%r1;\\n"
                    b"call.uni (b), own, (a); ld.param.b32 %%r2, [b]; } ld.global.u32 %%r3, [word];\\n"
                    b"add.u32 %%r2, %%r2, %%r3; st.param.b32 [out], %%r2; ret;\\n}\\n"
                    % (number, entry))
        kernel = text("{ .param .b32 a; .param .b32 b; .param .b32 c; st.param.b32 [a], 1;\\n"
                      "call.uni (b), first, (a); call.uni (c), second, (b); ld.param.b32 %r1, [c]; }\\n"
                      "ld.global.u32 %r2, [word]; add.u32 %r1, %r1, %r2; st.global.u32 [%rd1], %r1;",
                      ".extern .func (.param .b32 out) first(.param .b32 in);\\n"
                      ".extern .func (.param .b32 out) second(.param .b32 in);\\n"
                      ".global .align 4 .u32 word = 5;")
        def add(code):
            return cuda.cuLinkAddData_v2(state, 1, code, c_size_t(len(code)), b"part", 0, None, None)
        for linkage in (b"", b".visible "):
            for parts in ((kernel, part(b"first", 10), part(b"second", 200, linkage)),
                          (part(b"second", 200, linkage), part(b"first", 10), kernel)):
                state, image, size = c_void_p(), c_void_p(), c_size_t()
                assert cuda.cuLinkCreate_v2(4, kinds, values, byref(state)) == 0
                print([add(one) for one in parts], cuda.cuLinkComplete(state, byref(image), byref(size)))
                assert cuda.cuModuleLoadData(byref(module), image) == 0
                print(launched(module), cuda.cuLinkDestroy(state))
    """
    # 1, twice 10, twice 200, and the kernel's own 5
    assert answers(script, shim_host, START) == ["[0, 0, 0] 0", "426 0"] * 4


def test_a_file_is_linked_like_its_text(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        import tempfile
        state, image, size = c_void_p(), c_void_p(), c_size_t()
        with tempfile.NamedTemporaryFile(suffix=".ptx") as file:
            file.write(text("st.global.u32 [%rd1], 77;").rstrip(b"\\0"))
            file.flush()
            assert cuda.cuLinkCreate_v2(0, None, None, byref(state)) == 0
            print(cuda.cuLinkAddFile_v2(state, 1, file.name.encode(), 0, None, None))
        print(cuda.cuLinkAddFile_v2(state, 1, b"/no/such.ptx", 0, None, None))
        assert cuda.cuLinkComplete(state, byref(image), byref(size)) == 0
        print(cuda.cuModuleLoadData(byref(module), image))
        print(launched(module), cuda.cuLinkDestroy(state), cuda.cuLinkDestroy(None))
    """
    assert answers(script, shim_host, START) == ["0", "301", "0", "77 0 1"]
