"""Real brokers for tests, what publishes to them.

Facts: Debian 12: mosquitto 2.0, rabbitmq-server 3.10, redis 7.0; PyPI: nats-server 2.15. Kafka is librdkafka's mock of
a cluster, which keeps consumer groups and their places as a real one does.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from foreshock.testing.cmdb_servers import Redis
from foreshock.testing.servers import Server, ServerFailed, free_port, program


class Broker(ABC):
    """One broker with something to read from.

    Attributes:
        kind: of the collector that reads it. needs: programs.
        server: its process; None where it is in ours.
    """

    kind: str
    needs: tuple[str, ...] = ()
    server: Server | None = None

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
        """Of a collector that reads from it."""

    @abstractmethod
    async def publish(self, messages: Sequence[bytes]) -> None:
        """In order; the broker has them when it returns."""


def _listened_on(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class _NatsServer(Server):
    executable = "nats-server"
    account = "nobody"

    def _program(self, name: str) -> Path:
        return Path(sys.executable).with_name(name)

    def _prepare(self) -> None:
        store = f'jetstream {{ store_dir: "{self.folder}/store", max_mem: 64M, max_file: 256M, sync_interval: always }}'
        (self.folder / "nats.conf").write_text(f"host: 127.0.0.1\nport: {self.port}\n{store}\n")

    def _arguments(self) -> list[str]:
        return ["-c", "nats.conf"]

    def _ready(self) -> bool:
        return _listened_on(self.port)


class NatsBroker(Broker):
    kind = "nats"

    def __init__(self) -> None:
        self.server: Server = _NatsServer()

    @property
    def _url(self) -> str:
        return f"nats://127.0.0.1:{self.server.port}"

    async def make(self) -> None:
        import nats

        async with await nats.connect(self._url) as client:
            await client.jetstream().add_stream(name="ALERTS", subjects=["alerts.>"])

    def settings(self) -> dict[str, Any]:
        return {"servers": [self._url], "stream": "ALERTS"}

    async def publish(self, messages: Sequence[bytes]) -> None:
        import nats

        async with await nats.connect(self._url) as client:
            stream = client.jetstream()
            for message in messages:
                await stream.publish("alerts.lab", message)


class KafkaBroker(Broker):
    kind = "kafka"

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

    async def publish(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            self._producer.produce("alerts", message, key=b"lab")
        assert await asyncio.to_thread(self._producer.flush, 10) == 0


class _RabbitmqServer(Server):
    """RabbitMQ with an epmd of its own, which is ended with it."""

    executable = "rabbitmq-server"
    account = "rabbitmq"
    ready_within_s = 90.0
    """On two busy cores; five seconds where they are idle."""

    def __init__(self) -> None:
        super().__init__()
        self._distribution, self._epmd = free_port(), free_port()

    def _program(self, name: str) -> Path:
        # The one in PATH changes user and folders by itself.
        path = Path("/usr/lib/rabbitmq/bin") / name
        return path if path.exists() else super()._program(name)

    def _prepare(self) -> None:
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "log.console = true", "disk_free_limit.absolute = 1MB"]
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


class RabbitmqBroker(Broker):
    kind = "rabbitmq"
    needs = ("rabbitmq-server",)

    def __init__(self) -> None:
        self.server: Server = _RabbitmqServer()

    @property
    def _url(self) -> str:
        return f"amqp://127.0.0.1:{self.server.port}"

    async def make(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            await channel.declare_queue("foreshock", durable=True)

    def settings(self) -> dict[str, Any]:
        return {"url": self._url, "queue": "foreshock"}

    async def publish(self, messages: Sequence[bytes]) -> None:
        import aio_pika

        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            for message in messages:
                kept = aio_pika.Message(message, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(kept, "foreshock")


class _Mosquitto(Server):
    executable = "mosquitto"
    account = "mosquitto"

    def _prepare(self) -> None:
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
        ]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def _arguments(self) -> list[str]:
        return ["-c", "mosquitto.conf"]

    def _ready(self) -> bool:
        done = subprocess.run(
            [str(self._program("mosquitto_pub")), "-h", "127.0.0.1", "-p", str(self.port), "-t", "lab/ready", "-n"],
            capture_output=True,
            check=False,
            timeout=self.ready_within_s,
        )
        return done.returncode == 0


class MqttBroker(Broker):
    kind = "mqtt"
    needs = ("mosquitto", "mosquitto_pub")

    def __init__(self) -> None:
        self.server: Server = _Mosquitto()

    def settings(self) -> dict[str, Any]:
        return {"url": f"mqtt://127.0.0.1:{self.server.port}", "topics": ["lab/alarms"]}

    async def publish(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            await asyncio.to_thread(self.post, message)

    def post(self, message: bytes, *options: str) -> None:
        """As a device would, by mosquitto_pub."""
        found = program("mosquitto_pub")
        assert found is not None
        where = ["-h", "127.0.0.1", "-p", str(self.server.port), "-V", "mqttv5", "-q", "1", "-t", "lab/alarms"]
        how = "-s" if message else "-n"
        done = subprocess.run([str(found), *where, how, *options], input=message, capture_output=True, check=False)
        if done.returncode != 0:
            raise ServerFailed(f"mosquitto_pub ended with code {done.returncode}: {done.stderr.decode()}")


class RedisBroker(Broker):
    kind = "redis_streams"
    needs = ("redis-server",)

    def __init__(self) -> None:
        self.server: Server = Redis()

    def settings(self) -> dict[str, Any]:
        return {"url": f"redis://127.0.0.1:{self.server.port}/0", "streams": ["alerts"]}

    async def publish(self, messages: Sequence[bytes]) -> None:
        from redis.asyncio import Redis as Client

        async with Client(port=self.server.port) as client:
            for message in messages:
                await client.xadd("alerts", {"payload": message})


BROKERS: tuple[type[Broker], ...] = (KafkaBroker, MqttBroker, NatsBroker, RabbitmqBroker, RedisBroker)
