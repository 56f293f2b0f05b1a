"""Two ends of one socket: requests go one way, calls the other, and neither waits for ever."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from foreshock.core.errors import Unavailable
from foreshock.service.bridge import Bridge

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/x",
    "raw_path": b"/x",
    "query_string": b"a=1",
    "root_path": "",
    "headers": [(b"host", b"127.0.0.1")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
    "state": object(),  # what only this process understands stays here
}
Message = MutableMapping[str, Any]


def between(work: Callable[[Bridge, Bridge], Awaitable[None]], **calls: Callable[[Any], Awaitable[Any]]) -> None:
    """Run ``work`` with (front, behind), both open; ``calls`` are what the front can be asked for."""

    async def run() -> None:
        one, other = socket.socketpair()
        front, behind = Bridge(one, calls), Bridge(other, {})
        links = [asyncio.create_task(end.run()) for end in (front, behind)]
        await asyncio.gather(front.opened.wait(), behind.opened.wait())
        await work(front, behind)
        front.close()
        behind.close()
        await asyncio.gather(*links)

    asyncio.run(asyncio.wait_for(run(), 20))


async def ask(front: Bridge, *body: bytes) -> list[Message]:
    """Messages of the answer to a request whose body comes in these pieces; then the sender hangs up."""
    given = [
        {"type": "http.request", "body": piece, "more_body": index < len(body)} for index, piece in enumerate(body, 1)
    ]
    given.append({"type": "http.disconnect"})
    said: list[Message] = []

    async def receive() -> Message:
        return given.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    await front.pass_on(dict(SCOPE), receive, send)
    return said


def test_an_application_behind_reads_and_answers_as_if_it_stood_in_front():
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        seen.extend([await receive(), await receive(), await receive()])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        for index in range(3):
            await send({"type": "http.response.body", "body": b"%d" % index, "more_body": index < 2})

    async def work(front: Bridge, behind: Bridge) -> None:
        behind.app = app
        said = await ask(front, b"one", b"two")
        assert said[0]["status"] == 200
        assert b"".join(message["body"] for message in said[1:]) == b"012"

    between(work)
    scope, *messages = seen
    assert scope == {name: value for name, value in SCOPE.items() if name != "state"}
    assert [message.get("body") for message in messages] == [b"one", b"two", None]
    assert messages[2]["type"] == "http.disconnect"


def test_a_slow_answer_keeps_nobody_else_waiting():
    async def work(front: Bridge, behind: Bridge) -> None:
        first_waits = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            body = (await receive())["body"]
            if body == b"first":
                await first_waits.wait()
            await send({"type": "http.response.body", "body": body})

        behind.app = app
        first = asyncio.create_task(ask(front, b"first"))
        assert (await ask(front, b"second"))[0]["body"] == b"second"
        first_waits.set()
        assert (await first)[0]["body"] == b"first"

    between(work)


def test_a_request_that_fails_behind_fails_in_front():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("a mistake")

    async def work(front: Bridge, behind: Bridge) -> None:
        behind.app = app
        with pytest.raises(Unavailable):
            await ask(front, b"")

    between(work)


def test_a_call_returns_what_the_other_side_returns_and_raises_what_it_says():
    async def double(number: int) -> int:
        return 2 * number

    async def refuse(_: Any) -> None:
        raise Unavailable("the disk is full")

    async def break_down(_: Any) -> None:
        raise KeyError("x")

    async def work(front: Bridge, behind: Bridge) -> None:
        assert await behind.call("double", 21) == 42
        with pytest.raises(Unavailable, match="the disk is full"):
            await behind.call("refuse")
        with pytest.raises(Unavailable, match="break_down failed"):
            await behind.call("break_down")

    between(work, double=double, refuse=refuse, break_down=break_down)


def test_who_waits_is_told_when_the_other_process_is_gone():
    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    async def work(front: Bridge, behind: Bridge) -> None:
        waiting = asyncio.create_task(behind.call("never"))
        await asyncio.sleep(0)
        front.close()
        with pytest.raises(Unavailable, match="gone"):
            await waiting
        with pytest.raises(Unavailable, match="gone"):
            await behind.call("never")

    between(work, never=never)


def test_a_request_is_told_when_the_process_behind_is_gone():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def work(front: Bridge, behind: Bridge) -> None:
        behind.app = app
        asked = asyncio.create_task(ask(front, b""))
        await asyncio.sleep(0)
        behind.close()
        with pytest.raises(Unavailable):
            await asked

    between(work)
