# SPDX-License-Identifier: Apache-2.0
"""The short file: one relay in lines RELAY_KEY=VALUE, found by the name of its job, and every fault with its line."""

import re
from pathlib import Path

import pytest

from harness.lab import Lab
from harness.peers.target import echo
from harness.process import command
from harness.scale import ROOT

NO_PORT = "FILE: no port to listen on; give one, for example port 9000, or listen ADDR:PORT or unix:PATH"
GOOD = "RELAY_PORT=9000\nRELAY_TARGET=10.0.0.5:9999\n"


def shown(path: Path) -> str:
    """What `relay check` says would run."""
    done = command("check", "-c", str(path))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def complaint(path: Path) -> list[str]:
    """Its faults, without the name of the file; the exit status is 2, and `relay run` says the same."""
    done = command("check", "-c", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert command("run", "-c", str(path)).stderr == done.stderr
    return [line.removeprefix("relay: ").replace(str(path), "FILE") for line in done.stderr.splitlines()]


def test_keys_of_process_and_relay(lab: Lab) -> None:
    """Each option of the command line can be written as a variable: in capitals, dashes as underscores."""
    text = """
        # One relay for one function.
        ; also a comment
        RELAY_LOG_LEVEL=warn
        RELAY_PORT=9000
        RELAY_TARGET='gateway.example:9999'
        RELAY_CLIENT="192.0.2.0/24,::1"
        RELAY_QUEUE_SIZE=1MiB\t\r
        RELAY_NODELAY=no
        RELAY_PAIRS=007
    """
    lines = shown(lab.file("func1.env", text)).splitlines()
    for line in ('log-level = "warn"', "port = 9000", 'target = "gateway.example:9999"', 'client = ["192.0.2.0/24", "::1"]',
                 'queue-size = "1MiB"', "nodelay = false", "pairs = 7"):
        assert line in lines


def test_every_option_is_a_variable(lab: Lab) -> None:
    """There is no option that only the command line or a TOML file has."""
    options = re.findall(r"^  --([a-z-]+)", command("start", "--help").stdout, re.MULTILINE)
    assert len(options) > 20
    text = "".join(f"RELAY_{option.upper().replace('-', '_')}=\n" for option in options)
    found = complaint(lab.file("func1.env", text))
    for number, option in enumerate(options, 1):
        assert any(line.startswith(f"FILE:{number}: {option}: has no value") for line in found), option


def test_it_runs(lab: Lab) -> None:
    """A relay of a short file carries bytes like any other."""
    target = lab.target(echo)
    path = lab.file("func1.env", f"RELAY_LISTEN=127.0.0.1\nRELAY_PORT=0\nRELAY_GATEWAY=127.0.0.2\nRELAY_TARGET={target.address}\n")
    client = lab.client(lab.start("run", "-c", str(path.with_suffix(""))))
    client.send(b"to the gateway and back")
    client.finish()
    assert client.read_all() == b"to the gateway and back"


@pytest.mark.parametrize(
    "text, fault",
    [
        ("RELAY_PORT 9000", "FILE:3: lines are RELAY_KEY=VALUE; this one has no ="),
        ("export RELAY_PAIRS=3", "FILE:3: leave out the word export"),
        ("RELAY_PAIRS =3", "FILE:3: no space may stand around the ="),
        ("RELAY_PAIRS= 3", "FILE:3: no space may stand around the ="),
        ("RELAY_PAIR=3", 'FILE:3: unknown variable "RELAY_PAIR"; did you mean RELAY_PAIRS?'),
        ("PAIRS=3", 'FILE:3: unknown variable "PAIRS"; did you mean RELAY_PAIRS?'),
        ("relay_pairs=3", 'FILE:3: unknown variable "relay_pairs"; did you mean RELAY_PAIRS?'),
        ("HOME=/root", 'FILE:3: unknown variable "HOME"; each begins with RELAY_ and a key, relay.toml(5) has them'),
        ("=3", 'FILE:3: unknown variable ""; each begins with RELAY_ and a key, relay.toml(5) has them'),
        ("RELAY_PORT=9001", "FILE:3: RELAY_PORT stands in FILE:1 already; keep one of the two"),
        ("RELAY_CLIENT=::1\nRELAY_CLIENT=::2",
         "FILE:4: RELAY_CLIENT stands in FILE:3 already; put its values into one line, with commas between them"),
        ('RELAY_NAME="x', "FILE:3: the quotes do not stand around the whole value; a comment needs a line of its own"),
        ('RELAY_NAME="x" # y', "FILE:3: the quotes do not stand around the whole value; a comment needs a line of its own"),
        ("RELAY_KIND=clutter", 'FILE:3: RELAY_KIND: "clutter" is not built in; there is cluster, redis, plex'),
        ("RELAY_KIND=cluster\nRELAY_KIND=cluster", "FILE:4: RELAY_KIND is here a second time; keep one of the two"),
        ("RELAY_CLIENT=", "FILE:3: client: has no value; give one, for example 10.0.0.0/8"),
        ("RELAY_PAIRS=0", 'FILE:3: pairs: "0" is out of range; give a number from 1 to 1000000'),
    ],
)
def test_fault(lab: Lab, text: str, fault: str) -> None:
    """A fault is one line with its place, what is wrong, and what to write instead."""
    assert complaint(lab.file("func1.env", GOOD + text + "\n")) == [fault]


def test_missing_and_many_faults(lab: Lab) -> None:
    """What is required and missing is said; of very many faults the first hundred."""
    assert complaint(lab.file("empty.env", "# nothing\n")) == ["FILE: target: required; for example target = \"10.0.0.5:9999\"", NO_PORT]
    assert len(complaint(lab.file("many.env", "x\n" * 100_000))) < 110


def test_found_by_the_name_of_the_job(lab: Lab) -> None:
    """A unit needs no more than the job's name: JOB.toml or JOB.env, whichever is there."""
    job = lab.file("func1.env", GOOD).with_suffix("")
    assert "port = 9000" in shown(job)
    lab.file("func1.toml", '[[relay]]\nport = 9001\ntarget = "10.0.0.5:9999"\n')
    assert complaint(job) == ["FILE: there are both FILE.toml and FILE.env; keep one of the two"]
    job.with_suffix(".env").unlink()
    assert "port = 9001" in shown(job)
    job.with_suffix(".toml").unlink()
    (fault,) = complaint(job)
    assert fault == "FILE: cannot read it: No such file or directory; nor is there FILE.toml or FILE.env"
    job.with_suffix(".env").mkdir()
    assert complaint(job) == ["FILE.env: cannot read it: Is a directory"]


def test_a_full_name_is_not_guessed_at(lab: Lab) -> None:
    """Who names a file with its ending means that file."""
    path = lab.file("func1.env", GOOD).with_suffix(".toml")
    assert complaint(path) == ["FILE: cannot read it: No such file or directory"]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.env")), ids=lambda path: path.name)
def test_example(path: Path) -> None:
    """Each short example loads."""
    shown(path)
