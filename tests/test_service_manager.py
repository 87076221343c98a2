# SPDX-License-Identifier: Apache-2.0
"""The service manager: what it is told, the watchdog it keeps, and sockets that it has opened for the relay."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from harness.lab import GATEWAY, Lab
from harness.peers.target import unused_path
from harness.relays import HEAD, change, pair, places, start, table
from harness.scale import BIN, ROOT, seconds
from harness.until import until


def test_service_manager_is_told(lab: Lab) -> None:
    """systemd hears RELOADING=1 with its time, then READY=1, and one line of status; also after a reload that failed."""
    relay = start(lab, table("a"), table("b")).allow("config-fault", "reload-failed")
    assert "STATUS=2 relays: clients 0, gateways 0, waiting 0, pairs 0, queued_bytes 0" in relay.notes
    for good in (True, False):
        mark = len(relay.notes)
        lab.file("relay.toml", HEAD + (table("a") if good else "nonsense"))
        begin = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        relay.signal(signal.SIGHUP)
        relay.wait_note("READY=1", after=mark)
        notes = relay.notes[mark:]
        assert notes.index("RELOADING=1") < notes.index("READY=1")
        (when,) = [int(note.removeprefix("MONOTONIC_USEC=")) for note in notes if note.startswith("MONOTONIC_USEC=")]
        assert begin <= when <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
        until(lambda: [note for note in relay.notes[mark:] if note.startswith("STATUS=")][-1].startswith("STATUS=1 relay: "), "the new status")


def test_busy_service_manager_is_told_later(lab: Lab) -> None:
    """A manager whose queue is full hears READY=1 when it has read what was in it, and at the drain how long that may take."""
    path = unused_path(lab.folder, "manager")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        manager.bind(str(path))
        manager.settimeout(seconds(20))
        other.setblocking(False)
        waiting = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"of somebody else", str(path))
                waiting += 1
        words = [str(BIN), "start", "--listen", "127.0.0.1", "--port", "0", "--target", "127.0.0.1:9", "--drain-timeout", "1m"]
        relay = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "NOTIFY_SOCKET": str(path)})
        assert relay.stderr
        for line in relay.stderr:
            if " ready " in line:
                break
        for _ in range(waiting):
            assert manager.recv(4096) == b"of somebody else"
        assert manager.recv(4096).startswith(b"READY=1\n")
        relay.send_signal(signal.SIGTERM)
        assert manager.recv(4096).startswith(b"STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000\n")
        relay.communicate(timeout=seconds(20))
        assert relay.returncode == 0


def test_watchdog(lab: Lab) -> None:
    """Under a watchdog the relay gives a sign of life twice in each period, and none that is not asked for."""
    relay = lab.relay(env={"WATCHDOG_USEC": "200000"})
    begin = time.monotonic()
    until(lambda: relay.notes.count("WATCHDOG=1") >= 6, "six signs of life")
    took = time.monotonic() - begin
    assert 0.3 < took < seconds(2), took
    assert not relay.process.poll()
    other = lab.relay(env={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())})
    quiet = lab.relay()
    relay.admin("GET", "/wait?stat=clients&value=1&timeout=500ms")
    assert "WATCHDOG=1" not in other.notes + quiet.notes


def test_watchdog_notices_a_hang(lab: Lab) -> None:
    """A relay that does not turn any more gives no sign."""
    relay = lab.relay(env={"WATCHDOG_USEC": "100000"})
    relay.wait_note("WATCHDOG=1")
    relay.signal(signal.SIGSTOP)
    other = lab.relay()
    mark = len(relay.notes)
    other.admin("GET", "/wait?stat=clients&value=1&timeout=400ms")
    assert len(relay.notes) <= mark + 1  # one that was under way
    relay.signal(signal.SIGCONT)
    relay.wait_note("WATCHDOG=1", after=len(relay.notes))


# Sockets that were there before


def tcp_socket() -> tuple[socket.socket, str]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(50)
    return sock, f"127.0.0.1:{sock.getsockname()[1]}"


def test_sockets_of_the_service_manager(lab: Lab) -> None:
    """Sockets that systemd has opened are taken by their addresses; who connected before the relay ran is served."""
    sock, place = tcp_socket()
    path = unused_path(lab.folder, "door")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    early = lab.at(place, GATEWAY)
    early.send(b"early")
    relay = start(lab, table("a", port=None, listen=place), table("b", port=None, listen=f"unix:{path}", gateway="unix"), listening=[sock, unix])
    sock.close(), unix.close()
    assert relay.wait_log("accepted", peer=early.local)["relay"] == "a"
    assert lab.at(place).read(5) == b"early"
    assert places(relay) == {"a": [place], "b": [f"unix:{path}"]}
    inode = path.stat().st_ino
    change(lab, relay, table("c", port=None, listen=place), table("b", port=None, listen=f"unix:{path}", gateway="unix", pairs=2))
    assert places(relay) == {"c": [place], "b": [f"unix:{path}"]}
    assert path.stat().st_ino == inode
    lab.at(f"unix:{path}")
    assert relay.wait_log("accepted", relay="b")
    relay.expect_leftovers()


def test_unused_sockets_are_told(lab: Lab) -> None:
    """A socket that no relay wants is named, kept for a reload that wants it, and its file is not removed."""
    sock, place = tcp_socket()
    path = unused_path(lab.folder, "door")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    relay = start(lab, table("a"), listening=[sock, unix]).allow("socket-unused")
    sock.close(), unix.close()
    relay.wait_log("socket-unused", count=2)
    assert {line["addr"] for line in relay.find("socket-unused")} == {place, f"unix:{path}"}
    early = lab.at(place, GATEWAY)
    change(lab, relay, table("a"), table("b", port=None, listen=place))
    assert relay.wait_log("accepted", peer=early.local)["relay"] == "b"
    lab.close_peers()
    relay.signal(signal.SIGTERM)
    relay.check_exit()
    assert path.exists()


def test_sockets_that_are_of_no_use(lab: Lab) -> None:
    """Datagram sockets, connected ones and plain files are refused by name; the relay works without them."""
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one, two = socket.socketpair()
    relay = start(lab, table("a"), listening=[datagram, one]).allow("socket-refused")
    assert [line["fd"] for line in (relay.wait_log("socket-refused"), relay.wait_log("socket-refused", count=2))] == [3, 4]
    for sock in (datagram, one, two):
        sock.close()
    pair(lab, relay, "a")


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_sockets_that_are_not_there(lab: Lab, count: int) -> None:
    """LISTEN_FDS speaks of descriptors that nobody has passed: each is refused by name, and the relay takes none of its own for them."""
    path, log = lab.file("relay.toml", table("a")), lab.folder / "log"
    script = f'exec 3>&- 4>&- 5>&- 6>&-; export LISTEN_FDS={count} LISTEN_PID=$$; exec "$0" run -c "$1" --admin none'
    with log.open("w") as stderr:
        process = subprocess.Popen(["bash", "-c", script, str(BIN), str(path)], stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        until(lambda: " ready " in log.read_text() or process.poll() is not None, "ready")
        process.terminate()
        assert process.wait(seconds(10)) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    refused = re.findall(r"socket-refused fd=(\d+) error=", log.read_text())
    assert refused == [str(3 + i) for i in range(count)]


def test_sockets_for_another_process(lab: Lab) -> None:
    """LISTEN_PID of somebody else: the descriptors are not meant, and the variables change nothing."""
    for env in ({"LISTEN_FDS": "2", "LISTEN_PID": "1"}, {"LISTEN_FDS": "2"}, {"LISTEN_FDS": "x", "LISTEN_PID": "y"}):
        relay = start(lab, table("a"), env=env)
        assert not relay.find("socket-unused") and not relay.find("socket-refused")
        pair(lab, relay, "a")


def test_admin_socket_of_the_service_manager(lab: Lab) -> None:
    """The admin socket, too, may be one that the service manager has opened."""
    path = unused_path(lab.folder, "admin")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    relay = start(lab, table("a"), words=("--admin", f"unix:{path}"), listening=[unix])
    unix.close()
    assert relay.status()["pid"] == relay.pid
    assert not relay.find("socket-unused")


def test_keys_of_the_manual_need_a_restart() -> None:
    """relay.toml(5) names the keys that need a restart, and the help marks just these."""
    from harness.process import command

    page = (ROOT / "man" / "relay.toml.5").read_text()
    listed = set(re.findall(r"^\.Ic (\S+)", page.partition("\n.Sh RELOAD")[2].partition("\n.Sh ")[0].partition("restart")[2].partition("All others")[0], re.MULTILINE))
    table_text = command("help", "run").stdout.partition("For the whole process:\n")[2].partition("\n\n")[0]
    options = re.split(r"^  --", table_text, flags=re.MULTILINE)[1:]
    marked = {option.split()[0] for option in options if "needs a restart" in " ".join(option.split())}
    assert marked and listed == marked
