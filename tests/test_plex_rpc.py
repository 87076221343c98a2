# SPDX-License-Identifier: Apache-2.0
"""A plex that is controlled by gRPC: any program, in any language, speaks to clients, ends them, lists them and watches them come and go."""
# Issue: point 7.

import http.client
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from harness.admin import AdminClient, raw, request
from harness.certs import client_context
from harness.lab import Lab, options
from harness.peers.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, grpc_message, header_block, huffman
from harness.peers.upstream_proto import control, pb
from harness.plex import announced, newcomer, trade
from harness.process import Relay, has_tls
from harness.rpc import SERVICE, Rpc
from harness.scale import ROOT, SLOW, seconds
from harness.sockets import Peer
from harness.tls_world import World
from harness.until import until


@pytest.fixture
def rpcs() -> Iterator[list[Rpc]]:
    made: list[Rpc] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def at(rpcs: list[Rpc]) -> Any:
    """Rpc, closed at the end."""

    def make(relay: Relay, **how: Any) -> Rpc:
        rpcs.append(Rpc(relay, **how))
        return rpcs[-1]

    return make


def name_of(relay: Relay) -> str:
    return str(relay.status()["relays"][0]["name"])


def test_send(lab: Lab, at: Any) -> None:
    """What is sent to a client by gRPC reaches it, whether the relay is named or the only one."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    rpc = at(relay)
    one, other = newcomer(lab, relay, upstream), newcomer(lab, relay, upstream)
    assert rpc.call("Send", client_uuid=one.uuid, payload=bytes(range(256))).sent == 1
    assert one.peer.read(256) == bytes(range(256))
    assert rpc.call("Send", relay=name_of(relay), client_uuids=[one.uuid, other.uuid], payload=b"two").sent == 2
    assert one.peer.read(3) == other.peer.read(3) == b"two"
    mixed = rpc.call("Send", client_uuids=[one.uuid, str(uuid.uuid4())], payload=b"one")
    assert (mixed.sent, mixed.unknown) == (1, 1)
    assert one.peer.read(3) == b"one"
    trade(one.peer, 3)


def test_broadcast_and_groups(lab: Lab, at: Any) -> None:
    """It may be for all but some, or for a group."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    rpc = at(relay)
    met = [newcomer(lab, relay, upstream) for _ in range(3)]
    rpc.call("Broadcast", payload=b"all.", except_uuids=[met[0].uuid])
    rpc.call("Send", group="g", command=pb.COMMAND_JOIN, client_uuids=[met[2].uuid])
    rpc.call("Send", group="g", payload=b"g.")
    rpc.call("Broadcast", broadcast=pb.ACTIVE, payload=b"active.")
    assert met[0].peer.read(7) == b"active."
    assert met[1].peer.read(11) == b"all.active."
    assert met[2].peer.read(13) == b"all.g.active."
    assert relay.stats()["groups"] == 1


def test_what_is_counted(lab: Lab, at: Any) -> None:
    """What was said to all just before is not counted as sent to the one who is spoken to now."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    both = Chatter(relay)
    both.call(1, "List")
    hear(both.peer, lambda heard: one.uuid.encode() in heard)
    to_all = control.BroadcastRequest(payload=b"all.").SerializeToString()
    to_one = control.SendRequest(client_uuid=one.uuid, payload=b"one.").SerializeToString()
    both.peer.send(both.frames(3, "Broadcast", to_all) + both.frames(5, "Send", to_one))
    said = grpc_message(control.SendResult(sent=1, under_way=True).SerializeToString())
    hear(both.peer, lambda heard: said in heard)
    assert one.peer.read(8) == b"all.one."
    both.peer.close()


def test_close(lab: Lab, at: Any) -> None:
    """A client is ended with a last word, or at once, and its upstream hears that an operator did it."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream)
    rpc = at(relay)
    one, other = announced(lab, relay, upstream), announced(lab, relay, upstream)
    assert rpc.call("Close", client_uuid=one.uuid, payload=b"bye", reason="tidying up").sent == 1
    assert one.peer.read_all() == b"bye"
    one.peer.close()
    ended = upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)
    assert (ended.close.reason, ended.close.details) == (pb.CLOSE_ADMIN, "tidying up")
    rpc.call("Close", client_uuids=[other.uuid], abort=True)
    assert other.peer.read_end() == (b"", "reset")


