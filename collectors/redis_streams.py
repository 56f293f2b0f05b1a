"""Entries of Redis streams, or of Valkey's.

Facts:    https://redis.io/docs/latest/develop/data-types/streams/ and the pages of XREADGROUP and XAUTOCLAIM, read
          2026-11-22; Redis 7.0 and redis-py 8.1.
Delivery: at least once, by a consumer group: an entry is acknowledged once it is on disk; what another consumer of the
          group left unacknowledged for `claim_after` is read too. What comes again is found to be the same alert.
Recovery: as the kind has it that reads the entries.
Limits:   what was trimmed from a stream (MAXLEN) before it was read is gone; what Redis loses in a crash or a failover
          is lost (``appendfsync always`` keeps it). An entry that cannot be read becomes a dead letter.
Needs:    XREADGROUP, XACK, XAUTOCLAIM and XGROUP CREATE on the streams, and SELECT where the database is not 0; Redis
          6.2 or newer. With ``requirepass`` alone the user is called default.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from pydantic import Field, model_validator

from collectors import events
from foreshock.connect.brokers import (
    CONNECT_S,
    Address,
    BrokerConfig,
    Intake,
    Message,
    broker_address,
    check_in_clear,
    encryption,
    headers_of,
    password,
    stay_connected,
)
from foreshock.core.contracts import Collector, Listen, Outlet
from foreshock.core.errors import Denied, Invalid, Unavailable
from foreshock.core.quantities import Duration

if TYPE_CHECKING:
    from redis.asyncio import Redis

_BLOCK_S = 5.0
_Entry = tuple[bytes, Mapping[bytes, bytes]]


def _address(url: str) -> Address:
    return broker_address(url, plain=("redis", 6379), encrypted=("rediss", 6379))


class RedisStreamsConfig(BrokerConfig):
    url: str = Field(
        description="address, with the number of the database behind it", examples=["redis://redis.example:6379/0"]
    )
    streams: tuple[str, ...] = Field(min_length=1, description="keys of the streams to read", examples=[["alerts"]])
    group: str = Field(default="foreshock", min_length=1, description="consumer group, which remembers what was read")
    start: Literal["all", "new"] = Field(
        default="all", description="where a group that is new begins: with all that a stream holds, or what comes"
    )
    field: str = Field(
        default="payload",
        description="field of an entry that holds the message, the other fields being its headers; an entry without it "
        "is read as a JSON object of its fields",
    )
    claim_after: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=1),
        description="entries that another consumer of the group did not acknowledge for so long are taken over",
    )

    @model_validator(mode="after")
    def _is_private(self) -> "RedisStreamsConfig":
        address = _address(self.url)
        if address.path and not address.path.isdecimal():
            raise Invalid(f"{address.path!r} is no number of a database", hint="write it like /0", path=("url",))
        check_in_clear(self, [address])
        return self


class RedisStreams:
    """Listens to some streams of one server, as the consumer with the instance's name."""

    def __init__(self, instance: str, config: RedisStreamsConfig) -> None:
        self._instance, self._config = instance, config
        self._address = _address(config.url)
        self._options: dict[str, Any] = {
            "host": self._address.host,
            "port": self._address.port,
            "db": int(self._address.path or 0),
            "protocol": 2,  # the shape of its answers is relied on below
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": _BLOCK_S + CONNECT_S,
        }
        if config.user:
            self._options |= {"username": config.user, "password": password(config, instance)}
        if self._address.encrypted:
            encryption(config, instance)
            paths = {"ssl_ca_certs": config.ca_file, "ssl_certfile": config.cert_file, "ssl_keyfile": config.key_file}
            self._options |= {"ssl": True} | {name: str(path) for name, path in paths.items() if path}

    async def run(self, outlet: Outlet) -> None:
        await stay_connected(self._instance, self._config, outlet, self._session)

    async def _session(self, intake: Intake) -> None:
        from redis import exceptions
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # A question is not repeated by itself: what its lost answer held is read before what comes after it.
        client = Redis(**self._options, retry=Retry(NoBackoff(), 0))
        try:
            await self._ensure_groups(client)
            intake.connected(f"{', '.join(self._config.streams)} of {self._address}")
            await self._unfinished(client, intake)
            await self._read(client, intake)
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            hint = "check user, password and rights"
            raise Denied(f"{self._instance}: {self._address} refuses us: {error}", hint=hint) from None
        except (exceptions.RedisError, OSError) as error:
            raise Unavailable(f"{self._address}: {error}") from None
        finally:
            with suppress(exceptions.RedisError):  # says no more than what ended the session
                await client.aclose()

    async def _ensure_groups(self, client: "Redis") -> None:
        from redis.exceptions import ResponseError

        for stream in self._config.streams:
            try:
                start = "0" if self._config.start == "all" else "$"
                await client.xgroup_create(stream, self._config.group, start, mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):  # it is there already
                    raise

    async def _unfinished(self, client: "Redis", intake: Intake) -> None:
        """What was delivered to us before, and not acknowledged."""
        for stream in self._config.streams:
            place: bytes | str = "0"
            while entries := await self._ask(client, {stream: place}):
                ((_, found),) = entries
                if not found:
                    break
                await self._take(client, intake, stream, found)
                place = found[-1][0]

    async def _read(self, client: "Redis", intake: Intake) -> None:
        loop = asyncio.get_running_loop()
        claim_s = self._config.claim_after.total_seconds()
        claimed_at = loop.time()
        while True:
            for stream, found in await self._ask(client, dict.fromkeys(self._config.streams, ">")):
                await self._take(client, intake, stream, found)
            if loop.time() - claimed_at > claim_s / 2:
                claimed_at = loop.time()
                await self._claim(client, intake)

    async def _claim(self, client: "Redis", intake: Intake) -> None:
        after_ms = round(self._config.claim_after.total_seconds() * 1000)
        for stream in self._config.streams:
            place: bytes | str = "0-0"
            while True:
                place, found, *_ = await client.xautoclaim(
                    stream, self._config.group, self._instance, after_ms, place, count=self._config.prefetch
                )
                await self._take(client, intake, stream, found)
                if place == b"0-0":
                    break

    async def _ask(self, client: "Redis", places: Mapping[Any, Any]) -> Sequence[tuple[Any, Sequence[_Entry]]]:
        """By stream, what it has behind a place."""
        found: Any = await client.xreadgroup(
            self._config.group,
            self._instance,
            dict(places),
            count=self._config.prefetch,
            block=round(_BLOCK_S * 1000),
        )
        return found or ()

    async def _take(self, client: "Redis", intake: Intake, stream: Any, found: Sequence[_Entry]) -> None:
        if not found:
            return
        name = stream.decode() if isinstance(stream, bytes) else str(stream)
        # Of an entry that was trimmed away meanwhile there is only the id.
        await intake.take([self._message(name, fields) for _, fields in found if fields])
        await client.xack(stream, self._config.group, *(id for id, _ in found))

    def _message(self, stream: str, fields: Mapping[bytes, bytes]) -> Message:
        own = self._config.field.encode()
        if own in fields:
            beside = ((name, value) for name, value in fields.items() if name != own)
            return Message(fields[own], stream, headers_of(beside))
        texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
        return Message(msgspec.json.encode(texts), stream, {})


COLLECTOR = Collector(
    kind="redis_streams",
    title="Redis streams",
    facts="Redis streams with consumer groups, Redis 7.0",
    decode=events.decode,
    translate=events.translate,
    listen=Listen(config=RedisStreamsConfig, build=RedisStreams),
    sample="events.json",
    expires=True,
)
