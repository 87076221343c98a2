# SPDX-License-Identifier: Apache-2.0
"""Certificates for a test, made on the spot by python3-cryptography: authorities, and what they vouch for.

    ca = Authority(folder, "ca");   server = ca.issue("relay", dns=["localhost"], ip=["127.0.0.1"]);   server.cert, server.key
"""

import datetime
import ipaddress
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """Two PEM files."""

    cert: Path
    key: Path


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> None:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))


class Authority:
    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.cert = folder / f"{name}.pem"
        now = datetime.datetime.utcnow()
        made = (
            x509.CertificateBuilder()
            .subject_name(self._name).issuer_name(self._name).public_key(self._key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - 30 * DAY).not_valid_after(now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(
        self, name: str, *, dns: Iterable[str] = (), ip: Iterable[str] = (), uri: Iterable[str] = (), days: float = 30, file: str = "",
        passphrase: bytes | None = None,
    ) -> Issued:
        """Valid from ten days ago for `days` from now; negative: it has expired so long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.utcnow()
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in dns]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in ip]
        names += [x509.UniformResourceIdentifier(each) for each in uri]
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name)).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - 10 * DAY).not_valid_after(now + days * DAY)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        issued = Issued(self.folder / f"{file or name}.pem", self.folder / f"{file or name}.key")
        issued.cert.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        _write_key(issued.key, key, passphrase)
        return issued


def client_context(ca: Path | None, own: Issued | None = None, version: str = "") -> ssl.SSLContext:
    """For a client that trusts `ca` (None: it asks for nothing), has `own`, and speaks only that version, 1.2 or 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    return _finish(context, own, version)


def server_context(own: Issued, ca: Path | None = None, version: str = "") -> ssl.SSLContext:
    """For a server that is `own`, and wants a certificate from its clients if there is a `ca`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ca is not None:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return _finish(context, own, version)


def _finish(context: ssl.SSLContext, own: Issued | None, version: str) -> ssl.SSLContext:
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    if version:
        context.minimum_version = context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    return context


def stand_in(text: str, folder: Path) -> str:
    """A configuration with files in /etc/relay, as one that loads: each `.pem` and `.key` there is made in `folder`."""
    if "/etc/relay/" not in text:
        return text
    ca = Authority(folder, "ca")
    ca.issue("relay", dns=["relay.example"])
    for name in set(re.findall(r"/etc/relay/([\w-]+)-ca\.pem", text)):
        (folder / f"{name}-ca.pem").write_bytes(ca.cert.read_bytes())
    return text.replace("/etc/relay/", f"{folder}/")
