# SPDX-License-Identifier: Apache-2.0
"""A plex of several processes: they share the clients, each client is reached from all of them, and who dies is replaced."""
# Issue: point 9.

import os
import signal
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from harness.admin import ask as admin_ask
from harness.admin import raw, request
from harness.certs import Authority, client_context
from harness.lab import Lab
from harness.peers.upstream_proto import pb
from harness.plex import Met, ask, newcomer, trade
from harness.process import command, has_tls
from harness.scale import SLOW, seconds, volume
from harness.task import Task
from harness.tls_world import World, tls_client
from harness.until import until
from harness.workers import FEATURES, Question, everywhere, of_worker, workers, world
from test_plex_control import call
from test_plex_route import kill


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def quiet(*met: Met) -> bool:
    return all(one.peer.silent(0.05) for one in met)


# Sharing


def test_clients_are_shared(lab: Lab) -> None:
    """All workers have clients, all count together, and a client's name says which one has it."""
    upstream = lab.upstream(features=FEATURES)
    relay = lab.plex(upstream, workers=3)
    met = [newcomer(lab, relay, upstream) for _ in range(60)]  # fewer may miss a worker by chance
    shares = [len(of_worker(met, number)) for number in range(3)]
    assert sum(shares) == len(met) and all(shares), shares
    for one in met:
        trade(one.peer, 3)
    stats = relay.stats()
    assert (stats["clients"], stats["accepted"], stats["workers"]) == (len(met), len(met), 3)
    assert [one["clients"] for one in workers(relay)] == shares
    assert len({one["pid"] for one in workers(relay)} - {relay.pid}) == 3


def test_one_worker_is_no_worker(lab: Lab) -> None:
    """With one there is no other process, and names are random to the last bit."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=1)
    names = {newcomer(lab, relay, upstream).uuid[-12:] for _ in range(8)}
    assert len({name[:8] for name in names}) == 8
    assert not Path(f"/proc/{relay.pid}/task/{relay.pid}/children").read_text().strip()


def test_more_than_one_process_may_have(lab: Lab) -> None:
    """Descriptors are each process's own: so many workers hold so many times as many clients."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=4, nofile=80, clients=240, log_level="info").allow("few-descriptors", "accept-paused")
    clients = [lab.client(relay) for _ in range(150)]
    for client in clients:
        trade(client, 1)
    assert relay.stats()["clients"] == 150


def test_the_limit_is_of_all(lab: Lab) -> None:
    """`clients` counts those of all workers."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=3, clients=10).allow("refused")
    clients = [lab.client(relay) for _ in range(10)]
    for client in clients:
        trade(client, 1)
    for _ in range(6):
        assert lab.client(relay).read_end()[0] == b""
    assert relay.wait_stat("refused_busy", "==", 6)["clients"] == 10


def test_a_unix_socket(lab: Lab) -> None:
    """Workers may share a Unix socket as well; its file goes with the last of them."""
    path = lab.folder / "clients.sock"
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=2, listen=f"unix:{path}")
    for _ in range(10):
        client = lab.client(relay)
        trade(client, 2)
        client.close()
    relay.wait_stat("clients", "==", 0)
    relay.signal(signal.SIGTERM)
    relay.check_exit()
    assert not path.exists()


def test_a_port_that_is_taken(lab: Lab) -> None:
    """A port where somebody listens is a fault, also of somebody of the same user who would share it."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        answer = command("plex", "--listen", f"127.0.0.1:{port}", "--upstream", "grpc://127.0.0.1:1", "--workers", "2", "--admin", "none")
        assert answer.returncode == 1 and "in use" in answer.stderr, answer


# Reaching


def test_anybody_reaches_anybody(lab: Lab) -> None:
    """An upstream that is connected to each worker says what it likes on any of these streams, to any client."""
    upstream, relay, met = world(lab, 3)
    for number, one in enumerate(met):
        for stream in range(3):
            word = b"%d by stream %d." % (number, stream)
            upstream.send_by(stream, client_uuid=one.uuid, payload=word)
            assert one.peer.read(len(word)) == word
    assert quiet(*met)
    stats = relay.stats()
    assert stats["routed"] == stats["route_received"] == 2 * len(met)
    assert stats["route_lost"] == stats["unknown_clients"] == 0


