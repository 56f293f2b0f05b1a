"""Messages of MQTT topics.

Facts:    https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html (sections 3.1.2.11 and 4.4), read 2026-11-22;
          Mosquitto 2.0 and paho-mqtt 2.1.
Delivery: at least once, for what was published with quality of service 1 or 2: Foreshock acknowledges once a message is
          on disk, and the broker keeps what comes meanwhile for `client_id`, for `session` at most. The broker delivers
          again when the connection is made anew. With quality of service 0 a message may be lost.
Recovery: as the kind has it that reads the messages.
Limits:   the broker bounds what it keeps for us (Mosquitto: ``max_queued_messages``, 1000). A retained message is taken
          once, when the subscription is new. A message that cannot be read becomes a dead letter; an empty one, which
          removes a retained one, is counted as ignored.
Needs:    a user who may subscribe to the topics. No other client may use the same client id.
"""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

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
    unless,
)
from foreshock.core.contracts import Collector, Listen, Outlet
from foreshock.core.errors import Denied, Invalid, Unavailable
from foreshock.core.quantities import Duration

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

_SECOND = timedelta(seconds=1)
_AT_LEAST_ONCE = 1
_REFUSED = (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C)
"""Reason codes of MQTT 5 (section 3.2.2.2) that no other try changes: version, client id, user, rights, ban, method."""


def _address(url: str) -> Address:
    return broker_address(url, plain=("mqtt", 1883), encrypted=("mqtts", 8883))


class MqttConfig(BrokerConfig):
    url: str = Field(description="address", examples=["mqtts://mqtt.example:8883"])
    topics: tuple[str, ...] = Field(
        min_length=1,
        description="filters of topics to read, for example plant/+/alarms or alarms/#",
        examples=[["alarms/#"]],
    )
    client_id: str = Field(
        default="foreshock", min_length=1, max_length=65_535, description="whom the broker keeps messages for"
    )
    session: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(minutes=1),
        le=timedelta(days=365),
        description="so long the broker keeps messages while Foreshock is away; MQTT 3.1.1 has no such bound",
    )
    version: Literal["5", "3.1.1"] = Field(default="5", description="version of the protocol")

    @field_validator("topics")
    @classmethod
    def _are_filters(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            levels = topic.split("/")
            if any(("#" in level or "+" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1]:
                raise Invalid(
                    f"{topic!r} is no filter of topics", hint="+ stands for one whole level, # for the rest, at the end"
                )
        return topics

    @model_validator(mode="after")
    def _is_private(self) -> "MqttConfig":
        check_in_clear(self, [_address(self.url)])
        return self


class Mqtt:
    """Listens to some topics, in one session of the broker."""

    def __init__(self, instance: str, config: MqttConfig) -> None:
        self._instance, self._config = instance, config
        self._address = _address(config.url)
        self._password = password(config, instance)
        if self._address.encrypted:
            encryption(config, instance)

    async def run(self, outlet: Outlet) -> None:
        await stay_connected(self._instance, self._config, outlet, self._session)

    async def _session(self, intake: Intake) -> None:
        heard = _Heard(asyncio.get_running_loop())
        client = self._client(heard)
        try:
            await self._connect(client, heard)
            intake.connected(f"{', '.join(self._config.topics)} of {self._address}")
            while True:
                messages = await gathered(heard.messages, self._config.prefetch, heard.broken)
                await intake.take([_taken(message) for message in messages])
                for message in messages:
                    client.ack(message.mid, message.qos)
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    async def _connect(self, client: "Client", heard: "_Heard") -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties
        from paho.mqtt.subscribeoptions import SubscribeOptions

        new = self._config.version == "5"
        more: dict[str, Any] = {}
        if new:
            wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            wanted.SessionExpiryInterval = self._config.session // _SECOND
            wanted.ReceiveMaximum = self._config.prefetch
            more = {"clean_start": False, "properties": wanted}
        try:
            await asyncio.to_thread(client.connect, self._address.host, self._address.port, KEEP_ALIVE_S, **more)
        except OSError as error:
            raise Unavailable(f"cannot connect with {self._address}: {error}") from None
        client.loop_start()
        try:
            code = await asyncio.wait_for(unless(heard.broken, heard.connected), CONNECT_S)
            if code.is_failure:
                if code.value in _REFUSED:
                    hint = "check user, password and client id"
                    raise Denied(f"{self._instance}: {self._address} refuses us: {code}", hint=hint)
                raise Unavailable(f"{self._address}: {code}")
            # A retained message comes with a subscription that is new, not with each connection.
            options = SubscribeOptions(qos=_AT_LEAST_ONCE, retainHandling=1)
            topics: list[Any] = [(topic, options if new else _AT_LEAST_ONCE) for topic in self._config.topics]
            client.subscribe(topics)
            codes = await asyncio.wait_for(unless(heard.broken, heard.subscribed), CONNECT_S)
        except TimeoutError:
            raise Unavailable(f"{self._address} did not answer within {CONNECT_S:.0f} s") from None
        refused = [topic for topic, code in zip(self._config.topics, codes, strict=False) if code.is_failure]
        if refused:
            hint = "check what the user may subscribe to"
            raise Denied(f"{self._instance}: {self._address} refuses the topics {', '.join(refused)}", hint=hint)

    def _client(self, heard: "_Heard") -> "Client":
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        new = self._config.version == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            self._config.client_id,
            clean_session=None if new else False,
            protocol=MQTTv5 if new else MQTTv311,
            # Connecting again is ours, so that it is the same for every broker, and said.
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_S
        if self._config.user:
            client.username_pw_set(self._config.user, self._password)
        if self._address.encrypted:
            client.tls_set_context(encryption(self._config, self._instance))
        client.on_connect = heard.on_connect
        client.on_subscribe = heard.on_subscribe
        client.on_message = heard.on_message
        client.on_disconnect = heard.on_disconnect
        return client


def _taken(message: "MQTTMessage") -> Message:
    told = message.properties  # None before MQTT 5; what was not sent is no attribute
    own = [("content-type", getattr(told, "ContentType", None))]
    return Message(bytes(message.payload), message.topic, headers_of(getattr(told, "UserProperty", ()), own))


class _Heard:
    """What the library calls back from its thread, brought into the event loop in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.connected: asyncio.Future[Any] = loop.create_future()
        self.subscribed: asyncio.Future[Any] = loop.create_future()
        self.broken: asyncio.Future[str] = loop.create_future()
        self.messages: asyncio.Queue[MQTTMessage] = asyncio.Queue()

    def on_connect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        self._loop.call_soon_threadsafe(_settle, self.connected, code)

    def on_subscribe(self, _client: object, _data: object, _id: int, codes: Any, _properties: object) -> None:
        self._loop.call_soon_threadsafe(_settle, self.subscribed, codes)

    def on_message(self, _client: object, _data: object, message: "MQTTMessage") -> None:
        self._loop.call_soon_threadsafe(self.messages.put_nowait, message)

    def on_disconnect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        self._loop.call_soon_threadsafe(break_off, self.broken, f"the connection was closed: {code}")


def _settle(future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        future.set_result(value)


COLLECTOR = Collector(
    kind="mqtt",
    title="MQTT",
    facts="MQTT 5 and 3.1.1, Mosquitto 2.0",
    decode=events.decode,
    translate=events.translate,
    listen=Listen(config=MqttConfig, build=Mqtt),
    sample="events.json",
    expires=True,
)
