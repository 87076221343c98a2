# SPDX-License-Identifier: Apache-2.0
"""Names of upstreams: many addresses, answers that come in part, priorities, and what an upstream is called when it is talked to."""
# Issue: point 1 (service discovery).

from typing import Any

import pytest

from harness.lab import Lab
from harness.peers.dns import Dns
from harness.peers.http2 import HEADERS, huffman
from harness.plex import newcomer, trade
from harness.process import Relay
from harness.stream import Stream
from harness.until import until

SERVICE = "_grpc._tcp.app.test"


def named(lab: Lab, dns: Dns, url: str = f"grpc://{SERVICE}", **keys: Any) -> Relay:
    """A plex whose upstreams have a name, which is looked up often."""
    return lab.plex(url, **{"up": 0, "dns": dns.address, "resolve_interval": "200ms", **keys}).allow("resolve-failed", "dial-failed")


def serve(dns: Dns, *ports: int, priority: int = 0, host: str = "node.test") -> None:
    for port in ports:
        dns.add(SERVICE, srv=(priority, 0, port, host))


def known(relay: Relay) -> set[str]:
    return {one["upstream"] for one in relay.relay_status()["upstreams"]}


def looked_up(dns: Dns, name: str, kind: str, count: int = 1) -> None:
    """So many more times, from beginning to end."""
    dns.wait_asked(name, dns.asked(name, kind) + count + 1, kind)


# ---- many


def test_more_servers_than_a_dial_tries(lab: Lab) -> None:
    """A service with 20 servers has 20 upstreams, the same ones at each look-up."""
    liars, dns = [lab.liar() for _ in range(20)], lab.dns()
    dns.add("node.test", a="127.0.0.1")
    serve(dns, *(liar.port for liar in liars))
    dns.tempers[SERVICE] = "truncate"  # it is too long for UDP
    relay = named(lab, dns).allow("upstream-lost")
    relay.wait_stat("upstreams", "==", 20)
    looked_up(dns, SERVICE, "SRV", 5)
    assert relay.stats()["dials"] == 20 and relay.stats()["upstreams"] == 20
    assert not relay.find("upstream-lost") and not relay.find("upstream-left") and not relay.find("resolve-failed")
    assert dns.asked("node.test", "A") < 20, "a host is asked for once, not for each of its ports"


def crowd(dns: Dns, count: int) -> None:
    for number in range(count):
        dns.add("app.test", a=f"127.9.{number // 250}.{number % 250 + 1}")
    dns.tempers["app.test"] = "truncate"
    dns.rotates = True


def test_more_addresses_than_a_dial_tries(lab: Lab) -> None:
    """A name with 100 addresses, in another order each time, has 100 upstreams, and keeps them."""
    dns, port = lab.dns(), lab.refusing().port
    crowd(dns, 100)
    relay = named(lab, dns, f"grpc://app.test:{port}", retry_min="1h", retry_max="1h")
    relay.wait_stat("dials", ">=", 100)
    before = known(relay)
    looked_up(dns, "app.test", "A", 8)
    assert known(relay) == before and len(before) == 100
    assert relay.stats()["dials"] == 100


def test_more_addresses_than_may_be(lab: Lab) -> None:
    """Of 1010 addresses 1000 have upstreams: those that were there first keep theirs, and it is said once."""
    dns, port = lab.dns(), lab.refusing().port
    crowd(dns, 1010)
    relay = named(lab, dns, f"grpc://app.test:{port}", retry_min="1h", retry_max="1h").allow("too-many-addresses")
    line = relay.wait_log("too-many-addresses", name=f"app.test:{port}")
    assert (line["limit"], line["left_out"]) == (1000, 10)
    before = known(relay)
    assert len(before) == 1000
    looked_up(dns, "app.test", "A", 8)
    assert known(relay) == before
    assert relay.stats()["dials"] == 1000
    assert len(relay.find("too-many-addresses")) == 1


# ---- in part


