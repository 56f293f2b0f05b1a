"""Monitoring tools as real servers: they are told what a check would have found, and tell us.

Facts: Debian 12 and its packages: icinga2 2.13, zabbix 6.0.14 on postgresql 15 with php 8.2, collectd 5.12.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreshock.testing.servers import PostgreSQL, Server, ServerFailed, free_port, program


class Icinga2(Server):
    """Icinga 2 that runs no checks: ``check_result`` tells it what they would have found. It has a host ``host-a`` with
    a service ``disk``, and an API user ``lab`` with the password ``lab``.

    Args:
        configuration: besides; notifications, for example.
    Attributes:
        authority: file of the authority that signed the certificate of its API.
    """

    executable = "icinga2"
    account = "nagios"

    def __init__(self, configuration: str = "", *, port: int | None = None) -> None:
        super().__init__(port)
        self._configuration = configuration

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def authority(self) -> Path:
        return self.folder / "data/certs/ca.crt"

    def check_result(self, state: int, output: str, *, service: str = "disk") -> None:
        """What a check of the service, or without one of the host, found: 0 is well."""
        what = {"type": "Service", "service": f"host-a!{service}"} if service else {"type": "Host", "host": "host-a"}
        self.ask("/v1/actions/process-check-result", {**what, "exit_status": state, "plugin_output": output})

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """Raises urllib.error.URLError."""
        headers = {
            "Accept": "application/json",
            "Authorization": "Basic " + b64encode(b"lab:lab").decode(),
            "Content-Type": "application/json",
        }
        request = urllib.request.Request(self.url + path, data=json.dumps(body).encode(), headers=headers)
        with urllib.request.urlopen(
            request, timeout=10, context=ssl.create_default_context(cafile=str(self.authority))
        ) as answer:
            return json.load(answer)

    def _prepare(self) -> None:
        for name in ("etc", "data/certs", "cache", "logs", "spool", "run"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "etc/icinga2.conf").write_text(_ICINGA.replace("@PORT@", str(self.port)) + self._configuration)
        # Icinga's own keys (RSA, 4096 bits) take seconds.
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        )
        certificate, key = self.folder / "data/certs/localhost.crt", self.folder / "data/certs/localhost.key"
        names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command.split(), *names], check=True, capture_output=True)
        shutil.copy(certificate, self.authority)

    def _folders(self) -> list[str]:
        names = {"ConfigDir": "etc", "DataDir": "data", "CacheDir": "cache", "LogDir": "logs", "SpoolDir": "spool"}
        return [f"-D{name}={self.folder / place}" for name, place in {**names, "InitRunDir": "run"}.items()]

    def _arguments(self) -> list[str]:
        return ["daemon", *self._folders(), "-c", str(self.folder / "etc/icinga2.conf")]

    def _environment(self) -> dict[str, str]:
        return {"ICINGA2_USER": "nagios", "ICINGA2_GROUP": "nagios", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

    def _ready(self) -> bool:
        try:
            self.ask("/v1/actions/process-check-result", {"type": "Host", "host": "host-a", "exit_status": 0})
        except urllib.error.HTTPError as error:
            return error.code == 400  # without an output it is no result, but somebody reads it
        except (urllib.error.URLError, OSError):
            return False
        return True


_ICINGA = """
const NodeName = "localhost"
const ZoneName = "localhost"
include <itl>
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
object NotificationComponent "notification" { }
object ApiListener "api" { bind_host = "127.0.0.1"; bind_port = "@PORT@" }
object ApiUser "lab" { password = "lab"; permissions = [ "*" ] }
object Host "host-a" {
  check_command = "passive"; enable_active_checks = false; address = "192.0.2.5"; max_check_attempts = 1
  vars.service = "shop"
}
object Service "disk" {
  host_name = "host-a"; check_command = "passive"; enable_active_checks = false; max_check_attempts = 1
  vars.component = "storage"
}
"""


class Collectd(Server):
    """collectd that measures nothing and is told the length of a queue: above 10 it is beyond its threshold.

    Args:
        configuration: besides; what loads the threshold plug-in, and says who hears of it.
    """

    executable = "collectd"
    account = "nobody"

    def __init__(self, configuration: str) -> None:
        super().__init__()
        self._configuration = configuration

    def put(self, value: float, *, of: str = "gauge-queue") -> None:
        """The length of the queue of host-a is ``value``; or another value of its plug-in ``exec``."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.folder / "sock"))
            line.sendall(f'PUTVAL "host-a/exec/{of}" interval=3600 N:{value}\n'.encode())
            answer = line.recv(200)
        if not answer.startswith(b"0 "):
            raise ServerFailed(f"collectd refused a value: {answer.decode(errors='replace').strip()}")

    def _prepare(self) -> None:
        text = _COLLECTD.replace("@LAB@", str(self.folder)).replace("@MORE@", self._configuration)
        (self.folder / "collectd.conf").write_text(text)

    def _arguments(self) -> list[str]:
        return ["-f", "-C", str(self.folder / "collectd.conf")]

    def _ready(self) -> bool:
        return (self.folder / "sock").is_socket()


