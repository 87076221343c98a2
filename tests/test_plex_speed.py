# SPDX-License-Identifier: Apache-2.0
"""Acknowledged messages, at a speed that grpcio does not reach: upstreams are killed in the midst of it, and a ledger that outlives them has the last word."""

import pytest

from harness.crowd import Crowd, FastUpstream, FloodLedger
from harness.lab import Lab
from harness.scale import SLOW, volume
from harness.until import until

KILLS = 12


@pytest.mark.parametrize("balance", ["sticky", "least-clients"])
def test_killed_at_speed(lab: Lab, balance: str) -> None:
    """Programs are killed at tens of thousands of messages a second, again and again: of what clients say nothing is lost, nothing overtakes, and what
    comes again says so."""
    clients, messages = 16, volume(32_000)
    ledger = FloodLedger(lab.folder, clients)
    upstreams = [lab.keep(FastUpstream(ledger)) for _ in range(2)]
    relay = lab.plex(*upstreams, framing="line", balance=balance, ack_queue="128KiB", retry_max="50ms", live_timeout="10m").allow(
        "upstream-lost", "dial-failed", "upstream-not-ready")
    crowd = lab.keep(Crowd("flood", relay, clients=clients, messages=messages))
    for turn in range(KILLS):
        if turn % 3:  # else perhaps the only one
            relay.wait_stat("upstreams", "==", 2)
        enough = min(ledger.total() + clients * messages // (2 * KILLS), clients * messages)
        until(lambda: ledger.total() >= enough, lambda: f"they talk: {relay.stats()}", timeout=20)
        upstreams[turn % 2].kill()
        upstreams[turn % 2].start()
    said = crowd.answer()
    assert said["said"] == [messages] * clients
    until(lambda: ledger.total() == clients * messages, lambda: f"all came: {ledger.entries()}", timeout=30)
    relay.wait_stat("acked", "==", clients * messages)
    for entry in ledger.entries():
        assert (entry.greatest, entry.unmarked, entry.wrong) == (messages, 0, 0)
    stats = relay.stats()
    assert (stats["messages_in"], stats["lost_messages"], stats["clients"]) == (clients * messages, 0, clients)
    assert stats["redelivered"] >= sum(entry.again for entry in ledger.entries())
    assert SLOW or stats["redelivered"] > 0, "no kill has met a message that was under way"
