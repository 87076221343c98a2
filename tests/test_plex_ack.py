# SPDX-License-Identifier: Apache-2.0
"""Messages that are acknowledged: what a program has not acknowledged comes again, to it or to another one; nothing is lost, nothing overtakes."""

import random
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import Ledger, announced, lines, newcomer, trade
from harness.process import Relay
from harness.scale import SLOW, volume
from harness.stream import Stream
from harness.task import Task
from harness.until import until

FEATURES = ("EVENTS", "ACK")
TROUBLE = ("upstream-lost", "dial-failed", "upstream-not-ready", "messages-unacknowledged")


def plex(lab: Lab, *upstreams: Any, **keys: Any) -> Relay:
    """Its end does not wait long for an upstream that will never acknowledge what it has had."""
    return lab.plex(*upstreams, **{"framing": "line", "drain_timeout": "2s", **keys}).allow(*TROUBLE)


def test_what_is_acknowledged_is_forgotten(lab: Lab) -> None:
    """A program that acknowledges all hears each message once, also after a restart."""
    upstream = lab.upstream(does="echo_ack", features=FEATURES)
    relay = plex(lab, upstream)
    one = newcomer(lab, relay, upstream)
    trade(one.peer, 50)
    relay.wait_stat("acked", "==", 51)
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    upstream.wait(event=pb.EVENT_REHOMED, client_uuid=one.uuid)
    trade(one.peer, 50)
    assert [message.seq for message in upstream.data(one.uuid)] == list(range(1, 102))
    assert not upstream.messages(redelivered=True)
    assert relay.stats()["redelivered"] == 0


def test_what_is_not_acknowledged_comes_again(lab: Lab) -> None:
    """A program that comes back gets what it had not acknowledged, in order, marked as said before."""
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = plex(lab, upstream)
    one = announced(lab, relay, upstream)
    one.peer.send(b"".join(b"%d\n" % number for number in range(1, 11)))
    upstream.wait(client_uuid=one.uuid, seq=10, event=pb.EVENT_DATA)
    upstream.send(client_uuid=one.uuid, ack_seq=4)
    relay.wait_stat("acked", "==", 4)
    mark = upstream.mark()
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    upstream.wait(after=mark, client_uuid=one.uuid, seq=10, event=pb.EVENT_DATA)
    one.peer.send(b"11\n")
    upstream.wait(after=mark, client_uuid=one.uuid, seq=11)
    after = upstream.messages(after=mark)
    assert after[0].event == pb.EVENT_REHOMED
    assert [(message.seq, bytes(message.payload), message.redelivered) for message in after[1:]] == [
        *((number, b"%d\n" % number, True) for number in range(5, 11)), (11, b"11\n", False)]
    assert relay.stats()["redelivered"] == 6


def test_an_acknowledgement_is_of_one_client(lab: Lab) -> None:
    """What is acknowledged are the messages of the client in client_uuid, not of those who are sent to as well."""
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = plex(lab, upstream)
    met = [announced(lab, relay, upstream) for _ in range(4)]
    for one in met:
        one.peer.send(b"said\n")
        upstream.wait(client_uuid=one.uuid, seq=1, event=pb.EVENT_DATA)
    upstream.send(client_uuid=met[0].uuid, ack_seq=1, client_uuids=[one.uuid for one in met[1:]], payload=b"said")
    for one in met:
        assert one.peer.read(4) == b"said"
    assert relay.stats()["acked"] == 1
    mark = upstream.mark()
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    upstream.wait(after=mark, count=3, payload=b"said\n", redelivered=True)
    assert {message.client_uuid for message in upstream.messages(after=mark, event=pb.EVENT_DATA)} == {one.uuid for one in met[1:]}


def test_to_another_one(lab: Lab) -> None:
    """What a program that is gone for good had not acknowledged goes to another one."""
    first, second = (lab.upstream(does="silent", features=FEATURES) for _ in range(2))
    relay = plex(lab, first, second)
    met = [newcomer(lab, relay, first, second) for _ in range(2)]
    one = next(each for each in met if each.upstream is first)
    one.peer.send(b"important\n")
    first.wait(payload=b"important\n")
    first.kill()
    second.wait(payload=b"important\n", client_uuid=one.uuid, redelivered=True, seq=2)
    assert [message.event for message in second.messages(client_uuid=one.uuid)] == [pb.EVENT_REHOMED, pb.EVENT_DATA, pb.EVENT_DATA]


def test_the_last_words_of_a_client(lab: Lab) -> None:
    """What a client said before it went comes again as well; then that it is gone."""
    first, second = (lab.upstream(does="silent", features=FEATURES) for _ in range(2))
    relay = plex(lab, first, second, half_close_timeout="200ms")
    met = [newcomer(lab, relay, first, second) for _ in range(2)]
    one = next(each for each in met if each.upstream is first)
    one.peer.send(b"last\n")
    first.wait(payload=b"last\n")
    first.kill()
    one.peer.close()
    second.wait(payload=b"last\n", client_uuid=one.uuid)
    second.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)


