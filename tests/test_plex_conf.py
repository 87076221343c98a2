# SPDX-License-Identifier: Apache-2.0
"""The configuration of a plex: a file of the program of old, what is wrong with one, changes while it runs, and names of upstreams."""
# Issue: points 1 (service discovery) and "What a user does".

import pytest

from harness.lab import Lab
from harness.plex import newcomer, trade
from harness.process import command
from harness.until import until


def check(lab: Lab, text: str) -> tuple[int, str, str]:
    done = command("check", "-c", str(lab.file("config.toml", text)))
    return done.returncode, done.stdout, done.stderr.replace(f"relay: {lab.folder}/config.toml:", "")


def old(port: int, upstreams: list[int], admin: int, more: str = "") -> str:
    peers = "\n".join(f'[[upstream]]\nhost = "127.0.0.1"\nport = {one}\nalive_timeout = 30\nready_timeout = 5\n' for one in upstreams)
    return f"""
[server]
host = "0.0.0.0"
port = {port}
{peers}
[management_server]
host = "0.0.0.0"
# log_level = "trace"
port = {admin}
{more}
[management_server.tls]
cert_path = ""
key_path = ""
"""


def test_a_file_of_old_starts(lab: Lab) -> None:
    """A config.toml with [server], [[upstream]] and [management_server] is run as it is."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.run(old(lab.port("0.0.0.0"), [first.port, second.port], lab.port()))
    relay.wait_stat("upstreams", "==", 2)
    met = [newcomer(lab, relay, first, second) for _ in range(4)]
    assert {one.upstream for one in met} == {first, second}
    for one in met:
        trade(one.peer, 3)


def test_what_a_file_of_old_means(lab: Lab) -> None:
    """`relay check` shows which keys of ours it stands for; the admin is for this machine alone, as the file has no token."""
    code, shown, _ = check(lab, old(7999, [45888, 45889], 8000))
    assert code == 0
    for line in ('admin = "tcp:127.0.0.1:8000"', 'listen = ["0.0.0.0:7999"]', 'upstream = ["grpc://127.0.0.1:45888", "grpc://127.0.0.1:45889"]',
                 'ready-timeout = "5s"', 'live-timeout = "30s"'):
        assert line in shown, shown


@pytest.mark.parametrize("text, said", [
    ('[server]\nport = 70000\n[[upstream]]\nport = 1\n', "listen"),
    ('[server]\nport = 7999\n', "upstream: required"),
    ('[server]\nport = 7999\n[[upstream]]\nhost = "127.0.0.1"\n', "has a port"),
    ('[server]\nport = 7999\ncolour = "red"\n[[upstream]]\nport = 1\n', 'unknown key "colour"'),
    ('[server]\nport = 7999\n[[upstream]]\nport = 1\nweight = 2\n', 'unknown key "weight"'),
    ('log-level = "debug"\n[server]\nport = 7999\n[[upstream]]\nport = 1\n', "write a [[relay]]"),
    ('[server]\nport = 7999\n[upstream]\nport = 1\n', "upstream"),
    ('server = 3\n[[upstream]]\nport = 1\n', "server"),
    ('[server]\nport = "7999"\n[[upstream]]\nport = 1\n', '2: "port" is a text; write a number, without quotes'),
    ('[server]\nport = 7998.5\n[[upstream]]\nport = 1\n', '2: "port" is a number with a fraction; write a number'),
    ('[server]\nport = true\n[[upstream]]\nport = 1\n', '2: "port" is true or false; write a number'),
    ('[server]\nhost = 5\nport = 7999\n[[upstream]]\nport = 1\n', '2: "host" is a number; write a text'),
    ('[server]\nhost = ""\nport = 7999\n[[upstream]]\nport = 1\n', '2: "host" is empty; write "0.0.0.0"'),
    ('[server]\nport = 7999\n[[upstream]]\nport = "x"\n', '4: "port" is a text; write a number, without quotes\n'),
    ('[server]\nport = 7999\n[[upstream]]\nport = 1\nalive_timeout = 0\n', '5: "alive_timeout" is 0; write a number of seconds, 1 or more\n'),
    ('[server]\nport = 7999\n[[upstream]]\nport = 1\nready_timeout = -3\n', '5: "ready_timeout" is -3; write'),
    ('[server]\nport = 7999\n[[upstream]]\nport = 1\n[management_server]\ntls = 1\n', '6: "tls" is a number; write a table'),
    ('[server]\nport = 7999\n[[upstream]]\nport = 1\n[management_server.tls]\ncert = "x"\n', '6: unknown key "cert"'),
])
def test_a_file_of_old_with_faults(lab: Lab, text: str, said: str) -> None:
    """What is wrong in it is named."""
    code, _, faults = check(lab, text)
    assert code == 2 and said in faults, faults
    assert not said[0].isdigit() or len(faults.splitlines()) == 1, faults


def table(*upstreams: str, more: str = "") -> str:
    listed = ", ".join(f'"{one}"' for one in upstreams)
    return f"""
        log-level = "debug"
        [[relay]]
        kind = "plex"
        listen = "127.0.0.1:0"
        upstream = [{listed}]
        retry-min = "10ms"
        retry-max = "200ms"
        {more}
    """


def test_upstreams_come_and_go(lab: Lab) -> None:
    """At a reload one that is named no more gets no more clients, and those that it has go to one that is; nobody is cut off."""
    first, second = lab.upstream(features=("EVENTS",)), lab.upstream(features=("EVENTS",))
    relay = lab.run(table(first.url)).allow("upstream-left")
    relay.wait_stat("upstreams", "==", 1)
    met = [newcomer(lab, relay, first) for _ in range(4)]
    lab.file("relay.toml", table(second.url))
    assert relay.reload().status == 200
    relay.wait_stat("rehomed", "==", 4)
    for one in met:
        trade(one.peer, 5)
    assert relay.stats()["upstreams"] == 1 and relay.stats()["upstreams_lost"] == 0
    assert newcomer(lab, relay, second).upstream is second


def test_a_reload_that_changes_nothing_for_clients(lab: Lab) -> None:
    """Another balance and another queue leave clients and upstreams as they are."""
    first, second = lab.upstream(), lab.upstream()
    relay = lab.run(table(first.url, second.url))
    relay.wait_stat("upstreams", "==", 2)
    met = [newcomer(lab, relay, first, second) for _ in range(4)]
    lab.file("relay.toml", table(first.url, second.url, more='balance = "least-clients"'))
    assert relay.reload().status == 200
    for one in met:
        trade(one.peer, 5)
    assert relay.stats()["rehomed"] == 0 and relay.stats()["dials"] == 2


def test_a_name_with_several_addresses(lab: Lab) -> None:
    """A name stands for all that it has: who comes into the DNS gets clients, who goes out of it gives them up."""
    first, second = lab.upstream(), lab.upstream()
    dns = lab.dns()
    dns.add("one.test", a="127.0.0.1")
    dns.add("_grpc._tcp.app.test", srv=(0, 0, first.port, "one.test"))
    relay = lab.start("plex", "--listen", "127.0.0.1:0", "--upstream", "grpc://_grpc._tcp.app.test", "--resolve-interval", "200ms", "--dns", dns.address,
                      "--log-level", "debug").allow("resolve-failed")
    relay.wait_stat("upstreams", "==", 1)
    one = newcomer(lab, relay, first)
    dns.add("_grpc._tcp.app.test", srv=(0, 0, second.port, "one.test"))
    relay.wait_stat("upstreams", "==", 2)
    homes = [newcomer(lab, relay, first, second).upstream for _ in range(4)]
    assert {first, second} == set(homes)
    dns.drop("_grpc._tcp.app.test")
    dns.add("_grpc._tcp.app.test", srv=(0, 0, second.port, "one.test"))
    relay.wait_stat("upstreams", "==", 1)
    until(lambda: relay.stats()["rehomed"] >= 1, "clients are given up")
    trade(one.peer, 5)
    assert newcomer(lab, relay, second).upstream is second


def test_a_name_that_is_not_there(lab: Lab) -> None:
    """A name that cannot be looked up is looked up again, and clients wait."""
    upstream, dns = lab.upstream(), lab.dns()
    relay = lab.start("plex", "--listen", "127.0.0.1:0", "--upstream", f"grpc://app.test:{upstream.port}", "--resolve-interval", "200ms", "--dns", dns.address,
                      "--log-level", "debug").allow("resolve-failed")
    one = lab.client(relay)
    one.send(b"hello")
    relay.wait_log("resolve-failed")
    dns.add("app.test", a="127.0.0.1")
    assert one.read(5) == b"hello"
