# SPDX-License-Identifier: Apache-2.0
"""A plex by way of its admin socket: any program may speak to clients and end them, and upstreams come and go."""
# Issue: point 7, over HTTP.

import base64
import json
import uuid
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import announced, newcomer, trade
from harness.process import Relay
from harness.until import until


def call(relay: Relay, method: str, what: str, body: Any = None) -> tuple[int, Any]:
    name = relay.status()["relays"][0]["name"]
    answer = relay.admin(method, f"/relays/{name}/{what}", body=None if body is None else json.dumps(body))
    return answer.status, json.loads(answer.text())


def test_send(lab: Lab) -> None:
    """What is posted for a client reaches it, as text or as bytes."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    assert call(relay, "POST", "send", {"client_uuid": one.uuid, "text": "hällo"})[1]["sent"] == 1
    assert one.peer.read(6) == "hällo".encode()
    assert call(relay, "POST", "send", {"client_uuid": one.uuid, "payload": base64.b64encode(bytes(range(256))).decode()})[0] == 200
    assert one.peer.read(256) == bytes(range(256))
    trade(one.peer, 3)


def test_broadcast_list_and_group(lab: Lab) -> None:
    """It may be for all, for some, or for a group."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(3)]
    call(relay, "POST", "send", {"client_uuids": [met[0].uuid, met[1].uuid], "text": "two."})
    call(relay, "POST", "send", {"broadcast": "ALL", "text": "all.", "except_uuids": [met[0].uuid.upper()]})
    call(relay, "POST", "send", {"group": "g", "command": "JOIN", "client_uuids": [met[2].uuid]})
    call(relay, "POST", "send", {"group": "g", "text": "g."})
    assert met[0].peer.read(4) == b"two."
    assert met[1].peer.read(8) == b"two.all."
    assert met[2].peer.read(6) == b"all.g."
    assert relay.stats()["groups"] == 1


def test_close(lab: Lab) -> None:
    """A client is ended with a last word, and its upstream hears that an operator did it."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream)
    one, other = announced(lab, relay, upstream), announced(lab, relay, upstream)
    assert call(relay, "POST", "send", {"client_uuid": one.uuid, "text": "bye", "command": "CLOSE", "reason": "tidying up"})[0] == 200
    assert one.peer.read_all() == b"bye"
    one.peer.close()
    ended = upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)
    assert (ended.close.reason, ended.close.details) == (pb.CLOSE_ADMIN, "tidying up")
    call(relay, "POST", "send", {"client_uuid": other.uuid, "command": "COMMAND_ABORT"})
    assert other.peer.read_end() == (b"", "reset")


def test_list_and_look(lab: Lab) -> None:
    """Clients are listed some at a time, and one is shown by its name."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(5)]
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        code, page = call(relay, "GET", f"clients?most=2&after={after}")
        assert code == 200 and len(page["clients"]) <= 2
        seen += [one["client"] for one in page["clients"]]
        after = page["next"]
    assert sorted(seen) == sorted(one.uuid for one in met)
    code, page = call(relay, "GET", "clients?most=0")
    assert (code, len(page["clients"]), page["next"]) == (200, 5, None)
    code, shown = call(relay, "GET", f"clients/{met[0].uuid}")
    assert (code, shown["peer"], shown["upstream"], shown["state"]) == (200, met[0].peer.local, upstream.url, "open")
    assert call(relay, "GET", f"clients/{uuid.uuid4()}")[0] == 404


