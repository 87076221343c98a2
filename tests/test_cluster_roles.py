# SPDX-License-Identifier: Apache-2.0
"""Who may come, from where, and as what: addresses to listen on, client or gateway, refusals, --pairs."""
# Issue: point 1.

import pytest

from harness.lab import CLIENT, GATEWAY, STRANGER, Lab
from harness.network import in_own_network
from harness.peers.target import echo, unused_path
from harness.process import Relay
from harness.sockets import Peer, connect
from harness.stream import Stream
from harness.until import until


def exchange(client: Peer, gateway: Peer) -> None:
    """A message each way."""
    client.send(b"from the client")
    assert gateway.read(15) == b"from the client"
    gateway.send(b"from the gateway")
    assert client.read(16) == b"from the gateway"


def assert_refused(relay: Relay, peer: Peer, role: str, reason: str) -> None:
    """Closed at once without a byte, logged and counted."""
    data, _ = peer.read_end()
    assert data == b""
    relay.wait_log("refused", role=role, reason=reason, peer=peer.local)
    relay.wait_stat("refused_" + reason.replace("-", "_"), ">=", 1)


# Where it listens


def test_listens_on_an_ipv4_address(lab: Lab) -> None:
    """`--listen 127.0.0.1` serves a client and a gateway there."""
    relay = lab.relay(listen="127.0.0.1")
    assert relay.address("client").startswith("127.0.0.1:")
    exchange(*lab.pair(relay))


def test_listens_on_an_ipv6_address(lab: Lab) -> None:
    """`--listen ::1` serves a client and a gateway there."""
    relay = lab.relay(listen="::1", gateway=None, gateway_port=0)
    assert relay.address("client").startswith("[::1]:")
    assert relay.address("gateway").startswith("[::1]:")
    gateway, client = lab.gateway(relay, "::1"), lab.client(relay, "::1")
    exchange(client, gateway)


def test_listens_on_both_families_by_default(lab: Lab) -> None:
    """Without --listen, IPv4 and IPv6 clients find the same port, and roles hold for both."""
    relay = lab.relay(listen=None)
    address = relay.addresses("both")[0]
    assert address.startswith("[::]:")
    port = address.removeprefix("[::]:")
    gateway = lab.add(connect(f"127.0.0.1:{port}", GATEWAY))
    relay.wait_log("accepted", role="gateway", peer=gateway.local)
    client = lab.add(connect(f"[::1]:{port}", "::1"))
    relay.wait_log("accepted", role="client", peer=client.local)
    exchange(client, gateway)
    client.close(), gateway.close()
    relay.wait_log("session-end")
    gateway = lab.add(connect(f"127.0.0.1:{port}", GATEWAY))
    client = lab.add(connect(f"127.0.0.1:{port}", CLIENT))
    relay.wait_log("accepted", role="client", peer=client.local)
    exchange(client, gateway)


def test_listens_on_several_addresses(lab: Lab) -> None:
    """Repeated --listen: a client may come by either."""
    relay = lab.relay(listen=["127.0.0.1", "::1"], pairs=2)
    v4, v6 = sorted(relay.addresses("both"), key=lambda address: address.startswith("["))
    for address, source in ((v4, CLIENT), (v6, "::1")):
        gateway = lab.add(connect(v4, GATEWAY))
        relay.wait_log("accepted", role="gateway", peer=gateway.local)
        exchange(lab.add(connect(address, source)), gateway)


def test_port_in_the_listen_address(lab: Lab) -> None:
    """`--listen 127.0.0.1:0` needs no --port."""
    relay = lab.relay(listen="127.0.0.1:0", port=None)
    exchange(*lab.pair(relay))