def test_to_all(lab: Lab) -> None:
    """A broadcast reaches each client of each worker once, those that are excepted not, in the order in which one stream says it."""
    upstream, relay, met = world(lab, 3)
    for number in range(50):
        upstream.send_by(2 if number == 49 else 0, broadcast=pb.ALL, payload=b"%02d." % number, except_uuids=[met[0].uuid] if number == 7 else [])
        if number == 48:
            for one in met:
                expected = b"".join(b"%02d." % each for each in range(49) if one is not met[0] or each != 7)
                assert one.peer.read(len(expected)) == expected
    for one in met:
        assert one.peer.read(3) == b"49."
    assert quiet(*met)
    assert relay.stats()["broadcasts"] == 50


def test_one_after_all(lab: Lab) -> None:
    """Who is spoken to alone has first what was said to all before, at another worker too."""
    upstream, _, met = world(lab, 2)
    for number in range(20):
        upstream.send_by(0, broadcast=pb.ALL, payload=b"%02d." % number)
        for one in met:
            upstream.send_by(0, client_uuid=one.uuid, payload=b"and you.")
    expected = b"".join(b"%02d.and you." % number for number in range(20))
    for one in met:
        assert one.peer.read(len(expected)) == expected


def test_groups(lab: Lab) -> None:
    """A group has members at all workers; they join and leave by any stream."""
    upstream, _, met = world(lab, 3)
    upstream.send_by(1, group="g", command=pb.COMMAND_JOIN, client_uuids=[one.uuid for one in met])
    for one in met:
        upstream.send_by(1, client_uuid=one.uuid, payload=b"in.")
        assert one.peer.read(3) == b"in."
    upstream.send_by(1, group="g", payload=b"to us.", except_uuids=[met[1].uuid])
    upstream.send_by(1, group="g", command=pb.COMMAND_LEAVE, client_uuids=[met[0].uuid])
    upstream.send_by(1, group="g", payload=b"and us.")
    for number, one in enumerate(met):
        expected = {0: b"to us.", 1: b"and us."}.get(number, b"to us.and us.")
        assert one.peer.read(len(expected)) == expected
    assert quiet(*met)


def test_commands_and_reports(lab: Lab) -> None:
    """A client of another worker is closed, paused and labelled as one of its own, and whoever asks hears what has become of it."""
    upstream, _, met = world(lab, 2)
    for stream in range(2):
        for one in met:
            request = 100 * (stream + 1) + met.index(one)
            upstream.send_by(stream, client_uuid=one.uuid, payload=b"x", request_id=request)
            report = upstream.wait(event=pb.EVENT_DELIVERY, request_id=request)
            assert (report.client_uuid, report.delivery) == (one.uuid, pb.DELIVERY_DELIVERED)
            assert one.peer.read(1) == b"x"
    nobody = met[0].uuid[:8] + "-0000-4000-8000-" + met[0].uuid[-12:]  # of the first worker
    for stream in range(2):
        upstream.send_by(stream, client_uuid=nobody, payload=b"x", request_id=7 + stream)
        assert upstream.wait(event=pb.EVENT_DELIVERY, request_id=7 + stream).delivery == pb.DELIVERY_UNKNOWN_CLIENT
    for one in met:
        upstream.send_by(0, client_uuid=one.uuid, payload=b"bye", command=pb.COMMAND_CLOSE, reason="tidying")
        assert one.peer.read_all() == b"bye"
        one.peer.close()
        assert upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).close.reason == pb.CLOSE_UPSTREAM


def test_acknowledged_by_another_stream(lab: Lab) -> None:
    """An upstream may acknowledge by any of its streams: it is the same upstream."""
    upstream = lab.upstream(does="silent", features=("EVENTS", "ACK"))
    relay = lab.plex(upstream, workers=2, framing="line", drain_timeout="2s").allow("messages-unacknowledged")
    met = everywhere(lab, relay, upstream, 2, 1)
    for one in met:
        one.peer.send(b"1\n2\n3\n")
        upstream.wait(client_uuid=one.uuid, seq=3, event=pb.EVENT_DATA)
        upstream.send_by(0, client_uuid=one.uuid, ack_seq=2)
    relay.wait_stat("acked", "==", 2 * len(met))


