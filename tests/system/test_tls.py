"""A server that ends TLS itself: its certificate, senders that must show one, and secrets that change while it runs."""

from __future__ import annotations

import json
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from foreshock.core.errors import ConfigError
from foreshock.service.settings import load_settings
from foreshock.testing.servers import ForeshockServer, eventually

EVENT = [{"labels": {"alertname": "Full"}}]
TOKEN, NEW_TOKEN = "token-of-the-shop-12345", "token-of-the-shop-67890"
ANN = "ann-0123456789abcdef0123456789"


class Authority:
    """Makes certificates, PEM, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed(self._name, self._key, None, ca=True).public_bytes(Encoding.PEM))

    def certificate(self, name: str, *alternatives: x509.GeneralName, file: str = "") -> tuple[Path, Path]:
        """Files with a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate, secret = (self._folder / f"{file or name}{suffix}" for suffix in (".crt", ".key"))
        certificate.write_bytes(self._signed(subject, key, alternatives).public_bytes(Encoding.PEM))
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        secret.chmod(0o600)
        return certificate, secret

    def _signed(self, subject: x509.Name, key: Any, alternatives: Any, *, ca: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class Https(ForeshockServer):
    """As a client that trusts the authority sees it."""

    def __init__(self, authority: Authority, **options: Any) -> None:
        super().__init__(**options)
        self._authority = authority

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def say(self, path: str, *, pair: tuple[Path, Path] | None = None, body: Any = EVENT, **headers: str) -> int:
        context = ssl.create_default_context(cafile=self._authority.file)
        if pair is not None:
            context.load_cert_chain(*pair)
        sent = {"Content-Type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, sent), context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def serial(self) -> bytes:
        """Which certificate it shows."""
        return ssl.get_server_certificate(("127.0.0.1", self.port)).encode()

    def _answers(self, path: str) -> bool:
        try:
            return self.say(path, body=None) == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def server(authority: Authority, folder: Path) -> Iterator[Https]:
    certificate, key = authority.certificate("server", x509.IPAddress(ip_address("127.0.0.1")))
    config = {
        "tls": {"certificate": str(certificate), "key": str(key), "client_ca": str(authority.file)},
        "tokens_file": write(folder / "tokens", f"ann {ANN}"),
        "trusted_proxies": ["127.0.0.1"],
        "collectors": [
            {"name": "dc1", "kind": "alertmanager", "client_names": ["prom.dc1.example.com"]},
            {"name": "shop", "kind": "events", "token_files": [write(folder / "shop", TOKEN)]},
            {"name": "far", "kind": "events", "token_files": [str(folder / "shop")], "allow_from": ["192.0.2.0/24"]},
        ],
    }
    with Https(authority, config=config) as server:
        yield server


def test_a_sender_is_known_by_the_name_in_its_certificate(server: Https, authority: Authority):
    right = authority.certificate("a host", x509.DNSName("prom.dc1.example.com"))
    by_common_name = authority.certificate("prom.dc1.example.com")
    wrong = authority.certificate("prom.dc2.example.com")

    assert server.say("/s/dc1/api/v2/alerts", pair=right) == 200
    assert server.say("/s/dc1/api/v2/alerts", pair=by_common_name) == 200
    assert server.say("/s/dc1/api/v2/alerts", pair=wrong) == 401
    assert server.say("/s/dc1/api/v2/alerts") == 401
    assert server.say("/s/dc1/api/v2/alerts", Authorization=f"Bearer {ANN}") == 401
    assert server.say("/api/v1/status", body=None, pair=right) == 401, "it opens its own way in and nothing else"


def test_a_certificate_of_another_authority_gets_no_connection(server: Https, tmp_path: Path):
    foreign = Authority(tmp_path).certificate("prom.dc1.example.com")

    with pytest.raises(OSError, match=r"(?i)ssl|reset|closed|broken"):
        server.say("/s/dc1/api/v2/alerts", pair=foreign)


def test_where_a_call_came_from_a_trusted_proxy_says(server: Https):
    def status(**headers: str) -> int:
        event = [{"title": "a", "labels": {"host": "h"}}]
        return server.say("/s/far/api/v1/events", body=event, Authorization=f"Bearer {TOKEN}", **headers)

    assert status(X_Forwarded_For="203.0.113.9, 192.0.2.9") != 401
    assert status(X_Forwarded_For="192.0.2.9, 203.0.113.9") == 401
    assert status() == 401


def test_secrets_tokens_and_the_certificate_are_read_again(server: Https, authority: Authority, folder: Path):
    path, before = "/s/shop/api/v1/events", server.serial()
    assert server.say(path, Authorization=f"Bearer {TOKEN}") != 401

    write(folder / "shop", NEW_TOKEN)
    write(folder / "tokens", f"bob {NEW_TOKEN}-of-bob")
    authority.certificate("server", x509.IPAddress(ip_address("127.0.0.1")))
    assert server.pid is not None
    server._process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]

    eventually(lambda: server.say(path, Authorization=f"Bearer {NEW_TOKEN}") != 401)
    assert server.say(path, Authorization=f"Bearer {TOKEN}") == 401
    assert server.say("/api/v1/status", body=None, Authorization=f"Bearer {NEW_TOKEN}-of-bob") == 200
    assert server.say("/api/v1/status", body=None, Authorization=f"Bearer {ANN}") == 401
    eventually(lambda: server.serial() != before)


def test_a_secret_that_became_readable_for_all_leaves_all_as_it_is_and_is_told(server: Https, folder: Path):
    write(folder / "shop", NEW_TOKEN)
    (folder / "shop").chmod(0o644)
    try:
        server._process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
        eventually(lambda: f"chmod 600 {folder / 'shop'}" in server.log)
    finally:
        (folder / "shop").chmod(0o600)


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda files: files["key"].chmod(0o644), "tls.key: cannot be used: others may use it"),
        (lambda files: files["certificate"].write_text("nothing"), "tls.certificate: cannot be used"),
        (lambda files: files["key"].unlink(), "tls.key: cannot be used"),
        (lambda files: files["client_ca"].write_text("nothing"), "tls.client_ca: cannot be used"),
    ],
)
def test_files_that_cannot_be_used_are_told_before_the_start(tmp_path: Path, break_it: Any, told: str):
    certificate, key = Authority(tmp_path).certificate("server")
    files = {"certificate": certificate, "key": key, "client_ca": tmp_path / "ca.pem"}
    break_it(files)
    config = tmp_path / "foreshock.yaml"
    config.write_text(json.dumps({"tls": {name: str(path) for name, path in files.items()}}))

    with pytest.raises(ConfigError) as error:
        load_settings(config, {}, {})

    assert told in str(error.value)


def test_who_asks_for_client_certificates_must_say_whose_count(tmp_path: Path):
    config = tmp_path / "foreshock.yaml"
    config.write_text(json.dumps({"collectors": [{"name": "dc1", "kind": "events", "client_names": ["a"]}]}))

    with pytest.raises(ConfigError) as error:
        load_settings(config, {}, {})

    assert "nobody can show a client certificate here; set tls.client_ca" in str(error.value)
