# SPDX-License-Identifier: Apache-2.0
"""Targets with a name: A, AAAA, SRV, /etc/hosts, all addresses tried, asked again at each dial, and a DNS that fails, lies or is slow."""
# Issue: point 3 (names), and the DNS faults of point 12.

from typing import Any

import pytest

from harness.lab import Lab
from harness.logs import Line
from harness.peers.dns import Dns
from harness.peers.target import echo
from harness.process import Relay
from harness.sockets import Peer

NAME = "crelay-func2.test"


def named(lab: Lab, dns: Dns, target: str, **keys: Any) -> Relay:
    """A relay that dials a name, retries fast, and may complain about it."""
    relay = lab.relay(**{"target": target, "dns": dns, "retry_min": "20ms", "retry_max": "100ms", **keys})
    return relay.allow("dial-failed", "resolve-failed")


def wait_unresolved(relay: Relay, timeout: float = 10.0) -> Line:
    """The log says that the name could not be looked up, and why."""
    return relay.wait_log("resolve-failed", timeout=timeout, name=lambda name: name, error=lambda error: error)


def assert_served(client: Peer) -> None:
    client.send(b"hello")
    assert client.read(5) == b"hello"


def round_trip(lab: Lab, relay: Relay) -> None:
    """A whole session over an echo target."""
    mark = relay.mark()
    client = lab.client(relay)
    assert_served(client)
    client.finish()
    assert client.read_all() == b""
    relay.wait_log("session-end", after=mark)


def test_ipv4_name(lab: Lab) -> None:
    """`--target crelay-func2:9999`: the name's A record is dialled."""
    target, dns = lab.target(echo, host="127.0.0.7"), lab.dns()
    dns.add(NAME, a="127.0.0.7")
    relay = named(lab, dns, f"{NAME}:{target.port}")
    round_trip(lab, relay)
    assert relay.wait_log("dialed")["addr"] == target.address
    assert relay.wait_log("dialing")["target"] == f"{NAME}:{target.port}"


def test_name_without_a_dot(lab: Lab) -> None:
    """The seed's own target is a name of one label."""
    target, dns = lab.target(echo), lab.dns()
    dns.add("crelay-func2", a="127.0.0.1")
    round_trip(lab, named(lab, dns, f"crelay-func2:{target.port}"))


def test_ipv6_name(lab: Lab) -> None:
    """A name that has only an AAAA record."""
    target, dns = lab.target(echo, host="::1"), lab.dns()
    dns.add(NAME, aaaa="::1")
    relay = named(lab, dns, f"{NAME}:{target.port}")
    round_trip(lab, relay)
    assert relay.wait_log("dialed")["addr"] == target.address


@pytest.mark.parametrize("alive", ["127.0.0.7", "::1"])
def test_every_address_is_tried(lab: Lab, alive: str) -> None:
    """Of a name's five addresses, IPv4 and IPv6, one is alive: it is found in one round, without waiting in between."""
    target, dns = lab.target(echo, host=alive), lab.dns()
    for address in ("127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8"):
        dns.add(NAME, a=address)
    dns.add(NAME, aaaa="::1")
    relay = named(lab, dns, f"{NAME}:{target.port}", retry_min="30s", retry_max="30s")
    assert_served(lab.client(relay))
    assert relay.wait_log("dialed")["addr"] == target.address


def test_address_that_does_not_answer_is_passed_over(lab: Lab) -> None:
    """A name's first address is a black hole: after --connect-timeout the next one is tried."""
    dns = lab.dns()
    hole = lab.blackhole()
    target = lab.target()
    dns.add("_relay._tcp.svc.test", srv=(1, 1, hole.port, "hole.test"))
    dns.add("_relay._tcp.svc.test", srv=(2, 1, target.port, "alive.test"))
    dns.add("hole.test", a="127.0.0.1")
    dns.add("alive.test", a="127.0.0.1")
    relay = named(lab, dns, "_relay._tcp.svc.test", connect_timeout="200ms", retry_min="30s", retry_max="30s")
    client = lab.client(relay)
    target.accept(timeout=5).send(b"hello")
    assert client.read(5) == b"hello"


def test_srv(lab: Lab) -> None:
    """`_relay._tcp.NAME` needs no port: host and port come from the SRV record."""
    target, dns = lab.target(echo, host="127.0.0.7"), lab.dns()
    dns.add("_relay._tcp.svc.test", srv=(10, 5, target.port, "node1.svc.test"))
    dns.add("node1.svc.test", a="127.0.0.7")
    relay = named(lab, dns, "_relay._tcp.svc.test")
    round_trip(lab, relay)
    assert relay.wait_log("dialed")["addr"] == target.address


