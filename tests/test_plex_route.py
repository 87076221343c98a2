# SPDX-License-Identifier: Apache-2.0
"""Many instances of a plex that share their clients by way of a Redis server: who reaches whom, and what is left when an instance or that server is lost."""
# Issue: point 9.

import random
from dataclasses import dataclass
from typing import Any

import pytest

from harness.certs import Authority
from harness.lab import Lab
from harness.peers.redis import RedisServer
from harness.peers.upstream_proto import pb
from harness.plex import Met, announced, newcomer, trade
from harness.process import Relay, command, has_tls
from harness.scale import volume
from harness.until import until

FEATURES = ("EVENTS", "DELIVERY_REPORT")
KEY = "relay:plex:instance:*"


@dataclass
class Instance:
    relay: Relay
    upstream: Any


def instance(lab: Lab, url: str, **keys: Any) -> Instance:
    """One that is there for the others, with an upstream that says nothing by itself."""
    manner = {"features": keys.pop("features", FEATURES), "does": keys.pop("does", "silent")}
    upstream = lab.upstream(**manner)
    relay = lab.plex(upstream, route=url, **keys)
    relay.wait_log("route-up", count=keys.get("workers", 1))
    return Instance(relay, upstream)


def service(lab: Lab, count: int = 2, **keys: Any) -> tuple[RedisServer, list[Instance]]:
    redis = lab.redis_server()
    return redis, [instance(lab, f"redis://{redis.address}", **keys) for _ in range(count)]


def comes(lab: Lab, at: Instance, **how: Any) -> Met:
    return announced(lab, at.relay, at.upstream, **how)


def reported(upstream: Any, request: int, timeout: float = 10.0) -> str:
    report = upstream.wait(event=pb.EVENT_DELIVERY, request_id=request, timeout=timeout)
    return str(pb.name("DeliveryStatus", report.delivery)).removeprefix("DELIVERY_")


def reaches(speaker: Any, one: Met, word: bytes = b"do you hear me?") -> None:
    speaker.send(client_uuid=one.uuid, payload=word)
    assert one.peer.read(len(word)) == word


def kill(lab: Lab, relay: Relay) -> None:
    """As the kernel would, for want of memory."""
    relay.process.kill()
    relay.kill()
    lab.relays.remove(relay)


def end(lab: Lab, relay: Relay) -> None:
    """In good order, as for an upgrade, with clients that are there."""
    relay.terminate()
    lab.relays.remove(relay)


def quiet(*met: Met) -> bool:
    return all(one.peer.take(1 << 16) is None for one in met)


# Who reaches whom


def test_by_name(lab: Lab) -> None:
    """A program speaks to any client by its UUID, whichever instance that came to."""
    _, all_of_them = service(lab, 3)
    met = [comes(lab, one) for one in all_of_them for _ in range(2)]
    for number, speaker in enumerate(all_of_them):
        for one in met:
            reaches(speaker.upstream, one, b"this is %d" % number)
    assert quiet(*met)
    assert all(one.relay.stats()["unknown_clients"] == 0 for one in all_of_them)


def test_by_names(lab: Lab) -> None:
    """A list of UUIDs may name clients of several instances."""
    _, all_of_them = service(lab, 3)
    met = [comes(lab, one) for one in all_of_them for _ in range(2)]
    all_of_them[0].upstream.send(client_uuid=met[0].uuid, client_uuids=[one.uuid for one in met[1:]], payload=b"to you")
    for one in met:
        assert one.peer.read(6) == b"to you"
    assert quiet(*met)


def test_what_a_client_says_stays(lab: Lab) -> None:
    """A client's messages and events go to the programs of its own instance alone."""
    _, [one, other] = service(lab, 2)
    met = comes(lab, one)
    met.peer.send(b"hello")
    one.upstream.wait_payload(met.uuid, b"hello")
    reaches(other.upstream, met)
    assert not other.upstream.messages()


