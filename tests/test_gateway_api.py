# SPDX-License-Identifier: Apache-2.0
"""`gateway-api`: a target that is a bare service name is looked up at the gateway's control API, before each dial."""

import json
import re
import shutil
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.certs import Authority, Issued, client_context, server_context
from harness.lab import CLIENT, Lab
from harness.peers.target import Refusing, Target, echo, stall
from harness.peers.tls import over_tls
from harness.process import Relay, command, has_tls
from harness.scale import seconds
from harness.sockets import Peer
from harness.until import until

needs_tls = pytest.mark.skipif(not has_tls(), reason="built without TLS")


def import_of(name: str, port: int, host: str = "0.0.0.0") -> bytes:
    """What the API says of a service, and where its listener is."""
    return json.dumps(
        {"Name": name, "Spec": {"Service": {"Host": "far.example", "Port": 80}}, "Status": {"Listener": {"Host": host, "Port": port}}}
    ).encode()


def http(body: bytes, code: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


NOT_FOUND = http(b"not found\n", "404 Not Found")


@dataclass
class Api:
    """A control API: what it answers is in `answers`, by path, and what it was asked in `asked`."""

    answers: dict[str, bytes] = field(default_factory=dict)
    default: bytes = NOT_FOUND
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)  # until then nobody is answered

    def __post_init__(self) -> None:
        self.go_on.set()

    def behave(self, peer: Peer) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = peer._recv(1 << 16)  # pylint: disable=protected-access
            if not piece:
                return
            request += piece
        head = request.decode()
        self.heads.append(head)
        method, path, version = head.split("\r\n")[0].split(" ")
        assert (method, version) == ("GET", "HTTP/1.1")
        self.asked.append(path)
        self.go_on.wait(seconds(20))
        try:
            peer.send(self.answers.get(path, self.default))
            peer.finish()
        except OSError:
            pass  # it has heard enough

    def serve(self, name: str, port: int) -> None:
        self.answers[f"/imports/{name}"] = http(import_of(name, port))


def api_of(lab: Lab, **how: Any) -> tuple[Api, Target]:
    api = Api()
    return api, lab.target(api.behave, **how)


def asking(lab: Lab, place: Any, service: str = "svc", **keys: Any) -> Relay:
    """A relay that asks there for the service, tries again fast, and may complain."""
    url = place if isinstance(place, str) else f"http://{place.address}"
    relay = lab.relay(**{"target": service, "gateway_api": url, "retry_min": "20ms", "retry_max": "100ms", "pairs": 4, **keys})
    return relay.allow("import-failed", "dial-failed", "resolve-failed")


def assert_served(client: Peer) -> None:
    client.send(b"hello")
    assert client.read(5) == b"hello"


# Found


def test_found_at_once(lab: Lab) -> None:
    """The service is reached at the port that the API says, on the gateway's own host, whatever host the answer has."""
    gateway = lab.target(echo)
    api, server = api_of(lab)
    api.answers["/imports/svc"] = http(import_of("svc", gateway.port, host="192.0.2.77"))
    relay = asking(lab, server)
    assert_served(lab.client(relay))
    assert api.asked == ["/imports/svc"]
    assert f"\r\nHost: {server.address}\r\n" in api.heads[0] and "\r\nConnection: close\r\n" in api.heads[0]
    assert relay.wait_log("dialed")["addr"] == gateway.address
    assert relay.wait_log("dialing")["target"] == "svc"
    assert not relay.find("import-failed")
    assert relay.relay_status()["target"] == "svc"


def test_path_of_the_url(lab: Lab) -> None:
    """An API behind a path is asked there; a slash at the end of the URL is nothing."""
    gateway = lab.target(echo)
    api, server = api_of(lab)
    api.answers["/cl/v1/imports/a-b.c"] = http(import_of("a-b.c", gateway.port))
    assert_served(lab.client(asking(lab, f"http://{server.address}/cl/v1/", "a-b.c")))


def test_nobody_is_asked_before_a_client_comes(lab: Lab) -> None:
    """A relay at rest asks nothing; a gateway that comes by itself makes asking needless."""
    api, server = api_of(lab)
    relay = asking(lab, server)
    client, gateway = lab.pair(relay)
    gateway.send(b"hello")
    assert client.read(5) == b"hello"
    assert api.asked == []


