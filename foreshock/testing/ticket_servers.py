"""Real ticket systems for tests, and sinks before them: what their makers wrote holds our tickets here.

Facts: Debian 12: request-tracker5 5.0.3; PyPI: Roundup 2.6.0.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import sys
import time
import urllib.request
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import Held, Reply, Request, Simulator, secret_file
from foreshock.testing.servers import Server
from foreshock.testing.sinks import Stage

KEY_FIELD = "Foreshock Key"
PASSWORD = "test-password"
"""Of each account of a test."""

_RT_CONFIG = """\
use utf8;
Set($rtname, 'foreshock.example');
Set($Organization, 'foreshock.example');
Set($DatabaseType, 'SQLite');
Set($DatabaseName, '{folder}/rt.sqlite3');
Set($WebDomain, '127.0.0.1');
Set($WebPort, {port});
Set($WebBaseURL, 'http://127.0.0.1:{port}');
Set($LogToSyslog, undef);
Set($LogToSTDERR, 'error');
Set($LogToFile, undef);
Set($MailCommand, 'testfile');
Set($WebSessionClass, 'Apache::Session::File');
Set($MasonSessionDir, '{folder}/sessions');
# Not UTC: a time in a query without a zone means this one.
Set($Timezone, 'America/New_York');
# Each request with a password or a token costs one hash; 12 is the default and takes a quarter of a second.
Set($BcryptCost, 4);
1;
"""
_RT_DATA = """\
@Queues = ({ Name => 'Ops' }, { Name => 'Network' }, { Name => 'Bare' }, { Name => 'Locked' });
@Users = map { { Name => $_, Password => '{password}', EmailAddress => "$_\\@example.com", Privileged => 1 } }
  qw(foreshock ada bob);
@CustomFields = map { { Name => $_, Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket',
  Queue => ['Ops', 'Network', 'Locked'] } } ('{key_field}', 'Affected Services');
push @CustomFields, { Name => 'Impact', Type => 'SelectSingle', LookupType => 'RT::Queue-RT::Ticket', Queue => ['Ops'],
  Values => [map { { Name => $_ } } qw(1 2 3)] };
push @CustomFields, { Name => 'Now', Type => 'Text', LookupType => 'RT::Queue-RT::Ticket', Queue => ['Ops'] };
@ACL = map { my $queue = $_; map { { UserId => 'foreshock', Queue => $queue, Right => $_ } }
  qw({rights}) } qw(Ops Network Bare);
push @ACL, map { { UserId => 'foreshock', Queue => 'Locked', Right => $_ } } qw(SeeQueue SeeCustomField);
push @ACL, map { my $user = $_; map { { UserId => $user, Right => $_ } }
  qw({rights} DeleteTicket OwnTicket TakeTicket StealTicket ReplyToTicket) } qw(ada bob);
@Final = (sub {
  require RT::AuthToken;
  my $user = RT::User->new(RT->SystemUser);
  $user->Load('foreshock');
  my ($ok, $said, $token) = RT::AuthToken->new(RT->SystemUser)->Create(Owner => $user->Id, Description => 'test');
  die $said unless $ok;
  open my $file, '>', '{folder}/token' or die $!;
  print $file $token;
  close $file;
});
1;
"""
RT_RIGHTS = (
    "SeeQueue CreateTicket ShowTicket ShowTicketComments ModifyTicket CommentOnTicket SeeCustomField ModifyCustomField"
)
"""What the connector's page asks an administrator for."""


class TicketServer(Server):
    """A real ticket system in which ``foreshock`` works, and ``ada`` and ``bob`` are people.

    Attributes:
        kind: of the sink that writes to it.
    """

    kind: str

    @classmethod
    def programs(cls) -> tuple[str, ...]:
        """What must be installed."""
        return (cls.executable,)

    @abstractmethod
    def settings(self, url: str, folder: Path, prefix: str) -> dict[str, Any]:
        """Of a sink that reaches it at ``url`` and whose keys begin with ``prefix``."""

    @abstractmethod
    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        """As ``sandbox.system.System.edit``, through its own API, in the name of the actor."""

    @abstractmethod
    def held(self, prefix: str) -> list[Held]:
        """The tickets whose key begins so, oldest first; ``key`` is the rest."""

    def ask(
        self, method: str, path: str, value: Any = None, *, user: str = "ada", headers: Mapping[str, str] = {}
    ) -> Any:
        """The JSON of a 2xx answer; any other is an error of the test."""
        sent = {"Accept": "application/json", "Authorization": _basic(user), **headers}
        body = None if value is None else json.dumps(value).encode()
        if body is not None:
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, data=body, headers=sent, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            got = answer.read()
        return json.loads(got) if got else None

    def _ready(self) -> bool:
        try:
            self._look()
        except OSError:
            return False
        return True

    @abstractmethod
    def _look(self) -> None:
        """One call that works as soon as the server does. Raises OSError."""