def test_order(lab: Lab) -> None:
    """What a program says to one client elsewhere arrives in order, once, whole, whoever else is spoken to and by whom."""
    _, all_of_them = service(lab, 3)
    met = [comes(lab, one) for one in all_of_them for _ in range(2)]
    count = volume(2000)
    rng = random.Random(7)
    expected: dict[tuple[str, int], int] = {}
    for _ in range(count):
        number = rng.randrange(3)
        for one in rng.sample(met, rng.randrange(1, 4)):
            turn = expected[one.uuid, number] = expected.get((one.uuid, number), 0) + 1
            all_of_them[number].upstream.send(client_uuid=one.uuid, payload=b"%d %d %s\n" % (number, turn, bytes(rng.randrange(300)).hex().encode()))
    for one in met:
        total = sum(expected.get((one.uuid, number), 0) for number in range(3))
        got = b""
        while got.count(b"\n") < total:
            got += one.peer.sock.recv(65_536)
        seen = [0, 0, 0]
        for line in got.splitlines():
            number, turn = map(int, line.split()[:2])
            seen[number] += 1
            assert turn == seen[number], f"{turn} of {number} came as number {seen[number]}"
        assert sum(seen) == total and quiet(one)


def test_a_large_message(lab: Lab) -> None:
    """A message that is nearly as long as one may be arrives whole, and in its place."""
    _, [one, other] = service(lab, 2, client_queue="16MiB")
    met = comes(lab, other)
    large = random.Random(1).randbytes((4 << 20) - 200)
    one.upstream.send(client_uuid=met.uuid, payload=b"before")
    one.upstream.send(client_uuid=met.uuid, payload=large)
    one.upstream.send(client_uuid=met.uuid, payload=b"behind")
    assert met.peer.read(len(large) + 12) == b"before" + large + b"behind"


def test_to_all(lab: Lab) -> None:
    """A broadcast reaches each client of each instance once, in order, but for those that are left out."""
    _, all_of_them = service(lab, 3)
    met = [comes(lab, one) for one in all_of_them for _ in range(4)]
    left_out = [met[1], met[6], met[11]]
    for number in range(20):
        all_of_them[0].upstream.broadcast(b"%02d." % number, except_uuids=[one.uuid for one in left_out])
    all_of_them[0].upstream.broadcast(b"!")
    for one in met:
        expected = b"!" if one in left_out else b"".join(b"%02d." % number for number in range(20)) + b"!"
        assert one.peer.read(len(expected)) == expected
    assert quiet(*met)


def test_between_other_messages(lab: Lab) -> None:
    """Elsewhere, too, a broadcast takes its place among the messages for a client."""
    _, [one, other] = service(lab, 2)
    met = [comes(lab, other) for _ in range(3)]
    for number in range(100):
        for each in met:
            one.upstream.send(client_uuid=each.uuid, payload=b"%02d" % number)
        one.upstream.broadcast(b"|")
    for each in met:
        assert each.peer.read(300) == b"".join(b"%02d|" % number for number in range(100))


def test_to_the_active(lab: Lab) -> None:
    """Each instance knows who of its own clients is active."""
    _, [one, other] = service(lab, 2, active_time="10m")
    met = [comes(lab, one), comes(lab, one), comes(lab, other), comes(lab, other)]
    for speaks in (met[0], met[2]):
        speaks.peer.send(b"I speak")
        (one if speaks is met[0] else other).upstream.wait_payload(speaks.uuid, b"I speak")
    one.upstream.broadcast(b"active", to="ACTIVE")
    one.upstream.broadcast(b"others", to="NOT_ACTIVE")
    for each in met:
        assert each.peer.read(6) == (b"active" if each in (met[0], met[2]) else b"others")
    assert quiet(*met)


def test_groups(lab: Lab) -> None:
    """A program takes clients of any instance into a group and out of it; who speaks to the group reaches them all, once."""
    _, all_of_them = service(lab, 3)
    met = [comes(lab, one) for one in all_of_them for _ in range(2)]
    speaker = all_of_them[0].upstream
    speaker.join("some", *(one.uuid for one in met[1:]))
    for one in met[1:]:
        reaches(speaker, one, b"you are in it.")
    for number, other in enumerate(all_of_them):
        other.upstream.send(group="some", payload=b"%d says" % number, except_uuids=[met[1].uuid])
        for one in met[2:]:
            assert one.peer.read(6) == b"%d says" % number
    speaker.leave("some", *(one.uuid for one in met[1:]))
    for one in met[1:]:
        reaches(speaker, one, b"you are out.")
    speaker.send(group="some", payload=b"anybody?")
    for one in met:
        reaches(speaker, one, b".")
    assert quiet(*met)
    for each in all_of_them:
        each.relay.wait_stat("groups", "==", 0)


