# SPDX-License-Identifier: Apache-2.0
"""Messages for all clients, for those that have said something lately, and for the others."""

import threading
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers import http2
from harness.peers.upstream_proto import pb
from harness.plex import Met, announced, newcomer, trade
from harness.scale import seconds, volume
from harness.stream import Stream
from harness.task import Task
from harness.until import until


NOBODY = "00000000-0000-4000-8000-000000000000"


def crowd(lab: Lab, count: int, **keys: Any) -> tuple[Any, Any, list[Met]]:
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, **keys)
    return upstream, relay, [announced(lab, relay, upstream) for _ in range(count)]


def test_to_all(lab: Lab) -> None:
    """What is for all reaches each client once, in order, also those that have never said anything."""
    upstream, relay, met = crowd(lab, 50)
    met[0].peer.send(b"I speak")
    for number in range(20):
        upstream.broadcast(b"%02d." % number)
    for one in met:
        assert one.peer.read(60) == b"".join(b"%02d." % number for number in range(20))
    assert relay.stats()["broadcasts"] == 20
    assert all(one.peer.take(10) is None for one in met)


def test_an_upstream_of_old_may_broadcast(lab: Lab) -> None:
    """A program that knows nothing new reaches all clients, those of other programs included."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.plex(first, second)
    met = [newcomer(lab, relay, first, second) for _ in range(6)]
    assert {id(one.upstream) for one in met} == {id(first), id(second)}
    for sender, word in ((first, b"one"), (second, b"two")):
        sender.broadcast(word)
        for one in met:
            assert one.peer.read(3) == word


def test_to_all_but_some(lab: Lab) -> None:
    """A broadcast may leave some out."""
    upstream, _, met = crowd(lab, 6)
    upstream.broadcast(b"not you", except_uuids=[met[0].uuid, met[3].uuid, "nobody at all"])
    upstream.broadcast(b".")
    for one in met:
        expected = b"." if one in (met[0], met[3]) else b"not you."
        assert one.peer.read(len(expected)) == expected


def test_who_is_meant_twice(lab: Lab) -> None:
    """Who is named and is one of all, or of a group, hears it once; who is named and is not, too."""
    upstream, _, met = crowd(lab, 4)
    upstream.send(group="some", command=pb.COMMAND_JOIN, client_uuids=[one.uuid for one in met[:2]])
    upstream.send(group="some", client_uuids=[one.uuid for one in met[1:3]], payload=b"g")
    upstream.send(broadcast=pb.ALL, client_uuids=[one.uuid for one in met], except_uuids=[met[3].uuid], payload=b"a")
    for one in met:
        upstream.send(client_uuid=one.uuid, payload=b".")
    assert [one.peer.read(count) for one, count in zip(met, (3, 3, 3, 2), strict=True)] == [b"ga.", b"ga.", b"ga.", b"a."]


def test_to_the_active(lab: Lab) -> None:
    """ACTIVE are those that have said something within active-time; NOT_ACTIVE the others, also those that never have."""
    upstream, _, met = crowd(lab, 6, active_time="10m")
    for one in met[:2]:
        one.peer.send(b"I speak")
        upstream.wait(event=pb.EVENT_DATA, client_uuid=one.uuid)
    upstream.broadcast(b"active", to="ACTIVE")
    upstream.broadcast(b"others", to="NOT_ACTIVE")
    for one in met:
        assert one.peer.read(6) == (b"active" if one in met[:2] else b"others")
    upstream.broadcast(b".")
    for one in met:
        assert one.peer.read(1) == b"."


def test_active_no_more(lab: Lab) -> None:
    """Who says nothing for active-time is not active any more, until it speaks again; being sent to does not count."""
    upstream, _, [one, other] = crowd(lab, 2, active_time="300ms")

    def heard(peer: Any) -> bool:
        """Whether `peer` was among the active; the other word comes anyway."""
        upstream.broadcast(b"a", to="ACTIVE")
        upstream.broadcast(b".")
        got = peer.read(1)
        if got == b"a":
            assert peer.read(1) == b"."
        return bool(got == b"a")

    one.peer.send(b"I speak")
    upstream.wait(event=pb.EVENT_DATA)
    until(lambda: not heard(one.peer), "it is not active any more")
    one.peer.send(b"again")
    upstream.wait(event=pb.EVENT_DATA, payload=b"again")
    upstream.broadcast(b"!", to="ACTIVE")
    upstream.broadcast(b"-")
    assert one.peer.read(1) in b"!-"
    assert not other.peer.silent(0.1)


def test_active_together_are_all(lab: Lab) -> None:
    """Each client is active or not, never both, never neither, even while it changes."""
    upstream, _, met = crowd(lab, 10, active_time="200ms")
    for turn in range(30):
        met[turn % 10].peer.send(b"x")
        upstream.wait(event=pb.EVENT_DATA, count=turn + 1)
        upstream.broadcast(b"1", to="ACTIVE")
        upstream.broadcast(b"1", to="NOT_ACTIVE")
    upstream.broadcast(b".")
    for one in met:
        got = b""
        while not got.endswith(b"."):
            got += one.peer.read(1)
        assert 29 <= len(got) <= 33, got  # a clock may tick between the two


def test_between_other_messages(lab: Lab) -> None:
    """A broadcast takes its place among the messages for a client, in the order in which they were sent."""
    upstream, _, met = crowd(lab, 5)
    for number in range(100):
        for one in met:
            upstream.send(client_uuid=one.uuid, payload=b"%02d" % (number % 100))
        upstream.broadcast(b"|")
    for one in met:
        assert one.peer.read(300) == b"".join(b"%02d|" % number for number in range(100))


def test_closing_all(lab: Lab) -> None:
    """A broadcast may carry a command: all are closed with a last word, but for some."""
    upstream, relay, met = crowd(lab, 6)
    upstream.broadcast(b"bye", command=pb.COMMAND_CLOSE, except_uuids=[met[0].uuid])
    for one in met[1:]:
        assert one.peer.read_all() == b"bye"
        one.peer.close()
    relay.wait_stat("clients", "==", 1)
    met[0].peer.send(b"still here")
    upstream.wait(payload=b"still here")


def test_to_nobody(lab: Lab) -> None:
    """A broadcast while there are no clients does nothing."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    upstream.broadcast(b"hello?")
    relay.wait_stat("broadcasts", "==", 1)
    trade(newcomer(lab, relay, upstream).peer, 3)


