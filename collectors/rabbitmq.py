"""Messages of a RabbitMQ queue, or of another broker that speaks AMQP 0-9-1 (LavinMQ).

Facts:    https://www.rabbitmq.com/docs/confirms and https://www.rabbitmq.com/docs/consumer-prefetch, read 2026-11-22;
          RabbitMQ 3.10 and aio-pika 10.2.
Delivery: at least once: a message is acknowledged once it is on disk. What comes again after a crash is found to be the
          same alert.
Recovery: as the kind has it that reads the messages.
Limits:   RabbitMQ closes a channel on which a message was not acknowledged for 30 minutes; it is then delivered again.
          A message that cannot be read becomes a dead letter here.
Needs:    ``read`` on the queue; where `exchange` is set and the queue is missing ``configure`` and ``write`` on it too,
          and ``read`` on the exchange.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from collectors import events
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
    gathered,
    headers_of,
    password,
    stay_connected,
)
from foreshock.core.contracts import Collector, Listen, Outlet
from foreshock.core.errors import Denied, Unavailable

if TYPE_CHECKING:
    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue


def _address(url: str) -> Address:
    return broker_address(url, plain=("amqp", 5672), encrypted=("amqps", 5671))


class RabbitmqConfig(BrokerConfig):
    url: str = Field(
        description="address, with the virtual host behind it", examples=["amqps://rabbitmq.example:5671/monitoring"]
    )
    queue: str = Field(min_length=1, description="the queue to read", examples=["foreshock"])
    exchange: str = Field(
        default="", description="a queue that is missing is made, durable, and bound to this exchange; empty: it is not"
    )
    routing_keys: tuple[str, ...] = Field(
        default=("#",), min_length=1, description="of the exchange's messages, those that the new queue gets"
    )

    @model_validator(mode="after")
    def _is_private(self) -> "RabbitmqConfig":
        check_in_clear(self, [_address(self.url)])
        return self


class Rabbitmq:
    """Listens to one queue."""

    def __init__(self, instance: str, config: RabbitmqConfig) -> None:
        self._instance, self._config = instance, config
        self._address = _address(config.url)
        self._options: dict[str, Any] = {
            "host": self._address.host,
            "port": self._address.port,
            "virtualhost": self._address.path or "/",
            "ssl": self._address.encrypted,
            "client_properties": {"connection_name": f"foreshock {instance}"},
        }
        if config.user:
            self._options |= {"login": config.user, "password": password(config, instance)}
        if self._address.encrypted:
            encryption(config, instance)

    async def run(self, outlet: Outlet) -> None:
        await stay_connected(self._instance, self._config, outlet, self._session)

    async def _session(self, intake: Intake) -> None:
        from aio_pika.exceptions import AMQPError

        broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection = await self._connect(broken)
        try:
            await self._read(connection, intake, broken)
        except (AMQPError, OSError) as error:
            raise Unavailable(f"{self._address}, queue {self._config.queue}: {_said(error)}") from None
        finally:
            await connection.close()

    async def _connect(self, broken: "asyncio.Future[str]") -> "AbstractConnection":
        import aio_pika
        from aiormq.exceptions import AMQPError, AuthenticationError, ProbableAuthenticationError

        more: dict[str, Any] = {}
        if self._address.encrypted:
            more["ssl_context"] = encryption(self._config, self._instance)
        try:
            # Not the robust connection: connecting again is ours, so that it is the same for every broker, and said.
            connection: AbstractConnection = await aio_pika.connect(
                **self._options, **more, heartbeat=KEEP_ALIVE_S, timeout=CONNECT_S
            )
        except (AuthenticationError, ProbableAuthenticationError) as error:
            hint = "check user, password and virtual host"
            raise Denied(f"{self._instance}: {self._address} refuses us: {_said(error)}", hint=hint) from None
        except (AMQPError, OSError, TimeoutError) as error:
            raise Unavailable(f"cannot connect with {self._address}: {_said(error)}") from None

        def closed(_: object, error: BaseException | None = None) -> None:
            break_off(broken, f"{self._address} closed the connection: {_said(error)}")

        connection.close_callbacks.add(closed)
        return connection

    async def _read(self, connection: "AbstractConnection", intake: Intake, broken: "asyncio.Future[str]") -> None:
        waiting: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        queue = await self._queue(connection)
        channel = queue.channel
        await channel.set_qos(prefetch_count=self._config.prefetch)

        def gone(*_: object) -> None:
            break_off(broken, f"the queue {self._config.queue} is gone")

        channel.close_callbacks.add(gone)
        (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(gone)
        await queue.consume(waiting.put)
        intake.connected(f"queue {self._config.queue} of {self._address}")
        while True:
            messages = await gathered(waiting, self._config.prefetch, broken)
            await intake.take([_taken(message) for message in messages])
            await messages[-1].ack(multiple=True)

    async def _queue(self, connection: "AbstractConnection") -> "AbstractQueue":
        """The queue, on a channel of its own."""
        from aio_pika.exceptions import ChannelNotFoundEntity

        channel: AbstractChannel = await connection.channel()
        try:
            return await channel.declare_queue(self._config.queue, passive=True)
        except ChannelNotFoundEntity:
            if not self._config.exchange:
                raise
        channel = await connection.channel()
        queue = await channel.declare_queue(self._config.queue, durable=True)
        for key in self._config.routing_keys:
            await queue.bind(self._config.exchange, key)
        return queue


def _taken(message: "AbstractIncomingMessage") -> Message:
    properties = {
        "content-type": message.content_type,
        "type": message.type,
        "app-id": message.app_id,
        "user-id": message.user_id,
    }
    # A property last: the broker proves user-id, and anybody may call a header so.
    return Message(message.body, message.routing_key or "", headers_of(message.headers.items(), properties.items()))


def _said(error: BaseException | None) -> str:
    return str(error) or type(error).__name__


COLLECTOR = Collector(
    kind="rabbitmq",
    title="RabbitMQ",
    facts="AMQP 0-9-1, RabbitMQ 3.10",
    decode=events.decode,
    translate=events.translate,
    listen=Listen(config=RabbitmqConfig, build=Rabbitmq),
    sample="events.json",
    expires=True,
)
