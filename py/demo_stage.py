# SPDX-License-Identifier: Apache-2.0
"""What the plays of the demo share: what is seen on the screen, and processes whose log lines are told as they come."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("RELAY_BIN") or ROOT / "bin" / "relay")
PATIENCE = 15.0  # seconds for one step
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


def tell(place: str, who: str, text: str) -> None:
    where = paint(f"{place:<9}  {who:<8}", {"cluster 1": "36", "cluster 2": "33"}.get(place, "35"))
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

    def __init__(self, place: str, who: str, words: list[str], story: Callable[[Event], str], *, log: bool = False) -> None:
        self.place, self.who, self.story = place, who, story
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
                tell(self.place, self.who, text)
            with self._news:
                self.events.append(event)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def name(self) -> str:
        return f"{self.who} {self.place.removeprefix('cluster ')}"

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

    def terminate(self) -> None:
        tell(self.place, "", f"$ kill {self.child.pid}")
        self.child.send_signal(signal.SIGTERM)

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
