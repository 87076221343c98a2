# SPDX-License-Identifier: Apache-2.0
"""Upstreams that are not ready, not alive, end, fail, lie, die and come back. Through all of it no client is lost, and each of those that are there
gets its answers from whoever is left."""

import signal
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.lab import Lab
from harness.peers import http2
from harness.peers.http2 import Fault, Liar
from harness.peers.target import stall
from harness.peers.upstream_proto import pb
from harness.plex import announced, ask, meet, newcomer, trade
from harness.process import Relay
from harness.scale import SLOW, seconds, volume
from harness.sockets import Peer
from harness.until import until

TROUBLE = ("upstream-lost", "upstream-not-ready", "dial-failed")


def plex(lab: Lab, *upstreams: Any, **keys: Any) -> Relay:
    return lab.plex(*upstreams, **keys).allow(*TROUBLE)


def all_answered(clients: list[Peer]) -> None:
    for number, client in enumerate(clients):
        ask(client, b"still there, %d?" % number)


# Ready


def test_not_ready_yet(lab: Lab) -> None:
    """A program that says that it is not ready is asked again, and gets no clients until it is; they wait, and nothing of theirs is lost."""
    upstream = lab.upstream(not_ready=5)
    relay = plex(lab, upstream, up=0)
    client = lab.client(relay)
    client.send(b"patience")
    assert client.read(8) == b"patience"
    assert upstream.counts["readies"] == 6
    assert upstream.counts["streams"] == 1
    assert relay.stats()["not_ready"] == 5


def test_ready_interval(lab: Lab) -> None:
    """Between two questions is ready-interval: a program that starts slowly is not pestered."""
    upstream = lab.upstream(not_ready=3)
    start = time.monotonic()
    plex(lab, upstream, ready_interval="300ms")
    assert time.monotonic() - start >= 0.9
    assert upstream.counts["readies"] == 4


def test_never_ready(lab: Lab) -> None:
    """A program that is never ready gets nobody; the others get all."""
    never, always = lab.upstream(not_ready=-1), lab.upstream()
    relay = plex(lab, never, always, up=1)
    never.wait_count("readies", 3)
    for _ in range(6):
        assert newcomer(lab, relay, never, always).upstream is always
    assert "streams" not in never.counts
    assert relay.stats()["upstreams"] == 1


def test_ready_hangs(lab: Lab) -> None:
    """A program that does not answer the question is asked again after ready-timeout."""
    upstream = lab.upstream(ready="hang")
    relay = plex(lab, upstream, up=0, ready_timeout="200ms")
    upstream.wait_count("readies", 3)
    upstream.change(ready="")
    relay.wait_stat("upstreams", "==", 1)
    trade(lab.client(relay), 3)


def test_ready_fails(lab: Lab) -> None:
    """A program whose answer is an error is asked again."""
    upstream = lab.upstream(ready="UNAVAILABLE")
    relay = plex(lab, upstream, up=0)
    client = lab.client(relay)
    client.send(b"hello")
    upstream.wait_count("readies", 3)
    upstream.change(ready="")
    assert client.read(5) == b"hello"


@pytest.mark.parametrize("without", [("ready",), ("live",), ("ready", "live")], ids=" ".join)
def test_who_knows_no_questions(lab: Lab, without: tuple[str, ...]) -> None:
    """A program that has not got the methods `ready` or `live` is taken at its word: it is there, so it is ready and alive."""
    upstream = lab.upstream(without=without)
    relay = lab.plex(upstream, live_interval="100ms", live_timeout="1s")
    client = lab.client(relay)
    deadline = time.monotonic() + seconds(2)
    until(lambda: trade(client, 1) or time.monotonic() > deadline, "two seconds are over")
    assert upstream.counts["streams"] == 1
    assert relay.stats()["upstreams_lost"] == 0


def test_who_has_no_live_and_hears_nothing(lab: Lab) -> None:
    """A program without `live` is not troubled while nobody says anything: servers of gRPC end who sends PINGs then."""
    upstream = lab.upstream(without=("live",))
    relay = lab.plex(upstream, live_interval="50ms", live_timeout="2s")
    client = lab.client(relay)
    trade(client, 1)
    deadline = time.monotonic() + seconds(3)
    until(lambda: relay.stats()["upstreams_lost"] > 0 or time.monotonic() > deadline, "three seconds are over")
    trade(client, 1)
    assert upstream.counts["streams"] == 1


