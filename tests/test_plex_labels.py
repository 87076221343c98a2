# SPDX-License-Identifier: Apache-2.0
"""Clients with equal labels meet at one upstream: hash-by = label:NAME."""
# Issue: point 3 ("hash", consistent, by address or label).

import random
from collections.abc import Callable
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import Ledger, Met, lines, meet, newcomer, trade
from harness.process import Relay, command
from harness.until import until


def world_of(lab: Lab, count: int = 3, features: tuple[str, ...] = ("EVENTS",), does: str = "echo", **keys: Any) -> tuple[list[Any], Relay]:
    upstreams = [lab.upstream(does=does, features=features) for _ in range(count)]
    return upstreams, lab.plex(*upstreams, balance="hash", hash_by="label:room", framing="line", **keys)


def homes(relay: Relay) -> dict[str, str]:
    """UUID and upstream of each client."""
    return {one["client"]: one["upstream"] for one in relay.relay_status(connections=1000)["connections"]}


def label(one: Met, value: str, **more: Any) -> None:
    one.upstream.send(client_uuid=one.uuid, labels={"room": value}, **more)


def settled(relay: Relay, rooms: dict[str, list[Met]]) -> Callable[[], bool]:
    """Whether the clients of each room are together, and none of them is on its way."""

    def judge() -> bool:
        shown = {one["client"]: one for one in relay.relay_status(connections=1000)["connections"]}
        return all(len({shown[one.uuid]["upstream"] for one in met}) == 1 and all(shown[one.uuid]["state"] == "open" for one in met) for met in rooms.values())

    return judge


def announced(lab: Lab, relay: Relay, upstreams: list[Any]) -> Met:
    """A new client that has said nothing."""
    peer = lab.client(relay)

    def who() -> Met | None:
        for upstream in upstreams:
            for message in upstream.messages(event=pb.EVENT_CONNECTED):
                if message.client.peer == peer.local:
                    return Met(peer, message.client_uuid, upstream)
        return None

    return until(who, "it is announced")


def say_another(relay: Relay, one: Met) -> None:
    """Gives the client a label by which another upstream is to have it; it has something that is not acknowledged."""
    for number in range(64):
        mark = relay.stats()["bytes_out"]
        label(one, f"room {number}", payload=b".")
        relay.wait_stat("bytes_out", ">", mark)
        if relay.relay_status()["connections"][0]["state"] == "moving":
            return
    raise AssertionError("no label says another upstream")


def test_equal_labels_meet(lab: Lab) -> None:
    """Wherever they come from, clients that are given one label go to one program; each of both programs is told."""
    upstreams, relay = world_of(lab)
    assert relay.relay_status()["hash_by"] == "label:room"
    rooms: dict[str, list[Met]] = {}
    for number in range(36):
        one = newcomer(lab, relay, *upstreams, source=f"127.0.1.{number + 1}")
        rooms.setdefault(f"room {number % 12}", []).append(one)
        label(one, f"room {number % 12}")
    until(settled(relay, rooms), "each room is together")
    assert len(set(homes(relay).values())) > 1
    moved = 0
    for name, met in rooms.items():
        for one in met:
            now = meet(one.peer, *upstreams).upstream
            if now is one.upstream:
                assert not one.upstream.messages(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)
                continue
            moved += 1
            assert one.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).close.reason == pb.CLOSE_REHOMED
            told = now.wait(event=pb.EVENT_REHOMED, client_uuid=one.uuid)
            assert told.labels["room"] == name and told.client.peer == one.peer.local
    assert moved > 0 and relay.stats()["rehomed"] == moved


def test_a_label_changes(lab: Lab) -> None:
    """Another label is another room; without one the address says where, as before."""
    upstreams, relay = world_of(lab)
    guests = {name: newcomer(lab, relay, *upstreams, source=f"127.0.2.{number + 1}") for number, name in enumerate("abcdefgh")}
    for name, one in guests.items():
        label(one, name)
    until(settled(relay, {name: [one] for name, one in guests.items()}), "all are there")
    walker = newcomer(lab, relay, *upstreams)
    first = walker.upstream
    for name in guests:
        label(walker, name)
        until(lambda name=name: homes(relay)[walker.uuid] == homes(relay)[guests[name].uuid], f"it is in {name}")
        trade(walker.peer, 3)
        walker = meet(walker.peer, *upstreams)
    label(walker, "")
    until(lambda: homes(relay)[walker.uuid] == first.url, "it is where it was at first")
    assert meet(walker.peer, *upstreams).upstream is first


