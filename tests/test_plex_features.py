# SPDX-License-Identifier: Apache-2.0
"""What an upstream gets that asks for more: who comes and goes, who is let in, groups, commands, reports of what has become of a message."""

import json
import re
from typing import Any

import pytest

from harness.lab import CLIENT, Lab
from harness.peers.upstream_proto import pb
from harness.plex import Met, announced, newcomer, trade
from harness.process import Relay
from harness.until import Overdue, until

EVENTS = ("EVENTS",)
NOBODY = "00000000-0000-4000-8000-000000000000"


def world(lab: Lab, count: int, **keys: Any) -> tuple[Any, Relay, list[Met]]:
    """An upstream that says nothing by itself, and clients that it knows."""
    upstream = lab.upstream(does="silent", features=EVENTS)
    relay = lab.plex(upstream, **keys)
    return upstream, relay, [announced(lab, relay, upstream) for _ in range(count)]


def quiet(*met: Met) -> bool:
    """Nothing is on its way to them: checked behind something that came later by the same stream."""
    return all(one.peer.take(1 << 16) is None for one in met)


# Events


def test_who_comes(lab: Lab) -> None:
    """The program is told of each client when it comes, before it says anything: where from, where to."""
    upstream = lab.upstream(features=EVENTS)
    relay = lab.plex(upstream)
    client = lab.client(relay)
    message = upstream.wait(event=pb.EVENT_CONNECTED)
    info = message.client
    assert (info.peer, info.local, info.listener) == (client.local, relay.address("client"), "tcp://127.0.0.1:0")
    assert (info.tls_version, info.sni, info.alpn, info.subject) == ("", "", "", "")
    assert not message.payload and not message.redelivered
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message.time)
    client.send(b"hello")
    upstream.wait(event=pb.EVENT_DATA, client_uuid=message.client_uuid, payload=b"hello")


def test_events_come_in_order(lab: Lab) -> None:
    """Of each client: it comes, it speaks, it has said all, it is gone; and nothing after that."""
    upstream = lab.upstream(features=EVENTS)
    relay = lab.plex(upstream)
    for _ in range(20):
        client = lab.client(relay)
        client.send(b"a")
        assert client.read(1) == b"a"
        client.send(b"b")
        client.finish()
        assert client.read(1) == b"b"
        name = upstream.wait(event=pb.EVENT_CONNECTED, client=lambda info, peer=client: info.peer == peer.local).client_uuid
        upstream.wait(event=pb.EVENT_READ_EOF, client_uuid=name)
        upstream.command(name, "CLOSE")
        assert client.read_all() == b""
        upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=name)
        assert [message.event for message in upstream.messages(client_uuid=name)] == [
            pb.EVENT_CONNECTED, pb.EVENT_DATA, pb.EVENT_DATA, pb.EVENT_READ_EOF, pb.EVENT_DISCONNECTED]


def test_why_they_go(lab: Lab) -> None:
    """The program is told how a client went: in order, by a reset, ended by the program itself, or because it said nothing."""
    upstream, relay, met = world(lab, 6, half_close_timeout="200ms")
    in_order, resets, closed, aborted, rejected, idle = met
    in_order.peer.finish()
    resets.peer.reset()
    upstream.command(closed.uuid, "CLOSE", reason="because")
    upstream.command(aborted.uuid, "ABORT", reason="because")
    upstream.command(rejected.uuid, "REJECT", reason="because")
    upstream.send(client_uuid=idle.uuid, idle_timeout_ms=200)
    reasons = [pb.CLOSE_CLIENT, pb.CLOSE_RESET, pb.CLOSE_UPSTREAM, pb.CLOSE_UPSTREAM, pb.CLOSE_REJECTED, pb.CLOSE_IDLE]
    for one, reason in zip(met, reasons):
        message = upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)
        assert pb.name("CloseReason", message.close.reason) == pb.name("CloseReason", reason)
    assert closed.peer.read_end() == (b"", "eof")
    assert aborted.peer.read_end() == (b"", "reset")
    assert idle.peer.read_end()[0] == b""
    relay.wait_stat("clients", "==", 0)