# Live


def test_live_is_asked(lab: Lab) -> None:
    """A program is asked every live-interval whether it lives, for as long as it lasts."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, live_interval="100ms")
    upstream.wait_count("lives", 5)
    assert relay.stats()["not_live"] == 0


@pytest.mark.parametrize("live", ["no", "silent"])
def test_not_live(lab: Lab, live: str) -> None:
    """A program that says that it lives no more, or says nothing, is left for one that does, with all its clients."""
    sick, well = lab.upstream(), lab.upstream()
    relay = plex(lab, sick, well, live_interval="100ms", live_timeout="1s")
    met = [newcomer(lab, relay, sick, well) for _ in range(6)]
    assert {id(one.upstream) for one in met} == {id(sick), id(well)}
    sick.change(live=live, not_ready=-1)
    relay.wait_stat("upstreams", "==", 1)
    assert relay.stats()["not_live"] >= 1
    for one in met:
        again = meet(one.peer, sick, well)
        assert (again.uuid, again.upstream) == (one.uuid, well)


def test_live_again(lab: Lab) -> None:
    """A program that had been given up comes back by itself when it is well."""
    upstream = lab.upstream()
    relay = plex(lab, upstream, live_interval="100ms", live_timeout="1s")
    one = newcomer(lab, relay, upstream)
    upstream.change(live="no")
    upstream.wait_count("over", 1)
    upstream.change(live="yes")
    ask(one.peer, b"well again?")
    assert upstream.clients() == [one.uuid]


def test_a_program_that_hangs(lab: Lab) -> None:
    """A program that is stopped, and takes and says nothing, is left after live-timeout; when it goes on, it is taken back."""
    hung, well = lab.upstream_process(), lab.upstream()
    relay = plex(lab, hung, well, live_interval="100ms", live_timeout="1s", ready_timeout="1s", connect_timeout="1s")
    met = [newcomer(lab, relay, hung, well) for _ in range(4)]
    hung.pause()
    relay.wait_stat("upstreams", "==", 1)
    for one in met:
        ask(one.peer, b"who answers?")
        assert b"who answers" in well.payload(one.uuid)
    hung.resume()
    relay.wait_stat("upstreams", "==", 2)
    assert {id(newcomer(lab, relay, hung, well).upstream) for _ in range(4)} == {id(hung), id(well)}


# Ends


def end_ok(upstream: Any) -> None:
    upstream.end()


def end_unavailable(upstream: Any) -> None:
    upstream.end("UNAVAILABLE", "out for lunch")


def end_internal(upstream: Any) -> None:
    upstream.end("INTERNAL", "a \N{SNOWMAN} fell on it\n")


def ends_seen(relay: Relay) -> int:
    """A server that stops ends its streams and says GOAWAY, and which of these comes first is chance: it is lost, or it leaves."""
    return len(relay.find("upstream-lost")) + len(relay.find("upstream-left"))


def restart(upstream: Any) -> None:
    upstream.kill()
    upstream.start()


ENDS = [end_ok, end_unavailable, end_internal, restart]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_the_only_one_ends(lab: Lab, end: Callable[[Any], None]) -> None:
    """When a program ends its stream, or is started again, its clients notice nothing but a pause, and keep their names."""
    upstream = lab.upstream()
    relay = plex(lab, upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(5)]
    for turn in range(3):
        end(upstream)
        upstream.wait_count("streams", 2 + turn)
        until(lambda: ends_seen(relay) == 1 + turn, "its end is seen, once")
        all_answered([one.peer for one in met])
    assert set(upstream.clients()) == {one.uuid for one in met}
    assert relay.stats()["clients"] == 5


@pytest.mark.parametrize("end", [*ENDS, lambda upstream: upstream.kill()], ids=["end_ok", "end_unavailable", "end_internal", "restart", "kill"])
def test_one_of_two_ends(lab: Lab, end: Callable[[Any], None]) -> None:
    """When one of two programs goes, its clients go on with the other under the same names, at once."""
    first, second = lab.upstream(), lab.upstream()
    relay = plex(lab, first, second)
    met = [newcomer(lab, relay, first, second) for _ in range(8)]
    assert sum(one.upstream is first for one in met) == 4
    end(first)
    until(lambda: ends_seen(relay) > 0, "its end is seen")
    for one in met:
        again = meet(one.peer, first, second)
        assert again.uuid == one.uuid
        if one.upstream is second:
            assert again.upstream is second
    assert relay.stats()["clients"] == 8


def test_who_says_nothing_at_all(lab: Lab) -> None:
    """Who takes the connection and is silent is dialled anew after ready-timeout, and not asked again on the same connection."""
    target = lab.target(stall)
    relay = plex(lab, f"grpc://{target.address}", up=0, ready_timeout="200ms", ready_interval="1h")
    assert relay.wait_log("upstream-not-ready")["error"] == "it says nothing"
    relay.wait_stat("dials", ">=", 2)


def test_goaway(lab: Lab) -> None:
    """A program that is replaced in good order (GOAWAY, and its streams may end) loses no clients."""
    first, second = lab.upstream(), lab.upstream()
    relay = plex(lab, first, second)
    met = [newcomer(lab, relay, first, second) for _ in range(6)]
    first.leave_slowly(20)
    for one in met:
        ask(one.peer, b"anybody?")
    first.wait_count("over", 1)
    relay.wait_stat("upstreams", "==", 1)
    for one in met:
        assert meet(one.peer, first, second).upstream is second
    relay.wait_log("upstream-left", upstream=first.url)
    assert relay.stats()["upstreams_lost"] == 0 and not relay.find("upstream-lost")


@pytest.mark.parametrize(("error", "said"), [(0, "upstream-left"), (http2.PROTOCOL_ERROR, "upstream-lost")], ids=["no error", "an error"])
def test_goaway_and_a_good_end(lab: Lab, error: int, said: str) -> None:
    """Who says GOAWAY and ends its stream well has left; not if that GOAWAY is for something that was wrong."""
    def talk(liar: http2.Conversation, stream: int) -> None:
        liar.begin(stream)
        liar.say(http2.GOAWAY, 0, 0, struct.pack(">II", stream, error) + b"so long")
        liar.headers(stream, {"grpc-status": "0"}, end=True)

    relay = plex(lab, lab.liar(talk=talk), up=0, retry_min="1h", retry_max="1h")
    relay.wait_log(said)
    assert relay.stats()["upstreams_lost"] == (1 if error else 0)


def test_connections_of_limited_age(lab: Lab) -> None:
    """A server that ends each connection after a second is dialled again and again, and no client is lost."""
    upstream = lab.upstream(options=(("grpc.max_connection_age_ms", 1000), ("grpc.max_connection_age_grace_ms", 300)))
    relay = plex(lab, upstream)
    clients = [lab.client(relay) for _ in range(3)]

    def aged() -> bool:
        all_answered(clients)
        return upstream.counts["streams"] >= 4

    until(aged, "four streams", timeout=30)
    assert len(upstream.clients()) == 3
    assert relay.stats()["upstreams_lost"] == 0


def test_server_that_pings(lab: Lab) -> None:
    """A server's pings are answered: it does not take the plex for dead."""
    options = (("grpc.keepalive_time_ms", 100), ("grpc.keepalive_timeout_ms", 2000), ("grpc.keepalive_permit_without_calls", 1),
               ("grpc.http2.min_ping_interval_without_data_ms", 50))
    upstream = lab.upstream(options=options)
    relay = lab.plex(upstream)
    one = newcomer(lab, relay, upstream)
    deadline = time.monotonic() + seconds(3)
    until(lambda: time.monotonic() > deadline, "thirty pings")
    trade(one.peer, 3)
    assert upstream.counts["streams"] == 1