def _basic(user: str) -> str:
    return "Basic " + b64encode(f"{user}:{PASSWORD}".encode()).decode()


class RequestTracker(TicketServer):
    """Request Tracker 5 on SQLite: queues Ops and Network, Bare (without our fields) and Locked (not for us)."""

    kind = "request_tracker"
    executable = "rt-server"
    account = "www-data"

    def settings(self, url: str, folder: Path, prefix: str) -> dict[str, Any]:
        token = (self.folder / "token").read_text()
        return {
            "url": url,
            "user": "foreshock",
            "token_file": secret_file(folder, "token", token),
            "queue": "Ops",
            "queues": {"net": "Network"},
            "key_prefix": prefix,
            "settle": "0s",
        }

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        statuses = {"wait": "stalled", "resume": "open", "resolve": "resolved", "reopen": "open", "close": "rejected"}
        status = statuses.get(action, "")
        if action == "comment" or (text and status):
            said = {"Content": text, "ContentType": "text/plain", **({"Status": status} if status else {})}
            self._write("POST", f"/ticket/{number}/comment", said, actor)
            return
        match action:
            case "take":
                self._write("PUT", f"/ticket/{number}", {"Owner": actor}, actor)
            case "assign":
                self._write("PUT", f"/ticket/{number}", {"Queue": text}, actor)
            case "retitle":
                self._write("PUT", f"/ticket/{number}", {"Subject": text}, actor)
            case "merge":
                self._write("PUT", f"/ticket/{number}", {"MergeInto": int(text)}, actor)
            case "delete":
                self._write("DELETE", f"/ticket/{number}", None, actor)
            case _:
                assert status, action
                self._write("PUT", f"/ticket/{number}", {"Status": status}, actor)

    def _write(self, method: str, path: str, value: Any, actor: str) -> None:
        said = self.ask(method, f"/REST/2.0{path}", value, user=actor)
        done = ("changed", "added", "Successful", "Comments")
        assert said is None or any(word in " ".join(said) for word in done), said

    def held(self, prefix: str) -> list[Held]:
        query = f"CF.{{{KEY_FIELD}}} STARTSWITH '{prefix}'"
        fields = "Subject,Status,CustomFields,_hyperlinks"
        path = f"/REST/2.0/tickets?query={quote(query)}&fields={fields}&orderby=id&per_page=100"
        return [self._held(row, prefix) for row in self.ask("GET", path)["items"]]

    def _held(self, row: Mapping[str, Any], prefix: str) -> Held:
        number = str(row["id"])
        fields = "Content,TransactionId"
        path = f"/REST/2.0/ticket/{number}/attachments?fields={fields}&orderby=id&per_page=100"
        notes = tuple(str(each["Content"]) for each in self.ask("GET", path)["items"])
        custom = {each["name"]: "\n".join(each["values"]) for each in row["CustomFields"]}
        states = {"resolved": "resolved", "rejected": "closed", "deleted": "closed"}
        links = (each for each in row["_hyperlinks"] if each["ref"] in ("refers-to", "referred-to-by", "parent"))
        return Held(
            number=number,
            key=custom[KEY_FIELD].removeprefix(prefix),
            state=states.get(row["Status"], "open"),
            title=row["Subject"],
            notes=notes,
            texts=(row["Subject"], *sorted(custom.values()), *notes),
            links=tuple(str(each["id"]) for each in links),
        )

    def _prepare(self) -> None:
        for name in ("sessions", "RT_SiteConfig.d"):
            (self.folder / name).mkdir()
        (self.folder / "RT_SiteConfig.pm").write_text(self._filled(_RT_CONFIG))
        (self.folder / "data.pl").write_text(self._filled(_RT_DATA))
        self._hand_over()
        self._run("rt-setup-database-5", "--action", "init", "--skip-create")
        data = str(self.folder / "data.pl")
        self._run("rt-setup-database-5", "--action", "insert", "--skip-create", "--datafile", data)

    def _filled(self, text: str) -> str:
        words = {"folder": self.folder, "port": self.port, "password": PASSWORD, "key_field": KEY_FIELD}
        for name, value in {**words, "rights": RT_RIGHTS}.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def _arguments(self) -> list[str]:
        # Two workers, because a page of the web interface asks for parts of itself while it is made.
        return ["--server", "Starman", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "2"]

    def _environment(self) -> dict[str, str]:
        files = {"RT_SITE_CONFIG": "RT_SiteConfig.pm", "RT_SITE_CONFIG_DIR": "RT_SiteConfig.d"}
        return {**os.environ, **{name: str(self.folder / file) for name, file in files.items()}}

    def _look(self) -> None:
        self.ask("GET", "/REST/2.0/rt")


