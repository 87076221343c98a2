# SPDX-License-Identifier: Apache-2.0
"""The command line: help that teaches, and mistakes that are named with their remedy in one line, exit code 2."""
# Issue: point 7.

import os
import re
import socket
import subprocess

import pytest

from harness.lab import Lab
from harness.peers.target import echo
from harness.process import NOBODY, command
from harness.scale import BIN
from harness.sockets import connect

RELAY_KEYS = """name port listen target gateway client gateway-port gateway-listen pairs queue-size egress-queue-size connect-timeout
    retry-min retry-max keepalive keepalive-interval keepalive-count user-timeout nodelay idle-timeout half-close-timeout wait-timeout""".split()
GLOBAL_KEYS = "log-level log-format drain-timeout dns".split()
GOOD = ("--port", "0", "--target", "127.0.0.1:9")


def refused(*args: str, where: str, says: str = "", **how: int) -> str:
    """Runs a faulty command: exit code 2, nothing on stdout, one line `relay: WHERE: WHAT` on stderr; WHAT."""
    done = command(*args, **how)  # type: ignore[arg-type]
    assert done.returncode == 2, done
    assert done.stdout == "", done
    lines = [line for line in done.stderr.splitlines() if line.startswith("relay: ")]
    assert len(lines) == 1, done.stderr
    assert len(done.stderr.splitlines()) <= 2, f"more than the fault and a hint: {done.stderr}"
    assert lines[0].startswith(f"relay: {where}: "), lines[0]
    what = lines[0].removeprefix(f"relay: {where}: ")
    assert re.search(says, what, re.IGNORECASE), what
    return what


# Help


@pytest.mark.parametrize("args", [["--help"], ["help"], ["-h"]])
def test_help_names_the_commands(args: list[str]) -> None:
    """`relay --help` says which commands there are, on stdout, with exit code 0."""
    done = command(*args)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("start", "run", "check", "help", "--version"):
        assert word in done.stdout, word


@pytest.mark.parametrize("args", [["start", "--help"], ["help", "start"]])
def test_help_of_start_names_every_key(args: list[str]) -> None:
    """`relay start --help` explains every option, with the seed's own command line as its example."""
    done = command(*args)
    assert (done.returncode, done.stderr) == (0, "")
    for key in RELAY_KEYS + GLOBAL_KEYS:
        assert re.search(rf"^\s+--{key}\b", done.stdout, re.MULTILINE), key
    for default in ("6400KiB", "5s", "100ms", "60s", "1m", "10s", "info", "text"):
        assert default in done.stdout, default
    assert "relay start --port" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


@pytest.mark.parametrize("name", ["run", "check"])
def test_help_of_the_file_commands(name: str) -> None:
    """`relay run --help` and `relay check --help` say what they do and how."""
    for args in ([name, "--help"], ["help", name]):
        done = command(*args)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"relay {name} -c" in done.stdout


def test_version() -> None:
    """`relay --version` names the program and its version."""
    done = command("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"relay \d+\.\d+\.\d+\S*\n(.*\n)*", done.stdout), done.stdout


# Mistakes


def test_no_command() -> None:
    """`relay` alone says how it is used, exit code 2."""
    done = command()
    assert done.returncode == 2
    assert "Usage: relay" in done.stderr and "start" in done.stderr


def test_unknown_command() -> None:
    """A mistyped command is answered with the nearest one."""
    done = command("strat", *GOOD)
    assert done.returncode == 2
    assert "strat" in done.stderr and "start" in done.stderr.replace("strat", "")


@pytest.mark.parametrize(
    "wrong, right",
    [
        ("--quue-size", "queue-size"),
        ("--tarjet", "target"),
        ("--idle-timout", "idle-timeout"),
        ("--loglevel", "log-level"),
        ("--gateways", "gateway"),
    ],
)
def test_unknown_option(wrong: str, right: str) -> None:
    """A mistyped option is an error that names the nearest one."""
    refused("start", *GOOD, wrong, "1", where="command line", says=rf"{wrong}\b.*--{right}\b")


def test_stray_word() -> None:
    """A word that is no option is named."""
    done = command("start", *GOOD, "stray")
    assert done.returncode == 2
    assert "stray" in done.stderr


@pytest.mark.parametrize("missing, args", [("target", ("--port", "9000")), ("port", ("--target", "127.0.0.1:9"))])
def test_what_is_required(missing: str, args: tuple[str, ...]) -> None:
    """Without a target, or a port, the line says which is missing."""
    done = command("start", *args)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) <= 2
    assert f"--{missing}" in done.stderr or missing in done.stderr