def test_list_and_get(lab: Lab, at: Any) -> None:
    """Clients are listed some at a time, and one is shown by its name."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    rpc = at(relay)
    met = [newcomer(lab, relay, upstream) for _ in range(5)]
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = rpc.call("List", after=after, most=2)
        assert len(page.clients) <= 2
        seen += [one.client_uuid for one in page.clients]
        after = page.next if page.HasField("next") else None
    assert sorted(seen) == sorted(one.uuid for one in met)
    assert len(rpc.call("List").clients) == 5
    shown = rpc.call("Get", client_uuid=met[0].uuid)
    assert (shown.client_uuid, shown.peer, shown.upstream, shown.state) == (met[0].uuid, met[0].peer.local, upstream.url, "open")
    assert shown.messages == 1


def test_upstreams_come_and_go(lab: Lab, at: Any) -> None:
    """One is added while the relay runs, and another taken out."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.plex(first).allow("upstream-left")
    rpc = at(relay)
    one = newcomer(lab, relay, first)
    rpc.call("AddUpstream", url=second.url)
    relay.wait_stat("upstreams", "==", 2)
    assert rpc.fails("AddUpstream", url=second.url) == ("FAILED_PRECONDITION", "it is there already")
    rpc.call("RemoveUpstream", url=first.url)
    until(lambda: relay.stats()["rehomed"] == 1, "the client is the other's")
    trade(one.peer, 5)
    until(lambda: [(each.upstream, each.state, each.clients) for each in rpc.call("Upstreams").upstreams] == [(second.url, "up", 1)], "one upstream")
    assert rpc.fails("RemoveUpstream", url=first.url)[0] == "NOT_FOUND"