def test_who_has_gone_before_anybody_was_there(lab: Lab) -> None:
    """A client that came and went while there was no program is no news for it."""
    upstream = lab.upstream(features=EVENTS, down=True)
    relay = lab.plex(upstream, up=0).allow("dial-failed")
    lab.client(relay).reset()
    stays = lab.client(relay)
    relay.wait_stat("accepted", "==", 2)
    relay.wait_stat("clients", "<=", 1)
    upstream.start()
    upstream.wait(event=pb.EVENT_CONNECTED, client=lambda info: info.peer == stays.local)
    trade(stays, 2)
    assert len(upstream.clients()) == 1


# Commands


def test_close(lab: Lab) -> None:
    """COMMAND_CLOSE ends a client in order, behind all that was sent to it; what it still says is of no interest."""
    upstream, relay, [one, other] = world(lab, 2)
    for number in range(100):
        upstream.send(client_uuid=one.uuid, payload=b"%03d" % number)
    upstream.command(one.uuid, "CLOSE", payload=b"bye")
    assert one.peer.read_all() == b"".join(b"%03d" % number for number in range(100)) + b"bye"
    upstream.send(client_uuid=one.uuid, payload=b"more")
    upstream.send(client_uuid=other.uuid, payload=b"x")
    assert other.peer.read(1) == b"x"
    assert relay.stats()["unknown_clients"] + relay.stats()["dropped_messages"] == 1
    one.peer.close()
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)
    relay.wait_stat("clients", "==", 1)


def test_close_of_a_client_that_stays(lab: Lab) -> None:
    """A client that does not close its own side, and goes on talking, is ended all the same, and not heard."""
    upstream, relay, [one] = world(lab, 1, half_close_timeout="500ms")
    upstream.command(one.uuid, "CLOSE", payload=b"bye")
    assert one.peer.read_all() == b"bye"
    assert upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).close.reason == pb.CLOSE_UPSTREAM
    try:
        one.peer.send(b"but I ...")
    except OSError:
        pass
    relay.wait_stat("clients", "==", 0)
    assert not upstream.data()


def test_abort(lab: Lab) -> None:
    """COMMAND_ABORT resets a client."""
    upstream, _, [one, other] = world(lab, 2)
    upstream.command(one.uuid, "ABORT", reason="test")
    assert one.peer.read_end() == (b"", "reset")
    upstream.send(client_uuid=other.uuid, payload=b"x")
    assert other.peer.read(1) == b"x"


