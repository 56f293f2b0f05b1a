import base64
import gzip
import json
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foreshock.connect import http as http_module
from foreshock.connect.calls import AT_FIRST, RetryBudget
from foreshock.connect.http import (
    DEFAULT_429_WAIT_S,
    MAX_BODY_BYTES,
    Basic,
    Bearer,
    Http,
    read_retry_after,
)
from foreshock.core.errors import ConfigError, Denied, Rejected, Unavailable

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Server:
    """A loopback server; ``answer`` gets the handler of each request and does what it likes with it."""

    def __init__(self):
        self.requests = []
        self.answer = lambda handler: reply(handler, 200, b"{}")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                self.body = self.rfile.read(length)
                outer.requests.append(self)
                outer.answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815 (the library's names)

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Connections break here on purpose."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def use_tls(self, context):
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = self.url.replace("http://", "https://")

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def reply(handler, status, body=b"", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server():
    started = Server()
    yield started
    started.close()


@pytest.fixture
def open_http():
    opened = []

    def make(url, **settings):
        http = Http("servicenow 'prod'", url, **{"connect_timeout_s": 0.5, "read_timeout_s": 0.5, **settings})
        opened.append(http)
        return http

    yield make
    for http in opened:
        http.close()


def test_a_call_carries_path_parameters_body_and_credentials(server, open_http):
    server.answer = lambda handler: reply(handler, 201, b'{"result": {"number": "INC1"}}', X_Rate="7")
    http = open_http(f"{server.url}/api/", auth=Bearer("s3cret-token"))

    answer = http.post("/now/table/incident", params={"limit": 1}, json={"title": "db1 ist weg ☠"})

    (request,) = server.requests
    assert (request.command, request.path) == ("POST", "/api/now/table/incident?limit=1")
    assert json.loads(request.body) == {"title": "db1 ist weg ☠"}
    assert request.headers["Authorization"] == "Bearer s3cret-token"
    assert request.headers["User-Agent"].startswith("foreshock/")
    assert (answer.status, answer.headers["x-rate"], answer.json()) == (201, "7", {"result": {"number": "INC1"}})


# ---- repetitions ----


def falters(server, times, status=500):
    """The first so many requests fail."""
    server.answer = lambda handler: reply(handler, status if len(server.requests) <= times else 200, b"{}")


@pytest.fixture
def calm(monkeypatch):
    monkeypatch.setattr(http_module, "PAUSE_S", 0.0)


def test_a_call_that_only_reads_is_repeated_and_each_is_told(server, open_http, calm):
    falters(server, 2)
    made = []

    answer = open_http(server.url, retries=RetryBudget(), made=made.append).get("/")

    assert answer.status == 200
    assert [(each.safe, type(each.error)) for each in made] == [
        (True, Unavailable),
        (True, Unavailable),
        (True, type(None)),
    ]


@pytest.mark.parametrize("body", [b'{"result": [', b"<html>Your session has expired</html>"])
def test_half_an_answer_or_a_page_in_its_place_is_none(server, open_http, calm, body):
    server.answer = lambda handler: reply(handler, 200, b"{}" if len(server.requests) > 1 else body)
    made = []

    answer = open_http(server.url, retries=RetryBudget(), made=made.append).get("/")

    assert answer.json() == {}
    assert [type(each.error) for each in made] == [Unavailable, type(None)]


def test_a_search_by_post_is_repeated_where_it_is_called_safe(server, open_http, calm):
    falters(server, 1)

    assert open_http(server.url, retries=RetryBudget()).post("/search", json={}, safe=True).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_call_that_changes_something_is_never_repeated(server, open_http, calm, method):
    falters(server, 1)
    made = []

    with pytest.raises(Unavailable):
        open_http(server.url, retries=RetryBudget(), made=made.append).request(method, "/", json={})

    assert len(server.requests) == 1
    assert [(each.safe, type(each.error)) for each in made] == [(False, Unavailable)]


@pytest.mark.parametrize(("status", "error"), [(429, Unavailable), (401, Denied), (404, Rejected)])
def test_what_the_server_said_no_to_is_not_repeated(server, open_http, calm, status, error):
    falters(server, 1, status)

    with pytest.raises(error):
        open_http(server.url, retries=RetryBudget()).get("/")

    assert len(server.requests) == 1


def test_a_system_that_is_down_gets_few_calls_more_and_one_that_falters_is_asked_again(server, open_http, calm):
    http = open_http(server.url, retries=RetryBudget())
    falters(server, 10**6)
    for _ in range(20):
        with pytest.raises(Unavailable):
            http.get("/")
    while_down = len(server.requests)
    server.answer = lambda handler: reply(handler, 500 if len(server.requests) % 8 == 5 else 200, b"{}")
    for _ in range(40):
        http.post("/", json={}, safe=True)

    assert while_down == 20 + AT_FIRST


def test_basic_credentials_may_hold_any_letter(server, open_http):
    open_http(server.url, auth=Basic("jürgen", "pä:ss")).get("/")

    scheme, token = server.requests[0].headers["Authorization"].split()
    assert (scheme, base64.b64decode(token).decode()) == ("Basic", "jürgen:pä:ss")


def test_a_signer_sees_the_body_as_it_is_sent(server, open_http):
    def sign(request):
        request.headers["X-Signature"] = f"{len(request.body)} bytes"
        return request

    open_http(server.url, auth=sign).put("/", body=b"\x00raw")

    assert server.requests[0].headers["X-Signature"] == "4 bytes"
    assert server.requests[0].body == b"\x00raw"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Unavailable),
        (302, Unavailable),
        (400, Rejected),
        (401, Denied),
        (403, Denied),
        (404, Rejected),
        (407, Denied),
        (408, Unavailable),
        (409, Rejected),
        (410, Rejected),
        (413, Rejected),
        (422, Rejected),
        (425, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (599, Unavailable),
    ],
)
def test_a_status_says_what_happens_next_and_the_message_names_instance_path_and_status(
    server, open_http, status, error
):
    server.answer = lambda handler: reply(handler, status, b'{"error": "the field u_site is mandatory"}', Location="/x")

    with pytest.raises(error) as raised:
        open_http(server.url).get("/now/table/incident", params={"sysparm_query": "secret-looking"})

    message = str(raised.value)
    assert message.startswith(f"servicenow 'prod' at GET /now/table/incident answered HTTP {status}")
    assert "the field u_site is mandatory" in message
    assert "secret-looking" not in message
    assert len(server.requests) == 1  # no redirect followed, nothing tried again