def test_workers(lab: Lab) -> None:
    """Instances of several processes each: a program reaches clients of all processes of all instances, and broadcasts reach each client once."""
    _, both = service(lab, 2, workers=2)
    met = [comes(lab, one) for one in both for _ in range(8)]
    assert len({one.uuid[-12:] for one in met}) == 4
    for speaker in both:
        for one in met:
            reaches(speaker.upstream, one)
        speaker.upstream.broadcast(b"all")
        for one in met:
            assert one.peer.read(3) == b"all"
    assert quiet(*met)


# Commands


def test_commands(lab: Lab) -> None:
    """A program closes, resets, pauses and resumes clients of other instances, and says why."""
    _, [one, other] = service(lab, 2)
    closed, aborted, rejected, paused, idle = (comes(lab, other) for _ in range(5))
    speaker = one.upstream
    for number in range(50):
        speaker.send(client_uuid=closed.uuid, payload=b"%02d" % number)
    speaker.command(closed.uuid, "CLOSE", payload=b"bye", reason="because")
    assert closed.peer.read_all() == b"".join(b"%02d" % number for number in range(50)) + b"bye"
    closed.peer.close()
    gone = other.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=closed.uuid)
    assert (gone.close.reason, "because" in gone.close.details) == (pb.CLOSE_UPSTREAM, True)
    speaker.command(aborted.uuid, "ABORT")
    assert aborted.peer.read_end() == (b"", "reset")
    speaker.command(rejected.uuid, "REJECT", payload=b"no")
    assert rejected.peer.read_end()[0] == b"no"
    assert other.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=rejected.uuid).close.reason == pb.CLOSE_REJECTED
    speaker.command(paused.uuid, "PAUSE", payload=b"wait")
    assert paused.peer.read(4) == b"wait"
    paused.peer.send(b"may I?")
    reaches(other.upstream, paused, b"not yet")
    assert other.upstream.payload(paused.uuid) == b""
    speaker.command(paused.uuid, "RESUME")
    other.upstream.wait_payload(paused.uuid, b"may I?")
    speaker.send(client_uuid=idle.uuid, idle_timeout_ms=200)
    assert other.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=idle.uuid).close.reason == pb.CLOSE_IDLE


def test_letting_in_from_elsewhere(lab: Lab) -> None:
    """A client that waits to be let in may be let in by a program of another instance."""
    _, [one, other] = service(lab, 2, features=("EVENTS", "AUTH"))
    met = comes(lab, other)
    met.peer.send(b"let me in")
    one.upstream.command(met.uuid, "ACCEPT", payload=b"welcome")
    assert met.peer.read(7) == b"welcome"
    other.upstream.wait_payload(met.uuid, b"let me in")


def test_labels(lab: Lab) -> None:
    """What a program of another instance has noted about a client is told to the one that has it next."""
    redis = lab.redis_server()
    speaker = instance(lab, f"redis://{redis.address}")
    first, second = (lab.upstream(does="silent", features=("EVENTS",)) for _ in range(2))
    relay = lab.plex(first, second, route=f"redis://{redis.address}").allow("upstream-lost", "dial-failed")
    relay.wait_log("route-up")
    met = next(one for one in [newcomer(lab, relay, first, second) for _ in range(2)] if one.upstream is first)
    speaker.upstream.send(client_uuid=met.uuid, labels={"user": "ada", "gone": "x"})
    speaker.upstream.send(client_uuid=met.uuid, labels={"gone": ""}, payload=b".")
    assert met.peer.read(1) == b"."
    first.kill()
    assert dict(second.wait(event=pb.EVENT_REHOMED, client_uuid=met.uuid).labels) == {"user": "ada"}