@pytest.mark.parametrize("temper", ["servfail", "refused"])
@pytest.mark.parametrize("question", ["two.test", "A two.test"])
def test_a_host_that_cannot_be_looked_up(lab: Lab, temper: str, question: str) -> None:
    """While one of a service's hosts cannot be looked up, or only its IPv4 addresses, nobody leaves, and who is new comes; then who has gone leaves."""
    upstreams, dns = [lab.upstream() for _ in range(4)], lab.dns()
    for host in ("one.test", "two.test", "three.test"):
        dns.add(host, a="127.0.0.1")
    for upstream, host in zip(upstreams[:3], ("one.test", "two.test", "three.test"), strict=True):
        serve(dns, upstream.port, host=host)
    relay = named(lab, dns).allow("upstream-left")
    relay.wait_stat("upstreams", "==", 3)
    dns.tempers[question] = temper
    line = relay.wait_log("resolve-failed")
    assert line["name"] == SERVICE and line["error"].startswith("two.test: ")
    dns.drop(SERVICE)
    for upstream, host in zip(upstreams[1:], ("two.test", "three.test", "three.test"), strict=True):
        serve(dns, upstream.port, host=host)
    relay.wait_stat("upstreams", "==", 4)
    looked_up(dns, SERVICE, "SRV", 2)
    assert relay.stats()["dials"] == 4 and relay.stats()["upstreams"] == 4
    del dns.tempers[question]
    relay.wait_stat("upstreams", "==", 3)
    until(lambda: len(known(relay)) == 3, "who has gone has left")
    assert not any(f":{upstreams[0].port})" in name for name in known(relay))
    assert relay.stats()["dials"] == 4


@pytest.mark.parametrize("family", ["A", "AAAA"])
def test_half_an_answer(lab: Lab, family: str) -> None:
    """A name whose IPv4 or IPv6 addresses cannot be looked up keeps those that it had; when it is known that there are none, they leave."""
    dns, port = lab.dns(), lab.refusing().port
    dns.add("app.test", a="127.0.0.1", aaaa="::1")
    relay = named(lab, dns, f"grpc://app.test:{port}")
    both = {f"grpc://app.test:{port} (127.0.0.1:{port})", f"grpc://app.test:{port} ([::1]:{port})"}
    until(lambda: known(relay) == both, "both are dialled")
    dns.tempers[f"{family} app.test"] = "servfail"
    assert relay.wait_log("resolve-failed")["error"].startswith("app.test: ")
    looked_up(dns, "app.test", family, 9)
    assert known(relay) == both
    dns.drop("app.test")
    dns.add("app.test", a="127.0.0.1" if family == "AAAA" else "", aaaa="::1" if family == "A" else "")
    del dns.tempers[f"{family} app.test"]
    until(lambda: len(known(relay)) == 1, "it has left")


def test_a_host_that_is_gone(lab: Lab) -> None:
    """A host of a service that does not exist has no upstream, and that is no failure."""
    first, second, dns = lab.upstream(), lab.upstream(), lab.dns()
    dns.add("one.test", a="127.0.0.1")
    dns.add("two.test", a="127.0.0.1")
    serve(dns, first.port, host="one.test")
    serve(dns, second.port, host="two.test")
    relay = named(lab, dns).allow("upstream-left")
    relay.wait_stat("upstreams", "==", 2)
    dns.drop("two.test")
    relay.wait_stat("upstreams", "==", 1)
    assert not relay.find("resolve-failed")


# ---- priorities


@pytest.mark.parametrize("balance", ["sticky", "least-clients", "hash"])
def test_priorities(lab: Lab, balance: str) -> None:
    """Clients go to servers of the best priority; when none of it is up to those of the next; and when one is again who comes goes there, while others stay."""
    good, other, worse = lab.upstream(), lab.upstream(), lab.upstream()
    dns = lab.dns()
    dns.add("node.test", a="127.0.0.1")
    serve(dns, good.port, other.port, priority=10)
    serve(dns, worse.port, priority=20)
    relay = named(lab, dns, balance=balance).allow("upstream-lost")
    relay.wait_stat("upstreams", "==", 3)
    shown = {one["upstream"].split(":")[-1].rstrip(")"): one["priority"] for one in relay.relay_status()["upstreams"]}
    assert shown == {str(good.port): 10, str(other.port): 10, str(worse.port): 20}
    met = [newcomer(lab, relay, good, other, worse) for _ in range(6)]
    assert worse not in [one.upstream for one in met]
    good.kill()
    relay.wait_stat("upstreams", "==", 2)
    met += [newcomer(lab, relay, other, worse) for _ in range(3)]
    assert {one.upstream for one in met[6:]} == {other}
    other.kill()
    relay.wait_stat("upstreams", "==", 1)
    late = newcomer(lab, relay, worse)
    for one in met:
        trade(one.peer, 3)
    good.start()
    relay.wait_stat("upstreams", "==", 2)
    assert newcomer(lab, relay, good, worse).upstream is good
    mark = worse.mark()
    trade(late.peer, 3)
    assert len(worse.data(after=mark)) > 0, "who has a home stays"


