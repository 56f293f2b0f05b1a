"""Real brokers for tests, what publishes to them.

Facts: Debian 12: mosquitto 2.0, rabbitmq-server 3.10, redis 7.0; PyPI: nats-server 2.15. Kafka is librdkafka's mock of
a cluster, which keeps consumer groups and their places as a real one does; a real one is used too where ``KAFKA_URL``
names it (``127.0.0.1:9092``), with topics and groups of its own, which stay there.
"""

import asyncio
import base64
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from msgspec import Struct

from foreshock.testing.cmdb_servers import Redis
from foreshock.testing.servers import Server, ServerFailed, free_port

KAFKA_URL = os.environ.get("KAFKA_URL", "")
NONE: Mapping[str, str] = MappingProxyType({})


class Guard(Struct, frozen=True):
    """What lets in, and nobody else.

    Attributes:
        certificate: of 127.0.0.1, that signed itself, with its key in the same file.
        user: who may no more than what the page of the kind says Foreshock needs. publisher: who may do everything.
        password: of both.
    """

    certificate: Path
    user: str = "foreshock"
    publisher: str = "lab"
    password: str = "let-me-in"

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def copy_to(self, folder: Path) -> Path:
        """For the account that a server runs as."""
        copied = folder / "server.pem"
        copied.write_bytes(self.certificate.read_bytes())
        return copied


class Broker(ABC):
    """One broker with something to read from.

    Args: guard: it speaks TLS, and with this user only.
    Attributes:
        kind: of the collector that reads it. needs: programs. away: why it is not there, empty where it is.
        prefix: of CloudEvents' attributes in headers.
        server: its process; None where it is in ours.
    """

    kind: str
    needs: tuple[str, ...] = ()
    away = ""
    prefix: str
    server: Server | None = None

    def __init__(self, guard: Guard | None = None) -> None:
        self.guard = guard

    def __enter__(self) -> Self:
        assert self.server is not None
        self.server.__enter__()
        asyncio.run(self.make())
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.__exit__()

    async def make(self) -> None:  # noqa: B027 - most need nothing
        """What has to be there before anybody reads or publishes."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Of a collector that reads from it, but for who it is and whom it trusts."""

    @abstractmethod
    async def publish(self, messages: Sequence[bytes], headers: Mapping[str, str] = NONE) -> None:
        """In order, each with the headers; the broker has them when it returns."""


def _listened_on(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class _NatsServer(Server):
    executable = "nats-server"
    account = "nobody"
    guard: Guard | None = None

    def _program(self, name: str) -> Path:
        return Path(sys.executable).with_name(name)

    def _prepare(self) -> None:
        store = f'jetstream {{ store_dir: "{self.folder}/store", max_mem: 64M, max_file: 256M, sync_interval: always }}'
        lines = ["host: 127.0.0.1", f"port: {self.port}", store]
        if self.guard is not None:
            pem = self.guard.copy_to(self.folder)
            lines += [
                f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}',
                f"authorization {{ users: [{_nats_users(self.guard)}] }}",
            ]
        (self.folder / "nats.conf").write_text("\n".join(lines) + "\n")

    def _arguments(self) -> list[str]:
        return ["-c", "nats.conf"]

    def _ready(self) -> bool:
        return _listened_on(self.port)


def _nats_users(guard: Guard) -> str:
    asks = [f"$JS.API.CONSUMER.{what}.ALERTS.foreshock" for what in ("INFO", "MSG.NEXT")]
    rights = {"publish": [*asks, "$JS.ACK.ALERTS.foreshock.>"], "subscribe": "_INBOX.>"}
    users: list[dict[str, Any]] = [{"user": guard.publisher}, {"user": guard.user, "permissions": rights}]
    return ", ".join(json.dumps({**user, "password": guard.password}) for user in users)