def test_abort_of_a_client_that_ends(lab: Lab) -> None:
    """Whoever is ending, and has not taken all, can be reset; what is said with that is lost, and whoever asked is told."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream, client_queue="8MiB")
    one = announced(lab, relay, upstream, rcvbuf=4096)
    for _ in range(60):
        upstream.send(client_uuid=one.uuid, payload=bytes(100_000))
    upstream.command(one.uuid, "CLOSE")
    upstream.command(one.uuid, "ABORT", payload=b"late", request_id=4)
    assert upstream.wait(event=pb.EVENT_DELIVERY, request_id=4).delivery == pb.DELIVERY_CLOSED
    assert one.peer.read_end()[1] == "reset"
    assert relay.stats()["dropped_messages"] == 1


def test_reject(lab: Lab) -> None:
    """COMMAND_REJECT says a last word and ends the client."""
    upstream, relay, [one, other] = world(lab, 2)
    upstream.command(one.uuid, "REJECT", payload=b"no", reason="test")
    assert one.peer.read_all() == b"no"
    relay.wait_stat("auth_rejected", "==", 1)
    trade_silent(upstream, other)


def trade_silent(upstream: Any, one: Met) -> None:
    """Both directions, by an upstream that does not answer by itself."""
    mark = upstream.mark()
    one.peer.send(b"up")
    upstream.wait(after=mark, client_uuid=one.uuid, payload=b"up")
    upstream.send(client_uuid=one.uuid, payload=b"down")
    assert one.peer.read(4) == b"down"


def test_pause_and_resume(lab: Lab) -> None:
    """COMMAND_PAUSE: the client is not read, though it may be sent to; COMMAND_RESUME: it is, and nothing is lost."""
    upstream, _, [one, other] = world(lab, 2)
    upstream.command(one.uuid, "PAUSE", payload=b"wait")
    assert one.peer.read(4) == b"wait"
    one.peer.send(b"patience")
    trade_silent(upstream, other)
    upstream.send(client_uuid=one.uuid, payload=b".")
    assert one.peer.read(1) == b"."
    assert upstream.payload(one.uuid) == b""
    upstream.command(one.uuid, "RESUME")
    upstream.wait_payload(one.uuid, b"patience")
    trade_silent(upstream, one)


@pytest.mark.parametrize("how", ["by name", "in a broadcast"])
def test_who_has_paused_a_client_is_lost(lab: Lab, how: str) -> None:
    """Any upstream may pause a client. When it is gone the client goes on, also if another is its own."""
    first, second = (lab.upstream(does="silent", features=("EVENTS",)) for _ in range(2))
    relay = lab.plex(first, second).allow("upstream-lost", "dial-failed")
    peers = {peer.local: peer for peer in (lab.client(relay), lab.client(relay))}
    one = first.wait(event=pb.EVENT_CONNECTED)
    second.wait(event=pb.EVENT_CONNECTED)
    if how == "by name":
        second.command(one.client_uuid, "PAUSE", payload=b"wait")
    else:
        second.broadcast(b"wait", command=pb.COMMAND_PAUSE)
    peer = peers[one.client.peer]
    assert peer.read(4) == b"wait"
    until(lambda: [one["state"] for one in relay.relay_status()["connections"] if one["peer"] == peer.local] == ["paused"], "it is paused")
    peer.send(b"patience")
    assert peer.silent(0.2) and first.data() == []
    second.kill()
    first.wait(client_uuid=one.client_uuid, payload=b"patience")


def test_commands_for_nobody(lab: Lab) -> None:
    """Commands for somebody who is not there do nothing."""
    upstream, relay, [one] = world(lab, 1)
    for name in ("CLOSE", "ABORT", "ACCEPT", "REJECT", "PAUSE", "RESUME"):
        upstream.command(NOBODY, name, payload=b"x")
    trade_silent(upstream, one)
    assert relay.stats()["unknown_clients"] == 6


def test_commands_for_several(lab: Lab) -> None:
    """A command may be for a list of clients."""
    upstream, relay, met = world(lab, 6)
    upstream.send(client_uuids=[one.uuid for one in met[:4]], payload=b"bye", command=pb.COMMAND_CLOSE)
    for one in met[:4]:
        assert one.peer.read_all() == b"bye"
        one.peer.close()
    for one in met[4:]:
        trade_silent(upstream, one)
    relay.wait_stat("clients", "==", 2)


def test_idle_timeout_of_a_client(lab: Lab) -> None:
    """A program sets how long a client may say nothing; 0 is as configured again."""
    upstream, relay, [short, changed, other] = world(lab, 3)
    upstream.send(client_uuid=changed.uuid, idle_timeout_ms=300)
    upstream.send(client_uuid=changed.uuid, idle_timeout_ms=0)
    upstream.send(client_uuid=short.uuid, idle_timeout_ms=300)
    assert short.peer.read_end()[0] == b""
    relay.wait_stat("idle_timeouts", "==", 1)
    assert changed.peer.silent(0.5)
    trade_silent(upstream, changed)
    trade_silent(upstream, other)


# Groups and lists


def test_a_list(lab: Lab) -> None:
    """A message for a list of clients reaches each of them once, and nobody else."""
    upstream, relay, met = world(lab, 5)
    upstream.send(client_uuids=[met[0].uuid, met[2].uuid, NOBODY], payload=b"to some ")
    upstream.send(client_uuid=met[0].uuid, client_uuids=[met[3].uuid], payload=b"to two ")
    upstream.broadcast(b"to all")
    expected = [b"to some to two to all", b"to all", b"to some to all", b"to two to all", b"to all"]
    for one, text in zip(met, expected):
        assert one.peer.read(len(text)) == text
    assert quiet(*met)
    assert relay.stats()["unknown_clients"] == 1


def test_groups(lab: Lab) -> None:
    """What is for a group reaches those that are in it: they join, they leave, they may be in several, and except_uuids leaves some out."""
    upstream, relay, met = world(lab, 5)
    names = [one.uuid for one in met]
    upstream.join("a", *names[:3])
    upstream.join("b", *names[2:])
    upstream.send(group="a", payload=b"A")
    upstream.send(group="b", payload=b"B")
    upstream.send(group="a", payload=b"a", except_uuids=[names[1]])
    upstream.leave("a", names[0])
    upstream.send(group="a", payload=b"C")
    upstream.leave("b", *names[2:])
    upstream.send(group="b", payload=b"nobody")
    upstream.send(group="none such", payload=b"nobody")
    upstream.broadcast(b".")
    expected = [b"Aa.", b"AC.", b"ABaC.", b"B.", b"B."]
    for one, text in zip(met, expected):
        assert one.peer.read(len(text)) == text
    assert quiet(*met)
    assert relay.stats()["groups"] == 1
    for one in met[1:3]:
        one.peer.reset()
    relay.wait_stat("groups", "==", 0)


def test_joining_twice(lab: Lab) -> None:
    """Who joins twice is in the group once; who leaves what it is not in leaves nothing."""
    upstream, _, [one, other] = world(lab, 2)
    upstream.join("a", one.uuid, one.uuid)
    upstream.join("a", one.uuid)
    upstream.leave("a", other.uuid)
    upstream.leave("no group", other.uuid)
    upstream.send(group="a", payload=b"once")
    upstream.leave("a", one.uuid)
    upstream.send(group="a", payload=b"more")
    upstream.broadcast(b".")
    assert one.peer.read(5) == b"once."
    assert other.peer.read(1) == b"."
    assert quiet(one, other)


def test_groups_are_of_all_upstreams(lab: Lab) -> None:
    """A group is the plex's: a program reaches members that another program serves."""
    first, second = (lab.upstream(does="silent", features=EVENTS) for _ in range(2))
    relay = lab.plex(first, second)
    met = [newcomer(lab, relay, first, second) for _ in range(4)]
    for one in met:
        one.upstream.join("all", one.uuid)
        one.upstream.send(client_uuid=one.uuid, payload=b"joined")
        assert one.peer.read(6) == b"joined"
    assert relay.stats()["groups"] == 1
    for sender, word in ((first, b"1"), (second, b"2")):
        sender.send(group="all", payload=word)
        for one in met:
            assert one.peer.read(1) == word