_COLLECTD = """
Hostname "host-a"
FQDNLookup false
BaseDir "@LAB@"
PIDFile "@LAB@/collectd.pid"
TypesDB "/usr/share/collectd/types.db"
Interval 1
LoadPlugin logfile
<Plugin logfile>
  LogLevel info
  File stdout
</Plugin>
LoadPlugin unixsock
<Plugin unixsock>
  SocketFile "@LAB@/sock"
  DeleteSocket true
  SocketGroup "nogroup"
</Plugin>
@MORE@
<Plugin threshold>
  <Plugin "exec">
    <Type "gauge">
      Instance "queue"
      FailureMax 10
      Persist false
    </Type>
  </Plugin>
</Plugin>
"""


class Zabbix(Server):
    """Zabbix server, agent and API, with a host ``host-a`` on which the agent reads ``lab.fault`` every second, and a
    trigger for a value above 0: ``fault`` changes it.

    Args:
        database: that holds the tables of Zabbix, see ``zabbix_tables``; name of it in ``postgresql``.
    """

    executable = "zabbix_server"
    account = "zabbix"

    def __init__(self, postgresql: PostgreSQL, database: str) -> None:
        super().__init__()
        self._postgresql, self._database = postgresql, database
        self._web_port, self._agent_port = free_port(), free_port()
        self._beside: list[subprocess.Popen[bytes]] = []
        self._token = ""

    @property
    def url(self) -> str:
        """Of the frontend, whose only part of interest is the API."""
        return f"http://127.0.0.1:{self._web_port}"

    def fault(self, value: int) -> None:
        fresh = self.folder / "fault.new"
        fresh.write_text(f"{value}\n")
        fresh.chmod(0o644)
        fresh.replace(self.folder / "fault")

    def call(self, method: str, parameters: Any) -> Any:
        """Raises ServerFailed with what the API says is wrong."""
        body = {"jsonrpc": "2.0", "method": method, "params": parameters, "id": 1}
        if self._token:
            body["auth"] = self._token
        headers = {"Content-Type": "application/json-rpc"}
        request = urllib.request.Request(f"{self.url}/api_jsonrpc.php", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        if "error" in found:
            raise ServerFailed(f"{method}: {found['error']}")
        return found["result"]

    def report_to(self, url: str, media_type: Path) -> None:
        """Set up what the connect page says: the media type from its file, a user and an action."""
        rules = {"mediaTypes": {"createMissing": True}}
        source = {"format": "yaml", "source": media_type.read_text(encoding="utf-8"), "rules": rules}
        self.call("configuration.import", source)
        (medium,) = self.call("mediatype.get", {"filter": {"name": "Foreshock"}, "selectParameters": "extend"})
        parameters = [
            {"name": each["name"], "value": url if each["name"] == "URL" else each["value"]}
            for each in medium["parameters"]
        ]
        self.call("mediatype.update", {"mediatypeid": medium["mediatypeid"], "parameters": parameters})
        (role,) = self.call("role.get", {"filter": {"name": "Super admin role"}})
        (group,) = self.call("usergroup.get", {"filter": {"name": "Zabbix administrators"}})
        media = {"mediatypeid": medium["mediatypeid"], "sendto": "foreshock", "severity": 63, "active": 0}
        user = self.call(
            "user.create",
            {
                "username": "foreshock",
                "passwd": "Lab-pass-123!",
                "roleid": role["roleid"],
                "usrgrps": [{"usrgrpid": group["usrgrpid"]}],
                "medias": [{**media, "period": "1-7,00:00-24:00"}],
            },
        )["userids"][0]
        tell = {
            "operationtype": 0,
            "opmessage": {"default_msg": 1, "mediatypeid": medium["mediatypeid"]},
            "opmessage_usr": [{"userid": user}],
        }
        names = ("operations", "recovery_operations", "update_operations")
        action = {"name": "Foreshock", "eventsource": 0, "esc_period": "1h", **{name: [tell] for name in names}}
        self.call("action.create", action)

    def token(self) -> str:
        """A new API token of the first user."""
        (user,) = self.call("user.get", {"filter": {"username": "Admin"}})
        token = self.call("token.create", {"name": f"lab {time.time_ns()}", "userid": user["userid"]})["tokenids"][0]
        return str(self.call("token.generate", [token])[0]["token"])

    def start(self) -> None:
        php = ["php", "-d", "post_max_size=16M", "-d", "max_execution_time=300", "-d", "max_input_time=300"]
        php += ["-d", "memory_limit=256M", "-d", "date.timezone=UTC", "-S", f"127.0.0.1:{self._web_port}", "-t", "fe"]
        agent = [str(self._program("zabbix_agentd")), "-f", "-c", str(self.folder / "agent.conf")]
        self._beside = [self._launch_beside(command) for command in (php, agent)]
        super().start()
        self._token = self.call("user.login", {"username": "Admin", "password": "zabbix"})
        if not self.call("host.get", {"filter": {"host": "host-a"}}):
            self._make_host()

    def stop(self) -> None:
        super().stop()  # before its database: without that it heeds nothing
        for process in self._beside:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._beside:
            process.wait(timeout=10)
        self._beside = []

    def _make_host(self) -> None:
        group = self.call("hostgroup.create", {"name": "Lab"})["groupids"][0]
        interface = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": str(self._agent_port)}
        host = self.call(
            "host.create",
            {
                "host": "host-a",
                "name": "Database of the shop",
                "groups": [{"groupid": group}],
                "interfaces": [interface],
                "tags": [{"tag": "service", "value": "shop"}],
            },
        )["hostids"][0]
        (interface,) = self.call("hostinterface.get", {"hostids": host})
        item = {"hostid": host, "name": "Lab fault", "key_": "lab.fault", "type": 0, "value_type": 3, "delay": "1s"}
        self.call("item.create", {**item, "interfaceid": interface["interfaceid"]})
        trigger = {"description": "Lab fault on {HOST.HOST}", "expression": "last(/host-a/lab.fault)>0", "priority": 4}
        self.call("trigger.create", {**trigger, "tags": [{"tag": "component", "value": "disk"}]})

    def _launch_beside(self, command: list[str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PHP_CLI_SERVER_WORKERS": "2"}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
                **self._identity(),
            )

    def _prepare(self) -> None:
        self.fault(0)
        shutil.copytree("/usr/share/zabbix", self.folder / "fe")
        place = self.folder / "fe/include/classes/core/CConfigFile.php"
        place.write_text(place.read_text().replace("/etc/zabbix/zabbix.conf.php", f"{self.folder}/zabbix.conf.php"))
        values = {"@PGPORT@": self._postgresql.port, "@DATABASE@": self._database, "@PORT@": self.port}
        values |= {"@LAB@": self.folder, "@AGENT@": self._agent_port}
        for name, text in (("zabbix.conf.php", _ZABBIX_WEB), ("server.conf", _ZABBIX), ("agent.conf", _ZABBIX_AGENT)):
            for key, value in values.items():
                text = text.replace(key, str(value))
            (self.folder / name).write_text(text)

    def _arguments(self) -> list[str]:
        return ["-f", "-c", str(self.folder / "server.conf")]

    def _ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return bool(self.call("apiinfo.version", {}))
        except (ServerFailed, OSError, ValueError):
            return False


def zabbix_tables(postgresql: PostgreSQL, database: str) -> None:
    """Fill an empty database with the tables of Zabbix, its roles and its first user; none of its templates, which take
    ten seconds."""
    kept = (
        "role",
        "role_rule",
        "users",
        "usrgrp",
        "users_groups",
        "hstgrp",
        "config",
        "config_autoreg_tls",
        "globalmacro",
    )
    folder = Path("/usr/share/zabbix-server-pgsql")
    schema = gzip.decompress((folder / "schema.sql.gz").read_bytes())
    data = gzip.decompress((folder / "data.sql.gz").read_bytes()).decode()
    rows = [row for row in data.split("\nINSERT INTO ")[1:] if row.partition(" ")[0] in kept]
    script = schema + "".join(f"\nINSERT INTO {row}" for row in rows).encode()
    command = [
        str(program("psql")),
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-1",
        postgresql.database_url(database).replace("+psycopg", ""),
    ]
    done = subprocess.run(command, input=script, capture_output=True, timeout=120, check=False)
    if done.returncode != 0:
        raise ServerFailed(f"the tables of Zabbix: {done.stderr.decode(errors='replace')[:500]}")


_ZABBIX = """
ListenIP=127.0.0.1
ListenPort=@PORT@
LogType=console
PidFile=@LAB@/zabbix_server.pid
SocketDir=@LAB@
DBHost=127.0.0.1
DBPort=@PGPORT@
DBName=@DATABASE@
DBUser=postgres
StartPollers=1
StartPollersUnreachable=1
StartTrappers=1
StartPingers=0
StartDiscoverers=0
StartHTTPPollers=0
StartAlerters=1
StartEscalators=1
StartTimers=1
StartPreprocessors=1
StartLLDProcessors=1
StartDBSyncers=1
CacheUpdateFrequency=1
HousekeepingFrequency=0
"""

_ZABBIX_AGENT = """
Server=127.0.0.1
ListenIP=127.0.0.1
ListenPort=@AGENT@
LogType=console
PidFile=@LAB@/agent.pid
StartAgents=1
UserParameter=lab.fault,cat @LAB@/fault
"""

_ZABBIX_WEB = """<?php
$DB['TYPE'] = 'POSTGRESQL'; $DB['SERVER'] = '127.0.0.1'; $DB['PORT'] = '@PGPORT@'; $DB['DATABASE'] = '@DATABASE@';
$DB['USER'] = 'postgres'; $DB['PASSWORD'] = ''; $DB['SCHEMA'] = ''; $DB['ENCRYPTION'] = false; $DB['KEY_FILE'] = '';
$DB['CERT_FILE'] = ''; $DB['CA_FILE'] = ''; $DB['VERIFY_HOST'] = false; $DB['CIPHER_LIST'] = ''; $DB['VAULT_URL'] = '';
$DB['VAULT_DB_PATH'] = ''; $DB['VAULT_TOKEN'] = ''; $DB['DOUBLE_IEEE754'] = true;
$ZBX_SERVER = '127.0.0.1'; $ZBX_SERVER_PORT = '@PORT@'; $ZBX_SERVER_NAME = 'lab';
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""
