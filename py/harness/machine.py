# SPDX-License-Identifier: Apache-2.0
"""A machine with a systemd of its own: a small Debian, booted in systemd-nspawn. Needs root, and once the network.

    tree      debootstrap makes it once, below build/; what a machine writes stays in memory, and goes with it. It takes a minute, or longer where the
              mirror is slow: `python -m harness.machine` makes it before a test's time begins.
    run()     a command inside, entered by nsenter: nothing has to be registered with a systemd of ours, which may not be there
    network() sockets that this thread makes meanwhile are inside: a loopback of its own, where any port is free
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.scale import ROOT
from harness.until import until

SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus"
TREE = ROOT / "build" / "machine" / SUITE
CLONE_NEWNET = 0x40000000
# Where a process says which cgroup it is in: of version 2, of version 1, or of both side by side.
HIERARCHIES = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd")]


class Unavailable(Exception):
    """There is no machine to be had here, and why."""


def tree() -> Path:
    """A Debian to boot, made at the first call."""
    if os.geteuid() != 0:
        raise Unavailable("not root")
    for program in ("debootstrap", "systemd-nspawn", "nsenter"):
        if shutil.which(program) is None:
            raise Unavailable(f"no {program}")
    if TREE.is_dir():
        return TREE
    fresh = TREE.with_name(f"{SUITE}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    # What it mounts there goes with it, however it ends: else who removes an unfinished tree would walk into our own /proc.
    words = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(fresh)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(fresh)
        raise Unavailable("debootstrap: " + " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:]))
    shutil.rmtree(fresh / "var/cache/apt/archives", ignore_errors=True)
    fresh.rename(TREE)
    return TREE


class Machine:
    """Booted when it is made."""

    def __init__(self) -> None:
        source = tree()
        self.console = source.with_name(f"machine-{os.getpid()}.console")
        self.init = 0  # its process 1, as we number it
        self._groups: list[Path] = []
        words = ["systemd-nspawn", "-q", "-D", str(source), "--volatile=overlay", "-b", "--register=no", "--private-network", "--link-journal=no",
                 "--console=read-only"]
        # Without a systemd on this side nobody makes us a control group. Two machines must not share one.
        managed = Path("/run/systemd/system").is_dir()
        if not managed:
            words.append("--keep-unit")
            self._groups = [top / f"relay-test-{os.getpid()}" for top in HIERARCHIES if (top / "cgroup.procs").exists()]
        with self.console.open("wb") as console:
            self._nspawn = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, preexec_fn=self._enter_groups)
        try:
            self.init = until(self._find_init, self._story, timeout=30)
            until(self._is_up, self._story, timeout=60)
        except BaseException:
            self.halt()
            raise

    def _enter_groups(self) -> None:
        for group in self._groups:
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))

    def _find_init(self) -> int:
        """The child that is number 1 inside; there are others before it."""
        if self._nspawn.poll() is not None:
            raise Unavailable(self._story())
        for child in Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if "\t1\n" in next(line for line in Path(f"/proc/{child}/status").open() if line.startswith("NSpid:")):
                    return int(child)
        return 0

    def _is_up(self) -> bool:
        if self._nspawn.poll() is not None:
            raise Unavailable(self._story())
        return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    def _story(self) -> str:
        lines = self.console.read_text(errors="replace").splitlines()
        return "systemd-nspawn: " + "\n".join(lines[-15:])

    # Inside

    def path(self, inside: str) -> Path:
        return Path(f"/proc/{self.init}/root") / inside.lstrip("/")

    def run(self, *words: str, check: bool = True, timeout: float = 60) -> str:
        """What it prints on standard output and error; fails as it does."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_PAGER": ""}
        done = subprocess.run(
            ["nsenter", "-t", str(self.init), "-a", "--", *words], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, unit: str, *words: str) -> str:
        return self.run("journalctl", "-q", "-o", "cat", "-u", unit, *words)

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as ours, open(f"/proc/{self.init}/ns/net", "rb") as theirs:
            if libc.setns(theirs.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if libc.setns(ours.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns: this thread is lost in another network")

    # The end

    def halt(self) -> None:
        """Pulls the plug, for nothing in it is kept, and leaves nothing of it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init or self._nspawn.pid, signal.SIGKILL)
        try:
            self._nspawn.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(timeout=10)
        self.console.unlink(missing_ok=True)
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


def main() -> None:
    if TREE.is_dir():
        return
    print(f"making a Debian to boot, {TREE.relative_to(ROOT)}, which takes a minute or two", flush=True)
    try:
        tree()
    except Unavailable as why:
        print(f"there is none: {why}")  # the tests say so, too, and are skipped


if __name__ == "__main__":
    main()