def test_client_on_a_unix_socket(lab: Lab) -> None:
    """`--listen unix:PATH`: a local job is the client, with the default gateways on TCP."""
    path = unused_path(lab.folder, "clients")
    relay = lab.relay(listen=[f"unix:{path}", "127.0.0.1"], gateway=None)
    assert f"unix:{path}" in relay.addresses("client")
    client = lab.add(connect(f"unix:{path}"))
    relay.wait_log("accepted", role="client")
    tcp = next(address for address in relay.addresses("gateway") if not address.startswith("unix"))
    relay.allow("dial-failed")  # until the gateway comes
    exchange(client, lab.add(connect(tcp)))


def test_gateway_on_a_unix_socket(lab: Lab) -> None:
    """`--gateway unix`: who comes by the Unix socket is the gateway."""
    path = unused_path(lab.folder, "both")
    relay = lab.relay(listen=[f"unix:{path}", "127.0.0.1"], gateway="unix")
    gateway = lab.add(connect(f"unix:{path}"))
    relay.wait_log("accepted", role="gateway")
    tcp = next(address for address in relay.addresses("client") if not address.startswith("unix"))
    exchange(lab.add(connect(tcp, CLIENT)), gateway)


def test_gateway_listen_unix(lab: Lab) -> None:
    """`--gateway-listen unix:PATH` is the gateways' own door, without --gateway-port; on the port everybody is a client."""
    path = unused_path(lab.folder, "gateways")
    relay = lab.relay(gateway=None, gateway_listen=f"unix:{path}")
    assert relay.addresses("gateway") == [f"unix:{path}"]
    gateway = lab.add(connect(f"unix:{path}"))
    relay.wait_log("accepted", role="gateway")
    exchange(lab.client(relay, GATEWAY), gateway)


def test_unix_socket_is_gone_after_the_end(lab: Lab) -> None:
    """A relay leaves no socket file behind."""
    path = unused_path(lab.folder, "clients")
    relay = lab.relay(listen=f"unix:{path}", port=None)
    assert path.is_socket()
    relay.finish()
    assert not path.exists()


def test_unix_socket_left_by_a_killed_relay(lab: Lab) -> None:
    """A socket file that a killed relay left behind does not keep the next one from starting."""
    path = unused_path(lab.folder, "clients")
    dead = lab.relay(listen=f"unix:{path}", port=None)
    dead.kill()
    lab.relays.remove(dead)
    assert path.is_socket()
    relay = lab.relay(listen=f"unix:{path}", port=None, target=lab.target(echo))
    client = lab.add(connect(f"unix:{path}"))
    client.send(b"again")
    assert client.read(5) == b"again"
    del relay


# Client or gateway


def test_role_by_source_address(lab: Lab) -> None:
    """On one port, a connection from an address in --gateway is the gateway's; any other is a client."""
    relay = lab.relay(gateway=GATEWAY)
    gateway = lab.gateway(relay, GATEWAY)
    relay.wait_log("accepted", peer=gateway.local, role="gateway")
    client = lab.client(relay, CLIENT)
    relay.wait_log("accepted", peer=client.local, role="client")
    exchange(client, gateway)


def test_role_by_cidr(lab: Lab) -> None:
    """`--gateway 127.0.2.0/24`: the block's first and last address are gateways, the next one is a client."""
    relay = lab.relay(gateway="127.0.2.0/24", pairs=2)
    for source in ("127.0.2.0", "127.0.2.255"):
        peer = lab.gateway(relay, source)
        relay.wait_log("accepted", peer=peer.local, role="gateway")
    for source in ("127.0.3.0", "127.0.1.255"):
        peer = lab.client(relay, source)
        relay.wait_log("accepted", peer=peer.local, role="client")


@pytest.mark.parametrize("gateways", [["127.0.0.4", "127.0.0.5"], ["127.0.0.4,127.0.0.5"]], ids=["repeated", "comma"])
def test_several_gateways(lab: Lab, gateways: list[str]) -> None:
    """--gateway may be repeated, or be a list with commas."""
    relay = lab.relay(gateway=gateways, pairs=2)
    for source in ("127.0.0.4", "127.0.0.5"):
        peer = lab.gateway(relay, source)
        relay.wait_log("accepted", peer=peer.local, role="gateway")


