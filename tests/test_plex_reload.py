# SPDX-License-Identifier: Apache-2.0
"""Reloads of a plex that runs: what holds at once for those who are there, and what a reload that fails leaves behind."""
# Issue: point 1 (dynamic control of the runtime).

import json
import socket
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from harness.lab import Lab
from harness.peers import http2
from harness.peers.upstream_proto import pb
from harness.plex import announced
from harness.stream import Stream
from harness.until import until

TEXT = '[[relay]]\nkind = "plex"\nname = "plex"\nlisten = [{listen}]\nframing = "line"\nupstream = ["{url}"]\n'
ANY = '"tcp://127.0.0.1:0"'


def test_longer_messages(lab: Lab) -> None:
    """A message longer than the upstream's queue was before, and one longer than it might say, both over the connection that is there."""
    upstream = lab.upstream(features=("EVENTS",))
    text = TEXT.format(listen=ANY, url=upstream.url)
    relay = lab.run(text + 'max-message = "8KiB"\nupstream-queue = "64KiB"\nmax-upstream-message = "64KiB"\n')
    relay.wait_stat("upstreams", "==", 1)
    lab.file("relay.toml", text + 'max-message = "1MiB"\nupstream-queue = "4MiB"\nmax-upstream-message = "4MiB"\n')
    assert relay.reload().status == 200
    one = announced(lab, relay, upstream)
    line = b"x" * 1_000_000
    one.peer.send(line + b"\n")
    assert one.peer.read(len(line)) == line  # it echoes
    stats = relay.stats()
    assert (stats["dials"], stats["bad_messages"], stats["lost_messages"]) == (1, 0, 0)