def test_closing_all(lab: Lab) -> None:
    """A broadcast with a command is carried out by each instance."""
    _, all_of_them = service(lab, 3)
    met = [comes(lab, one) for one in all_of_them for _ in range(2)]
    all_of_them[1].upstream.broadcast(b"bye", command=pb.COMMAND_CLOSE, except_uuids=[met[0].uuid])
    for one in met[1:]:
        assert one.peer.read_all() == b"bye"
        one.peer.close()
    reaches(all_of_them[2].upstream, met[0])


# Reports


def test_reports(lab: Lab) -> None:
    """Who asks hears what has become of each message for a client elsewhere: it has it, or there is no such client any more."""
    _, [one, other] = service(lab, 2)
    here, there, gone = comes(lab, one), comes(lab, other), comes(lab, other)
    gone.peer.reset()
    other.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=gone.uuid)
    for number in range(1, 41):
        one.upstream.send(client_uuid=(there if number % 2 else here).uuid, payload=b"x", request_id=number)
    one.upstream.send(client_uuid=gone.uuid, payload=b"x", request_id=100)
    assert there.peer.read(20) == here.peer.read(20) == b"x" * 20
    assert reported(one.upstream, 100) == "UNKNOWN_CLIENT"
    assert {reported(one.upstream, number) for number in range(1, 41)} == {"DELIVERED"}
    assert not other.upstream.messages(event=pb.EVENT_DELIVERY)
    for met in (here, there):
        found = [message.request_id for message in one.upstream.messages(event=pb.EVENT_DELIVERY, client_uuid=met.uuid)]
        assert found == sorted(found) and len(found) == 20


def test_a_slow_client_elsewhere(lab: Lab) -> None:
    """A client that takes nothing is ended by its own instance, the speaker hears of each message, and nobody else waits."""
    _, [one, other] = service(lab, 2, client_queue="64KiB")
    slow, quick = comes(lab, other, rcvbuf=4096), comes(lab, other)
    count, big = 600, bytes(16_384)
    for number in range(1, count + 1):
        one.upstream.send(client_uuid=slow.uuid, payload=big, request_id=number)
        if number % 50 == 0:
            reaches(one.upstream, quick)
    end_of_it = other.upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=slow.uuid, timeout=30)
    assert end_of_it.close.reason == pb.CLOSE_SLOW
    one.upstream.wait(event=pb.EVENT_DELIVERY, client_uuid=slow.uuid, count=count, timeout=30)
    found = {reported(one.upstream, number) for number in range(1, count + 1)}
    assert "DELIVERED" in found and found <= {"DELIVERED", "QUEUE_FULL", "CLOSED", "UNKNOWN_CLIENT", "UNREACHABLE"}
    reaches(one.upstream, quick)


# Losses


def test_an_instance_ends(lab: Lab) -> None:
    """Whoever speaks to clients of an instance that has ended hears that they cannot be reached; all others can."""
    redis, [one, other, third] = service(lab, 3)
    met = [comes(lab, each) for each in (one, other, third)]
    direct = redis.direct()
    until(lambda: len(direct.keys(KEY)) == 3, "each instance has its key")
    assert all(0 < direct.ttl(key) <= 30 for key in direct.keys(KEY))
    met[2].peer.close()
    end(lab, third.relay)
    until(lambda: len(direct.keys(KEY)) == 2, "its key has gone with it")
    one.upstream.send(client_uuid=met[2].uuid, payload=b"x", request_id=1)
    assert reported(one.upstream, 1) == "UNREACHABLE"
    reaches(one.upstream, met[1])
    other.upstream.broadcast(b"all")
    assert met[0].peer.read(3) == met[1].peer.read(3) == b"all"


def test_an_instance_is_killed(lab: Lab) -> None:
    """An instance that is killed takes only its own clients with it, and those who speak to them are told; one that comes instead is reached."""
    redis, [one, other, third] = service(lab, 3)
    met = [comes(lab, each) for each in (one, other, third)]
    reaches(one.upstream, met[2])
    kill(lab, third.relay)
    until(lambda: redis.direct().pubsub_numsub("relay:plex:all")[0][1] == 2, "Redis has seen its end")
    for number in range(1, 11):
        one.upstream.send(client_uuid=met[2].uuid, payload=b"x", request_id=number)
    assert {reported(one.upstream, number) for number in range(1, 11)} == {"UNREACHABLE"}
    one.upstream.broadcast(b"all")
    assert met[0].peer.read(3) == met[1].peer.read(3) == b"all"
    reaches(other.upstream, met[0])
    fresh = instance(lab, f"redis://{redis.address}")
    reaches(one.upstream, comes(lab, fresh))
    reaches(fresh.upstream, met[1])