def test_loopback_is_a_gateway_by_default(lab: Lab) -> None:
    """Without --gateway a connection from loopback is the gateway's: it waits, and nobody dials."""
    relay = lab.relay(gateway=None, listen=["127.0.0.1", "::1"], pairs=2)
    for address, source in zip(sorted(relay.addresses("both")), ("127.9.8.7", "::1"), strict=True):
        peer = lab.add(connect(address, source))
        relay.wait_log("accepted", peer=peer.local, role="gateway")
    stats = relay.wait_stat("waiting", "==", 2)
    assert stats["dials"] == 0


def test_target_is_a_gateway_by_default(lab: Lab) -> None:
    """Without --gateway a connection from the target's own address is the gateway's, one from its neighbour a client's."""

    def work() -> None:
        relay = lab.relay(listen="0.0.0.0", gateway=None, target="10.0.0.5:9999", pairs=2)
        port = relay.addresses("both")[0].rpartition(":")[2]
        for source, role in (("10.0.0.5", "gateway"), ("10.0.0.6", "client"), ("127.0.0.1", "gateway")):
            peer = lab.add(connect(f"10.0.0.6:{port}" if source.startswith("10") else f"127.0.0.1:{port}", source))
            relay.wait_log("accepted", peer=peer.local, role=role)

    in_own_network(["10.0.0.5/32", "10.0.0.6/32"], work)


def test_named_target_is_a_gateway_by_default(lab: Lab) -> None:
    """The same for a target with a name: all of its addresses, and, when the name has moved, the new ones after the next dial."""

    def work() -> None:
        dns = lab.dns()
        for address in ("10.0.0.5", "10.0.0.7"):
            dns.add("target.test", a=address)
        relay = lab.relay(listen="0.0.0.0", gateway=None, target="target.test:9999", dns=dns, pairs=4, retry_min="50ms", retry_max="50ms")
        relay.allow("dial-failed", "resolve-failed")
        port = relay.addresses("both")[0].rpartition(":")[2]

        def come(source: str, role: str) -> None:
            peer = lab.add(connect(f"10.0.0.6:{port}", source))
            relay.wait_log("accepted", peer=peer.local, role=role)

        come("10.0.0.5", "gateway")
        come("10.0.0.7", "gateway")
        for _ in range(3):  # two meet the gateways, for the third the target is dialled
            come("10.0.0.6", "client")
        relay.wait_log("dial-failed", count=2)
        dns.drop("target.test")
        dns.add("target.test", a="10.0.0.8")
        asked = dns.asked("target.test", "A")
        dns.wait_asked("target.test", asked + 2, kind="A")
        come("10.0.0.8", "gateway")

    in_own_network([f"10.0.0.{number}/32" for number in (5, 6, 7, 8)], work)


def test_gateway_port(lab: Lab) -> None:
    """With --gateway-port it is the port that counts, not the source."""
    relay = lab.relay(gateway=None, gateway_port=0)
    assert relay.address("client") != relay.address("gateway")
    gateway = lab.gateway(relay, CLIENT)
    relay.wait_log("accepted", peer=gateway.local, role="gateway")
    client = lab.client(relay, GATEWAY)
    relay.wait_log("accepted", peer=client.local, role="client")
    exchange(client, gateway)


def test_gateway_limits_who_may_use_the_gateway_port(lab: Lab) -> None:
    """--gateway beside --gateway-port: others are refused there, and are clients on the port as before."""
    relay = lab.relay(gateway=GATEWAY, gateway_port=0).allow("refused")
    stranger = lab.gateway(relay, STRANGER)
    assert_refused(relay, stranger, "gateway", "gateway-not-allowed")
    gateway = lab.gateway(relay, GATEWAY)
    exchange(lab.client(relay, GATEWAY), gateway)