def test_kill_9(lab: Lab) -> None:
    """A program that is killed at once and started again has its clients back, under their names."""
    upstream = lab.upstream_process()
    relay = plex(lab, upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(5)]
    for _ in range(3):
        upstream.kill()
        relay.wait_stat("upstreams", "==", 0)
        upstream.start()
        relay.wait_stat("upstreams", "==", 1)
        all_answered([one.peer for one in met])
    assert set(upstream.clients()) == {one.uuid for one in met}


def test_one_after_the_other(lab: Lab) -> None:
    """Three programs are restarted in turn, as for an upgrade, while clients talk: none is lost, none gets another's answer."""
    upstreams = [lab.upstream() for _ in range(3)]
    relay = plex(lab, *upstreams)
    met = [newcomer(lab, relay, *upstreams) for _ in range(9)]
    for upstream in upstreams:
        upstream.kill()
        relay.wait_stat("upstreams", "==", 2)
        all_answered([one.peer for one in met])
        upstream.start()
        relay.wait_stat("upstreams", "==", 3)
    all_answered([one.peer for one in met])
    assert relay.stats()["clients"] == 9
    assert {uuid for upstream in upstreams for uuid in upstream.clients()} == {one.uuid for one in met}


# Nobody there


def test_no_upstream_wait(lab: Lab) -> None:
    """With no program at all clients may come and speak: all of it arrives when a program is there, in order."""
    upstream = lab.upstream(down=True)
    relay = plex(lab, upstream, up=0)
    clients = [lab.client(relay) for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(b"%d first," % number)
    relay.wait_stat("waiting", "==", 5)
    for number, client in enumerate(clients):
        client.send(b"%d second" % number)
    upstream.start()
    for number, client in enumerate(clients):
        assert client.read(16) == b"%d first,%d second" % (number, number)
    assert relay.stats()["waiting"] == 0


def test_no_upstream_and_the_client_leaves(lab: Lab) -> None:
    """Who gives up waiting is forgotten."""
    upstream = lab.upstream(down=True)
    relay = plex(lab, upstream, up=0)
    clients = [lab.client(relay) for _ in range(4)]
    relay.wait_stat("waiting", "==", 4)
    clients[0].reset()
    clients[1].close()
    relay.wait_stat("waiting", "<=", 3)
    upstream.start()
    for client in clients[2:]:
        trade(client, 2)


def test_no_upstream_and_a_half_closed_client(lab: Lab) -> None:
    """Who has finished while there is no program is kept for the next one, if one had heard of it, and half-close-timeout begins with that."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    relay = plex(lab, upstream, half_close_timeout="1s")
    before, meanwhile = (newcomer(lab, relay, upstream) for _ in range(2))
    before.peer.finish()
    upstream.wait(event=pb.EVENT_READ_EOF, client_uuid=before.uuid)
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    meanwhile.peer.finish()
    assert before.peer.silent(1.5)
    assert relay.stats()["waiting"] == 2
    mark = upstream.mark()
    upstream.start()
    for one in (before, meanwhile):
        upstream.wait(after=mark, event=pb.EVENT_READ_EOF, client_uuid=one.uuid)
        upstream.send(client_uuid=one.uuid, payload=b"late")
    assert before.peer.read_all() == meanwhile.peer.read_all() == b"late"


@pytest.mark.parametrize("ends", [False, True])
def test_the_last_words_of_a_client(lab: Lab, ends: bool) -> None:
    """What a client has said that has gone, and what became of it, reaches the same program after its restart, in order: HTTP/2 had not begun with that.
    The relay's own end waits for it."""
    upstream = lab.upstream_process(does="silent", features=("EVENTS",))
    relay = plex(lab, upstream, framing="line", upstream_queue="64MiB", max_message="1MiB", half_close_timeout="100ms", drain_grace="0s").allow("messages-lost")
    filler, one = (announced(lab, relay, upstream) for _ in range(2))
    upstream.pause()
    for _ in range(20):  # more than the kernel takes, and HTTP/2's windows
        filler.peer.send(b"f" * 999_999 + b"\n")
    relay.wait_stat("messages_in", "==", 20)
    said = [b"word %d\n" % number for number in range(10)]
    one.peer.send(b"".join(said))
    relay.wait_stat("messages_in", "==", 30)
    one.peer.finish()
    assert one.peer.read_all() == b""
    relay.wait_stat("clients", "==", 1)
    filler.peer.reset()
    relay.wait_stat("clients", "==", 0)
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    if ends:
        relay.signal(signal.SIGTERM)
        relay.wait_log("draining")
    upstream.start()
    upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid)
    assert [message.payload for message in upstream.data(one.uuid)] == said
    if ends:
        assert relay.wait_exit() == 0
    else:
        assert relay.stats()["lost_messages"] <= 1  # the one that was cut