def test_big_messages_and_many(lab: Lab) -> None:
    """Megabytes go from worker to worker whole and in order."""
    upstream, relay, met = world(lab, 2, each=1, client_queue="16MiB")
    one = of_worker(met, 1)[0]
    whole = b""
    for number in range(volume(24)):
        piece = bytes([number]) * 500_000
        upstream.send_by(0, client_uuid=one.uuid, payload=piece)
        upstream.send_by(1, client_uuid=of_worker(met, 0)[0].uuid, payload=b".")
        whole += piece
        assert one.peer.read(len(piece)) == piece
    assert relay.stats()["route_lost"] == 0


def test_who_is_meant_twice(lab: Lab) -> None:
    """A message for all that also names clients of another worker is heard once by each."""
    upstream, relay, met = world(lab, 2)
    stream = upstream.stream_of(met[0].uuid)
    upstream.send_by(stream, broadcast=pb.ALL, client_uuids=[one.uuid for one in met], payload=b"a")
    upstream.send_by(stream, client_uuids=[one.uuid for one in met], payload=b".")
    for one in met:
        assert one.peer.read(2) == b"a."
    assert relay.stats()["unknown_clients"] == 0


# Changing


def test_reload(lab: Lab) -> None:
    """What the file says anew holds in all workers, and nobody is cut off; a place to listen comes and another goes."""
    first, second = lab.upstream(), lab.upstream()
    ports = [lab.port(), lab.port()]

    def text(port: int, upstream: Any, workers: int = 2, more: str = "") -> str:
        return f"""
            [[relay]]
            kind = "plex"
            name = "p"
            listen = "127.0.0.1:{port}"
            upstream = "{upstream.url}"
            workers = {workers}
            retry-min = "10ms"
            {more}
        """

    relay = lab.run(text(ports[0], first)).allow("config-fault", "reload-failed", "needs-restart")
    config = lab.folder / "relay.toml"
    relay.wait_stat("upstreams", "==", 2)
    old = lab.at(f"127.0.0.1:{ports[0]}")
    trade(old, 1)
    config.write_text(text(ports[1], second))
    assert relay.reload().status == 200
    relay.wait_stat("dials", "==", 4)
    relay.wait_stat("upstreams", "==", 2)
    new = lab.at(f"127.0.0.1:{ports[1]}")
    for one in (old, new):
        ask(one, b"who has me now?")
    assert len(second.clients()) == 2
    with pytest.raises(OSError):
        lab.at(f"127.0.0.1:{ports[0]}")
    config.write_text(text(ports[1], second, more='framing = "nonsense"'))
    assert relay.reload().status != 200
    config.write_text(text(ports[1], second, workers=3))
    assert relay.reload().status == 200
    relay.wait_log("needs-restart", key="workers")
    assert relay.stats()["workers"] == 2
    trade(new, 5)


def test_a_reload_is_over_when_all_have_done_it(lab: Lab) -> None:
    """Who is told that a reload is over finds what it says in all workers; for one that hangs it does not wait for ever."""
    first, second = lab.upstream(), lab.upstream()
    text = '[[relay]]\nkind = "plex"\nname = "p"\nlisten = "127.0.0.1:0"\nworkers = 2\nupstream = [{}]\n'
    one, both = text.format(f'"{first.url}"'), text.format(f'"{first.url}", "{second.url}"')
    relay = lab.run(one).expect_leftovers()  # sockets of the place that comes
    relay.wait_stat("upstreams", "==", 2)

    def reload(config: str) -> Task:
        lab.file("relay.toml", config)
        return Task(admin_ask, relay.admin_place, "POST", "/reload", None, None, seconds(20))

    def sizes() -> list[int]:
        return [len([one for one in worker["upstreams"] if one["state"] != "leaving"]) for worker in call(relay, "GET", "upstreams")[1]["workers"]]

    assert reload(both).result().status == 200
    assert sizes() == [2, 2]
    relay.wait_stat("upstreams", "==", 4)
    late = workers(relay)[1]["pid"]
    os.kill(late, signal.SIGSTOP)
    asked = reload(one)
    relay.wait_stat("upstreams", "==", 3)  # the other one has done it
    assert not asked.done()
    os.kill(late, signal.SIGCONT)
    assert asked.result().status == 200
    assert sizes() == [1, 1]
    os.kill(late, signal.SIGSTOP)
    assert reload(both).result().status == 200
    port = lab.port()
    assert reload(both.replace('"127.0.0.1:0"', f'["127.0.0.1:0", "127.0.0.1:{port}"]')).result().status == 200
    os.kill(late, signal.SIGCONT)
    until(lambda: sizes() == [2, 2], "it has done that, too")
    for _ in range(24):  # both listen there
        trade(lab.at(f"127.0.0.1:{port}"), 1)
    assert {worker["state"] for worker in workers(relay)} == {"up"}