MISTAKES = {
    "no target": ("Send", {"payload": b"x"}, "INVALID_ARGUMENT", "no target"),
    "unknown client": ("Send", {"client_uuid": str(uuid.uuid4())}, "NOT_FOUND", "client_uuid"),
    "no client": ("Get", {"client_uuid": "nobody"}, "NOT_FOUND", "client_uuid"),
    "no close": ("Close", {}, "INVALID_ARGUMENT", "no target"),
    "no group": ("Send", {"command": 7, "group": "g"}, "INVALID_ARGUMENT", "client_uuids"),
    "long group": ("Send", {"group": "g" * 256}, "INVALID_ARGUMENT", "group"),
    "long name": ("Send", {"command": 7, "group": "g" * 300, "client_uuids": ["x"]}, "INVALID_ARGUMENT", "group"),
    "long label": ("Send", {"client_uuid": "x", "labels": {"a": "b" * 257}}, "INVALID_ARGUMENT", "labels"),
    "labels": ("Send", {"client_uuid": "x", "labels": {f"{number}": "x" for number in range(65)}}, "INVALID_ARGUMENT", "labels"),
    "whose labels": ("Send", {"group": "g", "labels": {"a": "b"}}, "INVALID_ARGUMENT", "labels"),
    "whose time": ("Send", {"group": "g", "idle_timeout_ms": 5}, "INVALID_ARGUMENT", "idle_timeout_ms"),
    "too many": ("List", {"most": 5000}, "INVALID_ARGUMENT", "most"),
    "no url": ("AddUpstream", {}, "INVALID_ARGUMENT", "url"),
    "no such url": ("AddUpstream", {"url": "ftp://a:1"}, "INVALID_ARGUMENT", "url"),
    "no uuid": ("Watch", {"client_uuids": ["me"]}, "INVALID_ARGUMENT", "client_uuids"),
    "no relay": ("List", {"relay": "nobody"}, "NOT_FOUND", "relay"),
    "no command": ("Send", {"client_uuid": "x", "command": 77}, "INVALID_ARGUMENT", "command: a number that stands for nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(lab: Lab, at: Any, name: str) -> None:
    """What is wrong with a call is said by its code and in words, and costs nobody anything."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    method, fields, code, words = MISTAKES[name]
    said = at(relay).fails(method, **fields)
    assert said[0] == code and words in said[1], said
    trade(one.peer, 2)


def test_the_relay_itself(lab: Lab, at: Any) -> None:
    """The relay does not become its own client."""
    upstream, port = lab.upstream(), lab.port("0.0.0.0")
    relay = lab.plex(upstream, listen=f"0.0.0.0:{port}")
    said = at(relay).fails("AddUpstream", url=f"grpc://127.0.0.1:{port}")
    assert said == ("INVALID_ARGUMENT", f"url: the relay itself listens on 127.0.0.1:{port}; give the upstream's own address")


def test_no_such_method_or_message(lab: Lab, at: Any) -> None:
    """Methods and services that there are not, messages that are none, are too long or compressed are refused each in its way."""
    relay = lab.plex(lab.upstream())
    rpc = at(relay)
    assert rpc.fails("Dance", b"") == ("UNIMPLEMENTED", "no such method")
    for path in (f"/{SERVICE}x/Send", "/Send", "/", f"/{SERVICE}"):
        assert rpc.fails(path, b"")[0] == "UNIMPLEMENTED", path
    assert rpc.fails("Send", b"\xff\xff")[0] == "INVALID_ARGUMENT"
    assert rpc.fails("Send", b"\x12\xff")[0] == "INVALID_ARGUMENT"
    code, words = rpc.fails("Send", control.SendRequest(client_uuid="x", payload=bytes(70_000)).SerializeToString())
    assert code == "RESOURCE_EXHAUSTED" and "65536" in words
    with pytest.raises(grpc.RpcError) as refused:
        rpc.raw("Send", control.SendRequest(client_uuid="x", payload=bytes(3000)).SerializeToString(), compression=grpc.Compression.Gzip)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not rpc.call("List").clients


def test_two_relays(lab: Lab, at: Any) -> None:
    """Where there are several, it has to be said which one is meant."""
    upstream = lab.upstream()
    table = f'[[relay]]\nkind = "plex"\nlisten = "127.0.0.1:0"\nupstream = "{upstream.url}"\nclients = 100\n'
    relay = lab.run(f'log-level = "debug"\n{table}name = "one"\n{table}name = "two"\n')
    rpc = at(relay)
    assert rpc.fails("List") == ("INVALID_ARGUMENT", "relay: there are several; say which")
    assert not rpc.call("List", relay="two").clients
    relay.wait_stat("upstreams", "==", 1, relay="one")
    relay.wait_stat("upstreams", "==", 1, relay="two")


# ---- who may


def test_token(lab: Lab, at: Any) -> None:
    """Over TCP with a token, who has it is served, and nobody else."""
    upstream = lab.upstream()
    token = lab.file("token", "open-sesame\n")
    relay = lab.plex(upstream, admin="tcp:127.0.0.1:0", admin_token_file=token, token="open-sesame")
    for wrong in ("", "open-sesamo", "x"):
        code, words = at(relay, token=wrong).fails("List")
        assert code == "UNAUTHENTICATED" and "token" in words
    rpc = at(relay, token="open-sesame")
    assert not rpc.call("List").clients
    assert at(relay, token="wrong").watch().end() == "UNAUTHENTICATED"


def test_names_of_others(lab: Lab, at: Any) -> None:
    """Over TCP without a token nobody is served who calls the relay by a name that may be somebody else's."""
    relay = lab.plex(lab.upstream(), admin="tcp:127.0.0.1:0")
    assert not at(relay).call("List").clients
    other = Rpc(relay, **{"grpc.default_authority": "evil.example:80"})
    with other:
        assert other.fails("List")[0] == "PERMISSION_DENIED"


def test_who_may_only_look(lab: Lab, at: Any) -> None:
    """Over TCP without a token, which any program of the machine can have, everything is shown and nothing done."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, admin="tcp:127.0.0.1:0")
    one = newcomer(lab, relay, upstream)
    rpc = at(relay)
    for method, fields in (("Send", {"client_uuid": one.uuid, "payload": b"x"}), ("Broadcast", {"payload": b"x"}), ("Close", {"client_uuid": one.uuid}),
                           ("AddUpstream", {"url": "grpc://127.0.0.1:1"}), ("RemoveUpstream", {"url": upstream.url})):  # fmt: skip
        code, words = rpc.fails(method, **fields)
        assert code == "PERMISSION_DENIED" and "admin-token-file" in words, method
    assert rpc.call("Get", client_uuid=one.uuid).client_uuid == one.uuid
    assert len(rpc.call("List").clients) == len(rpc.call("Upstreams").upstreams) == 1
    watch = rpc.watch()
    newcomer(lab, relay, upstream)
    watch.wait("CONNECTED")
    base = f"/relays/{relay.status()['relays'][0]['name']}"
    for what in ("send", "upstreams", "nothing"):
        answer = relay.admin("POST", f"{base}/{what}", body='{"broadcast": "ALL", "text": "x"}')
        assert answer.status == 403 and "admin-token-file" in answer.text(), what
    assert relay.admin("GET", f"{base}/clients").status == 200
    trade(one.peer, 1)


@pytest.mark.skipif(not has_tls(), reason="built without TLS")
def test_tls(lab: Lab, at: Any, world: World) -> None:
    """Over TLS gRPC's clients have HTTP/2, and those who know both have the pages of HTTP/1.1."""
    keys = {"listen": "127.0.0.1:0", "upstream": lab.upstream().url, "admin": "tls:127.0.0.1:0", "admin_cert": world.relay.cert, "admin_key": world.relay.key}
    relay = lab.start("plex", *options(**keys))
    rpc = at(relay, ca=world.ca.cert)
    assert not rpc.call("List").clients
    watch = rpc.watch()
    client = lab.at(relay.wait_log("listening", role="client")["addr"], None)
    event = watch.wait("CONNECTED")
    assert event.client.peer == client.local
    watch.cancel()
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], "h2"), ([], None)):
        context = client_context(world.ca.cert)
        if offered:
            context.set_alpn_protocols(offered)
        with context.wrap_socket(raw(relay.admin_place.removeprefix("tls:")), server_hostname="localhost") as wrapped:
            assert wrapped.selected_alpn_protocol() == chosen
            if chosen != "h2":
                wrapped.sendall(request("/healthz"))
                assert wrapped.recv(100).startswith(b"HTTP/1.1 200 ")