def test_while_clients_talk(lab: Lab) -> None:
    """Broadcasts and answers of many clients at once get in each other's way nowhere: each line arrives whole."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="line")
    met = [newcomer(lab, relay, upstream) for _ in range(20)]
    count = volume(100)

    def converse(one: Met, number: int) -> None:
        for turn in range(count):
            one.peer.send(b"client %d turn %d\n" % (number, turn))
        got = b""
        while got.count(b"\n") < 2 * count:
            got += one.peer.sock.recv(65_536)
        lines = got.splitlines()
        assert [line for line in lines if line.startswith(b"client")] == [b"client %d turn %d" % (number, turn) for turn in range(count)]
        assert [line for line in lines if line.startswith(b"all")] == [b"all %d" % turn for turn in range(count)]
        assert len(lines) == 2 * count

    tasks = [Task(converse, one, number) for number, one in enumerate(met)]
    for turn in range(count):
        upstream.broadcast(b"all %d\n" % turn)
    for task in tasks:
        task.result(60)


def test_a_large_broadcast(lab: Lab) -> None:
    """100 KB to each of a hundred clients arrive whole."""
    upstream, _, met = crowd(lab, 100)
    stream = Stream("large")
    upstream.broadcast(stream.at(0, 100_000))
    for one in met:
        one.peer.read_stream(stream, 100_000)


def test_a_burst_of_broadcasts(lab: Lab) -> None:
    """Thousands of short ones at a time all arrive, in order: broadcast-queue has room for them."""
    upstream, relay, met = crowd(lab, 3)
    count = 4000
    for number in range(count):
        upstream.broadcast(b"%04d" % number)
    for one in met:
        assert one.peer.read(4 * count) == b"".join(b"%04d" % number for number in range(count))
    assert relay.stats()["dropped_messages"] == 0


@pytest.mark.parametrize("many", [{"broadcast": pb.ALL}, {"group": "g"}, {"group": "g", "except_uuids": [NOBODY] * 20}], ids=["all", "group", "large group"])
def test_who_is_named_beside_many(lab: Lab, many: Any) -> None:
    """Whoever is named gets what is for those who are named, be it meant otherwise as well: label, time-out and report; and hears it once."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream).allow("upstream-lost", "dial-failed")
    one, other = announced(lab, relay, upstream), announced(lab, relay, upstream)
    upstream.join("g", one.uuid, other.uuid)
    upstream.send(client_uuids=[one.uuid], payload=b"x", request_id=7, labels={"a": "b"}, idle_timeout_ms=3_600_000, **many)
    assert upstream.wait(event=pb.EVENT_DELIVERY, request_id=7).client_uuid == one.uuid
    upstream.send(broadcast=pb.ALL, payload=b"end")
    for peer in (one.peer, other.peer):
        assert peer.read(4) == b"xend"
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    assert dict(upstream.wait(event=pb.EVENT_REHOMED, client_uuid=one.uuid).labels) == {"a": "b"}


