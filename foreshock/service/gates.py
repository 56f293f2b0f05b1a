"""Who may post for which source: what each proves about itself, from its entry in `collectors`.

All that is configured must hold: the network, the client certificate, the token, the signature. A source without an
entry is let in by who may use the API; one that proves itself needs no token of the API, and opens nothing else with
what it shows. Whatever is wrong, the sender hears the same; what it was, our log and the status say.
"""

import asyncio
import base64
import binascii
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from foreshock.connect.proofs import AHEAD, Unproven, matching, proven
from foreshock.connect.selecting import Meter
from foreshock.core.contracts import Collector
from foreshock.core.errors import ConfigError, Denied, Malformed, Problem, Rejected, Unavailable
from foreshock.service.settings import CollectorInstance
from foreshock.service.tokens import secrets_of

Fetch = Callable[[str, str], Awaitable[bytes]]
"""What is at an address, through a proxy if one is named. Raises ForeshockError."""
CLIENT_NAMES = "foreshock.client_names"
"""In an ASGI scope: the names in the certificate the other side has shown."""

_MAX_REMEMBERED = 10_000
_MAX_CERTIFICATES = 16
_MAX_FETCHED_BYTES = 64 * 1024


class Gate:
    """The way in of one source.

    Attributes:
        config: its settings; None where it has no entry, and its kind cannot do without.
        prepared: what goes to ``Receive.head``: the settings, or what the kind makes of them and the files they name.
        proves_itself: nobody gets in without a proof of this source's own.
        proxy: through which we fetch what its calls refer to.
        checks_body: the body itself must be proven. reads_headers: something needs the headers.
        meter: which points that are posted are kept, and what is known of their counters; None where its kind posts
            none.
        used: calls by what proved them, such as ``token 1``: while one secret takes the place of another it shows when
            nobody uses the old one any more. What stands there twice begins at 0.
    """

    def __init__(
        self,
        collector: Collector,
        config: Any,
        tokens: Sequence[str] = (),
        secrets: Sequence[str] = (),
        *,
        fetch: Fetch,
    ) -> None:
        receive = collector.receive
        assert receive is not None
        self.collector, self.config, self._tokens, self._secrets, self._fetch = (
            collector,
            config,
            tokens,
            secrets,
            fetch,
        )
        self.prepared = config
        self.meter = None if receive.measured is None else Meter(getattr(config, "metrics", ()))
        self.proxy: str = getattr(config, "proxy", "")
        self._networks = [ip_network(text) for text in getattr(config, "allow_from", ())]
        self._client_names = frozenset(getattr(config, "client_names", ()))
        self._certified, self._signed = receive.certified, receive.signed
        self._headers = ("x-foreshock-token", *filter(None, (receive.token_header,)))
        self._query = receive.token_query
        self.proves_itself = bool(tokens or secrets or self._client_names or self._certified)
        self.checks_body = bool(secrets or self._certified)
        self.reads_headers = self.checks_body or receive.head is not None or receive.handshake is not None
        self._texts = receive.texts if self.proves_itself else ()
        self.used: Counter[str] = Counter()
        for sort, given in (("token", tokens), ("secret", secrets)):
            self.used.update({f"{sort} {place}": 0 for place in range(1, len(given) + 1) if len(given) > 1})
        keep = self._signed.max_age + AHEAD if self._signed is not None and self._signed.sent_at is not None else None
        self.seen = None if keep is None or not secrets else Seen(keep)

    def admit(self, scope: Mapping[str, Any]) -> None:
        """What can be said before the body is read. Raises Unproven."""
        if self.config is None:
            raise Unproven("unknown", f"a source of kind {self.collector.kind} needs an entry in `collectors`")
        if self._networks and not self._is_allowed(scope.get("client")):
            where = (scope.get("client") or ("an unknown address",))[0]
            raise Unproven("network", f"{where} is not in allow_from (behind a proxy: set trusted_proxies)")
        if self._client_names and self._client_names.isdisjoint(scope.get(CLIENT_NAMES, ())):
            shown = ", ".join(sorted(scope.get(CLIENT_NAMES, ()))) or "none"
            raise Unproven("certificate", f"a client certificate of client_names is needed; shown: {shown[:200]}")
        if self._tokens:
            found = matching(self._shown(scope), self._tokens)
            if found is None:
                raise Unproven("token", "no token that token_files holds was shown: check the token on both sides")
            self.used[f"token {found + 1}"] += 1

    def takes(self, sort: str) -> bool:
        """Whether it may be of this content type, which a browser sends across sites without asking first."""
        return sort in self._texts

    def follow(self, before: "Gate") -> None:
        """Take over what this source has shown so far: what was taken stays taken."""
        if before.seen is not None and self.seen is not None:
            self.seen = before.seen
        if (before._tokens, before._secrets) == (self._tokens, self._secrets):
            self.used = before.used
        if self.meter is not None and before.meter is not None and self.meter.selected == before.meter.selected:
            self.meter = before.meter

    async def check(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """What the body itself must prove; the signature, empty where there is none that is made anew for each call.
        Raises Unproven; Unavailable where what it takes cannot be fetched now."""
        if self._certified is not None:
            try:
                certificate = await self._fetch(self._certified.certificate(body), self.proxy)
                why_not = self._certified.unproven(self.config, certificate, body)
            except Malformed as error:
                why_not = str(error)
            if why_not:
                raise Unproven("signature", why_not)
        if self._secrets:
            assert self._signed is not None
            found, given = proven(self._signed, self._secrets, headers, body, now)
            self.used[f"secret {found + 1}"] += 1
            return given
        return ""

    def _is_allowed(self, client: Any) -> bool:
        try:
            address = ip_address(client[0])
        except (TypeError, ValueError, LookupError):
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def _shown(self, scope: Mapping[str, Any]) -> list[str]:
        shown: list[str] = []
        for name, value in scope["headers"]:
            if name == b"authorization":
                shown.append(_credential(value))
            elif name.decode("latin-1") in self._headers:
                shown.append(value.decode("latin-1").strip())
        if self._query:
            pairs = parse_qsl(scope.get("query_string", b"").decode("latin-1"), max_num_fields=20)
            shown += [value for name, value in pairs if name == self._query]
        return shown[:8]


class Gates:
    """The gates of all sources that are posted to.

    Args:
        fetch: gets what calls that are ``certified`` refer to.
    Raises:
        ConfigError: with every file that cannot be read, and every entry that asks for what its kind cannot do.
    """

    def __init__(self, instances: Iterable[CollectorInstance], kinds: Mapping[str, Collector], fetch: Fetch) -> None:
        self._open = {
            kind: _gate(collector, kind, None if collector.receive.certified else _defaults(collector), fetch=fetch)
            for kind, collector in kinds.items()
            if collector.receive is not None
        }
        self.named: dict[str, Gate] = {}
        problems: list[Problem] = []
        for instance in instances:
            collector = kinds[instance.kind]
            if collector.receive is None:
                continue
            try:
                tokens, secrets = secrets_of(instance.name, instance.config, collector)
                self.named[instance.name] = _gate(
                    collector, instance.name, instance.config, tokens, secrets, fetch=fetch
                )
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)

    def follow(self, before: "Gates") -> None:
        """Take the place of others after a reload."""
        for name, gate in self.named.items():
            if name in before.named:
                gate.follow(before.named[name])

    def of(self, collector: Collector, source: str) -> Gate:
        """Raises Unproven where that source is of another kind."""
        gate = self.named.get(source)
        if gate is None:
            return self._open[collector.kind]
        if gate.collector is not collector:
            receive = gate.collector.receive
            path = receive.path if receive else ""
            raise Unproven("kind", f"{source} is of kind {gate.collector.kind}: post to /s/{source}{path}")
        return gate