def test_many_places(lab: Lab) -> None:
    """Workers listen at hundreds of places, and at those that a reload adds."""
    upstream = lab.upstream()
    text = 'log-level = "info"\n[[relay]]\nkind = "plex"\nname = "p"\nworkers = 2\nlisten = [{}]\nupstream = "{}"\n'

    def listed(first: int, last: int) -> str:
        return ", ".join(f'"unix:{lab.folder}/{number}.sock"' for number in range(first, last))

    relay = lab.run(text.format(listed(0, 400), upstream.url), nofile=4096).allow("few-descriptors").expect_leftovers()
    relay.wait_stat("upstreams", "==", 2)
    for number in (0, 7, 8, 399):
        for _ in range(3):
            trade(lab.at(f"unix:{lab.folder}/{number}.sock"), 1)
    lab.file("relay.toml", text.format(listed(100, 700), upstream.url))
    assert relay.reload().status == 200
    relay.wait_stat("workers", "==", 2)
    for number in (100, 399, 400, 699):
        until(lambda: (lab.folder / f"{number}.sock").exists(), "it is there")  # noqa: B023: called at once
        trade(lab.at(f"unix:{lab.folder}/{number}.sock"), 1)


def test_waiting_for_what_workers_count(lab: Lab) -> None:
    """Who waits for a statistic is told as soon as the workers have counted it."""
    relay = lab.plex(lab.upstream(), workers=2)
    with Question(relay, "/wait?stat=clients&op=>=&value=1&timeout=30s") as answer:
        lab.client(relay)
        begun = time.monotonic()
        assert answer() == 200
        assert time.monotonic() - begun < 8  # it would have been the time-out


def test_certificates_are_read_again(lab: Lab, world: World) -> None:
    """A reload of an unchanged configuration has all workers read the certificates anew."""
    if not has_tls():
        pytest.skip("built without TLS")
    cert, key = lab.file("cert.pem", world.relay.cert.read_text()), lab.file("key.pem", world.relay.key.read_text())
    relay = lab.plex(lab.upstream(), workers=2, listen="tls://127.0.0.1:0", cert=cert, key=key)
    trade(tls_client(lab, relay, client_context(world.ca.cert)), 1)
    other = Authority(lab.folder, "another")
    issued = other.issue("relay", dns=["localhost"], ip=["127.0.0.1"])
    cert.write_text(issued.cert.read_text())
    key.write_text(issued.key.read_text())
    relay.signal(signal.SIGHUP)
    relay.wait_log("reloaded")

    def is_new() -> bool:
        try:
            trade(tls_client(lab, relay, client_context(other.cert)), 1)
        except ssl.SSLCertVerificationError:
            return False
        return True

    relay.allow("handshake-failed")
    until(lambda: all(is_new() for _ in range(8)), "both workers show the new one")


def test_a_worker_that_cannot_begin(lab: Lab, world: World) -> None:
    """A worker that cannot read the certificate any more says so, and nothing else; when it is there again, so is the worker, with what was added."""
    if not has_tls():
        pytest.skip("built without TLS")
    cert, key = lab.file("cert.pem", world.relay.cert.read_text()), lab.file("key.pem", world.relay.key.read_text())
    first, second = lab.upstream(), lab.upstream()
    relay = lab.plex(first, workers=2, listen="tls://127.0.0.1:0", cert=cert, key=key).allow("worker-killed", "worker-lost", "config-fault", "worker-failed")
    assert call(relay, "POST", "upstreams", {"url": second.url})[0] == 200
    relay.wait_stat("upstreams", "==", 4)
    cert.rename(lab.folder / "away.pem")
    os.kill(workers(relay)[1]["pid"], signal.SIGKILL)
    relay.wait_log("config-fault")
    relay.wait_stat("upstreams", "==", 2)
    (lab.folder / "away.pem").rename(cert)
    relay.wait_stat("upstreams", "==", 4)
    assert not [line for line in relay.lines if "bug:" in line.raw]


