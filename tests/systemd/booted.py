# SPDX-License-Identifier: Apache-2.0
"""The package in a real systemd: installed, started, reloaded, watched, activated by its socket, upgraded, purged.

Run by `make test-systemd` (its name keeps it out of the other runs): it needs root, systemd-nspawn and debootstrap, and says so where
it does not find them. One machine serves all tests; each has a job, and ports, of its own.
"""

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.machine import Machine, Unavailable
from harness.scale import ROOT
from harness.sockets import Peer, connect
from harness.until import until


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    try:
        machine = Machine()
    except Unavailable as why:
        pytest.skip(f"SKIPPED, nothing was tested in systemd: {why}")
    try:
        yield machine
    finally:
        machine.halt()


@pytest.fixture(scope="module")
def package() -> Path:
    found = sorted((ROOT / "build").glob("relay_*.deb"))
    assert len(found) == 1, f"run `make deb` first: {found}"
    return found[0]


@pytest.fixture
def box(machine: Machine, package: Path) -> Iterator[Machine]:
    """The machine with the package in it, and no jobs."""
    if not machine.path("/usr/bin/relay").exists():
        install(machine, package)
    yield machine
    machine.run("systemctl", "stop", "relay@*.socket", "relay@*.service", "relay.service", check=False)  # not all are there
    machine.run("systemctl", "reset-failed")
    for path in machine.path("/etc/relay").glob("*"):
        path.unlink()
    for path in machine.path("/etc/systemd/system").glob("relay*.d"):
        shutil.rmtree(path)
    machine.run("systemctl", "daemon-reload")


def install(machine: Machine, package: Path) -> str:
    machine.path("/root/relay.deb").write_bytes(package.read_bytes())
    return machine.run("dpkg", "-i", "/root/relay.deb")


def write_job(box: Machine, name: str, port: int, more: str = "") -> None:
    """A job whose clients come to `port` and whose gateways come to the next one."""
    text = f'[[relay]]\nlisten = "127.0.0.1"\nport = {port}\ngateway-port = {port + 1}\ntarget = "127.0.0.1:{port + 2}"\n{more}'
    box.path(f"/etc/relay/{name}.toml").write_text(text)


def drop_in(box: Machine, unit: str, text: str) -> None:
    folder = box.path(f"/etc/systemd/system/{unit}.d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.conf").write_text(text)
    box.run("systemctl", "daemon-reload")


def peer(box: Machine, address: str | int) -> Peer:
    with box.network():
        return connect(f"127.0.0.1:{address}" if isinstance(address, int) else address)


def is_served(box: Machine, port: int) -> bool:
    with contextlib.suppress(OSError):
        peer(box, port).close()
        return True
    return False


def talk(client: Peer, gateway: Peer) -> None:
    """Each has what the other says."""
    client.send(b"from the client")
    assert gateway.read(15) == b"from the client"
    gateway.send(b"from the gateway")
    assert client.read(16) == b"from the gateway"


def pair(box: Machine, port: int) -> tuple[Peer, Peer]:
    gateway = peer(box, port + 1)
    client = peer(box, port)
    talk(client, gateway)
    return client, gateway


def state(box: Machine, unit: str) -> str:
    return box.show(unit, "ActiveState")


def is_restarted(box: Machine, unit: str, before: str) -> bool:
    """It has another process than `before`, and is ready."""
    return box.show(unit, "MainPID") not in ("0", before) and state(box, unit) == "active"


# What is installed


def test_nothing_runs_unasked(box: Machine) -> None:
    """The package is installed, and nothing is started or enabled: there is no configuration yet."""
    assert box.run("systemctl", "list-units", "--no-legend", "--all", "relay*.service", "relay*.socket") == ""
    assert "enabled" not in re.findall(r"\S+", box.run("systemctl", "list-unit-files", "--no-legend", "relay*").replace("disabled enabled", ""))
    assert box.run("relay", "--version").startswith("relay ")


def test_units_are_clean(box: Machine) -> None:
    """systemd has nothing to say about the units, and finds a service well shut in."""
    units = ["relay.service", "relay@x.service", "relay@x.socket"]
    assert box.run("systemd-analyze", "verify", "--man=no", *units) == ""
    for unit in units[:2]:
        box.run("systemd-analyze", "security", "--no-pager", "--threshold=15", unit)


# Life of a job


