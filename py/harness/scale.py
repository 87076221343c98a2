# SPDX-License-Identifier: Apache-2.0
"""Which binary is tested, and how patient and how greedy the tests are.

RELAY_BIN   the binary (default: bin/relay of this tree)
RELAY_PEERS the folder of programs that stand at the other end (default: build/plex of this tree)
RELAY_SLOW  set for sanitizer builds: waits are 4 times longer, volumes and repetitions 8 times smaller
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("RELAY_BIN") or ROOT / "bin" / "relay").resolve()
PEERS = Path(os.environ.get("RELAY_PEERS") or ROOT / "build" / "plex").resolve()
SLOW = os.environ.get("RELAY_SLOW", "") not in ("", "0")
PATIENCE = 4 if SLOW else 1
THRIFT = 8 if SLOW else 1


def seconds(wait: float) -> float:
    """How long a wait may take on this build."""
    return wait * PATIENCE


def volume(amount: int) -> int:
    """How many bytes or rounds this build is given, at least one."""
    return max(1, amount // THRIFT)