@pytest.mark.parametrize("balance", ["sticky", "round-robin"])
def test_a_message_that_ends_who_has_it(lab: Lab, balance: str) -> None:
    """With delivery-limit a message that three have not survived is given up, with a word in the log; what was not sent yet does not count, and goes on."""
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = plex(lab, upstream, delivery_limit=3, balance=balance).allow("message-given-up")
    one = announced(lab, relay, upstream)
    one.peer.send(b"poison\n")
    mark = 0
    for turn in range(3):
        upstream.wait(after=mark, payload=b"poison\n", client_uuid=one.uuid, redelivered=turn > 0)
        assert relay.stats()["given_up"] == 0
        mark = upstream.mark()
        upstream.kill()
        relay.wait_stat("upstreams", "==", 0)
        upstream.start()
    one.peer.send(b"good\n")
    upstream.wait(payload=b"good\n", client_uuid=one.uuid, redelivered=False, seq=2)
    assert not upstream.messages(after=mark, payload=b"poison\n")
    assert (relay.stats()["given_up"], relay.stats()["redelivered"], relay.stats()["lost_messages"]) == (1, 2, 0)
    said = relay.wait_log("message-given-up")
    assert (said["client"], said["seq"], said["bytes"]) == (one.uuid, 1, 7)
    upstream.send(client_uuid=one.uuid, ack_seq=2)
    relay.wait_stat("acked", "==", 1)