def test_after_one_has_gone_and_come(lab: Lab) -> None:
    """When a program goes its rooms move as wholes, and when it is there again they are its again, with those who came meanwhile."""
    upstreams, relay = world_of(lab)
    relay.allow("upstream-lost", "dial-failed")
    rooms: dict[str, list[Met]] = {}
    for number in range(18):
        one = newcomer(lab, relay, *upstreams, source=f"127.0.3.{number + 1}")
        rooms.setdefault(f"room {number % 6}", []).append(one)
        label(one, f"room {number % 6}")
    until(settled(relay, rooms), "each room is together")
    before = homes(relay)
    gone = next(upstream for upstream in upstreams if upstream.url == before[rooms["room 0"][0].uuid])
    gone.kill()
    relay.wait_stat("upstreams", "==", 2)
    relay.wait_stat("waiting", "==", 0)
    until(settled(relay, rooms), "each room is together without it")
    for uuid, home in homes(relay).items():
        assert home != gone.url and (before[uuid] == gone.url or home == before[uuid])
    for number in range(6):
        one = newcomer(lab, relay, *upstreams, source=f"127.0.4.{number + 1}")
        rooms[f"room {number}"].append(one)
        label(one, f"room {number}")
    until(settled(relay, rooms), "newcomers find their rooms")
    gone.start()
    relay.wait_stat("upstreams", "==", 3)
    until(settled(relay, rooms), "each room is together again")
    until(lambda: all(homes(relay)[uuid] == home for uuid, home in before.items()), "and where it was")
    for met in rooms.values():
        for one in met:
            trade(one.peer, 2)


def test_accepted_with_a_label(lab: Lab) -> None:
    """A program that lets a client in and gives it a label in one message may pass it to another by that, which need not let it in again."""
    upstreams, relay = world_of(lab, features=("EVENTS", "AUTH"), does="silent")
    rooms: dict[str, list[Met]] = {"x": []}
    for number in range(8):
        peer = lab.client(relay, source=f"127.0.5.{number + 1}")
        peer.send(b"first\nsecond\n")
        uuid = until(lambda peer=peer: next((message.client_uuid for upstream in upstreams for message in upstream.messages(event=pb.EVENT_CONNECTED)
                                             if message.client.peer == peer.local), None), "it is announced")
        home = next(upstream for upstream in upstreams if uuid in upstream.clients())
        assert not any(upstream.data(uuid) for upstream in upstreams)
        home.command(uuid, "ACCEPT", labels={"room": "x"})
        rooms["x"].append(Met(peer, uuid, home))
    until(settled(relay, rooms), "they are together")
    meeting = next(upstream for upstream in upstreams if upstream.url == homes(relay)[rooms["x"][0].uuid])
    for one in rooms["x"]:
        meeting.wait_payload(one.uuid, b"first\nsecond\n")
        assert all(not upstream.data(one.uuid) for upstream in upstreams if upstream is not meeting)


def test_what_is_not_acknowledged_keeps_it(lab: Lab) -> None:
    """While a program has not acknowledged all that it has had of a client, that one waits, unread, and then moves: nothing overtakes anything."""
    upstreams, relay = world_of(lab, count=2, features=("EVENTS", "ACK"), does="silent", drain_timeout="2s")
    relay.allow("messages-unacknowledged")
    one = announced(lab, relay, upstreams)
    other = next(upstream for upstream in upstreams if upstream is not one.upstream)
    one.peer.send(b"1\n2\n3\n")
    one.upstream.wait(client_uuid=one.uuid, seq=3, event=pb.EVENT_DATA)
    say_another(relay, one)
    one.peer.send(b"4\n5\n")
    one.upstream.send(client_uuid=one.uuid, ack_seq=2)
    relay.wait_stat("acked", "==", 2)
    assert relay.relay_status()["connections"][0]["state"] == "moving" and not other.clients()
    one.upstream.send(client_uuid=one.uuid, ack_seq=3)
    other.wait(client_uuid=one.uuid, seq=5, event=pb.EVENT_DATA)
    assert [(message.event, message.seq, message.redelivered) for message in other.messages(client_uuid=one.uuid)] == [
        (pb.EVENT_REHOMED, 3, False), (pb.EVENT_DATA, 4, False), (pb.EVENT_DATA, 5, False)]
    assert one.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).seq == 3
    assert [message.seq for message in one.upstream.data(one.uuid)] == [1, 2, 3]