_ROUNDUP_SETTINGS = {
    "admin_email": "admin@example.com",
    "mail_domain": "example.com",
    "mail_host": "localhost",
    "mail_debug": os.devnull,  # mail goes there, never out
    "password_pbkdf2_default_rounds": "1000",  # each request costs one hash
}
_ROUNDUP_PROPERTIES = """
                foreshock_key=String(indexme="no"),
                services=String(indexme="no"),
                now=String(indexme="no"),"""
_ROUNDUP_SERVER = """\
import sys
from wsgiref.simple_server import make_server
from roundup.cgi.wsgi_handler import RequestDispatcher

make_server("127.0.0.1", int(sys.argv[2]), RequestDispatcher(sys.argv[1])).serve_forever()
"""


_ROUNDUP_STATUS = {
    "wait": "need-eg",
    "resume": "in-progress",
    "resolve": "resolved",
    "reopen": "in-progress",
    "close": "done-cbb",
}


class Roundup(TicketServer):
    """Roundup's classic tracker on SQLite, with our properties; ada and bob administrate it. As the account we are,
    because the package lies in our environment."""

    kind = "roundup"
    executable = "python"
    account = ""

    def __init__(self, port: int | None = None) -> None:
        super().__init__(port)
        self._user = None

    @classmethod
    def programs(cls) -> tuple[str, ...]:
        """Nothing beside the Python packages of the tests."""
        return ()

    def settings(self, url: str, folder: Path, prefix: str) -> dict[str, Any]:
        return {
            "url": url,
            "user": "foreshock",
            "password_file": secret_file(folder, "password", PASSWORD),
            "key_prefix": prefix,
            "settle": "0s",
        }

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        issue = self._call("GET", f"issue/{number}", user=actor)["data"]
        values: dict[str, Any] = {"@op": "replace"}
        if text and action != "retitle":
            if time.time() % 1 > 0.2:  # else the message may be of one second, and the change of the next
                time.sleep(1.05 - time.time() % 1)
            said = {"content": text, "type": "text/plain", "author": actor}
            made = self._call("POST", "msg", said, user=actor)["data"]["id"]
            values["messages"] = [*(each["id"] for each in issue["attributes"]["messages"]), made]
        match action:
            case "take":
                values["assignedto"] = actor
            case "retitle":
                values["title"] = text
            case "wait" | "resume" | "resolve" | "reopen" | "close":
                values["status"] = _ROUNDUP_STATUS[action]
            case _:
                assert action in ("comment", "delete"), action
        path, etag = f"issue/{number}", {"If-Match": issue["@etag"]}
        if action == "delete":
            self._call("DELETE", path, {}, user=actor, headers=etag)
        else:
            self._call("PATCH", path, values, user=actor, headers=etag)

    def held(self, prefix: str) -> list[Held]:
        fields = "title,status,messages,foreshock_key,services,now"
        path = f"issue?foreshock_key={prefix}&@fields={fields}&@verbose=2&@sort=id"
        rows = self._call("GET", path)["data"]["collection"]
        return [self._held(row, prefix) for row in rows if row["foreshock_key"].startswith(prefix)]

    def _held(self, row: Mapping[str, Any], prefix: str) -> Held:
        ids = sorted((message["id"] for message in row["messages"]), key=int)
        said = (self._call("GET", f"msg/{id}?@verbose=3")["data"]["attributes"]["content"] for id in ids)
        notes = tuple(map(str, said))
        states = {"resolved": "resolved", "done-cbb": "closed"}
        texts = (row["title"], row["services"] or "", row["now"] or "")
        return Held(
            number=row["id"],
            key=row["foreshock_key"].removeprefix(prefix),
            state=states.get(row["status"]["name"], "open"),
            title=row["title"],
            notes=notes,
            texts=(*texts, *notes),
        )

    def _call(self, method: str, path: str, value: Any = None, **options: Any) -> Any:
        ours = {"X-Requested-With": "test", "Origin": self.url, "Referer": f"{self.url}/"}
        headers = {**ours, **options.pop("headers", {})}
        return self.ask(method, f"/rest/data/{path}", value, headers=headers, **options)

    def _prepare(self) -> None:
        (self.folder / "serve.py").write_text(_ROUNDUP_SERVER)
        settings = {**_ROUNDUP_SETTINGS, "tracker_web": f"{self.url}/"}
        self._admin("install", "classic", "sqlite", ",".join(f"{name}={value}" for name, value in settings.items()))
        schema = self.folder / "tracker" / "schema.py"
        head = 'issue = IssueClass(db, "issue",'
        schema.write_text(schema.read_text().replace(head, head + _ROUNDUP_PROPERTIES))
        self._admin("initialise", PASSWORD)
        # Not UTC: a time in a query must not mean this zone.
        self._create("foreshock", "User", "timezone=9")
        self._create("ada", "User,Admin")
        self._create("bob", "User,Admin")

    def _create(self, name: str, roles: str, *more: str) -> None:
        values = (f"username={name}", f"password={PASSWORD}", f"address={name}@example.com", f"roles={roles}")
        self._admin("create", "user", *values, *more)

    def _admin(self, *arguments: str) -> None:
        self._run("roundup-admin", "-i", "tracker", *arguments)

    def _program(self, name: str) -> Path:
        return Path(sys.executable) if name == self.executable else Path(sys.executable).with_name(name)

    def _arguments(self) -> list[str]:
        return ["serve.py", "tracker", str(self.port)]

    def _look(self) -> None:
        self._call("GET", "status")