def test_who_becomes_active_by_it(lab: Lab) -> None:
    """A client that is named in what is said to the active, and is active by the time that these hear it, has heard it already."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream)
    others = [announced(lab, relay, upstream) for _ in range(volume(1500))]
    one = announced(lab, relay, upstream)
    others[0].peer.send(b"hi")
    upstream.wait(client_uuid=others[0].uuid, payload=b"hi")
    for _ in range(30):  # to all before it, so that it takes its time
        upstream.broadcast(b".")
    upstream.send(broadcast=pb.ACTIVE, client_uuids=[one.uuid], payload=b"hello")
    assert one.peer.read(35) == b"." * 30 + b"hello"
    one.peer.send(b"thanks")
    upstream.wait(client_uuid=one.uuid, payload=b"thanks")
    assert others[0].peer.read(35) == b"." * 30 + b"hello"
    upstream.broadcast(b"end")
    assert one.peer.read(3) == b"end"


def test_who_is_named_twice(lab: Lab) -> None:
    """A client that a message names more than once, however its name is written, hears it once, and there is one report."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream)
    one, other = (announced(lab, relay, upstream) for _ in range(2))
    upstream.send(client_uuids=[one.uuid, one.uuid, one.uuid.upper(), other.uuid], payload=b"x", request_id=1)
    upstream.send(client_uuid=one.uuid, client_uuids=[other.uuid, one.uuid, other.uuid], payload=b"y", request_id=2)
    for met in (one, other):
        upstream.send(client_uuid=met.uuid, payload=b".", request_id=3)
        assert met.peer.read(3) == b"xy."
        upstream.wait(event=pb.EVENT_DELIVERY, client_uuid=met.uuid, request_id=3)
        assert [message.request_id for message in upstream.messages(event=pb.EVENT_DELIVERY, client_uuid=met.uuid)] == [1, 2, 3]


def test_half_a_line_is_said_too(lab: Lab) -> None:
    """Who has sent something is active, though it is no whole message yet."""
    upstream, relay, met = crowd(lab, 2, framing="line", active_time="10m")
    met[0].peer.send(b"half a l")
    relay.wait_stat("bytes_in", "==", 8)
    upstream.broadcast(b"active", to="ACTIVE")
    upstream.broadcast(b"others", to="NOT_ACTIVE")
    assert [one.peer.read(6) for one in met] == [b"active", b"others"]


def test_a_chatty_group_holds_nobody_up(lab: Lab) -> None:
    """An upstream that says much to a large group is heard in turns: who asks meanwhile is answered before it has done, and so are other clients."""
    upstream, relay, met = crowd(lab, 150)
    upstream.send(group="room", command=pb.COMMAND_JOIN, client_uuids=[one.uuid for one in met])
    count = volume(4000)
    for _ in range(count):
        upstream.send(group="room", payload=b".")
    relay.wait_stat("messages_out", ">=", 1)
    assert relay.stats()["messages_out"] < count * len(met)
    for one in met:
        assert one.peer.read(count) == b"." * count
    assert relay.stats()["messages_out"] == count * len(met)


def test_more_broadcasts_than_may_wait(lab: Lab) -> None:
    """An upstream that broadcasts faster than that can be done waits for it: none are dropped, none overtaken, though the queue is small."""
    upstream, relay, met = crowd(lab, 100, broadcast_queue="64KiB")
    count = volume(4000)
    for number in range(count):
        upstream.broadcast(b"%07d." % number)
    upstream.send(client_uuid=met[2].uuid, payload=b"you")
    wanted = b"".join(b"%07d." % number for number in range(count))
    for one in met:
        assert one.peer.read(len(wanted)) == wanted
    assert met[2].peer.read(3) == b"you"
    assert relay.stats()["dropped_messages"] == 0


def test_what_was_said_before_the_end(lab: Lab) -> None:
    """What an upstream has said to many, and has been read of it, is done, also when it is lost before it all is."""
    count = 300
    said, come = [], threading.Event()

    def talk(liar: http2.Conversation, stream: int) -> None:
        liar.begin(stream)
        said.append(b"".join(http2.frame(http2.DATA, 0, stream, http2.grpc_message(pb.OutputStreamRequest(broadcast=pb.ALL, payload=b"%03d." % one).SerializeToString()))
                             for one in range(count)))

    def live(liar: http2.Conversation, stream: int) -> None:
        come.wait(seconds(20))
        liar.begin(stream)
        liar.peer.send(said.pop() + http2.frame(http2.DATA, 0, stream, http2.grpc_message(b"")))  # all at once, and then that it does not live

    relay = lab.plex(lab.liar(talk=talk, live=live), retry_min="1h", retry_max="1h").allow("upstream-lost")
    clients = [lab.client(relay) for _ in range(20)]
    relay.wait_stat("clients", "==", len(clients))
    come.set()
    relay.wait_log("upstream-lost", error="it says that it does not live")
    for client in clients:
        assert client.read(4 * count) == b"".join(b"%03d." % one for one in range(count))
    assert (relay.stats()["broadcasts"], relay.stats()["dropped_messages"]) == (count, 0)