def test_job(box: Machine) -> None:
    """`systemctl start relay@func1` returns when the job listens; bytes flow; the log is in the journal with its levels."""
    write_job(box, "func1", 9000)
    box.run("systemctl", "start", "relay@func1")
    pair(box, 9000)
    again = peer(box, 9000)
    assert "ready relays=1" in box.journal("relay@func1")
    until(lambda: "refused" in box.journal("relay@func1", "-p", "warning"), "a warning in the journal")
    assert "ready" not in box.journal("relay@func1", "-p", "warning")
    again.close()


def test_short_configuration(box: Machine) -> None:
    """A job may have its few keys in an .env file."""
    lines = ["RELAY_LISTEN=127.0.0.1", "RELAY_PORT=9100", "RELAY_GATEWAY_PORT=9101", "RELAY_TARGET=127.0.0.1:9"]
    box.path("/etc/relay/short.env").write_text("\n".join(lines))
    box.run("systemctl", "start", "relay@short")
    pair(box, 9100)


def test_all_relays_in_one_process(box: Machine) -> None:
    """relay.service runs /etc/relay/relay.toml."""
    write_job(box, "relay", 9200)
    box.run("systemctl", "start", "relay")
    pair(box, 9200)


def test_sandbox(box: Machine) -> None:
    """A job is not root, may listen on port 80, and has no other right."""
    write_job(box, "web", 80)
    box.run("systemctl", "start", "relay@web")
    pair(box, 80)
    status = dict(re.findall(r"^(\w+):\t(.*)$", box.run("cat", f"/proc/{box.show('relay@web', 'MainPID')}/status"), re.MULTILINE))
    assert "0" not in status["Uid"].split()
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {1 << 10}


def test_unix_socket_of_its_own(box: Machine) -> None:
    """A job's Unix socket is for its own user; with UMask= and Group= in a drop-in, for a group."""
    write_job(box, "func0", 9250)
    path = box.path("/etc/relay/func0.toml")
    path.write_text(path.read_text().replace('"127.0.0.1"', '"unix:/run/relay-func0/clients"').replace("port = 9250\n", 'gateway-listen = "127.0.0.1"\n'))
    box.run("systemctl", "start", "relay@func0")
    assert box.run("stat", "-c", "%a", "/run/relay-func0/clients") == "700\n"
    box.run("systemctl", "stop", "relay@func0")
    drop_in(box, "relay@func0.service", "[Service]\nUMask=0007\nGroup=daemon\n")
    box.run("systemctl", "start", "relay@func0")
    assert box.run("stat", "-c", "%a %G", "/run/relay-func0/clients") == "770 daemon\n"
    talk(connect(f"unix:/proc/{box.init}/root/run/relay-func0/clients"), peer(box, 9251))


def test_status_text(box: Machine) -> None:
    """`systemctl status` says how the relay is."""
    write_job(box, "status", 9300)
    box.run("systemctl", "start", "relay@status")
    assert re.search(r"^ +Status: \"\S", box.run("systemctl", "status", "relay@status"), re.MULTILINE)


def test_relay_status(box: Machine) -> None:
    """`relay status` finds each job by its admin socket, which is for root and the job alone."""
    for name, port in (("one", 9320), ("two", 9330)):
        write_job(box, name, port, f'name = "the-job-{name}"\n')
        box.run("systemctl", "start", f"relay@{name}")
        assert box.run("stat", "-c", "%a", f"/run/relay-{name}/admin.sock") == "600\n"
    said = box.run("relay", "status")
    assert "the-job-one" in said and "the-job-two" in said


def test_reload(box: Machine) -> None:
    """A reload takes the new configuration, and those who are connected notice nothing."""
    write_job(box, "func2", 9400)
    box.run("systemctl", "start", "relay@func2")
    process = box.show("relay@func2", "MainPID")
    client, gateway = pair(box, 9400)
    write_job(box, "func2", 9400, '[[relay]]\nlisten = "127.0.0.1"\nport = 9410\ntarget = "127.0.0.1:9"\n')
    box.run("systemctl", "reload", "relay@func2")
    until(lambda: is_served(box, 9410), "the new relay listens")
    talk(client, gateway)
    assert (box.show("relay@func2", "MainPID"), state(box, "relay@func2")) == (process, "active")


def test_stop_delivers(box: Machine) -> None:
    """A stop delivers what was accepted, and ends well."""
    write_job(box, "func3", 9500)
    box.run("systemctl", "start", "relay@func3")
    gateway = peer(box, 9501)
    gateway.send(b"the last words")
    gateway.finish()
    box.run("systemctl", "kill", "-s", "USR1", "--kill-whom=main", "relay@func3")
    until(lambda: "queued_bytes=14" in box.journal("relay@func3"), "the gateway's bytes are queued")
    box.run("systemctl", "stop", "--no-block", "relay@func3")
    until(lambda: "draining" in box.journal("relay@func3"), "it drains")
    client = peer(box, 9500)
    assert client.read_all() == b"the last words"
    client.close()
    until(lambda: state(box, "relay@func3") == "inactive", "it has stopped")
    assert box.show("relay@func3", "Result") == "success"
    assert "lost" not in box.journal("relay@func3", "-p", "warning")