def test_no_upstream_refuse(lab: Lab) -> None:
    """With no-upstream=refuse clients are closed at once while there is no program, and welcome when there is one."""
    upstream = lab.upstream(down=True)
    relay = plex(lab, upstream, up=0, no_upstream="refuse").allow("refused")
    for _ in range(3):
        assert lab.client(relay).read_end()[0] == b""
    assert relay.stats()["refused_no_upstream"] == 3
    upstream.start()
    relay.wait_stat("upstreams", "==", 1)
    trade(lab.client(relay), 3)


def test_wait_timeout(lab: Lab) -> None:
    """With wait-timeout a client waits that long for a program, and is closed then."""
    upstream = lab.upstream(down=True)
    relay = plex(lab, upstream, up=0, wait_timeout="300ms").allow("refused")
    start = time.monotonic()
    client = lab.client(relay)
    assert client.read_end()[0] == b""
    assert time.monotonic() - start >= 0.29
    relay.wait_stat("clients", "==", 0)
    relay.wait_stat("waiting", "==", 0)


def test_wait_timeout_while_others_are_spoken_to(lab: Lab) -> None:
    """What is said to all reaches who waits, and makes its wait no shorter."""
    upstream = lab.upstream(max_clients=1, features=("EVENTS",))
    relay = plex(lab, upstream, wait_timeout="500ms").allow("refused")
    one, other = announced(lab, relay, upstream), lab.client(relay)
    relay.wait_stat("waiting", "==", 1)
    for _ in range(100):
        upstream.broadcast(b".")
        one.peer.read(1)
        if relay.stats()["wait_timeouts"] == 1:
            break
    assert other.read_end()[0].strip(b".") == b""
    relay.wait_stat("clients", "==", 1)