def test_it_stays_after_all(lab: Lab) -> None:
    """A label that is taken back before the client could move lets it stay, and it is read on."""
    upstreams, relay = world_of(lab, count=2, features=("EVENTS", "ACK"), does="silent", drain_timeout="2s")
    relay.allow("messages-unacknowledged")
    one = announced(lab, relay, upstreams)
    one.peer.send(b"1\n")
    one.upstream.wait(client_uuid=one.uuid, seq=1, event=pb.EVENT_DATA)
    say_another(relay, one)
    label(one, "")
    one.peer.send(b"2\n")
    one.upstream.wait(client_uuid=one.uuid, seq=2, event=pb.EVENT_DATA)
    assert relay.stats()["rehomed"] == 0


def test_nothing_is_lost(lab: Lab) -> None:
    """Clients that talk without a pause while their labels change and programs go and come: all of it comes, in order, once or marked."""
    upstreams, relay = world_of(lab, features=("EVENTS", "ACK"), does="echo_ack", ack_queue="4KiB")
    relay.allow("upstream-lost", "dial-failed")
    ledger = Ledger(*upstreams)
    rng = random.Random("labels")
    met = [newcomer(lab, relay, *upstreams, source=f"127.0.6.{number + 1}") for number in range(8)]
    for one in met:
        ledger.said[one.uuid] = [bytes(message.payload) for message in one.upstream.data(one.uuid)] + lines(400, rng)
        one.peer.send(b"".join(ledger.said[one.uuid][1:]))
    for round_ in range(12):
        speaker = upstreams[round_ % 3]
        for one in met:
            speaker.send(client_uuid=one.uuid, labels={"room": f"room {rng.randrange(12)}"})
        if round_ % 4 == 3:
            loser = upstreams[rng.randrange(3)]
            loser.kill()
            relay.wait_stat("upstreams", "==", 2)
            loser.start()
            relay.wait_stat("upstreams", "==", 3)
        mark = relay.stats()["messages_in"]
        until(lambda mark=mark: relay.stats()["messages_in"] >= min(mark + 100, 8 * 401), "some more is said")
    until(ledger.complete, "all has come", timeout=30)
    ledger.check()
    stats = relay.stats()
    assert stats["rehomed"] > 0 and stats["lost_messages"] == 0


def test_a_client_that_goes_while_it_moves(lab: Lab) -> None:
    """It is gone for the program that had it, for no other, and is forgotten when that has acknowledged."""
    upstreams, relay = world_of(lab, count=2, features=("EVENTS", "ACK"), does="silent", drain_timeout="2s")
    one = announced(lab, relay, upstreams)
    one.peer.send(b"1\n")
    one.upstream.wait(client_uuid=one.uuid, seq=1, event=pb.EVENT_DATA)
    other = next(upstream for upstream in upstreams if upstream is not one.upstream)
    say_another(relay, one)
    one.peer.reset()
    assert one.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).close.reason == pb.CLOSE_RESET
    one.upstream.send(client_uuid=one.uuid, ack_seq=1)
    relay.wait_stat("acked", "==", 1)
    assert not other.clients() and relay.stats()["clients"] == 0


@pytest.mark.parametrize("hash_by, balance, said", [
    ("room", "hash", '"room" is neither address nor label:NAME; write for example label:room'),
    ("label:", "hash", "is neither address nor label:NAME"),
    ("label:room", "sticky", 'is for balance = "hash"'),
])
def test_faults(hash_by: str, balance: str, said: str) -> None:
    """What makes no sense is said."""
    done = command("plex", "--listen", "127.0.0.1:0", "--upstream", "grpc://127.0.0.1:1", "--hash-by", hash_by, "--balance", balance)
    assert done.returncode == 2 and f"--hash-by: {said}" in done.stderr or said in done.stderr, done.stderr


def test_hash_by_address_is_what_you_get(lab: Lab) -> None:
    """Labels move nobody when they are not asked for."""
    upstreams = [lab.upstream(features=("EVENTS",)) for _ in range(3)]
    relay = lab.plex(*upstreams, balance="hash")
    one = newcomer(lab, relay, *upstreams)
    for number in range(10):
        label(one, f"room {number}")
    trade(one.peer, 5)
    assert meet(one.peer, *upstreams).upstream is one.upstream and relay.stats()["rehomed"] == 0