def test_log_level(lab: Lab) -> None:
    """The log has another level in all processes at once, and each line says which worker has written it."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=2, log_level="info")
    assert relay.admin("POST", "/log-level?level=debug").status == 200

    def both() -> bool:
        newcomer(lab, relay, upstream)
        return {str(line.fields.get("worker")) for line in relay.find("accepted")} == {"0", "1"}

    until(both, "both workers say who has come", 20)


# Dying


def test_a_worker_that_is_killed(lab: Lab) -> None:
    """Its clients are gone, those of others notice nothing, another takes its place, and nothing that was counted is forgotten."""
    upstream, relay, met = world(lab, 3)
    relay.allow("worker-killed", "worker-lost")
    before = relay.stats()
    victim = workers(relay)[1]
    os.kill(victim["pid"], signal.SIGKILL)
    relay.wait_log("worker-lost", worker=1, clients=len(of_worker(met, 1)))
    relay.wait_log("worker-killed", pid=victim["pid"], signal=9)
    for one in of_worker(met, 1):
        one.peer.read_end()
    relay.wait_stat("workers", "==", 3)
    relay.wait_stat("upstreams", "==", 3)
    after = relay.stats()
    assert after["clients"] == before["clients"] - len(of_worker(met, 1))
    assert after["accepted"] >= before["accepted"]
    assert workers(relay)[1]["pid"] != victim["pid"]
    for one in (*of_worker(met, 0), *of_worker(met, 2)):
        upstream.send_by(upstream.stream_of(met[0].uuid), client_uuid=one.uuid, payload=b"still there")
        assert one.peer.read(11) == b"still there"
    fresh = everywhere(lab, relay, upstream, 3, 1)
    upstream.broadcast(b"all of you")
    for one in fresh:
        assert one.peer.read(10) == b"all of you"


def test_a_word_to_one_who_has_died(lab: Lab) -> None:
    """Whoever writes to a client of a worker that is not there hears that it cannot be reached."""
    upstream, relay, met = world(lab, 2)
    relay.allow("worker-killed", "worker-lost", "worker-failed")
    one = of_worker(met, 1)[0]
    os.kill(workers(relay)[1]["pid"], signal.SIGKILL)
    relay.wait_log("worker-lost")
    upstream.send_by(upstream.stream_of(met[0].uuid), client_uuid=one.uuid, payload=b"x", request_id=5)
    report = upstream.wait(event=pb.EVENT_DELIVERY, request_id=5)
    assert report.delivery in (pb.DELIVERY_UNREACHABLE, pb.DELIVERY_UNKNOWN_CLIENT)  # the next worker may be there by then
    relay.wait_stat("workers", "==", 2)


def test_who_comes_meanwhile_waits(lab: Lab) -> None:
    """Nobody is refused while a worker that has died is being replaced."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, workers=2).allow("worker-killed", "worker-lost")
    os.kill(workers(relay)[0]["pid"], signal.SIGKILL)
    for _ in range(40):
        trade(lab.client(relay), 1)
    relay.wait_stat("workers", "==", 2)


def test_killed_again_and_again(lab: Lab) -> None:
    """However often workers die, the others go on, and in the end all is well."""
    upstream, relay, met = world(lab, 2)
    relay.allow("worker-killed", "worker-lost")
    survivor = of_worker(met, 0)[0]
    for turn in range(5):
        relay.wait_stat("workers", "==", 2)
        pid = until(lambda: next((one["pid"] for one in workers(relay) if one["worker"] == 1 and one["state"] == "up"), None), "the worker is up")
        os.kill(pid, signal.SIGKILL)
        relay.wait_log("worker-lost", count=turn + 1)
        upstream.send_by(upstream.stream_of(survivor.uuid), client_uuid=survivor.uuid, payload=b"on")
        assert survivor.peer.read(2) == b"on"
    relay.wait_stat("upstreams", "==", 2, timeout=30)
    assert len(everywhere(lab, relay, upstream, 2, 1)) >= 2


