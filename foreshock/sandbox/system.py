"""What a stand-in of an ITSM system or a CMDB is made of. One file in this folder is one system; its name is the kind
of the sink and of the source that can be tried on it."""

import base64
import binascii
import hashlib
import importlib
import json
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

from msgspec import Struct, structs

from foreshock.sandbox.faults import Fault

Clock = Callable[[], datetime]


def real_time() -> datetime:
    return datetime.now(UTC)


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request.

    Attributes:
        query: as sent, without the question mark. headers: names in lower case. base: scheme and host it was sent to.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    base: str

    @property
    def parameters(self) -> dict[str, str]:
        """Of the query; of a repeated one the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    def json(self) -> Any:
        """The body as JSON, None where it is empty. Raises ValueError."""
        return json.loads(self.body) if self.body.strip() else None

    @property
    def basic(self) -> tuple[str, str]:
        """User and password of basic authentication; empty texts where there is none."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return (user, password) if scheme == "Basic" else ("", "")


class Reply(Struct, frozen=True, kw_only=True):
    """What a system answers.

    Attributes:
        body: JSON-able, text, bytes, or None for no body at all.
        effects: what the request changed there, for the ledger: first word the type of record, then its number, what
            happened, and our key (``incident INC0010001 created S-1``).
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}
    effects: tuple[str, ...] = ()

    def encoded(self) -> tuple[bytes, str]:
        """Bytes and content type."""
        if self.body is None:
            return b"", ""
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/html;charset=UTF-8"
        return json.dumps(self.body).encode(), "application/json;charset=UTF-8"


class Held(Struct, frozen=True, kw_only=True):
    """A ticket as the system holds it now, in words that all systems share, for checks.

    Attributes:
        key: ours. state: "open", "resolved" or "closed". notes: oldest first. texts: every text a person may see of it.
        links: numbers of records it is linked to (the problem, the incident it follows).
    """

    number: str
    key: str
    state: str
    title: str
    notes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    type: str = "incident"


class System(Protocol):
    """One stand-in. It is called by one thread at a time. One that holds CIs is a ``sandbox.cmdb.CmdbSystem`` too."""

    def handle(self, request: Request) -> Reply:
        """Answer one request, and do what it asks."""

    def refuse(self, fault: Fault) -> Reply:
        """ERROR, LIMITED, DENIED or FORBIDDEN in the system's own shape."""

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        """What a person does in the system's own pages.

        action: take (assign to the actor), assign (to the group ``text``), comment, wait (``text`` says why), resume,
        resolve, reopen, close, retitle (``text`` as title), delete. Raises KeyError for an unknown number.
        """

    def held(self) -> list[Held]:
        """All tickets and problems, oldest first."""


class Refused(Exception):
    """A request is not carried out. reply: what is answered instead."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply.status))
        self.reply = reply


class Answering(ABC):
    """How every stand-in handles a request: a refusal in the middle is an answer too, and ``_effects`` go with it."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._effects: list[str] = []

    def handle(self, request: Request) -> Reply:
        self._effects = []
        try:
            reply = self._routed(request)
        except Refused as refused:
            reply = refused.reply
        return structs.replace(reply, effects=tuple(self._effects))

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        """Of a system that keeps no tickets; the others say it themselves."""
        raise KeyError(number)

    def held(self) -> list[Held]:
        return []

    @abstractmethod
    def _routed(self, request: Request) -> Reply:
        """Carry out one request. Raises Refused."""


class Call(Struct, frozen=True, kw_only=True):
    """What a system posts to its webhook when somebody did something."""

    headers: Mapping[str, str]
    body: bytes


def token_call(number: str, now: datetime, secret: str) -> Call:
    """As a rule or workflow posts it where an administrator wrote it so: with the secret as it is, nothing signed."""
    return Call(headers={"X-Foreshock-Token": secret}, body=json.dumps({"number": number}).encode())


class Simulator(Struct, frozen=True, kw_only=True):
    """Declaration of a stand-in, as ``SIMULATOR`` in its file.

    Attributes:
        kind: of the sink or source that it stands in for; the file's name.
        build: a fresh system; its arguments are the clock and a seed. With ``source_settings`` it is a ``CmdbSystem``.
        settings: configuration of a sink for it, for the address it listens at: keys of the sink's own settings. Files
            that it needs (passwords, mode 0600) are written into the folder that is given. None: it keeps no tickets.
        source_settings: the same of a CMDB source. None: it holds no CIs.
        variants: further settings of a sink by name, for another edition of the system that the same stand-in serves.
        call: what it posts to its webhook, for the number of a ticket, the time and the webhook's secret.
    """

    kind: str
    title: str
    build: Callable[[Clock, int], System]
    settings: Callable[[str, Path], Mapping[str, Any]] | None = None
    source_settings: Callable[[str, Path], Mapping[str, Any]] | None = None
    variants: Mapping[str, Callable[[str, Path], Mapping[str, Any]]] = {}
    call: Callable[[str, datetime, str], Call] = token_call


def simulators() -> dict[str, Simulator]:
    """Every stand-in in this folder, by kind."""
    import foreshock.sandbox

    found = {}
    for module in pkgutil.iter_modules(foreshock.sandbox.__path__):
        declared = getattr(importlib.import_module(f"{foreshock.sandbox.__name__}.{module.name}"), "SIMULATOR", None)
        if declared is not None:
            assert declared.kind == module.name, f"{module.name}.SIMULATOR.kind must be {module.name!r}"
            found[module.name] = declared
    return dict(sorted(found.items()))


def secret_file(folder: Path, name: str, secret: str) -> str:
    """A file with a secret that only its owner can read; its path."""
    path = folder / name
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(secret + "\n", encoding="utf-8")
    return str(path)


def stable_id(seed: int, *parts: object) -> str:
    """32 hexadecimal characters that follow from what is given: the same run gives the same ids."""
    return hashlib.sha256(repr((seed, *parts)).encode()).hexdigest()[:32]


def matches(pattern: str, path: str) -> tuple[str, ...] | None:
    """The parts of a path that stand at ``{}`` in a pattern such as ``/api/now/table/{}/{}``; None if it differs."""
    found = _compiled(pattern).fullmatch(path)
    return None if found is None else found.groups()


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\{\}", "([^/]+)"))


Route = tuple[str, str, Callable[..., Reply]]
"""Method, pattern, and what answers: called with what all are given, and the parts that stand at ``{}``."""


def routed(routes: Iterable[Route], method: str, path: str, *given: Any) -> Reply | None:
    """What the first route that fits answers; None where none does."""
    for wanted, pattern, answer in routes:
        parts = matches(pattern, path)
        if parts is not None and wanted == method:
            return answer(*given, *parts)
    return None