def test_only_a_request_that_was_turned_away_is_certain_to_have_had_no_effect(server, open_http):
    unsent = {}
    for status in (429, 500, 503):
        server.answer = lambda handler, status=status: reply(handler, status)
        with pytest.raises(Unavailable) as raised:
            open_http(server.url).post("/")
        unsent[status] = raised.value.unsent

    assert unsent == {429: True, 500: False, 503: False}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        ("0.5", 0.5),
        (" 7 ", 7.0),
        (format_datetime(NOON + timedelta(seconds=90), usegmt=True), 90.0),
        ("999999999999", 3600.0),
        (format_datetime(NOON + timedelta(days=400), usegmt=True), 3600.0),
        ("0", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("1e9", None),
        ("9" * 400, None),
        ("nan", None),
        (format_datetime(NOON - timedelta(days=1), usegmt=True), None),
        ("Mon, 32 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_dates_within_sane_bounds(value, expected):
    assert read_retry_after(value, NOON) == expected


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [(429, "60", 60.0), (503, "60", 60.0), (429, "-1", DEFAULT_429_WAIT_S), (429, "junk", 30.0), (503, "junk", None)],
)
def test_a_limit_without_a_readable_time_still_means_a_pause(server, open_http, status, header, expected):
    server.answer = lambda handler: reply(handler, status, Retry_After=header)

    with pytest.raises(Unavailable) as raised:
        open_http(server.url).get("/")

    assert raised.value.retry_after_s == expected


def test_a_server_that_never_answers_frees_us_after_the_time_out(server, open_http):
    released = threading.Event()
    server.answer = lambda handler: released.wait(20)
    started = time.monotonic()
    try:
        with pytest.raises(Unavailable, match=r"GET /slow: no answer within 0\.5 s") as raised:
            open_http(server.url).get("/slow")
    finally:
        released.set()

    assert time.monotonic() - started < 5
    assert not raised.value.unsent


def test_a_body_that_drips_in_is_given_up_after_the_time_for_the_whole_answer(server, open_http):
    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)

    server.answer = drip
    started = time.monotonic()

    with pytest.raises(Unavailable, match="took longer than 1 s"):
        open_http(server.url).get("/")

    assert time.monotonic() - started < 4


