# SPDX-License-Identifier: Apache-2.0
"""The admin socket as its users have it: monitoring, scripts, whoever operates; and those who have no business there."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness.admin import AdminClient, Connection, Dialogue, ask, mode_of, raw
from harness.lab import Lab
from harness.peers.target import echo
from harness.process import NOBODY, Relay, command
from harness.scale import ROOT, SLOW, seconds, volume
from harness.sockets import Peer
from harness.stream import Stream
from harness.task import Task
from harness.until import until

PAGES = ("/status", "/metrics", "/healthz", "/readyz")
COMMANDS = ("/drain", "/reload", "/log-level")


def several(count: int, target: str, **keys: str) -> str:
    """A file of `count` relays, named r0, r1, …, on ports that the kernel chooses."""
    more = "".join(f'{key.replace("_", "-")} = "{value}"\n' for key, value in keys.items())
    return "\n".join(f'[[relay]]\nname = "r{i}"\nlisten = "127.0.0.1"\nport = 0\ntarget = "{target}"\n{more}' for i in range(count))


def say(place: str, data: bytes) -> Peer:
    """A connection on which these bytes have gone."""
    peer = Peer(raw(place), f"admin client of {place}")
    peer.send(data)
    return peer


def request(target: str, method: str = "GET", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


# Routes


def test_is_alive_and_ready(lab: Lab) -> None:
    """/healthz and /readyz answer 200 in plain text while all is well."""
    relay = lab.relay()
    for page, body in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
        answer = relay.admin("GET", page)
        assert (answer.status, answer.text(), answer.headers["content-type"]) == (200, body, "text/plain; charset=utf-8")
        assert answer.headers["cache-control"] == "no-store"


def test_not_ready_while_draining(lab: Lab) -> None:
    """While it drains a relay is alive and not ready: a load balancer stops sending, nobody restarts it."""
    relay = lab.relay(drain_timeout="30s")
    client, gateway = lab.pair(relay)
    client.send(b"x")
    gateway.fill(Stream("gateway"), 1 << 30)  # bytes under way keep the pair
    relay.signal(signal.SIGTERM)
    relay.wait_log("draining")
    assert relay.admin("GET", "/healthz").status == 200
    answer = relay.admin("GET", "/readyz")
    assert (answer.status, answer.text()) == (503, "draining\n")
    assert relay.status()["state"] == "draining"
    assert relay.relay_status()["draining"] is True
    relay.allow("session-end").terminate_again()


@pytest.mark.parametrize("page", PAGES)
def test_head(lab: Lab, page: str) -> None:
    """HEAD has the headers of GET and no body, and the connection goes on."""
    relay = lab.relay()
    peer = Dialogue(relay.admin_place, request(page, "HEAD") + request("/healthz"))
    head = peer.answer("HEAD")
    assert (head.status, head.body) == (200, b"")
    assert peer.answer().text() == "ok\n"
    get = ask(relay.admin_place, "GET", page)
    assert head.headers["content-type"] == get.headers["content-type"]
    assert set(head.headers) == set(get.headers)
    peer.close()


@pytest.mark.parametrize("page", [*PAGES, "/wait", *COMMANDS])
def test_wrong_method(lab: Lab, page: str) -> None:
    """A page asked for by the wrong method says which is right, and does nothing."""
    relay = lab.relay()
    wrong, right = ("GET", "POST") if page in COMMANDS else ("POST", "GET, HEAD")
    for method in (wrong, "PUT", "DELETE"):
        answer = ask(relay.admin_place, method, page)
        assert (answer.status, answer.headers["allow"]) == (405, right)
    assert relay.status()["state"] == "running"
    assert not relay.find("reloading")


def test_unknown_page(lab: Lab) -> None:
    """Who asks for a page that is not there is told which are."""
    relay = lab.relay()
    for target in ("/", "/stats", "/metrics/", "//status", "/status%00", "*", "/../etc/passwd"):
        answer = ask(relay.admin_place, "GET", target)
        assert answer.status == 404, target
        assert all(page in answer.json()["error"] for page in (*PAGES, *COMMANDS, "/wait"))


def test_many_requests_on_one_connection(lab: Lab) -> None:
    """A connection is kept for the next request; an HTTP/1.0 client's is closed."""
    relay = lab.relay()
    before = relay.sockets()
    connection = Connection(relay.admin_place)
    for _ in range(100):
        connection.request("GET", "/status")
        assert json.loads(connection.getresponse().read())["relays"]
    assert relay.sockets() == before + 1
    connection.close()
    old = say(relay.admin_place, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert old.read_all().endswith(b"\r\n\r\nok\n")
    polite = say(relay.admin_place, request("/healthz", "GET", "Connection: close"))
    assert b"\r\nConnection: close\r\n" in polite.read_all()


def test_pipelining(lab: Lab) -> None:
    """Requests sent without waiting are answered in order, long pages among them."""
    relay = lab.run(several(50, "127.0.0.1:9"))
    targets = ["/healthz", "/metrics", "/readyz", "/nothing", "/status", "/wait?stat=clients&op===&value=0", "/healthz"] * 5
    peer = Dialogue(relay.admin_place, b"".join(request(target) for target in targets))
    answers = [peer.answer() for _ in targets]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200, 200, 200] * 5
    assert all(answer.text() == "ok\n" for answer in answers[::7])
    assert all(len(answer.json()["relays"]) == 50 for answer in answers[4::7])
    peer.close()


def test_request_byte_by_byte(lab: Lab) -> None:
    """A request that comes in single bytes is one request."""
    relay = lab.relay()
    peer = Dialogue(relay.admin_place)
    for byte in request("/healthz", "GET", "X-Padding: " + "x" * 50):
        peer.send(bytes([byte]))
    assert peer.answer().text() == "ok\n"
    peer.close()


