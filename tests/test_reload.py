# SPDX-License-Identifier: Apache-2.0
"""SIGHUP and POST /reload: the file is read again; who stays is not touched, and a bad file changes nothing."""

import os
import random
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from harness.admin import ask
from harness.lab import CLIENT, GATEWAY, Lab
from harness.peers.target import echo, unused_path
from harness.process import Relay
from harness.relays import HEAD, change, counts, pair, places, start, table
from harness.scale import SLOW, seconds, volume
from harness.sockets import Peer, connect
from harness.stream import Stream
from harness.task import Task
from harness.until import until

def talk(client: Peer, gateway: Peer) -> None:
    """Bytes both ways."""
    client.send(b"question")
    assert gateway.read(8) == b"question"
    gateway.send(b"answer")
    assert client.read(6) == b"answer"


def hear_from(lab: Lab, relay: Relay, place: str, name: str) -> Peer:
    """A gateway that comes to `place` is let in by the relay `name`."""
    mark = relay.mark()
    gateway = lab.at(place, GATEWAY)
    assert relay.wait_log("accepted", after=mark, peer=gateway.local)["relay"] == name
    return gateway


# Who stays


def test_kept_relay_is_not_touched(lab: Lab) -> None:
    """While relays beside it come, change and go, a transfer through a relay that stays goes on, in the same session."""
    total = volume(60_000_000)
    stream, back = Stream("there"), Stream("back")
    port = lab.port()
    relay = start(lab, table("stays"), table("changes"), table("goes"))
    before = places(relay)["stays"]
    client, gateway = pair(lab, relay, "stays")
    writers = [Task(gateway.send_stream, stream, total), Task(client.send_stream, back, total)]
    readers = [Task(client.read_stream, stream, total), Task(gateway.read_stream, back, total)]
    assert counts(change(lab, relay, table("stays"), table("changes", pairs=3), table("comes", port=port))) == {"kept": 1, "changed": 1, "added": 1, "removed": 1}
    for _ in range(10):
        assert counts(change(lab, relay, table("comes", port=port), table("stays"))) in ({"kept": 2, "removed": 1}, {"kept": 2})
    assert counts(change(lab, relay, table("stays"), table("changes"))) == {"kept": 1, "added": 1, "removed": 1}
    for task in writers + readers:
        task.result(60)
    (session,) = relay.relay_status("stays")["connections"]
    assert session["session"] == 1
    assert places(relay)["stays"] == before
    talk(client, gateway)
    assert not relay.find("session-end", relay="stays")


def test_nothing_changed(lab: Lab) -> None:
    """The same file again is no change: nobody is closed, no socket is opened."""
    relay = start(lab, table("a"), table("b", pairs=4))
    pairs = [pair(lab, relay, name) for name in ("a", "b")]
    sockets, mark = relay.sockets(), relay.mark()
    for _ in range(5):
        assert counts(change(lab, relay, table("a"), table("b", pairs=4))) == {"kept": 2}
    assert counts(change(lab, relay, "# with a remark\n" + table("b", pairs=4), "\n\n" + table("a"))) == {"kept": 2}
    assert not [line for line in relay.lines[mark:] if line.event in ("listening", "not-listening", "session-end")]
    assert relay.sockets() == sockets
    for one in pairs:
        talk(*one)


def test_signal_and_request_do_the_same(lab: Lab) -> None:
    """SIGHUP and POST /reload: `reloading` and `reloaded` in the log, counted in /status."""
    relay = start(lab, table("a"))
    lab.file("relay.toml", HEAD + table("a") + table("b"))
    relay.signal(signal.SIGHUP)
    line = relay.wait_log("reloaded")
    assert (line["relays"], line["kept"], line["added"]) == (2, 1, 1)
    assert relay.find("reloading")[0]["file"] == str(lab.folder / "relay.toml")
    assert relay.status()["reloads"] == 1
    assert list(places(relay)) == ["a", "b"]
    assert relay.admin("GET", "/wait?stat=reloads&value=1").status == 200
    change(lab, relay, table("b"))
    assert relay.status()["reloads"] == 2
    assert list(places(relay)) == ["b"]


# What changes


def test_limits_change(lab: Lab) -> None:
    """A relay that had room for one pair has room for more, and for fewer, without anybody being closed."""
    relay = start(lab, table("a")).allow("refused")
    one = pair(lab, relay, "a")
    place = places(relay)["a"][0]
    assert lab.at(place, GATEWAY).gone() in ("eof", "reset")
    assert counts(change(lab, relay, table("a", pairs=2))) == {"changed": 1}
    assert places(relay)["a"] == [place]
    two = pair(lab, relay, "a")
    change(lab, relay, table("a", pairs=1))
    talk(*one), talk(*two)
    assert lab.at(place, GATEWAY).gone() in ("eof", "reset")
    assert relay.stats("a")["pairs"] == 2
    two[0].reset()
    relay.wait_stat("pairs", "==", 1, relay="a")
    talk(*one)


