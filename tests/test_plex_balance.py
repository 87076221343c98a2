# SPDX-License-Identifier: Apache-2.0
"""Which upstream gets which client, or which message."""

from typing import Any

import pytest

from harness.lab import CLIENT, Lab
from harness.peers.upstream_proto import pb
from harness.plex import Met, meet, newcomer, trade
from harness.process import Relay
from harness.until import until


def shares(met: list[Met], upstreams: list[Any]) -> list[int]:
    return [sum(one.upstream is upstream for one in met) for upstream in upstreams]


def three(lab: Lab, **keys: Any) -> tuple[list[Any], Relay]:
    upstreams = [lab.upstream() for _ in range(3)]
    return upstreams, lab.plex(*upstreams, **keys)


def test_sticky(lab: Lab) -> None:
    """A client stays with the program that it was given, whatever comes and goes; the clients are dealt out evenly."""
    upstreams, relay = three(lab)
    met = [newcomer(lab, relay, *upstreams) for _ in range(12)]
    assert shares(met, upstreams) == [4, 4, 4]
    for one in met:
        trade(one.peer, 10)
    for one in met[:6]:
        one.peer.reset()
    more = [newcomer(lab, relay, *upstreams) for _ in range(6)]
    for one in met[6:] + more:
        assert meet(one.peer, *upstreams).upstream is one.upstream
    for upstream in upstreams:
        assert set(upstream.clients()) == {one.uuid for one in met + more if one.upstream is upstream}


def test_sticky_is_what_you_get(lab: Lab) -> None:
    """balance=sticky is the same as nothing."""
    upstreams, relay = three(lab, balance="sticky")
    met = [newcomer(lab, relay, *upstreams) for _ in range(6)]
    assert shares(met, upstreams) == [2, 2, 2]


def test_round_robin(lab: Lab) -> None:
    """With round-robin each message goes to the next program; by their numbers the messages of a client can be put in order again."""
    upstreams = [lab.upstream(features=("SEQ",)) for _ in range(3)]
    relay = lab.plex(*upstreams, balance="round-robin", framing="line")
    client = lab.client(relay)
    trade(client, 300)
    parts = [upstream.data() for upstream in upstreams]
    assert [len(part) for part in parts] == [100, 100, 100]
    assert len({message.client_uuid for part in parts for message in part}) == 1
    everything = sorted((message.seq, bytes(message.payload)) for part in parts for message in part)
    assert everything == [(number + 1, b"%016d\n" % number) for number in range(300)]
    for part in parts:
        assert [message.seq for message in part] == sorted(message.seq for message in part)


def test_round_robin_of_old(lab: Lab) -> None:
    """Programs that know nothing new get their share as well, and each of them may answer."""
    upstreams = [lab.upstream() for _ in range(2)]
    relay = lab.plex(*upstreams, balance="round-robin", framing="line")
    clients = [lab.client(relay) for _ in range(5)]
    for client in clients:
        trade(client, 20)
    assert [len(upstream.data()) for upstream in upstreams] == [50, 50]
    assert set(upstreams[0].clients()) == set(upstreams[1].clients())


def test_round_robin_without_one(lab: Lab) -> None:
    """When one of the programs goes, the others share its messages."""
    upstreams, relay = three(lab, balance="round-robin", framing="line")
    relay.allow("upstream-lost", "dial-failed")
    client = lab.client(relay)
    trade(client, 30)
    upstreams[0].kill()
    relay.wait_stat("upstreams", "==", 2)
    trade(client, 30)
    assert [len(upstream.data()) for upstream in upstreams] == [10, 25, 25]


def test_least_clients(lab: Lab) -> None:
    """With least-clients who comes goes where the fewest are."""
    upstreams, relay = three(lab, balance="least-clients")
    met = [newcomer(lab, relay, *upstreams) for _ in range(9)]
    assert shares(met, upstreams) == [3, 3, 3]
    for one in met:
        if one.upstream is upstreams[1]:
            one.peer.reset()
    relay.wait_stat("clients", "==", 6)
    more = [newcomer(lab, relay, *upstreams) for _ in range(3)]
    assert shares(more, upstreams) == [0, 3, 0]


def test_least_clients_after_a_loss(lab: Lab) -> None:
    """A program that has just come gets the next clients, until it has as many as the others."""
    first, late = lab.upstream(), lab.upstream(down=True)
    relay = lab.plex(first, late, up=1, balance="least-clients").allow("dial-failed")
    met = [newcomer(lab, relay, first, late) for _ in range(4)]
    late.start()
    relay.wait_stat("upstreams", "==", 2)
    met += [newcomer(lab, relay, first, late) for _ in range(6)]
    assert shares(met, [first, late]) == [5, 5]