def test_upstreams_come_and_go(lab: Lab) -> None:
    """One is added while the relay runs, and another taken out: its clients go over to the first."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.plex(first).allow("upstream-left")
    one = newcomer(lab, relay, first)
    assert call(relay, "POST", "upstreams", {"url": second.url})[0] == 200
    relay.wait_stat("upstreams", "==", 2)
    assert call(relay, "POST", "upstreams", {"url": second.url})[0] == 409
    assert call(relay, "POST", "upstreams/remove", {"url": first.url})[0] == 200
    until(lambda: relay.stats()["rehomed"] == 1, "the client is the other's")
    trade(one.peer, 5)
    listed = call(relay, "GET", "upstreams")[1]["upstreams"]
    assert [(one["upstream"], one["state"]) for one in listed] == [(second.url, "up")]
    assert call(relay, "POST", "upstreams/remove", {"url": first.url})[0] == 404


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_goes_by_the_file(lab: Lab, workers: int) -> None:
    """A reload takes out an upstream that was added by hand, and brings back one that was taken out, though the file is as it was."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.run(f"""
        [[relay]]
        kind = "plex"
        listen = "127.0.0.1:0"
        upstream = "{first.url}"
        workers = {workers}
        retry-min = "10ms"
    """).allow("upstream-left")
    relay.wait_stat("upstreams", "==", workers)
    assert call(relay, "POST", "upstreams", {"url": second.url})[0] == 200
    relay.wait_stat("upstreams", "==", 2 * workers)
    assert call(relay, "POST", "upstreams/remove", {"url": first.url})[0] == 200
    relay.wait_stat("upstreams", "==", workers)
    assert relay.reload().status == 200
    relay.wait_stat("dials", "==", 3 * workers)
    relay.wait_stat("upstreams", "==", workers)
    assert newcomer(lab, relay, first, second).upstream is first


@pytest.mark.parametrize("what, body, code, said", [
    ("send", {"text": "x"}, 400, "no target"),
    ("send", {"client_uuid": "00000000-0000-4000-8000-000000000000", "text": "x"}, 404, ""),
    ("send", {"client_uuid": "nobody", "text": "x"}, 404, ""),
    ("send", {"broadcast": "SOME"}, 400, "ACTIVE"),
    ("send", {"broadcast": "ALL", "payload": "***"}, 400, "base64"),
    ("send", {"broadcast": "ALL", "colour": "red"}, 400, "colour"),
    ("send", {"broadcast": "ALL", "command": "DANCE"}, 400, "CLOSE"),
    ("send", {"client_uuid": "x", "broadcast": "ALL", "text": "x"}, 400, "more than one target"),
    ("send", {"broadcast": "ALL", "client_uuid": "x", "text": "x"}, 400, "more than one target"),
    ("send", {"group": "g", "broadcast": "ALL", "text": "x"}, 400, "more than one target"),
    ("send", {"broadcast": "ALL", "text": "x", "payload": "eA=="}, 400, "text and payload"),
    ("send", {"broadcast": "ALL", "text": "", "payload": "eA=="}, 400, "text and payload"),
    ("send", {"group": "g" * 256, "text": "x"}, 400, "group: a name has at most 255"),
    ("send", {"group": "g" * 256, "command": "JOIN", "client_uuids": ["x"]}, 400, "group: a name has at most 255"),
    ("send", {"client_uuid": "x", "labels": {"a": "b" * 257}}, 400, "labels: a name, and a value, has at most 256"),
    ("send", {"client_uuid": "x", "labels": {"a" * 257: "b"}}, 400, "labels: a name, and a value, has at most 256"),
    ("send", {"client_uuid": "x", "labels": {f"{number}": "x" for number in range(65)}}, 400, "labels: at most 64"),
    ("send", {"broadcast": "ALL", "labels": {"a": "b"}}, 400, "labels: these are for clients that are named"),
    ("send", {"broadcast": "ALL", "text": "x", "except_uuids": ["x"] * 4097}, 400, "except_uuids: at most 4096"),
    ("send", {"text": "x", "client_uuids": ["x"] * 4097}, 400, "client_uuids: at most 4096"),
    ("send", {"group": "g", "idle_timeout_ms": 5}, 400, "idle_timeout_ms: this is for clients that are named"),
    ("send", [], 400, "no target"),
    ("upstreams", {}, 400, "url"),
    ("upstreams", {"url": "ftp://a:1"}, 400, "grpc"),
    ("upstreams", {"url": "grpcs://127.0.0.1:1"}, 400, "TLS"),
    ("upstreams", {"url": "grpc://127.0.0.1:1/api"}, 400, "path"),
    ("upstreams", {"url": "grpc://127.0.0.1:1", "weight": 3}, 400, "weight"),
    ("upstreams/remove", {"upstream": "grpc://127.0.0.1:1"}, 400, "there is url"),
    ("send", {"client_uuids": "x", "text": "x"}, 400, "client_uuids: a list"),
    ("send", {"broadcast": "ALL", "except_uuids": [7], "text": "x"}, 400, "except_uuids: a list"),
    ("nothing", {}, 404, "no such"),
])
def test_mistakes(lab: Lab, what: str, body: Any, code: int, said: str) -> None:
    """What is wrong is said, and costs nobody anything."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    answer = call(relay, "POST", what, body)
    assert answer[0] == code and said in json.dumps(answer[1]), answer
    trade(one.peer, 2)


