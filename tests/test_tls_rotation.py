# SPDX-License-Identifier: Apache-2.0
"""Certificates are changed without a restart: SIGHUP."""

import shutil
import signal
from pathlib import Path

import pytest

from harness.certs import Authority, client_context, server_context
from harness.lab import CLIENT, Lab
from harness.peers.target import echo
from harness.peers.tls import TlsPeer, over_tls, tls_echo
from harness.process import Relay, has_tls


@pytest.fixture(autouse=True)
def _built_with_tls() -> None:
    if not has_tls():
        pytest.skip("built without TLS")


def relay_with(lab: Lab, folder: Path) -> Relay:
    return lab.run(
        f'log-level = "debug"\n[[relay]]\nlisten = "tls://127.0.0.1:0"\ngateway-listen = "127.0.0.1:0"\ngateway = "127.0.0.2"\npairs = 4\n'
        f'target = "{lab.target(echo).address}"\ncert = "{folder}/now.pem"\nkey = "{folder}/now.key"\n'
    )


def install(folder: Path, cert: Path, key: Path) -> None:
    shutil.copy(cert, folder / "now.pem")
    shutil.copy(key, folder / "now.key")


def serial(peer: TlsPeer) -> str:
    return peer.tls.getpeercert()["serialNumber"]  # type: ignore[index, return-value]


def test_new_certificates_at_sighup(lab: Lab, tmp_path: Path) -> None:
    """After SIGHUP who comes is shown the new certificate; who is there goes on with the old one."""
    ca = Authority(tmp_path, "ca")
    first, second = ca.issue("first", dns=["localhost"]), ca.issue("second", dns=["localhost"])
    install(tmp_path, first.cert, first.key)
    relay = relay_with(lab, tmp_path)
    context = client_context(ca.cert)
    old = lab.add(TlsPeer(relay.connect("client", CLIENT), context, name="localhost"))
    install(tmp_path, second.cert, second.key)
    mark = relay.mark()
    relay.signal(signal.SIGHUP)
    relay.wait_log("reloaded", after=mark)
    new = lab.add(TlsPeer(relay.connect("client", CLIENT), context, name="localhost"))
    assert serial(old) != serial(new)  # type: ignore[arg-type]
    for peer in (old, new):
        peer.send(b"hello")
        assert peer.read(5) == b"hello"


def test_bad_certificates_at_sighup(lab: Lab, tmp_path: Path) -> None:
    """A file that is half written changes nothing: the fault is logged, and the old certificate serves on."""
    ca = Authority(tmp_path, "ca")
    first = ca.issue("first", dns=["localhost"])
    install(tmp_path, first.cert, first.key)
    relay = relay_with(lab, tmp_path).allow("reload-failed", "config-fault")
    (tmp_path / "now.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    mark = relay.mark()
    relay.signal(signal.SIGHUP)
    relay.wait_log("reload-failed", after=mark)
    client = lab.add(TlsPeer(relay.connect("client", CLIENT), client_context(ca.cert), name="localhost"))
    client.send(b"hello")
    assert client.read(5) == b"hello"


def test_tls_comes_with_a_reload(lab: Lab, tmp_path: Path) -> None:
    """A relay that has begun without TLS, and has given its tables back to the kernel, listens and dials with it after a reload."""
    ca = Authority(tmp_path, "ca")
    server = ca.issue("server", dns=["localhost"], ip=["127.0.0.1"])
    plain, secret = lab.target(echo), lab.target(over_tls(server_context(server), tls_echo))
    text = 'log-level = "debug"\n[[relay]]\nname = "{}"\nlisten = "{}127.0.0.1:0"\ngateway = "127.0.0.2"\npairs = 4\ntarget = "{}"\n'
    relay = lab.run(text.format("plain", "", plain.address))
    client = lab.client(relay)
    client.send(b"hello")
    assert client.read(5) == b"hello"
    for _ in range(2):  # nor are they given back by the second
        keys = f'cert = "{server.cert}"\nkey = "{server.key}"\nca = "{ca.cert}"\n'
        lab.file("relay.toml", text.format("secret", "tls://", f"tls://{secret.address}") + keys)
        assert relay.reload().status == 200
        relay.wait_log("listening", relay="secret")
        peer = lab.add(TlsPeer(relay.connect("client", CLIENT, relay="secret"), client_context(ca.cert), name="localhost"))
        peer.send(b"hello")
        assert peer.read(5) == b"hello"


def test_wrong_admin_certificate_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    """A certificate of the admin socket that does not load is a fault of the reload like any other: nothing else is taken into use."""
    ca = Authority(tmp_path, "ca")
    first, second = ca.issue("first", dns=["localhost"]), ca.issue("second", dns=["localhost"])
    install(tmp_path, first.cert, first.key)
    words = ["--admin", "tls:127.0.0.1:0", "--admin-cert", f"{tmp_path}/now.pem", "--admin-key", f"{tmp_path}/now.key"]
    table = '[[relay]]\nname = "a"\nlisten = "127.0.0.1"\nport = 0\ntarget = "127.0.0.1:9"\n'
    relay = lab.start("run", "-c", str(lab.file("relay.toml", table)), *words).allow("config-fault", "reload-failed")
    install(tmp_path, first.cert, second.key)
    lab.file("relay.toml", table + "pairs = 3\n")
    relay.signal(signal.SIGHUP)
    relay.wait_log("reload-failed", faults=1)
    fault = relay.wait_log("config-fault", where="--admin-key")
    assert "is not the key of the certificate" in str(fault["what"])
    assert not relay.find("reloaded")
    install(tmp_path, second.cert, second.key)
    relay.signal(signal.SIGHUP)
    relay.wait_log("reloaded", changed=1)
    with lab.at(relay.admin_place).sock as sock, client_context(ca.cert).wrap_socket(sock, server_hostname="localhost") as peer:
        assert peer.getpeercert()["subject"] == ((("commonName", "second"),),)  # type: ignore[index]