def test_gateway_listen(lab: Lab) -> None:
    """--gateway-listen: gateways come by another address than clients."""
    relay = lab.relay(gateway=None, gateway_port=0, gateway_listen="127.0.0.12")
    assert relay.address("client").startswith("127.0.0.1:")
    assert relay.address("gateway").startswith("127.0.0.12:")
    gateway = lab.gateway(relay)
    exchange(lab.client(relay), gateway)


# Who is refused


def test_client_limits_who_may_come(lab: Lab) -> None:
    """--client: others are closed at once, logged and counted; the one that may come still finds its place free."""
    relay = lab.relay(client=[CLIENT, "127.0.4.0/24"], target=lab.target(echo)).allow("refused")
    assert_refused(relay, lab.client(relay, STRANGER), "client", "client-not-allowed")
    assert_refused(relay, lab.client(relay, "127.0.5.0"), "client", "client-not-allowed")
    for source in (CLIENT, "127.0.4.77"):
        client = lab.client(relay, source)
        client.send(b"hello")
        assert client.read(5) == b"hello"
        client.finish()
        assert client.read_all() == b""
    assert relay.stats()["refused_client_not_allowed"] == 2


def test_second_client_is_refused(lab: Lab) -> None:
    """A second client is closed at once, logged and counted, and the first does not notice."""
    relay = lab.relay().allow("refused")
    client, gateway = lab.pair(relay)
    exchange(client, gateway)
    second = lab.client(relay, STRANGER)
    assert_refused(relay, second, "client", "client-busy")
    exchange(client, gateway)
    stats = relay.stats()
    assert (stats["refused_client_busy"], stats["clients"], stats["pairs"]) == (1, 1, 1)


def test_second_client_is_refused_while_the_first_waits(lab: Lab) -> None:
    """A second client is refused also while the first still waits for its gateway; the gateway then meets the first."""
    relay = lab.relay().allow("refused", "dial-failed")
    first = lab.client(relay)
    relay.wait_log("accepted", peer=first.local)
    second = lab.client(relay, STRANGER)
    assert_refused(relay, second, "client", "client-busy")
    exchange(first, lab.gateway(relay))


def test_second_gateway_is_refused_while_the_first_waits(lab: Lab) -> None:
    """A second gateway is closed at once; the client meets the first and its bytes alone."""
    relay = lab.relay().allow("refused")
    first = lab.gateway(relay)
    first.send(b"first")
    relay.wait_log("accepted", peer=first.local)
    second = lab.gateway(relay)
    assert_refused(relay, second, "gateway", "gateway-busy")
    client = lab.client(relay)
    assert client.read(5) == b"first"
    exchange(client, first)
    assert relay.stats()["refused_gateway_busy"] == 1


def test_second_gateway_is_refused_in_a_session(lab: Lab) -> None:
    """A gateway that comes while a pair talks is closed at once, and the pair talks on."""
    relay = lab.relay().allow("refused")
    client, gateway = lab.pair(relay)
    assert_refused(relay, lab.gateway(relay), "gateway", "gateway-busy")
    exchange(client, gateway)


def test_gateway_is_refused_while_the_dialled_target_serves(lab: Lab) -> None:
    """The dialled target is the gateway: another one that comes by itself is refused."""
    relay = lab.relay(target=lab.target(echo)).allow("refused")
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"
    assert_refused(relay, lab.gateway(relay), "gateway", "gateway-busy")
    client.send(b"again")
    assert client.read(5) == b"again"


def test_refused_peer_that_has_already_sent(lab: Lab) -> None:
    """A refused client that speaks at once is refused all the same, and its bytes reach nobody."""
    relay = lab.relay().allow("refused")
    client, gateway = lab.pair(relay)
    second = lab.client(relay, STRANGER)
    try:
        second.send(b"let me in" * 1000)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert second.gone() in ("eof", "reset")
    exchange(client, gateway)
    client.finish()
    assert gateway.read_all() == b""