def _gate(
    collector: Collector,
    name: str,
    config: Any,
    tokens: Sequence[str] = (),
    secrets: Sequence[str] = (),
    *,
    fetch: Fetch,
) -> Gate:
    """Raises ConfigError for a file that its settings name."""
    gate = Gate(collector, config, tokens, secrets, fetch=fetch)
    if collector.receive is not None and collector.receive.prepare is not None and config is not None:
        gate.prepared = collector.receive.prepare(name, config)
    return gate


def _defaults(collector: Collector) -> Any:
    """Settings of a source without an entry; None where there is a setting that has no default."""
    try:
        return collector.config()
    except ValidationError:
        return None


def _credential(header: bytes) -> str:
    """Of ``Authorization``: the token of Bearer, the password of Basic, or what stands there."""
    scheme, _, rest = header.decode("latin-1").strip().partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2].decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return ""
    return rest.strip() if rest else scheme


class Seen:
    """Proofs of calls that were taken, as long as they could be sent again."""

    def __init__(self, keep: timedelta) -> None:
        self._keep = keep
        self._proofs: OrderedDict[str, datetime] = OrderedDict()

    def __contains__(self, proof: str) -> bool:
        return proof in self._proofs

    def add(self, proof: str, now: datetime) -> bool:
        """Whether it is new."""
        while self._proofs and (
            len(self._proofs) >= _MAX_REMEMBERED or next(iter(self._proofs.values())) < now - self._keep
        ):
            self._proofs.popitem(last=False)
        if proof in self._proofs:
            return False
        self._proofs[proof] = now
        return True


async def fetch(url: str, proxy: str) -> bytes:
    """The address was checked by the kind whose calls named it; no redirect is followed. Raises Unavailable."""

    def get() -> bytes:
        from foreshock.connect.http import Http

        try:
            return Http("webhook", url, proxy=proxy, max_body_bytes=_MAX_FETCHED_BYTES, read_timeout_s=10).get("").body
        except (Denied, Rejected) as error:
            raise Unavailable(str(error)) from None

    return await asyncio.to_thread(get)


class Fetched:
    """Remembers what was fetched: a product signs thousands of calls with one certificate."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: OrderedDict[str, bytes] = OrderedDict()

    async def __call__(self, url: str, proxy: str) -> bytes:
        if url not in self._known:
            content = await self._fetch(url, proxy)
            while len(self._known) >= _MAX_CERTIFICATES:
                self._known.popitem(last=False)
            self._known[url] = content
        return self._known[url]