def test_redis_is_killed(lab: Lab) -> None:
    """Without Redis each instance serves its own clients as before; what is for others cannot be reached; when it is back all is as it was."""
    redis, [one, other] = service(lab, 2)
    for each in (one, other):
        each.relay.allow("route-lost", "dial-failed")
    here, there = comes(lab, one), comes(lab, other)
    one.upstream.join("both", here.uuid, there.uuid)
    reaches(one.upstream, there)
    mark = [each.relay.mark() for each in (one, other)]
    redis.kill()
    for each in (one, other):
        each.relay.wait_log("route-lost")
    for number in range(1, 11):
        one.upstream.send(client_uuid=there.uuid, payload=b"lost", request_id=number)
    assert {reported(one.upstream, number) for number in range(1, 11)} == {"UNREACHABLE"}
    reaches(one.upstream, here)
    one.upstream.send(client_uuid=here.uuid, payload=b"x", request_id=11)
    assert reported(one.upstream, 11) == "DELIVERED"
    one.upstream.broadcast(b"all")
    one.upstream.send(group="both", payload=b"group")
    assert here.peer.read(9) == b"xallgroup"
    here.peer.send(b"hello")
    one.upstream.wait_payload(here.uuid, b"hello")
    redis.start()
    for each, before in zip((one, other), mark):
        each.relay.wait_log("route-up", after=before)
    reaches(one.upstream, there)
    other.upstream.broadcast(b"again")
    assert here.peer.read(5) == there.peer.read(5) == b"again"
    one.upstream.send(group="both", payload=b"group")
    assert here.peer.read(5) == there.peer.read(5) == b"group"
    assert quiet(here, there)


def test_redis_stalls(lab: Lab) -> None:
    """A Redis that says nothing any more holds nobody up: own clients are served, others cannot be reached, until it goes on."""
    redis, [one, other] = service(lab, 2, route_timeout="300ms")
    for each in (one, other):
        each.relay.allow("route-lost", "dial-failed")
    here, there = comes(lab, one), comes(lab, other)
    mark = [each.relay.mark() for each in (one, other)]
    redis.pause()
    one.upstream.send(client_uuid=there.uuid, payload=b"perhaps", request_id=1)
    for turn in range(20):
        reaches(one.upstream, here, b"turn %02d" % turn)
    for each in (one, other):
        each.relay.wait_log("route-lost", error="it is silent")
    assert reported(one.upstream, 1) == "UNREACHABLE"
    one.upstream.send(client_uuid=there.uuid, payload=b"never", request_id=2)
    assert reported(one.upstream, 2) == "UNREACHABLE"
    redis.resume()
    for each, before in zip((one, other), mark):
        each.relay.wait_log("route-up", after=before)
    reaches(one.upstream, there, b"again")


def test_redis_comes_late(lab: Lab) -> None:
    """Instances start without Redis, serve their clients, and find one another when it is there."""
    redis = lab.redis_server()
    redis.kill()
    both = []
    for _ in range(2):
        upstream = lab.upstream(does="silent", features=FEATURES)
        both.append(Instance(lab.plex(upstream, route=f"redis://{redis.address}").allow("dial-failed", "route-lost"), upstream))
    here, there = (comes(lab, each) for each in both)
    reaches(both[0].upstream, here)
    redis.start()
    for each in both:
        each.relay.wait_log("route-up")
    reaches(both[0].upstream, there)