def test_all_go_and_come_back(lab: Lab) -> None:
    """When the last program goes clients are kept, and go on when one is there again; who comes meanwhile waits with them."""
    first, second = lab.upstream(), lab.upstream()
    relay = plex(lab, first, second)
    met = [newcomer(lab, relay, first, second) for _ in range(6)]
    first.kill()
    second.kill()
    relay.wait_stat("upstreams", "==", 0)
    late = lab.client(relay)
    late.send(b"late")
    assert met[0].peer.silent(0.3)
    second.start()
    assert late.read(4) == b"late"
    for one in met:
        ask(one.peer, b"back?")
        assert b"back?" in second.payload(one.uuid)


def test_back_off(lab: Lab) -> None:
    """A program that is down is tried again and again, more and more seldom, and found soon after it is there."""
    upstream = lab.upstream(down=True)
    relay = plex(lab, upstream, up=0, retry_min="10ms", retry_max="1s")
    relay.wait_stat("dial_failures", ">=", 5)
    deadline = time.monotonic() + seconds(2)
    before = relay.stats()["dials"]
    until(lambda: time.monotonic() > deadline, "two seconds")
    assert relay.stats()["dials"] - before <= 8 * (seconds(2) / 2)
    upstream.start()
    relay.wait_stat("upstreams", "==", 1)


def test_it_does_not_turn_idle_time_into_work(lab: Lab) -> None:
    """A program that ends every stream at once is not dialled a thousand times a second."""
    upstream = lab.upstream(talk="UNAVAILABLE")
    relay = plex(lab, upstream, up=0, retry_min="10ms", retry_max="500ms")
    upstream.wait_count("streams", 4)
    before, cpu = upstream.counts["streams"], relay.cpu()
    deadline = time.monotonic() + seconds(2)
    until(lambda: time.monotonic() > deadline, "two seconds")
    assert upstream.counts["streams"] - before <= 25 * (seconds(2) / 2)
    assert relay.cpu() - cpu < seconds(1)
    client = lab.client(relay)
    client.send(b"at last")
    upstream.change(talk="")
    assert client.read(7) == b"at last"


def test_a_black_hole(lab: Lab) -> None:
    """An address that swallows connection attempts costs the other program's clients nothing."""
    hole, well = lab.blackhole(), lab.upstream()
    relay = plex(lab, f"grpc://{hole.address}", well, up=1, connect_timeout="300ms")
    relay.wait_stat("dial_failures", ">=", 2)
    for _ in range(4):
        trade(newcomer(lab, relay, well).peer, 3)


def test_who_comes_later_is_used(lab: Lab) -> None:
    """A program that comes late gets its share of the clients that come then; those that are served stay where they are."""
    first, late = lab.upstream(), lab.upstream(down=True)
    relay = plex(lab, first, late, up=1)
    met = [newcomer(lab, relay, first, late) for _ in range(6)]
    late.start()
    relay.wait_stat("upstreams", "==", 2)
    homes = [newcomer(lab, relay, first, late).upstream for _ in range(6)]
    assert homes.count(late) == 3
    for one in met:
        assert meet(one.peer, first, late).upstream is first


# Lies