def test_a_gateway_that_comes_ends_the_asking(lab: Lab) -> None:
    """While the API has nothing, a gateway that connects by itself is paired with the client, and the asking ends."""
    api, server = api_of(lab)
    relay = asking(lab, server)
    client = lab.client(relay)
    relay.wait_log("import-failed")
    gateway = lab.gateway(relay)
    gateway.send(b"hello")
    assert client.read(5) == b"hello"
    relay.wait_log("paired")
    seen = len(relay.find("import-failed"))
    assert_served_by(client, gateway)
    assert len(relay.find("import-failed")) == seen


def assert_served_by(client: Peer, gateway: Peer) -> None:
    for _ in range(20):
        client.send(b"ping")
        assert gateway.read(4) == b"ping"
        gateway.send(b"pong")
        assert client.read(4) == b"pong"


@pytest.mark.parametrize("body", ["plain", "chunked", "until-close", "byte-by-byte"])
def test_forms_of_an_answer(lab: Lab, body: str) -> None:
    """An answer with a length, in chunks, up to the end of the connection, or one byte at a time is the same answer."""
    gateway = lab.target(echo)
    data = import_of("svc", gateway.port)
    forms = {
        "plain": http(data),
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (1, data[i : i + 1]) for i in range(len(data))) + b"0\r\n\r\n",
        "until-close": b"HTTP/1.0 200 OK\r\n\r\n" + data,
        "byte-by-byte": http(data),
    }

    def behave(peer: Peer) -> None:
        peer.sock.recv(1 << 16)
        step = 1 if body == "byte-by-byte" else 1 << 20
        for at in range(0, len(forms[body]), step):
            peer.send(forms[body][at : at + step])
        peer.finish()

    assert_served(lab.client(asking(lab, lab.target(behave))))


def test_other_members_do_not_matter(lab: Lab) -> None:
    """A newer gateway's answer with more in it is understood."""
    gateway = lab.target(echo)
    api, server = api_of(lab)
    more = {"Status": {"Conditions": [{"Type": "Valid"}], "Listener": {"Port": gateway.port, "Weight": 1.5, "Host": None}}, "Name": "ü", "Extra": [[[]]]}
    api.answers["/imports/svc"] = http(json.dumps(more).encode())
    assert_served(lab.client(asking(lab, server)))


# Not found, at first


def test_import_comes_later(lab: Lab) -> None:
    """A function that is earlier than its import waits, with what it has said, and is served once the import is there."""
    gateway = lab.target(echo)
    api, server = api_of(lab)
    relay = asking(lab, server)
    client = lab.client(relay)
    client.send(b"hello")
    line = relay.wait_log("import-failed", count=2)
    assert line["service"] == "svc" and line["api"] == server.address
    assert line["error"] == "the gateway knows no import of that name"
    api.answers["/imports/svc"] = http(json.dumps({"Name": "svc", "Status": {"Listener": {}}}).encode())
    relay.wait_log("import-failed", error="the gateway has no listener for that import yet")
    api.serve("svc", gateway.port)
    assert client.read(5) == b"hello"