def test_srv_priorities(lab: Lab) -> None:
    """The record with the lowest priority is first; when it refuses, the next is dialled, without waiting in between."""
    first, second, third = lab.refusing(), lab.target(echo), lab.target(echo)
    dns = lab.dns()
    service = "_relay._tcp.svc.test"
    dns.add(service, srv=(30, 0, third.port, "node.svc.test"))
    dns.add(service, srv=(10, 0, first.port, "node.svc.test"))
    dns.add(service, srv=(20, 0, second.port, "node.svc.test"))
    dns.add("node.svc.test", a="127.0.0.1")
    relay = named(lab, dns, service, retry_min="30s", retry_max="30s")
    assert_served(lab.client(relay))
    relay.wait_log("dialing", count=2)
    assert [line["addr"] for line in relay.find("dialing")] == [first.address, second.address]
    assert (second.connections, third.connections) == (1, 0)


def test_cname(lab: Lab) -> None:
    """A CNAME is followed."""
    target, dns = lab.target(echo), lab.dns()
    dns.add(NAME, cname="alias.test")
    dns.add("alias.test", cname="real.test")
    dns.add("real.test", a="127.0.0.1")
    round_trip(lab, named(lab, dns, f"{NAME}:{target.port}"))


def test_hosts_file(lab: Lab) -> None:
    """A name of /etc/hosts needs no DNS."""
    target, dns = lab.target(echo), lab.dns()
    dns.temper = "silent"
    round_trip(lab, named(lab, dns, f"localhost:{target.port}"))


def test_asked_again_at_each_dial(lab: Lab) -> None:
    """The name moves between two sessions: the second is dialled at the new place."""
    here, dns = lab.target(echo, host="127.0.0.7"), lab.dns()
    dns.add(NAME, a="127.0.0.7")
    relay = named(lab, dns, f"{NAME}:{here.port}")
    round_trip(lab, relay)
    dns.drop(NAME)
    dns.add(NAME, a="127.0.0.8")
    mark = relay.mark()
    client = lab.client(relay)
    assert relay.wait_log("dialing", after=mark)["addr"] == f"127.0.0.8:{here.port}"
    dns.drop(NAME)
    dns.add(NAME, a="127.0.0.7")
    assert_served(client)
    assert here.connections == 2


def test_name_that_appears_later(lab: Lab) -> None:
    """The name does not exist yet when the client comes: the failure is logged, and the client is served when it does."""
    target, dns = lab.target(echo), lab.dns()
    relay = named(lab, dns, f"{NAME}:{target.port}")
    client = lab.client(relay)
    client.send(b"hello")
    line = wait_unresolved(relay)
    assert line["error"]
    dns.add(NAME, a="127.0.0.1")
    assert client.read(5) == b"hello"


@pytest.mark.parametrize("temper", ["servfail", "refused", "garbage", "empty", "huge", "loop"])
def test_dns_that_fails(lab: Lab, temper: str) -> None:
    """SERVFAIL, REFUSED, nonsense: logged and tried again; when the DNS has recovered the client is served, nothing lost."""
    target, dns = lab.target(echo), lab.dns()
    dns.add(NAME, a="127.0.0.1")
    dns.temper = temper
    relay = named(lab, dns, f"{NAME}:{target.port}")
    client = lab.client(relay)
    client.send(b"hello")
    dns.wait_asked(NAME, 2)
    wait_unresolved(relay, timeout=10)
    dns.temper = "answer"
    client.sock.settimeout(25)
    assert client.read(5) == b"hello"


def test_srv_whose_host_fails(lab: Lab) -> None:
    """An SRV record that points at a host without addresses: logged, tried again, served when the host is there."""
    target, dns = lab.target(echo), lab.dns()
    dns.add("_relay._tcp.svc.test", srv=(1, 1, target.port, "node.svc.test"))
    relay = named(lab, dns, "_relay._tcp.svc.test")
    client = lab.client(relay)
    client.send(b"hello")
    wait_unresolved(relay)
    dns.add("node.svc.test", a="127.0.0.1")
    assert client.read(5) == b"hello"


def test_long_answer_by_tcp(lab: Lab) -> None:
    """An answer cut short over UDP is fetched over TCP."""
    target, dns = lab.target(echo), lab.dns()
    dns.add(NAME, a="127.0.0.1")
    dns.temper = "truncate"
    round_trip(lab, named(lab, dns, f"{NAME}:{target.port}"))
    assert dns.asked(NAME, transport="tcp") > 0


