# SPDX-License-Identifier: Apache-2.0
"""The log: one line an event, text or JSON, levels, the journal's prefixes, and what an operator finds in it."""
# Issue: point 8.

import contextlib
import datetime
import fcntl
import json
import os
import pty
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from harness.lab import CLIENT, GATEWAY, STRANGER, Lab
from harness.logs import BARE, Line, parse
from harness.peers.target import echo
from harness.process import command
from harness.scale import BIN, seconds, volume
from harness.sockets import connect
from harness.until import until

STATS = """clients gateways waiting pairs queued_bytes clients_accepted gateways_accepted dials dial_failures sessions refused_client_busy
    refused_gateway_busy refused_client_not_allowed refused_gateway_not_allowed refused_draining to_client_bytes to_gateway_bytes
    lost_to_client_bytes lost_to_gateway_bytes queue_full idle_timeouts half_close_timeouts wait_timeouts resets accept_pauses
    spliced_flows log_dropped""".split()


def test_life_of_a_session(lab: Lab) -> None:
    """From start to stop each event is one line, and the session's last line says who, why, how much and how long."""
    relay = lab.relay(name="billing")
    client, gateway = lab.pair(relay)
    client.send(b"x" * 1000)
    assert gateway.read(1000)
    gateway.send(b"y" * 3000)
    assert client.read(3000)
    client.finish()
    assert gateway.read_all() == b""
    gateway.finish()
    assert client.read_all() == b""
    end = relay.wait_log("session-end")
    assert {key: end.get(key) for key in ("relay", "client", "gateway", "reason", "to_client", "to_gateway")} == {
        "relay": "billing", "client": client.local, "gateway": gateway.local, "reason": "client-closed", "to_client": 3000, "to_gateway": 1000,
    }  # fmt: skip
    assert 0 <= end["duration_ms"] < 60_000
    assert "lost_to_client" not in end.fields and "lost_to_gateway" not in end.fields
    relay.finish()
    assert all(line["session"] == end["session"] for line in relay.find("accepted"))
    events = [line.event for line in relay.lines if line.event not in ("stats", "waiting", "confined", "not-confined")]
    assert events == ["started", "admin", "listening", "ready", "accepted", "accepted", "paired", "session-end", "draining", "stopped"]
    assert {line["session"] for line in relay.lines if "session" in line.fields} == {end["session"]}
    started = relay.lines[0]
    assert started["pid"] == relay.pid
    assert command("--version").stdout.split()[1] == str(started["version"])


def test_sessions_have_numbers_of_their_own(lab: Lab) -> None:
    """Two sessions can be told apart by `session=`, and each one's lines belong together."""
    relay = lab.relay(pairs=2)
    first, second = lab.pair(relay), lab.pair(relay)
    numbers = [relay.find("paired", client=client.local)[0]["session"] for client, _ in (first, second)]
    assert numbers[0] != numbers[1]
    for (client, gateway), number in zip((first, second), numbers, strict=True):
        client.reset()
        assert relay.wait_log("session-end", client=client.local)["session"] == number
        gateway.gone()


def test_default_name(lab: Lab) -> None:
    """A relay without --name is called cluster-PORT."""
    port = lab.refusing()
    port.close()  # free again: nobody else is given it within this moment
    relay = lab.relay(port=port.port)
    assert {relay.wait_log("listening")["relay"]} == {f"cluster-{port.port}"}


def test_text_grammar(lab: Lab) -> None:
    """A text line is `TIME LEVEL EVENT key=value ...`, and a value with anything odd in it is quoted and escaped."""
    name = 'odd "name" \\ with = and ä'
    relay = lab.relay(name=name)
    lab.pair(relay)
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert relay.lines
    for line in relay.lines:
        assert re.match(rf"{stamp} (error|warn|info|debug) [a-z-]+( |$)", line.raw), line.raw
        assert line.event, line.raw
        quoted = re.sub(r'="(?:[^"\\]|\\.)*"', "=", line.raw.split(" ", 3)[3] if line.fields else "")
        for word in quoted.split():
            assert BARE.fullmatch(word.partition("=")[2]), line.raw
    assert relay.wait_log("listening")["relay"] == name


