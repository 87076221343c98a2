# SPDX-License-Identifier: Apache-2.0
"""What a relay gives up once it is ready, seen from outside. What exactly it gives up is tests/unit/confine_test.cpp's."""

import pytest

from harness.lab import Lab
from harness.peers.target import echo
from harness.scale import SLOW

FILTERED = 2  # of `Seccomp:` in proc(5)


def status(field: str, pid: int | str) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def filters(pid: int | str = "self") -> int:
    """How many filters a process is under: one more than we, who may be in a container that has its own."""
    return status("Seccomp_filters", pid)


@pytest.mark.skipif(SLOW, reason="a sanitizer's build has no filter")
def test_confined_by_default(lab: Lab) -> None:
    """A relay that says `confined` is under a filter of the kernel's, and has no way to new privileges."""
    relay = lab.relay(target=lab.target(echo))
    assert relay.wait_log("confined")["by"] == "seccomp"
    assert not relay.find("not-confined")
    assert (status("Seccomp", relay.pid), status("NoNewPrivs", relay.pid)) == (FILTERED, 1)
    assert filters(relay.pid) == filters() + 1
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_no_seccomp(lab: Lab) -> None:
    """`--no-seccomp`: no filter, and the log says so."""
    relay = lab.relay("--no-seccomp")
    assert relay.wait_log("not-confined").level == "info" and not relay.find("confined")
    assert filters(relay.pid) == filters()
    assert status("NoNewPrivs", relay.pid) == status("NoNewPrivs", "self")


def test_no_seccomp_in_a_file(lab: Lab) -> None:
    """The key of a file, and the command line's word over it."""
    config = 'no-seccomp = true\n[[relay]]\nport = 0\nlisten = "127.0.0.1"\ntarget = "127.0.0.1:9"\n'
    relay = lab.run(config)
    assert relay.wait_log("not-confined")["reason"] == "no-seccomp is set"
    if not SLOW:
        path = lab.file("other.toml", config)
        assert lab.start("run", "-c", str(path), "--no-seccomp=false").wait_log("confined")
