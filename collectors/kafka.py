"""Messages of Kafka topics, or of what speaks its protocol (Redpanda, Event Hubs, MSK).

Facts:    https://kafka.apache.org/documentation/#consumerconfigs and
          https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md (2.16), read 2026-11-22.
Delivery: at least once: the place in a partition is committed to the consumer group once its messages are on disk. What
          comes again after a crash is found to be the same alert. Order holds within a partition: give all messages of
          an alert the same key.
Recovery: as the kind has it that reads the messages.
Limits:   16 MiB are fetched ahead. What the topic's retention dropped before it was read is gone. A message that cannot
          be read becomes a dead letter; one without a value is counted as ignored.
Needs:    Read and Describe on the topics, Read on the group.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from collectors import events
from foreshock.connect.brokers import (
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
from foreshock.core.errors import Denied, Unavailable
from foreshock.core.quantities import Duration

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError
    from confluent_kafka import Message as KafkaMessage

_WAIT_S = 0.5
_MILLISECOND = timedelta(milliseconds=1)
_FETCHED_AHEAD_KIB = 16 * 1024
_QUIET_S = 60.0
"""Brokers that do not answer for so long are said, and connected with anew."""


def _address(broker: str) -> Address:
    return broker_address(f"kafka://{broker}", plain=("kafka", 9092), encrypted=("kafkas", 9093))


class KafkaConfig(BrokerConfig):
    brokers: tuple[str, ...] = Field(
        min_length=1, description="some of the cluster, each as host:port", examples=[["kafka.example:9092"]]
    )
    topics: tuple[str, ...] = Field(min_length=1, description="topics to read", examples=[["alerts"]])
    group: str = Field(default="foreshock", min_length=1, description="consumer group, which remembers what was read")
    start: Literal["all", "new"] = Field(
        default="all", description="where a group that is new begins: with all that a topic holds, or what comes"
    )
    session: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=5),
        description="so long the group waits for a member that died; a broker allows 6s to 30m unless told otherwise",
    )
    tls: bool = Field(default=False, description="true: the connection is encrypted")
    sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="how the user proves who they are"
    )

    @field_validator("brokers")
    @classmethod
    def _are_addresses(cls, brokers: tuple[str, ...]) -> tuple[str, ...]:
        for broker in brokers:
            _address(broker)
        return brokers

    @model_validator(mode="after")
    def _is_private(self) -> "KafkaConfig":
        if not self.tls:
            check_in_clear(self, [_address(broker) for broker in self.brokers])
        return self


class Kafka:
    """Listens to some topics, as one member of a consumer group."""

    def __init__(self, instance: str, config: KafkaConfig) -> None:
        self._instance, self._config = instance, config
        self._settings: dict[str, Any] = {
            "bootstrap.servers": ",".join(config.brokers),
            "group.id": config.group,
            "client.id": "foreshock",
            "session.timeout.ms": config.session // _MILLISECOND,
            "heartbeat.interval.ms": config.session // _MILLISECOND // 3,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest" if config.start == "all" else "latest",
            "queued.max.messages.kbytes": _FETCHED_AHEAD_KIB,
            "security.protocol": ("SASL_" if config.user else "") + ("SSL" if config.tls else "PLAINTEXT"),
        }
        if config.user:
            self._settings |= {
                "sasl.mechanism": config.sasl,
                "sasl.username": config.user,
                "sasl.password": password(config, instance),
            }
        if config.tls:
            encryption(config, instance)  # names the file that cannot be used
            paths = {
                "ssl.ca.location": config.ca_file,
                "ssl.certificate.location": config.cert_file,
                "ssl.key.location": config.key_file,
            }
            self._settings |= {name: str(path) for name, path in paths.items() if path}

    async def run(self, outlet: Outlet) -> None:
        await stay_connected(self._instance, self._config, outlet, self._session)

    async def _session(self, intake: Intake) -> None:
        from confluent_kafka import Consumer, KafkaException

        loop = asyncio.get_running_loop()
        heard = _Heard()
        # The library's calls wait, so they have a thread; one, because they come one after the other.
        with ThreadPoolExecutor(1, thread_name_prefix=f"kafka {self._instance}") as thread:
            consumer = Consumer(
                {**self._settings, "error_cb": heard.error, "logger": logging.getLogger(f"kafka.{self._instance}")}
            )
            try:
                consumer.subscribe(list(self._config.topics), on_assign=heard.assigned)
                await self._read(consumer, intake, heard, loop, thread)
            except KafkaException as error:
                raise self._failure(error.args[0]) from None
            finally:
                await loop.run_in_executor(thread, consumer.close)

    async def _read(
        self,
        consumer: "Consumer",
        intake: Intake,
        heard: "_Heard",
        loop: asyncio.AbstractEventLoop,
        thread: ThreadPoolExecutor,
    ) -> None:
        quiet_since = loop.time()
        while True:
            found = await loop.run_in_executor(thread, consumer.consume, self._config.prefetch, _WAIT_S)
            if heard.fatal is not None:
                raise self._failure(heard.fatal)
            if heard.partitions and not intake.was_connected:
                intake.connected(f"{', '.join(self._config.topics)} of {', '.join(self._config.brokers)}")
            if heard.down is None or found:
                quiet_since = loop.time()
            elif loop.time() - quiet_since > _QUIET_S or not intake.was_connected:
                raise self._failure(heard.down)
            heard.down = None if found else heard.down
            messages = [message for message in found if not message.error()]
            for message in found:
                if (error := message.error()) is not None:
                    raise self._failure(error)
            if messages:
                await intake.take([_taken(message) for message in messages])
                await loop.run_in_executor(thread, self._commit, consumer, messages)

    def _commit(self, consumer: "Consumer", messages: "Sequence[KafkaMessage]") -> None:
        from confluent_kafka import KafkaError, KafkaException, TopicPartition

        ends: dict[tuple[Any, Any], Any] = {(each.topic(), each.partition()): each.offset() for each in messages}
        places = [TopicPartition(topic, partition, last + 1) for (topic, partition), last in ends.items()]
        try:
            consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            # Another member has the partition now, and reads these again.
            if error.args[0].code() not in (
                KafkaError.ILLEGAL_GENERATION,
                KafkaError.UNKNOWN_MEMBER_ID,
                KafkaError.REBALANCE_IN_PROGRESS,
            ):
                raise

    def _failure(self, error: "KafkaError") -> Unavailable | Denied:
        from confluent_kafka import KafkaError

        where = ", ".join(self._config.brokers)
        if error.code() in (
            KafkaError._AUTHENTICATION,
            KafkaError.SASL_AUTHENTICATION_FAILED,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ):
            return Denied(
                f"{self._instance}: {where} refuses us: {error.str()}", hint="check user, password and rights"
            )
        return Unavailable(f"{where}: {error.str()}")


def _taken(message: "KafkaMessage") -> Message:
    pairs: Any = message.headers() or ()
    return Message(message.value() or b"", message.topic() or "", headers_of(pairs))


class _Heard:
    """What the library calls back, in the thread that asks it."""

    def __init__(self) -> None:
        self.partitions = False
        self.down: KafkaError | None = None
        self.fatal: KafkaError | None = None

    def assigned(self, consumer: "Consumer", partitions: object) -> None:
        self.partitions = True

    def error(self, error: "KafkaError") -> None:
        from confluent_kafka import KafkaError

        if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED) or error.fatal():
            self.fatal = error
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.down = error


COLLECTOR = Collector(
    kind="kafka",
    title="Apache Kafka",
    facts="Kafka consumer groups, through librdkafka 2.16",
    decode=events.decode,
    translate=events.translate,
    listen=Listen(config=KafkaConfig, build=Kafka),
    sample="events.json",
    expires=True,
)