def test_nobody_listening_is_certain_to_have_had_no_effect(open_http):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match="no connection") as raised:
            open_http(f"http://127.0.0.1:{port}").post("/")

    assert raised.value.unsent


def test_a_name_that_does_not_exist_is_certain_to_have_had_no_effect(open_http):
    with pytest.raises(Unavailable, match="no connection") as raised:
        open_http("http://no-such-host.invalid").get("/")

    assert raised.value.unsent


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", b"\x00garbage\r\n\r\n"])
def test_a_connection_that_breaks_may_have_had_an_effect(server, open_http, after):
    def reset(handler):
        handler.wfile.write(after)
        handler.wfile.flush()
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        handler.connection.close()

    server.answer = reset

    with pytest.raises(Unavailable) as raised:
        open_http(server.url).post("/")

    assert not raised.value.unsent
    assert "servicenow 'prod' at POST /" in str(raised.value)


def test_an_answer_that_ends_early_is_no_answer(server, open_http):
    def cut(handler):
        handler.wfile.write(b'HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n{"result"')
        handler.wfile.flush()
        handler.close_connection = True

    server.answer = cut

    with pytest.raises(Unavailable, match="the connection broke"):
        open_http(server.url).post("/")


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html><h1>Log in</h1></html>", "text/html"), (b"", "application/json"), (b"[" * 100_000, "application/json")],
)
def test_a_login_page_or_an_empty_answer_does_not_pass_for_success(server, open_http, body, kind):
    server.answer = lambda handler: reply(handler, 200, body, Content_Type=kind)
    answer = open_http(server.url).post("/login")

    with pytest.raises(Unavailable, match=rf"POST /login answered HTTP 200 with {len(body)} bytes that are not JSON"):
        answer.json()


def test_json_of_another_shape_does_not_pass_for_the_records_that_were_asked_for(server, open_http):
    server.answer = lambda handler: reply(handler, 200, b'{"tickets": [{"id": 1}], "users": [7]}')
    answer = open_http(server.url).get("/tickets")

    assert answer.rows("tickets") == [{"id": 1}]
    for name, message in (("groups", "without 'groups'"), ("users", "users that are no records")):
        with pytest.raises(Unavailable, match=rf"GET /tickets answered .*{message}; check that the address is the API"):
            answer.rows(name)


def test_a_giant_answer_is_not_read_to_its_end(server, open_http):
    server.answer = lambda handler: reply(handler, 200, b"x" * (MAX_BODY_BYTES + 1))

    with pytest.raises(Unavailable, match="more than 1048576 bytes"):
        open_http(server.url, read_timeout_s=10).get("/")


def test_a_giant_redirect_is_not_read_to_its_end(server, open_http):
    written = []

    def pour(handler):
        handler.send_response(302)
        handler.send_header("Location", "/elsewhere")
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x" * 1_000_000)
            written.append(1)

    server.answer = pour

    with pytest.raises(Unavailable, match="HTTP 302"):
        open_http(server.url).get("/")

    assert len(written) < 100


