# SPDX-License-Identifier: Apache-2.0
"""The one wait for a condition that cannot wake us, and the only sleep of the tree (tests/lint checks that)."""

import time
from collections.abc import Callable
from typing import TypeVar

from harness.scale import seconds

T = TypeVar("T")


class Overdue(AssertionError):
    """What a test waited for did not happen in time."""


def until(condition: Callable[[], T], what: str | Callable[[], str], timeout: float = 10.0) -> T:
    """Asks `condition` until it answers something true, and returns that. `what` says what was waited for."""
    allowed = seconds(timeout)
    deadline = time.monotonic() + allowed
    pause = 0.001
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Overdue(f"not within {allowed:g} s: {what() if callable(what) else what} (last answer: {answer!r})")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
