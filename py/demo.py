# SPDX-License-Identifier: Apache-2.0
"""The relay at work, with real processes: two clusters, in each a gateway, a relay and a function that nobody can connect to.

    function 1 ──► relay 1 ──► gateway 1 ══► gateway 2 ──► relay 2 ◄── function 2
       127.0.1.3    127.0.1.2    127.0.1.1     127.0.2.1    127.0.2.2      127.0.2.3

Function 1 sends before function 2 exists; relay 2 holds what comes until it does. Then the other way round, then an orderly
end. Each step is checked. Exit status 0 if all of it happened as it should, 1 with a line that says what did not.
Environment: RELAY_BIN, another binary than bin/relay; NO_COLOR.
"""

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("RELAY_BIN") or ROOT / "bin" / "relay")
PEERS = Path(__file__).with_name("demo_peers.py")
PATIENCE = 15.0  # seconds for one step
WHOLE = 55  # seconds for everything
QUEUE = 256 * 1024
BULK = 4 * 1024 * 1024
BEGIN = time.monotonic()
COLOURS = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

Event = dict[str, Any]


class Failed(Exception):
    """Something did not happen as it should."""


# What is seen on the screen

_screen = threading.Lock()


def paint(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if COLOURS else text


def heading(number: int, text: str) -> None:
    with _screen:
        print(f"\n{paint(f'{number}. {text}', '1')}", flush=True)


def tell(cluster: int, who: str, text: str) -> None:
    where = paint(f"cluster {cluster}  {who:<8}", {1: "36", 2: "33"}[cluster])
    with _screen:
        print(f"{time.monotonic() - BEGIN:7.2f} s  {where}  {text}", flush=True)


def check(fact: bool, text: str) -> None:
    if not fact:
        raise Failed(f"this should be so, and is not: {text}")
    with _screen:
        print(f"{'':11}{paint('✓', '32')} {text}", flush=True)


def count(number: int) -> str:
    return f"{number:,} bytes"


# Processes


def die_with_the_demo() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child whose lines (one JSON object each) are told as they come, and kept to be waited for."""

    def __init__(self, cluster: int, who: str, words: list[str], story: Callable[[Event], str], *, log: bool = False) -> None:
        self.cluster, self.who, self.story = cluster, who, story
        self.events: list[Event] = []
        self._news = threading.Condition()
        self._ended = False
        self.child = subprocess.Popen(
            words, stdin=subprocess.PIPE, text=True, preexec_fn=die_with_the_demo,
            stdout=subprocess.DEVNULL if log else subprocess.PIPE, stderr=subprocess.PIPE if log else None,
        )
        ALL.append(self)
        self._reader = threading.Thread(target=self._read, args=(self.child.stderr if log else self.child.stdout,), daemon=True)
        self._reader.start()

    def _read(self, lines: Any) -> None:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "says", "text": line.rstrip()}
            text = event["text"] if event["event"] == "says" else self.story(event)
            if text:
                tell(self.cluster, self.who, text)
            with self._news:
                self.events.append(event)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def name(self) -> str:
        return f"{self.who} {self.cluster}"

    def wait(self, event: str, after: int = 0) -> Event:
        """The first such event from place `after` on."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                for one in self.events[after:]:
                    if one["event"] == event:
                        return one
                if self._ended:
                    raise Failed(f"{self.name()} has ended without `{event}`")
                if not self._news.wait(deadline - time.monotonic()):
                    raise Failed(f"no `{event}` from {self.name()} within {PATIENCE:g} s")

    def write(self, line: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def wait_exit(self) -> int:
        try:
            code = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name()} has not ended within {PATIENCE:g} s") from None
        self._reader.join(PATIENCE)
        return code

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


ALL: list[Process] = []


# The cast


def relay_story(event: Event) -> str:
    match event:
        case {"event": "listening", "addr": addr}:
            return f"listens on {addr}"
        case {"event": "accepted", "role": "gateway", "peer": peer}:
            return f"its gateway connects, from {peer}"
        case {"event": "accepted", "role": "client", "peer": peer}:
            return f"its function connects, from {peer}"
        case {"event": "waiting", "role": "gateway"}:
            return "no function is there yet: it queues what the gateway sends"
        case {"event": "dialing", "target": target}:
            return f"no gateway waits: it dials its gateway, {target}"
        case {"event": "queue-full", "size": size}:
            return f"its queue is full ({count(size)}): it stops reading, and TCP holds the sender back"
        case {"event": "paired", "queued": 0}:
            return "function and gateway are paired"
        case {"event": "paired", "queued": queued}:
            return f"function and gateway are paired; first go {count(queued)} from the queue"
        case {"event": "session-end", "reason": reason, "to_client": to_client, "to_gateway": to_gateway}:
            lost = event.get("lost_to_client", 0) + event.get("lost_to_gateway", 0)
            gone = f"{count(lost)} LOST" if lost else "nothing lost"
            return f"session ended, {reason}: {count(to_client)} to the function, {count(to_gateway)} to the gateway, {gone}"
        case {"event": "stats", "queued_bytes": queued, "waiting": waiting, "pairs": pairs}:
            return f"stats … waiting={waiting} pairs={pairs} queued_bytes={queued} …"
        case {"event": "draining"}:
            return "drains: it takes no new gateway, and delivers what it has"
        case {"level": "warn" | "error", "event": name}:
            return f"{name}: {event.get('error') or event.get('reason') or event}"
    return ""


def gateway_story(event: Event) -> str:
    match event:
        case {"event": "outward", "to": to}:
            return f"its relay connects; it connects to the other gateway, {to}"
        case {"event": "inward", "to": to}:
            return f"the other gateway connects; it connects to its relay, {to}"
        case {"event": "failed"}:
            return f"cannot reach {event['to']}: {event['error']}"
    return ""


def function_story(event: Event) -> str:
    match event:
        case {"event": "connected", "relay": relay}:
            return f"has connected to its relay, {relay}"
        case {"event": "sent" | "got" as verb, "text": text, "rest": rest}:
            more = f" and {count(rest)} more" if rest else ""
            return f"{'has sent' if verb == 'sent' else 'has received'} \"{text}\"{more}"
        case {"event": "failed", "error": error}:
            return f"failed: {error}"
    return ""


class Cluster:
    """A gateway at .1, a relay at .2, a function at .3."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.net = f"127.0.{number}"
        self.gateway = self._peer("gateway", gateway_story, "gateway", f"{self.net}.1")
        listening = self.gateway.wait("listening")
        self.for_relay, self.for_peer = listening["relay"], listening["peer"]

    def _peer(self, who: str, story: Callable[[Event], str], *words: str) -> Process:
        return Process(self.number, who, [sys.executable, str(PEERS), *words], story)

    def start_relay(self) -> None:
        words = ["--listen", f"{self.net}.2", "--port", "0", "--gateway", f"{self.net}.1", "--target", self.for_relay]
        words += ["--queue-size", f"{QUEUE // 1024}KiB", "--log-level", "debug", "--log-format", "json"]
        tell(self.number, "", f"$ {shlex.join(['bin/relay', 'start', *words[:6]])} \\")
        tell(self.number, "", f"      {shlex.join(words[6:])}")
        self.relay = Process(self.number, "relay", [str(BIN), "start", *words], relay_story, log=True)
        self.relay.wait("ready")
        self.address = self.relay.wait("listening")["addr"]

    def meet(self, other: "Cluster") -> None:
        self.gateway.write(f"{other.for_peer} {self.address}")
        self.gateway.wait("ready")
        tell(self.number, "gateway", f"{self.for_relay} leads to the other cluster; from there it leads to {self.address}")

    def ask(self, text: str, size: int = 0) -> Process:
        return self._peer("function", function_story, "ask", f"{self.net}.3", self.address, text, str(size))

    def answer(self, text: str) -> Process:
        return self._peer("function", function_story, "answer", f"{self.net}.3", self.address, text)

    def stats(self) -> Event:
        place = len(self.relay.events)
        tell(self.number, "", f"$ kill -USR1 {self.relay.child.pid}")
        self.relay.child.send_signal(signal.SIGUSR1)
        return self.relay.wait("stats", place)

    def terminate(self) -> None:
        tell(self.number, "", f"$ kill {self.relay.child.pid}")
        self.relay.child.send_signal(signal.SIGTERM)


def check_talk(asker: Process, answerer: Process, question: str, reply: str) -> None:
    """Both have ended well, and each has what the other sent."""
    for process in (asker, answerer):
        if process.wait_exit() != 0:
            raise Failed(f"{process.name()} has ended with exit status {process.child.returncode}")
    sent, got = asker.wait("sent"), answerer.wait("got")
    same = (got["bytes"], got["sha256"]) == (sent["bytes"], sent["sha256"])
    if sent["rest"]:
        proof = f"the SHA-256 is the same, {got['sha256'][:16]}…"
        check(got["text"] == question and same, f"all {count(sent['bytes'])} arrived once and in order: {proof}")
    else:
        check(got["text"] == question and same, f"{answerer.name()} has the message")
    check(asker.wait("got")["text"] == reply, f"{asker.name()} has the answer")


# The play


def play() -> None:
    heading(1, "Two clusters, a gateway and a relay in each. Nobody can connect to a function.")
    one, two = Cluster(1), Cluster(2)
    for cluster in (one, two):
        cluster.start_relay()
    one.meet(two)
    two.meet(one)

    heading(2, "Function 1 sends. Function 2 has not started: the queue holds.")
    asker = one.ask("hello from function 1", BULK)
    two.relay.wait("queue-full")
    stats = two.stats()
    check(stats["queued_bytes"] == QUEUE, f"relay 2 holds exactly its bound, {count(QUEUE)}, and no more")
    check(stats["waiting"] == 1 and stats["lost_to_client_bytes"] == 0, "the gateway waits there; nothing is lost")

    heading(3, "Function 2 starts, late: the queue drains, the rest follows, the answer goes back.")
    answerer = two.answer("hello back from function 2")
    check_talk(asker, answerer, "hello from function 1", "hello back from function 2")
    for cluster in (one, two):
        end = cluster.relay.wait("session-end")
        lost = end.get("lost_to_client", 0) + end.get("lost_to_gateway", 0)
        check(lost == 0, f"relay {cluster.number} has ended its session and lost nothing")
    check(two.stats()["queued_bytes"] == 0, "the queue of relay 2 is empty")

    heading(4, "The other way round: function 2 asks, function 1 answers.")
    places = {cluster: len(cluster.relay.events) for cluster in (one, two)}
    asker = two.ask("are you there, function 1?")
    one.relay.wait("waiting", places[one])
    check_talk(asker, one.answer("yes, since just now"), "are you there, function 1?", "yes, since just now")
    for cluster in (one, two):
        cluster.relay.wait("session-end", places[cluster])

    heading(5, "A relay is told to stop while it holds bytes: it delivers them first.")
    places = {cluster: len(cluster.relay.events) for cluster in (one, two)}
    asker = one.ask("a last word", 2 * QUEUE)
    two.relay.wait("queue-full", places[two])
    two.terminate()
    two.relay.wait("draining")
    check_talk(asker, two.answer("understood"), "a last word", "understood")
    check(two.relay.wait_exit() == 0, "relay 2 has ended by itself, exit status 0")
    one.relay.wait("session-end", places[one])
    one.terminate()
    check(one.relay.wait_exit() == 0, "relay 1 too")


def out_of_time(_number: int, _frame: FrameType | None) -> None:
    raise Failed(f"the demo takes longer than {WHOLE} s")


def main() -> int:
    if not BIN.is_file():
        print(f"demo: {BIN} is not there: run `make build`, or point RELAY_BIN at a binary", file=sys.stderr)
        return 1
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without ✓
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(WHOLE)
    try:
        play()
    except Failed as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
        for process in ALL:
            for event in process.events[-5:]:
                print(f"demo: {process.name()}: {event}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        signal.alarm(0)
        for process in ALL:
            process.end()
    print(f"\n{paint('The demo went well.', '1;32')} All of it: {time.monotonic() - BEGIN:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
