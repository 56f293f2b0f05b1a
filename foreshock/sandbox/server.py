"""Puts a stand-in on a real socket: its own thread, faults on the way, and a ledger of every request."""

import asyncio
import json
import socket
import threading
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import uvicorn
from msgspec import Struct, structs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from foreshock.sandbox.faults import Fault, Faults, parse_rates
from foreshock.sandbox.ledger import Ledger
from foreshock.sandbox.system import Call, Clock, Reply, Request, System, real_time

DELAY_S = 1.0
SLOW_BODY_S = 2.0
HUGE_BYTES = 10 * 1024 * 1024
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_PROXY_PAGE = "<html><head><title>Log in</title></head><body><h1>Your session has expired</h1></body></html>"
_REFUSALS = frozenset({Fault.ERROR, Fault.LIMITED, Fault.DENIED, Fault.FORBIDDEN})
_SIDE_DOOR = "/_sim/"
_WEBHOOK_TIMEOUT_S = 12  # Zendesk's; others wait about as long


class Webhook(Struct, frozen=True):
    """Where a stand-in tells what people did, and ``Simulator.call``."""

    url: str
    secret: str
    call: Callable[[str, datetime, str], Call]


class _Protocol(HttpToolsProtocol):
    """Lets the application cut its connection, which ASGI has no word for."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"transport": {"cut": self.transport.abort}}


class SandboxServer:
    """A stand-in behind ``url``. Use it as a context, or call ``start`` and ``stop``; ``serve`` stays in this thread.

    Args:
        port: 0 for any free one. tls: files of certificate and key; without them plain HTTP.
        delays: seconds that DELAY and SLOW take.

    Besides the system's own paths it answers at a side door, for whoever stands outside the process:
    ``POST /_sim/edit`` {"number", "action", …} (``System.edit``), ``POST /_sim/cmdb`` {"do": "put_ci", "name": …}
    (``CmdbSystem``; answers what that returns), ``POST /_sim/faults`` {"rates": "lost=0.1"},
    ``POST /_sim/habits`` {"token_limit": 0} (numbers among the system's attributes), ``GET /_sim/held``,
    ``GET /_sim/ledger``.

    Attributes:
        webhook: who is told when somebody acts at the side door; nobody by default.
        failures: tracebacks of the stand-in's own mistakes; each was answered with 500.
    """

    def __init__(
        self,
        system: System,
        *,
        faults: Faults | None = None,
        ledger: Ledger | None = None,
        port: int = 0,
        clock: Clock = real_time,
        tls: tuple[Path, Path] | None = None,
        delays: tuple[float, float] = (DELAY_S, SLOW_BODY_S),
    ) -> None:
        self.system = system
        self.faults = faults or Faults()
        self.ledger = ledger or Ledger()
        self.lock = threading.Lock()
        """Held while the system works; take it to look at the system from another thread."""
        self.failures: list[str] = []
        self.webhook: Webhook | None = None
        self._clock = clock
        self._delay_s, self._slow_s = delays
        self._socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._socket.getsockname()[1]}"
        files = {} if tls is None else {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])}
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._answer,
                http=_Protocol,
                ws="none",
                interface="asgi3",
                lifespan="off",
                proxy_headers=False,
                log_config=None,
                log_level="critical",
                access_log=False,
                date_header=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=60,
                **files,  # type: ignore[arg-type]
            )
        )
        self._thread: threading.Thread | None = None

    def serve(self) -> None:
        """Answer until the process is told to end."""
        self._server.run(sockets=[self._socket])

    def start(self) -> Self:
        self._thread = threading.Thread(target=self.serve, name="sandbox", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._socket.close()
        self.ledger.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def announce(self, number: str, times: int = 1) -> list[int]:
        """Tell the webhook of a ticket, in the very same words as often as asked; the status of each answer, 0 for
        none."""
        assert self.webhook is not None, "there is no webhook to tell"
        call = self.webhook.call(number, self._clock(), self.webhook.secret)
        headers = {"Content-Type": "application/json", **call.headers}
        statuses = []
        for _ in range(times):
            try:
                answer = requests.post(self.webhook.url, data=call.body, headers=headers, timeout=_WEBHOOK_TIMEOUT_S)
            except requests.RequestException:
                statuses.append(0)
            else:
                statuses.append(answer.status_code)
        return statuses

    # ---- one request ----

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._exchange(scope, receive, send)
        except Exception:
            self.failures.append(traceback.format_exc())
            raise

    async def _exchange(self, scope: Any, receive: Any, send: Any) -> None:
        request = await _read(scope, receive)
        if request is None:
            return
        if request.path.startswith(_SIDE_DOOR):
            await _send(send, self._side_door(request), self._headers())
            return
        fault = self.faults.next()
        if fault is Fault.DELAY:
            await asyncio.sleep(self._delay_s)
        if fault is Fault.RESET:
            self._note(request, Reply(status=0), fault)
            await _cut(scope)
            return
        reply = self._carry_out(request, fault)
        self._note(request, reply, fault)
        if fault is Fault.LOST:
            await _cut(scope)
            return
        await _send(send, _spoilt(reply, fault), self._headers(), self._slow_s if fault is Fault.SLOW else 0.0)

    def _carry_out(self, request: Request, fault: Fault | None) -> Reply:
        with self.lock:
            if fault in _REFUSALS:
                assert fault is not None
                return self.system.refuse(fault)
            if fault is Fault.MASKED:
                return structs.replace(self.system.refuse(Fault.ERROR), status=200)
            if fault is Fault.DUPLICATE and request.method in _REPEATABLE:
                self._note(request, self.system.handle(request), None)
            return self.system.handle(request)

    def _note(self, request: Request, reply: Reply, fault: Fault | None) -> None:
        self.ledger.add(
            at=self._clock(),
            method=request.method,
            path=request.path,
            query=request.query,
            status=reply.status,
            fault=fault.value if fault is not None else "",
            effects=reply.effects,
            body=request.body,
        )

    def _headers(self) -> dict[str, str]:
        return {"date": format_datetime(self._clock(), usegmt=True)}

    # ---- the side door ----

    def _side_door(self, request: Request) -> Reply:
        try:
            match request.method, request.path.removeprefix(_SIDE_DOOR):
                case "POST", "edit":
                    edit = request.json()
                    with self.lock:
                        self.system.edit(**edit)
                    if self.webhook is not None:
                        threading.Thread(target=self.announce, args=(edit["number"],), daemon=True).start()
                    return Reply(body={})
                case "POST", "cmdb":
                    with self.lock:
                        done = _do(self.system, **request.json())
                    return Reply(body={"result": done})
                case "POST", "habits":
                    with self.lock:
                        _set_habits(self.system, request.json())
                    return Reply(body={})
                case "POST", "faults":
                    self.faults.set_rates(parse_rates(request.json()["rates"]))
                    return Reply(body={})
                case "GET", "held":
                    with self.lock:
                        held = self.system.held()
                    return Reply(body=[{name: getattr(each, name) for name in each.__struct_fields__} for each in held])
                case "GET", "ledger":
                    return Reply(body=[_plain(entry) for entry in self.ledger.entries()])
        except (KeyError, TypeError, ValueError) as error:
            return Reply(status=400, body={"error": f"{type(error).__name__}: {error}"})
        known = "known: POST edit, POST cmdb, POST faults, POST habits, GET held, GET ledger"
        return Reply(status=404, body={"error": known})


_DOABLE = frozenset({"put_ci", "change_ci", "delete_ci", "relate", "unrelate", "spoil_ci", "expire", "forbid", "fill"})


def _do(system: System, do: str, **details: Any) -> Any:
    """Raises ValueError for what this system cannot be told."""
    if do not in _DOABLE or not hasattr(system, do):
        raise ValueError(f"{do!r} is nothing that can be done here")
    return getattr(system, do)(**details)


def _set_habits(system: System, habits: Mapping[str, float]) -> None:
    """Raises ValueError for what is no number of this system."""
    for name, value in habits.items():
        if name.startswith("_") or not isinstance(getattr(system, name, None), int | float):
            raise ValueError(f"{name!r} is no number of this system")
        setattr(system, name, value)


def _plain(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) if name != "at" else entry.at.isoformat() for name in entry.__struct_fields__}


def _spoilt(reply: Reply, fault: Fault | None) -> Reply:
    """The answer as it arrives."""
    status = 200 if reply.status == 204 else reply.status  # 204 has no body to spoil
    match fault:
        case Fault.TRUNCATED:
            body, _ = reply.encoded()
            return Reply(status=status, body=body[: len(body) // 2] or b'{"', headers=reply.headers)
        case Fault.HTML:
            return Reply(status=200, body=_PROXY_PAGE)
        case Fault.HUGE:
            return Reply(status=status, body={"result": "x" * HUGE_BYTES})
    return reply


async def _read(scope: Any, receive: Any) -> Request | None:
    """None where the client went away before it had sent all: no server carries out a part of a request."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=body,
        base=f"{scope['scheme']}://{headers.get('host', '')}",
    )


async def _send(send: Any, reply: Reply, headers: Mapping[str, str], drip_s: float = 0.0) -> None:
    body, content_type = reply.encoded()
    sent = {**headers, **({"content-type": content_type} if content_type else {}), **reply.headers}
    if reply.status != 204:
        sent["content-length"] = str(len(body))
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": lines})
    if drip_s:
        half = len(body) // 2
        await send({"type": "http.response.body", "body": body[:half], "more_body": True})
        await asyncio.sleep(drip_s)
        body = body[half:]
    await send({"type": "http.response.body", "body": body})


async def _cut(scope: Any) -> None:
    """The connection ends without a byte of an answer."""
    scope["extensions"]["transport"]["cut"]()
    await asyncio.sleep(0.01)  # until uvicorn has noticed, or it would complain that nothing was answered


def settings_text(part: str, kind: str, settings: Mapping[str, Any]) -> str:
    """The entry of a configuration file that uses a stand-in. part: ``sinks`` or ``topology``."""
    lines = [f"{part}:", f"  - name: {kind}", f"    kind: {kind}"]
    return "\n".join([*lines, *(f"    {name}: {json.dumps(value)}" for name, value in settings.items())])
