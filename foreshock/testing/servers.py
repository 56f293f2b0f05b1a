"""Real servers for tests: Foreshock itself and Debian's packages; ready when entered, gone when left.

Facts: Debian 12 and its packages: prometheus 2.42, node exporter 1.5, alertmanager 0.25, postgresql 15,
nagios 4.4.

Each launcher is a context manager with a folder of its own. As root it drops to the account of the package,
because PostgreSQL refuses root and a test should not write as root. It ends only its own process group.
"""

from __future__ import annotations

import contextlib
import grp
import itertools
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from foreshock.sandbox.system import simulators
from foreshock.testing.warm import Forked, WarmForeshock

PACKAGES: dict[str, str] = {
    "alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "chromium": "chromium",
    "collectd": "collectd-core libyajl2",
    "curl": "curl",
    "dovecot": "dovecot-imapd",
    "icinga2": "icinga2-bin icinga2-common",
    "initdb": "postgresql-15",
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "nagios4": "nagios4-core",
    "node-exporter": "prometheus-node-exporter",
    "php": "php-cli php-pgsql zabbix-frontend-php",
    "postgres": "postgresql-15",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "promtool": "prometheus",
    "psql": "postgresql-15",
    "rabbitmq-server": "rabbitmq-server",
    "redis-cli": "redis-tools",
    "redis-server": "redis-server",
    "rsyslogd": "rsyslog rsyslog-gnutls",
    "rt-server": "request-tracker5 rt5-standalone rt5-db-sqlite starman",
    "snmptrap": "snmp",
    "snmptrapd": "snmptrapd",
    "victoria-metrics": "victoria-metrics",
    "vmagent": "victoria-metrics",
    "zabbix_agentd": "zabbix-agent",
    "zabbix_server": "zabbix-server-pgsql",
}
"""The Debian packages that bring each program."""

PARTS: dict[str, Sequence[str]] = {
    "collectd": ("lib/*/libyajl.so.2",),
    "php": ("lib/php/*/pgsql.so", "share/zabbix/index.php"),
    "rsyslogd": ("lib/*/rsyslog/lmnsd_gtls.so",),
}
"""What of those packages lies below /usr beside a program that many machines have without it."""

READY_WITHIN_S = 30.0
"""A server that does not answer by then is broken: the slowest takes 2 s on two busy cores."""

STOP_WITHIN_S = 10.0


_chance = random.SystemRandom()  # Hypothesis seeds the common one alike in each process
_drawn: deque[int] = deque(maxlen=500)


class ServerFailed(RuntimeError):
    """A server did not start; the message ends with the last lines of its log."""


