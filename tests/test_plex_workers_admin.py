# SPDX-License-Identifier: Apache-2.0
"""A plex of several processes is asked, ordered and watched through its admin socket as if it were one, whoever dies or hangs meanwhile."""
# Issue: point 9.

import json
import os
import signal
import socket

from harness.admin import ask as admin_ask
from harness.admin import raw, request
from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import newcomer
from harness.process import Relay
from harness.rpc import Rpc
from harness.task import Task
from harness.until import until
from harness.workers import Question, of_worker, workers, world
from test_plex_control import call
from test_plex_route import kill


# Asking


def test_what_the_admin_socket_is_asked(lab: Lab) -> None:
    """An operator sees and reaches clients and upstreams as if there were one process."""
    upstream, relay, met = world(lab, 3)
    names, after = [], 0
    while after is not None:
        status, page = call(relay, "GET", f"clients?after={after}&most=2")
        assert status == 200 and len(page["clients"]) <= 2
        names += [one["client"] for one in page["clients"]]
        after = page["next"]
    assert sorted(names) == sorted(one.uuid for one in met)
    for one in met:
        assert call(relay, "GET", f"clients/{one.uuid}")[1]["client"] == one.uuid
        assert call(relay, "POST", "send", {"client_uuid": one.uuid, "text": "hello"})[1]["sent"] == 1
        assert one.peer.read(5) == b"hello"
    assert call(relay, "POST", "send", {"broadcast": "ALL", "text": "all"})[0] == 200
    for one in met:
        assert one.peer.read(3) == b"all"
    status, answer = call(relay, "POST", "send", {"client_uuids": [one.uuid for one in met], "text": "list"})
    assert (status, answer["sent"] + answer["routed"]) == (200, len(of_worker(met, 0)) + 2)
    for one in met:
        assert one.peer.read(4) == b"list"
    assert call(relay, "GET", "clients/00000000-0000-4000-8000-000000000000")[0] == 404
    assert call(relay, "POST", "send", {"text": "nobody"})[0] == 400
    assert relay.admin("GET", "/relays/nobody/clients").status == 404
    answer = call(relay, "GET", "upstreams")[1]
    assert [len(one["upstreams"]) for one in answer["workers"]] == [1, 1, 1]


