"""A Go process that opens the driver from a goroutine, as Ollama's gpu-discover does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from calls import driver_calls
from conftest import Recorder, get_package
from go_package import GO

THREADS = 8
CALLS = 500
SOURCE = """\
package main

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
static int call_version(void *f) { int v = 0; return ((int (*)(int *))f)(&v) ? -1 : v; }
static int call_init(void *f) { return ((int (*)(unsigned))f)(0); }
*/
import "C"

import (
	"fmt"
	"os/exec"
	"sync"
	"unsafe"
)

func open() unsafe.Pointer {
	name := C.CString("libcuda.so.1")
	defer C.free(unsafe.Pointer(name))
	return C.dlopen(name, C.RTLD_LAZY)
}

func symbol(library unsafe.Pointer, text string) unsafe.Pointer {
	name := C.CString(text)
	defer C.free(unsafe.Pointer(name))
	return C.dlsym(library, name)
}

func main() {
	var group sync.WaitGroup
	for i := 0; i < THREADS; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			library := open()
			if C.call_init(symbol(library, "cuInit")) != 0 {
				panic("cuInit")
			}
			version := symbol(library, "cuDriverGetVersion")
			for n := 0; n < CALLS; n++ {
				if C.call_version(version) < 0 {
					panic("cuDriverGetVersion")
				}
			}
		}()
	}
	group.Wait()
	out, err := exec.Command("/bin/true").CombinedOutput() // a fork of a process that has the driver open
	fmt.Println("done", len(out), err)
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go") or get_package(GO) / "bin" / "go"
    folder = tmp_path_factory.mktemp("go")
    source = SOURCE.replace("THREADS", str(THREADS)).replace("CALLS", str(CALLS))
    (folder / "main.go").write_text(source)
    (folder / "go.mod").write_text("module goroutines\n\ngo 1.20\n")
    environment = {**os.environ, "GOCACHE": str(folder / "cache"), "GOTOOLCHAIN": "local", "CGO_ENABLED": "1"}
    subprocess.run([go, "build", "-o", "goroutines", "."], cwd=folder, env=environment, check=True)
    return folder / "goroutines"


def test_goroutines_that_open_the_driver_are_recorded_to_the_last_call(
    program: Path, foreign_shim: Callable[..., Path], recorder: Recorder
) -> None:
    for shim in (None, foreign_shim()):
        done = recorder.run([str(program)], shim)
        assert done.status == 0, done.stderr
        assert "done 0 <nil>" in done.log
        counted = driver_calls(done.session, of_the_shim=False)
        assert (counted["cuInit"], counted["cuDriverGetVersion"]) == (THREADS, THREADS * CALLS)
        assert (done.report["lost"], done.report["diagnosis"]) == (0, [])