# ---- watching


def test_watch(lab: Lab, at: Any) -> None:
    """A watcher hears of each client that comes, has no more to say and goes, with who it was and why."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    watch = at(relay).watch()
    assert relay.stats()["watchers"] == 1
    one = newcomer(lab, relay, upstream)
    came = watch.wait("CONNECTED", client_uuid=one.uuid)
    assert (came.client.peer, came.upstream, came.client.listener) == (one.peer.local, upstream.url, "tcp://127.0.0.1:0")
    assert len(came.time) == len("2026-01-01T00:00:00.000Z")
    one.peer.finish()
    assert watch.wait("READ_EOF", client_uuid=one.uuid).seq == 1
    at(relay).call("Close", client_uuid=one.uuid, reason="enough")
    gone = watch.wait("DISCONNECTED", client_uuid=one.uuid)
    assert (gone.close.reason, gone.close.details, gone.seq) == (pb.CLOSE_ADMIN, "enough", 1)
    watch.cancel()
    relay.wait_stat("watchers", "==", 0)


def test_watch_some(lab: Lab, at: Any) -> None:
    """A watcher may want to hear of some clients only."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one, other = newcomer(lab, relay, upstream), newcomer(lab, relay, upstream)
    watch = at(relay).watch(client_uuids=[one.uuid])
    other.peer.reset()
    relay.wait_stat("clients", "==", 1)
    one.peer.reset()
    assert watch.wait("DISCONNECTED").close.reason == pb.CLOSE_RESET
    assert [event.client_uuid for event in watch.events] == [one.uuid]
    watch.cancel()


def test_watch_rehomed_and_accepted(lab: Lab, at: Any) -> None:
    """It hears that a client was accepted, that it waits for an upstream and that another has it."""
    first = lab.upstream(features=("EVENTS", "AUTH"))
    relay = lab.plex(first).allow("upstream-lost", "upstream-left")
    rpc = at(relay)
    watch = rpc.watch()
    one = announced(lab, relay, first)
    assert not watch.named("ACCEPTED")
    first.command(one.uuid, "ACCEPT")
    watch.wait("ACCEPTED", client_uuid=one.uuid)
    second = lab.upstream()
    rpc.call("AddUpstream", url=second.url)
    relay.wait_stat("upstreams", "==", 2)
    rpc.call("RemoveUpstream", url=first.url)
    assert watch.wait("REHOMED", client_uuid=one.uuid).upstream == second.url
    rpc.call("RemoveUpstream", url=second.url)
    relay.wait_stat("upstreams", "==", 0)
    lonely = lab.client(relay)
    came = watch.wait("CONNECTED", count=2)
    assert (came.client.peer, came.upstream) == (lonely.local, "")
    rpc.call("AddUpstream", url=second.url)
    assert watch.wait("REHOMED", client_uuid=came.client_uuid).upstream == second.url
    watch.cancel()