def test_place_is_free_after_the_session(lab: Lab) -> None:
    """After the pair has gone the next client and gateway are welcome."""
    relay = lab.relay()
    for _ in range(5):
        mark = relay.mark()
        client, gateway = lab.pair(relay)
        exchange(client, gateway)
        client.reset()
        gateway.gone()
        relay.wait_log("session-end", after=mark)


# --pairs


def test_waiting_gateways_meet_clients_oldest_first(lab: Lab) -> None:
    """--pairs 3: three gateways wait, each with its own queue; clients get them in the order in which they came."""
    relay = lab.relay(pairs=3)
    gateways = []
    for number in range(3):
        gateway = lab.gateway(relay)
        relay.wait_log("accepted", peer=gateway.local)
        gateway.send(b"queue %d" % number)
        gateways.append(gateway)
    relay.wait_stat("queued_bytes", "==", 21)
    for number, gateway in enumerate(gateways):
        client = lab.client(relay)
        assert client.read(7) == b"queue %d" % number
        exchange(client, gateway)
    assert relay.stats()["pairs"] == 3


def test_waiting_clients_meet_gateways_oldest_first(lab: Lab) -> None:
    """--pairs 3 with a target that is down: gateways that come meet the clients in the order in which those came."""
    relay = lab.relay(pairs=3, retry_min="1m", retry_max="1m").allow("dial-failed")
    clients = []
    for number in range(3):
        client = lab.client(relay)
        relay.wait_log("accepted", peer=client.local)
        client.send(b"queue %d" % number)
        clients.append(client)
    relay.wait_stat("queued_bytes", "==", 21)
    for number, client in enumerate(clients):
        gateway = lab.gateway(relay)
        assert gateway.read(7) == b"queue %d" % number
        exchange(client, gateway)


def test_pairs_is_the_bound(lab: Lab) -> None:
    """--pairs 2: a third client and a third gateway are refused; the two pairs do not notice."""
    relay = lab.relay(pairs=2).allow("refused")
    pairs = [lab.pair(relay), lab.pair(relay)]
    assert_refused(relay, lab.client(relay), "client", "client-busy")
    assert_refused(relay, lab.gateway(relay), "gateway", "gateway-busy")
    for client, gateway in pairs:
        exchange(client, gateway)
    stats = relay.stats()
    assert (stats["clients"], stats["gateways"], stats["pairs"], stats["waiting"]) == (2, 2, 2, 0)


def test_a_gateway_gone_from_the_middle(lab: Lab) -> None:
    """A waiting gateway that has gone is passed over; the others keep their order."""
    relay = lab.relay(pairs=3)
    gateways = []
    for number in range(3):
        gateway = lab.gateway(relay)
        relay.wait_log("accepted", peer=gateway.local)
        gateways.append(gateway)
    gateways[1].reset()
    relay.wait_log("session-end", reason="gateway-reset")
    for number in (0, 2):
        gateways[number].send(b"%d" % number)
        client = lab.client(relay)
        assert client.read(1) == b"%d" % number


def test_many_pairs_do_not_mix(lab: Lab) -> None:
    """--pairs 8 with eight pairs busy at once: each end gets its own partner's bytes and no others."""
    size = 1_000_000
    relay = lab.relay(pairs=8)
    pairs = [lab.pair(relay) for _ in range(8)]
    progress = {peer: [0, 0] for pair in pairs for peer in pair}  # sent, received
    streams = {peer: Stream(peer.local) for pair in pairs for peer in pair}

    def turn() -> bool:
        for pair in pairs:
            for peer, other in (pair, pair[::-1]):
                sent, received = progress[peer]
                progress[peer][0] += peer.offer(streams[peer], sent, min(150_000, size - sent))
                data = peer.take(100_000)
                if data is None:
                    continue
                assert data, f"{peer.name}: end after {received} bytes"
                wrong = streams[other].mismatch(data, received)
                assert not wrong, wrong
                progress[peer][1] += len(data)
        return all(counts == [size, size] for counts in progress.values())

    until(turn, lambda: f"all bytes of all pairs: {list(progress.values())}", timeout=30)