BAD = {
    "nothing": (b"", "the server closed the connection without an answer"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2p1\r\n", "the answer is no HTTP"),
    "binary": (bytes(range(256)), "the answer is no HTTP"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", "in the middle"),
    "half a body": (http(import_of("svc", 9))[:-5], "in the middle"),
    "half a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{", "in the middle"),
    "no JSON": (http(b"<html>hello</html>"), "the gateway's API answered with no JSON"),
    "empty": (http(b""), "the gateway's API answered with no JSON"),
    "an array": (http(b"[30001]"), "no listener"),
    "another shape": (http(b'{"Status": [{"Listener": 5}]}'), "no listener"),
    "port 0": (http(import_of("svc", 0)), "no listener"),
    "port too high": (http(import_of("svc", 65536)), "no listener"),
    "port below 0": (http(import_of("svc", -1)), "no listener"),
    "port as text": (http(b'{"Status": {"Listener": {"Port": "30001"}}}'), "no listener"),
    "port as fraction": (http(b'{"Status": {"Listener": {"Port": 30001.5}}}'), "no listener"),
    "not UTF-8": (http(b'{"Name": "\xff", "Status": {"Listener": {"Port": 30001}}}'), "no JSON"),
    "deep": (http(b"[" * 200_000), "no JSON"),
    "huge": (http(b" " * (1 << 20)), "long"),
    "huge head": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "long"),
    "an error": (http(b"{}", "500 Internal Server Error"), "the gateway's API answered 500"),
    "elsewhere": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "the gateway's API answered 302"),
    "who are you": (http(b"{}", "401 Unauthorized"), "the gateway's API answered 401"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_answer(lab: Lab, what: str) -> None:
    """Whatever the API says, the client waits on, the log has the reason, and the next good answer is taken."""
    data, why = BAD[what]
    gateway = lab.target(echo)
    api, server = api_of(lab)
    api.default = data
    relay = asking(lab, server)
    client = lab.client(relay)
    line = relay.wait_log("import-failed")
    assert why in line["error"], line
    assert "session" in line.fields and line["attempt"] == 1 and line["retry_ms"] > 0
    api.serve("svc", gateway.port)
    assert_served(client)


def test_slow_answer(lab: Lab) -> None:
    """An API that takes the question and says nothing is given up, after twice connect-timeout, and asked again."""
    gateway = lab.target(echo)
    silent = lab.target(stall)
    relay = asking(lab, silent, connect_timeout="100ms")
    client = lab.client(relay)
    line = relay.wait_log("import-failed", count=2)
    assert line["error"] == "no answer in time"
    assert silent.connections >= 2
    client.reset()
    del gateway


def test_slow_drops_do_not_keep_it(lab: Lab) -> None:
    """An API that drips its answer for ever is given up just the same."""
    stop = threading.Event()

    def drip(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while not stop.wait(0.02):
                peer.send(b" ")
        except OSError:
            pass

    relay = asking(lab, lab.target(drip), connect_timeout="200ms")
    lab.client(relay)
    try:
        assert relay.wait_log("import-failed")["error"] == "no answer in time"
    finally:
        stop.set()


def test_api_is_down_then_up(lab: Lab) -> None:
    """While the API cannot be reached the client waits; when it is back, it is served."""
    gateway = lab.target(echo)
    held: Refusing = lab.refusing()
    relay = asking(lab, held)
    client = lab.client(relay)
    assert relay.wait_log("import-failed", count=2)["error"] == "Connection refused"
    api = Api()
    api.serve("svc", gateway.port)
    held.open(api.behave)
    assert_served(client)


def test_api_does_not_answer_connects(lab: Lab) -> None:
    """An API behind a wall that drops everything is given up after connect-timeout."""
    relay = asking(lab, lab.blackhole(), connect_timeout="100ms")
    lab.client(relay)
    assert "connect-timeout" in relay.wait_log("import-failed", count=2)["error"]


def test_client_goes_while_the_api_is_asked(lab: Lab) -> None:
    """A client that leaves in the middle of the asking leaves nothing behind."""
    silent = lab.target(stall)
    relay = asking(lab, silent)
    for _ in range(5):
        count = silent.connections
        client = lab.client(relay)
        until(lambda count=count: silent.connections > count, "the question")  # type: ignore[misc]
        client.reset()
    relay.wait_log("session-end", count=5)
    relay.check_at_rest()


def test_back_off(lab: Lab) -> None:
    """The pause doubles from retry-min to retry-max, shortened by up to half; attempts are counted; /status shows how it stands."""
    _, server = api_of(lab)
    relay = asking(lab, server, retry_min="40ms", retry_max="160ms")
    client = lab.client(relay)
    relay.wait_log("import-failed", count=6)
    lines = relay.find("import-failed")[:6]
    assert [line["attempt"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line, most in zip(lines, (40, 80, 160, 160, 160, 160)):
        assert most / 2 <= line["retry_ms"] <= most
    shown = relay.relay_status()
    assert shown["last_error"]["error"] == f"{server.address}: the gateway knows no import of that name"
    dial = shown["connections"][0]["dial"]
    assert dial["failed"] >= 6 and "no import" in dial["error"]
    assert relay.stats()["dial_failures"] >= 6 and relay.stats()["dials"] == 1
    client.reset()


def test_import_moves(lab: Lab) -> None:
    """The API is asked again before each round: a port that has changed since is dialled at once, and the old one no more."""
    old, new = lab.refusing(), lab.target(echo)
    api, server = api_of(lab)
    api.serve("svc", old.port)
    relay = asking(lab, server)
    client = lab.client(relay)
    line = relay.wait_log("dial-failed", count=2)
    assert (line["target"], line["addr"]) == ("svc", old.address)
    assert [each["attempt"] for each in relay.find("dial-failed")[:2]] == [1, 2]
    assert len(api.asked) >= 2
    api.serve("svc", new.port)
    assert_served(client)
    assert relay.wait_log("dialed")["addr"] == new.address


def test_each_client_asks(lab: Lab) -> None:
    """Two clients at a time are two questions, and each gets where its own answer says."""
    first, second = lab.target(), lab.target()
    api, server = api_of(lab)
    relay = asking(lab, server)
    for target in (first, second):
        api.serve("svc", target.port)
        client = lab.client(relay)
        target.accept().send(b"x")
        assert client.read(1) == b"x"
    assert len(api.asked) == 2


def test_many_clients_are_one_question(lab: Lab) -> None:
    """Clients that come while the API is asked share its answer, and one that has left meanwhile changes nothing."""
    gateway = lab.target(echo)
    api, server = api_of(lab)
    api.go_on.clear()
    api.serve("svc", gateway.port)
    relay = asking(lab, server, pairs=100)
    clients = [lab.client(relay) for _ in range(50)]
    leaver = lab.client(relay)
    relay.wait_stat("clients", "==", 51)
    leaver.reset()
    relay.wait_stat("clients", "==", 50)
    api.go_on.set()
    for client in clients:
        assert_served(client)
    assert api.asked == ["/imports/svc"]


def test_another_api_by_reload(lab: Lab) -> None:
    """A file with another API, read while a client waits, is asked from then on."""
    gateway = lab.target(echo)
    nobody, (api, server) = lab.refusing(), api_of(lab)
    api.serve("svc", gateway.port)
    text = '[[relay]]\nlisten = "127.0.0.1:0"\nname = "r"\ntarget = "svc"\ngateway = "127.0.0.2"\nretry-min = "20ms"\ngateway-api = "http://{}"\n'
    relay = lab.run(text.format(nobody.address)).allow("import-failed")
    client = lab.client(relay)
    relay.wait_log("import-failed")
    lab.file("relay.toml", text.format(server.address))
    assert relay.admin("POST", "/reload").status == 200
    assert_served(client)


def test_reload_of_something_else(lab: Lab) -> None:
    """A client that waits for its import waits on while the file is read again with another limit, path of the API, or name."""
    gateway = lab.target(echo)
    api, server = api_of(lab)
    text = '[[relay]]\nlisten = "127.0.0.1:0"\nname = "r"\ntarget = "svc"\ngateway = "127.0.0.2"\nretry-min = "20ms"\nretry-max = "40ms"\n'
    relay = lab.run(f'{text}gateway-api = "http://{server.address}"\n').allow("import-failed")
    client = lab.client(relay)
    relay.wait_log("import-failed")
    for path in ("/a", "/b", "/c"):
        mark = relay.mark()
        lab.file("relay.toml", f'{text}idle-timeout = "1h"\ngateway-api = "http://{server.address}{path}"\n')
        assert relay.admin("POST", "/reload").status == 200
        until(lambda path=path: f"{path}/imports/svc" in api.asked, "a question there")  # type: ignore[misc]
        relay.wait_log("import-failed", after=mark)
    api.answers["/c/imports/svc"] = http(import_of("svc", gateway.port))
    assert_served(client)


# What the target means


def test_name_with_a_port_is_a_host(lab: Lab) -> None:
    """A target with a port is looked up in the DNS as ever, and the API is not asked."""
    gateway, dns = lab.target(echo), lab.dns()
    dns.add("svc.test", a="127.0.0.1")
    api, server = api_of(lab)
    assert_served(lab.client(asking(lab, server, f"svc.test:{gateway.port}", dns=dns)))
    assert_served(lab.client(asking(lab, server, gateway.address)))
    assert api.asked == []


def test_bare_name_without_an_api_is_a_host(lab: Lab) -> None:
    """Without gateway-api a bare name is a host, dialled at the port that the relay itself listens on."""
    dns = lab.dns()
    dns.add("svc.test", a="127.0.0.7")
    with_port = lab.target(echo, host="127.0.0.7")
    relay = lab.relay(listen="127.0.0.1", port=with_port.port, target="svc.test", dns=dns)
    assert_served(lab.client(relay))
    assert relay.wait_log("dialing")["target"] == f"svc.test:{with_port.port}"


@pytest.mark.parametrize("by", ["address", "name"])
def test_who_is_the_gateway(lab: Lab, by: str) -> None:
    """Without `gateway`, who comes from the API's host is the gateway, be it known by its address or by its name."""
    dns = lab.dns()
    dns.add("gw.test", a="127.0.0.5")
    api, server = api_of(lab, host="127.0.0.5")
    where = server.address if by == "address" else f"gw.test:{server.port}"
    relay = asking(lab, f"http://{where}", listen="127.0.0.1", gateway=None, dns=dns)
    config = command("check", "-c", str(lab.file("c.toml", f'[[relay]]\nport = 9000\ntarget = "svc"\ngateway-api = "http://{where}"\n')))
    assert config.returncode == 0
    peer = lab.gateway(relay, source="127.0.0.5")
    assert relay.wait_log("accepted", peer=peer.local)["role"] == "gateway"
    del api


# TLS


@dataclass
class World:
    ca: Authority
    other: Authority
    gateway: Issued
    relay: Issued
    named: Issued


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="relay-api-"))
    ca, other = Authority(folder, "ca"), Authority(folder, "other")
    yield World(ca, other, ca.issue("gateway", dns=["gw.test"], ip=["127.0.0.1"]), ca.issue("relay", dns=["relay.test"]), ca.issue("named", dns=["gw.test"]))
    shutil.rmtree(folder)


def secure(lab: Lab, context: ssl.SSLContext) -> tuple[Api, Target]:
    api = Api()
    return api, lab.target(over_tls(context, api.behave))


@needs_tls
def test_https(lab: Lab, world: World) -> None:
    """An API with TLS is asked if its certificate is good for its address; the gateway itself is dialled without TLS."""
    gateway = lab.target(echo)
    api, server = secure(lab, server_context(world.gateway))
    api.serve("svc", gateway.port)
    relay = asking(lab, f"https://{server.address}", ca=world.ca.cert)
    assert_served(lab.client(relay))
    assert f"\r\nHost: {server.address}\r\n" in api.heads[0]


@needs_tls
def test_https_by_name(lab: Lab, world: World) -> None:
    """Where the API has a name, that is what its certificate must bear."""
    gateway, dns = lab.target(echo), lab.dns()
    dns.add("gw.test", a="127.0.0.1")
    api, server = secure(lab, server_context(world.named))
    api.serve("svc", gateway.port)
    assert_served(lab.client(asking(lab, f"https://gw.test:{server.port}", ca=world.ca.cert, dns=dns)))
    relay = asking(lab, f"https://{server.address}", ca=world.ca.cert)
    lab.client(relay)
    assert "gw.test" in relay.wait_log("import-failed")["error"]


@needs_tls
def test_https_with_a_stranger(lab: Lab, world: World) -> None:
    """An API whose certificate nobody vouches for is told nothing, and the log says why."""
    api, server = secure(lab, server_context(world.gateway))
    relay = asking(lab, f"https://{server.address}", ca=world.other.cert)
    lab.client(relay)
    assert "certificate" in relay.wait_log("import-failed", count=2)["error"]
    assert api.asked == []


@needs_tls
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_mutual_tls(lab: Lab, world: World, version: str) -> None:
    """An API that wants a certificate gets the relay's; without one the log says that it was refused."""
    gateway = lab.target(echo)
    api, server = secure(lab, server_context(world.gateway, world.ca.cert, version=version))
    api.serve("svc", gateway.port)
    url = f"https://{server.address}"
    assert_served(lab.client(asking(lab, url, ca=world.ca.cert, cert=world.relay.cert, key=world.relay.key)))
    relay = asking(lab, url, ca=world.ca.cert)
    lab.client(relay)
    assert re.search("certificate|alert|handshake", relay.wait_log("import-failed", count=2)["error"])
    assert len(api.asked) == 1


@needs_tls
def test_api_and_gateway_with_tls(lab: Lab, world: World) -> None:
    """tls:// before the service's name: the gateway is dialled with TLS, and has to have a good certificate as well."""
    gateway = lab.target(over_tls(server_context(world.gateway), lambda peer: peer.send(b"hello")))
    api, server = secure(lab, server_context(world.gateway))
    api.serve("svc", gateway.port)
    relay = asking(lab, f"https://{server.address}", "tls://svc", ca=world.ca.cert)
    assert lab.client(relay).read(5) == b"hello"
    assert api.asked == ["/imports/svc"]
    relay.wait_log("handshake", name="gw.test")


@needs_tls
def test_functions_with_tls_and_an_api(lab: Lab, world: World) -> None:
    """A relay that has TLS for its functions asks an API with TLS as well: one pair of certificate and key, two trusts."""
    gateway = lab.target(echo)
    api, server = secure(lab, server_context(world.gateway))
    api.serve("svc", gateway.port)
    relay = asking(lab, f"https://{server.address}", listen="tls://127.0.0.1", ca=world.ca.cert, cert=world.gateway.cert, key=world.gateway.key,
                   gateway_listen="127.0.0.1", gateway_port=0, gateway=None)
    from harness.peers.tls import TlsPeer  # pylint: disable=import-outside-toplevel

    client = lab.add(TlsPeer(relay.connect("client", CLIENT), client_context(world.ca.cert), name="127.0.0.1"))
    assert_served(client)


# Faults


@pytest.mark.parametrize("url, why", [
    ("10.0.0.5:8080", "begins with neither http:// nor https://"),
    ("ftp://10.0.0.5", "begins with neither"),
    ("http://", ""),
    ("http://10.0.0.5:0", ""),
    ("http://10.0.0.5:70000", ""),
    ("http://user:secret@10.0.0.5", "password"),
    ("http://10.0.0.5/a b", "path"),
    ("http://10.0.0.5/a?b", "path"),
    ("http://[::1", ""),
    ("http://_api._tcp.example", "host"),
    ("http://unix:/run/api", ""),
])
def test_wrong_url(lab: Lab, url: str, why: str) -> None:
    """A URL that is none is a fault with its line and an example, and not a relay that fails at its first client."""
    done = command("check", "-c", str(lab.file("c.toml", f'[[relay]]\nport = 9000\ntarget = "svc"\ngateway-api = "{url}"\n')))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(r"c\.toml:4: ", line) and why in line and "http://10.0.0.5:8080" in line, line
    assert "secret" not in line


def test_keys_that_do_not_fit(lab: Lab) -> None:
    """TLS keys without TLS anywhere are faults; a bare name without port and API says both remedies."""
    def check(text: str) -> str:
        done = command("check", "-c", str(lab.file("c.toml", "[[relay]]\n" + text)))
        assert done.returncode == 2, done.stdout
        return done.stderr

    assert "ca is for" in check('port = 9000\ntarget = "svc"\ngateway-api = "http://10.0.0.5"\nca = "/x"\n')
    said = check('listen = "unix:/tmp/x"\ntarget = "svc"\n')
    assert "svc:PORT" in said and "gateway-api" in said
    if has_tls():
        assert "/does/not/exist" in check('port = 9000\ntarget = "svc"\ngateway-api = "https://10.0.0.5"\nca = "/does/not/exist"\n')


def test_check_shows_it(lab: Lab) -> None:
    """`relay check` shows the API, and the service as it was written; the file that it prints is one."""
    path = lab.file("c.toml", '[[relay]]\nport = 9000\ntarget = "svc"\ngateway-api = "http://gw.example/api"\n')
    done = command("check", "-c", str(path))
    assert done.returncode == 0, done.stderr
    assert 'gateway-api = "http://gw.example/api"' in done.stdout and 'target = "svc"' in done.stdout
    again = command("check", "-c", str(lab.file("again.toml", done.stdout)))
    assert again.returncode == 0 and again.stderr == ""