def test_losses_under_load(lab: Lab) -> None:
    """While Redis is lost and comes back again and again, what arrives elsewhere is in order, nothing comes twice, and what is said to be delivered is."""
    redis, [one, other] = service(lab, 2)
    for each in (one, other):
        each.relay.allow("route-lost", "dial-failed")
    there = comes(lab, other)
    number = 0
    for _ in range(3):
        marks = [each.relay.mark() for each in (one, other)]
        for turn in range(count := volume(600)):
            number += 1
            one.upstream.send(client_uuid=there.uuid, payload=b"%d\n" % number, request_id=number)
            if turn == count // 2:
                reported(one.upstream, number - count // 4)  # some are there, some are on their way
                redis.kill()
        redis.start()
        for each, mark in zip((one, other), marks):
            each.relay.wait_log("route-up", after=mark)
    one.upstream.send(client_uuid=there.uuid, payload=b"end\n", request_id=number + 1)
    assert reported(one.upstream, number + 1) == "DELIVERED"
    got = b""
    while not got.endswith(b"end\n"):
        got += there.peer.sock.recv(65_536)
    numbers = [int(line) for line in got.splitlines()[:-1]]
    assert numbers == sorted(set(numbers)) and len(numbers) >= 3 * (count // 4)
    reports = {message.request_id: message.delivery for message in one.upstream.messages(event=pb.EVENT_DELIVERY)}
    assert set(reports.values()) == {pb.DELIVERY_DELIVERED, pb.DELIVERY_UNREACHABLE}
    assert {request for request, what in reports.items() if what == pb.DELIVERY_DELIVERED} <= {*numbers, number + 1}


def test_reloads_keep_the_way(lab: Lab) -> None:
    """A reload that says nothing new of the server keeps the connection to it, and other pauses are for the next one."""
    redis, [one] = service(lab, 1)
    upstream = lab.upstream(does="silent", features=FEATURES)
    text = f'log-level = "debug"\n[[relay]]\nkind = "plex"\nlisten = "127.0.0.1:0"\nupstream = "{upstream.url}"\nroute = "redis://{redis.address}"\n'
    other = Instance(lab.run(text + 'retry-min = "1h"\nretry-max = "1h"\n'), upstream)
    other.relay.wait_log("route-up")
    there = comes(lab, other)
    for number, keys in enumerate(('max-upstream-message = "1MiB"', 'route-timeout = "1s"', 'route-queue = "16MiB"'), 1):
        one.upstream.send(client_uuid=there.uuid, payload=b"word", request_id=number)
        lab.file("relay.toml", text + 'retry-min = "20ms"\nretry-max = "40ms"\n' + keys + "\n")
        assert other.relay.reload().status == 200
        assert reported(one.upstream, number) == "DELIVERED"
    assert len(other.relay.find("route-up")) == 1 and there.peer.read(12) == b"word" * 3
    for each in (one, other):
        each.relay.allow("route-lost", "dial-failed")
    redis.kill()
    assert other.relay.wait_log("route-lost")["retry_ms"] <= 40
    assert other.relay.wait_log("dial-failed", count=3)["retry_ms"] <= 40


def test_losses_of_what_is_for_all_are_counted(lab: Lab) -> None:
    """A message for all that Redis refuses, or is lost with, counts as one for somebody does."""
    redis, [one] = service(lab, 1, route_timeout="300ms")
    one.relay.allow("route-refused", "route-lost", "dial-failed")
    redis.direct().execute_command("ACL SETUSER", "default", "-publish")
    for number in range(3):
        one.upstream.broadcast(b"%d" % number)
    one.relay.wait_stat("route_lost", "==", 3)
    redis.direct().execute_command("ACL SETUSER", "default", "+publish")
    redis.pause()
    one.upstream.broadcast(b"four")
    one.relay.wait_stat("route_lost", "==", 4)
    redis.resume()


def test_a_message_that_is_too_long_for_one_of_them(lab: Lab) -> None:
    """Instances may differ in max-upstream-message: who may not have so much passes over it, counts it, and hears what follows."""
    redis = lab.redis_server()
    url = f"redis://{redis.address}"
    one, small = instance(lab, url), instance(lab, url, max_upstream_message="64KiB")
    small.relay.allow("route-refused")
    there, here = comes(lab, small), comes(lab, one)
    one.upstream.broadcast(b"x" * 300_000)
    one.upstream.broadcast(b"short")
    assert there.peer.read(5) == b"short"
    assert here.peer.read(300_005).endswith(b"xshort")
    assert "max-upstream-message" in small.relay.wait_log("route-refused")["error"]
    assert small.relay.stats()["route_lost"] == 1


# Who else is there


def test_two_services_at_one_redis(lab: Lab) -> None:
    """Services with different names have nothing to do with each other."""
    redis = lab.redis_server()
    ours = [instance(lab, f"redis://{redis.address}", route_name="ours") for _ in range(2)]
    other = instance(lab, f"redis://{redis.address}", route_name="another:one")
    met = [comes(lab, each) for each in (*ours, other)]
    ours[0].upstream.broadcast(b"all")
    assert met[0].peer.read(3) == met[1].peer.read(3) == b"all"
    ours[0].upstream.send(client_uuid=met[2].uuid, payload=b"x", request_id=1)
    assert reported(ours[0].upstream, 1) == "UNREACHABLE"
    reaches(other.upstream, met[2])
    assert quiet(*met)


def test_whoever_else_publishes(lab: Lab) -> None:
    """What is no message of an instance does no harm, whoever publishes it."""
    redis, [one, other] = service(lab, 2)
    for each in (one, other):
        each.relay.allow("bad-message")
    there = comes(lab, other)
    direct, rng = redis.direct(), random.Random(3)
    channels = [name.decode() for name in direct.pubsub_channels("relay:plex:*")]
    assert len(channels) == 3
    for _ in range(volume(300)):
        junk = rng.randbytes(rng.randrange(200)) if rng.random() < 0.5 else b"PX\x01" + rng.randbytes(rng.randrange(100))
        direct.publish(rng.choice(channels), junk)
    direct.publish(channels[0], bytes(3 << 20))
    reaches(one.upstream, there)
    trade_with = comes(lab, one)
    reaches(other.upstream, trade_with)


def test_who_can_be_seen(lab: Lab) -> None:
    """An operator sees the instances in Redis, and in the status of each the way to Redis, without its password."""
    redis = lab.redis_server("--requirepass", "open sesame")
    ours = [instance(lab, f"redis://:open%20sesame@{redis.address}") for _ in range(2)]
    direct = redis.direct(password="open sesame")
    until(lambda: len(direct.keys(KEY)) == 2, "each has a key")
    names = {client["name"] for client in direct.client_list() if client["name"].startswith("relay:plex:")}
    assert names == {key.decode().replace("instance:", "") for key in direct.keys(KEY)}
    met = comes(lab, ours[0])
    reaches(ours[1].upstream, met)
    for each in ours:
        assert "sesame" not in str(each.relay.status()) + "".join(line.raw for line in each.relay.lines)


@pytest.mark.parametrize("words, url, said", [
    (["--requirepass", "secret"], "redis://{}", "NOAUTH"),
    (["--requirepass", "secret"], "redis://:wrong@{}", "WRONGPASS"),
    (["--rename-command", "HELLO", ""], "redis://{}", "older than Redis 6"),
    ("--user default on nopass resetchannels ~* +@all".split(), "redis://{}", "NOPERM"),
    (["--cluster-enabled", "yes"], "redis://{}", "cluster"),
    (["--replicaof", "127.0.0.1 1"], "redis://{}", "replica"),
])
def test_a_redis_that_will_not_do(lab: Lab, words: list[str], url: str, said: str) -> None:
    """What is wrong with the Redis server is said in the log, and the instance serves its own clients."""
    redis = lab.redis_server(*words)
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = lab.plex(upstream, route=url.format(redis.address)).allow("route-lost", "dial-failed")
    line = relay.wait_log("route-lost")
    assert said in line["error"]
    met = announced(lab, relay, upstream)
    reaches(upstream, met)
    assert "secret" not in line.raw and "wrong@" not in line.raw


def test_a_user_with_few_rights(lab: Lab) -> None:
    """The rights that the manual names are enough."""
    redis = lab.redis_server(*"--user relay on >pass resetchannels &relay:plex:* ~relay:plex:instance:* +hello +auth +ping +subscribe +publish +set +del".split())
    one, other = (instance(lab, f"redis://relay:pass@{redis.address}", route_timeout="2s") for _ in range(2))
    until(lambda: len(redis.direct().keys(KEY)) == 2, "each has a key")
    met = comes(lab, other)
    reaches(one.upstream, met)
    end(lab, one.relay)
    until(lambda: len(redis.direct().keys(KEY)) == 1, "its key is gone")


@pytest.mark.skipif(not has_tls(), reason="built without TLS")
def test_tls(lab: Lab) -> None:
    """Redis is reached with TLS, and its certificate must bear its name."""
    ca = Authority(lab.folder, "ca")
    own, other = ca.issue("redis", ip=["127.0.0.1"]), ca.issue("other", dns=["other.example"])

    def server(issued: Any) -> str:
        port = lab.port()
        lab.redis_server("--tls-port", str(port), "--tls-cert-file", str(issued.cert), "--tls-key-file", str(issued.key), "--tls-ca-cert-file", str(ca.cert),
                         "--tls-auth-clients", "no")
        return f"rediss://127.0.0.1:{port}"

    url = server(own)
    one, two = (instance(lab, url, ca=ca.cert, client_queue="8MiB") for _ in range(2))
    met = comes(lab, two)
    large = random.Random(2).randbytes(3 << 20)
    reaches(one.upstream, met, large)
    upstream = lab.upstream(does="silent", features=FEATURES)
    relay = lab.plex(upstream, route=server(other), ca=ca.cert).allow("dial-failed")
    relay.wait_log("dial-failed")
    reaches(upstream, announced(lab, relay, upstream))
    assert not relay.find("route-up")


def test_a_reload(lab: Lab) -> None:
    """Another Redis server, or none, is a matter of a reload; clients stay, and keep their names."""
    first, second = lab.redis_server(), lab.redis_server()
    other = instance(lab, f"redis://{second.address}")
    upstream = lab.upstream(does="silent", features=FEATURES)

    def config(route: str) -> str:
        return (f'log-level = "debug"\n[[relay]]\nkind = "plex"\nlisten = "127.0.0.1:0"\nupstream = "{upstream.url}"\nretry-min = "10ms"\nretry-max = "200ms"\n' +
                (f'route = "{route}"\n' if route else ""))

    relay = lab.run(config(f"redis://{first.address}"))
    relay.wait_log("route-up")
    met = announced(lab, relay, upstream)
    mark = relay.mark()
    lab.file("relay.toml", config(f"redis://{second.address}"))
    assert relay.reload().status == 200
    relay.wait_log("route-up", after=mark)
    reaches(other.upstream, met)
    relay.wait_stat("routes", "==", 1)
    until(lambda: not first.direct().keys(KEY), "it has gone from the first")
    lab.file("relay.toml", config(""))
    assert relay.reload().status == 200
    until(lambda: len(second.direct().keys(KEY)) == 1, "it has gone from the second")
    relay.wait_stat("routes", "==", 0)
    other.upstream.send(client_uuid=met.uuid, payload=b"x", request_id=1)
    assert reported(other.upstream, 1) == "UNREACHABLE"
    reaches(upstream, met)


@pytest.mark.parametrize("words, said", [
    (["--route", "redis-cluster://127.0.0.1"], "no cluster"),
    (["--route", "redis://127.0.0.1,127.0.0.2"], "one server"),
    (["--route", "redis://user@127.0.0.1"], "no password"),
    (["--route", "http://127.0.0.1"], "none of redis:// and rediss://;"),
    (["--route", "redis://127.0.0.1", "--route-name", "a b"], "route-name"),
    (["--route", "redis://127.0.0.1", "--route-queue", "1MiB"], "route-queue"),
    (["--route", "redis://127.0.0.1", "--max-upstream-message", "16MiB"], "max-upstream-message"),
    (["--route", "redis://127.0.0.1", "--server-name", "x"], "server-name"),
    (["--route-name", "x"], "give route"),
])
def test_what_is_wrong_with_it(words: list[str], said: str) -> None:
    """A configuration that cannot work is refused at the start, and why is said, without a password."""
    done = command("plex", "--listen", "127.0.0.1:0", "--upstream", "grpc://127.0.0.1:1", *words)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_alone(lab: Lab) -> None:
    """A single instance with Redis works as one without."""
    redis, [one] = service(lab, 1, does="echo")
    met = comes(lab, one)
    trade(met.peer, 50)
    one.upstream.broadcast(b"all")
    assert met.peer.read(3) == b"all"
    assert quiet(met)