@pytest.mark.parametrize("temper", ["wrong-id", "lie"])
def test_forged_answers_are_not_believed(lab: Lab, temper: str) -> None:
    """An answer with a wrong id, or about another name, leads nobody to the forger."""
    target, dns = lab.target(echo), lab.dns()
    dns.add(NAME, a="127.0.0.1")
    dns.temper = temper
    relay = named(lab, dns, f"{NAME}:{target.port}")
    client = lab.client(relay)
    client.send(b"hello")
    dns.wait_asked(NAME, 2)
    if temper == "lie":  # (a wrong id is followed by the true answer, a lie is not)
        dns.temper = "answer"
    client.sock.settimeout(25)
    assert client.read(5) == b"hello"
    assert not relay.find("dialing", addr=lambda addr: addr.startswith(dns.forged_address))


def test_slow_dns_holds_up_nobody_else(lab: Lab) -> None:
    """While one client's name is being looked for, another pair talks, and the waiting client's bytes are kept."""
    target, dns = lab.target(echo), lab.dns()
    dns.add(NAME, a="127.0.0.1")
    relay = named(lab, dns, f"{NAME}:{target.port}", pairs=2)
    first = lab.client(relay)
    assert_served(first)
    dns.temper = "held"
    asked = dns.asked(NAME)
    second = lab.client(relay)
    second.send(b"hello")
    dns.wait_asked(NAME, asked + 1)
    assert_served(first)
    assert relay.stats()["waiting"] == 1
    dns.release()
    second.sock.settimeout(15)
    assert second.read(5) == b"hello"


def test_gateway_that_comes_while_the_name_is_looked_for(lab: Lab) -> None:
    """A gateway that connects by itself is taken instead of a name that nobody answers for."""
    target, dns = lab.target(echo), lab.dns()
    dns.temper = "silent"
    relay = named(lab, dns, f"{NAME}:{target.port}")
    client = lab.client(relay)
    client.send(b"hello")
    dns.wait_asked(NAME)
    gateway = lab.gateway(relay)
    assert gateway.read(5) == b"hello"


def test_client_that_goes_while_the_name_is_looked_for(lab: Lab) -> None:
    """A client that resets meanwhile is gone at once, and a late answer harms nobody."""
    target, dns = lab.target(echo), lab.dns()
    dns.add(NAME, a="127.0.0.1")
    dns.temper = "held"
    relay = named(lab, dns, f"{NAME}:{target.port}")
    client = lab.client(relay)
    dns.wait_asked(NAME)
    client.reset()
    relay.wait_log("session-end", reason="client-reset")
    dns.release()
    round_trip(lab, relay)
    assert target.connections == 1


def test_silent_dns_is_given_up(lab: Lab) -> None:
    """A DNS that never answers is reported, not waited for without a word."""
    dns = lab.dns()
    dns.temper = "silent"
    relay = named(lab, dns, f"{NAME}:9")
    lab.client(relay)
    line = wait_unresolved(relay, timeout=10)
    assert "time" in line["error"].lower()


def test_no_dns_at_all(lab: Lab) -> None:
    """Nobody listens where the DNS should be: reported, and gateways are served."""
    nobody = lab.refusing()
    relay = lab.relay(target=f"{NAME}:9", dns=nobody).allow("resolve-failed")
    client = lab.client(relay)
    wait_unresolved(relay)
    client.send(b"hello")
    assert lab.gateway(relay).read(5) == b"hello"


def test_accepting_starts_in_spite_of_a_silent_dns(lab: Lab) -> None:
    """With the default gateways (the target's address among them) and a silent DNS, peers are served after 2 seconds."""
    dns = lab.dns()
    dns.temper = "silent"
    relay = named(lab, dns, f"{NAME}:9", gateway=None)
    gateway = lab.gateway(relay)
    line = relay.wait_log("accepted", peer=gateway.local, timeout=4)
    assert line["role"] == "gateway"
    gateway.reset()
    relay.wait_log("session-end")


def test_first_resolution_before_accepting(lab: Lab) -> None:
    """With the default gateways nobody is judged before the target's addresses are known."""
    dns = lab.dns()
    dns.add(NAME, a="127.0.0.1")
    dns.temper = "held"
    relay = named(lab, dns, f"{NAME}:9", gateway=None)
    gateway = lab.gateway(relay)
    gateway.send(b"hello")
    dns.wait_asked(NAME)
    assert not relay.find("accepted")
    dns.release()
    relay.wait_log("accepted", peer=gateway.local, timeout=1.5)
    relay.wait_stat("queued_bytes", "==", 5)
    relay.allow("session-end").terminate()  # the bytes are lost
