"""A machine with a real systemd as its process 1: namespaces of this one over a copy-on-write root.

Needs root, unshare and nsenter (util-linux), a kernel with overlayfs, and systemd's package installed.
Nothing it does reaches the machine outside; killing its process 1 ends all of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from sessions import Session, open_session
from tests.patience import PATIENCE_SECONDS

# Run as process 1 of new namespaces. $1 is an empty folder to mount things in.
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
mount --rbind /dev dev
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
rm -rf /etc/systemd/system/*.wants
systemd=/lib/systemd/systemd
test -x $systemd || systemd=/usr/lib/systemd/systemd
exec env -i container=shimbench PATH=/usr/sbin:/usr/bin:/sbin:/bin $systemd --system --unit=basic.target \
    --log-target=journal --show-status=no </dev/null >/dev/null 2>&1
"""


# Asks for the devices in a process of its own, as Ollama's discovery does, writes a line that journald
# cuts in pieces, and waits.
SERVICE = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int status = 0;
    if (fork() == 0) {
        void *runtime = dlopen("/opt/service/lib/CUDART", RTLD_NOW);
        int (*get)(int *) = runtime ? (int (*)(int *))dlsym(runtime, "cudaGetDeviceCount") : NULL;
        int count = 0, code = get ? get(&count) : -1;
        printf("%d devices, code %d, greeting %s, path %s\n", count, code, getenv("GREETING"),
               getenv("LD_LIBRARY_PATH"));
        if (!runtime)
            puts(dlerror());
        fflush(stdout);
        _exit(code ? 1 : 0);
    }
    wait(&status);
    for (int i = 0; i < 150000; i++)
        putchar('a' + i % 26);
    printf("\n\xff not UTF-8\nall written\n");
    fflush(stdout);
    for (;;)
        pause();
}
"""


class NoMachineError(Exception):
    """Why none can be had here."""


class Machine:
    """A booted one."""

    def __init__(self, folder: Path) -> None:
        """Boots, until systemd says that it runs. Raises NoMachineError."""
        if os.geteuid() != 0:
            raise NoMachineError("only root can boot a systemd in namespaces")
        for name in ("unshare", "nsenter", "systemctl", "journalctl"):
            if shutil.which(name) is None:
                raise NoMachineError(f"there is no {name}: apt install systemd util-linux")
        scratch = folder / "machine"
        scratch.mkdir()
        words = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--uts", "--ipc", "--kill-child"]
        self._log = folder / "boot.log"
        with self._log.open("wb") as log:
            self._unshare = subprocess.Popen(
                [*words, "/bin/sh", "-c", BOOT, "boot", str(scratch)], stdin=subprocess.DEVNULL, stderr=log
            )
        self._init = 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and self._unshare.poll() is None:
            if self._running():
                return
            time.sleep(0.05)
        said = self._log.read_text(errors="replace").strip()
        self.close()
        raise NoMachineError(f"no systemd boots here: {said or 'it did not get to run'}")

    def _running(self) -> bool:
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        if not children:
            return False
        self._init = int(children[0])
        if "systemd" not in Path(f"/proc/{self._init}/comm").read_text():
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
            "running",
            "degraded",
        )

    def run(
        self, *words: str | Path, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command inside, as root."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._init), "--all", "--wd=/", *map(str, words)],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file inside."""
        command = ["nsenter", "--target", str(self._init), "--all", "/bin/sh", "-c"]
        script = 'mkdir -p "$(dirname "$0")" && cat >"$0" && chmod "$1" "$0"'
        subprocess.run([*command, script, path, f"{mode:o}"], input=text, text=True, check=True)

    def close(self) -> None:
        if self._init:
            os.kill(self._init, signal.SIGKILL)
        else:
            self._unshare.kill()
        self._unshare.wait()


def put_service(machine: Machine, runtime: Path) -> None:
    """/opt/service/bin/ollama inside: SERVICE, with that libcudart."""
    machine.write("/opt/service/service.c", SERVICE.replace("CUDART", runtime.name))
    machine.run("mkdir", "-p", "/opt/service/bin", "/opt/service/lib")
    machine.run("cc", "-o", "/opt/service/bin/ollama", "/opt/service/service.c", "-ldl")
    machine.run("cp", runtime, "/opt/service/lib/")


def copy_out(machine: Machine, session: str, to: Path) -> Session:
    """The session as the machine has it, for us to read."""
    to.mkdir()
    with (to.parent / "session.tar").open("wb") as archive:
        words = ["nsenter", "--target", str(machine._init), "--all", "tar", "-C", session, "-c"]
        subprocess.run([*words, "--exclude=*.sock", "."], stdout=archive, check=True)
    subprocess.run(["tar", "-C", to, "-xf", to.parent / "session.tar"], check=True)
    return open_session(to)