TICKET_SERVERS: dict[str, type[TicketServer]] = {each.kind: each for each in (RequestTracker, Roundup)}
"""Kinds that are tested before what they are made for."""


# ---- before a sink ----


class Relay:
    """A ``System`` for ``SandboxServer`` that hands each request on to a real one, so that faults strike in between."""

    def __init__(self, server: TicketServer, prefix: str) -> None:
        self.server = server
        self._prefix = prefix

    def handle(self, request: Request) -> Reply:
        headers = {name: value for name, value in request.headers.items() if name not in _HOPS}
        for name in ("origin", "referer"):
            if name in headers:
                headers[name] = headers[name].replace(request.base, self.server.url)
        link = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            link.request(request.method, f"{quote(request.path)}?{request.query}", request.body or None, headers)
            answer = link.getresponse()
            body = answer.read()
        finally:
            link.close()
        written = request.method != "GET" and 200 <= answer.status < 300
        return Reply(
            status=answer.status,
            body=body or None,
            headers={name.lower(): value for name, value in answer.getheaders() if name.lower() not in _HOPS},
            effects=(f"call {request.method} {request.path}",) if written else (),
        )

    def refuse(self, fault: Fault) -> Reply:
        status = {Fault.ERROR: 500, Fault.LIMITED: 429, Fault.DENIED: 401, Fault.FORBIDDEN: 403}[fault]
        headers = {"retry-after": "7"} if fault is Fault.LIMITED else {}
        return Reply(status=status, body={"message": fault.value}, headers=headers)

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        self.server.edit(number, action, actor=actor, text=text, code=code)

    def held(self) -> list[Held]:
        return self.server.held(self._prefix)


_HOPS = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding", "accept-encoding"})
"""Headers that each connection has for itself."""
_prefixes = itertools.count(1)


class RealStage(Stage):
    """A stage whose system is a real one. Its clock is its own: ``clock`` moves only ours."""

    def __init__(self, server: TicketServer, folder: Path, *, config: Mapping[str, Any] = {}) -> None:
        prefix = f"t{next(_prefixes)}-"
        relay = Simulator(
            kind=server.kind,
            title="",
            build=lambda clock, seed: Relay(server, prefix),
            settings=lambda url, folder: server.settings(url, folder, prefix),
        )
        super().__init__(relay, folder, config=config)

    def settle(self) -> None:
        """What happened in this second is complete in the next one."""
        super().settle()
        time.sleep(1.05 - time.time() % 1)


@contextmanager
def staged_before(server: TicketServer, folder: Path, **options: Any) -> Iterator[RealStage]:
    stage = RealStage(server, folder, **options)
    try:
        yield stage
    finally:
        stage.close()