def test_the_last_one_is_given_up(lab: Lab) -> None:
    """Clients that have gone and are only remembered, for a message that an upstream has and is lost with: they are forgotten, and all goes on."""
    upstreams = [lab.upstream(does="silent", features=FEATURES) for _ in range(2)]
    relay = plex(lab, *upstreams, balance="round-robin", delivery_limit=1, half_close_timeout="100ms").allow("message-given-up")
    clients = [lab.client(relay) for _ in range(4)]
    relay.wait_stat("clients", "==", 4)
    clients[0].send(b"one\ntwo\n")
    until(lambda: all(len(upstream.data()) == 1 for upstream in upstreams), "each has one")
    [uuid] = {message.client_uuid for upstream in upstreams for message in upstream.data()}
    home, other = sorted(upstreams, key=lambda upstream: not upstream.messages(event=pb.EVENT_CONNECTED, client_uuid=uuid))
    for client in reversed(clients):
        client.close()
    home.wait(event=pb.EVENT_DISCONNECTED, client_uuid=uuid)
    home.send(client_uuid=uuid, ack_seq=home.data(uuid)[0].seq)
    relay.wait_stat("acked", "==", 1)
    relay.wait_stat("clients", "==", 0)
    other.kill()
    relay.wait_stat("given_up", "==", 1)
    newcomer(lab, relay, home)


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "two"])
def test_kill_9(lab: Lab, others: int) -> None:
    """A program is killed again and again in the midst of its work: of all that its clients have said, nothing is lost, nothing is out of order."""
    upstreams = [lab.upstream_process(does="ack", features=FEATURES) for _ in range(1 + others)]
    relay = plex(lab, *upstreams, ack_queue="16KiB")
    ledger = Ledger(*upstreams)
    rng = random.Random(7)
    count = volume(2000)
    senders = []
    for _ in range(5):
        peer = lab.client(relay)
        uuid = until(lambda peer=peer: [m.client_uuid for u in upstreams for m in u.messages(event=pb.EVENT_CONNECTED) if m.client.peer == peer.local],
                     "it is announced")[0]
        ledger.said[uuid] = lines(count, rng)
        senders.append(Task(peer.send, b"".join(ledger.said[uuid])))
    for turn in range(4):
        killed = upstreams[turn % len(upstreams)]
        before = len(killed.heard)
        until(lambda: len(killed.heard) > before + count // 4 or ledger.complete(), "it has work")
        killed.kill()
        relay.wait_stat("upstreams", "==", others)
        killed.start()
        relay.wait_stat("upstreams", "==", 1 + others)
    for sender in senders:
        sender.result()
    until(ledger.complete, lambda: f"all came: {relay.stats()}", timeout=30)
    again = ledger.check()
    relay.wait_stat("acked", ">=", 5 * count)
    stats = relay.stats()
    assert stats["lost_messages"] == 0
    assert stats["redelivered"] >= (again if SLOW else max(1, again))  # of a little, all may have been acknowledged when it is killed
    assert stats["clients"] == 5


def test_who_does_not_acknowledge_is_held_back(lab: Lab) -> None:
    """A client whose messages nobody acknowledges is read no further than ack-queue, and goes on behind the acknowledgement; others go on."""
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = plex(lab, upstream, framing="raw", ack_queue="64KiB", max_message="4KiB")
    one, other = announced(lab, relay, upstream), announced(lab, relay, upstream)
    stream = Stream("held")
    sent = one.peer.fill(stream, 60 << 20, quiet=1)
    assert sent < 60 << 20
    heard = len(upstream.payload(one.uuid))
    assert heard <= (64 << 10) + 4096
    assert relay.stats()["ack_queue_full"] >= 1
    other.peer.send(b"hello")
    upstream.wait(client_uuid=other.uuid, payload=b"hello")

    def acknowledge() -> bool:
        upstream.send(client_uuid=one.uuid, ack_seq=max(message.seq for message in upstream.data(one.uuid)))
        return len(upstream.payload(one.uuid)) >= sent

    until(acknowledge, "all of it came", timeout=60)
    upstream.wait_stream(one.uuid, stream, sent)


def test_what_comes_late_is_not_acknowledged_by_what_came_before(lab: Lab) -> None:
    """With round-robin a program gets what a lost one has left behind newer messages: that it has dealt with these says nothing of those."""
    first, second = (lab.upstream(does="silent", features=FEATURES) for _ in range(2))
    relay = plex(lab, first, second, balance="round-robin")
    client = lab.client(relay)
    for number in range(1, 5):
        client.send(b"%d\n" % number)
    until(lambda: len(first.data()) == len(second.data()) == 2, "each has two")
    gone, stays = (first, second) if first.data()[0].seq == 1 else (second, first)
    uuid = stays.wait(seq=4, event=pb.EVENT_DATA).client_uuid
    gone.wait(seq=3, event=pb.EVENT_DATA)
    gone.kill()
    stays.wait(seq=1, redelivered=True)
    stays.wait(seq=3, redelivered=True)
    stays.send(client_uuid=uuid, ack_seq=4)
    relay.wait_stat("acked", "==", 2)
    stays.send(client_uuid=uuid, payload=b".")
    assert client.read(1) == b"."
    assert relay.stats()["acked"] == 2
    stays.kill()
    mark = gone.mark()
    gone.start()
    gone.wait(after=mark, seq=3, redelivered=True)
    assert [message.seq for message in gone.data(uuid, after=mark)] == [1, 3]
    gone.send(client_uuid=uuid, ack_seq=3)
    relay.wait_stat("acked", "==", 4)


@pytest.mark.parametrize("number", [0, 5, 1 << 40])
def test_acknowledging_nonsense(lab: Lab, number: int) -> None:
    """An acknowledgement of what was acknowledged before, or never sent, does no harm."""
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = plex(lab, upstream)
    one = announced(lab, relay, upstream)
    for each in range(1, 11):
        one.peer.send(b"%d\n" % each)
    upstream.wait(client_uuid=one.uuid, seq=10, event=pb.EVENT_DATA)
    upstream.send(client_uuid=one.uuid, ack_seq=7)
    upstream.send(client_uuid=one.uuid, ack_seq=number)
    upstream.send(client_uuid=one.uuid, payload=b".")
    assert one.peer.read(1) == b"."
    one.peer.send(b"11\n")
    upstream.wait(client_uuid=one.uuid, seq=11)
    assert relay.stats()["acked"] in (7, 10)


def test_without_the_feature_what_was_under_way_is_lost(lab: Lab) -> None:
    """Without ACK a message is sent once: what was on its way to a program that dies is lost, and counted as far as anybody can know."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "SEQ"))
    relay = plex(lab, upstream)
    one = announced(lab, relay, upstream)
    one.peer.send(b"1\n2\n3\n")
    upstream.wait(client_uuid=one.uuid, seq=3)
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    one.peer.send(b"4\n")
    upstream.wait(client_uuid=one.uuid, seq=4)
    assert [message.seq for message in upstream.data(one.uuid)] == [1, 2, 3, 4]
    assert not upstream.messages(redelivered=True)


def test_a_longer_ack_queue_by_a_reload(lab: Lab) -> None:
    """A client that is held back for want of acknowledgements is read on when a reload gives it more room."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "ACK"))
    text = 'drain-timeout = "1s"\n[[relay]]\nkind = "plex"\nname = "plex"\nlisten = "tcp://127.0.0.1:0"\nframing = "line"\nupstream = ["%s"]\n' % upstream.url
    relay = lab.run(text + 'ack-queue = "1KiB"\n').allow("messages-unacknowledged")
    relay.wait_stat("upstreams", "==", 1)
    one = announced(lab, relay, upstream)
    one.peer.send(b"".join(b"line %d\n" % number for number in range(100)))
    relay.wait_stat("ack_queue_full", ">=", 1)
    assert len(upstream.data(one.uuid)) < 100
    lab.file("relay.toml", text + 'ack-queue = "1MiB"\n')
    assert relay.reload().status == 200
    upstream.wait(client_uuid=one.uuid, seq=100)


def test_who_is_gone_counts_at_its_address(lab: Lab) -> None:
    """One address cannot take all places with clients that have gone, and are remembered for what is not acknowledged."""
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = plex(lab, upstream, clients=4, clients_per_address=2).allow("refused")
    for number in range(6):
        peer = lab.client(relay, "127.0.0.7")
        peer.send(b"line\n")
        if number < 2:
            relay.wait_stat("messages_in", "==", number + 1)
        peer.reset()
        relay.wait_stat("clients", "==", 0)
    relay.wait_stat("refused_address", "==", 4)
    other = announced(lab, relay, upstream)
    assert relay.stats()["refused_busy"] == 0
    other.peer.close()