def test_shorter_messages(lab: Lab) -> None:
    """Who is there keeps what it may say, and its messages find room though the queue is to be smaller than these."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    text = TEXT.format(listen='"tcp://127.0.0.1:0"', url=upstream.url)
    relay = lab.run(text + 'max-message = "400KiB"\nupstream-queue = "1MiB"\n')
    relay.wait_stat("upstreams", "==", 1)
    one = announced(lab, relay, upstream)
    lab.file("relay.toml", text + 'max-message = "64KiB"\nupstream-queue = "128KiB"\n')
    assert relay.reload().status == 200
    for number in range(5):
        one.peer.send(b"%d" % number + b"x" * 300_000 + b"\n")
        upstream.wait(client_uuid=one.uuid, payload=b"%d" % number + b"x" * 300_000 + b"\n")
    assert relay.stats()["lost_messages"] == 0


def test_an_event_longer_than_the_queue_is_now(lab: Lab) -> None:
    """What an upstream is to hear of a client, and waits for room, may be longer than what a reload allows: nothing waits behind it for ever."""
    opened: list[Callable[[], None]] = []

    def ready(liar: http2.Conversation, stream: int) -> None:
        liar.begin(stream)
        liar.message(stream, pb.ReadyResult(ready=True, features=[pb.FEATURE_EVENTS]))
        liar.say(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 0))  # no window for what is opened from now on
        liar.finish(stream)

    def talk(liar: http2.Conversation, stream: int) -> None:
        liar.begin(stream)
        opened.append(lambda: liar.say(http2.WINDOW_UPDATE, 0, stream, struct.pack(">I", 1 << 20)))

    goes, stays = lab.upstream(does="silent", features=("EVENTS",)), lab.liar(ready=ready, talk=talk)
    text = TEXT.format(listen=ANY, url=f'{goes.url}", "{stays.url}').replace('"line"', '"raw"') + 'max-message = "4KiB"\nlive-timeout = "1h"\n'
    relay = lab.run(text + 'upstream-queue = "34KiB"\n').allow("upstream-lost", "dial-failed")
    relay.wait_stat("upstreams", "==", 2)
    peers = {peer.local: peer for peer in (lab.client(relay), lab.client(relay))}
    one = goes.wait(event=pb.EVENT_CONNECTED)
    peer = peers.pop(one.client.peer)
    goes.send(client_uuids=[one.client_uuid], labels={f"{number:0256}": "v" * 256 for number in range(60)})
    goes.send(client_uuids=[one.client_uuid], payload=b"you have them")
    assert peer.read(13) == b"you have them"
    (other,) = peers.values()
    for number in range(3):
        other.send(b"x" * 4096)
        relay.wait_stat("messages_in", "==", number + 1)
    goes.kill()
    relay.wait_stat("rehomed", "==", 1)
    lab.file("relay.toml", text + 'upstream-queue = "16KiB"\n')
    assert relay.reload().status == 200
    peer.send(b"at last")
    opened[0]()
    until(lambda: any(b"at last" in one.payload for one in stays.heard), "it hears what was said after that")
    assert b"".join(each.payload for each in stays.heard).count(b"v" * 256) == 60  # over several frames
    assert relay.stats()["lost_messages"] == 0


def test_shorter_queues(lab: Lab) -> None:
    """Nothing of what waits is thrown away when a reload allows less: it arrives, in order."""
    upstream = lab.upstream(does="silent", features=("EVENTS",))
    text = TEXT.format(listen=ANY, url=upstream.url)
    relay = lab.run(text + 'upstream-queue = "8MiB"\n')
    relay.wait_stat("upstreams", "==", 1)
    one = announced(lab, relay, upstream)
    lines = [b"%06d" % number + b"y" * 1000 for number in range(3000)]
    one.peer.send(b"".join(line + b"\n" for line in lines[:2000]))
    lab.file("relay.toml", text + 'upstream-queue = "128KiB"\n')
    assert relay.reload().status == 200
    one.peer.send(b"".join(line + b"\n" for line in lines[2000:]))
    until(lambda: len(upstream.data(one.uuid)) == len(lines), "all of them have come")
    assert [event.payload for event in upstream.data(one.uuid)] == [line + b"\n" for line in lines]
    assert relay.stats()["lost_messages"] == 0


def test_longer_queues(lab: Lab) -> None:
    """Whoever was held back by the shorter ones goes on at once, though nobody has taken anything meanwhile: clients of an upstream that does not
    read, and one that does not read itself."""
    upstream = lab.upstream_process(does="silent", features=("EVENTS",), options=(("grpc.http2.bdp_probe", 0),))
    text = TEXT.format(listen=ANY, url=upstream.url) + 'max-message = "8KiB"\nlive-interval = "0"\n'
    relay = lab.run(text + 'upstream-queue = "64KiB"\nclient-queue = "1MiB"\nmax-upstream-message = "64KiB"\n')
    relay.wait_stat("upstreams", "==", 1)
    slow, busy = announced(lab, relay, upstream, rcvbuf=4096), announced(lab, relay, upstream)

    def state() -> str:
        return str(json.loads(relay.admin("GET", f"/relays/plex/clients/{slow.uuid}").text())["state"])

    count = 0
    while state() != "slow":
        upstream.send(client_uuid=slow.uuid, payload=bytes(60_000))
        count += 1
        relay.wait_stat("messages_out", ">=", count)
    upstream.stall()
    busy.peer.fill(Stream("held back"), 1 << 28, quiet=1)
    before = relay.stats()["bytes_in"]
    lab.file("relay.toml", text + 'upstream-queue = "8MiB"\nclient-queue = "64MiB"\nmax-upstream-message = "64KiB"\n')
    assert relay.reload().status == 200
    relay.wait_stat("bytes_in", ">", before)
    assert state() == "open"
    upstream.go_on()


def test_a_shorter_resolve_interval(lab: Lab) -> None:
    """It does not begin after the one that runs."""
    first, second, dns = lab.upstream(), lab.upstream(), lab.dns()
    dns.add("one.test", a="127.0.0.1")
    dns.add("_grpc._tcp.app.test", srv=(0, 0, first.port, "one.test"))
    text = f'dns = "{dns.address}"\n' + TEXT.format(listen=ANY, url="grpc://_grpc._tcp.app.test")
    relay = lab.run(text + 'resolve-interval = "1h"\n')
    relay.wait_stat("upstreams", "==", 1)
    dns.add("_grpc._tcp.app.test", srv=(0, 0, second.port, "one.test"))
    lab.file("relay.toml", text + 'resolve-interval = "1s"\n')
    assert relay.reload().status == 200
    relay.wait_stat("upstreams", "==", 2)


def test_keepalive(lab: Lab) -> None:
    """What the kernel does for connections is as the keys say, for clients and for upstreams; and as a reload says, for those that come then."""
    upstream = lab.upstream(features=("EVENTS",))
    text = TEXT.format(listen=ANY, url=upstream.url)
    relay = lab.run(text).allow("upstream-lost", "dial-failed")
    relay.wait_stat("upstreams", "==", 1)

    def kernel(end: Any) -> list[int]:
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        return [relay.option_of(end, socket.SOL_SOCKET, socket.SO_KEEPALIVE), *(relay.option_of(end, socket.IPPROTO_TCP, name) for name in names)]

    first, other = announced(lab, relay, upstream).peer, SimpleNamespace(local=f"127.0.0.1:{upstream.port}")
    assert [kernel(first), kernel(other)] == [[1, 60, 10, 6, 0]] * 2
    lab.file("relay.toml", text + 'keepalive = "7s"\nkeepalive-interval = "3s"\nkeepalive-count = 2\nuser-timeout = "1500ms"\n')
    assert relay.reload().status == 200
    assert kernel(announced(lab, relay, upstream).peer) == [1, 7, 3, 2, 1500]
    upstream.kill()
    upstream.start()
    relay.wait_stat("dials", ">=", 2)
    relay.wait_stat("upstreams", "==", 1)
    assert [kernel(first), kernel(other)] == [[1, 60, 10, 6, 0], [1, 7, 3, 2, 1500]]


def test_a_failed_reload_leaves_no_socket_file(lab: Lab) -> None:
    """With workers, too: a place that was opened is given back when another one of the same configuration cannot be."""
    upstream = lab.upstream()
    path = lab.folder / "x.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = TEXT.format(listen=ANY, url=upstream.url) + "workers = 2\n"
        relay = lab.run(text).allow("config-fault", "reload-failed")
        relay.wait_stat("upstreams", "==", 2)
        port = taken.getsockname()[1]
        lab.file("relay.toml", text.replace(ANY, f'{ANY}, "unix:{path}", "tcp://127.0.0.1:{port}"'))
        answer = relay.reload()
    assert answer.status == 409, answer.text()
    assert f"127.0.0.1:{port} is in use; stop the program that has it (ss -ltnp 'sport = :{port}')" in answer.text()
    assert not path.exists()