@pytest.mark.parametrize(
    "option, value",
    [
        ("--port", "70000"), ("--port", "-1"), ("--port", "http"), ("--port", ""),
        ("--pairs", "0"), ("--pairs", "many"), ("--pairs", "1.5"),
        ("--listen", "localhost"), ("--listen", "1.2.3"), ("--listen", "127.0.0.1:99999"), ("--listen", "::1]:9"), ("--listen", "unix:"),
        ("--target", "10.0.0.5"), ("--target", "10.0.0.5:"), ("--target", "10.0.0.5:0"), ("--target", ":9999"), ("--target", "[::1]"),
        ("--target", "a b:9"),
        ("--gateway", "10.0.0.0/33"), ("--gateway", "10.0.0.1/8"), ("--gateway", "::/129"), ("--gateway", "gateway.example"),
        ("--client", "300.1.1.1"), ("--client", "10.0.0.0/"), ("--client", "10.0.0.0/-1"),
        ("--queue-size", "lots"), ("--queue-size", "-1"), ("--queue-size", "0"), ("--queue-size", "1XiB"), ("--queue-size", "99999999999999999999"),
        ("--connect-timeout", "5"), ("--connect-timeout", "5 parsecs"), ("--connect-timeout", "-5s"), ("--connect-timeout", "999999999999h"),
        ("--retry-min", "0"), ("--idle-timeout", "forever"),
        ("--nodelay", "perhaps"), ("--keepalive-count", "0"),
        ("--log-level", "loud"), ("--log-format", "xml"), ("--drain-timeout", "soon"), ("--dns", "ns.example"),
    ],
)  # fmt: skip
def test_bad_value(option: str, value: str) -> None:
    """A value that makes no sense is refused in one line that names the option and the value or what would do."""
    args = dict(zip(GOOD[::2], GOOD[1::2], strict=True))
    args[option] = value
    what = refused("start", *(f"{key}={text}" for key, text in args.items()), where=option)
    assert value in what or re.search(r"\b(empty|expect|must|such as|like|needs?|between|least|most)\b", what), what
    assert len(what) > 10


def test_missing_value() -> None:
    """An option at the end of the line without its value is named."""
    refused("start", *GOOD, "--queue-size", where="--queue-size", says="value|missing|need")


def test_equals_form(lab: Lab) -> None:
    """`--key=value` is the same as `--key value`."""
    target = lab.target(echo)
    relay = lab.start("start", "--port=0", "--listen=127.0.0.1", f"--target={target.address}", "--gateway=127.0.0.2", "--log-level=debug")
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_the_seeds_own_command_line(lab: Lab) -> None:
    """`relay start --port P --target T` and nothing else is a working relay."""
    target = lab.target(echo)
    relay = lab.start("start", "--port", "0", "--target", target.address)
    address = relay.addresses("both")[0]
    port = address.rpartition(":")[2]
    gateway = lab.add(connect(f"127.0.0.1:{port}"))  # loopback is the gateway's by default
    gateway.send(b"kept")
    relay.wait_stat("queued_bytes", "==", 4)
    assert relay.stats()["gateways"] == 1
    relay.allow("session-end").terminate()  # the bytes are lost


# Start-up errors


def test_port_in_use(lab: Lab) -> None:
    """A port that somebody else has: the line names the address, and a remedy; exit code 1, as it may be free soon."""
    port = str(lab.target().port)
    done = command("start", "--listen", "127.0.0.1", "--port", port, "--target", "127.0.0.1:9")
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("relay: "))
    assert f"127.0.0.1:{port}" in line
    assert "in use" in line.lower()
    assert re.search(r"another|other|--port|stop|free", line), f"no remedy: {line}"


def test_port_in_use_by_a_relay(lab: Lab) -> None:
    """A second relay on a relay's port does not take half of its connections: it does not start."""
    relay = lab.relay()
    port = relay.address("client").rpartition(":")[2]
    done = command("start", "--listen", "127.0.0.1", "--port", port, "--target", "127.0.0.1:9")
    assert done.returncode == 1
    assert "in use" in done.stderr.lower()
    client, gateway = lab.pair(relay)
    client.send(b"hello")
    assert gateway.read(5) == b"hello"


def test_unix_path_in_use(lab: Lab) -> None:
    """A Unix socket on which somebody listens is not taken away from him."""
    path = lab.folder / "taken"
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(str(path))
        holder.listen()
        done = command("start", "--listen", f"unix:{path}", "--target", "127.0.0.1:9")
        assert done.returncode == 1
        assert str(path) in done.stderr
        connect(f"unix:{path}").close()


