# SPDX-License-Identifier: Apache-2.0
"""A network of a test's own, with nothing but a loopback interface: for addresses that are not 127.0.0.0/8. Needs root."""

import ctypes
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from harness.task import Task

CLONE_NEWNET = 0x40000000


def in_own_network(addresses: list[str], work: Callable[[], Any]) -> Any:
    """Runs `work` in a thread whose sockets and child processes live in a new network with these addresses. May skip the test."""

    def enter_and_work() -> Any:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            return PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        for words in (["link", "set", "lo", "up"], *(["addr", "add", address, "dev", "lo"] for address in addresses)):
            subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)
        return work()

    result = Task(enter_and_work).result()
    if isinstance(result, PermissionError):
        pytest.skip(f"no network of our own: {result}")
    return result