@pytest.mark.parametrize("body", [
    '{"client_uuid": "x", "client_uuid": "y", "text": "x"}', '{"broadcast": "ALL", "text": "x", "text": "y"}',
    '{"client_uuids": ["x"], "labels": {"a": "1", "a": "2"}}', '{"client_uuids": ["x"], "reason": "x", "reason": "x"}',
])  # fmt: skip
def test_twice(lab: Lab, body: str) -> None:
    """What stands there twice is refused: nobody can tell which is meant."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    answer = relay.admin("POST", f"/relays/{relay.status()['relays'][0]['name']}/send", body=body)
    assert answer.status == 400 and "stands there twice" in answer.text()
    trade(one.peer, 2)


def test_the_most(lab: Lab) -> None:
    """What is just short enough is done: a group's name, labels, and more targets beside one."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream)
    met = [announced(lab, relay, upstream) for _ in range(2)]
    group = "g" * 255
    assert call(relay, "POST", "send", {"group": group, "command": "JOIN", "client_uuids": [met[0].uuid]})[0] == 200
    labels = {f"{number:02}" + "n" * 254: "v" * 256 for number in range(64)}
    answer = call(relay, "POST", "send", {"group": group, "client_uuids": [met[1].uuid], "labels": labels, "idle_timeout_ms": 60_000, "text": "both"})
    assert (answer[0], answer[1]["sent"]) == (200, 2)
    assert met[0].peer.read(4) == met[1].peer.read(4) == b"both"
    assert (relay.stats()["groups"], relay.stats()["bad_messages"]) == (1, 0)


@pytest.mark.parametrize("body", [
    {"reason": "\udc00"}, {"labels": {"a": "\udc00"}}, {"labels": {"\udc00": "a"}}, {"group": "\udc00"}, {"client_uuids": ["\udc00"]}, {"text": "\udc00"},
])  # fmt: skip
def test_half_a_character(lab: Lab, body: dict[str, Any]) -> None:
    """Half of a character is none: with it in a label the next upstream could not read what it is told of the client."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream)
    one = announced(lab, relay, upstream)
    code, said = call(relay, "POST", "send", body if "group" in body else {"client_uuid": one.uuid, **body})
    assert code == 400, said


@pytest.mark.parametrize("workers", [1, 2])
def test_the_relay_itself(lab: Lab, workers: int) -> None:
    """The relay does not become its own client: its own places are refused here as they are in the file."""
    upstream, port = lab.upstream(), lab.port()
    path = f"unix:{lab.folder}/devices"
    relay = lab.plex(upstream, listen=[f"127.0.0.1:{port}", path], workers=workers)
    for url in (f"grpc://127.0.0.1:{port}", f"grpc://localhost:{port}", path):
        code, said = call(relay, "POST", "upstreams", {"url": url})
        assert code == 400 and "the relay itself listens on" in said["error"], said
    assert relay.stats()["upstreams"] == workers
    assert call(relay, "POST", "upstreams", {"url": f"grpc://127.0.0.1:{lab.port()}"})[0] == 200
    relay.allow("dial-failed")


def test_what_was_not_sent(lab: Lab) -> None:
    """What does not fit, and ends the client, does not count as sent."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = lab.plex(upstream, client_queue="64KiB", slow_client="disconnect")
    one = announced(lab, relay, upstream, rcvbuf=4096)
    before, sent = relay.stats()["messages_out"], 0
    while True:
        code, said = call(relay, "POST", "send", {"client_uuid": one.uuid, "text": "x" * 50_000})
        assert code == 200 and said["sent"] + said["dropped"] == 1, said
        if said["dropped"] == 1:
            break
        sent += 1
    assert sent > 0 and relay.stats()["messages_out"] - before == sent
    assert upstream.wait(event=pb.EVENT_DISCONNECTED).close.reason == pb.CLOSE_SLOW


def test_no_json(lab: Lab) -> None:
    """A body that is no JSON, a GET where something would change, and a relay that is not there are refused."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    name = relay.status()["relays"][0]["name"]
    assert relay.admin("POST", f"/relays/{name}/send", body="{").status == 400
    for method, what, other in (("GET", "send", "POST"), ("GET", "upstreams/remove", "POST"), ("POST", "clients", "GET"), ("POST", "watch", "GET")):
        answer = relay.admin(method, f"/relays/{name}/{what}", body=None if method == "GET" else "{}")
        assert (answer.status, answer.headers.get("allow")) == (405, other) and f"use {other}" in answer.text(), what
    assert relay.admin("POST", "/relays/nobody/send", body="{}").status == 404
    assert relay.admin("GET", f"/relays/{name}/clients?most=5000").status == 400
    for asked, there in (("clients?mots=5", "after most"), ("watch?clients=x", "client"), ("clients?after=9223372036854775808", "")):
        answer = relay.admin("GET", f"/relays/{name}/{asked}")
        assert (answer.status, there in answer.text()) == (400 if there else 200, True), asked
    assert relay.admin("GET", f"/relays/{name}/clients?after=99999999999999999999").status == 400