def program(name: str) -> Path | None:
    """Where a program lies, or None. Debian keeps some outside PATH, PostgreSQL's in one folder per version."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/share/request-tracker5/libexec")
    if found:
        return Path(found)
    versions = [path for path in Path("/usr/lib/postgresql").glob(f"*/bin/{name}") if os.access(path, os.X_OK)]
    return max(versions, key=lambda path: float(path.parts[-3]), default=None)


def missing(*programs: str) -> list[str]:
    """Those of the programs that this machine lacks, in the order given."""
    return [name for name in programs if program(name) is None or not all(map(_is_there, PARTS.get(name, ())))]


def _is_there(pattern: str) -> bool:
    return any(Path("/usr").glob(pattern))


def apt_line(programs: Sequence[str]) -> str:
    """The one line that installs the programs on Debian."""
    packages = sorted({package for name in programs for package in PACKAGES.get(name, name).split()})
    return f"apt-get install -y --no-install-recommends {' '.join(packages)}"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    Drawn below the range from which the kernel gives ports to outgoing connections (32768 on Linux), so that
    none of those can take it between this call and the server's start. Neither can another test: processes of pytest
    that run side by side draw from ports of their own, and what was drawn lately is not drawn again.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for _ in range(200):
        port = _chance.randrange(20000 + worker, 32000, workers)
        if port in _drawn:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _drawn.append(port)
        return port
    raise ServerFailed("no free port between 20000 and 32000 on 127.0.0.1 after 200 draws")


def _account(*names: str) -> pwd.struct_passwd | None:
    """The unprivileged account to run as: None when we are not root, so that nothing has to change."""
    if os.geteuid() != 0:
        return None
    for name in (*names, "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerFailed(f"running as root, and none of the accounts {', '.join(names)}, nobody exists")


class Server(ABC):
    """One server process in a folder of its own.

    Attributes:
        folder: everything the server reads and writes; removed on leaving.
        port: on 127.0.0.1.
    """

    executable: str
    account: str
    stop_signal = signal.SIGTERM
    ready_within_s = READY_WITHIN_S

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._user = _account(self.account)
        # Not pytest's tmp_path: its parent is closed to other accounts. Short: a socket path has 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="fs-"))
        self._process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server; raises ServerFailed when there is none."""
        if self._process is None:
            raise ServerFailed(f"{self.executable} is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the server wrote to its standard output and error."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @abstractmethod
    def _prepare(self) -> None:
        """Write what the server needs before its first start."""

    @abstractmethod
    def _arguments(self) -> list[str]: ...

    @abstractmethod
    def _ready(self) -> bool: ...

    def __enter__(self) -> Self:
        try:
            self.folder.chmod(0o755)
            self._prepare()
            self._hand_over()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start, also again after ``stop`` or ``kill``; returns when the server answers."""
        self._process = self._launch()
        deadline = time.monotonic() + self.ready_within_s
        while not self._ready():
            if self._process.poll() is not None:
                raise self._failed(f"ended with code {self._process.returncode}")
            if time.monotonic() > deadline:
                raise self._failed(f"gave no answer on port {self.port} for {self.ready_within_s:.0f} s")
            time.sleep(0.02)

    def _launch(self) -> subprocess.Popen[bytes] | Forked:
        command = [str(self._program(self.executable)), *self._arguments()]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment(),
                **self._identity(),
            )

    def stop(self) -> None:
        """Ask it to end, wait, and end it by force if it does not. Safe to repeat."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End it at once, as a power cut would: for crash tests."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for step in (number, signal.SIGKILL):
            # The group outlives its first process where that one left children behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, step)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=STOP_WITHIN_S)
                return

    def _program(self, name: str) -> Path:
        path = program(name)
        if path is None:
            raise ServerFailed(f"{name} is not installed; run: {apt_line([name])}")
        return path

    def _environment(self) -> dict[str, str] | None:
        """Variables of the server's process; None for our own."""
        return None

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _hand_over(self) -> None:
        """Give the folder to the account that the server runs as."""
        if self._user is not None:
            for path in itertools.chain([self.folder], self.folder.rglob("*")):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _run(self, name: str, *arguments: str) -> None:
        """Run a program of the server's package to its end, as the server's account."""
        done = subprocess.run(
            [str(self._program(name)), *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self.ready_within_s,
            check=False,
            env=self._environment(),
            **self._identity(),
        )
        if done.returncode != 0:
            raise ServerFailed(
                f"{name} ended with code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _failed(self, what: str) -> ServerFailed:
        tail = "\n".join(self.log.splitlines()[-40:])
        return ServerFailed(f"{self.executable} {what}; its log ends with:\n{tail}")


class Prometheus(Server):
    """Prometheus, scraping and evaluating every second.

    Start the receivers of its alerts and remote write first.

    Args:
        scrape: targets (``host:port``) of each job; a job of the name ``node`` suits ``NodeExporter.target``.
        rules: the text of a rule file.
        alertmanagers: ``host:port`` of each, ours or real; alerts are posted to ``/api/v2/alerts``.
        remote_write: URLs that get every sample.
        external_labels: put on every alert and sample that leaves.
        config: merged over the generated configuration, top level key by key.
        options: further command line options.
        past: samples it has from the start, as OpenMetrics text with times; ``promtool`` must be there.
    """

    executable = "prometheus"
    account = "prometheus"

    def __init__(
        self,
        *,
        scrape: Mapping[str, Sequence[str]] | None = None,
        rules: str = "groups: []\n",
        alertmanagers: Sequence[str] = (),
        remote_write: Sequence[str] = (),
        external_labels: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        past: str = "",
        port: int | None = None,
    ) -> None:
        super().__init__(port)
        self._rules, self._past = rules, past
        self._options = list(options)
        self._config: dict[str, Any] = {
            "global": {
                "scrape_interval": "1s",
                "evaluation_interval": "1s",
                "external_labels": dict(external_labels or {"cluster": "lab"}),
            },
            "rule_files": ["rules.yml"],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}] if alertmanagers else []
            },
            # The default gathers for 5 s, which a test would wait for.
            "remote_write": [{"url": url, "queue_config": {"batch_send_deadline": "1s"}} for url in remote_write],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]}
                for job, targets in (scrape or {}).items()
            ],
            **(config or {}),
        }

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def write_rules(self, text: str) -> None:
        """Replace the rule file and make Prometheus read it."""
        (self.folder / "rules.yml").write_text(text)
        request = urllib.request.Request(self.url + "/-/reload", method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def _prepare(self) -> None:
        # JSON is YAML; no emitter needed.
        (self.folder / "prometheus.yml").write_text(json.dumps(self._config, indent=1))
        (self.folder / "rules.yml").write_text(self._rules)
        if self._past:
            (self.folder / "past.txt").write_text(self._past)
            self._hand_over()
            self._run("promtool", "tsdb", "create-blocks-from", "openmetrics", "past.txt", "data")

    def _arguments(self) -> list[str]:
        return [
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
            # No name of this machine enters a payload.
            "--web.external-url=http://prometheus.example:9090",
            "--web.route-prefix=/",
            # With a dead remote write receiver the default holds up the end for 60 s.
            "--storage.remote.flush-deadline=1s",
            *self._options,
        ]

    def _ready(self) -> bool:
        return self._answers("/-/ready")


class VictoriaMetrics(Server):
    """VictoriaMetrics, alone. It takes remote write at ``/api/v1/write``."""

    executable = "victoria-metrics"
    account = "nobody"

    def remember(self, text: str) -> None:
        """These samples, in the text format with times in milliseconds; they can be read when it returns."""
        request = urllib.request.Request(self.url + "/api/v1/import/prometheus", data=text.encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass
        self.settle()

    def settle(self) -> None:
        """What came up to now can be read when it returns; else that takes some seconds."""
        with urllib.request.urlopen(self.url + "/internal/force_flush", timeout=10):
            pass

    def _prepare(self) -> None:
        """It makes its folder by itself."""

    def _arguments(self) -> list[str]:
        return [
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-storageDataPath=data",
            "-retentionPeriod=1",
            "-memory.allowedBytes=256MB",
        ]

    def _ready(self) -> bool:
        return self._answers("/health")


class VmAgent(Server):
    """The agent of VictoriaMetrics, scraping every second.

    Args: scrape: targets (``host:port``). remote_write: URL that gets every sample.
    """

    executable = "vmagent"
    account = "nobody"

    def __init__(self, *, scrape: Sequence[str], remote_write: str) -> None:
        super().__init__()
        self._scrape, self._remote_write = scrape, remote_write

    def _prepare(self) -> None:
        # JSON is YAML.
        job = {"job_name": "node", "static_configs": [{"targets": list(self._scrape)}]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (self.folder / "scrape.yml").write_text(json.dumps(config))

    def _arguments(self) -> list[str]:
        return [
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-promscrape.config=scrape.yml",
            f"-remoteWrite.url={self._remote_write}",
            "-remoteWrite.tmpDataPath=queue",
            "-memory.allowedBytes=64MB",
        ]

    def _ready(self) -> bool:
        return self._answers("/health")


class NodeExporter(Server):
    """The node exporter with its textfile collector only: it exposes what ``write`` last said."""

    executable = "prometheus-node-exporter"
    account = "prometheus"

    @property
    def target(self) -> str:
        """As ``Prometheus(scrape=...)`` wants it."""
        return f"127.0.0.1:{self.port}"

    def write(self, text: str) -> None:
        """Expose these metrics, in the text format, from the next scrape on: ``lab_fault 1``."""
        # Replaced in one step: a scrape must not see half a file, nor a file that does not end *.prom.
        fresh = self.folder / "text" / "lab.new"
        fresh.write_text(text if text.endswith("\n") else text + "\n")
        fresh.replace(fresh.with_suffix(".prom"))

    def _prepare(self) -> None:
        (self.folder / "text").mkdir()

    def _arguments(self) -> list[str]:
        return [
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--collector.disable-defaults",
            "--collector.textfile",
            "--collector.textfile.directory=text",
        ]

    def _ready(self) -> bool:
        return self._answers("/metrics")


class Alertmanager(Server):
    """Alertmanager, alone (no cluster), that forwards to webhooks after one second.

    Args:
        webhooks: URLs that hear of firing and of resolved alerts.
        route: merged over the generated top route.
        config: merged over the generated configuration, top level key by key.
    """

    executable = "prometheus-alertmanager"
    account = "prometheus"

    def __init__(
        self,
        *,
        webhooks: Sequence[str] = (),
        route: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        port: int | None = None,
    ) -> None:
        super().__init__(port)
        self._config: dict[str, Any] = {
            "route": {
                "receiver": "sink",
                "group_by": ["alertname"],
                "group_wait": "1s",
                "group_interval": "2s",
                "repeat_interval": "1m",
                **(route or {}),
            },
            "receivers": [
                {"name": "sink", "webhook_configs": [{"url": url, "send_resolved": True} for url in webhooks]}
            ],
            **(config or {}),
        }

    @property
    def target(self) -> str:
        """As ``Prometheus(alertmanagers=...)`` wants it."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        (self.folder / "alertmanager.yml").write_text(json.dumps(self._config, indent=1))

    def _arguments(self) -> list[str]:
        return [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            # Empty: no gossip, and no name of this machine enters a payload.
            "--cluster.listen-address=",
            "--web.external-url=http://alertmanager.example:9093",
            "--web.route-prefix=/",
        ]

    def _ready(self) -> bool:
        return self._answers("/-/ready")


class PostgreSQL(Server):
    """A fresh PostgreSQL cluster, superuser ``postgres`` without a password, on 127.0.0.1 only.

    Args:
        durable: keep fsync and its kin on. Crash tests need that; others save time without.
        settings: further server settings, name to value.
    """

    executable = "postgres"
    account = "postgres"
    # SIGTERM waits until every client has gone; SIGINT ends their sessions ("fast shutdown").
    stop_signal = signal.SIGINT

    def __init__(
        self, *, durable: bool = False, settings: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        super().__init__(port)
        fast = {} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        self._settings = {**fast, **(settings or {})}

    @property
    def url(self) -> str:
        """SQLAlchemy's, of the database ``postgres``."""
        return self.database_url("postgres")

    def database_url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, database: str) -> str:
        """Make an empty database; returns its URL."""
        self._run("createdb", *self._client(), database)
        return self.database_url(database)

    def drop_database(self, database: str) -> None:
        """Remove it, ending the sessions that still use it."""
        self._run("dropdb", *self._client(), "--if-exists", "--force", database)

    def _client(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    def _prepare(self) -> None:
        self._hand_over()
        self._run(
            "initdb",
            "-D",
            "data",
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )

    def _arguments(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            **self._settings,
        }
        arguments = ["-D", "data", "-p", str(self.port)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        return arguments

    def _ready(self) -> bool:
        try:
            self._run("pg_isready", "-q", *self._client())
        except ServerFailed:
            return False
        return True


class Nagios(Server):
    """Nagios that runs no checks: ``command`` tells it what they would have found.

    Args:
        objects: definitions, as in an object file; may be set until it starts. ``nagios4 -v`` must accept them.
    """

    executable = "nagios4"
    account = "nagios"

    def __init__(self, objects: str) -> None:
        super().__init__()
        self.objects = objects

    @property
    def main_file(self) -> Path:
        return self.folder / "nagios.cfg"

    @property
    def status_file(self) -> Path:
        """Written every second."""
        return self.folder / "status.dat"

    def command(self, text: str) -> None:
        """An external command: ``PROCESS_HOST_CHECK_RESULT;web1;1;no answer``."""
        with (self.folder / "rw/nagios.cmd").open("a") as pipe:
            pipe.write(f"[{time.time():.0f}] {text}\n")

    def _prepare(self) -> None:
        for name in ("rw", "archives", "spool", "spool/checkresults"):
            (self.folder / name).mkdir()
        (self.folder / "objects.cfg").write_text(self.objects)
        settings = {
            "log_file": "nagios.log", "cfg_file": "objects.cfg", "object_cache_file": "objects.cache",
            "precached_object_file": "objects.precache", "status_file": "status.dat", "temp_file": "nagios.tmp",
            "command_file": "rw/nagios.cmd", "lock_file": "nagios.pid", "log_archive_path": "archives",
            "check_result_path": "spool/checkresults", "state_retention_file": "retention.dat",
            "query_socket": "rw/nagios.qh",
        }  # fmt: skip
        lines = [f"{key}={self.folder / name}" for key, name in settings.items()]
        lines += [
            "status_update_interval=1", "check_external_commands=1", "execute_service_checks=0",
            "execute_host_checks=0", "check_for_updates=0", "bare_update_check=1", "temp_path=/tmp",
            "illegal_macro_output_chars=`~$&|'<>\"",
        ]  # fmt: skip
        self.main_file.write_text("\n".join(lines) + "\n")
        self._hand_over()
        self._run("nagios4", "-v", str(self.main_file))

    def _arguments(self) -> list[str]:
        return [str(self.main_file)]

    def _ready(self) -> bool:
        return (self.folder / "rw/nagios.cmd").is_fifo()


class Reply(NamedTuple):
    """An answer of Foreshock, whatever its status."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Rsyslog(Server):
    """rsyslogd that forwards what ``log`` writes.

    Args:
        actions: as in its configuration; they may name files in ``folder``, for which ``@LAB@`` stands.
    """

    executable = "rsyslogd"
    account = "nobody"

    def __init__(self, *actions: str) -> None:
        super().__init__()
        self._actions = actions

    @property
    def socket(self) -> Path:
        return self.folder / "log.sock"

    def write(self, text: str, *, priority: str = "local0.notice", tag: str = "shop") -> None:
        subprocess.run(
            ["logger", "--socket", str(self.socket), "-p", priority, "-t", tag, text], check=True, timeout=20
        )

    def _prepare(self) -> None:
        lines = [
            f'global(workDirectory="{self.folder}" localHostname="host-a" '
            f'defaultNetstreamDriverCAFile="{self.folder}/ca.pem" '
            f'defaultNetstreamDriverCertFile="{self.folder}/cert.pem" '
            f'defaultNetstreamDriverKeyFile="{self.folder}/key.pem")',
            'module(load="imuxsock" SysSock.Use="off")',
            f'input(type="imuxsock" Socket="{self.socket}" CreatePath="on" RateLimit.Interval="0")',
            *(action.replace("@LAB@", str(self.folder)) for action in self._actions),
        ]
        (self.folder / "rsyslog.conf").write_text("\n".join(lines) + "\n")

    def _arguments(self) -> list[str]:
        return ["-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "rsyslogd.pid")]

    def _ready(self) -> bool:
        return self.socket.exists()


class ForeshockServer(Server):
    """A real ``foreshock run``, as the account we are; its state stays in ``state`` between ``kill`` and ``start``.

    Args:
        config: settings as in config/foreshock.example.yaml, merged over those a test needs: listen, state, and a disk
            guard that a full disk of the test machine does not trip.
        options: further options of ``foreshock run``.
        environment: variables besides our own; of ours those that begin FORESHOCK_ are left out.
        topology: text of a topology file, see ``write_topology``.
        state: folder of the state, to share one with another Foreshock; by default its own, removed on leaving.
        warm: starts are forks of it, which spares the imports; None: the installed command, as a person would start it.
            Can be changed between two starts.
        ready_path: answers 200 once it is ready; ``/-/healthy`` where a test closes the intake.
    """

    executable = "foreshock"
    account = ""

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        topology: str | None = None,
        state: Path | None = None,
        warm: WarmForeshock | None = None,
        ready_path: str = "/-/ready",
        port: int | None = None,
    ) -> None:
        super().__init__(port)
        self._user = None
        self.state = state or self.folder / "state"
        self.config_file = self.folder / "foreshock.yaml"
        self.topology_file = self.folder / "topology.yaml"
        self.warm = warm
        self._options = list(options)
        self._variables = dict(environment or {})
        self._topology = topology
        self.ready_path = ready_path
        self._config: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "state": str(self.state),
            "disk_guard": {"min_free_percent": 0, "min_free": "1MiB"},
            **({} if topology is None else {"topology": str(self.topology_file)}),
            **(config or {}),
        }

    @property
    def target(self) -> str:
        """As ``Prometheus(alertmanagers=...)`` wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        """The embedded store's file."""
        return self.state / "foreshock.db"

    def write_topology(self, text: str) -> None:
        """Replace the topology file in one step; a running Foreshock reads it by itself within some seconds."""
        fresh = self.topology_file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.topology_file)

    def terminate(self) -> int:
        """Ask it to end, as systemd would; its exit code. What it has acknowledged is worked off before."""
        process, self._process = self._process, None
        if process is None:
            raise ServerFailed("foreshock is not running")
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=DRAIN_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise self._failed(f"was still running {DRAIN_WITHIN_S:.0f} s after SIGTERM") from None

    def wait(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        if self._process is None:
            raise ServerFailed("foreshock is not running")
        return self._process.wait(timeout=DRAIN_WITHIN_S)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request; any status is an answer. Raises OSError where nobody answers."""
        sent = {**({} if body is None else {"Content-Type": "application/json"}), **(headers or {})}
        request = urllib.request.Request(self.url + path, data=body, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def post(self, path: str, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """Post a value as JSON; any status is an answer."""
        return self.ask("POST", path, json.dumps(value).encode(), headers)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a 200; any other status is an error."""
        if query:
            path += "?" + urllib.parse.urlencode(query, doseq=True)
        reply = self.ask("GET", path)
        if reply.status != 200:
            raise self._failed(f"answered {reply.status} to GET {path}: {reply.body[:500].decode(errors='replace')}")
        return reply.json()

    def incidents(self, state: str = "all") -> list[dict[str, Any]]:
        """What the on-call person's list shows."""
        rows: list[dict[str, Any]] = self.get("/api/v1/incidents", state=state, limit=1000)
        return rows

    def incident(self, name: str) -> dict[str, Any]:
        """The incident's page, by situation id or ticket number."""
        view: dict[str, Any] = self.get(f"/api/v1/incidents/{name}")
        return view

    def _prepare(self) -> None:
        # JSON is YAML.
        self.config_file.write_text(json.dumps(self._config, indent=1))
        if self._topology is not None:
            self.write_topology(self._topology)

    def _arguments(self) -> list[str]:
        return ["run", "--config", str(self.config_file), *self._options]

    def _launch(self) -> subprocess.Popen[bytes] | Forked:
        if self.warm is None:
            return super()._launch()
        return self.warm.run(self._arguments(), self.folder / "log")

    def _environment(self) -> dict[str, str]:
        return foreshock_environment(self._variables)

    def _program(self, name: str) -> Path:
        return foreshock_script()

    def _ready(self) -> bool:
        return self._answers(self.ready_path)


class Sandbox(Server):
    """``foreshock sandbox KIND``, a stand-in of an ITSM system or a CMDB in a process of its own.

    Attributes:
        ledger: file of what it was asked and what it did.
    """

    executable = "foreshock"
    account = ""

    def __init__(self, kind: str, *, seed: int = 1) -> None:
        super().__init__()
        self.kind, self._seed = kind, seed
        self._user = None
        self.ledger = self.folder / f"{kind}.jsonl"

    def entry(self, name: str, **more: Any) -> dict[str, Any]:
        """Of the list of sinks in a configuration."""
        settings = simulators()[self.kind].settings
        assert settings is not None, f"{self.kind} keeps no tickets"
        return {"name": name, "kind": self.kind, **settings(self.url, self.folder), **more}

    def source(self, name: str, **more: Any) -> dict[str, Any]:
        """Of the list of sources (``topology``) in a configuration."""
        settings = simulators()[self.kind].source_settings
        assert settings is not None, f"{self.kind} holds no CIs"
        return {"name": name, "kind": self.kind, **settings(self.url, self.folder), **more}

    def set_faults(self, rates: str) -> None:
        self._side_door("faults", {"rates": rates})

    def set_habits(self, **habits: float) -> None:
        self._side_door("habits", habits)

    def edit(self, number: str, action: str, **details: str) -> None:
        """What a person does there, ``System.edit``."""
        self._side_door("edit", {"number": number, "action": action, **details})

    def cmdb(self, do: str, **details: Any) -> Any:
        """What a person does with CIs there, ``CmdbSystem``; what that returns."""
        return self._side_door("cmdb", {"do": do, **details})["result"]

    def held(self) -> list[dict[str, Any]]:
        """All tickets and problems as they are now, fields of ``sandbox.system.Held``."""
        with urllib.request.urlopen(f"{self.url}/_sim/held", timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def _side_door(self, what: str, value: Any) -> Any:
        body = json.dumps(value).encode()
        with urllib.request.urlopen(f"{self.url}/_sim/{what}", data=body, timeout=120) as answer:
            return json.load(answer)

    def _prepare(self) -> None:
        pass

    def _arguments(self) -> list[str]:
        where = ["--port", str(self.port), "--folder", str(self.folder)]
        return ["sandbox", self.kind, *where, "--seed", str(self._seed)]

    def _environment(self) -> dict[str, str]:
        return foreshock_environment({})

    def _program(self, name: str) -> Path:
        return foreshock_script()

    def _ready(self) -> bool:
        return self._answers("/_sim/held")


DRAIN_WITHIN_S = 45.0
"""Foreshock lets running requests and deliveries end, which takes 35 s at most."""


def foreshock_script() -> Path:
    """The command of the environment that runs the tests, whatever PATH says."""
    return Path(sys.executable).with_name("foreshock")


def foreshock_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our own variables without settings of Foreshock that a developer may have, and ``extra``."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")} | dict(extra)


def run_foreshock(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = READY_WITHIN_S
) -> subprocess.CompletedProcess[str]:
    """Run a ``foreshock`` command to its end. Raises subprocess.TimeoutExpired, having ended it."""
    return subprocess.run(
        [str(foreshock_script()), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=foreshock_environment(environment or {}),
    )


T = TypeVar("T")


def eventually(look: Callable[[], T], *, within_s: float = 30.0, what: str = "") -> T:
    """The first true value of ``look``, asked again and again; raises ServerFailed if there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise ServerFailed(
                f"{what or 'what was waited for'} did not come in {within_s:.0f} s; last seen: {found!r}"
            )
        time.sleep(0.1)


class Dovecot(Server):
    """A mailbox by IMAP for any user with the password ``secret-1``; tokens are not known here.

    Facts: Dovecot 2.3.19 runs as any account where no service of its changes the root folder.
    """

    executable = "dovecot"
    account = "nobody"
    password = "secret-1"

    def _prepare(self) -> None:
        run = self.folder / "run"
        name = pwd.getpwuid(os.geteuid()).pw_name if self._user is None else self._user.pw_name
        number = os.geteuid() if self._user is None else self._user.pw_uid
        group = os.getegid() if self._user is None else self._user.pw_gid
        services = "\n".join(f"service {each} {{\n chroot =\n}}" for each in ("anvil", "stats"))
        (self.folder / "dovecot.conf").write_text(f"""\
base_dir = {run}
state_dir = {self.folder}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = {name}
default_internal_group = {grp.getgrgid(group).gr_name}
default_login_user = {name}
first_valid_uid = 0
first_valid_gid = 0
mail_location = maildir:{self.folder}/mail/%u
passdb {{
 driver = static
 args = password={self.password}
}}
userdb {{
 driver = static
 args = uid={number} gid={group} home={self.folder}/home/%u
}}
service imap-login {{
 chroot =
 inet_listener imap {{
  port = {self.port}
 }}
 inet_listener imaps {{
  port = 0
 }}
}}
{services}
""")

    def _arguments(self) -> list[str]:
        return ["-F", "-c", str(self.folder / "dovecot.conf")]

    def _ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return connection.recv(100).startswith(b"* OK")
        return False