def test_json_lines(lab: Lab) -> None:
    """`--log-format json`: each line is an object with ts, level, event; numbers are numbers and odd names survive."""
    name = 'odd "name" \\ with = and ä'
    relay = lab.relay("--log-format=json", name=name)
    client, gateway = lab.pair(relay)
    client.send(b"hello")
    assert gateway.read(5) == b"hello"
    client.reset()
    end = relay.wait_log("session-end")
    assert relay.signal_stats()
    for line in relay.lines:
        fields = json.loads(line.raw)
        assert list(fields)[:3] == ["ts", "level", "event"]
    assert relay.wait_log("listening")["relay"] == name
    for key in ("session", "to_client", "to_gateway", "duration_ms"):
        assert isinstance(end[key], int), key
    assert isinstance(end["client"], str)


def test_time_is_utc_now(lab: Lab) -> None:
    """The time of a line is the time of day, in UTC."""
    relay = lab.relay()
    stamp = datetime.datetime.strptime(relay.wait_log("ready").ts, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.UTC)
    assert abs(datetime.datetime.now(datetime.UTC) - stamp) < datetime.timedelta(seconds=30)


def test_journal_prefixes(lab: Lab) -> None:
    """When the journal reads stderr a line begins with <N>, its priority, and has no time of its own."""
    relay = lab.relay(journal=True).allow("refused")
    client, _ = lab.pair(relay)
    second = lab.client(relay)
    second.gone()
    relay.wait_log("refused")
    client.reset()
    relay.wait_log("session-end")
    prefixes = {line.event: line.raw[:3] for line in relay.lines}
    assert {event: prefixes[event] for event in ("started", "paired", "refused", "session-end")} == {
        "started": "<6>", "paired": "<7>", "refused": "<4>", "session-end": "<6>",
    }  # fmt: skip
    assert all(re.match(r"<[3467]>[a-z]", line.raw) for line in relay.lines)


def test_stream_of_somebody_elses_journal(lab: Lab) -> None:
    """A JOURNAL_STREAM that is not our stderr changes nothing."""
    relay = lab.relay(env={"JOURNAL_STREAM": "1:2"})
    assert all(line.ts for line in relay.lines)


@pytest.mark.parametrize("level, seen", [("debug", {"debug", "info", "warn"}), ("info", {"info", "warn"}), ("warn", {"warn"}), ("error", set())])
def test_levels(lab: Lab, level: str, seen: set[str]) -> None:
    """--log-level: that and worse, nothing else; `info` is the default."""
    target = lab.target(echo)
    keys = {} if level == "info" else {"log_level": level}
    # Without `listening` lines the harness finds no port: the relay gets a Unix socket.
    path = lab.folder / "socket"
    words = ["--log-level", level] if keys else []
    relay = lab.start("start", "--listen", f"unix:{path}", "--target", target.address, "--client", "unix", *words).allow("refused")
    relay.expect_leftovers()
    client = lab.add(connect(f"unix:{path}"))
    client.send(b"hello")
    assert client.read(5) == b"hello"
    refused = lab.add(connect(f"unix:{path}"))
    assert refused.gone() in ("eof", "reset")
    client.finish()
    assert client.read_all() == b""
    if "warn" in seen:
        relay.wait_log("refused")
    lab.close_peers()
    relay.finish()
    assert {line.level for line in relay.lines} == seen


def test_stats_have_every_field(lab: Lab) -> None:
    """SIGUSR1: one line a relay with every gauge and counter, all numbers, and they add up."""
    target = lab.target(echo)
    relay = lab.relay(target=target, client=[CLIENT]).allow("refused")
    client = lab.client(relay)
    client.send(b"x" * 100)
    assert client.read(100)
    lab.client(relay, STRANGER).gone()
    lab.client(relay, CLIENT).gone()
    lab.gateway(relay, GATEWAY).gone()
    client.finish()
    assert client.read_all() == b""
    relay.wait_log("session-end")
    (stats,) = relay.signal_stats().values()
    assert set(STATS) <= set(stats), f"missing: {set(STATS) - set(stats)}"
    assert all(isinstance(value, int) for value in stats.values())
    counted = {key: value for key, value in stats.items() if value and key != "spliced_flows"}
    assert counted == {
        "clients_accepted": 1, "dials": 1, "sessions": 1, "to_client_bytes": 100, "to_gateway_bytes": 100,
        "refused_client_busy": 1, "refused_client_not_allowed": 1, "refused_gateway_busy": 1,
    }  # fmt: skip