@pytest.mark.skipif(SLOW, reason="a sanitizer's allocator takes too long for so many bytes")
def test_a_worker_that_hangs(lab: Lab) -> None:
    """A worker that takes nothing any more is ended and replaced once the others would have to wait for it."""
    upstream, relay, met = world(lab, 2, each=1)
    relay.allow("worker-killed", "worker-lost", "worker-stuck")
    victim = workers(relay)[1]["pid"]
    os.kill(victim, signal.SIGSTOP)
    one, other = of_worker(met, 1)[0], of_worker(met, 0)[0]
    stream = upstream.stream_of(other.uuid)
    for _ in range(80):
        upstream.send_by(stream, client_uuid=one.uuid, payload=b"x" * 500_000)
    relay.wait_log("worker-stuck", worker=1, timeout=40)
    relay.wait_stat("workers", "==", 2, timeout=20)
    upstream.send_by(stream, client_uuid=other.uuid, payload=b"I am here")
    assert other.peer.read(9) == b"I am here"


def test_a_worker_that_hangs_while_nobody_says_anything(lab: Lab) -> None:
    """It is shown, and ended and replaced: its clients can come again."""
    upstream, relay, met = world(lab, 2, each=1)
    relay.allow("worker-killed", "worker-lost", "worker-stuck")
    os.kill(workers(relay)[1]["pid"], signal.SIGSTOP)
    until(lambda: workers(relay)[1]["state"] == "silent", "it is shown", timeout=30)
    assert workers(relay)[0]["state"] == "up"
    relay.wait_log("worker-stuck", worker=1, timeout=40)
    assert of_worker(met, 1)[0].peer.read_end()[0] == b""
    until(lambda: [one["state"] for one in workers(relay)] == ["up", "up"], "it is replaced", timeout=20)
    one = of_worker(met, 0)[0]
    upstream.send(client_uuid=one.uuid, payload=b"on")
    assert one.peer.read(2) == b"on"


@pytest.mark.skipif(not has_tls(), reason="built without TLS")
def test_a_worker_that_hangs_before_it_has_begun(lab: Lab) -> None:
    """One whose certificate is on a file system that does not answer is ended and tried again, as often as it takes; others go on."""
    ca = Authority(lab.folder, "ca")
    issued = ca.issue("plex", dns=["plex.example"])
    upstream = lab.upstream()
    relay = lab.plex(upstream, listen=["127.0.0.1:0", "tls://127.0.0.1:0"], cert=issued.cert, key=issued.key, workers=2).allow("worker-killed", "worker-lost", "worker-stuck")
    relay.wait_stat("upstreams", "==", 2)
    text = issued.cert.read_bytes()
    issued.cert.unlink()
    os.mkfifo(issued.cert)  # who reads it waits for a writer
    os.kill(workers(relay)[1]["pid"], signal.SIGKILL)
    relay.wait_log("worker-lost", worker=1)
    until(lambda: workers(relay)[1]["state"] == "starting", "it begins")
    relay.wait_log("worker-stuck", worker=1, timeout=40)
    assert workers(relay)[0]["state"] == "up"
    issued.cert.unlink()
    issued.cert.write_bytes(text)
    until(lambda: [one["state"] for one in workers(relay)] == ["up", "up"], "it has begun", timeout=40)


@pytest.mark.skipif(SLOW, reason="a sanitizer's allocator takes too long for so many bytes")
def test_a_worker_that_dies_while_mail_is_held(lab: Lab) -> None:
    """Mail for a slow worker is too much, so that others are not read; one of those dies meanwhile, with more to take than it had then: it is replaced."""
    upstream, relay, met = world(lab, 3, each=1)
    relay.allow("worker-killed", "worker-lost", "worker-stuck")
    pids = [one["pid"] for one in workers(relay)]
    mail = b"x" * 60_000

    def say(worker: int, count: int) -> None:
        """To a group that nobody is in: it goes to all other workers."""
        stream, before = upstream.stream_of(of_worker(met, worker)[0].uuid), relay.stats()["routed"]
        for _ in range(count):
            upstream.send_by(stream, group="nobody", payload=mail)
        if worker == 0:
            until(lambda: relay.stats()["routed"] >= before + count, "it has been given on", timeout=20)

    os.kill(pids[2], signal.SIGSTOP)
    say(0, 147)
    os.kill(pids[1], signal.SIGSTOP)
    say(0, 140)  # now 16 MiB wait for 2, and nearly 8 for 1
    say(2, 80)
    os.kill(pids[2], signal.SIGCONT)  # which says so much that more than 8 wait for 1
    relay.wait_stat("routed", ">=", 147 + 140 + 80, timeout=20)
    os.kill(pids[1], signal.SIGKILL)
    relay.wait_log("worker-lost", worker=1, timeout=10)
    until(lambda: [one["state"] for one in workers(relay)] == ["up", "up", "up"], "it is replaced", timeout=20)


