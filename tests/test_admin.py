# SPDX-License-Identifier: Apache-2.0
"""The admin socket as its users have it: routes, commands, who may use it, where it listens. (Statistics:
test_admin_statistics.py; those who have no business there: test_admin_hostile.py.)"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from harness.admin import Connection, Dialogue, ask, check_metrics, mode_of, request, say, wait_for
from harness.lab import Lab
from harness.peers.target import echo
from harness.process import NOBODY, command
from harness.relays import several
from harness.scale import SLOW, seconds, volume
from harness.stream import Stream
from harness.task import Task
from harness.until import until

PAGES = ("/status", "/metrics", "/healthz", "/readyz")
COMMANDS = ("/drain", "/reload", "/log-level")


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