class NatsBroker(Broker):
    kind = "nats"
    prefix = "ce-"

    def __init__(self, guard: Guard | None = None) -> None:
        super().__init__(guard)
        server = _NatsServer()
        server.guard = guard
        self.server: Server = server

    @property
    def _url(self) -> str:
        return f"{'tls' if self.guard else 'nats'}://127.0.0.1:{self.server.port}"

    async def _connect(self) -> Any:
        import nats

        guard = self.guard
        proof = {"user": guard.publisher, "password": guard.password, "tls": guard.context} if guard else {}
        return await nats.connect(self._url, **proof)

    async def make(self) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig

        async with await self._connect() as client:
            stream = client.jetstream()
            await stream.add_stream(name="ALERTS", subjects=["alerts.>"])
            if self.guard is not None:  # who may not make a consumer finds one
                wanted = ConsumerConfig(durable_name="foreshock", ack_policy=AckPolicy.EXPLICIT, ack_wait=2)
                await stream.add_consumer("ALERTS", wanted)

    def settings(self) -> dict[str, Any]:
        return {"servers": [self._url], "stream": "ALERTS"}

    async def publish(self, messages: Sequence[bytes], headers: Mapping[str, str] = NONE) -> None:
        async with await self._connect() as client:
            stream = client.jetstream()
            for message in messages:
                await stream.publish("alerts.lab", message, headers=dict(headers) or None)


class KafkaBroker(Broker):
    kind = "kafka"
    prefix = "ce_"
    topic = "alerts"

    def __enter__(self) -> Self:
        from confluent_kafka import Producer

        self._producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock"})
        # Asking for a topic makes it.
        (broker,) = self._producer.list_topics("alerts", timeout=10).brokers.values()
        self._address = f"{broker.host}:{broker.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.flush(5)
        del self._producer

    def settings(self) -> dict[str, Any]:
        return {"brokers": [self._address], "topics": ["alerts"], "session": "4s"}

    async def publish(self, messages: Sequence[bytes], headers: Mapping[str, str] = NONE) -> None:
        for message in messages:
            self._producer.produce(self.topic, message, key=b"lab", headers=dict(headers))
        assert await asyncio.to_thread(self._producer.flush, 10) == 0


class RealKafka(KafkaBroker):
    """Somebody's own, with a topic and a group that nobody else has."""

    away = "" if KAFKA_URL else "KAFKA_URL names no broker"

    def __enter__(self) -> Self:
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

        self.topic = f"foreshock-test-{uuid.uuid4()}"
        self._producer = Producer({"bootstrap.servers": KAFKA_URL})
        admin = AdminClient({"bootstrap.servers": KAFKA_URL})
        for made in admin.create_topics([NewTopic(self.topic, num_partitions=1, replication_factor=1)]).values():
            made.result(30)
        return self

    def settings(self) -> dict[str, Any]:
        return {"brokers": KAFKA_URL.split(","), "topics": [self.topic], "group": self.topic, "session": "6s"}