def test_watch_hears_of_the_end_once(lab: Lab, at: Any) -> None:
    """That a client sends nothing more is heard once, though each upstream that it has later is told so."""
    first, second = lab.upstream(features=("EVENTS",)), lab.upstream(features=("EVENTS",))
    relay = lab.plex(first).allow("upstream-left")
    rpc = at(relay)
    watch = rpc.watch()
    one = announced(lab, relay, first)
    one.peer.finish()
    watch.wait("READ_EOF", client_uuid=one.uuid)
    rpc.call("AddUpstream", url=second.url)
    relay.wait_stat("upstreams", "==", 2)
    rpc.call("RemoveUpstream", url=first.url)
    second.wait(event=pb.EVENT_READ_EOF, client_uuid=one.uuid)
    rpc.call("Close", client_uuid=one.uuid)
    watch.wait("DISCONNECTED", client_uuid=one.uuid)
    assert len(watch.named("READ_EOF")) == 1
    watch.cancel()


def test_watch_churn(lab: Lab, at: Any) -> None:
    """Of clients that come and go fast nothing is missed: each is heard to come once, and then to go once."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, half_close_timeout="50ms")
    watches = [at(relay).watch() for _ in range(3)]
    for number in range(200):
        client = lab.client(relay)
        if number % 2:
            client.reset()
        else:
            client.close()
        lab.peers.pop()
    for watch in watches:
        watch.wait("DISCONNECTED", count=200)
        story: dict[str, list[int]] = {}
        for event in watch.events:
            story.setdefault(event.client_uuid, []).append(event.kind)
        assert len(story) == 200
        for kinds in story.values():
            assert (kinds[0], kinds[-1]) == (control.WATCH_CONNECTED, control.WATCH_DISCONNECTED)
            assert len(kinds) == len(set(kinds))
        watch.cancel()
    assert relay.stats()["missed_events"] == 0


def hear(peer: Peer, enough: Callable[[bytes], bool]) -> bytes:
    """Reads until that is enough."""
    heard = b""
    while not enough(heard):
        heard += peer.read(1)
    return heard


class Chatter:
    """HTTP/2 by hand."""

    def __init__(self, relay: Relay, settings: bytes = b"") -> None:
        self.peer = Peer(raw(relay.admin_place))
        self.peer.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def call(self, stream: int, method: str, message: bytes = b"", end: bool = True, **fields: str) -> None:
        self.peer.send(self.frames(stream, method, message, end, **fields))

    def frames(self, stream: int, method: str, message: bytes = b"", end: bool = True, **fields: str) -> bytes:
        path = method if method.startswith("/") else f"/{SERVICE}/{method}"
        headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "content-type": "application/grpc", "te": "trailers"}
        begin = frame(HEADERS, END_HEADERS, stream, header_block({**headers, **{key.replace("_", "-"): value for key, value in fields.items()}}))
        return begin + (frame(DATA, END_STREAM, stream, grpc_message(message)) if end else b"")


def test_a_slow_watcher(lab: Lab, at: Any) -> None:
    """Who does not read misses events, is told how many, and costs no more than its queue."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, watch_queue="16KiB")
    slow = Chatter(relay, settings=(4).to_bytes(2, "big") + (0).to_bytes(4, "big"))  # a window of nothing
    slow.call(1, "Watch")
    relay.wait_stat("watchers", "==", 1)
    brisk = at(relay).watch()
    for number in range(1, 201):
        lab.client(relay).reset()
        lab.peers.pop()
        if number % 20 == 0:  # its queue is as short
            brisk.wait("DISCONNECTED", count=number)
    assert 0 < relay.stats()["missed_events"] < 400
    missed = relay.stats()["missed_events"]
    slow.peer.send(frame(8, 0, 1, (1 << 20).to_bytes(4, "big")))
    told, data = 0, b""
    while told < missed:  # nothing more happens
        head = slow.peer.read(9)
        payload = slow.peer.read(int.from_bytes(head[:3], "big"))
        data += payload if head[3] == DATA else b""
        while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5], "big")):
            told += control.WatchEvent.FromString(data[5:end]).missed
            data = data[end:]
    assert told == missed
    brisk.cancel()
    slow.peer.close()
    relay.wait_stat("watchers", "==", 0)


def test_too_many_watchers(lab: Lab, at: Any) -> None:
    """There are so many watchers and no more, over gRPC and HTTP together; a place that is given up is free."""
    relay = lab.plex(lab.upstream(), watchers=2)
    rpc = at(relay)
    watches = [rpc.watch(), rpc.watch()]
    code, words = rpc.fails("Watch")
    assert code == "RESOURCE_EXHAUSTED" and "watchers" in words
    assert relay.admin("GET", f"/relays/{name_of(relay)}/watch").status == 429
    assert relay.stats()["refused_watchers"] == 2
    watches[0].cancel()
    relay.wait_stat("watchers", "==", 1)
    watches.append(rpc.watch())
    for watch in watches:
        watch.cancel()


