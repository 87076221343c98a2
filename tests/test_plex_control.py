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


@pytest.mark.parametrize("what, body, code, said", [
    ("send", {"text": "x"}, 400, "no target"),
    ("send", {"client_uuid": "00000000-0000-4000-8000-000000000000", "text": "x"}, 404, ""),
    ("send", {"client_uuid": "nobody", "text": "x"}, 404, ""),
    ("send", {"broadcast": "SOME"}, 400, "ACTIVE"),
    ("send", {"broadcast": "ALL", "payload": "***"}, 400, "base64"),
    ("send", {"broadcast": "ALL", "colour": "red"}, 400, "colour"),
    ("send", {"broadcast": "ALL", "command": "DANCE"}, 400, "CLOSE"),
    ("send", [], 400, "no target"),
    ("upstreams", {}, 400, "url"),
    ("upstreams", {"url": "ftp://a:1"}, 400, "grpc"),
    ("upstreams", {"url": "grpcs://127.0.0.1:1"}, 400, "TLS"),
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


def test_no_json(lab: Lab) -> None:
    """A body that is no JSON, a GET where something would change, and a relay that is not there are refused."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    name = relay.status()["relays"][0]["name"]
    assert relay.admin("POST", f"/relays/{name}/send", body="{").status == 400
    assert relay.admin("GET", f"/relays/{name}/send").status == 404
    assert relay.admin("POST", "/relays/nobody/send", body="{}").status == 404
    assert relay.admin("GET", f"/relays/{name}/clients?most=5000").status == 400