def test_stop_waits_for_the_drain(box: Machine) -> None:
    """A drain-timeout that is longer than TimeoutStopSec= holds all the same: the relay asks for the time it needs."""
    drop_in(box, "relay@func11.service", "[Service]\nTimeoutStopSec=1\n")
    write_job(box, "func11", 9550)
    path = box.path("/etc/relay/func11.toml")
    path.write_text('drain-timeout = "1m"\n' + path.read_text())
    box.run("systemctl", "start", "relay@func11")
    gateway = peer(box, 9551)
    gateway.send(b"the last words")
    gateway.finish()
    box.run("systemctl", "stop", "--no-block", "relay@func11")
    until(lambda: "draining" in box.journal("relay@func11"), "it drains")
    assert gateway.silent(3)
    client = peer(box, 9550)
    assert client.read_all() == b"the last words"
    client.close()
    until(lambda: state(box, "relay@func11") == "inactive", "it has stopped")
    assert box.show("relay@func11", "Result") == "success"


def test_port_that_is_not_to_be_had_yet(box: Machine) -> None:
    """A job whose port somebody has is started again until it has it."""
    write_job(box, "func12", 9620)
    with box.network(), socket.create_server(("127.0.0.1", 9620)):
        box.run("systemctl", "start", "relay@func12", check=False)
        until(lambda: int(box.show("relay@func12", "NRestarts")) >= 2, "two more starts", 20)
    until(lambda: state(box, "relay@func12") == "active", "it has its port", 20)
    pair(box, 9620)


def test_bad_configuration(box: Machine) -> None:
    """A fault in the file fails the start once, with the file, the line and the remedy in the journal."""
    write_job(box, "bad", 9600, "pairz = 2\n")
    assert "Job for relay@bad.service failed" in box.run("systemctl", "start", "relay@bad", check=False)
    assert state(box, "relay@bad") == "failed"
    assert (box.show("relay@bad", "ExecMainStatus"), box.show("relay@bad", "NRestarts")) == ("2", "0")
    assert 'relay: /etc/relay/bad.toml:6: unknown key "pairz" in [[relay]]; did you mean "pairs"?' in box.journal("relay@bad")


def test_no_configuration(box: Machine) -> None:
    """A job without a file says which files it would have taken."""
    box.run("systemctl", "start", "relay@nobody", check=False)
    assert state(box, "relay@nobody") == "failed"
    assert "nor is there /etc/relay/nobody.toml or /etc/relay/nobody.env" in box.journal("relay@nobody")


def test_killed(box: Machine) -> None:
    """A relay that dies is there again a second later, however often."""
    write_job(box, "func4", 9700)
    box.run("systemctl", "start", "relay@func4")
    for times in range(1, 8):  # systemd by itself would give up after the fifth
        process = box.show("relay@func4", "MainPID")
        box.run("systemctl", "kill", "-s", "KILL", "relay@func4")
        until(lambda process=process: is_restarted(box, "relay@func4", process), "it is restarted")
        assert box.show("relay@func4", "NRestarts") == str(times)
    pair(box, 9700)


def test_watchdog(box: Machine) -> None:
    """A relay that hangs is started again; one that works, though nothing happens, is left alone."""
    drop_in(box, "relay@func5.service", "[Service]\nWatchdogSec=2\n")
    write_job(box, "func5", 9800)
    box.run("systemctl", "start", "relay@func5")
    first = box.show("relay@func5", "MainPID")
    pings: set[str] = set()

    def three_pings() -> bool:
        pings.add(box.show("relay@func5", "WatchdogTimestampMonotonic"))
        return len(pings) > 3

    until(three_pings, "it tells the watchdog that it lives")
    assert (box.show("relay@func5", "MainPID"), box.show("relay@func5", "NRestarts")) == (first, "0")
    box.run("systemctl", "kill", "-s", "STOP", "--kill-whom=main", "relay@func5")
    until(lambda: is_restarted(box, "relay@func5", first), "it is restarted", 20)
    assert "watchdog timeout" in box.journal("relay@func5").lower()
    pair(box, 9800)


# Sockets that systemd holds