TALKS = [
    http2.wrong_content_type, http2.http_503, http2.trailers_only, http2.no_trailers, http2.compressed, http2.bad_flag, http2.too_long, http2.cut_off,
    http2.reset_connection, http2.reset_stream, http2.refused_stream, http2.goaway_with_error, http2.bad_frame, http2.bad_window, http2.bad_hpack,
    http2.huge_headers,
]
READIES = [http2.wrong_content_type, http2.http_503, http2.trailers_only, http2.no_trailers, http2.compressed, http2.too_long, http2.no_protobuf,
           http2.cut_off, http2.reset_connection, http2.reset_stream, http2.refused_stream, http2.goaway_and_silence, http2.silence, http2.bad_hpack]


def survive(lab: Lab, liar: Liar, fresh: Callable[[Relay], bool]) -> None:
    """Beside an upstream that lies there is one that is honest: who comes and who is there gets answers, and the relay stays small."""
    honest = lab.upstream()
    relay = plex(lab, liar, honest, up=1, ready_timeout="300ms", live_interval="100ms", live_timeout="500ms").allow("bad-message")
    until(lambda: fresh(relay), lambda: f"the liar has lied: {liar.lies}, {relay.stats()}", timeout=20)
    clients = [lab.client(relay) for _ in range(4)]
    all_answered(clients)
    lies = liar.lies
    until(lambda: liar.lies > lies or not fresh(relay), "the liar is tried again", timeout=20)
    all_answered(clients)
    assert relay.stats()["clients"] == 4
    assert SLOW or relay.memory() < 16 << 20  # a sanitizer keeps freed memory


@pytest.mark.parametrize("fault", TALKS, ids=lambda fault: fault.__name__)
def test_lies_on_the_stream(lab: Lab, fault: Fault) -> None:
    """What an upstream does wrong on its stream costs it the stream, and no client its connection."""
    liar = lab.liar(talk=fault)
    survive(lab, liar, lambda relay: liar.lies >= 2)


@pytest.mark.parametrize("fault", READIES, ids=lambda fault: fault.__name__)
def test_lies_about_being_ready(lab: Lab, fault: Fault) -> None:
    """An upstream whose answer to `ready` is none is not ready: it is asked again, and gets nobody."""
    liar = lab.liar(ready=fault)
    survive(lab, liar, lambda relay: liar.lies >= 2)
    assert not any(frame.kind == http2.DATA and len(frame.payload) > 5 for frame in liar.heard)


@pytest.mark.parametrize("fault", [http2.garbage, http2.http1, http2.reset_connection, http2.silence], ids=lambda fault: fault.__name__)
def test_no_http2_at_all(lab: Lab, fault: Fault) -> None:
    """Who speaks something else, or nothing, where an upstream should be is left alone, and tried again."""
    liar = lab.liar(hello=fault)
    survive(lab, liar, lambda relay: liar.lies >= 2)


@pytest.mark.parametrize("fault", [http2.reset_stream, http2.trailers_only, http2.silence, http2.compressed, http2.no_trailers], ids=lambda fault: fault.__name__)
def test_lies_about_being_alive(lab: Lab, fault: Fault) -> None:
    """An upstream that fails when it is asked whether it lives does not keep its clients waiting for ever."""
    liar = lab.liar(live=fault)
    honest = lab.upstream()
    relay = plex(lab, liar, honest, up=1, live_interval="100ms", live_timeout="500ms")
    clients = [lab.client(relay) for _ in range(4)]
    all_answered(clients)
    assert relay.stats()["clients"] == 4


def test_goaway_then_silence(lab: Lab) -> None:
    """An upstream that says GOAWAY and then nothing keeps its clients no longer than live-timeout."""
    liar = lab.liar(talk=http2.goaway_and_silence)
    survive(lab, liar, lambda relay: liar.lies >= 2)


def test_a_message_that_is_none(lab: Lab) -> None:
    """Bytes that are no message are counted, and do nothing."""
    liar, honest = lab.liar(talk=http2.no_protobuf), lab.upstream()
    relay = plex(lab, liar, honest, up=1).allow("bad-message")
    relay.wait_stat("bad_messages", ">=", 1)
    clients = [lab.client(relay) for _ in range(4)]
    for number, client in enumerate(clients):
        client.send(b"client %d" % number)
    answered = until(lambda: [client for client in clients if not client.silent(0.01)], "the other upstream answers its clients")
    for client in answered:
        assert client.read(8) == b"client %d" % clients.index(client)
    assert SLOW or relay.memory() < 16 << 20  # a sanitizer keeps freed memory