@pytest.mark.parametrize("body", [["Content-Length: 5", "", "hello"], ["Transfer-Encoding: chunked", "", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"]])
def test_request_with_a_body(lab: Lab, body: list[str]) -> None:
    """A body that a client sends along is read and does not disturb the next request."""
    relay = lab.relay()
    head = ["POST /log-level?level=debug HTTP/1.1", "Host: localhost"]
    peer = Dialogue(relay.admin_place, "\r\n".join(head + body).encode() + request("/healthz"))
    assert peer.answer().json() == {"log_level": "debug"}
    assert peer.answer().text() == "ok\n"
    peer.close()


def test_oldest_http(lab: Lab) -> None:
    """A request without a version (HTTP/0.9) is answered and closed."""
    relay = lab.relay()
    assert say(relay.admin_place, b"GET /healthz\r\n\r\n").read_all().endswith(b"\r\n\r\nok\n")


def test_upgrade_is_not_taken_up(lab: Lab) -> None:
    """A client that would rather speak HTTP/2 or WebSocket gets its answer in HTTP/1.1."""
    relay = lab.relay()
    peer = Dialogue(relay.admin_place, request("/healthz", "GET", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"))
    assert peer.answer().text() == "ok\n"
    peer.close()
    connect = Dialogue(relay.admin_place, b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connect.answer().status == 404
    connect.close()


def test_curl(lab: Lab) -> None:
    """curl, as the manual has it, prints the status."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    relay = lab.relay()
    words = ["curl", "-sSf", "--unix-socket", relay.admin_place.removeprefix("unix:"), "http://localhost/status"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds(10), check=True)
    assert json.loads(done.stdout)["pid"] == relay.pid


# Long pages


def test_thousand_relays(lab: Lab) -> None:
    """With a thousand relays status and metrics are whole and well-formed, and are made while traffic flows."""
    count = volume(1000)
    target = lab.target(echo)
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(count, target.address, gateway="127.0.0.2"))), "--log-level", "warn")
    place = next(one for one in relay.status()["relays"] if one["name"] == f"r{count - 1}")["listening"][0]["addr"]
    client = lab.at(place)
    names = [f"r{i}" for i in range(count)]
    for _ in range(3):
        client.send(b"traffic")
        assert client.read(7) == b"traffic"
        status = relay.status()
        assert [one["name"] for one in status["relays"]] == names
        lines = relay.admin("GET", "/metrics").text().splitlines()
        sessions = [line for line in lines if line.startswith("relay_cluster_sessions_total{")]
        assert [re.search(r'"(.*)"', line)[1] for line in sessions] == names  # type: ignore[index]
        assert sum(line == "# TYPE relay_cluster_sessions_total counter" for line in lines) == 1
    answer = relay.admin("GET", "/metrics")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert len([line for line in answer.text().splitlines() if line.endswith('"} 1')]) >= 3


def test_page_while_relays_come_and_go(lab: Lab) -> None:
    """A page that is read slowly while the file is reloaded stays well-formed."""
    many, few = several(volume(600), "127.0.0.1:9"), several(40, "127.0.0.1:9")
    relay = lab.start("run", "-c", str(lab.file("relay.toml", many)), "--log-level", "warn")
    for page in ("/status?connections=0", "/metrics"):
        peer = Dialogue(relay.admin_place, request(page) + request("/healthz"), rcvbuf=4096)
        for text in (few, many, few, many):
            lab.file("relay.toml", text)
            assert relay.reload().status == 200
        whole = peer.answer().body
        assert peer.answer().text() == "ok\n"
        if page == "/metrics":
            check_metrics(whole.decode())
        else:
            names = [one["name"] for one in json.loads(whole)["relays"] if not one["removed"]]
            assert len(names) >= 40 and len(names) == len(set(names))
        peer.close()


def test_client_that_never_reads(lab: Lab) -> None:
    """A client that asks for long pages and reads nothing holds neither memory nor others up, and is closed in time."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(volume(1000), "127.0.0.1:9"))), "--log-level", "warn")
    relay.status()
    memory = relay.memory()
    lazy = [say(relay.admin_place, request("/status") * 50) for _ in range(20)]
    for _ in range(20):
        assert relay.admin("GET", "/healthz").status == 200
    assert SLOW or relay.memory() - memory < 8 << 20  # a sanitizer keeps freed memory
    for peer in lazy:
        peer.hung_up(within=15)  # ten seconds, and a little
        peer.close()


# Metrics


def check_metrics(text: str) -> dict[str, float]:
    """Prometheus' own checker has nothing to say; each family is there once, with help and type. The samples."""
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=seconds(20), check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr
    samples, families = {}, []
    for line in text.splitlines():
        head = re.match(r"# (HELP|TYPE) (\S+) (.+)", line)
        if head:
            families += [head[2]] * (head[1] == "TYPE")
            continue
        sample = re.fullmatch(r'((\w+)(?:\{\w+="(?:[^"\\]|\\.)*"\})?) (\S+)', line)
        assert sample, line
        assert sample[2] == families[-1], line
        assert sample[1] not in samples, line
        samples[sample[1]] = float(sample[3])
    assert len(families) == len(set(families))
    return samples


def documented(section: str) -> list[str]:
    page = (ROOT / "man" / "relay-cluster.7").read_text().partition("\n.Sh STATISTICS")[2].partition("\n.Sh ")[0]
    gauges, counters = page.split("Counters count")
    return re.findall(r"^\.It Cm (\w+)", gauges if section == "gauges" else counters, re.MULTILINE)


def test_metrics_are_the_documented_statistics(lab: Lab) -> None:
    """Each statistic of the manual is a metric by the conventions of Prometheus, and there is none beside but the process's own."""
    relay = lab.run(several(2, "127.0.0.1:9"))
    samples = check_metrics(relay.admin("GET", "/metrics").text())
    found = {re.match(r"\w+", name)[0] for name in samples}  # type: ignore[index]
    wanted = {f"relay_cluster_{name}" for name in documented("gauges")}
    wanted |= {f"relay_cluster_{name}_total" for name in documented("counters") if name != "log_dropped"}
    assert {name for name in found if name.startswith("relay_cluster_")} == wanted
    lines = re.findall(r"^\.It Cm ((?:relay|process)_.*)", (ROOT / "man" / "relay.1").read_text(), re.MULTILINE)
    others = {name for line in lines for name in line.split(" , ")}
    assert found - wanted == others
    assert samples['relay_cluster_clients{relay="r0"}'] == 0
    assert samples["relay_relays"] == 2
    version = command("--version").stdout.split()[1]
    assert samples[f'relay_build_info{{version="{version}"}}'] == 1
    assert abs(samples["process_start_time_seconds"] - time.time()) < seconds(60)
    assert 100_000 < samples["process_resident_memory_bytes"] < 1 << 28


def test_metrics_count(lab: Lab) -> None:
    """What has happened is what the metrics say."""
    relay = lab.relay(name="one")
    client, gateway = lab.pair(relay)
    client.send(b"x" * 1000)
    assert gateway.read(1000)
    relay.wait_stat("to_gateway_bytes", "==", 1000)
    samples = check_metrics(relay.admin("GET", "/metrics").text())
    expected = {"clients": 1, "gateways": 1, "pairs": 1, "waiting": 0, "sessions_total": 1, "to_gateway_bytes_total": 1000, "resets_total": 0}
    assert {name: samples[f'relay_cluster_{name}{{relay="one"}}'] for name in expected} == expected
    assert relay.stats("one")["to_gateway_bytes"] == 1000


def test_counters_never_fall(lab: Lab) -> None:
    """A counter only grows, also when bytes that the kernel had taken turn out to be lost."""
    relay = lab.relay(pairs=4).allow("session-end")
    last: dict[str, float] = {}

    def look() -> None:
        now = check_metrics(relay.admin("GET", "/metrics").text())
        for name, value in last.items():
            if "_total" in name:
                assert now[name] >= value, name
        last.update(now)

    for _ in range(4):
        client, gateway = lab.pair(relay)
        gateway.fill(Stream("g"), 20_000_000)
        look()
        client.reset()
        look()
        gateway.gone()
        look()
    assert last['relay_cluster_resets_total{relay="' + relay.relay_status()["name"] + '"}'] == 4


STRANGE = ['"', "\\", "a\\nb", "ä", "日本", "}", "{}", "'", "#", "a b", "=", "\U0001f600", "x" * 300]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_strange_names(lab: Lab, log_format: str) -> None:
    """Names with quotes, backslashes and any script come through JSON and metrics as they are."""
    texts = [json.dumps(name, ensure_ascii=False) for name in STRANGE]
    text = "\n".join(f'[[relay]]\nname = {name}\nlisten = "127.0.0.1"\nport = 0\ntarget = "127.0.0.1:9"' for name in texts)
    relay = lab.run(f'log-format = "{log_format}"\n' + text)
    assert [one["name"] for one in relay.status()["relays"]] == STRANGE
    samples = check_metrics(relay.admin("GET", "/metrics").text())
    for name in STRANGE:
        label = name.replace("\\", "\\\\").replace('"', '\\"')
        assert f'relay_cluster_clients{{relay="{label}"}}' in samples
        assert relay.relay_status(name)["stats"]["clients"] == 0
        assert relay.wait_stat("clients", "==", 0, relay=name)


# /status


def test_status_of_waiting_and_paired(lab: Lab) -> None:
    """Each connection: who, since when, how much waits and how much did at most; the gateway's own bytes are counted exactly."""
    relay = lab.relay(pairs=3, name="one")
    gateway = lab.gateway(relay)
    gateway.send(b"x" * 5000)
    relay.wait_stat("queued_bytes", "==", 5000)
    one = relay.relay_status()
    assert (one["kind"], one["removed"], one["draining"]) == ("cluster", False, False)
    assert [(place["addr"], place["role"]) for place in one["listening"]] == [(relay.address("client"), "both")]
    (waiting,) = one["connections"]
    assert {key: waiting[key] for key in ("session", "state", "client", "gateway", "queued_bytes", "queued_max_bytes", "half_closed")} == {
        "session": 1, "state": "waiting", "client": "-", "gateway": gateway.local, "queued_bytes": 5000, "queued_max_bytes": 5000, "half_closed": False,
    }  # fmt: skip
    assert waiting["age_ms"] >= 0 and waiting["quiet_ms"] <= waiting["age_ms"] + 1
    client = lab.client(relay)
    assert client.read(5000)
    relay.wait_stat("queued_bytes", "==", 0)
    (paired,) = relay.relay_status()["connections"]
    assert (paired["state"], paired["client"], paired["to_client_bytes"]) == ("paired", client.local, 5000)
    assert (paired["queued_bytes"], paired["queued_max_bytes"]) == (0, 5000)


def test_status_of_a_dial(lab: Lab) -> None:
    """A client whose target is down: the last error, how often it failed, and when it is tried next."""
    target = lab.refusing()
    relay = lab.relay(target=target, retry_min="20s", retry_max="20s").allow("dial-failed", "session-end")
    assert relay.relay_status()["last_error"] is None
    client = lab.client(relay)
    client.send(b"anybody?")
    relay.wait_stat("dial_failures", "==", 1)
    one = relay.relay_status()
    assert one["last_error"]["error"] == f"{target.address}: Connection refused"
    assert one["last_error"]["ago_ms"] < seconds(20) * 1000
    (waiting,) = one["connections"]
    assert (waiting["dial"]["failed"], waiting["dial"]["error"]) == (1, "Connection refused")
    assert 0 < waiting["dial"]["retry_in_ms"] <= 20_000


def test_status_has_the_rate(lab: Lab) -> None:
    """Bytes a second, both ways together, since somebody last looked."""
    relay = lab.relay(target=lab.target(echo))
    client = lab.client(relay)
    relay.relay_status()
    seen = []

    def moving() -> bool:
        client.send(b"x" * 10_000)
        client.read(10_000)
        seen.append(relay.relay_status()["bytes_a_second"])
        return seen[-1] > 0

    until(moving, "a rate")
    sent = 2 * 10_000 * len(seen)
    assert 0 < seen[-1] <= sent
    until(lambda: relay.relay_status()["bytes_a_second"] == 0, "rest")


def test_status_is_bounded(lab: Lab) -> None:
    """Of many connections a hundred are shown, or as many as are asked for; how many are not, is said."""
    relay = lab.relay(pairs=200)
    for _ in range(150):
        lab.gateway(relay)
    relay.wait_stat("gateways", "==", 150)
    for query, shown in (({}, 100), ({"connections": 7}, 7), ({"connections": 0}, 0), ({"connections": 1000}, 150)):
        one = relay.relay_status(**query)  # type: ignore[arg-type]
        assert (len(one["connections"]), one["connections_not_shown"]) == (shown, 150 - shown)
    for wrong in ("10001", "-1", "x", ""):
        assert relay.admin("GET", f"/status?connections={wrong}").status == 400


def test_status_of_one_relay(lab: Lab) -> None:
    """One relay by its name; of a name that is not there, none."""
    relay = lab.run(several(3, "127.0.0.1:9"))
    assert [one["name"] for one in relay.status(relay="r1")["relays"]] == ["r1"]
    assert relay.status(relay="r9")["relays"] == []
    status = relay.status()
    assert (status["pid"], status["state"], status["reloads"], status["reload_failures"]) == (relay.pid, "running", 0, 0)
    assert status["file"] == str(lab.folder / "relay.toml")
    assert status["uptime_ms"] < seconds(60) * 1000
    assert status["version"] == command("--version").stdout.split()[1]


# /wait


def wait_for(stat: str, op: str, value: int, timeout: str = "20s", **more: str) -> str:
    return "/wait?" + urlencode({"stat": stat, "op": op, "value": value, "timeout": timeout, **more})


def test_wait_answers_at_once_if_it_is_so(lab: Lab) -> None:
    """What holds already is answered at once, with each comparison."""
    relay = lab.relay()
    lab.gateway(relay)
    relay.wait_stat("gateways", "==", 1)
    for op, value in (("==", 1), ("!=", 0), (">=", 1), ("<=", 1), (">", 0), ("<", 2)):
        answer = relay.admin("GET", wait_for("gateways", op, value))
        assert (answer.status, answer.json()) == (200, {"stat": "gateways", "value": 1}), op
    for op, value in (("==", 0), ("!=", 1), (">=", 2), ("<=", 0), (">", 1), ("<", 1)):
        answer = relay.admin("GET", wait_for("gateways", op, value, "1ms"))
        assert (answer.status, answer.json()) == (504, {"stat": "gateways", "value": 1}), op


def test_wait_answers_when_it_comes_about(lab: Lab) -> None:
    """A script that waits for a gateway goes on when the gateway comes."""
    relay = lab.relay()
    waiter = Task(ask, relay.admin_place, "GET", wait_for("gateways", ">=", 1))
    until(lambda: relay.sockets() > relay.first_sockets(), "the waiter's connection")
    assert not waiter.done()
    gateway = lab.gateway(relay)
    answer = waiter.result()
    assert (answer.status, answer.json()["value"]) == (200, 1)
    gone = Task(ask, relay.admin_place, "GET", wait_for("gateways", "==", 0))
    gateway.reset()
    assert gone.result().status == 200


def test_wait_gives_up(lab: Lab) -> None:
    """504 after the time-out, not before, with the value of then."""
    relay = lab.relay()
    start = time.monotonic()
    answer = relay.admin("GET", wait_for("clients", ">=", 1, "700ms"))
    assert (answer.status, answer.json()) == (504, {"stat": "clients", "value": 0})
    assert 0.7 <= time.monotonic() - start < seconds(3)
    assert relay.admin("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("stat=nothing&op=>=&value=1", 404), ("stat=clients&relay=nobody&op=>=&value=1", 404), ("op=>=&value=1", 404),
        ("stat=clients&op=~&value=1", 400), ("stat=clients&op=>=&value=x", 400), ("stat=clients&op=>=", 400), ("stat=clients&value=-1", 400),
        ("stat=clients&value=1&timeout=soon", 400), ("stat=clients&value=1&timeout=61m", 400), ("stat=clients&value=1&timeout=5", 400),
        ("stat=relays&value=1", 200), ("stat=reloads&op===&value=0", 200), ("stat=reload_failures&op===&value=0", 200), ("stat=log_dropped&op===&value=0", 200),
        ("stat=clients&value=0", 200), ("stat=clients&value=%30", 200), ("stat=clients&op=%3E%3D&value=0&relay=", 200),
    ],
)  # fmt: skip
def test_wait_queries(lab: Lab, query: str, status: int) -> None:
    """A query with a mistake is answered at once and says what is wrong."""
    relay = lab.relay()
    answer = relay.admin("GET", "/wait?" + query)
    assert answer.status == status, answer
    assert (status == 200) == ("value" in answer.json())


def test_wait_sums_relays(lab: Lab) -> None:
    """Without a relay's name it is the sum over all."""
    relay = lab.run(several(3, "127.0.0.1:9", client="127.0.0.0/8", gateway="127.0.0.2"))
    both = Task(ask, relay.admin_place, "GET", wait_for("gateways", ">=", 2))
    one = Task(ask, relay.admin_place, "GET", wait_for("gateways", ">=", 1, relay="r2"))
    lab.at(relay.address("gateway", "r0"), "127.0.0.2")
    assert not one.done()
    lab.at(relay.address("gateway", "r2"), "127.0.0.2")
    assert both.result().json()["value"] == 2
    assert one.result().json()["value"] == 1


def test_waiter_that_leaves(lab: Lab) -> None:
    """A client that goes away while it waits leaves nothing behind."""
    relay = lab.relay()
    before = relay.sockets()
    for end in ("close", "finish"):  # with the request already
        early = [say(relay.admin_place, request(wait_for("clients", ">=", 1, "1h"))) for _ in range(10)]
        for peer in early:
            getattr(peer, end)()
        assert relay.admin("GET", "/healthz").status == 200  # so they have been accepted
        until(lambda: relay.sockets() == before, "the end of those who left at once")
        for peer in early:
            peer.close()
    for end in ("close", "finish"):
        peers = [say(relay.admin_place, request(wait_for("clients", ">=", 1, "1h"))) for _ in range(10)]
        until(lambda: relay.sockets() == before + 10, "ten connections")
        for peer in peers:
            getattr(peer, end)()
        until(lambda: relay.sockets() == before, "the end of ten connections")
        for peer in peers:
            peer.close()
    cpu = relay.cpu()
    relay.admin("GET", wait_for("clients", ">=", 1, "300ms"))
    assert relay.cpu() - cpu < seconds(0.1)


def test_many_waiters(lab: Lab) -> None:
    """Sixty who wait for the same and for other things are all answered, each with its own."""
    relay = lab.relay(pairs=40)
    waiters = [Task(ask, relay.admin_place, "GET", wait_for("gateways", ">=", i)) for i in range(1, 41)]
    until(lambda: relay.sockets() >= relay.first_sockets() + 40, "forty connections")
    for i in range(40):
        lab.gateway(relay)
    for i, waiter in enumerate(waiters, 1):
        answer = waiter.result()
        assert answer.status == 200 and answer.json()["value"] >= i


def test_waiting_costs_nothing(lab: Lab) -> None:
    """Those who wait do not make an idle relay turn."""
    relay = lab.relay()
    peers = [say(relay.admin_place, request(wait_for("clients", ">=", 1, "1h"))) for _ in range(30)]
    until(lambda: relay.sockets() >= relay.first_sockets() + 30, "thirty connections")
    cpu = relay.cpu()
    assert relay.admin("GET", wait_for("sessions", ">=", 1, "1s")).status == 504
    assert relay.cpu() - cpu < seconds(0.1)
    for peer in peers:
        peer.close()


# Commands


def test_drain(lab: Lab) -> None:
    """POST /drain is answered, what was accepted is delivered, and the process ends with exit status 0."""
    stream = Stream("gateway")
    relay = lab.relay(drain_timeout="20s")
    gateway = lab.gateway(relay)
    gateway.send_stream(stream, 300_000)
    gateway.finish()
    relay.wait_stat("queued_bytes", "==", 300_000)
    answer = relay.admin("POST", "/drain")
    assert (answer.status, answer.json()) == (202, {"draining": True})
    relay.wait_log("draining")
    assert relay.admin("POST", "/drain").status == 202  # again changes nothing: it is no second SIGTERM
    client = lab.client(relay)
    client.read_stream(stream, 300_000)
    assert client.read_all() == b""
    client.finish()
    relay.check_exit()
    assert relay.find("session-end")[0].get("lost_to_client", 0) == 0


def test_drain_of_an_idle_relay_is_answered(lab: Lab) -> None:
    """Who asks an idle relay to drain gets the answer before the process is gone."""
    relay = lab.relay()
    for answer in (ask(relay.admin_place, "POST", "/drain"),):
        assert answer.status == 202
    relay.check_exit()
    assert not Path(relay.admin_place.removeprefix("unix:")).exists()


def test_waiter_is_told_of_the_end(lab: Lab) -> None:
    """Who waits for what will not come any more is told so when the process ends."""
    relay = lab.relay()
    waiter = Task(ask, relay.admin_place, "GET", wait_for("clients", ">=", 1, "1h"))
    until(lambda: relay.sockets() > relay.first_sockets(), "the waiter's connection")
    relay.signal(signal.SIGTERM)
    answer = waiter.result()
    assert (answer.status, answer.json()) == (503, {"error": "the relay has ended"})
    relay.check_exit()


def test_reader_holds_up_the_end_but_for_a_second(lab: Lab) -> None:
    """A client that does not take its page holds up the end of the process for no more than a second."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(volume(1000), "127.0.0.1:9"))), "--log-level", "warn")
    lazy = say(relay.admin_place, request("/status"))
    assert relay.admin("GET", "/healthz").status == 200
    start = time.monotonic()
    relay.signal(signal.SIGTERM)
    relay.wait_exit()
    assert time.monotonic() - start < seconds(3)
    lazy.close()


def test_log_level(lab: Lab) -> None:
    """The log becomes more talkative, and quieter again, at once."""
    relay = lab.relay(log_level="info")
    assert not relay.find("accepted")
    answer = relay.admin("POST", "/log-level?level=debug")
    assert (answer.status, answer.json()) == (200, {"log_level": "debug"})
    relay.wait_log("log-level", level="debug")
    client, gateway = lab.pair(relay)
    assert relay.status()["log_level"] == "debug"
    for wrong in ("loud", "", "DEBUG"):
        assert relay.admin("POST", f"/log-level?level={wrong}").status == 400
    assert relay.admin("POST", "/log-level").status == 400
    assert relay.admin("POST", "/log-level?level=error").status == 200
    mark = relay.mark()
    client.finish()
    assert gateway.read_all() == b""
    gateway.finish()
    client.read_all()
    relay.wait_stat("pairs", "==", 0)
    assert relay.lines[mark:] == []
    assert relay.admin("POST", "/log-level?level=info").status == 200
    relay.wait_log("log-level", level="info")


# Who may


def test_browsers_are_refused(lab: Lab) -> None:
    """A web page cannot make a browser stop the relay: a request with an Origin is refused whatever it asks."""
    relay = lab.relay()
    for origin in ("http://evil.example", "null", "http://localhost"):
        answer = ask(relay.admin_place, "POST", "/drain", {"Origin": origin})
        assert answer.status == 403
    assert relay.admin("GET", "/readyz").status == 200


def test_host_on_a_port(lab: Lab) -> None:
    """On a loopback port a name that was made to resolve to this machine is not served."""
    relay = lab.relay(admin="tcp:127.0.0.1:0")
    port = relay.admin_place.rpartition(":")[2]
    for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", "[::1]:80", "[::1]", "192.0.2.1"):
        assert ask(relay.admin_place, "GET", "/healthz", {"Host": host}).status == 200, host
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "[", "[evil]", "localhost, evil.example"):
        assert ask(relay.admin_place, "GET", "/healthz", {"Host": host}).status == 403, host


TOKEN = "correct horse battery staple"


@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_token(lab: Lab, place: str) -> None:
    """With a token nothing is shown and nothing done for who does not bear it."""
    secret = lab.file("token", TOKEN + "\n")
    secret.chmod(0o600)
    where = f"unix:{lab.folder}/a.sock" if place == "unix" else "tcp:127.0.0.1:0"
    relay = lab.relay("--admin", where, "--admin-token-file", str(secret), token=TOKEN)
    for headers in ({}, {"Authorization": TOKEN}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer " + TOKEN + "x"},
                    {"Authorization": "Bearer " + TOKEN[:-1]}, {"Authorization": "Bearer "}, {"Authorization": "Basic " + TOKEN}):  # fmt: skip
        for method, target in (("GET", "/status"), ("GET", "/healthz"), ("POST", "/drain"), ("GET", "/nothing")):
            answer = ask(relay.admin_place, method, target, headers)
            assert (answer.status, answer.headers.get("www-authenticate")) == (401, "Bearer"), headers
            assert TOKEN not in answer.text()
    good = {"Authorization": "Bearer " + TOKEN}
    assert ask(relay.admin_place, "GET", "/status", good).status == 200
    assert ask(relay.admin_place, "GET", "/healthz", {**good, "Host": "relay.example"}).status == 200
    assert not any(TOKEN in line.raw for line in relay.lines)


@pytest.mark.parametrize(("place", "served"), [("tcp:0.0.0.0:0", False), ("tcp:192.0.2.1:9", False), ("tcp:[::]:0", False), ("tcp:127.5.6.7:0", True)])
def test_address_that_is_not_loopback_needs_a_token(lab: Lab, place: str, served: bool) -> None:
    """Where strangers could come the program does not start without a token, and says what to do."""
    if served:
        assert lab.relay(admin=place).admin("GET", "/healthz").status == 200
        return
    words = ["start", "--port", "0", "--target", "127.0.0.1:9", "--admin", place]
    done = command(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("relay: --admin: ") and "admin-token-file" in done.stderr
    if "0" in place[4:7]:
        token = lab.file("token", TOKEN)
        relay = lab.relay("--admin", "tcp:0.0.0.0:0", "--admin-token-file", str(token), token=TOKEN)
        assert relay.admin("GET", "/healthz").status == 200


def test_token_file_with_a_fault(lab: Lab) -> None:
    """A token file that is missing or empty is a fault at the start, with its place."""
    base = ["start", "--port", "0", "--listen", "127.0.0.1", "--target", "127.0.0.1:9", "--admin", f"unix:{lab.folder}/a.sock"]
    empty = lab.file("empty", "\n")
    for path, what in ((lab.folder / "nothing", "No such file or directory"), (empty, "is empty"), (lab.folder, "Is a directory")):
        done = command(*base, "--admin-token-file", str(path))
        assert done.returncode == 1
        assert re.search(rf"^relay: --admin-token-file: .*{what}", done.stderr), done.stderr


def test_socket_is_its_owners_alone(lab: Lab) -> None:
    """The socket's mode is 0600, whatever the umask; another user's client is turned away."""
    before = os.umask(0)
    try:
        relay = lab.relay()
    finally:
        os.umask(before)
    assert mode_of(relay.admin_place) == 0o600
    if os.getuid() == 0:
        lab.folder.chmod(0o755)
        Path(relay.admin_place.removeprefix("unix:")).parent.chmod(0o755)
        script = f"import socket; socket.socket(socket.AF_UNIX).connect({relay.admin_place.removeprefix('unix:')!r})"
        done = subprocess.run(["/usr/bin/python3", "-c", script], user=NOBODY, capture_output=True, text=True, timeout=seconds(20), check=False)
        assert "PermissionError" in done.stderr


# Where


def no_places(**env: str) -> dict[str, str]:
    return {"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": "", **env}


def test_place_under_runtime_directory(lab: Lab) -> None:
    """Under systemd's RuntimeDirectory= it is admin.sock there, in the first one if there are several."""
    for name in ("one", "two"):
        (lab.folder / name).mkdir()
    relay = lab.relay(env=no_places(RUNTIME_DIRECTORY=f"{lab.folder}/one:{lab.folder}/two", XDG_RUNTIME_DIR=f"{lab.folder}/two"))
    assert relay.wait_log("admin")["addr"] == f"unix:{lab.folder}/one/admin.sock"
    assert relay.admin("GET", "/healthz").status == 200
    lab.finish()
    assert os.listdir(lab.folder / "one") == []


def test_place_under_xdg_runtime_dir(lab: Lab) -> None:
    """In a user's session it is relay/PID.sock there, and each process has its own."""
    relays = [lab.relay(env=no_places(XDG_RUNTIME_DIR=str(lab.folder))) for _ in range(2)]
    for relay in relays:
        assert relay.wait_log("admin")["addr"] == f"unix:{lab.folder}/relay/{relay.pid}.sock"
        assert relay.status()["pid"] == relay.pid
    assert (lab.folder / "relay").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("env", [{}, {"RUNTIME_DIRECTORY": "relative/path"}, {"XDG_RUNTIME_DIR": "relative"}], ids=["neither", "relative", "relative-xdg"])
def test_no_place(lab: Lab, env: dict[str, str]) -> None:
    """Where neither variable names a folder there is no admin socket, and nothing is said of it."""
    relay = lab.relay(env=no_places(**env))
    assert not [line for line in relay.lines if line.event.startswith("admin")]
    lab.pair(relay)
    assert relay.signal_stats()


@pytest.mark.parametrize("why", ["missing", "not writable", "in use", "too long", "a file"])
def test_automatic_place_that_cannot_be_had(lab: Lab, why: str) -> None:
    """If the place that was chosen by itself cannot be had, the relay says so and works without."""
    if why == "missing":
        folder = lab.folder / "nowhere"
    elif why == "not writable":
        folder = Path("/proc")
    elif why == "too long":
        folder = lab.folder / ("x" * 120)
        folder.mkdir()
    else:
        folder = lab.folder / "here"
        folder.mkdir()
        if why == "a file":
            (folder / "admin.sock").write_text("mine")
        else:
            other = socket.socket(socket.AF_UNIX)
            other.bind(str(folder / "admin.sock"))
            other.listen()
    relay = lab.relay(env=no_places(RUNTIME_DIRECTORY=str(folder))).allow("admin-failed")
    failed = relay.wait_log("admin-failed")
    assert failed["addr"] == f"unix:{folder}/admin.sock"
    assert failed["error"] and failed["error"] != "Success"
    lab.pair(relay)
    if why == "a file":
        assert (folder / "admin.sock").read_text() == "mine"
    if why == "in use":
        other.close()


def test_chosen_place_that_cannot_be_had(lab: Lab) -> None:
    """If the place was asked for and cannot be had, the relay does not start, and says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        base = ["start", "--port", "0", "--listen", "127.0.0.1", "--target", "127.0.0.1:9"]
        done = command(*base, "--admin", f"tcp:127.0.0.1:{port}")
    assert (done.returncode, done.stderr) == (1, f"relay: --admin: cannot listen on 127.0.0.1:{port}: Address already in use; choose another place, or none\n")
    done = command(*base, "--admin", f"unix:{lab.folder}/nowhere/a.sock")
    assert done.returncode == 1 and "No such file or directory" in done.stderr


def test_socket_of_a_killed_process_is_replaced(lab: Lab) -> None:
    """After kill -9 the next process takes the same place."""
    place = f"unix:{lab.folder}/a.sock"
    first = lab.relay(admin=place)
    first.process.kill()
    first.process.wait()
    lab.relays.remove(first)
    first.kill()
    assert Path(place[5:]).exists()
    assert lab.relay(admin=place).admin("GET", "/healthz").status == 200


def test_none(lab: Lab) -> None:
    """`--admin none`: no socket, whatever the surroundings offer."""
    relay = lab.relay(admin="none")
    assert not relay.find("admin")
    assert not list(lab.folder.rglob("*.sock"))
    lab.pair(relay)


# Those who have no business there

GARBAGE = {
    "binary": bytes(range(256)) * 20, "nothing but zeros": b"\0" * 5000, "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "bad version": b"GET /status HTTP/9.9\r\n\r\n", "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "redis": b"*1\r\n$4\r\nPING\r\n",
    "bad method": b"GRAB /status HTTP/1.1\r\n\r\n", "bad length": b"POST /drain HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /drain HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunks": b"POST /drain HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": b"POST /drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "long length": b"POST /drain HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "space in name": b"GET /status HTTP/1.1\r\nHo st: x\r\n\r\n", "control in value": b"GET /status HTTP/1.1\r\nX: a\x01b\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage(lab: Lab, data: bytes) -> None:
    """What is no HTTP is answered with 400 and closed, and nobody else notices."""
    relay = lab.relay()
    client, gateway = lab.pair(relay)
    peer = say(relay.admin_place, data)
    said, _ = peer.read_end()
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n"), said
    client.send(b"traffic")
    assert gateway.read(7) == b"traffic"
    assert relay.status()["state"] == "running"
    peer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /status HTTP/1.1\r\n" + b"X: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET /status HTTP/1.1\r\n" + b"".join(b"X%d: yyyyyyyy\r\n" % i for i in range(1000)) + b"\r\n", 431),
        (b"GET /status HTTP/1.1\r\n" + b"x" * 9000, 431),
        (b"POST /log-level HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"z" * 100_000, 413),
        (b"POST /log-level HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"z" * 1024 + b"\r\n", 200),
    ],
    ids=["target", "header", "headers", "name", "body", "chunks"],
)
def test_oversized(lab: Lab, data: bytes, status: int) -> None:
    """A head of more than 8 KiB, or a body of more than 64 KiB, is refused by its number and not kept."""
    relay = lab.relay()
    peer = Peer(raw(relay.admin_place))
    if status == 200:  # without end
        head, _, chunk = data.partition(b"\r\n\r\n")
        data, status = head + b"\r\n\r\n" + chunk * 100, 413
    try:
        peer.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it did not wait for the rest
    said, _ = peer.read_end()
    assert said.startswith(f"HTTP/1.1 {status} ".encode()), said
    peer.close()


def test_slow_request_is_ended(lab: Lab) -> None:
    """A request that comes byte by byte for ever is ended after ten seconds with 408, and costs the traffic nothing."""
    relay = lab.relay()
    client, gateway = lab.pair(relay)
    ask(relay.admin_place, "GET", "/healthz")
    idle = Dialogue(relay.admin_place)  # who has said nothing may stay for a minute
    slow = [Peer(raw(relay.admin_place)) for _ in range(20)]
    start = time.monotonic()
    data = request("/healthz", "GET", "X-Padding: " + "x" * 5000)
    sent = 0

    def drip() -> bool:
        nonlocal sent
        for peer in slow:
            try:
                peer.send(data[sent : sent + 1])
            except (BrokenPipeError, ConnectionResetError):
                return True
        sent += 1
        client.send(b"traffic")
        assert gateway.read(7) == b"traffic"
        return time.monotonic() - start > seconds(20)

    until(drip, "the end of the slow ones", timeout=25)
    took = time.monotonic() - start
    assert 9 < took < 13 + seconds(1), took
    for peer in slow:
        said, _ = peer.read_end()
        assert said.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), said
        peer.close()
    assert idle.peer.silent(0)
    idle.send(request("/healthz"))
    assert idle.answer().text() == "ok\n"
    idle.close()


def test_limit_of_connections(lab: Lab) -> None:
    """At the limit an idle connection makes room for the next; if none is idle the newcomer is closed, and the log says so."""
    relay = lab.relay(admin_connections=4).allow("admin-busy")
    first = relay.sockets()
    idle = [Peer(raw(relay.admin_place), f"idle {i}") for i in range(4)]  # one of them takes the place of the harness's own
    for _ in range(3):
        assert ask(relay.admin_place, "GET", "/healthz").status == 200
    gone = [peer for peer in idle if not peer.silent(0)]
    assert idle[0] in gone or idle[0].gone() == "eof"
    for peer in idle:
        peer.close()
    busy = [say(relay.admin_place, request(wait_for("clients", ">=", 1, "1h"))) for _ in range(4)]
    until(lambda: relay.sockets() == first + 3, "four who wait")
    for _ in range(3):
        relay.signal_stats()  # some turns later their requests have been read
    newcomer = Peer(raw(relay.admin_place))
    assert newcomer.gone() in ("eof", "reset")
    assert (line := relay.wait_log("admin-busy"))["connections"] == 4 and line["refused"] == 1
    newcomer.close()
    for peer in busy:
        assert peer.silent(0)
        peer.close()
    until(lambda: ask_ok(relay), "room again")


def ask_ok(relay: Relay) -> bool:
    try:
        return ask(relay.admin_place, "GET", "/healthz").status == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def test_flood_of_connections(lab: Lab) -> None:
    """A thousand connections at once: the relay holds no more than its limit, traffic goes on, and who asks properly is served."""
    relay = lab.relay(admin="tcp:127.0.0.1:0").allow("admin-busy")
    first = relay.first_sockets()
    client, gateway = lab.pair(relay)
    flood = []
    for i in range(volume(1000)):
        flood.append(Peer(raw(relay.admin_place)))
        if i % 3 == 0:
            try:
                flood[-1].send(b"GET /st")  # begun: these make no room
            except (BrokenPipeError, ConnectionResetError):
                pass
        if i % 50 == 0:
            client.send(b"traffic")
            assert gateway.read(7) == b"traffic"
    until(lambda: relay.sockets() <= first + 2 + 64, "no more than the limit")
    busy = relay.find("admin-busy")
    assert (0 if SLOW else 1) <= len(busy) <= 2 + int(relay.age()), "the flood must not fill the log"
    for peer in flood:
        peer.reset()
    until(lambda: ask_ok(relay), "service again")


def test_half_closed_client(lab: Lab) -> None:
    """A client that has said all it wants to say (shutdown) still gets its pages, short and long, and all that it asked for."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(300, "127.0.0.1:9"))), "--log-level", "warn")
    for targets in (["/healthz"], ["/status"], ["/metrics", "/healthz", "/status"]):
        peer = Dialogue(relay.admin_place, b"".join(request(target) for target in targets))
        peer.peer.finish()
        for target in targets:
            assert peer.answer().status == 200, target
        peer.end()


def test_reset_in_the_middle(lab: Lab) -> None:
    """Clients that go in the middle of a request or an answer leave nothing behind."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(100, "127.0.0.1:9"))), "--admin", "tcp:127.0.0.1:0")
    before = relay.sockets()
    for data in (b"", b"GET /sta", request("/status"), request("/metrics") * 10, request(wait_for("clients", ">=", 1)), request("/reload", "POST")):
        for after in (0, 1):
            peer = say(relay.admin_place, data)
            if after and b"GET /sta" != data and b"/wait" not in data and data:
                peer.read(1)
            peer.reset()
    until(lambda: relay.sockets() == before, "nothing left over")
    assert relay.admin("GET", "/healthz").status == 200


def test_no_descriptor_for_one_more(lab: Lab) -> None:
    """At the limit of descriptors the admin socket rests like any other, says so, and comes back."""
    relay = lab.relay().allow("accept-paused")
    relay.limit_descriptors(relay.descriptors())
    peer = Dialogue(relay.admin_place, request("/healthz"))
    assert relay.wait_log("accept-paused", relay="admin")["error"] == "Too many open files"
    relay.limit_descriptors(1000)
    assert peer.answer().text() == "ok\n"
    relay.wait_log("accept-resumed", relay="admin")
    peer.close()


def test_memory_comes_back(lab: Lab) -> None:
    """Thousands of requests leave the relay as small as it was."""
    relay = lab.run(several(20, "127.0.0.1:9"))
    for _ in range(50):
        relay.status(), relay.admin("GET", "/metrics")
    before = relay.memory()
    clients = [AdminClient(relay.admin_place) for _ in range(20)]
    for _ in range(volume(100)):
        for client in clients:
            assert client.ask("GET", "/status").status == 200
            assert client.ask("GET", "/metrics").status == 200
    for client in clients:
        client.close()
    if not SLOW:
        assert relay.memory() - before < 1 << 20


def test_admin_does_not_hold_up_traffic(lab: Lab) -> None:
    """While four clients ask for everything as fast as they can, an echo through the relay stays quick."""
    relay = lab.start("run", "-c", str(lab.file("relay.toml", several(volume(300), lab.target(echo).address, gateway="127.0.0.2"))), "--log-level", "warn")
    client = lab.at(relay.relay_status("r0")["listening"][0]["addr"])
    stop = threading.Event()

    def greedy() -> int:
        admin, count = AdminClient(relay.admin_place), 0
        while not stop.is_set():
            assert admin.ask("GET", "/metrics").status == 200
            count += 1
        admin.close()
        return count

    workers = [Task(greedy) for _ in range(4)]
    times = []
    try:
        for _ in range(200):
            start = time.monotonic()
            client.send(b"ping")
            assert client.read(4) == b"ping"
            times.append(time.monotonic() - start)
    finally:
        stop.set()
    assert sum(worker.result() for worker in workers) >= 4
    assert sorted(times)[len(times) // 2] < seconds(0.1), times