def test_socket_activation(box: Machine) -> None:
    """The first connection starts the job and is served; while the job restarts nobody is refused."""
    drop_in(box, "relay@func6.socket", "[Socket]\nListenStream=\nListenStream=127.0.0.1:9900\nListenStream=127.0.0.1:9901\n")
    write_job(box, "func6", 9900)
    box.run("systemctl", "start", "relay@func6.socket")
    assert state(box, "relay@func6.service") == "inactive"
    client, gateway = pair(box, 9900)
    assert state(box, "relay@func6.service") == "active"
    client.close()
    gateway.close()
    box.run("systemctl", "kill", "-s", "KILL", "relay@func6.service")
    pair(box, 9900)
    assert "Address already in use" not in box.journal("relay@func6.service")


def test_unix_socket_activation(box: Machine) -> None:
    """Without a drop-in systemd listens on /run/relay-JOB.sock, which those may enter whom SocketGroup= names."""
    write_job(box, "func7", 9950)
    path = box.path("/etc/relay/func7.toml")
    path.write_text(path.read_text().replace('"127.0.0.1"\nport = 9950', '"unix:/run/relay-func7.sock"\ngateway-listen = "127.0.0.1"'))
    box.run("systemctl", "start", "relay@func7.socket")
    assert box.run("stat", "-c", "%a %U", "/run/relay-func7.sock") == "660 root\n"
    client = connect(f"unix:/proc/{box.init}/root/run/relay-func7.sock")
    until(lambda: state(box, "relay@func7.service") == "active", "the job is started")
    talk(client, peer(box, 9951))
    box.run("systemctl", "stop", "relay@func7.socket")
    assert not box.run("sh", "-c", "ls /run/relay-func7.sock 2>/dev/null", check=False)


def test_socket_that_nobody_uses(box: Machine) -> None:
    """A socket unit that is not about this job's places is told of in the journal, and the job runs all the same."""
    write_job(box, "func10", 9980)
    box.run("systemctl", "start", "relay@func10.socket", "relay@func10.service")
    pair(box, 9980)
    assert "/run/relay-func10.sock" in box.journal("relay@func10.service", "-p", "warning")


# Life of the package


def newer(package: Path, folder: Path) -> Path:
    """The same package with a later version."""
    subprocess.run(["dpkg-deb", "-R", str(package), str(folder / "tree")], check=True)
    control = folder / "tree" / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*", "Version: 99.0-1", control.read_text(), flags=re.MULTILINE))
    subprocess.run(["dpkg-deb", "-b", str(folder / "tree"), str(folder / "newer.deb")], check=True, capture_output=True)
    return folder / "newer.deb"


def test_upgrade(box: Machine, package: Path, tmp_path: Path) -> None:
    """An upgrade leaves configurations as they are and running jobs running, and says which of them are still the old program."""
    write_job(box, "func8", 9960)
    box.run("systemctl", "enable", "--now", "relay@func8")
    before = box.path("/etc/relay/func8.toml").read_text()
    process = box.show("relay@func8", "MainPID")
    client, gateway = pair(box, 9960)
    said = install(box, newer(package, tmp_path))
    assert "relay@func8.service goes on with the old program" in said
    assert "Version: 99.0-1" in box.run("dpkg", "-s", "relay")
    talk(client, gateway)
    assert box.show("relay@func8", "MainPID") == process
    assert box.path("/etc/relay/func8.toml").read_text() == before
    client.close()
    gateway.close()
    box.run("systemctl", "restart", "relay@func8")
    pair(box, 9960)
    box.run("systemctl", "disable", "--now", "relay@func8")
    install(box, package)


def test_remove_and_purge(box: Machine) -> None:
    """Removal ends the jobs in order; a purge leaves nothing but what somebody has written into /etc/relay."""
    write_job(box, "func9", 9970)
    box.run("systemctl", "enable", "--now", "relay@func9")
    client, gateway = pair(box, 9970)
    client.finish()
    gateway.finish()
    box.run("dpkg", "--remove", "relay")
    assert "stopped" in box.journal("relay@func9")
    assert not is_served(box, 9970)
    box.run("dpkg", "--purge", "relay")
    left = box.run("find", "/etc", "/usr", "/var", "/run", "-xdev", "-iname", "*relay*").split()
    left = [path for path in left if not re.match(r"/(usr/share/(doc|perl|zoneinfo)|var/log/journal)", path)]
    assert left == ["/etc/relay"]
    assert [path.name for path in box.path("/etc/relay").iterdir()] == ["func9.toml"]
    assert box.run("systemctl", "list-units", "--all", "--no-legend", "relay*.service", "relay*.socket") == ""