def test_a_command_of_a_later_protocol(lab: Lab) -> None:
    """What a program says by a number that nobody knows yet costs that message, not its stream."""
    upstream = lab.upstream()
    relay = lab.plex(upstream).allow("bad-message")
    one = newcomer(lab, relay, upstream)
    upstream.send(client_uuid=one.uuid, command=9, payload=b"lost")
    upstream.send(broadcast=9, payload=b"lost")
    upstream.send(client_uuid=one.uuid, payload=b"well")
    assert one.peer.read(4) == b"well"
    stats = relay.stats()
    assert (stats["bad_messages"], stats["upstreams_lost"], upstream.counts["streams"]) == (2, 0, 1)


def test_a_flood_of_settings(lab: Lab) -> None:
    """Control frames without end do not keep the relay from its work, nor fill its memory."""
    liar, honest = lab.liar(talk=http2.flood_of_settings), lab.upstream()
    relay = plex(lab, liar, honest, up=1, live_interval="100ms", live_timeout="1s")
    clients = [lab.client(relay) for _ in range(4)]
    until(lambda: liar.lies >= 1, "the flood has begun")
    liar.reset_peers()
    liar.close()
    all_answered(clients)
    assert SLOW or relay.memory() < 16 << 20  # a sanitizer keeps freed memory


# What is seen of it


def test_what_the_log_says(lab: Lab) -> None:
    """An operator reads which upstream came, which went, and why."""
    upstream = lab.upstream(features=("EVENTS", "SEQ"))
    relay = plex(lab, upstream)
    up = relay.wait_log("upstream-up", upstream=lambda text: upstream.address in text)
    assert "seq" in str(up["features"]).lower()
    mark = relay.mark()
    upstream.end("UNAVAILABLE", "out for lunch")
    lost = relay.wait_log("upstream-lost", after=mark, upstream=lambda text: upstream.address in text)
    assert "UNAVAILABLE" in lost["error"] and "out for lunch" in lost["error"]
    relay.wait_log("upstream-up", after=mark)
    mark = relay.mark()
    upstream.kill()
    relay.wait_log("dial-failed", after=mark)


def test_names_are_dns_names(lab: Lab) -> None:
    """An upstream may be a name."""
    upstream = lab.upstream()
    relay = lab.plex(f"grpc://localhost:{upstream.port}")
    trade(newcomer(lab, relay, upstream).peer, 3)


def test_events_through_a_restart(lab: Lab) -> None:
    """Who hears of events is told which clients it has again after its own restart: REHOMED, and never CONNECTED twice."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = plex(lab, upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(3)]
    mark = upstream.mark()
    upstream.kill()
    relay.wait_stat("upstreams", "==", 0)
    upstream.start()
    for one in met:
        message = upstream.wait(after=mark, event=pb.EVENT_REHOMED, client_uuid=one.uuid)
        assert message.client.peer == one.peer.local
        trade(one.peer, 2)
    assert not upstream.messages(after=mark, event=pb.EVENT_CONNECTED)


def test_clients_that_come_and_go(lab: Lab) -> None:
    """More clients come and go than an upstream that does not read can hear of: it is given no more of them, and is not given up."""
    upstream = lab.upstream_process(features=("EVENTS",), options=(("grpc.http2.bdp_probe", 0),))
    relay = lab.plex(upstream, clients=100, upstream_queue="128KiB", live_timeout="1h").allow("messages-lost", "refused")
    upstream.stall()
    for _ in range(volume(4000)):
        lab.client(relay).reset()
    assert relay.stats()["upstreams_lost"] == 0
    upstream.go_on()
    one = newcomer(lab, relay, upstream)
    trade(one.peer, 3)
    assert relay.stats()["upstreams_lost"] == 0


@pytest.mark.parametrize("answer", [{":status": "200", "content-type": "text/html"}, {":status": "503"}])
def test_a_stream_that_is_answered_by_something_else(lab: Lab, answer: dict[str, str]) -> None:
    """Who takes the stream and does not speak gRPC there, as a proxy in between may, is lost at once, though that answer does not end."""
    def talk(liar: http2.Conversation, stream: int) -> None:
        liar.headers(stream, answer)

    relay = plex(lab, lab.liar(talk=talk), up=0)
    error = relay.wait_log("upstream-lost").fields["error"]
    assert "gRPC" in error or "503" in error
