"""What brokers have in common: settings, encryption, messages that are kept in order before they are acknowledged, and
a connection that is made again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct
from pydantic import Field, model_validator

from foreshock.connect.auth import CaFile, read_secret
from foreshock.connect.mapping import Loaded, load_mapping
from foreshock.core.contracts import ListenConfig, Outcome, Outlet, with_head
from foreshock.core.errors import ConfigError, ForeshockError, Invalid, Problem, Unavailable

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

CONNECT_S = 15.0
KEEP_ALIVE_S = 30
MAX_MESSAGE_BYTES = 5 * 2**20
_CUT_BYTES = 64 * 2**10
_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_TAKE_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_LET_GO_S = 5.0
_MAX_HEADERS, _MAX_HEADER = 100, 8192
_LOCAL = ("localhost", "127.0.0.1", "::1")


class BrokerConfig(ListenConfig):
    """What every broker lets a person set."""

    reads: str = Field(
        default="events",
        description="kind of collector that reads each message, for example events, alertmanager_webhook, changes or "
        "cloudevents; what that kind looks for in HTTP headers it finds in those of the message",
    )
    mapping: Path | None = Field(
        default=None,
        description="file that says what the messages mean, as the kind webhook has it, instead of `reads`; there "
        "`_head.topic` is the topic, subject, routing key or stream, and `_head.headers` those that it asks for",
        examples=["mapping.yaml"],
    )
    prefetch: int = Field(
        default=200, ge=1, le=10_000, description="messages held at once; they are acknowledged once they are on disk"
    )
    user: str = Field(default="", description="who Foreshock is there")
    password_file: Path | None = Field(default=None, description="file with the user's password, mode 0600")
    ca_file: CaFile = None
    cert_file: Path | None = Field(default=None, description="certificate that Foreshock shows, PEM")
    key_file: Path | None = Field(default=None, description="key of the certificate, PEM, without a password")
    in_clear: bool = Field(default=False, description="true: credentials may travel without encryption")

    @property
    def collector(self) -> str:
        """The kind that reads the messages."""
        return "webhook" if self.mapping else self.reads

    @model_validator(mode="after")
    def _has_pairs(self) -> "BrokerConfig":
        if bool(self.user) != bool(self.password_file):
            raise Invalid("a user and a password file belong together", hint="write both, or neither")
        if self.mapping and self.reads != "events":
            raise Invalid("the messages are read by a mapping and by a kind", hint="write mapping or reads")
        if bool(self.cert_file) != bool(self.key_file):
            raise Invalid("a certificate and its key belong together", hint="write both, or neither")
        return self

    @property
    def proves(self) -> bool:
        """Something secret is shown to the broker."""
        return bool(self.password_file)


class Address(Struct, frozen=True, kw_only=True):
    """Of a broker. path: what stands behind the port, without a slash in front."""

    host: str
    port: int
    encrypted: bool
    path: str = ""

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def broker_address(url: str, *, plain: tuple[str, int], encrypted: tuple[str, int]) -> Address:
    """Args: plain, encrypted: scheme and usual port. Raises Invalid where ``url`` is none, or holds credentials."""
    like = f"{encrypted[0]}://broker.example:{encrypted[1]}"
    parts = urlsplit(url)
    ports = dict([plain, encrypted])
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ports or not parts.hostname or port == -1 or parts.query or parts.fragment:
        raise Invalid(f"{url!r} is no address of such a broker", hint=f"write it like {like}")
    if parts.username or parts.password:
        raise Invalid("it holds a user or a password", hint="write them as user and password_file")
    return Address(
        host=parts.hostname,
        port=port or ports[parts.scheme],
        encrypted=parts.scheme == encrypted[0],
        path=parts.path.lstrip("/"),
    )


def check_in_clear(config: BrokerConfig, addresses: Sequence[Address]) -> None:
    """Raises Invalid where credentials would travel in clear beyond this machine, and nobody said that they may."""
    if config.in_clear or not config.proves:
        return
    for address in addresses:
        if not address.encrypted and address.host not in _LOCAL:
            raise Invalid(
                f"credentials would travel to {address} without encryption",
                hint="use its encrypted port, or write in_clear: true",
            )


def password(config: BrokerConfig, instance: str) -> str | None:
    """The user's; None where there is none. Raises ConfigError."""
    return read_secret(config.password_file, f"{instance}: password_file") if config.password_file else None