def test_upstreams_come_and_go(lab: Lab) -> None:
    """An upstream that is added by way of the admin socket is added to each worker, and so it is taken away."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.plex(first, workers=2)
    assert call(relay, "POST", "upstreams", {"url": second.url})[0] == 200
    relay.wait_stat("upstreams", "==", 4)
    assert call(relay, "POST", "upstreams", {"url": second.url})[0] == 409
    assert call(relay, "POST", "upstreams/remove", {"url": first.url})[0] == 200
    relay.wait_stat("upstreams", "==", 2)
    assert newcomer(lab, relay, first, second).upstream is second


def test_a_new_worker_has_the_upstreams_of_the_others(lab: Lab) -> None:
    """A worker that takes another's place has the upstreams that were added, and not those that were taken out; after a reload those of the file."""
    first, second, third = (lab.upstream() for _ in range(3))
    relay = lab.run(f"""
        [[relay]]
        kind = "plex"
        name = "p"
        listen = "127.0.0.1:0"
        upstream = ["{first.url}", "{second.url}"]
        retry-min = "10ms"
        workers = 2
    """).allow("worker-killed", "worker-lost", "upstream-lost")
    relay.wait_stat("upstreams", "==", 4)

    def upstreams() -> list[set[str]]:
        return [{one["upstream"] for one in worker["upstreams"] if one["state"] != "leaving"} for worker in call(relay, "GET", "upstreams")[1]["workers"]]

    def replace(worker: int) -> None:
        pid = workers(relay)[worker]["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: workers(relay)[worker]["pid"] not in {0, pid}, "another takes its place")

    for url in (third.url, second.url):  # one that is taken out and put back is as the file has it
        assert call(relay, "POST", "upstreams" if url == third.url else "upstreams/remove", {"url": url})[0] == 200
    assert call(relay, "POST", "upstreams/remove", {"url": first.url})[0] == 200
    assert call(relay, "POST", "upstreams", {"url": second.url})[0] == 200
    there = upstreams()
    assert there[0] == there[1] and len(there[0]) == 2
    replace(0)
    assert upstreams() == there
    replace(1)
    assert upstreams() == there
    relay.wait_stat("upstreams", "==", 4)
    relay.reload()
    until(lambda: upstreams() != there, "they go by the file")
    there = upstreams()
    replace(1)
    until(lambda: upstreams()[0] == upstreams()[1], "they go by the file")
    assert len(upstreams()[0]) == 2 and upstreams() == [there[0]] * 2


def asked_of_two(lab: Lab) -> tuple[Relay, list[int], Task]:
    """Two workers are asked to add an upstream: the first has done it, and the second is stopped."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.plex(first, workers=2).allow("worker-killed", "worker-lost")
    relay.wait_stat("upstreams", "==", 2)
    pids = [worker["pid"] for worker in workers(relay)]
    os.kill(pids[1], signal.SIGSTOP)
    body = json.dumps({"url": second.url}).encode()
    asked = Task(admin_ask, relay.admin_place, "POST", f"/relays/{relay.relay_status()['name']}/upstreams", None, body)
    relay.wait_stat("upstreams", "==", 3)
    return relay, pids, asked


def test_a_new_worker_does_what_the_last_was_asked(lab: Lab) -> None:
    """A worker is killed while all are asked to add an upstream: the others do it, and so does who takes its place."""
    relay, pids, asked = asked_of_two(lab)
    os.kill(pids[1], signal.SIGKILL)
    assert asked.result().status == 200
    relay.wait_stat("upstreams", "==", 4)


def test_who_asks_for_an_upstream_and_leaves(lab: Lab) -> None:
    """What all are doing when the asker leaves is done, and a new worker does it, too."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.plex(first, workers=2).allow("worker-killed", "worker-lost")
    relay.wait_stat("upstreams", "==", 2)
    pid = workers(relay)[1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    body = json.dumps({"url": second.url})
    asker = raw(relay.admin_place)
    asker.sendall(request(f"/relays/{relay.relay_status()['name']}/upstreams", "POST", f"Content-Length: {len(body)}") + body.encode())
    relay.wait_stat("upstreams", "==", 3)
    asker.close()
    os.kill(pid, signal.SIGCONT)
    relay.wait_stat("upstreams", "==", 4)
    for worker in (1, 0):
        os.kill(workers(relay)[worker]["pid"], signal.SIGKILL)
        relay.wait_stat("upstreams", "==", 2)
        relay.wait_stat("upstreams", "==", 4)
    assert call(relay, "POST", "upstreams/remove", {"url": second.url})[0] == 200
    relay.wait_stat("upstreams", "==", 2)


def test_who_answers_dies_and_is_back_before_the_last(lab: Lab) -> None:
    """A worker that has answered and is replaced while another still hangs: the new one does it as well."""
    relay, (quick, late), asked = asked_of_two(lab)
    os.kill(quick, signal.SIGKILL)
    until(lambda: workers(relay)[0]["pid"] not in {0, quick}, "another takes its place")
    os.kill(late, signal.SIGCONT)
    assert asked.result().status == 200
    relay.wait_stat("upstreams", "==", 4)


def test_a_question_to_one_who_has_died(lab: Lab) -> None:
    """Who asks a worker that hangs, and is then killed, gets an answer: that it has ended."""
    _, relay, met = world(lab, 2)
    relay.allow("worker-killed", "worker-lost")
    pid = workers(relay)[1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    name = relay.status()["relays"][0]["name"]
    with Question(relay, f"/relays/{name}/clients/{of_worker(met, 1)[0].uuid}") as answer:
        os.kill(pid, signal.SIGKILL)
        assert answer() == 503
    relay.wait_stat("workers", "==", 2)


# Watching


def test_too_many_watchers(lab: Lab) -> None:
    """A watch that any worker refuses is refused, in words and with its status, over gRPC and HTTP."""
    relay = lab.plex(lab.upstream(), workers=2, watchers=1)
    with Rpc(relay) as rpc:
        watch = rpc.watch()
        assert relay.stats()["watchers"] == 2  # it has begun at both
        assert rpc.fails("Watch", client_uuids=["me"])[0] == "INVALID_ARGUMENT"
        assert rpc.fails("Watch")[0] == "RESOURCE_EXHAUSTED"
        status, said = call(relay, "GET", "watch")
        assert status == 429 and "watchers" in said["error"]
        assert call(relay, "GET", "watch?client=me")[0] == 400
        watch.cancel()
        relay.wait_stat("watchers", "==", 0)


def test_a_slow_watcher(lab: Lab) -> None:
    """Who does not read is told how much he has missed, and it is counted."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=2, watch_queue="16KiB", log_level="info")
    name = relay.status()["relays"][0]["name"]
    slow = raw(relay.admin_place)
    slow.sendall(request(f"/relays/{name}/watch"))
    relay.wait_stat("watchers", "==", 2)

    def missed() -> bool:
        for _ in range(100):
            lab.client(relay).reset()
            lab.peers.pop()
        return relay.stats()["missed_events"] > 0

    until(missed, "something is missed", 30)
    relay.wait_stat("clients", "==", 0)
    heard = b""
    while b'"event":"missed"' not in heard:
        heard += slow.recv(100_000)
    slow.close()
    relay.wait_stat("watchers", "==", 0)


def test_a_watch_of_a_drain(lab: Lab) -> None:
    """A watch hears of all that go when the relay ends, though some workers have ended long before."""
    upstream, relay, met = world(lab, 2, drain_grace="2s")
    last = of_worker(met, 1)[0]
    for one in met:
        if one is not last:
            one.peer.reset()
    relay.wait_stat("clients", "==", 1)
    with Rpc(relay) as rpc:
        watch = rpc.watch()
        relay.signal(signal.SIGTERM)
        relay.wait_stat("workers", "==", 1)
        code, said = call(relay, "GET", "watch")
        assert (code, said["error"]) == (503, "the relay ends")
        assert last.peer.read_all() == b""
        last.peer.close()
        assert watch.wait("DISCONNECTED", client_uuid=last.uuid).close.reason == pb.CLOSE_DRAIN
        assert watch.end() == "UNAVAILABLE"
    relay.check_exit()
