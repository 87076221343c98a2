# SPDX-License-Identifier: Apache-2.0
"""The relay at work, with real processes. First two clusters, in each a gateway, a relay and a function that nobody can connect to.

    function 1 ──► relay 1 ──► gateway 1 ══► gateway 2 ──► relay 2 ◄── function 2
       127.0.1.3    127.0.1.2    127.0.1.1     127.0.2.1    127.0.2.2      127.0.2.3

Function 1 sends before function 2 exists; relay 2 holds what comes until it does. Then the other way round, then an orderly
end. Behind that a program and its Redis server, which is far away (demo_redis.py), and a plex with its clients and upstreams
(demo_plex.py). Each step is checked. Exit status 0 if all of it happened as it should, 1 with a line that says what did not.
Environment: RELAY_BIN, another binary than bin/relay; NO_COLOR.
"""

import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import demo_plex
import demo_redis
from demo_stage import ALL, BEGIN, BIN, Event, Failed, Process, check, count, heading, paint, tell

PEERS = Path(__file__).with_name("demo_peers.py")
WHOLE = 55  # seconds for everything
QUEUE = 256 * 1024
BULK = 4 * 1024 * 1024


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
        self.place = f"cluster {number}"
        self.net = f"127.0.{number}"
        self.gateway = self._peer("gateway", gateway_story, "gateway", f"{self.net}.1")
        listening = self.gateway.wait("listening")
        self.for_relay, self.for_peer = listening["relay"], listening["peer"]

    def _peer(self, who: str, story: Callable[[Event], str], *words: str) -> Process:
        return Process(self.place, who, [sys.executable, str(PEERS), *words], story)

    def start_relay(self) -> None:
        words = ["--listen", f"{self.net}.2", "--port", "0", "--gateway", f"{self.net}.1", "--target", self.for_relay]
        words += ["--queue-size", f"{QUEUE // 1024}KiB", "--log-level", "debug", "--log-format", "json"]
        tell(self.place, "", f"$ {shlex.join(['bin/relay', 'start', *words[:6]])} \\")
        tell(self.place, "", f"      {shlex.join(words[6:])}")
        self.relay = Process(self.place, "relay", [str(BIN), "start", *words], relay_story, log=True)
        self.relay.wait("ready")
        self.address = self.relay.wait("listening")["addr"]

    def meet(self, other: "Cluster") -> None:
        self.gateway.write(f"{other.for_peer} {self.address}")
        self.gateway.wait("ready")
        tell(self.place, "gateway", f"{self.for_relay} leads to the other cluster; from there it leads to {self.address}")

    def ask(self, text: str, size: int = 0) -> Process:
        return self._peer("function", function_story, "ask", f"{self.net}.3", self.address, text, str(size))

    def answer(self, text: str) -> Process:
        return self._peer("function", function_story, "answer", f"{self.net}.3", self.address, text)

    def stats(self) -> Event:
        place = len(self.relay.events)
        tell(self.place, "", f"$ kill -USR1 {self.relay.child.pid}")
        self.relay.child.send_signal(signal.SIGUSR1)
        return self.relay.wait("stats", place)


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
    two.relay.terminate()
    two.relay.wait("draining")
    check_talk(asker, two.answer("understood"), "a last word", "understood")
    check(two.relay.wait_exit() == 0, "relay 2 has ended by itself, exit status 0")
    one.relay.wait("session-end", places[one])
    one.relay.terminate()
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
        demo_redis.play(6)
        demo_plex.play(9)
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