def test_unix_path_is_a_file(lab: Lab) -> None:
    """An ordinary file where the Unix socket should be is left alone."""
    path = lab.file("precious", "do not delete")
    done = command("start", "--listen", f"unix:{path}", "--target", "127.0.0.1:9")
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert path.read_text() == "do not delete"


def test_no_such_folder(lab: Lab) -> None:
    """A Unix socket in a folder that is not there."""
    path = lab.folder / "nowhere" / "socket"
    done = command("start", "--listen", f"unix:{path}", "--target", "127.0.0.1:9")
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert re.search("no such|not exist", done.stderr, re.IGNORECASE)


def test_unix_path_too_long(lab: Lab) -> None:
    """A Unix socket's path that is longer than the kernel's 107 bytes."""
    path = str(lab.folder / ("x" * 120))
    done = command("start", "--listen", f"unix:{path}", "--target", "127.0.0.1:9")
    assert done.returncode == 2
    assert "long" in done.stderr.lower() or "107" in done.stderr


def test_address_of_another_machine() -> None:
    """--listen with an address that this machine does not have."""
    done = command("start", "--listen", "192.0.2.1", "--port", "0", "--target", "127.0.0.1:9")
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("relay: "))
    assert "192.0.2.1" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission_for_a_low_port() -> None:
    """A port below 1024 without the right to it: the line says so, and what to do."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as start:
        if int(start.read()) < 1024:
            pytest.skip("this kernel lets everybody have low ports")
    done = command("start", "--listen", "127.0.0.1", "--port", "81", "--target", "127.0.0.1:9", user=NOBODY)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("relay: "))
    assert "127.0.0.1:81" in line
    assert re.search("permission|not permitted|denied", line, re.IGNORECASE)
    assert re.search("1024|root|CAP_NET_BIND_SERVICE", line), f"no remedy: {line}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_no_permission_for_a_folder(lab: Lab) -> None:
    """A Unix socket in a folder where we may not write."""
    lab.folder.chmod(0o755)
    path = lab.folder / "socket"
    done = command("start", "--listen", f"unix:{path}", "--target", "127.0.0.1:9", user=NOBODY)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert re.search("permission|denied", done.stderr, re.IGNORECASE)


def test_nothing_is_logged_before_a_start_up_error(lab: Lab) -> None:
    """A start-up error is the only thing on stderr: no `started`, no half a log."""
    port = str(lab.target().port)
    done = command("start", "--listen", "127.0.0.1", "--port", port, "--target", "127.0.0.1:9")
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_several_mistakes_at_once() -> None:
    """Three mistakes are three lines, not one a run."""
    done = command("start", "--port", "x", "--target", "y:y", "--pairs", "z")
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if line.startswith("relay: --")]) == 3, done.stderr


def test_run_needs_a_file(lab: Lab) -> None:
    """`relay run` without -c, with a file that is not there, or with a folder: the line names what is missing."""
    done = command("run")
    assert done.returncode == 2
    assert "-c" in done.stderr
    for path in (lab.folder / "missing.toml", lab.folder):
        done = command("run", "-c", str(path))
        assert done.returncode == 2
        assert f"relay: {path}: " in done.stderr


def test_config_from_a_pipe(lab: Lab) -> None:
    """`relay check -c <(command)`: a pipe is read to its end, however slow its writer."""
    path = lab.file("fifo.toml", "")
    path.unlink()
    os.mkfifo(path)
    process = subprocess.Popen([str(BIN), "check", "-c", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with path.open("w") as writer:
        writer.write('[[relay]]\nport = 9000\n')
        writer.flush()
        writer.write('target = "10.0.0.5:9999"\n')
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0, out
    assert 'target = "10.0.0.5:9999"' in out


def test_answer_that_cannot_be_written() -> None:
    """A full disk under the answer of `relay --help` is no success."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(BIN), "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (1, "relay: standard output: No space left on device\n")


def test_second_start_disturbs_nobody(lab: Lab) -> None:
    """Starting a relay a second time on the same Unix socket fails, and the first one's place for a client stays free."""
    path = lab.file("place", "")
    path.unlink()
    relay = lab.relay(listen=[f"unix:{path}"], port=None, gateway=None, gateway_port="0", gateway_listen="127.0.0.1")
    done = command("start", "--listen", f"unix:{path}", "--target", "127.0.0.1:9")
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert relay.stats()["clients_accepted"] == 0