def test_an_answer_of_exactly_the_bound_is_taken(server, open_http):
    server.answer = lambda handler: reply(handler, 200, b"x" * MAX_BODY_BYTES)

    assert len(open_http(server.url, read_timeout_s=10).get("/").body) == MAX_BODY_BYTES


def test_a_small_answer_that_unpacks_to_a_giant_one_is_refused(server, open_http):
    bomb = gzip.compress(b"0" * (50 * 1024 * 1024))
    server.answer = lambda handler: reply(handler, 200, bomb, Content_Encoding="gzip")

    with pytest.raises(Unavailable, match="more than 1048576 bytes"):
        open_http(server.url, read_timeout_s=10).get("/")


def test_a_giant_error_page_still_says_what_its_status_says(server, open_http):
    server.answer = lambda handler: reply(handler, 400, b"<p>bad \x1b[31m\x00 thing</p>" + b"x" * 3_000_000)

    with pytest.raises(Rejected) as raised:
        open_http(server.url, read_timeout_s=10).get("/")

    assert "HTTP 400: bad [31m thing" in str(raised.value)
    assert len(str(raised.value)) < 500


def test_secrets_appear_in_no_message(server, open_http):
    server.answer = lambda handler: reply(
        handler, 401, f"{handler.headers['Authorization']} s3cret/path hunter2".encode()
    )
    http = open_http(server.url, auth=Basic("svc", "hunter2"), secrets=("s3cret",))

    with pytest.raises(Denied) as raised:
        http.get("/hooks/s3cret/path")

    message = str(raised.value)
    assert "hunter2" not in message
    assert "s3cret" not in message
    assert base64.b64encode(b"svc:hunter2").decode() not in message
    assert "/hooks/***/path" in message


def test_a_certificate_nobody_vouches_for_is_refused_and_one_from_the_ca_file_taken(server, open_http, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.use_tls(context)

    with pytest.raises(Unavailable, match=r"TLS failed: .*certificate.*; check the server's certificate"):
        open_http(server.url).get("/")
    assert server.requests == []
    assert open_http(server.url, ca_file=certificate).get("/").status == 200
    with pytest.raises(Unavailable, match="TLS failed"):  # right authority, wrong host
        open_http(server.url.replace("127.0.0.1", "localhost"), ca_file=certificate).get("/")


def test_a_server_that_wants_to_know_who_we_are_is_shown_our_certificate(server, open_http, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    server.use_tls(context)

    with pytest.raises(Unavailable):
        open_http(server.url, ca_file=certificate).get("/")
    ours = (certificate, certificate)  # the file holds the key too
    assert open_http(server.url, ca_file=certificate, client_cert=ours).get("/").status == 200


def test_a_certificate_without_its_key_is_refused_before_any_call(open_http, certificate, tmp_path):
    path = tmp_path / "other.pem"
    path.write_text("no key")

    with pytest.raises(ConfigError, match=r"client_cert_file: .*cannot use it with .*other.pem"):
        open_http("https://127.0.0.1:1", client_cert=(certificate, path))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_authorities_is_refused_before_any_call(open_http, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError, match=r"ca.pem: ca_file: servicenow 'prod' cannot use it"):
        open_http("https://itsm.example", ca_file=path)


def test_cookies_are_not_kept_between_calls(server, open_http):
    server.answer = lambda handler: reply(handler, 200, b"{}", Set_Cookie="session=1")
    http = open_http(server.url)
    http.get("/")
    http.get("/")

    assert server.requests[1].headers["Cookie"] is None


def test_the_environment_brings_neither_a_proxy_nor_credentials(server, open_http, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password oops\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    open_http(server.url).get("/")

    assert server.requests[0].headers["Authorization"] is None


def test_a_proxy_is_used_where_one_is_configured(server, open_http):
    open_http("http://itsm.invalid", proxy=server.url).get("/api")

    assert server.requests[0].path == "http://itsm.invalid/api"
