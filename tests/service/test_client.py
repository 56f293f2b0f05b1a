"""The command line's way to a running Foreshock."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from foreshock.core.errors import Denied, Rejected, Unavailable
from foreshock.service.client import Client

ANSWERS = {
    "/refused": (409, b'{"error": "there is no incident", "hint": "list them"}'),
    "/broken": (500, b"Internal Server Error"),
    "/denied": (401, b"who are you?"),
    "/busy": (503, b"still loading"),
    "/gone": (404, b"{}"),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, body = ANSWERS[self.path]
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def client() -> Iterator[Client]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Client(f"http://127.0.0.1:{server.server_port}", None)
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/refused", Rejected, "^there is no incident; list them$"),
        ("/broken", Rejected, "/broken answered 500: Internal Server Error"),
        ("/denied", Denied, "who are you.*--token-file"),
        ("/busy", Unavailable, "still loading.*try again"),
    ],
)
def test_a_refusal_is_told_with_the_reason_and_remedy_of_the_answer(
    client: Client, path: str, kind: type[Exception], said: str
):
    with pytest.raises(kind, match=said):
        client.get(path)


def test_what_is_not_there_is_nothing(client: Client):
    assert client.get("/gone") is None