class _RabbitmqServer(Server):
    """RabbitMQ with an epmd of its own, which is ended with it."""

    executable = "rabbitmq-server"
    account = "rabbitmq"
    ready_within_s = 90.0
    """On two busy cores; five seconds where they are idle."""
    guard: Guard | None = None

    def __init__(self) -> None:
        super().__init__()
        self._distribution, self._epmd = free_port(), free_port()

    def _program(self, name: str) -> Path:
        # The one in PATH changes user and folders by itself.
        path = Path("/usr/lib/rabbitmq/bin") / name
        return path if path.exists() else super()._program(name)

    def _prepare(self) -> None:
        lines = ["log.console = true", "disk_free_limit.absolute = 1MB"]
        if self.guard is None:
            lines += [f"listeners.tcp.1 = 127.0.0.1:{self.port}"]
        else:
            pem = self.guard.copy_to(self.folder)
            lines += ["listeners.tcp = none", f"listeners.ssl.1 = 127.0.0.1:{self.port}"]
            lines += [f"ssl_options.{what} = {pem}" for what in ("cacertfile", "certfile", "keyfile")]
            (self.folder / "definitions.json").write_text(json.dumps(_definitions(self.guard)))
            lines += [f"load_definitions = {self.folder}/definitions.json"]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "enabled_plugins").write_text("[].\n")

    def _arguments(self) -> list[str]:
        return []

    def _environment(self) -> dict[str, str]:
        home = str(self.folder)
        return {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"lab{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/log-files",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _ready(self) -> bool:
        return _listened_on(self.port)

    def stop(self) -> None:
        super().stop()
        self._end_epmd()

    def _end_epmd(self) -> None:
        """The port mapper leaves our process group, and stays when RabbitMQ ends."""
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                environment = (folder / "environ").read_bytes()
                if b"epmd" in command[0] and f"ERL_EPMD_PORT={self._epmd}\0".encode() in environment:
                    os.kill(int(folder.name), signal.SIGTERM)
            except OSError:
                continue


def _definitions(guard: Guard) -> dict[str, Any]:
    """Users and rights as ``rabbitmqctl export_definitions`` writes them."""
    salt = b"salt"
    hashed = base64.b64encode(salt + hashlib.sha256(salt + guard.password.encode()).digest()).decode()
    rights = {guard.publisher: (".*", ".*", ".*"), guard.user: ("", "", "^foreshock$")}
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {"name": name, "password_hash": hashed, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ""}
            for name in rights
        ],
        "permissions": [
            {"user": name, "vhost": "/", "configure": configure, "write": write, "read": read}
            for name, (configure, write, read) in rights.items()
        ],
    }


