"""TLS of our own server, for who runs it without a proxy: its certificate, and those of senders who show one."""

import ssl
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foreshock.core.errors import ConfigError, Problem
from foreshock.service.gates import CLIENT_NAMES

_NAMES = ("DNS", "URI", "email", "IP Address")


def context_of(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """What the server speaks: TLS 1.2 and newer. Whose certificate is of ``client_ca`` may show it, nobody must: who
    must, a source says. Raises ConfigError naming the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, certificate, key)
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:  # ssl.SSLError is one
            raise _wrong(client_ca, "tls.client_ca", error, "write authorities in PEM") from None
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have new connections see this certificate. Raises ConfigError naming the file."""
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
        certificate.open("rb").close()
    except OSError as error:
        place = "tls.key" if error.filename == str(key) else "tls.certificate"
        hint = "make it readable for the account that Foreshock runs as"
        raise _wrong(Path(error.filename), place, error, hint) from None
    if mode & stat.S_IRWXO:
        raise _wrong(key, "tls.key", f"others may use it (mode {mode:04o})", f"chmod 600 {key}")
    try:
        context.load_cert_chain(certificate, key, password="")  # not asked for
    except OSError as error:
        hint = "both are PEM, the certificate with its chain, the key its own and without a passphrase"
        raise _wrong(certificate, "tls.certificate", error, hint) from None


def _wrong(path: Path, place: str, what: object, hint: str) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=None, path=place, message=f"cannot be used: {what}", hint=hint)])


def names_in(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Who a verified certificate, as ``SSLSocket.getpeercert`` tells it, says its owner is: common name and alternative
    names."""
    if not certificate:
        return frozenset()
    names = {value for sort, value in certificate.get("subjectAltName", ()) if sort in _NAMES}
    parts = [part for each in certificate.get("subject", ()) for part in each]
    return frozenset(names | {value for sort, value in parts if sort == "commonName"})


def naming(base: type[Any]) -> type[Any]:
    """uvicorn's protocol, which tells the application nothing of the client's certificate, made to tell."""

    class Naming(base):  # type: ignore[misc]
        app: Any

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            names = names_in(transport.get_extra_info("peercert"))
            if names:
                self.app = _with_names(self.app, names)

    return Naming


def _with_names(app: Callable[..., Any], names: frozenset[str]) -> Callable[..., Any]:
    async def named(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope[CLIENT_NAMES] = names
        await app(scope, receive, send)

    return named
