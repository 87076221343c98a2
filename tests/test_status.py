# SPDX-License-Identifier: Apache-2.0
"""`relay status` as an operator has it: what it shows, whom it finds, and what it says where it finds nobody."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.certs import Authority
from harness.lab import CLIENT, GATEWAY, Lab, options
from harness.peers.target import echo, stall
from harness.plex import announced, trade
from harness.process import NOBODY, Relay, command, has_tls
from harness.scale import BIN, SLOW, seconds
from harness.sockets import Peer
from harness.until import until

NOWHERE = {"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": ""}


def status(*words: str, env: dict[str, str] | None = None, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """`relay status`, which ends by itself. It looks nowhere but where it is told."""
    return subprocess.run(
        [str(BIN), "status", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds(30),
        env={**os.environ, **NOWHERE, **(env or {})}, user=user, check=False,
    )


def good(*words: str, **how: Any) -> str:
    """What it shows, if it has nothing to complain about."""
    done = status(*words, **how)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def of(relay: Relay) -> list[str]:
    return ["--admin", relay.admin_place if relay.admin_place.startswith("unix:") else "tcp:" + relay.admin_place]


def several(lab: Lab, count: int, **keys: str) -> Relay:
    target = lab.refusing()
    more = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
    return lab.run("".join(f'[[relay]]\nname = "r{i}"\nlisten = "127.0.0.1:0"\ntarget = "{target.address}"\n{more}' for i in range(count)))


class Terminal:
    """`relay status` on a terminal of its own."""

    def __init__(self, *words: str, columns: int = 120, rows: int = 40) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.output = b""
        self.process = subprocess.Popen(
            [str(BIN), "status", *words], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, **NOWHERE},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self.master, 1 << 16):
                self.output += piece
        except OSError:
            pass  # the other end is closed

    def frames(self) -> list[str]:
        """What has been shown whole, each page as lines."""
        return [frame.replace("\x1b[K\r\n", "\n") for frame in self.output.decode().split("\x1b[H")[1:] if frame.endswith("\x1b[J")]

    def interrupt(self) -> int:
        """What Ctrl-C does."""
        os.write(self.master, b"\x03")
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(seconds(20))
        self._reader.join(seconds(5))
        return code

    def text(self) -> str:
        return self.output.decode().replace("\r\n", "\n")

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(seconds(5))
        os.close(self.master)


@dataclass
class Table:
    """A table as an eye has it: where each column begins and ends, by its title."""

    titles: list[str]
    rows: list[list[str]] = field(default_factory=list)


def read_table(text: str, first: str = "NAME") -> Table:
    """Reads columns by position; fails where a cell is not below its title."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.lstrip().startswith(first))
    head = lines[at]
    spans = [found.span() for found in re.finditer(r"\S+(?: \S+)*", head)]
    table = Table([head[a:b] for a, b in spans])
    for line in lines[at + 1 :]:
        if not line.startswith("  "):
            break
        if line.startswith("      ") or line.startswith("  and "):
            continue  # a note, or a number far to the right
        cells = [found.span() for found in re.finditer(r"\S+(?: \S+)*", line)]
        assert len(cells) == len(spans), f"{head}\n{line}"
        for (a, b), (x, y) in zip(spans, cells):
            assert x == a or y == b, f"not in its column:\n{head}\n{line}"
        table.rows.append([line[x:y] for x, y in cells])
    return table


# What it shows


def test_table(lab: Lab) -> None:
    """One line about the process, one about each relay: where it listens, where it dials, who is there."""
    relay = several(lab, 3, gateway="127.0.0.2")
    gateway, client = lab.add(relay.connect("gateway", GATEWAY, relay="r1")), lab.add(relay.connect("client", CLIENT, relay="r1"))
    relay.wait_stat("pairs", "==", 1, relay="r1")
    text = good(*of(relay))
    head = text.splitlines()[0]
    assert re.fullmatch(rf"relay \S+  pid {relay.pid}  running  up \S+  3 relays  \S+relay.toml  unix:\S+", head), head
    table = read_table(text)
    assert table.titles == ["NAME", "LISTENING", "TARGET", "CLIENTS", "GATEWAYS", "WAITING", "PAIRS", "QUEUED", "RATE"]
    assert [row[0] for row in table.rows] == ["r0", "r1", "r2"]
    assert table.rows[1][1] == relay.address("client", "r1")
    assert table.rows[1][3:] == ["1", "1", "0", "1", "0B", "0B/s"]
    assert table.rows[0][3:] == ["0", "0", "0", "0", "0B", "0B/s"]
    assert "\x1b" not in text and not re.search(r" $", text, re.MULTILINE)
    client.close()
    gateway.close()


