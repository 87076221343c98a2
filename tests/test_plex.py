# SPDX-License-Identifier: Apache-2.0
"""The plex: clients that speak plain TCP, each with a name of its own, and an upstream that hears all of them over one stream."""

import datetime
import random
import re
import time
import uuid
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import announced, lines, newcomer, trade
from harness.process import command
from harness.scale import volume
from harness.sockets import connect
from harness.stream import Stream
from harness.task import Task
from harness.until import until

NOBODY = "00000000-0000-4000-8000-000000000000"
ALL_BYTES = bytes(range(256))


# What a client says, and what it gets


def test_a_client_is_answered(lab: Lab) -> None:
    """Somebody who connects and says something gets the program's answer."""
    upstream = lab.upstream()
    client = lab.client(lab.plex(upstream))
    client.send(b"hello")
    assert client.read(5) == b"hello"
    client.send(b"and again")
    assert client.read(9) == b"and again"


def test_names_are_unique(lab: Lab) -> None:
    """Each connection has a UUID of version 4, its own, for as long as it lasts; the same client has another one when it comes back."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(100)]
    for one in met[:50]:
        one.peer.reset()
    met += [newcomer(lab, relay, upstream) for _ in range(50)]
    names = [one.uuid for one in met]
    assert len(set(names)) == 150
    for name in names:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", name)
        assert uuid.UUID(name).version == 4
    for one in met[50:]:
        one.peer.send(one.uuid.encode())
        assert one.peer.read(36) == one.uuid.encode()
        assert upstream.payload(one.uuid).endswith(one.uuid.encode())
    assert set(upstream.clients()) == set(names)


def test_bytes_are_what_they_were(lab: Lab) -> None:
    """All 256 bytes, and a megabyte of any, arrive as they were sent, in both directions."""
    upstream = lab.upstream()
    client = lab.client(lab.plex(upstream))
    client.send(ALL_BYTES)
    assert client.read(256) == ALL_BYTES
    [name] = upstream.clients()
    stream, total = Stream("up"), volume(1 << 20)
    sender = Task(client.send_stream, stream, total)
    client.read_stream(stream, total)
    sender.result()
    assert upstream.wait_bytes(name, 256 + total) == ALL_BYTES + stream.at(0, total)


def test_messages_stay_in_order(lab: Lab) -> None:
    """Ten thousand lines of one client come to the program one by one, in order, and so do its answers."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="line")
    client = lab.client(relay)
    said = lines(volume(10_000), random.Random(1))
    sender = Task(client.send, b"".join(said))
    assert client.read(sum(map(len, said))) == b"".join(said)
    sender.result()
    assert [bytes(message.payload) for message in upstream.data()] == said
    stats = relay.stats()
    assert stats["messages_in"] == stats["messages_out"] == len(said)
    assert stats["bytes_in"] == stats["bytes_out"] == sum(map(len, said))


def test_the_time_is_real(lab: Lab) -> None:
    """Each message says when it came: RFC 3339, UTC, milliseconds."""
    upstream = lab.upstream()
    client = lab.client(lab.plex(upstream))
    before = time.time()
    for _ in range(5):
        client.send(b"now")
        client.read(3)
    after = time.time()
    stamps = []
    for message in upstream.data():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message.time), message.time
        stamps.append(datetime.datetime.fromisoformat(message.time).timestamp())
    assert stamps == sorted(stamps)
    assert before - 0.1 < stamps[0] <= stamps[-1] < after + 0.1  # a clock that is kept coarsely may lag


def test_an_upstream_of_old(lab: Lab) -> None:
    """A program that knows nothing new sees nothing new: what clients say and who, and not a word when they come and go."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, half_close_timeout="300ms")
    clients = [newcomer(lab, relay, upstream) for _ in range(4)]
    silent = lab.client(relay)
    clients[0].peer.close()
    clients[1].peer.reset()
    clients[2].peer.finish()
    silent.close()
    upstream.send(client_uuid=clients[3].uuid, payload=b"x", request_id=7)
    assert clients[3].peer.read(1) == b"x"
    relay.wait_stat("clients", "==", 1)
    trade(clients[3].peer, 3)
    assert upstream.heard
    for one in upstream.heard:
        fields = {field.name for field, _ in one.message.ListFields()}
        assert fields == {"time", "client_uuid", "payload"}, one.message


def test_request_and_answer_with_half_close(lab: Lab) -> None:
    """`printf x | nc` gets its answer: a client that has said all it had to say is kept for what comes back, then closed in order."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, half_close_timeout="500ms")
    client = lab.client(relay)
    client.send(b"x")
    client.finish()
    assert client.read_all() == b"x"
    relay.wait_stat("clients", "==", 0)