def test_target_changes(lab: Lab) -> None:
    """After a reload new clients are led to the new target; who is connected stays with the old one."""
    old, new = lab.target(), lab.target()
    relay = start(lab, table("a", target=old, pairs=3))
    place = places(relay)["a"][0]
    first = lab.at(place)
    first_target = old.accept()
    first.send(b"x")
    assert first_target.read(1) == b"x"
    change(lab, relay, table("a", target=new, pairs=3))
    second = lab.at(place)
    second_target = new.accept()
    second.send(b"y")
    assert second_target.read(1) == b"y"
    first.send(b"still")
    assert first_target.read(5) == b"still"
    assert old.connections == 1


def test_client_that_waits_for_its_dial_gets_the_new_target(lab: Lab) -> None:
    """A client whose target was down and is replaced in the file reaches the new one, with what it had sent."""
    relay = start(lab, table("a", target=lab.refusing(), retry_min="50ms", retry_max="100ms")).allow("dial-failed")
    client = lab.at(places(relay)["a"][0])
    client.send(b"at last")
    relay.wait_log("dial-failed")
    new = lab.target()
    change(lab, relay, table("a", target=new, retry_min="50ms", retry_max="100ms"))
    assert new.accept().read(7) == b"at last"


def test_roles_change(lab: Lab) -> None:
    """Who is a gateway and who may be a client is what the file says now."""
    relay = start(lab, table("a", pairs=4)).allow("refused")
    place = places(relay)["a"][0]
    hear_from(lab, relay, place, "a")
    assert relay.stats()["gateways"] == 1
    change(lab, relay, table("a", pairs=4, gateway="127.0.0.7", client="127.0.0.8"))
    assert lab.at(place, GATEWAY).gone() in ("eof", "reset")
    relay.wait_log("refused", role="client", reason="client-not-allowed")
    lab.at(place, "127.0.0.7")
    relay.wait_stat("gateways", "==", 2)
    lab.at(place, "127.0.0.8")
    relay.wait_stat("pairs", "==", 1)


def test_time_outs_act_on_sessions_that_run(lab: Lab) -> None:
    """A time-out that is new, shorter or gone holds for those who are there, too."""
    relay = start(lab, table("a", pairs=2, idle_timeout="1h"), table("b", pairs=2, idle_timeout="700ms")).allow("session-end")
    client, gateway = pair(lab, relay, "a")
    other = pair(lab, relay, "b")
    change(lab, relay, table("a", pairs=2, idle_timeout="300ms"), table("b", pairs=2))
    assert relay.wait_log("session-end", relay="a")["reason"] == "idle-timeout"
    assert client.gone() and gateway.gone()
    waiting = hear_from(lab, relay, places(relay)["a"][0], "a")
    waiting.send(b"x")
    relay.wait_stat("queued_bytes", "==", 1, relay="a")
    change(lab, relay, table("a", pairs=2, wait_timeout="200ms"), table("b", pairs=2))
    assert relay.wait_log("session-end", relay="a", count=2)["reason"] == "wait-timeout"
    talk(*other)
    assert not relay.find("session-end", relay="b")