def test_numbers_stand_below_one_another(lab: Lab) -> None:
    """Numbers are on the right, sizes have units, names of digits are names."""
    target = lab.refusing()
    relay = lab.run("".join(
        f'[[relay]]\nname = "{name}"\nlisten = "127.0.0.1:0"\ngateway = "127.0.0.2"\npairs = 20\ntarget = "{target.address}"\n' for name in ("7", "a-long-name", "b")
    ))
    for _ in range(12):
        lab.gateway(relay).send(b"x" * 150)  # to the first
    until(lambda: relay.status()["relays"][0]["stats"]["queued_bytes"] == 1800, "all bytes")
    text = good(*of(relay))
    lines = text.splitlines()[1:]
    ends = {title: lines[0].index(title) + len(title) for title in ("GATEWAYS", "QUEUED")}
    assert [line[: ends["GATEWAYS"]].split()[-1] for line in lines[1:]] == ["12", "0", "0"]
    assert [line[: ends["QUEUED"]].split()[-1] for line in lines[1:]] == ["1.8KiB", "0B", "0B"]
    assert lines[1].startswith("  7  ") and lines[3].startswith("  b  ")
    relay.allow("session-end").terminate()


def test_roles_and_several_places(lab: Lab) -> None:
    """A relay with a door for gateways shows which is which."""
    relay = lab.relay(gateway_listen="127.0.0.1", gateway_port=0, gateway=None)
    row = read_table(good(*of(relay))).rows[0]
    assert row[1] == f"{relay.address('client')}(client),{relay.address('gateway')}(gateway)"


def test_trouble_is_seen(lab: Lab) -> None:
    """The last thing that went wrong stands below its relay, with its time, whole."""
    relay = lab.relay().allow("dial-failed")
    lab.client(relay)
    relay.wait_log("dial-failed")
    lines = good(*of(relay)).splitlines()
    assert re.fullmatch(r"      \d+s ago: 127\.0\.0\.1:\d+: Connection refused", lines[3]), lines


def test_reloads_that_failed_are_seen(lab: Lab) -> None:
    """That the file on disk is not the one that runs is in sight."""
    relay = several(lab, 1).allow("config-fault", "reload-failed")
    assert "reloads" not in good(*of(relay))
    lab.file("relay.toml", "nonsense = 1\n")
    assert relay.admin("POST", "/reload").status == 409
    assert "\n  reloads: 0 done, 1 refused" in good(*of(relay))


def test_draining_is_seen(lab: Lab) -> None:
    """A process that is on its way out says so."""
    relay = lab.relay(drain_timeout="30s")
    gateway = lab.gateway(relay)
    gateway.send(b"for a client")
    relay.wait_stat("queued_bytes", "==", 12)
    relay.signal(signal.SIGTERM)
    relay.wait_log("draining")
    assert "  draining  " in good(*of(relay)).splitlines()[0]
    relay.allow("session-end").terminate_again()


def test_connections(lab: Lab) -> None:
    """--connections shows who is connected, since when, what has passed, and what a dial is waiting for."""
    relay = lab.relay(pairs=5, gateway="127.0.0.2").allow("dial-failed")
    client, gateway = lab.pair(relay)
    gateway.send(b"x" * 2048)
    assert client.read(2048)
    waiting = lab.client(relay)
    waiting.send(b"hello")
    relay.wait_stat("queued_bytes", "==", 5)
    relay.wait_log("dial-failed")
    text = good(*of(relay), "--connections", "10")
    table = read_table(text, "ID")
    assert table.titles == ["ID", "STATE", "CLIENT", "GATEWAY", "AGE", "QUIET", "TO CLIENT", "TO GATEWAY", "QUEUED", "MOST QUEUED"]
    rows = {row[1]: row for row in table.rows}
    assert rows["paired"][2:4] == [client.local, gateway.local]
    assert rows["paired"][6:9] == ["2.0KiB", "0B", "0B"]
    assert rows["waiting"][2:4] == [waiting.local, "-"]
    assert rows["waiting"][8:] == ["5B", "5B"]
    assert re.search(r"\n      dialling: failed \d+ times?(, again in \d+m?s)?: Connection refused\n", text)
    fewer = good(*of(relay), "--connections", "1")
    assert len(read_table(fewer, "ID").rows) == 1 and "\n  and 1 more\n" in fewer
    assert "ID" not in good(*of(relay))
    relay.allow("session-end")