def test_a_late_answer_after_half_close(lab: Lab) -> None:
    """The answer may take its time, and come in pieces, and the program may end the client behind it."""
    upstream = lab.upstream(does="silent")
    client = lab.client(lab.plex(upstream))
    client.send(b"question")
    client.finish()
    name = upstream.wait(payload=b"question").client_uuid
    assert client.silent(0.3)
    upstream.send(client_uuid=name, payload=b"first ")
    assert client.read(6) == b"first "
    assert client.silent(0.3)
    upstream.command(name, "CLOSE", payload=b"last")
    assert client.read_all() == b"last"


def test_many_clients(lab: Lab) -> None:
    """Hundreds at once: each gets its own answers and nobody else's."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    clients = [lab.client(relay) for _ in range(volume(400))]
    for turn in range(5):
        for number, client in enumerate(clients):
            client.send(b"client %d turn %d" % (number, turn))
        for number, client in enumerate(clients):
            word = b"client %d turn %d" % (number, turn)
            assert client.read(len(word)) == word
    stats = relay.stats()
    assert (stats["clients"], stats["accepted"]) == (len(clients), len(clients))
    assert len(upstream.clients()) == len(clients)
    assert upstream.counts["streams"] == 1


def test_clients_that_come_and_go(lab: Lab) -> None:
    """A thousand short visits leave nothing behind."""
    upstream = lab.upstream(does="hang_up")
    relay = lab.plex(upstream)
    for number in range(volume(1000)):
        with_number = b"visit %d" % number
        client = relay.connect("client", "127.0.0.3")
        client.send(with_number)
        assert client.read_all() == with_number
        client.close()
    relay.wait_stat("clients", "==", 0)
    assert relay.stats()["accepted"] == volume(1000)


# Where it listens


def test_ipv6(lab: Lab) -> None:
    """Clients may come by IPv6."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, listen="tcp://[::1]:0")
    client = lab.client(relay, source=None)
    client.send(b"six")
    assert client.read(3) == b"six"
    info = upstream.wait(event=pb.EVENT_CONNECTED).client
    assert (info.peer, info.local) == (client.local, relay.address("client"))


def test_unix_socket(lab: Lab) -> None:
    """Clients on the same machine may come by a Unix socket."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, listen=f"unix:{lab.folder}/plex.sock", half_close_timeout="300ms")
    client = lab.client(relay, source=None)
    client.send(b"near")
    assert client.read(4) == b"near"
    assert upstream.wait(event=pb.EVENT_CONNECTED).client.peer == "unix"


def test_several_listeners(lab: Lab) -> None:
    """One plex listens in several places; a program can tell them apart."""
    upstream = lab.upstream(features=("EVENTS",))
    places = ["tcp://127.0.0.1:0", "tcp://127.0.0.4:0", f"unix:{lab.folder}/plex.sock"]
    relay = lab.plex(upstream, listen=places, half_close_timeout="300ms")
    for address, place in zip(relay.addresses("client"), places):
        mark = upstream.mark()
        client = lab.at(address, None)
        info = upstream.wait(event=pb.EVENT_CONNECTED, after=mark).client
        assert info.listener == place
        if place.startswith("tcp:"):
            assert info.local == address
        client.send(place.encode())
        assert client.read(len(place)) == place.encode()


def test_no_more_clients_than_allowed(lab: Lab) -> None:
    """One too many is closed at once and counted, and disturbs nobody; when somebody leaves there is a place again."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, clients=3).allow("refused")
    met = [newcomer(lab, relay, upstream) for _ in range(3)]
    for _ in range(2):
        assert lab.client(relay).read_end()[0] == b""
    assert relay.stats()["refused_busy"] == 2
    met.pop().peer.reset()
    relay.wait_stat("clients", "==", 2)
    met.append(newcomer(lab, relay, upstream))
    for one in met:
        trade(one.peer, 3)


