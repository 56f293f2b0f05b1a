"""Messages of a NATS JetStream stream.

Facts:    https://docs.nats.io/nats-concepts/jetstream/consumers, read 2026-11-22; nats-py 2.16, nats-server 2.15.
Delivery: at least once, by a durable pull consumer: a message is acknowledged once it is on disk. What comes again
          after a crash is found to be the same alert. What was on its way when a connection broke is waited for, for
          the consumer's ``ack_wait`` (30 s): nothing overtakes it.
Recovery: as the kind has it that reads the messages.
Limits:   1 MiB a message unless the server allows more. What the stream drops by its own limits before it was read is
          gone. A message that cannot be read becomes a dead letter.
Needs:    the stream. The durable consumer is made where it is missing; else a user who may ask
          ``$JS.API.CONSUMER.INFO.STREAM.DURABLE`` and ``$JS.API.CONSUMER.MSG.NEXT.STREAM.DURABLE``, and publish to
          ``$JS.ACK.STREAM.DURABLE.>``, is enough.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from collectors import events
from foreshock.connect.auth import read_private, read_secret
from foreshock.connect.brokers import (
    CONNECT_S,
    KEEP_ALIVE_S,
    Address,
    BrokerConfig,
    Intake,
    Message,
    break_off,
    broker_address,
    check_in_clear,
    encryption,
    headers_of,
    password,
    stay_connected,
    unless,
)
from foreshock.core.contracts import Collector, Listen, Outlet
from foreshock.core.errors import Denied, Invalid, Rejected, Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.client import JetStreamContext

_ACK_WAIT_S = 30.0
"""The server sends again what was not acknowledged for so long."""
_MARGIN_S = 0.5
_FETCH_S = 20.0
_NAME = r"^[^\s.*>/\\]+$"


def _address(url: str) -> Address:
    return broker_address(url, plain=("nats", 4222), encrypted=("tls", 4222))


class NatsConfig(BrokerConfig):
    servers: tuple[str, ...] = Field(
        min_length=1, description="addresses of the cluster", examples=[["tls://nats.example:4222"]]
    )
    stream: str = Field(pattern=_NAME, description="the stream to read", examples=["ALERTS"])
    subject: str = Field(default="", description="only messages of this subject, for example alerts.>; empty: all")
    durable: str = Field(
        default="foreshock", pattern=_NAME, description="name of the consumer, which remembers what was read"
    )
    start: Literal["all", "new"] = Field(
        default="all", description="where a consumer that is new begins: with all that the stream holds, or what comes"
    )
    token_file: Path | None = Field(default=None, description="file with a token, mode 0600")
    credentials_file: Path | None = Field(
        default=None, description="file with a user's JWT and seed as nsc writes it (.creds), mode 0600"
    )

    @field_validator("servers")
    @classmethod
    def _are_addresses(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            _address(server)
        return servers

    @model_validator(mode="after")
    def _is_private(self) -> "NatsConfig":
        if sum(map(bool, (self.user, self.token_file, self.credentials_file))) > 1:
            raise Invalid(
                "there are several ways to prove who we are", hint="keep user, token_file or credentials_file"
            )
        check_in_clear(self, [_address(server) for server in self.servers])
        return self

    @property
    def proves(self) -> bool:
        # With credentials only a signature travels.
        return bool(self.password_file or self.token_file)


class Nats:
    """Listens to one stream."""

    def __init__(self, instance: str, config: NatsConfig) -> None:
        self._instance, self._config = instance, config
        self._options: dict[str, Any] = {}
        if config.user:
            self._options |= {"user": config.user, "password": password(config, instance)}
        if config.token_file:
            self._options["token"] = read_secret(config.token_file, f"{instance}: token_file")
        if config.credentials_file:
            read_private(config.credentials_file, f"{instance}: credentials_file")
            self._options["user_credentials"] = str(config.credentials_file)
        self._encrypted = any(_address(server).encrypted for server in config.servers)
        if self._encrypted:
            encryption(config, instance)

    async def run(self, outlet: Outlet) -> None:
        await stay_connected(self._instance, self._config, outlet, self._session)

    async def _session(self, intake: Intake) -> None:
        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        client = await self._connect(broken)
        try:
            await self._read(client, intake, broken)
        finally:
            await client.close()

    async def _connect(self, broken: "asyncio.Future[str]") -> "Client":
        import nats
        from nats.errors import AuthorizationError, Error

        failures: list[Exception] = []

        async def note(error: Exception) -> None:
            failures.append(error)

        async def closed() -> None:
            break_off(
                broken, f"the connection with {where} was closed: {failures[-1] if failures else 'no reason given'}"
            )

        more: dict[str, Any] = {"tls": encryption(self._config, self._instance)} if self._encrypted else {}
        where = ", ".join(self._config.servers)
        try:
            # Reconnecting is ours, so that it is the same for every broker, and said.
            return await asyncio.wait_for(
                nats.connect(
                    list(self._config.servers),
                    name=f"foreshock {self._instance}",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=round(CONNECT_S / 2),
                    ping_interval=KEEP_ALIVE_S,
                    error_cb=note,
                    closed_cb=closed,
                    **self._options,
                    **more,
                ),
                CONNECT_S * len(self._config.servers),
            )
        except (OSError, Error, TimeoutError) as error:
            why = failures[-1] if failures else error
            if isinstance(why, AuthorizationError) or "authorization" in str(why).casefold():
                raise Denied(f"{self._instance}: {where} refuses us: {why}", hint="check user and secret") from None
            raise Unavailable(f"cannot connect with {where}: {str(why) or type(why).__name__}") from None

    async def _read(self, client: "Client", intake: Intake, broken: "asyncio.Future[str]") -> None:
        from nats.errors import Error
        from nats.errors import TimeoutError as NothingCame

        try:
            stream = client.jetstream()
            on_its_way_s = await self._ensure_consumer(stream)
            pulled = await stream.pull_subscribe_bind(self._config.durable, self._config.stream)
            where = client.connected_url.netloc if client.connected_url else self._config.servers[0]
            intake.connected(f"stream {self._config.stream} of {where}")
            await unless(broken, asyncio.sleep(on_its_way_s))
            while True:
                try:
                    messages = await unless(broken, pulled.fetch(self._config.prefetch, _FETCH_S))
                except NothingCame:
                    continue

                async def at_work(messages: Any = messages) -> None:
                    for message in messages:
                        await message.in_progress()

                await intake.take([_taken(message) for message in messages], meanwhile=at_work)
                for message in messages:
                    await message.ack()
        except (OSError, Error) as error:
            raise Unavailable(f"stream {self._config.stream}: {error}") from None

    async def _ensure_consumer(self, stream: "JetStreamContext") -> float:
        """For how many seconds messages may be on their way to a connection that there is no more."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
        from nats.js.errors import NotFoundError

        durable = self._config.durable
        try:
            found = await stream.consumer_info(self._config.stream, durable)
        except NotFoundError as error:
            if "stream" in str(error).casefold():
                raise Unavailable(f"there is no stream {self._config.stream}") from None
            await stream.add_consumer(
                self._config.stream,
                ConsumerConfig(
                    durable_name=durable,
                    filter_subject=self._config.subject or None,
                    deliver_policy=DeliverPolicy.ALL if self._config.start == "all" else DeliverPolicy.NEW,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=_ACK_WAIT_S,
                    max_ack_pending=max(1000, self._config.prefetch),
                ),
            )
            return 0.0
        known = found.config
        if known is None or known.ack_policy != AckPolicy.EXPLICIT or known.deliver_subject:
            raise Rejected(
                f"{self._instance}: the consumer {durable!r} of {self._config.stream} does not pull, or does not "
                "acknowledge each message",
                hint="give durable another name",
            )
        return (known.ack_wait or _ACK_WAIT_S) + _MARGIN_S if found.num_ack_pending else 0.0


def _taken(message: "Msg") -> Message:
    return Message(message.data, message.subject, headers_of((message.headers or {}).items()))


COLLECTOR = Collector(
    kind="nats",
    title="NATS JetStream",
    facts="NATS JetStream pull consumers, nats-server 2.15",
    decode=events.decode,
    translate=events.translate,
    listen=Listen(config=NatsConfig, build=Nats),
    sample="events.json",
    expires=True,
)