def test_connections_of_a_plex(lab: Lab) -> None:
    """Another kind's connections have columns for what that kind knows of them, and none for what it does not."""
    upstream = lab.upstream(features=("EVENTS",))
    relay = lab.plex(upstream)
    one = announced(lab, relay, upstream)
    trade(one.peer, 3)
    text = good(*of(relay), "--connections", "5")
    table = read_table(text, "CLIENT")
    assert table.titles == ["CLIENT", "STATE", "PEER", "UPSTREAM", "MESSAGES", "KEPT", "QUEUED"]
    assert table.rows == [[one.uuid, "open", one.peer.local, upstream.url, "3", "0", "0B"]]
    assert "RATE" not in text


def test_workers(lab: Lab) -> None:
    """Of a relay with workers each of them is shown, what went wrong last with any, and where their connections are listed."""
    upstream, gone = lab.upstream(features=("EVENTS",)), lab.refusing()
    relay = lab.plex(upstream, f"grpc://{gone.address}", up=1, workers=2).allow("dial-failed")
    for _ in range(3):
        announced(lab, relay, upstream)
    until(lambda: relay.relay_status()["last_error"], "a worker has said what went wrong")
    text = good(*of(relay))
    assert f"ago: {gone.address}: Connection refused" in text
    table = read_table(text, "WORKER")
    assert table.titles[:5] == ["WORKER", "PID", "STATE", "CLIENTS", "WAITING"]
    told = relay.relay_status()["workers"]
    assert [row[:3] for row in table.rows] == [[str(one["worker"]), str(one["pid"]), "up"] for one in told]
    assert sum(int(row[3]) for row in table.rows) == 3
    assert f"and 3 connections: see GET /relays/{relay.relay_status()['name']}/clients" in text


def test_one_relay(lab: Lab) -> None:
    """--relay shows that one; a name that is nobody's is said, and is a failure. Names may have any character."""
    target = lab.refusing()
    relay = lab.run("".join(f'[[relay]]\nname = "{name}"\nlisten = "127.0.0.1:0"\ntarget = "{target.address}"\n' for name in ("a", "b&relay=a", "ü %41")))
    for name in ("a", "b&relay=a", "ü %41"):
        assert [row[0] for row in read_table(good(*of(relay), "--relay", name)).rows] == [name]
    done = status(*of(relay), "--relay", "c")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'relay: no relay is called "c" here; relay status lists all\n'


def test_json(lab: Lab) -> None:
    """--json is /status as it is: one object on one line."""
    relay = several(lab, 2)
    client = lab.add(relay.connect("client", CLIENT, relay="r0"))
    text = good(*of(relay), "--json", "--connections", "5")
    assert text.count("\n") == 1
    told, asked = json.loads(text), relay.status(connections=5)
    assert told.keys() == asked.keys() and told["pid"] == relay.pid
    assert [one["name"] for one in told["relays"]] == ["r0", "r1"]
    assert told["relays"][0]["stats"].keys() == asked["relays"][0]["stats"].keys()
    assert told["relays"][0].keys() == asked["relays"][0].keys()
    assert told["relays"][0]["connections"][0]["gateway"] == client.local


