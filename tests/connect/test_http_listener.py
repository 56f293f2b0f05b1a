"""A collector's own HTTP server: who is let in, over what, and how it ends."""

import asyncio
import time

import pytest
import requests

from foreshock.connect import http_listener
from foreshock.connect.http_listener import Call, HttpListenConfig, HttpListener, Reply
from foreshock.core.errors import ConfigError
from foreshock.testing.fakes import Taken
from foreshock.testing.servers import free_port


async def echo(call: Call) -> Reply:
    return Reply(status=200, body=f"{call.method} {call.path} ".encode() + call.body)


def asked(ask, handle=echo, **settings):
    """What ``ask`` makes of the address, in a thread, and the outlet."""
    outlet = Taken()

    async def run():
        listener = HttpListener(HttpListenConfig.model_validate(settings), "collectors.x", handle)
        running = asyncio.create_task(listener.run(outlet))
        deadline = time.monotonic() + 30
        while not outlet.addresses and not running.done() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        answers = await asyncio.to_thread(ask, outlet.addresses[0])
        running.cancel()
        await asyncio.wait([running])
        return answers

    return asyncio.run(run()), outlet


def test_over_tls_it_is_known_by_its_certificate(certificate):
    def ask(url):
        assert url.startswith("https://127.0.0.1:")
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=10)
        return requests.post(f"{url}/a", data=b"b", verify=str(certificate), timeout=10).text

    assert asked(ask, certificate=certificate, certificate_key=certificate)[0] == "POST /a b"


def test_senders_show_a_certificate_where_one_is_asked_for(certificate):
    def ask(url):
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url, verify=str(certificate), timeout=10)
        return requests.get(url, verify=str(certificate), cert=str(certificate), timeout=10).status_code

    settings = {"certificate": certificate, "certificate_key": certificate, "client_ca": certificate}
    assert asked(ask, **settings)[0] == 200


def test_a_certificate_that_cannot_be_used_is_told_with_its_file(tmp_path):
    path = tmp_path / "cert.pem"
    path.write_text("no certificate")
    path.chmod(0o600)
    config = HttpListenConfig.model_validate({"certificate": path, "certificate_key": path})

    with pytest.raises(ConfigError, match=r"cert.pem.*cannot be used"):
        HttpListener(config, "collectors.x", echo)


@pytest.mark.parametrize(
    "settings",
    [
        {"listen": "9201"},
        {"listen": "127.0.0.1:99999"},
        {"user": "prom"},
        {"certificate": "a.pem"},
        {"client_ca": "a.pem"},
        {"listen": "[::]:9201"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r".+"):
        HttpListenConfig.model_validate(settings)


def test_a_body_beyond_the_bound_is_refused_while_it_comes(monkeypatch):
    monkeypatch.setattr(http_listener, "MAX_BODY", 1000)

    [small, large], _ = asked(
        lambda url: [requests.post(url, data=b"x" * size, timeout=10).status_code for size in (1000, 1001)]
    )

    assert (small, large) == (200, 413)


def test_a_port_that_is_taken_is_told_and_tried_again():
    port, outlet = free_port(), Taken()

    async def run():
        other = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        config = HttpListenConfig.model_validate({"listen": f"127.0.0.1:{port}"})
        running = asyncio.create_task(HttpListener(config, "collectors.x", echo).run(outlet))
        await asyncio.sleep(0.2)
        assert outlet.addresses == []
        other.close()
        await other.wait_closed()
        deadline = time.monotonic() + 30
        while not outlet.addresses and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())

    assert f"127.0.0.1:{port} cannot be listened on" in outlet.problems[0]
    assert outlet.problems[-1] == ""
    assert outlet.addresses == [f"http://127.0.0.1:{port}"]


def test_what_is_being_answered_when_it_ends_is_answered():
    begun = asyncio.Event()

    async def slow(call: Call) -> Reply:
        begun.set()
        await asyncio.sleep(0.3)
        return Reply(status=204)

    async def run():
        outlet = Taken()
        listener = HttpListener(HttpListenConfig(), "collectors.x", slow)
        running = asyncio.create_task(listener.run(outlet))
        while not outlet.addresses:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        asking = asyncio.create_task(asyncio.to_thread(requests.get, outlet.addresses[0], timeout=10))
        await begun.wait()
        running.cancel()
        return (await asking).status_code

    assert asyncio.run(run()) == 204
