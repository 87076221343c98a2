# SPDX-License-Identifier: Apache-2.0
"""How fast clients may come, and how fast they may talk: who is faster waits, and loses nothing."""
# Issue: point 8 ("rate limits by listener and by address").

import random
import signal
import time
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import Ledger, lines, newcomer, trade
from harness.stream import Stream
from harness.until import until


def test_accept_rate(lab: Lab) -> None:
    """More clients than may come in a second wait in front of the door, and all come in; other doors are not concerned."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, listen=["127.0.0.1:0?accept-rate=5", "127.0.0.1:0"])
    begun = time.monotonic()
    clients = [lab.client(relay) for _ in range(12)]
    other = lab.at(relay.addresses("client")[1])
    trade(other, 2)
    for client in clients:
        trade(client, 1)
    assert time.monotonic() - begun > 1.2
    stats = relay.stats()
    assert (stats["accepted"], stats["accept_rate_holds"], stats["refused_busy"]) == (13, 1, 0)


def test_accept_rate_with_reload(lab: Lab) -> None:
    """Another rate holds from the reload on, for who waits, too."""
    upstream = lab.upstream()
    place = f"127.0.0.1:{lab.port()}"
    text = 'log-level = "debug"\n[[relay]]\nkind = "plex"\nlisten = "{}?accept-rate={}"\nupstream = "{}"\n'
    relay = lab.run(text.format(place, 1, upstream.url))
    clients = [lab.at(place) for _ in range(10)]
    relay.wait_stat("accept_rate_holds", "==", 1)
    lab.file("relay.toml", text.format(place, 1000, upstream.url))
    assert relay.reload().status == 200
    for client in clients:
        trade(client, 1)
    assert relay.age() < 9


@pytest.mark.parametrize("proxied", [False, True])
def test_accept_rate_per_address(lab: Lab, proxied: bool) -> None:
    """One address comes so often in a second and no more, others as often as they like; a second later it may again."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, accept_rate_per_address=3, **({"proxy_protocol": "127.0.0.1"} if proxied else {})).allow("refused")

    def come(last: int) -> Any:
        client = lab.client(relay, source="127.0.0.1" if proxied else f"127.0.0.{last}")
        if proxied:
            client.send(b"PROXY TCP4 192.0.2.%d 198.51.100.1 4711 7999\r\n" % last)
        return client

    for client in [come(7) for _ in range(3)]:
        trade(client, 1)
    refused = 0
    while refused < 3:  # on a machine that is busy a place may have come free
        refused += not come(7).silent(0.3)
    assert relay.stats()["refused_rate"] == refused
    for last in range(10, 20):
        trade(come(last), 1)

    until(lambda: come(7).silent(0.3), "it may come again")


def test_client_rate(lab: Lab) -> None:
    """Who sends faster than he may is read as fast as he may; all of it comes, in order, and others do not notice."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, client_rate="20KiB")
    fast, other = newcomer(lab, relay, upstream), newcomer(lab, relay, upstream)
    stream, total = Stream("fast"), 60 * 1024
    begun = time.monotonic()
    fast.peer.send(stream.at(0, total))
    relay.wait_stat("client_rate_holds", "==", 1)
    until(lambda: "held" in [one["state"] for one in relay.relay_status()["connections"]], "it is held")
    trade(other.peer, 20)
    fast.peer.read_stream(stream, total)
    took = time.monotonic() - begun
    assert 1.7 < took < 20
    assert relay.stats()["client_rate_holds"] == 1
    trade(fast.peer, 5)


def test_client_messages(lab: Lab) -> None:
    """Of messages, too: as many a second as may be, and in order; an end behind them comes behind them."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, framing="line", client_messages=10, half_close_timeout="300ms")
    client = lab.client(relay)
    said = b"".join(b"%d\n" % number for number in range(30))
    begun = time.monotonic()
    client.send(said)
    client.finish()
    assert client.read_all() == said
    assert time.monotonic() - begun > 1.7
    messages = upstream.messages()
    assert [message.event for message in messages if message.event != pb.EVENT_DATA][:2] == [pb.EVENT_CONNECTED, pb.EVENT_READ_EOF]
    assert [bytes(message.payload) for message in upstream.data()] == said.splitlines(keepends=True)
    assert relay.stats()["client_message_holds"] == 1


def test_waiting_for_the_rate_is_no_idleness(lab: Lab) -> None:
    """Who is given on slowly is not idle meanwhile: all that it has said at once comes."""
    upstream = lab.upstream(does="silent")
    relay = lab.plex(upstream, framing="line", client_messages=5, idle_timeout="700ms")
    client = lab.client(relay)
    client.send(b"".join(b"%d\n" % number for number in range(15)))
    upstream.wait(payload=b"14\n")
    assert relay.wait_stat("idle_timeouts", "==", 1)["lost_messages"] == 0