def test_strange_names_do_no_harm(lab: Lab) -> None:
    """What a stranger may have chosen cannot move the cursor, and wide letters do not move the columns."""
    body = {"version": "1\x1b[2J", "pid": 7, "state": "\x07", "uptime_ms": 61000, "file": "a\nb", "relays": [
        {"name": name, "kind": "cluster", "target": "x\u202ey", "listening": [{"addr": "\x1b]0;title\x07", "role": "both"}],
         "stats": {"clients": 1}, "bytes_a_second": 0, "last_error": {"error": "\x1b[31mred", "ago_ms": 5}, "connections": [
             {"session": 1, "state": "\x9b1m", "client": "\r", "gateway": "\t"}]}
        for name in ("plain", "größe", "日本", "e\u0301", "😀")]}
    place = answering(lab, http(json.dumps(body)))
    text = good("--admin", place, "--connections", "1")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert r"\x1b" in text
    lines = [line for line in text.splitlines() if re.match(r"  (plain|größe|日本|e\u0301|😀)", line)]
    wide = {"日": 1, "本": 1, "😀": 1, "\u0301": -1}
    assert len({line.index("\\x1b]0") + sum(wide.get(letter, 0) for letter in line) for line in lines}) == 1
    assert len(lines) == 5


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 10])
def test_narrow_terminal(lab: Lab, columns: int) -> None:
    """No line of the table is longer than the window; the name stays, then the numbers."""
    relay = several(lab, 3)
    lab.add(relay.connect("client", CLIENT, relay="r0"))
    with Terminal(*of(relay), columns=columns) as terminal:
        assert terminal.wait() == 0
        table = terminal.text().splitlines()[1:]
        assert table[0].startswith("  NAME ")
        assert all(len(line) <= max(columns, 40) for line in table if " ago: " not in line)
        titles = table[0].split()
        assert ("TARGET" in titles) == (columns >= 200)
        assert ("QUEUED" in titles) == (columns >= 60)
        assert ("LISTENING" in titles) == (columns >= 80)
        assert table[1].split()[0] == "r0"


def test_a_thousand_relays(lab: Lab) -> None:
    """A process with many relays is shown whole, and --watch keeps to the window."""
    count = 100 if SLOW else 1000
    path = lab.file("many.toml", "".join(f'[[relay]]\nname = "r{i}"\nlisten = "127.0.0.1:0"\ntarget = "127.0.0.1:9"\n' for i in range(count)))
    place = f"unix:{lab.folder}/many"
    with open(lab.folder / "log", "wb") as log, subprocess.Popen([str(BIN), "run", "-c", str(path), "--admin", place], stderr=log) as process:
        try:
            until(lambda: status("--admin", place).returncode == 0, "an answer")
            assert len(read_table(good("--admin", place)).rows) == count
            assert len(json.loads(good("--admin", place, "--json"))["relays"]) == count
            with Terminal("--admin", place, "--watch", rows=20) as terminal:
                until(lambda: len(terminal.frames()) > 1, "two pages")
                for page in terminal.frames():
                    lines = page.splitlines()
                    assert len(lines) <= 20
                    more = re.match(r"\.\.\. (\d+) more lines; ", lines[-2])
                    assert more and int(more[1]) == count - 16, lines
                terminal.interrupt()
        finally:
            process.terminate()
            assert process.wait(seconds(20)) == 0


# --watch


def test_watch_in_place(lab: Lab) -> None:
    """On a terminal each page is painted over the last one, without clearing in between, until Ctrl-C."""
    relay = lab.relay()
    with Terminal(*of(relay), "--watch", "--interval", "100ms") as terminal:
        until(lambda: len(terminal.frames()) >= 2, "two pages")
        client = lab.client(relay)
        until(lambda: re.search(r"cluster-0 .* 1 +0 +1 +0 +0B", terminal.frames()[-1]), lambda: repr(terminal.output))
        client.reset()
        until(lambda: re.search(r"cluster-0 .* 0 +0 +0 +0 +0B", terminal.frames()[-1]), lambda: repr(terminal.output))
        assert b"\x1b[2J" not in terminal.output
        assert all(page.startswith("relay ") for page in terminal.frames())
        assert terminal.interrupt() == -signal.SIGINT
    relay.allow("dial-failed")