def test_who_waits_is_not_idle(lab: Lab) -> None:
    """A client that has said something is not ended for being idle while nobody may hear it: no upstream, or it is paused. One that has not, is."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, idle_timeout="500ms").allow("upstream-lost", "dial-failed")
    paused = announced(lab, relay, upstream)
    upstream.command(paused.uuid, "PAUSE", payload=b".")
    upstream.send(client_uuid=paused.uuid, idle_timeout_ms=300)
    assert paused.peer.read(1) == b"."
    paused.peer.send(b"paused")
    lab.client(relay)
    relay.wait_stat("idle_timeouts", "==", 1)
    upstream.command(paused.uuid, "RESUME")
    upstream.wait_payload(paused.uuid, b"paused")
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    waiting = lab.client(relay)
    waiting.send(b"waiting")
    relay.wait_stat("idle_timeouts", "==", 2)  # the paused one, which has said nothing since
    lab.client(relay)
    relay.wait_stat("idle_timeouts", "==", 3)
    upstream.start()
    upstream.wait(payload=b"waiting")
    relay.wait_stat("idle_timeouts", "==", 4)


def test_who_says_nothing_is_ended(lab: Lab) -> None:
    """With idle-timeout a client that neither says nor hears anything is ended, and one that does is not."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, idle_timeout="1s")
    busy, quiet = newcomer(lab, relay, upstream), newcomer(lab, relay, upstream)

    def still_there() -> bool:
        trade(busy.peer, 1)
        return relay.stats()["idle_timeouts"] >= 1

    until(still_there, "the quiet one is ended")
    assert quiet.peer.read_end()[0] == b""
    trade(busy.peer, 3)
    assert relay.stats()["idle_timeouts"] == 1


# What upstreams say


def test_the_program_speaks_first(lab: Lab) -> None:
    """A program may send to a client whenever it likes, not only as an answer."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream)
    one, other = newcomer(lab, relay, upstream), newcomer(lab, relay, upstream)
    for number in range(100):
        upstream.send(client_uuid=one.uuid, payload=b"%03d" % number)
        upstream.send(client_uuid=other.uuid, payload=b"%03d" % (999 - number))
    assert one.peer.read(300) == b"".join(b"%03d" % number for number in range(100))
    assert other.peer.read(300) == b"".join(b"%03d" % (999 - number) for number in range(100))


def test_a_large_answer(lab: Lab) -> None:
    """A message of 200 KB arrives whole."""
    upstream = lab.upstream(does="silent")
    one = newcomer(lab, lab.plex(upstream), upstream)
    upstream.send(client_uuid=one.uuid, payload=Stream("large").at(0, 200_000))
    one.peer.read_stream(Stream("large"), 200_000)


@pytest.mark.parametrize("target", [{"client_uuid": NOBODY}, {"client_uuid": "no uuid"}, {"client_uuids": [NOBODY, "", NOBODY]}], ids=str)
def test_to_somebody_who_is_not_there(lab: Lab, target: dict[str, Any]) -> None:
    """What is for a client that has gone, or never was, is counted, and does nothing else."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    upstream.send(payload=b"x", **target)
    relay.wait_stat("unknown_clients", ">=", 1)
    trade(one.peer, 3)
    assert upstream.counts["streams"] == 1