def test_flood_of_refusals_is_summed_up(lab: Lab) -> None:
    """A thousand refused connections are at most about ten lines a second; `suppressed` says how many are not shown."""
    count = volume(1000)
    relay = lab.relay().allow("refused")
    lab.pair(relay)
    for _ in range(count):
        lab.client(relay).gone()
        lab.peers.pop().close()
    relay.wait_stat("refused_client_busy", "==", count)

    def told() -> int:
        return sum(1 + line.get("suppressed", 0) for line in relay.find("refused"))

    def all_told() -> bool:  # at the latest with one more refusal, when the second is over
        nonlocal count
        lab.client(relay).gone()
        lab.peers.pop().close()
        count += 1
        return relay.stats()["refused_client_busy"] == count == told()

    until(all_told, lambda: f"{count} refusals told, not {told()}", timeout=5)
    a_second: dict[str, int] = {}
    for line in relay.find("refused"):
        a_second[line.ts[:19]] = a_second.get(line.ts[:19], 0) + 1
    assert max(a_second.values()) <= 12, a_second


def test_stuck_stderr_does_not_stop_the_relay(lab: Lab) -> None:
    """When nobody reads the log any more the relay goes on; what was not written is counted."""
    target = lab.target(echo)
    relay = lab.relay(target=target)
    relay.stop_reading_log()
    for _ in range(volume(1000)):
        lab.converse(lab.client(relay))
        target.forget()
    relay.go_on_reading_log()
    stats = relay.wait_stat("pairs", "==", 0)
    if not volume(1000) < 1000:
        assert stats["log_dropped"] > 0
    assert all(line.event for line in relay.lines), "a torn line"


def test_last_lines_wait_for_their_reader(lab: Lab) -> None:
    """A log whose reader is behind has the last lines all the same: at its end the relay waits a second for it."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write_end, b"x" * 4095 + b"\n")  # of somebody else
    port = free_port()
    with bare_relay(port, "127.0.0.1:9", stderr=write_end) as process:
        os.close(write_end)
        until(lambda: reachable(port), "the relay listens")
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        text = b""
        while piece := os.read(read_end, 65536):
            text += piece
    os.close(read_end)
    assert text.decode().splitlines()[-1].split()[2] == "stopped"


@contextlib.contextmanager
def bare_relay(port: int, target: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A relay whose standard descriptors are odd, which the harness cannot do; ready when its port is there."""
    args = [str(BIN), "start", "--listen", "127.0.0.1", "--port", str(port), "--gateway", "127.0.0.2", "--target", target, "--pairs", "8"]
    process = subprocess.Popen([*args, "--log-level", "debug"], **how)
    try:
        yield process
        process.terminate()
        assert process.wait(seconds(10)) == 0
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_frozen_terminal_does_not_stop_the_relay(lab: Lab) -> None:
    """A terminal whose window is frozen (stderr is a tty that nobody reads) holds up no connection and no SIGTERM."""
    target, port = lab.target(echo), free_port()
    screen, stderr = pty.openpty()
    with bare_relay(port, target.address, stderr=stderr):
        os.close(stderr)
        until(lambda: reachable(port), "the relay listens")
        for _ in range(volume(300)):
            lab.converse(lab.add(connect(f"127.0.0.1:{port}")))
            target.forget()
    os.close(screen)


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_closed_standard_descriptors(lab: Lab) -> None:
    """Started with 0, 1 and 2 closed, the log never goes to a peer in the place of stderr."""
    target, port = lab.target(echo), free_port()

    def close_all() -> None:
        for fd in range(3):
            os.close(fd)

    with bare_relay(port, target.address, preexec_fn=close_all):
        until(lambda: reachable(port), "the relay listens")
        for _ in range(10):
            client = lab.add(connect(f"127.0.0.1:{port}"))
            client.send(b"hello")
            client.finish()
            assert client.read_all() == b"hello"
            target.forget()


def test_lines_are_whole(lab: Lab) -> None:
    """(The reader of the log itself: odd input is no log line, good input keeps its fields.)"""
    line = parse('2026-11-21T00:32:37.123Z warn dial-failed relay=x error="no \\"way\\"" attempt=2')
    assert (line.level, line.event, line.fields) == ("warn", "dial-failed", {"relay": "x", "error": 'no "way"', "attempt": 2})
    for odd in ("", "Segmentation fault", "2026-11-21T00:32:37.123Z warn x y", "==1==ERROR: AddressSanitizer: heap", "{}"):
        assert parse(odd) == Line(odd)