def test_watch_waits_for_who_goes_and_comes(lab: Lab) -> None:
    """--watch sees a relay go, says so in its place, and shows it again when it is back."""
    place = f"unix:{lab.folder}/a"
    with Terminal("--admin", place, "--watch", "--interval", "100ms") as terminal:
        until(lambda: any("No such file" in page for page in terminal.frames()), "that nobody is there")
        first = lab.relay(admin=place)
        until(lambda: f"pid {first.pid} " in terminal.frames()[-1], "the relay")
        first.finish()
        until(lambda: terminal.frames()[-1].startswith(f"relay: {place}: "), "that it has gone")
        assert "pid" not in terminal.frames()[-1]
        second = lab.relay(admin=place)
        until(lambda: f"pid {second.pid} " in terminal.frames()[-1], "the other relay")
        terminal.interrupt()


@pytest.mark.parametrize("form", ["table", "json"])
def test_watch_into_a_pipe(lab: Lab, form: str) -> None:
    """Into a pipe --watch writes one table, or one line of JSON, after the other, and outlives a relay that is started again."""
    place = f"unix:{lab.folder}/a"
    relay = lab.relay(admin=place)
    words = ["--json"] if form == "json" else []
    process = subprocess.Popen([str(BIN), "status", "--admin", place, "--watch", "--interval", "100ms", *words], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        lines = [process.stdout.readline() for _ in range(9)]
        relay.finish()
        assert process.stderr.readline().startswith(f"relay: {place}: ")
        again = lab.relay(admin=place)
        pid = f'"pid":{again.pid},' if form == "json" else f"pid {again.pid} "
        while pid not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        assert process.wait(seconds(10)) == -signal.SIGINT
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    if form == "json":
        assert all(json.loads(line)["pid"] == relay.pid for line in lines)
    else:
        assert [line.split()[:1] for line in lines[:8]] == [["relay"], ["NAME"], ["cluster-0"], []] * 2
    assert not any("\x1b" in line for line in lines)


def test_watch_in_vain(lab: Lab) -> None:
    """A script that watches where nobody is learns it at once, and one whose reader has gone ends."""
    done = status("--admin", f"unix:{lab.folder}/nobody", "--watch")
    assert (done.returncode, done.stdout) == (1, "")
    relay = lab.relay()
    with open("/dev/full", "w", encoding="ascii") as full:
        done_full = subprocess.run([str(BIN), "status", *of(relay), "--watch", "--interval", "100ms"], stdout=full, stderr=subprocess.PIPE, text=True,
                                   timeout=seconds(10), check=False)
    assert done_full.returncode == 1
    assert done_full.stderr == "relay: standard output does not take any more\n"


# Whom it finds


def test_nobody_is_there(lab: Lab) -> None:
    """Where no relay runs it says so and what to do, and fails."""
    done = status(env={"XDG_RUNTIME_DIR": str(lab.folder), "RUNTIME_DIRECTORY": str(lab.folder)})
    if done.returncode == 0:
        pytest.skip("a relay runs on this machine")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no relay with an admin socket runs here for this user" in done.stderr and "--admin" in done.stderr


def test_finds_relays_of_unit_and_user(lab: Lab) -> None:
    """Without --admin it finds the unit's own relay and those of the user, each once, and passes over what killed ones have left."""
    (lab.folder / "unit").mkdir()
    env = {"RUNTIME_DIRECTORY": str(lab.folder / "unit"), "XDG_RUNTIME_DIR": str(lab.folder)}
    unit = lab.relay(env=env)
    users = [lab.relay(env={"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": str(lab.folder)}, admin="auto") for _ in range(2)]
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(lab.folder / "relay" / "4711.sock"))
    (lab.folder / "relay" / "5.sock").write_text("no socket")
    text = good("--json", env=env)
    pids = [json.loads(line)["pid"] for line in text.splitlines()]
    assert sorted(pids) == sorted([unit.pid, *(user.pid for user in users)])
    table = good(env=env)
    assert table.count("\n\nrelay ") == 2


def test_one_of_several_is_stuck(lab: Lab) -> None:
    """A process that hangs does not keep the others from being shown; it is named."""
    env = {"XDG_RUNTIME_DIR": str(lab.folder), "RUNTIME_DIRECTORY": ""}
    relays = [lab.relay(env=env, admin="auto") for _ in range(2)]
    relays[0].signal(signal.SIGSTOP)
    try:
        done = status("--json", env=env)
    finally:
        relays[0].signal(signal.SIGCONT)
    assert done.returncode == 0
    assert json.loads(done.stdout)["pid"] == relays[1].pid
    assert done.stderr == f"relay: {relays[0].admin_place}: no answer in time\n"