def test_the_nursery_is_killed(lab: Lab) -> None:
    """Without the process that makes workers those that are there go on, the log says what is wrong, and the end is a good one."""
    upstream, relay, met = world(lab, 2)
    relay.allow("nursery-lost", "worker-killed", "worker-lost", "worker-failed")
    pid = int(Path(f"/proc/{relay.pid}/task/{relay.pid}/children").read_text().split()[0])
    assert Path(f"/proc/{pid}/comm").read_text() == "relay-nursery\n"
    os.kill(pid, signal.SIGKILL)
    relay.wait_log("nursery-lost")
    for one in met:
        upstream.send(client_uuid=one.uuid, payload=b"hello")
        assert one.peer.read(5) == b"hello"
    os.kill(workers(relay)[1]["pid"], signal.SIGKILL)
    relay.wait_log("worker-failed", worker=1)
    with Question(relay, f"/relays/{relay.relay_status()['name']}/watch") as answer:
        assert answer() == 200  # nobody will be there whom it would miss
    survivor = of_worker(met, 0)[0]
    upstream.send_by(upstream.stream_of(survivor.uuid), client_uuid=survivor.uuid, payload=b"hello")
    assert survivor.peer.read(5) == b"hello"
    assert relay.stats()["workers"] == 1


def test_the_main_process_is_killed(lab: Lab) -> None:
    """When the main process is lost, so are its workers: the service manager starts them all anew."""
    _, relay, met = world(lab, 2)
    pids = [one["pid"] for one in workers(relay)]
    kill(lab, relay)
    until(lambda: not any(is_alive(pid) for pid in pids), "the workers are gone")
    for one in met:
        one.peer.read_end()


def test_drain(lab: Lab) -> None:
    """At SIGTERM all workers drain: clients have what was said to them, upstreams hear why they go, and no process is left."""
    upstream, relay, met = world(lab, 3, drain_grace="200ms")
    pids = [one["pid"] for one in workers(relay)]
    for one in met:
        upstream.send(client_uuid=one.uuid, payload=b"last words")
        assert one.peer.read(10) == b"last words"
    relay.signal(signal.SIGTERM)
    for one in met:
        assert one.peer.read_all() == b""
        one.peer.close()
        assert upstream.wait(event=pb.EVENT_DISCONNECTED, client_uuid=one.uuid).close.reason == pb.CLOSE_DRAIN
    relay.check_exit()
    until(lambda: not any(is_alive(pid) for pid in pids), "the workers are gone")


def test_a_drain_that_takes_too_long(lab: Lab) -> None:
    """A worker that hangs holds up the end no longer than drain-timeout and two seconds."""
    _, relay, _ = world(lab, 2, each=1, drain_timeout="500ms")
    relay.allow("worker-killed", "worker-lost")
    pid = workers(relay)[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    relay.signal(signal.SIGTERM)
    relay.check_exit()
    until(lambda: not is_alive(pid), "the worker is gone")


def test_passed_sockets(lab: Lab) -> None:
    """A listening socket of the service manager's serves all workers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        upstream = lab.upstream()
        relay = lab.plex(upstream, workers=2, listen=f"127.0.0.1:{port}", listening=[listening])
        for _ in range(20):
            trade(lab.at(f"127.0.0.1:{port}"), 2)
        assert relay.stats()["clients"] == 20


def test_with_other_instances(lab: Lab) -> None:
    """Workers and instances together: any stream of any of them reaches any client."""
    redis = lab.redis_server()
    worlds = [world(lab, 2, each=1, route=f"redis://{redis.address}") for _ in range(2)]
    for _, relay, _ in worlds:
        relay.wait_stat("routes", "==", 2)
    everybody = [one for _, _, met in worlds for one in met]
    for upstream, _, _ in worlds:
        for stream in range(2):
            for one in everybody:
                upstream.send_by(stream, client_uuid=one.uuid, payload=b"hello")
                assert one.peer.read(5) == b"hello"
        upstream.send_by(1, broadcast=pb.ALL, payload=b"all")
        for one in everybody:
            assert one.peer.read(3) == b"all"
    assert quiet(*everybody)
