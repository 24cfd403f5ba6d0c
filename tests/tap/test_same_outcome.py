"""With the tap and without, a target gets the same outcome and the same text: above all from broken shims."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tap_bench import Bench, Compiler
from tap_registry import DLSYM, LINK_TIME, LOAD, Record


def outcome(done: subprocess.CompletedProcess[str], bench: Bench, *paths: Path) -> tuple[int, str, str]:
    """What a target gave, with the paths by which the shim was found made alike."""
    texts = []
    for text in (done.stdout, done.stderr):
        for path in (bench.folder / "run" / "tap", bench.folder / "bare" / "lib", *paths):
            text = text.replace(str(path), "HERE")
        texts.append(text)
    return done.returncode, texts[0], texts[1]


def make_stub(folder: Path, source: str, *options: str) -> Path:
    """A shim from a line of C."""
    path = folder / "stub.so"
    code = folder / "stub.c"
    code.write_text(source)
    command = [
        "cc",
        "-w",
        "-shared",
        "-fPIC",
        "-Wl,-soname,libcuda.so.1",
        "-o",
        str(path),
        str(code),
        *options,
    ]
    subprocess.run(command, check=True)
    return path


def fake_without(*names: str) -> list[str]:
    """Options that compile the fake driver without some of its exports."""
    return [f"-D{name}=without_{name}" for name in names] + [
        f"-Wl,--version-script={Path(__file__).parent / 'native' / 'hide.map'}"
    ]


BROKEN = {
    "whole": [],
    "without cuGetExportTable": fake_without("cuGetExportTable"),
    "without cuInit": fake_without("cuInit"),
    "without cuGetProcAddress": fake_without("cuGetProcAddress_v2"),
    "without either": fake_without("cuGetProcAddress_v2", "cuGetExportTable"),
    "without cuDriverGetVersion": fake_without("cuDriverGetVersion"),
    "without cuDeviceGetCount": fake_without("cuDeviceGetCount"),
    "calling itself early": ["-DCALLS_ITSELF_EARLY"],
    "needing a function that is nowhere": ["-DNEEDS_WHAT_IS_NOWHERE"],
    "the same, bound at once": ["-DNEEDS_WHAT_IS_NOWHERE", "-Wl,-z,now"],
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_runtime_says_the_same_over_a_broken_shim(
    bench: Bench, compiler: Compiler, cudart: str, fault: str
) -> None:
    libraries = {"libcuda.so.1": compiler.shim("fakeshim.c", *BROKEN[fault])}
    command = [str(compiler.program("runtime.c")), cudart]
    bare = outcome(bench.run_bare(libraries, command), bench)
    assert outcome(bench.run(libraries, command), bench) == bare
    assert bench.registry.lost() == 0


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("mode", ["calls", "now"])
def test_a_late_dlopen_of_a_broken_shim_ends_the_same(
    bench: Bench, compiler: Compiler, target: str, fault: str, mode: str
) -> None:
    shim = compiler.shim("fakeshim.c", *BROKEN[fault])
    libraries = {"libcuda.so.1": shim}
    bare = outcome(bench.run_bare(libraries, [target, mode]), bench, Path("/libcuda.so.1"))
    tapped = bench.run(libraries, [target, mode])
    # dlerror names the file that failed: bare by the path it was found at, behind the tap by its own.
    tapped.stdout = tapped.stdout.replace(str(shim), "HERE/libcuda.so.1")
    assert outcome(tapped, bench, Path("/libcuda.so.1")) == bare


def test_a_shim_with_a_missing_library_fails_in_the_loaders_words(
    bench: Bench, compiler: Compiler, target: str, tmp_path: Path
) -> None:
    helper = make_stub(tmp_path, "int from_missing_library(void) { return 0; }")
    missing = tmp_path / "libmissing-helper.so"
    subprocess.run(
        ["cc", "-shared", "-o", str(missing), "-Wl,-soname,libmissing-helper.so", str(helper)], check=True
    )
    shim = tmp_path / "needy.so"
    source = Path(__file__).parent / "native" / "fakeshim.c"
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-DNEEDS_A_MISSING_LIBRARY",
        "-Wl,-soname,libcuda.so.1",
        "-o",
        str(shim),
    ]
    subprocess.run([*command, str(source), "-Wl,--no-as-needed", str(missing)], check=True)
    missing.unlink()
    libraries = {"libcuda.so.1": shim}
    linked = compiler.program("linked.c", str(compiler.shim("fakeshim.c")))
    for program in ([target, "calls"], [str(linked)]):
        bare = outcome(bench.run_bare(libraries, program), bench)
        assert "libmissing-helper.so: cannot open shared object file" in bare[1] + bare[2]
        assert outcome(bench.run(libraries, program), bench) == bare
    library = compiler.shim("dependent.c", str(compiler.shim("fakeshim.c")), soname="libdependent.so")
    program = [str(compiler.program("late.c")), str(library)]
    assert outcome(bench.run(libraries, program), bench) == outcome(bench.run_bare(libraries, program), bench)


@pytest.mark.parametrize("content", [b"", b"not an ELF file\n", b"\x7fELF\x01\x01\x01" + b"\0" * 200])
def test_a_file_that_is_no_library_fails_as_bare(
    bench: Bench, target: str, tmp_path: Path, content: bytes
) -> None:
    libraries = {"libcuda.so.1": tmp_path / "libcuda-broken.so"}
    libraries["libcuda.so.1"].write_bytes(content)
    bare = outcome(bench.run_bare(libraries, [target]), bench)
    assert bare[0] == 1
    assert outcome(bench.run(libraries, [target]), bench) == bare


def test_a_shim_that_is_not_there_fails_as_bare(bench: Bench, target: str, tmp_path: Path) -> None:
    libraries = {"libcuda.so.1": tmp_path / "nowhere.so"}
    bare = outcome(bench.run_bare(libraries, [target]), bench)
    assert outcome(bench.run(libraries, [target]), bench) == bare


@pytest.mark.parametrize("what", ["lookups", "addresses", "tables", "shapes"])
def test_answers_are_the_same(bench: Bench, shim: Path, target: str, what: str) -> None:
    libraries = {"libcuda.so.1": shim}
    bare = outcome(bench.run_bare(libraries, [target, what]), bench)
    assert bare[0] == 0
    assert outcome(bench.run(libraries, [target, what]), bench) == bare


def test_it_works_by_link_time(
    bench: Bench, compiler: Compiler, shim: Path, names: Callable[[Record], str]
) -> None:
    program = [str(compiler.program("linked.c", str(shim)))]
    libraries = {"libcuda.so.1": shim}
    assert bench.run(libraries, program).stdout == bench.run_bare(libraries, program).stdout == "linked 0 3\n"
    records = bench.registry.records()
    assert [names(record) for record in records if record.function < DLSYM] == ["cuInit", "cuDeviceGetCount"]
    bound = [record for record in records if record.function == DLSYM]
    assert {name for record in bound for name in record.strings()} == {"cuInit", "cuDeviceGetCount"}
    assert all(record.flags & LINK_TIME and record.result == 1 for record in bound)


def test_it_works_by_ld_preload(
    bench: Bench, shim: Path, target: str, names: Callable[[Record], str]
) -> None:
    tap = bench.folder / "run" / "tap" / "libcuda.so.1"
    done = bench.run({"libcuda.so.1": shim}, [target, "calls", "2"], LD_PRELOAD=str(tap))
    assert (done.returncode, done.stdout, done.stderr) == (0, "calls 4\n", "")
    calls = [names(record) for record in bench.registry.records() if record.function < DLSYM]
    assert calls == ["cuInit", "cuDeviceGetCount"] * 2


@pytest.mark.parametrize("how", ["link", "LD_PRELOAD"])
def test_a_shim_that_calls_itself_through_the_tap_is_marked_internal(
    bench: Bench, compiler: Compiler, names: Callable[[Record], str], how: str
) -> None:
    shim = compiler.shim("fakeshim.c", "-DCALLS_ITSELF_EARLY")
    program = [str(compiler.program("linked.c", str(shim)))]
    more = {"LD_PRELOAD": str(bench.folder / "run" / "tap" / "libcuda.so.1")} if how == "LD_PRELOAD" else {}
    assert bench.run({"libcuda.so.1": shim}, program, **more).stdout == "linked 0 3\n"
    records = bench.registry.records()
    load = next(record for record in records if record.function == LOAD)
    inner = [record for record in records if record.parent == load.sequence and record.function < DLSYM]
    assert [names(record) for record in inner] == ["cuInit", "cuDeviceGetCount"]
    assert all(record.flags & 1 for record in inner)


def test_late_dlopen_of_a_library_that_needs_the_driver(bench: Bench, compiler: Compiler, shim: Path) -> None:
    library = compiler.shim("dependent.c", str(shim), "-Wl,-rpath,$ORIGIN", soname="libdependent.so")
    plugin = library.with_name("libplugin-of-dependent.so")
    subprocess.run(["cc", "-shared", "-o", str(plugin), "-x", "c", "/dev/null"], check=True)
    program = [str(compiler.program("late.c")), str(library)]
    libraries = {"libcuda.so.1": shim}
    bare = outcome(bench.run_bare(libraries, program), bench)
    assert "plugin 1" in bare[1] and "next 1" in bare[1]
    assert outcome(bench.run(libraries, program), bench) == bare
    bound = [r.strings() for r in bench.registry.records() if r.function == DLSYM and r.flags & LINK_TIME]
    assert bound == [["cuDeviceGetCount"]]


def test_one_file_may_stand_for_both_libraries(bench: Bench, shim: Path, target: str) -> None:
    done = bench.run({"libcuda.so.1": shim, "libnvidia-ml.so.1": shim}, [target, "calls", "1"])
    assert (done.returncode, done.stdout) == (0, "calls 2\n")


def test_without_a_collector_the_target_runs_as_bare(bench: Bench, shim: Path, target: str) -> None:
    libraries = {"libcuda.so.1": shim}
    environment = bench.environment(libraries)
    for socket in (str(bench.folder / "nobody-listens"), ""):
        done = subprocess.run(
            [target, "calls", "5"],
            env={**environment, "SHIMBENCH_SOCKET": socket},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "calls 10\n", "")
    assert bench.registry.regions == []
