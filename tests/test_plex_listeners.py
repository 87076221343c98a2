# SPDX-License-Identifier: Apache-2.0
"""Places to listen with settings of their own: framing, sizes, how many may come there."""
# Issue: points 4 ("framing by listener") and 8 ("limits by listener").

from typing import Any

import pytest

from harness.lab import CLIENT, Lab
from harness.peers.upstream_proto import pb
from harness.plex import meet, trade
from harness.process import Relay, command
from harness.rpc import Rpc
from harness.sockets import Peer


def come(lab: Lab, relay: Relay, number: int, source: str | None = CLIENT) -> Peer:
    """A client of the place with that number."""
    address = relay.addresses("client")[number]
    return lab.at(address, None if address.startswith("unix:") else source)


def listeners(relay: Relay) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = relay.relay_status()["listeners"]
    return shown


def test_framing(lab: Lab) -> None:
    """Each place cuts messages as its URL says, and else as the relay's keys say."""
    upstream = lab.upstream(features=("EVENTS",))
    place = f"unix:{lab.folder}/devices"
    relay = lab.plex(upstream, framing="line", listen=[
        "127.0.0.1:0", "tcp://127.0.0.1:0?framing=raw", "127.0.0.1:0?framing=delimiter&delimiter=%0D%0A",
        "127.0.0.1:0?framing=delimiter&delimiter=%2c\\0", f"{place}?framing=length-prefix&length-width=2&length-inclusive",
    ])
    said = [(b"a\r\nb", b"\r\nc\n"), (b"x\n", b"y\n"), (b"a\nb\r", b"\nc\r\n"), (b"a\nb,", b"\0c,\0"), (b"\0\x05abc\0", b"\x03d")]
    pieces = [[b"a\r\n", b"b\r\n", b"c\n"], None, [b"a\nb\r\n", b"c\r\n"], [b"a\nb,\0", b"c,\0"], [b"\0\x05abc", b"\0\x03d"]]
    for number, (first, second) in enumerate(said):
        client = come(lab, relay, number)
        listener = upstream.wait(event=pb.EVENT_CONNECTED, count=number + 1).client.listener
        assert listener == ("tcp://127.0.0.1:0" if number == 1 else place if number == 4 else "127.0.0.1:0")
        client.send(first)
        client.send(second)
        assert client.read(len(first + second)) == first + second
        mine = [bytes(message.payload) for message in upstream.data(upstream.clients()[-1])]
        assert pieces[number] is None or mine == pieces[number]


def test_sizes(lab: Lab) -> None:
    """A place may take longer messages than the others, or none so long."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="line", max_message="1KiB", listen=["127.0.0.1:0", "127.0.0.1:0?max-message=32", "127.0.0.1:0?max-message=4KiB"])
    for number, most in enumerate((1024, 32, 4096)):
        fits, long = come(lab, relay, number), come(lab, relay, number)
        whole = b"x" * (most - 1) + b"\n"
        fits.send(whole)
        assert fits.read(most) == whole
        long.send(b"x" + whole)
        assert long.read_end()[0] == b""
    assert relay.stats()["framing_errors"] == 3


def test_clients(lab: Lab) -> None:
    """A place takes no more clients than its URL says, and all of them no more than the relay's key says."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, clients=5, listen=["127.0.0.1:0?clients=2", "127.0.0.1:0"]).allow("refused")
    few = [come(lab, relay, 0) for _ in range(2)]
    for client in few:
        trade(client, 2)
    assert come(lab, relay, 0).read_end()[0] == b""
    relay.wait_stat("refused_busy", "==", 1)
    others = [come(lab, relay, 1) for _ in range(3)]
    for client in others:
        trade(client, 2)
    assert come(lab, relay, 1).read_end()[0] == b""
    relay.wait_stat("refused_busy", "==", 2)
    assert [(one["clients"], one["clients_most"]) for one in listeners(relay)] == [(2, 2), (3, 0)]
    few[0].reset()
    relay.wait_stat("clients", "==", 4)
    trade(come(lab, relay, 0), 2)