def test_a_watch_with_a_deadline(lab: Lab, at: Any) -> None:
    """A watch that is to last so long ends then, by the relay as by its client."""
    relay = lab.plex(lab.upstream())
    watch = at(relay).watch(timeout=0.3)
    assert watch.end() == "DEADLINE_EXCEEDED"
    relay.wait_stat("watchers", "==", 0)
    mute = Chatter(relay)
    mute.call(1, "Watch", grpc_timeout="200m")
    relay.wait_stat("watchers", "==", 1)
    relay.wait_stat("watchers", "==", 0)
    mute.peer.close()


def test_drain(lab: Lab, at: Any) -> None:
    """A relay that ends tells its watchers of each client that goes, and then that it has ended; they do not keep it."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    watch = at(relay).watch()
    relay.terminate()
    assert one.peer.read_all() == b""
    one.peer.close()
    assert watch.wait("DISCONNECTED", client_uuid=one.uuid).close.reason == pb.CLOSE_DRAIN
    assert watch.end() == "UNAVAILABLE"
    assert relay.wait_exit() == 0


def test_watch_over_http(lab: Lab) -> None:
    """The same events are had by curl: a line of JSON each."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    peer = Peer(raw(relay.admin_place))
    peer.send(request(f"/relays/{name_of(relay)}/watch"))
    relay.wait_stat("watchers", "==", 1)
    one = newcomer(lab, relay, upstream)
    one.peer.reset()
    heard = hear(peer, lambda heard: heard.count(b"}\n\r\n") == 2)
    lines = [json.loads(line) for line in heard.split(b"\r\n") if line.startswith(b"{")]
    assert [line["event"] for line in lines] == ["connected", "disconnected"]
    assert {line["client"] for line in lines} == {one.uuid}
    assert (lines[0]["peer"], lines[0]["upstream"], lines[1]["reason"]) == (one.peer.local, upstream.url, "client-reset")
    assert relay.admin("GET", f"/relays/{name_of(relay)}/watch?client=me").status == 400
    peer.close()
    relay.wait_stat("watchers", "==", 0)


def test_reload_takes_the_relay_out(lab: Lab, at: Any) -> None:
    """A watcher of a relay that is taken out of the configuration hears the end of it."""
    upstream = lab.upstream()
    table = f'[[relay]]\nkind = "plex"\nlisten = "127.0.0.1:0"\nupstream = "{upstream.url}"\nclients = 100\n'
    relay = lab.run(f'log-level = "debug"\n{table}name = "one"\n{table}name = "two"\n')
    watch = at(relay).watch(relay="one")
    lab.file("relay.toml", f'log-level = "debug"\n{table}name = "two"\n')
    assert relay.reload().status == 200
    assert watch.end() == "UNAVAILABLE"
    assert not at(relay).call("List").clients


def push(relay: Relay, *words: str) -> str:
    done = subprocess.run([sys.executable, str(ROOT / "examples" / "plex" / "push.py"), relay.admin_place, *words], capture_output=True, check=False, timeout=seconds(60))
    return (done.stdout + done.stderr).decode()