@pytest.mark.parametrize("balance", ["sticky", "least-clients"])
def test_weight(lab: Lab, balance: str) -> None:
    """A program that says that it has three times the weight gets three times the clients."""
    heavy, light = lab.upstream(weight=3), lab.upstream()
    relay = lab.plex(heavy, light, balance=balance)
    met = [newcomer(lab, relay, heavy, light) for _ in range(40)]
    assert abs(shares(met, [heavy, light])[0] - 30) <= 1


def test_weight_of_messages(lab: Lab) -> None:
    """Of messages as well, with round-robin."""
    heavy, light = lab.upstream(weight=3), lab.upstream(weight=1)
    relay = lab.plex(heavy, light, balance="round-robin", framing="line")
    trade(lab.client(relay), 200)
    assert abs(len(heavy.data()) - 150) <= 1


@pytest.mark.parametrize("balance", ["sticky", "least-clients", "hash"])
def test_max_clients(lab: Lab, balance: str) -> None:
    """A program gets no more clients than it says that it takes."""
    full, open_ = lab.upstream(max_clients=2), lab.upstream()
    relay = lab.plex(full, open_, balance=balance)
    met = [newcomer(lab, relay, full, open_, source=f"127.0.0.{3 + number}") for number in range(10)]
    assert shares(met, [full, open_])[0] <= 2
    if balance != "hash":
        assert shares(met, [full, open_]) == [2, 8]


def test_all_are_full(lab: Lab) -> None:
    """When all programs are full, who comes waits until somebody leaves."""
    upstream = lab.upstream(max_clients=2)
    relay = lab.plex(upstream)
    met = [newcomer(lab, relay, upstream) for _ in range(2)]
    late = lab.client(relay)
    late.send(b"late")
    relay.wait_stat("waiting", "==", 1)
    trade(met[1].peer, 3)
    assert late.silent(0.3)
    met[0].peer.reset()
    assert late.read(4) == b"late"
    relay.wait_stat("waiting", "==", 0)


def test_hash(lab: Lab) -> None:
    """With hash the clients of one address go to one program, whenever they come; those of many addresses to all programs."""
    upstreams, relay = three(lab, balance="hash")
    assert relay.relay_status()["hash_by"] == "address"
    homes: dict[str, Any] = {}
    for number in range(30):
        source = f"127.0.1.{number + 1}"
        homes[source] = newcomer(lab, relay, *upstreams, source=source).upstream
    assert {id(home) for home in homes.values()} == {id(upstream) for upstream in upstreams}
    for source in list(homes)[::5]:
        for _ in range(2):
            assert newcomer(lab, relay, *upstreams, source=source).upstream is homes[source]


def test_hash_without_one(lab: Lab) -> None:
    """When a program goes only its own clients move; when it is there again those who come find it again."""
    upstreams, relay = three(lab, balance="hash")
    relay.allow("upstream-lost", "dial-failed")
    met = {f"127.0.1.{number}": newcomer(lab, relay, *upstreams, source=f"127.0.1.{number}") for number in range(1, 16)}
    gone = met["127.0.1.1"].upstream
    gone.kill()
    relay.wait_stat("upstreams", "==", 2)
    for one in met.values():
        again = meet(one.peer, *upstreams)
        assert again.upstream is not gone
        assert one.upstream is gone or again.upstream is one.upstream
    gone.start()
    relay.wait_stat("upstreams", "==", 3)
    for source, one in met.items():
        assert newcomer(lab, relay, *upstreams, source=source).upstream is one.upstream


def test_rehomed_only_when_it_must_be(lab: Lab) -> None:
    """REHOMED is said when the program of a client has gone, to the new one, once; never otherwise."""
    upstreams = [lab.upstream(features=("EVENTS",)) for _ in range(2)]
    relay = lab.plex(*upstreams).allow("upstream-lost", "dial-failed")
    first, second = upstreams
    met = [newcomer(lab, relay, first, second, source=CLIENT) for _ in range(6)]
    assert not first.messages(event=pb.EVENT_REHOMED) and not second.messages(event=pb.EVENT_REHOMED)
    first.kill()
    moved = {one.uuid for one in met if one.upstream is first}
    until(lambda: {message.client_uuid for message in second.messages(event=pb.EVENT_REHOMED)} == moved, "they are announced")
    first.start()
    relay.wait_stat("upstreams", "==", 2)
    for one in met:
        assert meet(one.peer, first, second).upstream is second
    assert len(second.messages(event=pb.EVENT_REHOMED)) == len(moved) == relay.stats()["rehomed"]