def test_clients_per_address(lab: Lab) -> None:
    """A limit of a place counts those who are there; the relay's counts those of all places that have none."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, clients_per_address=2, listen=["127.0.0.1:0?clients-per-address=1", "127.0.0.1:0", "127.0.0.1:0"]).allow("refused")
    own, one, other = [come(lab, relay, number) for number in range(3)]
    for client in (own, one, other):
        trade(client, 2)
    for number in range(3):
        assert come(lab, relay, number).read_end()[0] == b""
        relay.wait_stat("refused_address", "==", number + 1)
    trade(come(lab, relay, 0, "127.0.0.77"), 2)
    own.reset()
    relay.wait_stat("clients", "==", 3)
    trade(come(lab, relay, 0), 2)


def test_shown(lab: Lab) -> None:
    """The status says what holds where, and of each client where it came; `relay check` shows the URLs as they are."""
    upstream = lab.upstream()
    relay = lab.plex(upstream, framing="line", listen=["127.0.0.1:0", "127.0.0.1:0?framing=raw&max-message=2KiB&client-rate=1MiB&accept-rate=50"])
    first, second = listeners(relay)
    assert first == {
        "listener": "127.0.0.1:0", "listed": True, "clients": 0, "framing": "line", "max_message": 65536, "clients_most": 0, "clients_per_address": 0,
        "accept_rate": 0, "accept_rate_per_address": 0, "client_rate": 0, "client_messages": 0,
    }
    assert (second["framing"], second["max_message"], second["client_rate"], second["accept_rate"]) == ("raw", 2048, 1 << 20, 50)
    trade(come(lab, relay, 1), 2)
    assert relay.relay_status()["connections"][0]["listener"] == "127.0.0.1:0"
    config = lab.file("shown.toml", '[[relay]]\nkind = "plex"\nlisten = ["tcp://:7999?framing=line", "unix:/x?clients=3"]\nupstream = "grpc://127.0.0.1:1"\n')
    done = command("check", "-c", str(config))
    assert done.returncode == 0 and 'listen = ["tcp://:7999?framing=line", "unix:/x?clients=3"]\n' in done.stdout


@pytest.mark.parametrize("parameters, said", [
    ("framming=line", 'has no parameter "framming"; did you mean framing?'),
    ("balance=hash", 'has no parameter "balance"; it may have framing, delimiter, '),
    ("framing=lines", 'framing: "lines" is none of raw, line, delimiter, length-prefix; did you mean "line"?'),
    ("framing", "framing: has no value; give one, for example raw"),
    ("framing=delimiter", "framing needs a delimiter; give one"),
    ("delimiter=x", 'delimiter is for framing = "delimiter"; take one of them out'),
    ("framing=delimiter&delimiter=%0", "delimiter has a % without two hexadecimal digits behind it; write for example %0D%0A"),
    ("framing=line&length-width=2", 'length-width is for framing = "length-prefix"'),
    ("framing=line&framing=line", "framing stands there twice"),
    ("max-message=2MiB", 'max-message: "2MiB" is out of range; give a size from 1 to 1MiB'),
    ("max-message=512KiB", "max-message does not fit into upstream-queue"),
    ("clients=20000", "clients is more than the relay's"),
    ("clients=%31%30&&x", "has an empty parameter; write ?NAME=VALUE"),
    ("accept-rate=-1", 'accept-rate: "-1" is not a number'),
])
def test_faults(parameters: str, said: str) -> None:
    """What is wrong with a place is said: which place, which parameter, and what to do."""
    place = f"127.0.0.1:0?{parameters}"
    done = command("plex", "--listen", place, "--upstream", "grpc://127.0.0.1:1")
    assert done.returncode == 2 and f'--listen: "{place}": {said}' in done.stderr, done.stderr


def test_other_kinds_have_none() -> None:
    """Only a plex has such parameters."""
    done = command("start", "--listen", "127.0.0.1:9000?framing=line", "--target", "127.0.0.1:1")
    assert done.returncode == 2 and "has a port that is not a number" in done.stderr


def test_reload(lab: Lab) -> None:
    """Limits that change hold at once; another framing is for those who come from then on, and the others go on as they came."""
    upstream = lab.upstream()

    def config(*places: str) -> str:
        listen = ", ".join(f'"{place}"' for place in places)
        return f'log-level = "debug"\n[[relay]]\nkind = "plex"\nlisten = [{listen}]\nupstream = "{upstream.url}"\n'

    place = f"127.0.0.1:{lab.port()}"
    relay = lab.run(config(f"{place}?framing=line", "127.0.0.1:0")).allow("refused")
    relay.wait_stat("upstreams", "==", 1)
    old, other = meet(come(lab, relay, 0), upstream), meet(come(lab, relay, 1), upstream)
    lab.file("relay.toml", config(f"{place}?framing=delimiter&delimiter=;&clients=1"))
    assert relay.reload().status == 200
    assert [(one["listed"], one["clients"], one["framing"]) for one in listeners(relay)] == [(False, 1, "line"), (False, 1, "raw"), (True, 0, "delimiter")]
    new = lab.at(place)
    new.send(b"a\nb;c;")
    assert new.read(6) == b"a\nb;c;"
    old.peer.send(b"a;b\nc\n")
    assert old.peer.read(6) == b"a;b\nc\n"
    assert [bytes(message.payload) for message in upstream.data(old.uuid)][-2:] == [b"a;b\n", b"c\n"]
    assert [bytes(message.payload) for message in upstream.data(upstream.clients()[-1])] == [b"a\nb;", b"c;"]
    trade(other.peer, 2)
    assert lab.at(place).read_end()[0] == b""
    relay.wait_stat("refused_busy", "==", 1)
    lab.file("relay.toml", config(f"{place}?framing=delimiter&delimiter=;&clients=2"))
    assert relay.reload().status == 200
    more = lab.at(place)
    more.send(b"x;")
    assert more.read(2) == b"x;"
    old.peer.reset()
    other.peer.reset()
    relay.wait_stat("clients", "==", 2)
    assert [(one["listed"], one["clients"]) for one in listeners(relay)] == [(True, 2)]


def test_a_path_of_any_bytes(lab: Lab) -> None:
    """A path may have bytes that are not UTF-8: upstreams and operators are told of them in a way that they can read."""
    upstream = lab.upstream(features=("EVENTS",))
    path, nobody = f"unix:{lab.folder}/devices\udcff", f"unix:{lab.folder}/nobody\udcff"
    relay = lab.plex(upstream, nobody, up=1, listen=path).allow("dial-failed")
    told = f"unix:{lab.folder}/devices\\xff"
    assert relay.status()["relays"][0]["name"] == f"plex-{told}"
    with Rpc(relay) as rpc:
        watch = rpc.watch()
        client = lab.at(path, None)
        client.send(b"hello")
        assert client.read(5) == b"hello"
        assert upstream.wait(event=pb.EVENT_CONNECTED).client.listener == told
        assert watch.wait("CONNECTED").client.listener == told
        assert {one.upstream for one in rpc.call("Upstreams").upstreams} == {upstream.url, f"unix:{lab.folder}/nobody\\xff"}
        watch.cancel()
    assert [one["listener"] for one in listeners(relay)] == [told]