def test_to_a_client_that_has_just_gone(lab: Lab) -> None:
    """Answers to clients that have reset meanwhile are counted as for nobody."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream)
    one, other = newcomer(lab, relay, upstream), newcomer(lab, relay, upstream)
    one.peer.reset()
    relay.wait_stat("clients", "==", 1)
    upstream.send(client_uuid=one.uuid, payload=b"too late")
    upstream.send(client_uuid=other.uuid, payload=b"in time")
    assert other.peer.read(7) == b"in time"
    assert relay.stats()["unknown_clients"] == 1


def test_the_case_of_a_uuid(lab: Lab) -> None:
    """A program may write a UUID in capitals."""
    upstream = lab.upstream(does="silent")
    one = newcomer(lab, lab.plex(upstream), upstream)
    upstream.send(client_uuid=one.uuid.upper(), payload=b"you")
    assert one.peer.read(3) == b"you"


def test_empty_messages(lab: Lab) -> None:
    """A message with nothing in it, to anybody, does nothing; one that is for nobody is counted as well."""
    upstream = lab.upstream()
    relay = lab.plex(upstream).allow("bad-message")
    one = newcomer(lab, relay, upstream)
    upstream.send()
    upstream.send(client_uuid=one.uuid)
    upstream.send(broadcast=pb.ALL)
    upstream.send(time="yesterday", client_uuid=one.uuid, payload=b".")
    assert one.peer.read(1) == b"."
    trade(one.peer, 3)
    assert upstream.counts["streams"] == 1
    assert relay.stats()["bad_messages"] == 1


# The command line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--listen", "tcp://127.0.0.1:0"), "upstream"),
        (("--upstream", "grpc://127.0.0.1:1"), "listen"),
        (("--listen", "tcp://127.0.0.1:0", "--upstream", "ftp://127.0.0.1:1"), "upstream"),
        (("--listen", "tcp://127.0.0.1:0", "--upstream", "grpc://127.0.0.1"), "upstream"),
        (("--listen", "tcp://127.0.0.1:0", "--upstream", "grpc://127.0.0.1:1", "--balance", "luck"), "balance"),
        (("--listen", "tcp://127.0.0.1:0", "--upstream", "grpc://127.0.0.1:1", "--framing", "golden"), "framing"),
        (("--listen", "tcp://127.0.0.1:0", "--upstream", "grpc://127.0.0.1:1", "--framing", "length-prefix", "--length-width", "9"), "length-width"),
        (("--listen", "tcp://127.0.0.1:0", "--upstream", "grpc://127.0.0.1:1", "--framing", "delimiter"), "delimiter"),
        (("--listen", "tcp://127.0.0.1:0", "--upstream", "grpc://127.0.0.1:1", "--slow-client", "wait"), "slow-client"),
    ],
)
def test_mistakes(words: tuple[str, ...], said: str) -> None:
    """A mistake on the command line is told, and nothing is started."""
    done = command("plex", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_help() -> None:
    """`relay plex --help` names every key."""
    done = command("plex", "--help")
    assert done.returncode == 0
    for key in ("listen", "upstream", "balance", "framing", "delimiter", "length-width", "length-order", "length-inclusive", "max-message", "clients",
                "upstream-queue", "client-queue", "slow-client", "no-upstream", "wait-timeout", "ready-timeout", "ready-interval", "live-interval",
                "live-timeout", "retry-min", "retry-max", "idle-timeout", "half-close-timeout", "active-time", "ack-queue", "auth-timeout",
                "drain-grace"):
        assert f"--{key}" in done.stdout, key


# A file


def test_a_file(lab: Lab) -> None:
    """A plex may stand in a file, beside other relays."""
    upstream = lab.upstream()
    relay = lab.run(f"""
        log-level = "debug"
        [[relay]]
        kind = "plex"
        name = "p"
        listen = "tcp://127.0.0.1:0"
        upstream = "{upstream.url}"
        """)
    relay.wait_stat("upstreams", "==", 1)
    trade(lab.add(connect(relay.address("client"), "127.0.0.3")), 3)


@pytest.mark.parametrize(("framing", "said"), [
    ({"framing": "line"}, b"whole\nhalf"), ({"framing": "delimiter", "delimiter": "||"}, b"whole||half|"), ({"framing": "length-prefix", "length_width": 1}, b"\x02ab\x09half"),
])  # fmt: skip
def test_half_a_message_is_no_excuse(lab: Lab, framing: dict[str, Any], said: bytes) -> None:
    """Who stops in the middle of a message is idle like anybody else."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, idle_timeout="500ms", **framing)
    peer = lab.client(relay)
    peer.send(said)
    relay.wait_stat("idle_timeouts", "==", 1)
    peer.read_end()