def test_priorities_of_each_message(lab: Lab) -> None:
    """With round-robin each message goes to a server of the best priority that is up."""
    good, worse, dns = lab.upstream(), lab.upstream(), lab.dns()
    dns.add("node.test", a="127.0.0.1")
    serve(dns, good.port, priority=1)
    serve(dns, worse.port, priority=2)
    relay = named(lab, dns, balance="round-robin", framing="line").allow("upstream-lost")
    relay.wait_stat("upstreams", "==", 2)
    client = lab.client(relay)
    trade(client, 20)
    assert (len(good.data()), len(worse.data())) == (20, 0)
    good.kill()
    relay.wait_stat("upstreams", "==", 1)
    trade(client, 20)
    assert (len(good.data()), len(worse.data())) == (20, 20)
    good.start()
    relay.wait_stat("upstreams", "==", 2)
    trade(client, 20)
    assert (len(good.data()), len(worse.data())) == (40, 20)


def test_a_full_queue_of_the_best_priority(lab: Lab) -> None:
    """With round-robin messages wait for a server of the best priority that takes no more, and go to no other; the relay is at rest meanwhile."""
    good, worse, dns = lab.upstream(does="silent"), lab.upstream(does="silent"), lab.dns()
    dns.add("node.test", a="127.0.0.1")
    serve(dns, good.port, priority=1)
    serve(dns, worse.port, priority=2)
    relay = named(lab, dns, balance="round-robin", upstream_queue="128KiB", resolve_interval="1h")
    relay.wait_stat("upstreams", "==", 2)
    client = lab.client(relay)
    good.stall()
    sent = client.fill(Stream(7), 64 << 20)
    assert sent < 64 << 20 and relay.stats()["upstream_queue_full"] > 0
    assert not worse.data()
    before = relay.cpu()
    assert client.silent(1) and relay.cpu() - before < 0.3
    good.go_on()
    until(lambda: sum(len(one.payload) for one in good.data()) == sent, "it has all of it")
    assert not worse.data()


def test_a_full_server_of_the_best_priority(lab: Lab) -> None:
    """One that has its max_clients is passed over: who comes goes to the next priority."""
    good, worse, dns = lab.upstream(max_clients=2), lab.upstream(), lab.dns()
    dns.add("node.test", a="127.0.0.1")
    serve(dns, good.port, priority=1)
    serve(dns, worse.port, priority=2)
    relay = named(lab, dns)
    relay.wait_stat("upstreams", "==", 2)
    met = [newcomer(lab, relay, good, worse) for _ in range(4)]
    assert [one.upstream for one in met] == [good, good, worse, worse]


def test_a_priority_that_changes(lab: Lab) -> None:
    """What the DNS says of a priority holds from the next look-up on."""
    first, second, dns = lab.upstream(), lab.upstream(), lab.dns()
    dns.add("node.test", a="127.0.0.1")
    serve(dns, first.port, priority=1)
    serve(dns, second.port, priority=2)
    relay = named(lab, dns)
    relay.wait_stat("upstreams", "==", 2)
    assert {newcomer(lab, relay, first, second).upstream for _ in range(3)} == {first}
    dns.add(SERVICE, srv=(0, 0, second.port, "node.test"))  # it stands there twice: the better one counts
    looked_up(dns, SERVICE, "SRV", 2)
    assert {newcomer(lab, relay, first, second).upstream for _ in range(3)} == {second}
    assert relay.stats()["dials"] == 2


# ---- what it is called


def test_the_authority_of_a_service(lab: Lab) -> None:
    """An upstream is asked for by the domain, which is also its name in TLS, not by the labels of the service."""
    liar, dns = lab.liar(), lab.dns()
    dns.add("node.test", a="127.0.0.1")
    serve(dns, liar.port)
    relay = named(lab, dns).allow("upstream-lost")
    relay.wait_stat("upstreams", "==", 1)
    asked = [one.payload for one in liar.heard if one.kind == HEADERS]
    assert huffman("app.test") in asked[0] and huffman(SERVICE) not in asked[0], asked
