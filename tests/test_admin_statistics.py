# SPDX-License-Identifier: Apache-2.0
"""Statistics by way of the admin socket: /metrics as Prometheus reads it, /status for people and scripts, /wait for scripts."""

import json
import re
import time

import pytest

from harness.admin import ask, check_metrics, request, say, wait_for
from harness.lab import Lab
from harness.peers.target import echo
from harness.process import command
from harness.relays import several
from harness.scale import ROOT, seconds
from harness.stream import Stream
from harness.task import Task
from harness.until import until

# /metrics


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
    assert 0.69 <= time.monotonic() - start < seconds(3)
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