def test_the_example(lab: Lab) -> None:
    """The example of the manual lists, sends, tells all, ends and watches."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream)
    one = announced(lab, relay, upstream)
    assert push(relay, "list") == f"{one.uuid} {one.peer.local} {upstream.url} open 0\n"
    assert push(relay, "send", one.uuid, "Your order is ready.") == "1\n"
    assert push(relay, "broadcast", "Back at noon.") == ""
    assert one.peer.read(35) == b"Your order is ready.\nBack at noon.\n"
    watch = subprocess.Popen([sys.executable, str(ROOT / "examples" / "plex" / "push.py"), relay.admin_place, "watch"], stdout=subprocess.PIPE)
    try:
        relay.wait_stat("watchers", "==", 1)
        assert push(relay, "close", one.uuid, "tidying up") == ""
        assert one.peer.read_all() == b""
        one.peer.close()
        assert watch.stdout is not None
        assert watch.stdout.readline().decode() == f"DISCONNECTED {one.uuid} \n"
    finally:
        watch.kill()
        watch.wait()
    assert push(relay, "send", one.uuid, "too late").startswith("NOT_FOUND: client_uuid")
    for words in ((), ("lst",), ("send", one.uuid)):
        assert "unix:/run" in push(relay, *words)


def test_with_workers(lab: Lab, at: Any) -> None:
    """Where a plex is several processes it is one to who controls it: all clients are listed, watched, spoken to and ended."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream, workers=2, clients=1000)
    rpc = at(relay)
    watch = rpc.watch()
    met = [announced(lab, relay, upstream) for _ in range(10)]
    watch.wait("CONNECTED", count=10)
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = rpc.call("List", after=after, most=3)
        seen += [one.client_uuid for one in page.clients]
        after = page.next if page.HasField("next") else None
    assert sorted(seen) == sorted(one.uuid for one in met)
    for one in met:
        assert rpc.call("Get", client_uuid=one.uuid).peer == one.peer.local
        assert rpc.call("Send", client_uuid=one.uuid, payload=b"hello.").sent == 1
    assert rpc.call("Send", client_uuids=[one.uuid for one in met], payload=b"list.").unknown == 0
    rpc.call("Broadcast", payload=b"all.")
    for one in met:
        assert one.peer.read(15) == b"hello.list.all."
        rpc.call("Close", client_uuid=one.uuid, abort=True)
    watch.wait("DISCONNECTED", count=10)
    assert rpc.fails("Get", client_uuid=met[0].uuid)[0] == "NOT_FOUND"
    assert {one.upstream for one in rpc.call("Upstreams").upstreams} == {upstream.url}
    watch.cancel()
    relay.wait_stat("watchers", "==", 0)


def test_a_worker_that_dies(lab: Lab, at: Any) -> None:
    """A watch ends with the worker of which it would hear no more; who asks again hears all."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=2, clients=1000).allow("worker-lost", "worker-killed")
    watch = at(relay).watch()
    relay.wait_stat("watchers", "==", 2)
    os.kill(relay.status()["relays"][0]["workers"][1]["pid"], signal.SIGKILL)
    assert watch.end() == "UNAVAILABLE"
    relay.wait_stat("workers", "==", 2)
    relay.wait_stat("watchers", "==", 0)
    again = at(relay).watch()
    relay.wait_stat("watchers", "==", 2)
    newcomer(lab, relay, upstream)
    again.wait("CONNECTED")
    again.cancel()
    relay.wait_stat("upstreams", "==", 2)


# ---- those who have no business there


def alive(relay: Relay, at: Any) -> None:
    assert at(relay).call("List").clients is not None
    assert AdminClient(relay.admin_place).ask("GET", "/healthz").status == 200


GARBAGE = {
    "bytes": PREFACE + bytes(range(256)) * 30, "no settings": PREFACE + frame(DATA, 0, 1, b"x"), "half a preface": PREFACE[:20] + b"GET / HTTP/1.1\r\n\r\n",
    "data for nobody": PREFACE + frame(SETTINGS, 0, 0) + frame(DATA, 0, 77, b"x"), "even": PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 2, b"\x82"),
    "no hpack": PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, b"\xff" * 50), "long frame": PREFACE + b"\xff\xff\xff\0\0\0\0\0\1",
    "settings": PREFACE + frame(SETTINGS, 0, 0, (b"\0\4" + (1).to_bytes(4, "big")) * 2000),
    "pings": PREFACE + frame(SETTINGS, 0, 0) + frame(6, 0, 0, b"8 bytes.") * 20000,
    "http/1": b"POST /x HTTP/2.0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage(lab: Lab, at: Any, data: bytes) -> None:
    """What is no HTTP/2, though it begins as such, ends its own connection and nothing else."""
    relay = lab.plex(lab.upstream())
    peer = Peer(raw(relay.admin_place))
    try:
        peer.send(data)
    except OSError:
        pass
    alive(relay, at)
    peer.close()


def test_long_headers(lab: Lab, at: Any) -> None:
    """Headers longer than 16 KiB are not kept, and their call is reset; the connection's others go on."""
    relay = lab.plex(lab.upstream())
    rpc = at(relay)
    rpc._metadata = [("x-long", "y" * 15_000), ("x-more", "z" * 15_000)]
    assert rpc.fails("List")[0] == "RESOURCE_EXHAUSTED"
    rpc._metadata = []
    assert not rpc.call("List").clients
    endless = Chatter(relay)
    endless.peer.send(frame(HEADERS, 0, 1, header_block({":method": "POST"})))
    try:
        for _ in range(3000):
            endless.peer.send(frame(9, 0, 1, header_block({"x": "y" * 100}) * 50))
    except OSError:
        pass
    alive(relay, at)
    assert SLOW or relay.memory() < 16 << 20  # a sanitizer keeps what was freed
    endless.peer.close()


