# SPDX-License-Identifier: Apache-2.0
"""A running relay: start, READY, log lines as they come, statistics, memory, and a stop that is a test of its own."""

import contextlib
import ctypes
import fcntl
import functools
import http.client
import itertools
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from harness import logs, scale
from harness.admin import AdminClient, Answer
from harness.logs import Line, Wanted
from harness.scale import seconds
from harness.sockets import Peer, address_text, connect
from harness.until import Overdue, until

# A shell starts what it puts in the background with SIGINT ignored, and relay leaves an ignored signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

GAUGES = ("clients", "gateways", "waiting", "pairs", "queued_bytes", "pinned", "under_way")
POOLED_PIPES = 16  # pairs that a relay may keep for its next splice
OPERATORS = {
    "==": lambda a, b: a == b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}
NOBODY = 65534
# What the tests' own surroundings may have set, and a relay would go by.
FOREIGN = ("JOURNAL_STREAM", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID")
_numbers = itertools.count(1)  # of the processes: what is in their folders is named by them
SYS_PIDFD_GETFD = 438  # the same number on every architecture

# A service manager's part: the sockets get the numbers from 3 on, and the environment says that they are for this process.
PASS_ON = """
import os, sys
numbers = [int(number) for number in sys.argv[1].split(",")]
copies = [os.dup2(number, 100 + i) for i, number in enumerate(numbers)]
for i, copy in enumerate(copies):
    os.dup2(copy, 3 + i)
os.closerange(3 + len(copies), 200)
os.environ.update(LISTEN_FDS=str(len(copies)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def command(*args: str, timeout: float = 10.0, user: int | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a relay command that ends by itself (help, check, a start-up error) and returns what it said."""
    try:
        return subprocess.run(
            [str(scale.BIN), *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds(timeout), user=user, cwd=cwd, check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Overdue(f"relay {' '.join(args)}: no exit within {seconds(timeout):g} s; stderr: {late.stderr!r}") from None


def log_pipe() -> tuple[int, int]:
    """For a relay's stderr: one that holds what is said at once when a thousand upstreams refuse. A relay drops what a pipe does not take,
    and a busy machine may not run our reader for as long as it takes to say a thousand lines."""
    read_end, write_end = os.pipe()
    with contextlib.suppress(PermissionError):  # this user has had as much as the kernel lets one have
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 1 << 20)
    return read_end, write_end


@functools.cache
def has_tls() -> bool:
    """Whether the binary was built with TLS."""
    return "built without TLS" not in command("start", "--listen", "tls://127.0.0.1:1", "--target", "127.0.0.1:9").stderr


class Relay:
    """One relay process, from exec to exit.

    Each has an admin socket in a folder of its own, found by RUNTIME_DIRECTORY, unless the test says otherwise with --admin or `env`.
    Its stderr is read by a thread into `lines`. Warnings and errors must have been declared with allow(), and finish()
    checks that the relay ends as it began: gauges at zero, no socket left over, exit code 0, nothing odd on stderr.
    """

    def __init__(
        self,
        args: Iterable[str],
        folder: Path,
        *,
        config: str | None = None,
        env: Mapping[str, str] | None = None,
        nofile: int = 0,
        journal: bool = False,
        token: str = "",
        listening: Iterable[socket.socket] = (),
    ) -> None:
        self.args = list(args)
        self.folder = folder
        self.config = config
        self.lines: list[Line] = []
        self.exit_code: int | None = None
        self._allowed: set[str] = set()
        self._leftovers = False
        self._news = threading.Condition()
        self._flow = threading.Event()
        self._flow.set()
        self._ended = False
        self.notes: list[str] = []  # lines of what it told its service manager
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        number = next(_numbers)
        self._notify.bind(str(folder / f"notify-{number}"))
        self._log, write_end = log_pipe()
        runtime = folder / f"run-{number}"
        runtime.mkdir()
        inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        environment = {**inherited, "NOTIFY_SOCKET": self._notify.getsockname(), "RUNTIME_DIRECTORY": str(runtime), **(env or {})}
        if journal:
            place = os.fstat(write_end)
            environment["JOURNAL_STREAM"] = f"{place.st_dev}:{place.st_ino}"
        self.started_at = time.monotonic()
        passed = [one.fileno() for one in listening]
        wrapper = [sys.executable, "-c", PASS_ON, ",".join(map(str, passed))] if passed else []
        self.process = subprocess.Popen(
            [*wrapper, str(scale.BIN), *self.args], pass_fds=passed, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write_end, env=environment,
            preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))) if nofile else None,
        )
        os.close(write_end)
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._listen, daemon=True).start()
        self._first_sockets = 0  # those that are no listeners of relays
        self._admin_place = f"unix:{runtime}/admin.sock"
        self._admin: AdminClient | None = None
        self._token = token

    # Start

    def wait_ready(self) -> "Relay":
        """Waits for READY=1, and remembers how many sockets a relay at rest has."""
        until(lambda: self._noted("READY=1") or self.process.poll() is not None, "READY=1 on NOTIFY_SOCKET")
        assert self.process.poll() is None, f"exit code {self.process.returncode} before READY"
        self._find_admin()
        while True:  # a relay may be on its way to its servers
            sockets = self.sockets()
            self._first_sockets = sockets - self._listeners()
            if self.sockets() == sockets:
                break
        return self

    def _find_admin(self) -> None:
        """Where the command line or the environment has put it, or else where the log says (the kernel may have chosen the port)."""
        given = [value for name, value in zip(self.args, self.args[1:]) if name == "--admin"]
        if given and given[-1].startswith("unix:"):
            self._admin_place = given[-1]
        elif given or not os.path.exists(self._admin_place.removeprefix("unix:")):
            self.wait_log("ready")
            said = [line["addr"] for line in self.lines if line.event == "admin"]
            if not said:
                return
            self._admin_place = said[0]
            if given and given[-1].startswith("tls:"):
                return  # not for this client
        self._admin = AdminClient(self._admin_place, self._token)
        self._admin.ask("GET", "/healthz")  # connected before sockets are counted

    def first_sockets(self) -> int:
        """How many there are while nobody is connected but the harness itself."""
        return self._first_sockets + self._listeners()

    def _listeners(self, settled: bool = False) -> int:
        if self._admin is None:
            return 0
        # And what a relay keeps open by itself; at the start some of that is only on its way.
        relays = self.status(connections=0)["relays"]
        routes = sum(relay.get("route", {}).get("state") in ("greeting", "up") for relay in relays)
        return routes + sum(len(relay["listening"]) + sum(settled or one["state"] in ("greeting", "ready") for one in relay.get("upstreams", [])) for relay in relays)

    # Admin

    @property
    def admin_place(self) -> str:
        """`unix:PATH` or `IP:PORT`."""
        return self._admin_place

    def admin(self, method: str, target: str, headers: dict[str, str] | None = None, body: str | None = None) -> Answer:
        """Asks on the one connection that this object keeps."""
        assert self._admin is not None, "this relay has no admin socket"
        return self._admin.ask(method, target, headers, None if body is None else body.encode())

    def status(self, **query: Any) -> Any:
        """What /status says."""
        answer = self.admin("GET", "/status?" + urlencode(query))
        assert answer.status == 200, answer
        return answer.json()

    def relay_status(self, relay: str | None = None, **query: Any) -> Any:
        """What /status says of one relay; of the first by name, if it is not said of which."""
        return min((one for one in self.status(**query)["relays"] if relay in (None, one["name"])), key=lambda one: one["name"])

    def reload(self) -> Answer:
        """POST /reload, answered when it is over."""
        return self.admin("POST", "/reload")

    def _listen(self) -> None:
        """Takes what the relay tells the service manager, as that would: at once. Ends when its socket is closed."""
        try:
            while message := self._notify.recv(4096):
                self.notes += message.decode().splitlines()
        except OSError as error:
            self.notes.append(f"(not heard any more: {error})")

    def _noted(self, message: str, after: int = 0) -> bool:
        return message in self.notes[after:]

    def wait_note(self, message: str, after: int = 0) -> None:
        until(lambda: self._noted(message, after), lambda: f"{message} on NOTIFY_SOCKET, only {self.notes[after:]}")

    # Where it listens

    def addresses(self, role: str, relay: str | None = None) -> list[str]:
        """All addresses where `role` (client or gateway) is welcome, as the log's `listening` lines have them."""
        self.wait_log("ready")
        return [
            line["addr"]
            for line in self.lines
            if line.event == "listening" and line["role"] in (role, "both") and relay in (None, line["relay"])
        ]

    def address(self, role: str, relay: str | None = None) -> str:
        """The first of them. A wildcard becomes 127.0.0.1."""
        found = self.addresses(role, relay)
        assert found, f"no `listening` line for {role}"
        first = found[0]
        for wildcard in ("[::]:", "0.0.0.0:"):
            if first.startswith(wildcard):
                return "127.0.0.1:" + first.removeprefix(wildcard)
        return first

    def connect(self, role: str, source: str | None = None, relay: str | None = None, **buffers: int) -> Peer:
        return connect(self.address(role, relay), source, **buffers)

    # Log

    def _read(self) -> None:
        rest = b""
        while True:
            self._flow.wait()
            piece = os.read(self._log, 1 << 16)
            *whole, rest = (rest + piece).split(b"\n")
            if not piece and rest:
                whole.append(rest)
            with self._news:
                self.lines += [logs.parse(line.decode(errors="backslashreplace")) for line in whole]
                self._ended = not piece
                self._news.notify_all()
            if not piece:
                os.close(self._log)
                return

    def stop_reading_log(self) -> None:
        """From the next piece on nobody empties the relay's stderr, which takes no more than a pipe usually does: a stuck terminal."""
        self._flow.clear()
        fcntl.fcntl(self._log, fcntl.F_SETPIPE_SZ, 1 << 16)

    def go_on_reading_log(self) -> None:
        self._flow.set()

    def mark(self) -> int:
        """A place in the log, for `after=`."""
        return len(self.lines)

    def find(self, event: str, after: int = 0, **wanted: Wanted) -> list[Line]:
        """The lines that are there now."""
        return [line for line in self.lines[after:] if line.matches(event, wanted)]

    def wait_log(self, event: str, *, after: int = 0, count: int = 1, timeout: float = 10.0, **wanted: Wanted) -> Line:
        """Waits for the `count`th such line and returns it. A wanted field is a value or a function that judges it."""
        deadline = time.monotonic() + seconds(timeout)
        place, seen = after, 0
        with self._news:
            while True:
                for line in self.lines[place:]:
                    seen += line.matches(event, wanted)
                    if seen == count:
                        return line
                place = len(self.lines)
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "the relay has ended" if self._ended else f"not within {seconds(timeout):g} s"
                    raise Overdue(f"{why}: log line {count} of `{event}` with {wanted} ({seen} seen)")
                self._news.wait(left)

    def allow(self, *events: str) -> "Relay":
        """Declares which warnings and errors this test may provoke."""
        self._allowed.update(events)
        return self

    def expect_leftovers(self) -> "Relay":
        """Declares that a session outlives its peers (kept bytes that nobody fetched): gauges are not checked at the end."""
        self._leftovers = True
        return self

    # Statistics

    def all_stats(self) -> dict[str, dict[str, int]]:
        """Of each relay, those included that were taken out and have something left to do."""
        if self._admin is None:
            return self.signal_stats()
        status = self.status(connections=0)
        return {relay["name"]: {**relay["stats"], "log_dropped": status["log_dropped"]} for relay in status["relays"]}

    def stats(self, relay: str | None = None) -> dict[str, int]:
        """The statistics now. With several relays `relay` says whose."""
        found = self.all_stats()
        return found[relay or min(found)]

    def signal_stats(self) -> dict[str, dict[str, int]]:
        """The same by SIGUSR1: the fields of the log lines that answer it, all numbers."""
        self.wait_log("ready")
        names = {line["relay"] for line in self.lines if line.event == "listening"}
        mark = self.mark()
        answers: dict[str, Line] = {}

        def answered() -> bool:
            # Again each time: a line that stderr did not take is dropped, and so is its answer.
            self.signal(signal.SIGUSR1)
            try:
                answers.update({name: self.wait_log("stats", after=mark, relay=name, timeout=1) for name in names})
            except Overdue:
                return False
            return True

        until(answered, "a `stats` line of each relay")
        assert answers, "no `listening` line yet"
        return {name: {key: value for key, value in line.fields.items() if key != "relay"} for name, line in answers.items()}  # type: ignore[misc]

    def wait_stat(self, name: str, op: str, number: int, *, relay: str | None = None, timeout: float = 10.0) -> dict[str, int]:
        """Waits until e.g. wait_stat("clients", ">=", 2) holds; returns all statistics of a moment in which it did."""
        deadline = time.monotonic() + seconds(timeout)
        while not OPERATORS[op]((last := self.stats(relay))[name], number):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Overdue(f"not within {seconds(timeout):g} s: {name} {op} {number}; statistics: {last}")
            self._wait(name, op, number, relay or min(self.all_stats()), left)
        return last

    def _wait(self, name: str, op: str, number: int, relay: str, left: float) -> None:
        if self._admin is None:
            until(lambda: OPERATORS[op](self.signal_stats()[relay][name], number), f"{name} {op} {number}", left)
            return
        query = urlencode({"stat": name, "op": op, "value": number, "relay": relay, "timeout": f"{max(1, int(left * 1000))}ms"})
        answer = self.admin("GET", "/wait?" + query)
        assert answer.status in (200, 504), answer

    # The process, seen from outside

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def limit_descriptors(self, number: int) -> None:
        """Sets the soft limit, which is what the kernel goes by; it may be raised again."""
        hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (number, hard))

    def _descriptors(self) -> dict[int, str]:
        found = {}
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found[int(name)] = os.readlink(f"/proc/{self.pid}/fd/{name}")
            except FileNotFoundError:
                pass  # closed while we looked
        return found

    def descriptors(self) -> int:
        return len(self._descriptors())

    def sockets(self) -> int:
        return sum(place.startswith("socket:") for place in self._descriptors().values())

    def pipes(self) -> int:
        return sum(place.startswith("pipe:") for place in self._descriptors().values())

    def memory(self, field: str = "RssAnon") -> int:
        """Bytes that the process has made for itself; the program's text comes and goes as the kernel likes. VmHWM: all, at its highest."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} in /proc/{self.pid}/status")

    def age(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started_at

    def sleeps(self) -> int:
        """How often it has waited for something, so far."""
        return int(Path(f"/proc/{self.pid}/status").read_text().rpartition("\nvoluntary_ctxt_switches:")[2].split()[0])

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def option_of(self, peer: Peer, level: int, option: int) -> int:
        """A socket option of the relay's end of the connection to `peer`, read from the kernel."""
        pidfd = os.pidfd_open(self.pid)
        try:
            for number, place in self._descriptors().items():
                if not place.startswith("socket:"):
                    continue
                copy = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
                if copy < 0:
                    raise OSError(ctypes.get_errno(), "pidfd_getfd")
                with socket.socket(fileno=copy) as sock:
                    try:
                        other = address_text(sock.getpeername()).replace("::ffff:", "")
                    except OSError:
                        continue  # a listener
                    if other.replace("[", "").replace("]", "") == peer.local.replace("[", "").replace("]", ""):
                        return sock.getsockopt(level, option)
        finally:
            os.close(pidfd)
        raise AssertionError(f"the relay has no connection with {peer.local}")

    # End

    def wait_exit(self, timeout: float = 15.0) -> int:
        """Waits for the process and the last of its log; its exit code."""
        if self.exit_code is None:
            try:
                self.exit_code = self.process.wait(seconds(timeout))
            except subprocess.TimeoutExpired:
                raise Overdue(f"the relay has not ended within {seconds(timeout):g} s") from None
            self._flow.set()
            self._reader.join(seconds(10))
        return self.exit_code

    def finish(self) -> None:
        """The end of a test whose peers are closed: is all as it was? Then stops the relay and judges what it left."""
        if self.process.poll() is None:
            self._flow.set()
            if not self._leftovers:
                self.check_at_rest()
            self.signal(signal.SIGTERM)
        self.check_exit()

    def terminate(self) -> None:
        """Two signals: an end without waiting for what nobody fetches. Then check_exit()."""
        self.signal(signal.SIGTERM)
        self.wait_log("draining")
        self.terminate_again()

    def terminate_again(self) -> None:
        """The second signal, and a good end."""
        self.signal(signal.SIGTERM)
        self.check_exit()

    def check_at_rest(self, timeout: float = 10.0) -> None:
        """Without peers: gauges at zero, no more sockets than at the start, pipes within the documented pool."""
        left: dict[str, Any] = {}

        def at_rest() -> bool:
            nonlocal left
            stats = self.all_stats().items()
            left = {f"{name}.{gauge}": values[gauge] for name, values in stats for gauge in GAUGES if values.get(gauge)}
            listeners = self._listeners(settled=True)
            if (sockets := self.sockets()) > self._first_sockets + listeners:
                left["sockets"] = f"{sockets}, {self._first_sockets} at the start beside the listeners, which are {listeners}"
            if (pipes := self.pipes()) > 2 * POOLED_PIPES + 1:  # and stderr
                left["pipes"] = pipes
            return not left

        until(at_rest, lambda: f"the relay does not come to rest: {left}", timeout)

    def check_exit(self) -> None:
        """An orderly end: exit code 0, `stopped` last, STOPPING=1, and no line but log lines of a kind that is allowed."""
        code = self.wait_exit()
        odd = [line.raw for line in self.lines if not line.event]
        assert not odd, "not log lines: " + "\n".join(odd[:60])
        assert code == 0, f"exit code {code}"
        bad = [line.raw for line in self.lines if line.level in ("warn", "error") and line.event not in self._allowed]
        assert not bad, "undeclared warnings: " + "\n".join(bad[:20])
        self.wait_note("STOPPING=1")
        levels = {line.level for line in self.lines}
        if "info" in levels:
            assert self.lines[-1].event == "stopped", f"the last line is not `stopped`: {self.lines[-1].raw}"

    def kill(self) -> None:
        """For a test that has failed, or after finish(): nothing survives."""
        self._flow.set()
        if self._admin is not None:
            self._admin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(seconds(10))
        self._reader.join(seconds(10))
        if self._notify.fileno() >= 0:
            self._notify.shutdown(socket.SHUT_RDWR)  # wakes _listen()
        self._notify.close()

    def report(self) -> str:
        """All that explains a failure."""
        now = "ended" if self.process.poll() is not None else "running"
        if now == "running":
            try:
                now = str(self.all_stats())
            except (AssertionError, OSError, http.client.HTTPException) as error:
                now = f"running, but does not answer: {error}"
        shown = [line.raw for line in self.lines]
        if len(shown) > 400:
            shown = shown[:100] + [f"... {len(shown) - 400} lines ..."] + shown[-300:]
        return "\n".join(
            [f"command: {scale.BIN} {' '.join(self.args)}", f"exit code: {self.process.poll()}", f"statistics: {now}"]
            + ([f"config:\n{self.config}"] if self.config else [])
            + ["stderr:", *shown]
        )