def test_socket_options_change(lab: Lab) -> None:
    """Keepalive and Nagle's algorithm are, for connections from then on, what the file says."""
    relay = start(lab, table("a", pairs=3, keepalive="60s", nodelay="true"))
    place = places(relay)["a"][0]
    first = hear_from(lab, relay, place, "a")
    change(lab, relay, table("a", pairs=3, keepalive="5s", nodelay="false", user_timeout="9s"))
    second = hear_from(lab, relay, place, "a")
    change(lab, relay, table("a", pairs=3, keepalive="0"))
    third = hear_from(lab, relay, place, "a")
    found = [
        [relay.option_of(peer, socket.IPPROTO_TCP, option) for option in (socket.TCP_NODELAY, socket.TCP_USER_TIMEOUT)]
        + [relay.option_of(peer, socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
        for peer in (first, second, third)
    ]
    assert found == [[1, 0, 1], [0, 9000, 1], [1, 0, 0]]
    assert [relay.option_of(peer, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) for peer in (first, second)] == [60, 5]


def test_queue_size_changes(lab: Lab) -> None:
    """A new bound holds for gateways that come from then on; what waits already is not lost."""
    stream = Stream("g")
    relay = start(lab, table("a", pairs=2, queue_size="1MiB"))
    place = places(relay)["a"][0]
    first = hear_from(lab, relay, place, "a")
    first.send_stream(stream, 500_000)
    relay.wait_stat("queued_bytes", "==", 500_000)
    change(lab, relay, table("a", pairs=2, queue_size="64KiB"))
    assert relay.stats()["queued_bytes"] == 500_000
    second = hear_from(lab, relay, place, "a")
    second.fill(stream, 1 << 30)
    relay.wait_log("queue-full", session=2)
    assert relay.stats()["queued_bytes"] == 500_000 + 65_536
    client = lab.at(place)
    client.read_stream(stream, 500_000)
    relay.expect_leftovers().allow("session-end")
    relay.terminate()


def test_log_changes(lab: Lab) -> None:
    """Level and format of the log are the file's, and the level that was set by hand is gone."""
    relay = start(lab, table("a"), head='log-level = "info"\n')
    mark = relay.mark()
    change(lab, relay, table("a"), head='log-level = "debug"\nlog-format = "json"\n')
    assert relay.find("reloaded")[0].raw.startswith("{")
    assert relay.admin("POST", "/log-level?level=error").status == 200
    change(lab, relay, table("a"), head='log-level = "debug"\n')
    hear_from(lab, relay, places(relay)["a"][0], "a")
    assert not relay.lines[-1].raw.startswith("{")
    assert mark < len(relay.lines)


def test_drain_timeout_changes(lab: Lab) -> None:
    """How long a drain may take is what the file says when it begins."""
    relay = start(lab, table("a"), head=HEAD + 'drain-timeout = "1h"\n').allow("session-end")
    client, gateway = pair(lab, relay, "a")
    gateway.fill(Stream("g"), 1 << 30)
    change(lab, relay, table("a"), head=HEAD + 'drain-timeout = "300ms"\n')
    relay.signal(signal.SIGTERM)
    relay.check_exit()
    assert relay.find("session-end")[0]["reason"] == "drain-timeout"


def test_options_of_the_command_line_win(lab: Lab) -> None:
    """What was said on the command line stays, whatever the file says then."""
    relay = start(lab, table("a"), head='log-level = "error"\n', words=("--log-level", "debug", "--drain-timeout", "7s"))
    change(lab, relay, table("a"), head='log-level = "warn"\ndrain-timeout = "1h"\n')
    assert relay.status()["log_level"] == "debug"
    relay.signal(signal.SIGTERM)
    assert relay.wait_log("draining")["timeout_ms"] == 7000
    relay.check_exit()


def test_keys_that_need_a_restart(lab: Lab) -> None:
    """A key that needs a restart is named when it changes, each time that it is not what is in force, and stays as it was."""
    relay = start(lab, table("a"), head=HEAD + 'admin = "auto"\n').allow("needs-restart")
    token = lab.file("token", "secret")
    other = HEAD + f'admin = "unix:{lab.folder}/other.sock"\nadmin-token-file = "{token}"\nadmin-connections = 3\ndns = "127.0.0.1:1"\n'
    for count in (1, 2):
        change(lab, relay, table("a"), head=other)
        for key in ("admin", "admin-token-file", "admin-connections", "dns"):
            relay.wait_log("needs-restart", key=key, count=count)
    mark = relay.mark()
    change(lab, relay, table("a"), head=HEAD)  # as it was: nothing to say
    assert not relay.find("needs-restart", after=mark)
    assert relay.status()["reloads"] == 3
    assert not (lab.folder / "other.sock").exists()


# Where it listens


def test_port_changes(lab: Lab) -> None:
    """The old port is closed, the new one is open, and who came by the old one goes on."""
    old, new = lab.port(), lab.port()
    relay = start(lab, table("a", port=old, pairs=2))
    one = pair(lab, relay, "a")
    change(lab, relay, table("a", port=new, pairs=2))
    assert places(relay)["a"] == [f"127.0.0.1:{new}"]
    assert relay.find("not-listening")[0]["addr"] == f"127.0.0.1:{old}"
    with pytest.raises(ConnectionRefusedError):
        connect(f"127.0.0.1:{old}")
    two = pair(lab, relay, "a")
    talk(*one), talk(*two)
    assert [line["session"] for line in relay.find("paired")] == [1, 2]


def test_places_come_and_go(lab: Lab) -> None:
    """A relay with several places keeps those that stay, with those who wait in front of them."""
    ports = [lab.port() for _ in range(3)]
    listen = [f"127.0.0.1:{port}" for port in ports]
    relay = start(lab, table("a", port=None, listen=listen[:2], pairs=9))
    waiting = hear_from(lab, relay, listen[1], "a")
    waiting.send(b"kept")
    relay.wait_stat("queued_bytes", "==", 4)
    change(lab, relay, table("a", port=None, listen=listen[1:], pairs=9))
    assert sorted(places(relay)["a"]) == sorted(listen[1:])
    assert relay.find("not-listening")[0]["addr"] == listen[0]
    assert lab.at(listen[2]).read(4) == b"kept"
    with pytest.raises(ConnectionRefusedError):
        connect(listen[0])
    assert len(relay.find("listening")) == 3


def test_gateways_get_a_port_of_their_own(lab: Lab) -> None:
    """The same place may change its role: all who come there are then clients."""
    port, own = lab.port(), lab.port()
    relay = start(lab, table("a", port=port, pairs=3, target=lab.target(echo)))
    hear_from(lab, relay, f"127.0.0.1:{port}", "a")
    change(lab, relay, table("a", port=port, gateway=None, gateway_port=own, pairs=3, target=lab.target(echo)))
    assert sorted((place["addr"], place["role"]) for place in relay.relay_status("a")["listening"]) == sorted(
        [(f"127.0.0.1:{port}", "client"), (f"127.0.0.1:{own}", "gateway")]
    )
    mark = relay.mark()
    peer = lab.at(f"127.0.0.1:{port}", GATEWAY)
    assert relay.wait_log("accepted", after=mark, peer=peer.local)["role"] == "client"
    gateway = lab.at(f"127.0.0.1:{own}", CLIENT)
    assert relay.wait_log("accepted", after=mark, peer=gateway.local)["role"] == "gateway"


def test_two_relays_swap_their_ports(lab: Lab) -> None:
    """Each port belongs to the other relay then; nobody is refused, and who is connected stays where he is."""
    one, two = lab.port(), lab.port()
    known = {"pairs": 2, "client": CLIENT}  # whoever knocks is turned away
    relay = start(lab, table("a", port=one, **known), table("b", port=two, **known)).allow("refused")
    pairs = [pair(lab, relay, "a"), pair(lab, relay, "b")]
    knocker = Knocker(f"127.0.0.1:{one}", f"127.0.0.1:{two}")
    for i in range(10):
        ports = (two, one) if i % 2 == 0 else (one, two)
        assert counts(change(lab, relay, table("a", port=ports[0], **known), table("b", port=ports[1], **known))) == {"changed": 2}
        assert places(relay) == {"a": [f"127.0.0.1:{ports[0]}"], "b": [f"127.0.0.1:{ports[1]}"]}
    assert knocker.stop() > 20
    for one_pair in pairs:
        talk(*one_pair)


class Knocker:
    """Connects again and again, and wants never to be refused."""

    def __init__(self, *addresses: str) -> None:
        self._stop = threading.Event()
        self.count = 0
        self._task = Task(self._knock, addresses)

    def _knock(self, addresses: tuple[str, ...]) -> None:
        while not self._stop.is_set():
            for address in addresses:
                try:
                    connect(address, "127.0.0.9").reset()  # raises if it is refused
                    self.count += 1
                except BlockingIOError:
                    pass  # a Unix socket's backlog is full for a moment: TCP would have held us back

    def stop(self) -> int:
        self._stop.set()
        self._task.result()
        return self.count


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_renamed_relay_takes_the_port_over(lab: Lab, unix: bool) -> None:
    """In 50 reloads, each with the relay under another name, nobody who connects is refused."""
    address = f"unix:{unused_path(lab.folder, 'door')}" if unix else f"127.0.0.1:{lab.port()}"
    listen = {"port": None, "listen": address, "client": CLIENT}  # whoever knocks is turned away
    relay = start(lab, table("r0", **listen), head="").allow("refused")
    knocker = Knocker(address)
    for i in range(1, 51):
        assert counts(change(lab, relay, table(f"r{i}", **listen), head="")) == {"added": 1, "removed": 1}
    assert knocker.stop() > 50
    assert places(relay) == {"r50": [address]}
    until(lambda: len(relay.status()["relays"]) == 1, "the end of those taken out")


def test_connection_in_the_backlog_is_handed_over(lab: Lab) -> None:
    """Who has connected and was not yet accepted when the port changed hands is served by the new relay."""
    port = lab.port()
    relay = start(lab, table("a", port=port))
    lab.file("relay.toml", HEAD + table("b", port=port))
    relay.signal(signal.SIGSTOP)
    peers = [lab.at(f"127.0.0.1:{port}", GATEWAY)]
    relay.signal(signal.SIGHUP)
    relay.signal(signal.SIGCONT)
    relay.wait_log("reloaded")
    accepted = relay.wait_log("accepted", peer=peers[0].local)
    assert accepted["relay"] in ("a", "b")


def test_unix_socket_is_handed_over_and_given_up(lab: Lab) -> None:
    """The file of a Unix socket stays while it is handed from relay to relay, and goes when the last one gives it up."""
    path = unused_path(lab.folder, "door")
    where = {"port": None, "listen": f"unix:{path}", "gateway": "unix", "client": None}
    relay = start(lab, table("a", **where))
    inode = path.stat().st_ino
    change(lab, relay, table("b", **where))
    assert path.stat().st_ino == inode
    gateway = lab.at(f"unix:{path}")
    assert relay.wait_log("accepted")["relay"] == "b"
    other = unused_path(lab.folder, "other")
    change(lab, relay, table("b", **{**where, "listen": f"unix:{other}"}))
    assert not path.exists() and other.exists()
    gateway.send(b"x")
    relay.wait_stat("queued_bytes", "==", 1)
    change(lab, relay, table("c"))
    relay.expect_leftovers().allow("session-end").terminate()
    assert not other.exists()


# Who goes


def test_removed_relay_delivers(lab: Lab) -> None:
    """A relay that is taken out lets its pairs end, and delivers what a gateway has left, to a client that comes in time."""
    stream = Stream("g")
    relay = start(lab, table("a", pairs=2), table("b"))
    place = places(relay)["a"][0]
    client, gateway = pair(lab, relay, "a")
    waiting = hear_from(lab, relay, place, "a")
    waiting.send_stream(stream, 300_000)
    waiting.finish()
    relay.wait_stat("queued_bytes", "==", 300_000, relay="a")
    assert counts(change(lab, relay, table("b"))) == {"kept": 1, "removed": 1}
    talk(client, gateway)
    assert [one["name"] for one in relay.status()["relays"] if one["removed"]] == ["a"]
    late = lab.at(place)
    late.read_stream(stream, 300_000)
    assert late.read_all() == b""
    late.finish(), client.finish(), gateway.finish()
    until(lambda: [one["name"] for one in relay.status()["relays"]] == ["b"], "the end of the relay")
    with pytest.raises(ConnectionRefusedError):
        connect(place)
    assert relay.wait_log("stats", relay="a")["to_client_bytes"] >= 300_000  # its last statistics
    relay.check_at_rest()


def test_removed_relay_ends_in_time(lab: Lab) -> None:
    """What a removed relay cannot deliver within drain-timeout is given up, and said."""
    head = HEAD + 'drain-timeout = "400ms"\n'
    relay = start(lab, table("a"), table("b"), head=head).allow("session-end")
    gateway = hear_from(lab, relay, places(relay)["a"][0], "a")
    gateway.send(b"anybody?")
    relay.wait_stat("queued_bytes", "==", 8, relay="a")
    begin = time.monotonic()
    change(lab, relay, table("b"), head=head)
    end = relay.wait_log("session-end")
    assert (end["reason"], end["lost_to_client"]) == ("drain-timeout", 8)
    assert 0.39 <= time.monotonic() - begin < seconds(3)
    until(lambda: len(relay.status()["relays"]) == 1, "the end of the relay")


def test_all_relays_go(lab: Lab) -> None:
    """A file without a relay is a fault: the process does not become one that does nothing."""
    relay = start(lab, table("a")).allow("config-fault", "reload-failed")
    lab.file("relay.toml", HEAD)
    answer = relay.reload()
    assert answer.status == 409 and "no relay in this file" in answer.text()
    assert list(places(relay)) == ["a"]


def test_waiting_gateway_meets_its_client_after_a_change(lab: Lab) -> None:
    """A queue that waits survives a change of its own relay, and of its port."""
    stream = Stream("g")
    relay = start(lab, table("a"))
    gateway = hear_from(lab, relay, places(relay)["a"][0], "a")
    gateway.send_stream(stream, 200_000)
    relay.wait_stat("queued_bytes", "==", 200_000)
    change(lab, relay, table("a", port=lab.port(), pairs=2, queue_size="300KiB", target=lab.target()))
    client = lab.at(places(relay)["a"][0])
    client.read_stream(stream, 200_000)
    talk(client, gateway)


# A bad file


BAD = {
    "syntax": (HEAD + table("a") + "port = = 5\n", r"relay\.toml:\d+.*syntax error"),
    "unknown key": (HEAD + table("a", prot=5), r"relay\.toml:\d+.*unknown key \\?\"prot"),
    "range": (HEAD + table("a", pairs=0), "out of range"),
    "two of one name": (HEAD + table("a") + table("a"), "is the name of"),
    "no target": (HEAD + table("a", target=None), "target: required"),
    "global": ('log-level = "loud"\n' + table("a"), "loud"),
    "empty": ("", "no relay in this file"),
    "binary": ("\0\1\2\xff" * 100, "relay.toml"),
}


@pytest.mark.parametrize(("text", "what"), BAD.values(), ids=BAD.keys())
def test_bad_file_changes_nothing(lab: Lab, text: str, what: str) -> None:
    """With a fault in the file all stays as it is; the log and who asked are told what is wrong and where."""
    relay = start(lab, table("a"), table("b", pairs=2)).allow("config-fault", "reload-failed")
    before, sockets = places(relay), relay.first_sockets()
    one = pair(lab, relay, "b")
    lab.file("relay.toml", text)
    for count, act in ((1, lambda: relay.reload().status == 409), (2, lambda: relay.signal(signal.SIGHUP) is None)):
        assert act()
        relay.wait_log("reload-failed", count=count)
        assert re.search(what, relay.find("config-fault")[-1]["where"] + ": " + relay.find("config-fault")[-1]["what"])
        assert relay.status()["reload_failures"] == count
    assert places(relay) == before
    assert relay.first_sockets() == sockets
    talk(*one)
    assert counts(change(lab, relay, table("a"), table("b", pairs=2))) == {"kept": 2}
    relay.wait_note("READY=1")


def test_port_in_use(lab: Lab) -> None:
    """If one of the new ports cannot be had, none of the file's changes is made."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        relay = start(lab, table("a"), table("b")).allow("config-fault", "reload-failed")
        before, sockets = places(relay), relay.first_sockets()
        pairs = [pair(lab, relay, name) for name in ("a", "b")]
        lab.file("relay.toml", HEAD + table("a", pairs=7, port=lab.port()) + table("c") + table("d", port=port))
        answer = relay.reload()
    assert answer.status == 409
    (fault,) = answer.json()["faults"]
    assert fault["where"] == "d" and f"127.0.0.1:{port}" in fault["what"]
    assert places(relay) == before
    assert relay.first_sockets() == sockets
    for one in pairs:
        talk(*one)
    assert counts(change(lab, relay, table("a"), table("b"))) == {"kept": 2}


@pytest.mark.parametrize("what", ["gone", "fifo", "folder", "too long", "not readable"])
def test_file_that_cannot_be_read(lab: Lab, what: str) -> None:
    """A file that is gone, is no file, or is too long holds up nothing and changes nothing."""
    relay = start(lab, table("a")).allow("config-fault", "reload-failed")
    one = pair(lab, relay, "a")
    path = lab.folder / "relay.toml"
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "too long":
        with path.open("wb") as file:
            file.truncate((16 << 20) + 1)
    elif what == "not readable":
        path.symlink_to(path)
    answer = Task(relay.reload).result(10)
    assert answer.status == 409
    assert answer.json()["faults"][0]["where"] == str(path)
    talk(*one)
    assert relay.status()["reload_failures"] == 1


def test_relay_without_a_file(lab: Lab) -> None:
    """`relay start` has no file to read again: a reload is well, and changes nothing."""
    relay = lab.relay(name="one")
    one = lab.pair(relay)
    relay.signal(signal.SIGHUP)
    assert counts(relay.wait_log("reloaded")) == {"kept": 1}
    assert relay.reload().status == 200
    assert relay.status()["reloads"] == 2
    talk(*one)


def test_reload_while_draining(lab: Lab) -> None:
    """Who drains takes no new file, and drains on."""
    relay = start(lab, table("a")).allow("config-fault", "reload-failed")
    client, gateway = pair(lab, relay, "a")
    gateway.fill(Stream("g"), 20_000_000)
    relay.signal(signal.SIGTERM)
    relay.wait_log("draining")
    notes = len(relay.notes)
    relay.signal(signal.SIGHUP)
    relay.wait_log("reload-failed")
    answer = relay.reload()
    assert answer.status == 409 and "draining" in answer.text()
    assert "READY=1" not in relay.notes[notes:]
    client.finish()
    relay.allow("session-end").terminate_again()


def test_drain_in_the_middle_of_a_reload(lab: Lab) -> None:
    """A reload that is overtaken by SIGTERM is given up or done, and the process ends well."""
    count = volume(500)
    for _ in range(3):
        relay = start(lab, *[table(f"r{i}") for i in range(count)], head='log-level = "warn"\n').allow("config-fault", "reload-failed")
        lab.file("relay.toml", 'log-level = "warn"\n' + "\n".join(table(f"r{i}", pairs=2) for i in range(count // 2, 2 * count)))
        waiter = Task(ask, relay.admin_place, "POST", "/reload")
        relay.signal(signal.SIGHUP)
        relay.signal(signal.SIGTERM)
        relay.check_exit()
        try:
            assert waiter.result().status in (200, 409, 503)
        except (ConnectionError, FileNotFoundError):
            pass


def test_who_asked_for_a_reload_hears_of_the_drain(lab: Lab) -> None:
    """A reload that a drain overtakes is answered when the drain begins, not when it is over."""
    relay = start(lab, table("a")).allow("config-fault", "reload-failed", "session-end")
    client, gateway = pair(lab, relay, "a")
    gateway.fill(Stream("g"), 20_000_000)
    lab.file("relay.toml", HEAD + "\n".join(table(f"r{i}") for i in range(volume(1500))))
    waiter = Task(ask, relay.admin_place, "POST", "/reload")
    relay.wait_log("reloading")
    relay.signal(signal.SIGTERM)
    answer = waiter.result()
    assert relay.process.poll() is None and not relay.find("stopped")
    assert answer.status == 200 or (answer.status == 409 and "a drain has begun" in answer.text())
    client.finish()
    relay.terminate_again()


# Many


def test_storm_of_signals(lab: Lab) -> None:
    """Two hundred SIGHUPs, the file changing all the while: in the end it is what the file says, and a pair has not noticed."""
    relay = start(lab, table("stays"))
    one = pair(lab, relay, "stays")
    for i in range(200):
        text = HEAD + table("stays") + "".join(table(f"r{j}", pairs=i + 1) for j in range(i % 5))
        (lab.folder / "new.toml").write_text(text)
        (lab.folder / "new.toml").rename(lab.folder / "relay.toml")
        relay.signal(signal.SIGHUP)
        if i % 10 == 0:
            talk(*one)
    expected = ["stays", "r0", "r1", "r2", "r3"]
    until(lambda: list(places(relay)) == expected, lambda: f"{expected}, not {list(places(relay))}")
    talk(*one)
    assert relay.status()["reload_failures"] == 0
    (session,) = relay.relay_status("stays")["connections"]
    assert session["session"] == 1


def test_answer_is_about_a_file_read_after_the_request(lab: Lab) -> None:
    """Who changes the file and then asks for a reload is answered when that file is in use, also while another reload runs."""
    count = volume(2000)
    relay = start(lab, table("r0"), head='log-level = "warn"\n').allow("config-fault", "reload-failed")

    def text(names: list[str]) -> None:
        (lab.folder / "new.toml").write_text('log-level = "warn"\n' + "\n".join(map(table, names)))
        (lab.folder / "new.toml").rename(lab.folder / "relay.toml")

    for i in range(5):
        text([f"r{j}" for j in range(count)])
        relay.signal(signal.SIGHUP)
        relay.admin("GET", "/healthz")  # it has begun
        text([f"last{i}"])
        answer = ask(relay.admin_place, "POST", "/reload")
        assert answer.status == 200
        assert list(places(relay)) == [f"last{i}"]


def test_reload_of_many_relays_does_not_hold_up_traffic(lab: Lab) -> None:
    """While 300 relays come and go, an echo through one that stays keeps its pace."""
    count = volume(300)
    relay = start(lab, table("stays", target=lab.target(echo)), head='log-level = "warn"\n')
    stays = table("stays", target=lab.fakes[-1])
    client = lab.at(places(relay)["stays"][0])
    client.send(b"ping")
    assert client.read(4) == b"ping"
    stop = threading.Event()
    times: list[float] = []

    def ping() -> None:
        while not stop.is_set():
            begin = time.monotonic()
            client.send(b"ping")
            assert client.read(4) == b"ping"
            times.append(time.monotonic() - begin)

    pinger = Task(ping)
    try:
        for i in range(6):
            many = [table(f"r{j}", pairs=i + 1) for j in range(count)]
            change_quietly(lab, relay, stays, *(many if i % 2 == 0 else many[:3]))
    finally:
        stop.set()
    pinger.result()
    assert len(relay.status()["relays"]) == 4
    assert max(times) < seconds(0.25), sorted(times)[-5:]


def change_quietly(lab: Lab, relay: Relay, *tables: str) -> None:
    lab.file("relay.toml", 'log-level = "warn"\n' + "\n".join(tables))
    answer = relay.reload()
    assert answer.status == 200, answer


def test_reloads_leak_nothing(lab: Lab) -> None:
    """A hundred reloads that come back to where they began leave as many sockets, and about as much memory."""
    small = [table("a"), table("b")]
    large = [table("a", pairs=2)] + [table(f"r{i}") for i in range(50)]
    relay = start(lab, *small, head='log-level = "warn"\n')

    def rounds(number: int) -> int:
        for _ in range(number):
            change_quietly(lab, relay, *large)
            change_quietly(lab, relay, *small)
        until(lambda: len(relay.status()["relays"]) == 2, "the end of those taken out")
        return relay.memory()

    rounds(10)
    descriptors = relay.descriptors()
    before = rounds(2)
    after = rounds(volume(50))
    assert relay.descriptors() == descriptors
    assert SLOW or after - before < 512 * 1024  # a sanitizer keeps freed memory
    assert SLOW or after < 16 << 20


PORTS = 5


@pytest.mark.parametrize("seed", range(6))
def test_random_configurations(lab: Lab, seed: int) -> None:
    """Whatever follows whatever: it listens where the file says and nowhere else, and no pair is lost whose relay is still there."""
    dice = random.Random(f"reload {seed}")
    pool = [f"127.0.0.1:{lab.port()}" for _ in range(PORTS)] + [f"unix:{unused_path(lab.folder, f'u{i}')}" for i in range(2)]

    def draw() -> dict[str, list[str]]:
        free = dice.sample(pool, len(pool))
        names = dice.sample("abcdef", dice.randint(1, 4))
        found = {}
        for name in names:
            take = min(len(free) - (len(names) - len(found) - 1), dice.randint(1, 2))
            found[name], free = free[:take], free[take:]
        return found

    def tables(config: dict[str, list[str]]) -> list[str]:
        return [
            table(name, port=None, listen=sorted(where), gateway=[GATEWAY, "unix"], client=["127.0.0.0/8"], pairs=dice.randint(30, 40),
                  queue_size=f"{dice.randint(64, 128)}KiB")
            for name, where in config.items()
        ]  # fmt: skip

    config = draw()
    relay = start(lab, *tables(config)).allow("config-fault", "reload-failed", "session-end")
    pairs: dict[str, list[tuple[Peer, Peer]]] = {}
    for step in range(volume(25)):
        if dice.random() < 0.2:  # a bad one in between
            lab.file("relay.toml", HEAD + "\n".join(tables(draw())) + "\npairs = 0\n")
            assert relay.reload().status == 409
        else:
            config = draw()
            change(lab, relay, *tables(config))
        assert {name: sorted(where) for name, where in places(relay).items()} == {name: sorted(where) for name, where in config.items()}
        for place in pool:
            used = any(place in where for where in config.values())
            assert listened(place) == used or (not used and any(one["removed"] for one in relay.status()["relays"])), (step, place)
        pairs = {name: found for name, found in pairs.items() if name in config}
        for found in pairs.values():
            for one in found:
                talk(*one)
        for name in dice.sample(sorted(config), 1):
            tcp = [place for place in config[name] if not place.startswith("unix:")]
            if tcp:
                pairs.setdefault(name, []).append(pair_at(lab, relay, name, tcp[0]))
    sessions = {name: {(one["client"], one["gateway"]) for one in relay.relay_status(name)["connections"]} for name in config}
    for name, found in pairs.items():
        assert {(client.local, gateway.local) for client, gateway in found} <= sessions[name]


def pair_at(lab: Lab, relay: Relay, name: str, place: str) -> tuple[Peer, Peer]:
    mark = relay.mark()
    gateway = lab.at(place, GATEWAY)
    relay.wait_log("accepted", after=mark, relay=name, peer=gateway.local)
    client = lab.at(place, CLIENT)
    relay.wait_log("paired", after=mark, relay=name, client=client.local, gateway=gateway.local)
    return client, gateway


def listened(place: str) -> bool:
    """Whether the kernel has a listening socket there; asked without connecting."""
    if place.startswith("unix:"):
        return any(line.split()[-1] == place[5:] for line in Path("/proc/net/unix").read_text().splitlines() if line.split()[3] == "00010000")
    port = f"0100007F:{int(place.rpartition(':')[2]):04X}"
    return any(fields[1] == port and fields[3] == "0A" for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:]))
