# ruff: noqa: RUF001 - compilers write such quotes
"""Compilers', linkers' and build tools' output, understood as places in sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.loop.diagnostics import Diagnostic, Severity, excerpt_of, parse_diagnostics

HERE = Path("/src")


def only(output: str) -> Diagnostic:
    found = parse_diagnostics(output, HERE)
    assert len(found) == 1, found
    return found[0]


def test_gcc_errors_come_with_function_note_and_excerpt() -> None:
    error, warning, at_top = parse_diagnostics(
        """make: Entering directory '/tmp/diag'
gcc -Wall -o p a.c
a.c: In function ‘main’:
a.c:4:44: error: ‘y’ undeclared (first use in this function)
    4 | int main(void){ int x = missing(2); return y; }
      |                                            ^
a.c:4:44: note: each undeclared identifier is reported only once for each function it appears in
a.c:4:21: warning: unused variable ‘x’ [-Wunused-variable]
    4 | int main(void){ int x = missing(2); return y; }
      |                     ^
a.c: At top level:
a.c:3:12: warning: ‘unused’ defined but not used [-Wunused-function]
    3 | static int unused(void){return 1;}
      |            ^~~~~~
make: *** [Makefile:3: p] Error 1
make: Leaving directory '/tmp/diag'
""",
        HERE,
    )
    assert (error.path, error.line, error.column) == (Path("/tmp/diag/a.c"), 4, 44)
    assert error.severity is Severity.ERROR and error.inside == "main"
    assert error.message == "‘y’ undeclared (first use in this function)"
    assert error.excerpt[1].endswith("|                                            ^")
    assert [note.line for note in error.notes] == [4]
    assert error.output_line == 4
    assert warning.option == "-Wunused-variable" and warning.message == "unused variable ‘x’"
    assert at_top.inside == "" and len(at_top.excerpt) == 2


def test_an_include_chain_belongs_to_the_error_below_it() -> None:
    found = only(
        """In file included from h.h:1,
                 from b.c:1:
h2.h: In function ‘f’:
h2.h:1:22: error: ‘g’ undeclared (first use in this function)
"""
    )
    assert found.included_from == ((HERE / "h.h", 1), (HERE / "b.c", 1))
    assert found.path == HERE / "h2.h"


def test_clang_errors_are_understood_in_both_of_its_layouts() -> None:
    first, second = parse_diagnostics(
        """In file included from shim/cuda/init.c:3:
./shim/cuda/state.h:12:5: error: unknown type name 'CUdevic'; did you mean 'CUdevice'?
    CUdevic device;
    ^~~~~~~
    CUdevice
/usr/include/cuda.h:301:13: note: 'CUdevice' declared here
typedef int CUdevice;
            ^
shim/cuda/init.c:9:1: warning: non-void function does not return a value [-Wreturn-type]
    9 | }
      | ^
2 errors generated.
""",
        HERE,
    )
    assert first.path == HERE / "shim/cuda/state.h" and first.included_from == (
        (HERE / "shim/cuda/init.c", 3),
    )
    assert first.excerpt == ("    CUdevic device;", "    ^~~~~~~", "    CUdevice")
    assert first.notes[0].path == Path("/usr/include/cuda.h")
    assert second.severity is Severity.WARNING and second.excerpt == ("    9 | }", "      | ^")


def test_colours_do_not_hide_an_error() -> None:
    text = "\x1b[01m\x1b[Ka.c:4:44:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kboo\n"
    assert str(only(text)) == "/src/a.c:4:44: error: boo"


@pytest.mark.parametrize(
    ("output", "path", "line", "message"),
    [
        (
            "/usr/bin/ld: /tmp/ccLg.o: in function `main':\n"
            "a.c:(.text+0x19): undefined reference to `missing'\n"
            "collect2: error: ld returned 1 exit status\n",
            HERE / "a.c",
            0,
            "undefined reference to `missing'",
        ),
        (
            "/usr/bin/ld: a.o: in function `main':\n/tmp/d/a.c:4: undefined reference to `missing'\n",
            Path("/tmp/d/a.c"),
            4,
            "undefined reference to `missing'",
        ),
        (
            "/usr/bin/ld: cannot find -lfoo: No such file or directory\n"
            "collect2: error: ld returned 1 exit status\n",
            None,
            0,
            "cannot find -lfoo: No such file or directory",
        ),
        (
            "ld.lld: error: undefined symbol: missing\n>>> referenced by a.c:4 (/src/a.c:4)\n"
            ">>>               a.o:(main)\n"
            "clang: error: linker command failed with exit code 1 (use -v to see invocation)\n",
            HERE / "a.c",
            4,
            "undefined symbol: missing",
        ),
        ("make: *** No rule to make target 'nope'.  Stop.\n", None, 0, "No rule to make target 'nope'."),
        ("M2:1: *** missing separator.  Stop.\n", HERE / "M2", 1, "missing separator."),
        (
            "ninja: error: loading 'build.ninja': No such file or directory\n",
            None,
            0,
            "loading 'build.ninja'",
        ),
        ("sh: 1: nonexist: not found\n", None, 0, "nonexist: not found"),
        (
            "cc1: fatal error: nofile.c: No such file or directory\ncompilation terminated.\n",
            None,
            0,
            "nofile.c",
        ),
        ("make[1]: *** [Makefile:7: p] Error 3\n", HERE / "Makefile", 7, "p: Error 3"),
        ("make: *** [p] Error 3\n", None, 0, "p: Error 3"),
        (
            "CMake Error at CMakeLists.txt:10 (message):\n  boom and more\n\n",
            HERE / "CMakeLists.txt",
            10,
            "boom",
        ),
        ("a.c:3: error: old compilers name no column\n", HERE / "a.c", 3, "old compilers name no column"),
        ("a.h:1:10: fatal error: cuda.h: No such file\n", HERE / "a.h", 1, "cuda.h: No such file"),
    ],
)
def test_every_tool_of_a_build_is_understood(output: str, path: Path | None, line: int, message: str) -> None:
    found = only(output)
    assert found.path == path and found.line == line and found.severity is Severity.ERROR
    assert found.message.startswith(message.removesuffix("."))


def test_an_undefined_reference_names_the_function_it_lies_in() -> None:
    found = only(
        "/usr/bin/ld: a.o: in function `main':\na.c:(.text+0x19): undefined reference to `missing'\n"
    )
    assert found.inside == "main"


def test_paths_follow_make_and_ninja_into_their_directories(tmp_path: Path) -> None:
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "a.c").write_text("x\n")
    output = "ninja: Entering directory `build'\n[1/2] cc\n../shim/a.c:1:1: error: no\n"
    assert parse_diagnostics(output, tmp_path)[0].path == tmp_path / "shim" / "a.c"
    output = "make[1]: Entering directory '/a/b'\nmake[1]: Leaving directory '/a/b'\nx.c:1:1: error: no\n"
    assert parse_diagnostics(output, HERE)[0].path == HERE / "x.c"


def test_a_clean_build_has_no_diagnostics() -> None:
    assert (
        parse_diagnostics("[1/2] Building C object a.o\n[2/2] Linking\nninja: no work to do.\n", HERE) == []
    )


def test_an_excerpt_is_the_source_around_the_line(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text("one\ntwo\nthree\nfour\nfive\n")
    assert list(excerpt_of(source, 2, around=1)) == [(1, "one"), (2, "two"), (3, "three")]
    assert list(excerpt_of(tmp_path / "gone.c", 2)) == []