class RabbitmqBroker(Broker):
    kind = "rabbitmq"
    needs = ("rabbitmq-server",)
    prefix = "cloudEvents:"

    def __init__(self, guard: Guard | None = None) -> None:
        super().__init__(guard)
        server = _RabbitmqServer()
        server.guard = guard
        self.server: Server = server

    @property
    def _url(self) -> str:
        return f"{'amqps' if self.guard else 'amqp'}://127.0.0.1:{self.server.port}"

    async def _connect(self) -> Any:
        import aio_pika

        guard, proof = self.guard, dict[str, Any]()
        if guard is not None:
            proof = {"login": guard.publisher, "password": guard.password, "ssl": True, "ssl_context": guard.context}
        return await aio_pika.connect(host="127.0.0.1", port=self.server.port, **proof)

    async def make(self) -> None:
        async with await self._connect() as connection:
            channel = await connection.channel()
            await channel.declare_queue("foreshock", durable=True)

    def settings(self) -> dict[str, Any]:
        return {"url": self._url, "queue": "foreshock"}

    async def publish(self, messages: Sequence[bytes], headers: Mapping[str, str] = NONE) -> None:
        import aio_pika

        async with await self._connect() as connection:
            channel = await connection.channel()
            for message in messages:
                kept = aio_pika.Message(message, headers=dict(headers), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(kept, "foreshock")


class _Mosquitto(Server):
    executable = "mosquitto"
    account = "mosquitto"
    guard: Guard | None = None

    def _prepare(self) -> None:
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'false' if self.guard else 'true'}",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
        ]
        if self.guard is not None:
            pem, users = self.guard.copy_to(self.folder), self.folder / "users"
            names = (self.guard.user, self.guard.publisher)
            users.write_text("".join(f"{name}:{self.guard.password}\n" for name in names))
            subprocess.run([str(self._program("mosquitto_passwd")), "-U", str(users)], check=True)
            rights = self.folder / "rights"
            rights.write_text(f"user {self.guard.user}\ntopic read lab/#\nuser {self.guard.publisher}\ntopic lab/#\n")
            lines += [f"certfile {pem}", f"keyfile {pem}", f"password_file {users}", f"acl_file {rights}"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def _arguments(self) -> list[str]:
        return ["-c", "mosquitto.conf"]

    def post(self, topic: str, message: bytes, *options: str) -> "subprocess.CompletedProcess[bytes]":
        """As a device would, by mosquitto_pub."""
        command = [str(self._program("mosquitto_pub")), "-h", "127.0.0.1", "-p", str(self.port), "-t", topic, *options]
        if self.guard is not None:
            command += ["--cafile", str(self.guard.certificate), "-u", self.guard.publisher]
            command += ["-P", self.guard.password]
        command.append("-s" if message else "-n")
        return subprocess.run(command, input=message, capture_output=True, check=False, timeout=self.ready_within_s)

    def _ready(self) -> bool:
        return self.post("lab/ready", b"").returncode == 0


class MqttBroker(Broker):
    kind = "mqtt"
    needs = ("mosquitto", "mosquitto_pub")
    prefix = ""

    def __init__(self, guard: Guard | None = None) -> None:
        super().__init__(guard)
        self.server: _Mosquitto = _Mosquitto()
        self.server.guard = guard

    def settings(self) -> dict[str, Any]:
        return {
            "url": f"{'mqtts' if self.guard else 'mqtt'}://127.0.0.1:{self.server.port}",
            "topics": ["lab/alarms"],
        }

    async def publish(self, messages: Sequence[bytes], headers: Mapping[str, str] = NONE) -> None:
        options = ["-V", "mqttv5", "-q", "1"]
        for name, value in headers.items():
            options += ["-D", "publish", "user-property", name, value]
        for message in messages:
            done = await asyncio.to_thread(self.server.post, "lab/alarms", message, *options)
            if done.returncode != 0:
                raise ServerFailed(f"mosquitto_pub ended with code {done.returncode}: {done.stderr.decode()}")


class _GuardedRedis(Redis):
    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self._guard = guard

    def _prepare(self) -> None:
        self._pem = str(self._guard.copy_to(self.folder))

    def _arguments(self) -> list[str]:
        secret = f">{self._guard.password}"
        asks = ["+xreadgroup", "+xack", "+xautoclaim", "+xgroup|create"]
        rules = ["--user", "default", "off", "--user", self._guard.publisher, "on", "~*", "+@all", secret]
        rules += ["--user", self._guard.user, "on", "~alerts", *asks, secret]
        return [
            *["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"],
            *["--tls-cert-file", self._pem, "--tls-key-file", self._pem, "--tls-ca-cert-file", self._pem],
            *["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            *rules,
        ]


class RedisBroker(Broker):
    kind = "redis_streams"
    needs = ("redis-server",)
    prefix = "ce_"

    def __init__(self, guard: Guard | None = None) -> None:
        super().__init__(guard)
        self.server: Server = _GuardedRedis(guard) if guard else Redis()

    def settings(self) -> dict[str, Any]:
        scheme = "rediss" if self.guard else "redis"
        return {"url": f"{scheme}://127.0.0.1:{self.server.port}/0", "streams": ["alerts"]}

    async def publish(self, messages: Sequence[bytes], headers: Mapping[str, str] = NONE) -> None:
        from redis.asyncio import Redis as Client

        guard, proof = self.guard, dict[str, Any]()
        if guard is not None:
            proof = {"username": guard.publisher, "password": guard.password}
            proof |= {"ssl": True, "ssl_ca_certs": str(guard.certificate)}
        async with Client(host="127.0.0.1", port=self.server.port, **proof) as client:
            for message in messages:
                await client.xadd("alerts", dict[Any, Any](headers) | {"payload": message})


BROKERS: tuple[type[Broker], ...] = (KafkaBroker, RealKafka, MqttBroker, NatsBroker, RabbitmqBroker, RedisBroker)
GUARDED: tuple[type[Broker], ...] = (MqttBroker, NatsBroker, RabbitmqBroker, RedisBroker)