def test_a_command_for_a_group(lab: Lab) -> None:
    """A whole group may be closed, with a last word, but for some."""
    upstream, relay, met = world(lab, 4)
    upstream.join("out", *(one.uuid for one in met[:3]))
    upstream.send(group="out", payload=b"out!", command=pb.COMMAND_CLOSE, except_uuids=[met[0].uuid])
    for one in met[1:3]:
        assert one.peer.read_all() == b"out!"
        one.peer.close()
    trade_silent(upstream, met[0])
    trade_silent(upstream, met[3])
    relay.wait_stat("clients", "==", 2)


# Reports


def test_delivery_reports(lab: Lab) -> None:
    """Who asks with a request_id hears what has become of a message: the client has it, there is no such client, no such group."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream)
    one = announced(lab, relay, upstream)
    for number in range(1, 21):
        upstream.send(client_uuid=one.uuid, payload=b"x", request_id=number)
    upstream.send(client_uuid=one.uuid, payload=b"no report")
    upstream.send(client_uuid=NOBODY, payload=b"x", request_id=100)
    assert one.peer.read(29) == b"x" * 20 + b"no report"
    report = upstream.wait(event=pb.EVENT_DELIVERY, request_id=100)
    assert (report.delivery, report.client_uuid) == (pb.DELIVERY_UNKNOWN_CLIENT, NOBODY)
    upstream.wait(event=pb.EVENT_DELIVERY, request_id=20)
    reports = upstream.messages(event=pb.EVENT_DELIVERY, client_uuid=one.uuid)
    assert [report.request_id for report in reports] == list(range(1, 21))
    assert {report.delivery for report in reports} == {pb.DELIVERY_DELIVERED}


def test_reports_of_what_is_not_delivered(lab: Lab) -> None:
    """A report comes for each message, also for those that the client never took: it reset, or was too slow."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream, client_queue="64KiB")
    slow, gone = announced(lab, relay, upstream, rcvbuf=4096), announced(lab, relay, upstream, rcvbuf=4096)
    big = bytes(16_384)
    count = 600  # 9.6 MB: more than the kernel's buffers and the queue
    for number in range(1, count + 1):
        upstream.send(client_uuid=slow.uuid, payload=big, request_id=number)
    end = upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=slow.uuid, timeout=30)
    assert end.close.reason == pb.CLOSE_SLOW
    upstream.wait(event=pb.EVENT_DELIVERY, client_uuid=slow.uuid, count=count, timeout=30)
    reports = upstream.messages(event=pb.EVENT_DELIVERY, client_uuid=slow.uuid)
    assert sorted(report.request_id for report in reports) == list(range(1, count + 1))
    found = [report.delivery for report in sorted(reports, key=lambda report: report.request_id)]
    assert found[0] == pb.DELIVERY_DELIVERED
    assert pb.DELIVERY_QUEUE_FULL in found
    assert found[-1] in (pb.DELIVERY_UNKNOWN_CLIENT, pb.DELIVERY_QUEUE_FULL, pb.DELIVERY_CLOSED)
    for number in (1001, 1002):
        upstream.send(client_uuid=gone.uuid, payload=big, request_id=number)
    gone.peer.reset()
    upstream.wait(event=pb.EVENT_DELIVERY, request_id=1002)
    assert upstream.wait(event=pb.EVENT_DELIVERY, request_id=1001).delivery in (pb.DELIVERY_DELIVERED, pb.DELIVERY_CLOSED, pb.DELIVERY_UNKNOWN_CLIENT)
    assert relay.stats()["slow_clients"] == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_reports_of_no_name(lab: Lab, workers: int) -> None:
    """What names no client at all is reported, too, with a UUID of zeros: empty or malformed, as the target or one of several."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT"))
    relay = lab.plex(upstream, workers=workers)
    one = announced(lab, relay, upstream)
    upstream.send(client_uuid="", payload=b"x", request_id=1)
    upstream.send(client_uuid="nobody", payload=b"x", request_id=2)
    upstream.send(client_uuids=[one.uuid, "nobody"], payload=b"x", request_id=3)
    upstream.wait(event=pb.EVENT_DELIVERY, request_id=3, count=2)
    zero = "00000000-0000-0000-0000-000000000000"
    reports = {(report.request_id, report.client_uuid): report.delivery for report in upstream.messages(event=pb.EVENT_DELIVERY)}
    unknown = pb.DELIVERY_UNKNOWN_CLIENT
    assert reports == {(1, zero): unknown, (2, zero): unknown, (3, zero): unknown, (3, one.uuid): pb.DELIVERY_DELIVERED}


def test_what_a_group_is_not_given(lab: Lab) -> None:
    """Labels, idle time-outs and reports are for clients that are named: a group has none of them, however small it is."""
    first, second = (lab.upstream(does="silent", features=("EVENTS", "DELIVERY_REPORT")) for _ in range(2))
    relay = lab.plex(first).allow("upstream-left")
    one = announced(lab, relay, first)
    first.send(group="g", command=pb.COMMAND_JOIN, client_uuids=[one.uuid], labels={"join": "x"}, idle_timeout_ms=1, request_id=1)
    first.send(group="g", payload=b"to all", labels={"a": "b"}, idle_timeout_ms=1, request_id=2)
    first.send(client_uuid=one.uuid, payload=b"to one", labels={"c": "d"}, request_id=3)
    assert one.peer.read(12) == b"to allto one"
    first.wait(event=pb.EVENT_DELIVERY, request_id=3)
    assert len(first.messages(event=pb.EVENT_DELIVERY)) == 1
    assert one.peer.silent(0.2)
    name = relay.status()["relays"][0]["name"]
    assert relay.admin("POST", f"/relays/{name}/upstreams", body=json.dumps({"url": second.url})).status == 200
    assert relay.admin("POST", f"/relays/{name}/upstreams/remove", body=json.dumps({"url": first.url})).status == 200
    assert dict(second.wait(event=pb.EVENT_REHOMED).labels) == {"c": "d"}


def test_no_reports_unless_asked_for(lab: Lab) -> None:
    """Without the feature a request_id is nothing."""
    upstream, _, [one] = world(lab, 1)
    upstream.send(client_uuid=one.uuid, payload=b"x", request_id=5)
    assert one.peer.read(1) == b"x"
    trade_silent(upstream, one)
    assert not upstream.messages(event=pb.EVENT_DELIVERY)


def test_writable(lab: Lab) -> None:
    """The program hears when a client that did not take what was sent to it has taken all of it."""
    upstream = lab.upstream(does="silent", features=EVENTS)
    relay = lab.plex(upstream, client_queue="1MiB")
    one = announced(lab, relay, upstream, rcvbuf=4096)
    total, piece = 0, bytes(65_536)

    def held_back() -> bool:
        """A client whose queue is more than half full is not read."""
        nonlocal total
        upstream.send(client_uuid=one.uuid, payload=piece)
        total += len(piece)
        mark = upstream.mark()
        one.peer.send(b"?")
        try:
            upstream.wait(after=mark, event=pb.EVENT_DATA, timeout=0.3)
        except Overdue:
            return bool(json.loads(relay.admin("GET", f"/relays/plex-0/clients/{one.uuid}").text())["state"] == "slow")
        return False

    until(held_back, "more than half of the queue is taken", timeout=60)
    assert not upstream.messages(event=pb.EVENT_WRITABLE)
    assert one.peer.read(total) == bytes(total)
    upstream.wait(event=pb.EVENT_WRITABLE, client_uuid=one.uuid)
    until(lambda: upstream.payload(one.uuid).count(b"?") == total // len(piece), "it is read again")


# Labels


def test_labels_follow_a_client(lab: Lab) -> None:
    """What a program has noted about a client is told to the one that has it next."""
    first, second = (lab.upstream(does="silent", features=EVENTS) for _ in range(2))
    relay = lab.plex(first, second).allow("upstream-lost", "dial-failed")
    met = [newcomer(lab, relay, first, second) for _ in range(2)]
    one = next(each for each in met if each.upstream is first)
    first.send(client_uuid=one.uuid, labels={"user": "ada", "plan": "free", "gone": "x"})
    first.send(client_uuid=one.uuid, labels={"plan": "paid", "gone": "", "text": "\N{SNOWMAN} \" ="}, payload=b".")
    assert one.peer.read(1) == b"."
    first.kill()
    message = second.wait(event=pb.EVENT_REHOMED, client_uuid=one.uuid)
    assert dict(message.labels) == {"user": "ada", "plan": "paid", "text": "\N{SNOWMAN} \" ="}
    assert message.client.peer == one.peer.local
    trade_silent(second, one)


# Authentication

AUTH = ("EVENTS", "AUTH")


def test_who_is_not_let_in_is_not_read(lab: Lab) -> None:
    """With AUTH nothing of a client is read until the program has accepted it; then all of it comes."""
    upstream = lab.upstream(does="silent", features=AUTH)
    relay = lab.plex(upstream)
    one, other = announced(lab, relay, upstream), announced(lab, relay, upstream)
    one.peer.send(b"let me in")
    other.peer.send(b"me too")
    upstream.send(client_uuid=one.uuid, payload=b"who are you?")
    assert one.peer.read(12) == b"who are you?"
    assert not upstream.data()
    upstream.command(one.uuid, "ACCEPT", payload=b"welcome")
    assert one.peer.read(7) == b"welcome"
    upstream.wait_payload(one.uuid, b"let me in")
    assert upstream.payload(other.uuid) == b""
    upstream.command(other.uuid, "REJECT", payload=b"not you", reason="unknown")
    assert other.peer.read_end()[0] == b"not you"
    assert upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=other.uuid).close.reason == pb.CLOSE_REJECTED
    assert relay.stats()["auth_rejected"] == 1
    assert upstream.payload(other.uuid) == b""


def test_a_gate_stays_closed(lab: Lab) -> None:
    """Who waits to be let in is not let in by the loss of the upstream that was to do that: the next one, which knows nothing of it, hears nothing."""
    first, second = lab.upstream(does="silent", features=AUTH), lab.upstream(down=True)
    relay = lab.plex(first, second, up=1, auth_timeout="1s", framing="line").allow("upstream-lost", "dial-failed")
    peer = announced(lab, relay, first).peer
    peer.send(b"secret\n")
    second.start()
    relay.wait_stat("upstreams", "==", 2)
    first.kill()
    relay.wait_stat("rehomed", "==", 1)
    relay.wait_stat("auth_timeouts", "==", 1)
    peer.read_end()
    assert second.data() == [] and relay.stats()["messages_in"] == 0


def test_a_gate_has_one_time(lab: Lab) -> None:
    """The time of who waits to be let in goes on at the next upstream: losses of them are no way to stay."""
    upstream = lab.upstream(does="silent", features=AUTH)
    relay = lab.plex(upstream, auth_timeout="1500ms").allow("upstream-lost", "dial-failed")
    one = announced(lab, relay, upstream)
    for turn in range(20):
        if not one.peer.silent(0.3):
            break
        upstream.end("UNAVAILABLE", "again")
        upstream.wait_count("streams", turn + 2)
    else:
        raise AssertionError("it is still there")
    relay.wait_stat("auth_timeouts", "==", 1)
    assert one.peer.read_end()[0] == b""


def test_auth_timeout(lab: Lab) -> None:
    """Who is neither accepted nor rejected is ended after auth-timeout; who is accepted is not."""
    upstream = lab.upstream(does="silent", features=AUTH)
    relay = lab.plex(upstream, auth_timeout="500ms")
    one, other = announced(lab, relay, upstream), announced(lab, relay, upstream)
    upstream.command(one.uuid, "ACCEPT")
    assert other.peer.read_end()[0] == b""
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=other.uuid)
    trade_silent(upstream, one)
    assert relay.stats()["auth_timeouts"] == 1
    assert one.peer.silent(0.6)


def test_accepted_stays_accepted(lab: Lab) -> None:
    """A client that has been accepted once is read without another word when its program comes back."""
    upstream = lab.upstream(does="accept", features=AUTH)
    relay = lab.plex(upstream).allow("upstream-lost", "dial-failed")
    one = newcomer(lab, relay, upstream)
    upstream.change(does="echo")
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    upstream.wait(event=pb.EVENT_REHOMED, client_uuid=one.uuid)
    trade(one.peer, 3)


def test_others_do_not_wait_for_one(lab: Lab) -> None:
    """Hundreds that wait to be let in hold up nobody who is in."""
    upstream = lab.upstream(does="silent", features=AUTH)
    relay = lab.plex(upstream)
    inside = announced(lab, relay, upstream)
    upstream.command(inside.uuid, "ACCEPT")
    waiting = [lab.client(relay) for _ in range(200)]
    for client in waiting:
        client.send(b"knock")
    for _ in range(10):
        trade_silent(upstream, inside)
    assert {message.client_uuid for message in upstream.data()} == {inside.uuid}


# Several features at once, and none


@pytest.mark.parametrize("features", [("SEQ",), ("EVENTS", "SEQ"), ("EVENTS", "SEQ", "ACK", "DELIVERY_REPORT", "GROUPS")], ids=" ".join)
def test_sequence_numbers(lab: Lab, features: tuple[str, ...]) -> None:
    """With SEQ each client's messages are numbered 1, 2, 3, ..., and an event has the number of the message before it."""
    upstream = lab.upstream(does="echo_ack" if "ACK" in features else "echo", features=features)
    relay = lab.plex(upstream, framing="line", half_close_timeout="300ms")
    met = [newcomer(lab, relay, upstream, source=CLIENT) for _ in range(3)]
    for one in met:
        trade(one.peer, 20)
        assert [message.seq for message in upstream.data(one.uuid)] == list(range(1, 22))
        if "EVENTS" in features:
            one.peer.finish()
            assert upstream.wait(event=pb.EVENT_READ_EOF, client_uuid=one.uuid).seq == 21
            assert upstream.wait(event=pb.EVENT_CONNECTED, client_uuid=one.uuid).seq == 0


def test_each_gets_what_it_asked_for(lab: Lab) -> None:
    """Of two programs only the one that wants events hears them."""
    old, new = lab.upstream(), lab.upstream(features=("EVENTS", "SEQ"))
    relay = lab.plex(old, new)
    met = [newcomer(lab, relay, old, new) for _ in range(6)]
    for one in met:
        one.peer.reset()
    new.wait(event=pb.EVENT_DISCONNECTED, count=3)
    assert all(one.message.event == pb.EVENT_DATA and one.message.seq == 0 for one in old.heard)


def test_a_future_feature(lab: Lab) -> None:
    """A feature that this plex has never heard of does no harm: those that it has are used."""
    upstream = lab.upstream(features=(77, "EVENTS", 4711))
    relay = lab.plex(upstream)
    announced(lab, relay, upstream)