def test_a_lower_rate(lab: Lab) -> None:
    """A rate that a reload lowers holds from then on, and what came before at the higher one is not held against anybody."""
    upstream = lab.upstream()
    place = f"127.0.0.1:{lab.port()}"
    text = 'log-level = "debug"\n[[relay]]\nkind = "plex"\nlisten = "{}?accept-rate={}"\nupstream = "{}"\n'
    relay = lab.run(text.format(place, 300, upstream.url))
    for _ in range(300):
        lab.at(place).reset()
    relay.wait_stat("accepted", "==", 300)
    lab.file("relay.toml", text.format(place, 3, upstream.url))
    assert relay.reload().status == 200
    begun = time.monotonic()
    for client in [lab.at(place) for _ in range(3)]:
        trade(client, 1)
    assert time.monotonic() - begun < 8  # at the old debt it would have been a hundred seconds


def test_an_address_in_all_places(lab: Lab) -> None:
    """accept-rate-per-address is of all places together, but for those that have one of their own."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, listen=["127.0.0.1:0", "127.0.0.1:0?framing=line", "127.0.0.1:0?accept-rate-per-address=50"], accept_rate_per_address=2).allow("refused")
    places = relay.addresses("client")
    for place in places[:2]:
        trade(lab.at(place, source="127.0.0.9"), 1)
    for _ in range(20):
        trade(lab.at(places[2], source="127.0.0.9"), 1)
    refused = 0
    while refused < 2:  # on a machine that is busy a place may have come free
        refused += sum(not lab.at(place, source="127.0.0.9").silent(0.3) for place in places[:2])
    assert relay.stats()["refused_rate"] == refused


def test_slower_than_that(lab: Lab) -> None:
    """Who keeps to the rate is never held."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="line", client_messages=10_000, client_rate="1MiB")
    trade(lab.client(relay), 200)
    stats = relay.stats()
    assert (stats["client_rate_holds"], stats["client_message_holds"]) == (0, 0)


def test_pause_while_held(lab: Lab) -> None:
    """A client that is held and paused is read again only when both are over."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="line", client_messages=5)
    one = newcomer(lab, relay, upstream)
    said = b"".join(b"%d\n" % number for number in range(12))
    one.peer.send(said)
    relay.wait_stat("client_message_holds", "==", 1)
    upstream.command(one.uuid, "PAUSE")
    until(lambda: relay.relay_status()["connections"][0]["state"] == "paused", "it is paused")
    got = len(upstream.data(one.uuid))
    assert got < 13
    assert one.peer.read(1)
    until(lambda: not relay.relay_status()["connections"][0]["queued"], "all is said to it")
    while not one.peer.silent(0.5):
        one.peer.read(1)
    upstream.command(one.uuid, "RESUME")
    until(lambda: len(upstream.data(one.uuid)) == 13, "the rest comes")
    assert b"".join(bytes(message.payload) for message in upstream.data(one.uuid)).endswith(said)


def test_drain_while_held(lab: Lab) -> None:
    """When the relay ends, what it has read of one who is held is given on at once."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="line", client_messages=1)
    one = newcomer(lab, relay, upstream)
    said = b"".join(b"%d\n" % number for number in range(500))
    one.peer.send(said)
    relay.wait_stat("client_message_holds", "==", 1)
    relay.signal(signal.SIGTERM)
    relay.check_exit()
    assert upstream.payload(one.uuid).endswith(said)


def test_nothing_is_lost(lab: Lab) -> None:
    """With rates, small queues, and upstreams that go and come: each message comes, in order, and again only where that is said."""
    upstreams = [lab.upstream(does="echo_ack", features=("EVENTS", "ACK")) for _ in range(2)]
    relay = lab.plex(*upstreams, framing="line", client_messages=80, client_rate="20KiB", ack_queue="2KiB", upstream_queue="128KiB")
    relay.allow("upstream-lost", "dial-failed")
    ledger = Ledger(*upstreams)
    rng = random.Random("rates")
    met = [newcomer(lab, relay, *upstreams) for _ in range(6)]
    for one in met:
        first = [bytes(message.payload) for message in one.upstream.data(one.uuid)]
        ledger.said[one.uuid] = first + lines(300, rng)
    for one in met:
        one.peer.send(b"".join(ledger.said[one.uuid][1:]))
    for number in range(4):
        upstream = upstreams[number % 2]
        mark = relay.stats()["messages_in"]
        relay.wait_stat("messages_in", ">=", mark + 200)
        upstream.kill()
        relay.wait_stat("upstreams", "==", 1)
        upstream.start()
        relay.wait_stat("upstreams", "==", 2)
    until(ledger.complete, "all has come", timeout=30)
    ledger.check()
    stats = relay.stats()
    assert stats["client_rate_holds"] + stats["client_message_holds"] > 0 and stats["lost_messages"] == 0