@pytest.mark.skipif(os.getuid() != 0, reason="to be another user one has to be root")
def test_another_user_may_not(lab: Lab) -> None:
    """Who may not ask is told who may."""
    relay = lab.relay()
    place = relay.admin_place
    for folder in [lab.folder, *Path(place.removeprefix("unix:")).parents]:
        if folder.is_relative_to(lab.folder):
            folder.chmod(0o755)
    done = subprocess.run([str(shutil.copy(BIN, lab.folder / "program")), "status", "--admin", place], user=NOBODY, capture_output=True, text=True,
                          timeout=seconds(10), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"relay: {place}: Permission denied; its owner or root may ask (sudo relay status)\n"


def test_token(lab: Lab) -> None:
    """A relay that wants a token says so; with the file that has it all is well; a file without one is a fault."""
    secret = lab.file("token", "correct horse\n")
    relay = lab.relay(admin="tcp:127.0.0.1:0", admin_token_file=secret, token="correct horse")
    done = status(*of(relay))
    assert done.returncode == 1
    assert done.stderr == f"relay: {relay.admin_place}: answers 401: a token is needed: Authorization: Bearer TOKEN; give --admin-token-file\n"
    assert good(*of(relay), "--admin-token-file", str(secret)).startswith("relay ")
    for text, why in (("\n", "is empty"), ("two\r\nlines: x\n", "more in it than a token"), (None, "No such file")):
        path = lab.folder / "wrong"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        done = status(*of(relay), "--admin-token-file", str(path))
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    folder = Path(tempfile.mkdtemp(prefix="relay-status-"))
    yield Authority(folder, "ca")
    shutil.rmtree(folder)


@pytest.mark.skipif(not has_tls(), reason="built without TLS")
def test_tls(lab: Lab, authority: Authority) -> None:
    """An admin address with TLS is asked if its certificate is good, and refused if it is not, with the reason."""
    own = authority.issue("admin", dns=["relay.example"], ip=["127.0.0.1"], file="both")
    named = authority.issue("named", dns=["relay.example"])
    for issued, words in ((own, []), (named, ["--server-name", "relay.example"])):
        relay = lab.relay(admin="tls:127.0.0.1:0", admin_cert=issued.cert, admin_key=issued.key)
        place = "tls:" + relay.admin_place
        assert good("--admin", place, "--ca", str(authority.cert), *words).startswith("relay ")
    done = status("--admin", place, "--ca", str(authority.cert))
    assert done.returncode == 1 and "relay.example" in done.stderr, done.stderr
    done = status("--admin", place)
    assert done.returncode == 1 and "certificate" in done.stderr, done.stderr
    done = status("--admin", place.replace("tls:", "tcp:"))
    assert done.returncode == 1 and done.stdout == ""


def test_tls_options_without_tls(lab: Lab) -> None:
    """--ca where there is no TLS, or without a certificate in it, is a fault and not ignored."""
    empty = lab.file("empty.pem", "")
    for words, why in (
        (["--ca", str(empty)], "--ca: is for an admin address with TLS"),
        (["--admin", "tcp:127.0.0.1:1", "--server-name", "x"], "--server-name: is for an admin address with TLS"),
        (["--admin", "tls:127.0.0.1:1", "--ca", str(empty)], "--ca: "),
        (["--admin", "tls:127.0.0.1:1", "--ca", "/does/not/exist"], "--ca: "),
    ):
        done = status(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert why in done.stderr


# Answers that are none


def http(body: str, code: str = "200 OK", length: bool = True) -> bytes:
    data = body.encode()
    return f"HTTP/1.1 {code}\r\n".encode() + (f"Content-Length: {len(data)}\r\n".encode() if length else b"") + b"\r\n" + data


def answering(lab: Lab, data: bytes) -> str:
    """The place of a server that takes a request and says that."""

    def behave(peer: Peer) -> None:
        peer.sock.recv(1 << 16)
        try:
            peer.send(data)
            peer.finish()
        except OSError:
            pass  # it has heard enough

    return "tcp:" + lab.target(behave).address


def headless(count: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * count


@pytest.mark.parametrize("data, why", [
    (b"", "without an answer"),
    (b"220 mail.example ESMTP\r\n", "HTTP"),
    (b"\x00\xff" * 500, "HTTP"),
    (headless(100_000), "long"),
    (http("hello"), "not as a relay does"),
    (http("[1, 2]"), "not as a relay does"),
    (http('{"relays": 5}'), "not as a relay does"),
    (http('{"relays": []')[:-3].replace(b"13", b"99"), "in the middle"),
    (http("[" * 200_000), "not as a relay does"),
    (http("<h1>\x1b[2Jno</h1>\nmore", "404 Not Found"), r"answers 404: <h1>\x1b[2Jno</h1>"),
    (http('{"error": "draining\\u001b"}', "503 No"), r"answers 503: draining\x1b"),
    (http("", "500 Oops"), "answers 500"),
], ids=["nothing", "other", "binary", "huge-head", "text", "array", "no-relays", "half", "deep", "page", "error", "empty"])
def test_answer_that_is_none(lab: Lab, data: bytes, why: str) -> None:
    """What answers and is no relay is named, with what is wrong with it; it cannot do harm."""
    place = answering(lab, data)
    for words in ([], ["--json"]):
        done = status("--admin", place, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"relay: {place.removeprefix('tcp:')}: ") and done.stderr.count("\n") == 1
        assert why.lower() in done.stderr.lower(), done.stderr
        assert "\x1b" not in done.stderr


def test_answer_of_another_shape(lab: Lab) -> None:
    """An answer with members missing, or of other types, is shown as far as it goes."""
    body = '{"relays": [{}, {"kind": "cluster"}, {"kind": "cluster", "name": 5, "listening": {}, "stats": [], "connections": [{"dial": {}}]}, null]}'
    text = good("--admin", answering(lab, http(body)), "--connections", "5")
    assert "4 relays" in text and len(read_table(text.replace("    -", "  x -  x ")).titles) == 8


def test_no_answer(lab: Lab) -> None:
    """One who takes the connection and says nothing is given up after a few seconds."""
    target = lab.target(stall)
    done = status("--admin", f"tcp:{target.address}")
    assert (done.returncode, done.stderr) == (1, f"relay: {target.address}: no answer in time\n")
    refused = lab.refusing()
    done = status("--admin", f"tcp:{refused.address}")
    assert (done.returncode, done.stderr) == (1, f"relay: {refused.address}: Connection refused\n")


# Words


def test_wrong_words() -> None:
    """A fault in the arguments is said with its remedy, exit status 2; --help teaches all options."""
    for words, why in (
        (["--admin", "none"], "nobody to ask"),
        (["--admin", "http://x"], "--admin"),
        (["--conections", "5"], "did you mean"),
        (["--connections", "10001"], "out of range"),
        (["--interval", "1ms"], "out of range"),
        (["now"], "now"),
    ):
        done = status(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert why in done.stderr and done.stderr.endswith("Try: relay status --help\n"), done.stderr
    text = command("status", "--help").stdout
    assert command("help", "status").stdout == text
    for key in ("admin", "admin-token-file", "ca", "server-name", "relay", "connections", "json", "watch", "interval"):
        assert f"  --{key}" in text
    assert all(len(line) <= 100 for line in text.splitlines()[10:])
    assert options(connections=5) == ["--connections", "5"]


def test_live_numbers(lab: Lab) -> None:
    """RATE is what has passed a second since somebody looked last."""
    relay = lab.relay(target=lab.target(echo))
    client = lab.client(relay)
    with Terminal(*of(relay), "--watch", "--interval", "1100ms") as terminal:
        def busy() -> bool:
            client.send(b"x" * 100_000)
            client.read(100_000)
            return bool(re.search(r" [1-9][0-9.]*(KiB|MiB)/s", terminal.frames()[-1] if terminal.frames() else ""))

        until(busy, "a rate")
        terminal.interrupt()
    client.close()