def encryption(config: BrokerConfig, instance: str) -> "ssl.SSLContext":
    """Who is trusted, and what is shown. Raises ConfigError naming the file."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=config.ca_file and str(config.ca_file))
    except OSError as error:
        raise _unusable(config.ca_file, "ca_file", instance, error) from None
    if config.cert_file and config.key_file:
        try:
            context.load_cert_chain(config.cert_file, config.key_file, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise _unusable(config.cert_file, "cert_file", instance, error) from None
    return context


def _unusable(path: Path | None, place: str, instance: str, error: Exception) -> ConfigError:
    return ConfigError(
        [
            Problem(
                file=str(path),
                line=None,
                path=place,
                message=f"{instance} cannot use it: {error}",
                hint="name a readable PEM file; a key has no password",
            )
        ]
    )


class Message(Struct, frozen=True):
    """topic: which a mapping may use, like the headers, as ``headers_of`` gives them."""

    body: bytes
    topic: str
    headers: Mapping[str, str]


def headers_of(*pairs: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """What stands beside a message, as texts by names in lower case; of two the last. What is neither text nor number
    nor time is left out; so is what is very much, for a message is of any size."""
    found: dict[str, str] = {}
    for name, value in islice((pair for each in pairs for pair in each), _MAX_HEADERS):
        said = _said(value)
        if said:
            found[_said(name).lower()] = said[:_MAX_HEADER]
    return found


def _said(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return str(value) if isinstance(value, str | int | float) else ""


class Intake:
    """Where one connection of a broker hands its messages over.

    Args: mapping: goes with each message, if there is one.
    Attributes: instance: what the source is called.
    """

    def __init__(self, instance: str, collector: str, mapping: Loaded | None, outlet: Outlet) -> None:
        self.instance = instance
        self._collector, self._mapping, self._outlet = collector, mapping, outlet
        self.was_connected = False

    def connected(self, where: str) -> None:
        """Messages can come."""
        self.was_connected = True
        self._outlet.listens(where)
        self._outlet.say("")

    def say(self, problem: str) -> None:
        self._outlet.say(f"{self.instance}: {problem}")

    async def take(
        self, messages: Sequence[Message], *, meanwhile: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """All of them are on disk when it returns: acknowledge then.

        While they cannot be kept it waits and tries again from the first that was not: none overtakes another, so that
        the end of an alert never comes before its beginning. A message that cannot be read is kept as well; it becomes
        a dead letter, and does not come again for ever; so does the beginning of one that is too large. An empty one
        means nothing.

        Args:
            meanwhile: tells the broker, with each new try, that the messages are still at work.
        """
        rest = [message for message in messages if message.body or (message.headers and not self._mapping)]
        if len(rest) < len(messages):
            self._outlet.count(Outcome.IGNORED, len(messages) - len(rest))
        tries = 0
        while rest:
            kept = await asyncio.gather(*(self._hand_over(message) for message in rest), return_exceptions=True)
            failures = [(index, each) for index, each in enumerate(kept) if isinstance(each, BaseException)]
            if not failures:
                break
            index, failure = failures[0]
            if not isinstance(failure, Unavailable):
                raise failure
            rest = rest[index:]
            self.say(f"messages wait at the broker: {failure}")
            await asyncio.sleep(_TAKE_PAUSES_S[min(tries, len(_TAKE_PAUSES_S) - 1)])
            tries += 1
            if meanwhile is not None:
                await meanwhile()
        if tries:
            self._outlet.say("")

    async def _hand_over(self, message: Message) -> None:
        body = message.body if len(message.body) <= MAX_MESSAGE_BYTES else message.body[:_CUT_BYTES]
        if self._mapping is None:
            await self._outlet.take(body, collector=self._collector, headers=message.headers)
        else:
            shown = {name: message.headers[name] for name in self._mapping.headers if name in message.headers}
            head = self._mapping.head(topic=message.topic, **({"headers": shown} if shown else {}))
            await self._outlet.take(with_head(head, body), collector=self._collector)


async def stay_connected(
    instance: str, config: BrokerConfig, outlet: Outlet, session: Callable[[Intake], Awaitable[None]]
) -> None:
    """One connection after the other, each with its own ``session``, which raises when it breaks.

    After Unavailable there is a pause, longer each time in a row; what else it raises is passed on. Raises ConfigError
    where the mapping cannot be read.
    """
    mapping = load_mapping(config.mapping) if config.mapping else None
    failed = 0
    while True:
        intake = Intake(instance, config.collector, mapping, outlet)
        try:
            await _to_its_end(session(intake))
        except Unavailable as error:
            problem: ForeshockError = error
        else:
            problem = Unavailable("the connection was closed")
        failed = 1 if intake.was_connected else failed + 1
        pause_s = _PAUSES_S[min(failed, len(_PAUSES_S)) - 1] * random.uniform(0.8, 1.2)
        intake.say(f"{problem}; connecting again in {pause_s:.0f} s")
        await asyncio.sleep(pause_s)


async def _to_its_end(session: Awaitable[None]) -> None:
    """It is cancelled with us, and again until it lets go: ``asyncio.wait_for`` of Python 3.11 loses a cancellation
    that comes in the moment in which what it waits for ends, and redis-py, nats-py and aiormq wait so all the time."""
    task = asyncio.ensure_future(session)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, also where we are cancelled
    try:
        await asyncio.wait({task})
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_LET_GO_S)
    task.result()


async def unless(broken: "asyncio.Future[str]", work: Awaitable[T]) -> T:
    """What ``work`` gives. Raises Unavailable, with its reason, as soon as ``broken`` is set."""
    task: asyncio.Future[T] = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, whatever comes first
    try:
        both: set[asyncio.Future[Any]] = {task, broken}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Unavailable(broken.result())
    finally:
        task.cancel()


def break_off(broken: "asyncio.Future[str]", reason: str) -> None:
    """Set it, unless it is set already. From the event loop."""
    if not broken.done():
        broken.set_result(reason)


async def gathered(queue: "asyncio.Queue[T]", most: int, broken: "asyncio.Future[str]") -> list[T]:
    """What is waiting, ``most`` at most and at least one. Raises Unavailable, with its reason, if ``broken`` is set."""
    found = [await unless(broken, queue.get())]
    while len(found) < most and not queue.empty():
        found.append(queue.get_nowait())
    return found