def test_many_streams_and_resets(lab: Lab, at: Any) -> None:
    """A thousand calls at a time are not had by one connection, nor are resets without end; others do not notice."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, watchers=1000)
    one = newcomer(lab, relay, upstream)
    many = Chatter(relay)
    for stream in range(1, 81, 2):
        many.call(stream, "Watch")
    relay.wait_stat("watchers", "==", 32)
    try:
        for stream in range(81, 2001, 2):
            many.call(stream, "Watch")
    except OSError:
        pass
    assert relay.stats()["watchers"] <= 32
    alive(relay, at)
    trade(one.peer, 10)
    many.peer.close()
    relay.wait_stat("watchers", "==", 0)
    rapid = Chatter(relay)
    try:
        for stream in range(1, 20001, 2):
            rapid.call(stream, "List", end=False)
            rapid.peer.send(frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")))
    except OSError:
        pass
    trade(one.peer, 10)
    alive(relay, at)
    rapid.peer.close()


def test_calls_that_do_not_come_whole(lab: Lab, at: Any) -> None:
    """A call without a message, with half of one, with two, or that is no gRPC is told so, and the next one on that connection is served."""
    relay = lab.plex(lab.upstream())
    peer = Chatter(relay)
    peer.call(1, "List", end=False)
    peer.peer.send(frame(DATA, END_STREAM, 1))
    peer.call(3, "List", end=False)
    peer.peer.send(frame(DATA, END_STREAM, 3, grpc_message(b"", length=5)))
    peer.call(5, "List", end=False)
    peer.peer.send(frame(DATA, END_STREAM, 5, grpc_message(b"") * 2))
    peer.call(7, "List", end=False)
    peer.peer.send(frame(DATA, END_STREAM, 7, grpc_message(b"", compressed=1)))
    peer.call(11, "List", end=False)
    peer.peer.send(frame(DATA, END_STREAM, 11, grpc_message(b"") + grpc_message(b"", length=5)))
    words = [huffman(text)[:-1] for text in ("the call has no message", "one message is enough", "a compressed message", "a message has no end")]
    hear(peer.peer, lambda heard: all(word in heard for word in words))
    peer.call(13, "/status", content_type="text/plain")
    hear(peer.peer, lambda heard: b"HTTP/1.1" in heard)
    alive(relay, at)
    peer.peer.close()


def test_answers_that_nobody_takes(lab: Lab, at: Any) -> None:
    """Who asks on and on and takes no answer is refused once a megabyte waits for him; what he has taken makes room."""
    relay = lab.plex(lab.upstream(), clients=1000)
    for _ in range(500):
        lab.client(relay)
    relay.wait_stat("clients", "==", 500)
    greedy = Chatter(relay, settings=(4).to_bytes(2, "big") + (0).to_bytes(4, "big"))  # a window of nothing
    page = control.ListRequest(most=500).SerializeToString()
    for stream in range(1, 63, 2):
        greedy.call(stream, "List", page)
    words = huffman("answers to former calls have not been taken")[:-1]
    hear(greedy.peer, lambda heard: words in heard)
    alive(relay, at)
    greedy.peer.close()


def test_long_words(lab: Lab, at: Any) -> None:
    """What is wrong is said in so many words and no more, however long that is which is wrong."""
    relay = lab.plex(lab.upstream())
    code, words = at(relay).fails("AddUpstream", url="ftp://" + "a\n" * 10_000)
    assert code == "INVALID_ARGUMENT" and words.startswith("url: ftp://a") and len(words) < 4096


def test_http_1_goes_on(lab: Lab, at: Any) -> None:
    """The pages are where they were, and a connection that has begun with HTTP/1.1 stays with it."""
    upstream = lab.upstream()
    relay = lab.plex(upstream)
    assert not at(relay).call("List").clients
    connection = http.client.HTTPConnection("localhost", timeout=seconds(10))
    connection.sock = raw(relay.admin_place)
    for _ in range(3):
        connection.request("POST", f"/relays/{name_of(relay)}/send", body=b'{"broadcast": "ALL", "text": "x"}')
        assert connection.getresponse().read().startswith(b'{"sent":')
    connection.sock.sendall(PREFACE)
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 400 ")
    connection.close()
