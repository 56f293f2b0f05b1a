"""Checks of our own: against servers on this machine, and when what they find is an alert."""

import asyncio
import http.server
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest

from collectors import probe
from collectors.probe import Found, ProbeConfig, Probes, ProbeTarget, State, check, decode, translate
from foreshock.connect.config import strictly
from foreshock.core.errors import Malformed, Unavailable
from foreshock.core.model import Event, read_labels
from foreshock.testing.fakes import Taken
from foreshock.testing.servers import free_port

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, _, rest = self.path.strip("/").partition("/")
        if status == "slow":
            self.server.released.wait(5)  # type: ignore[attr-defined]
        self.send_response(int(status) if status.isdigit() else 200)
        if status == "302":
            self.send_header("Location", f"/{rest}" if rest else self.path)
        body = b"all is well" if self.headers.get("X-Key") != "secret" else b"hello, you"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[str]:
    """The address of a server whose first part of the path is the status it answers with."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.released = threading.Event()  # type: ignore[attr-defined]
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with serving() as address:
        yield address


def target(url: str, **given: Any) -> ProbeTarget:
    return strictly({"url": url, **given}, ProbeTarget)


def problem(url: str, **given: Any) -> str:
    return check(target(url, **given), 2.0).problem


# ---- single checks --------------------------------------------------------------------------------------------------


def test_an_answer_that_is_right_is_no_problem_and_has_a_time(web: str):
    found = check(target(f"{web}/200", body="all .* well"), 5.0)

    assert found.problem == ""
    assert found.seconds > 0
    assert found.days_left is None


WRONG = {
    "a status": ("/503", {}, "HTTP 503"),
    "a status that is not the one": ("/200", {"status": [401]}, "HTTP 200"),
    "a text": ("/200", {"body": "^fine"}, "does not match"),
    "a redirect to itself": ("/302", {}, "redirects"),
    "a redirect to a failure": ("/302/500", {}, "HTTP 500"),
}


@pytest.mark.parametrize(("path", "given", "why"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_told(web: str, path: str, given: dict[str, Any], why: str):
    assert why in problem(web + path, **given)


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/401", {"status": [401]}),
        ("/302/200", {}),
        ("/302/500", {"follow": False}),
        ("/", {"headers": {"X-Key": "secret"}, "body": "you"}),
    ],
)
def test_what_is_right_is_a_setting(web: str, path: str, given: dict[str, Any]):
    assert problem(web + path, **given) == ""


def test_no_answer_is_told(web: str):
    assert problem(f"http://127.0.0.1:{free_port()}/") == "no connection: Connection refused"
    assert problem(f"tcp://127.0.0.1:{free_port()}") == "no connection: Connection refused"
    assert "is not known" in problem("tcp://nowhere.invalid:80")
    assert check(target(f"{web}/slow"), 0.2).problem == "no answer within 0.2 s"


def test_a_port_that_is_open_is_enough_for_tcp(web: str):
    assert problem(web.replace("http", "tcp")) == ""


def test_a_server_that_is_no_web_server_is_told():
    class Noise(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"\x00\xff nothing\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Noise) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        assert "no answer in HTTP" in problem(f"http://127.0.0.1:{server.server_address[1]}/")
        thread.join()


def test_a_certificate_is_checked_and_its_days_are_counted(certificate: Path):
    with serving(certificate) as address:
        for url in (f"{address}/200", address.replace("https", "tls")):
            trusted = check(target(url, ca_file=str(certificate)), 5.0)
            assert trusted.problem == ""
            assert trusted.days_left == pytest.approx(2, abs=0.1)
            assert "certificate is not valid" in problem(url)
            unchecked = check(target(url, verify=False), 5.0)
            assert (unchecked.problem, round(unchecked.days_left or 0)) == ("", 2)


def test_a_port_without_tls_has_no_certificate(web: str):
    assert "no TLS" in problem(web.replace("http", "tls"))


@contextmanager
def name_server() -> Iterator[str]:
    """Answers each question about ``www.example.com`` with one address, and knows no other name."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            octets, bound = self.request
            question = dns.message.from_wire(octets)
            answer = dns.message.make_response(question)
            name = question.question[0].name
            if name.to_text() == "www.example.com.":
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.80"))
            else:
                answer.set_rcode(3)
            bound.sendto(answer.to_wire(), self.client_address)

    with socketserver.UDPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"dns://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_name_server_is_asked_and_its_answer_compared():
    with name_server() as address:
        assert problem(f"{address}/www.example.com", answer="192.0.2.80") == ""
        assert "not 192.0.2.81" in problem(f"{address}/www.example.com", answer="192.0.2.81")
        assert "NXDOMAIN" in problem(f"{address}/other.example.com")


def test_this_machine_answers_a_ping():
    found = check(target("icmp://127.0.0.1"), 4.0)
    if found.ours:
        pytest.skip("ICMP is not allowed here: net.ipv4.ping_group_range")

    assert found.problem == ""


# ---- when it is an alert --------------------------------------------------------------------------------------------


def course(state: State, *bad: int) -> list[bool | None]:
    return [(state.judge(bool(each)), state.open)[1] for each in bad]


def test_three_of_five_open_and_two_in_a_row_end():
    state = State(3, 5, 2)

    assert course(state, 0, 0, 1, 0, 1, 1) == [None, False, False, False, False, True]
    assert course(state, 0, 1, 0, 0) == [True, True, True, False]
    assert course(state, 1, 1) == [False, False], "it begins anew"


def test_what_is_not_sure_yet_is_looked_at_again_soon():
    state = State(3, 5, 2)
    sure = [(state.judge(bool(bad)), state.sure)[1] for bad in (0, 0, 1, 1, 1, 1, 0, 0)]

    assert sure == [False, True, False, False, True, True, False, True]


class Answers:
    """In place of checks: what a test says, the last one again and again."""

    def __init__(self, *found: Found) -> None:
        self._found = list(found)
        self.asked = 0

    def __call__(self, target: ProbeTarget, timeout_s: float) -> Found:
        self.asked += 1
        return self._found.pop(0) if len(self._found) > 1 else self._found[0]


GOOD, BAD = Found(seconds=0.1), Found("HTTP 503", 0.1)


def watched(monkeypatch: pytest.MonkeyPatch, answers: Answers, until: Callable[[Taken], object], **given: Any) -> Taken:
    monkeypatch.setattr(probe, "AGAIN_S", 0.01)
    monkeypatch.setattr(probe, "_FLUSH_S", 0.01)
    default = {"targets": [{"url": "http://shop.example.com/", "slow": "1s"}], "every": "5s"}
    config = strictly({**default, **given}, ProbeConfig).model_copy(update={"every": timedelta(milliseconds=20)})

    async def run() -> Taken:
        outlet = Taken()
        task = asyncio.create_task(Probes("probes", config, answers).run(outlet))
        try:
            async with asyncio.timeout(20):
                while not until(outlet):  # noqa: ASYNC110 - what it waits for is no event
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return outlet

    return asyncio.run(run())


def told(outlet: Taken) -> list[tuple[str, bool]]:
    return [(read_labels(event.labels)["alertname"], event.ends_at is not None) for event in events(outlet)]


def events(outlet: Taken) -> list[Event]:
    items = [item for _, payload in outlet.payloads for item in decode(payload)]
    return [translate(item, NOON) for item in items if not isinstance(item, Malformed)]


def test_one_failure_disturbs_nobody(monkeypatch: pytest.MonkeyPatch):
    answers = Answers(GOOD, GOOD, BAD, GOOD)

    outlet = watched(monkeypatch, answers, lambda outlet: len(told(outlet)) >= 2)

    assert told(outlet) == [("ProbeFailed", True), ("ProbeSlow", True)], "after a start it is told once how it is"


def test_a_target_that_fails_and_comes_back_is_one_alert(monkeypatch: pytest.MonkeyPatch):
    answers = Answers(BAD, BAD, BAD, GOOD)

    outlet = watched(monkeypatch, answers, lambda outlet: ("ProbeFailed", True) in told(outlet))

    failed = [event for event in events(outlet) if read_labels(event.labels)["alertname"] == "ProbeFailed"]
    assert [event.ends_at is not None for event in failed] == [False, True]
    assert len({bytes(event.labels) for event in failed}) == 1
    assert read_labels(failed[0].labels)["host"] == "shop.example.com"
    assert {each.series.metric: list(each.values) for each in outlet.samples[:1]} == {"probe_up": [0.0]}


def test_a_slow_answer_and_a_short_certificate_are_alerts_of_their_own(monkeypatch: pytest.MonkeyPatch):
    answers = Answers(Found(seconds=2.5, days_left=3.0))

    outlet = watched(monkeypatch, answers, lambda outlet: ("ProbeSlow", False) in told(outlet))

    assert ("CertificateExpiring", False) in told(outlet)
    assert ("ProbeFailed", False) not in told(outlet)
    assert {"probe_seconds", "certificate_days_left"} <= {each.series.metric for each in outlet.samples}


def test_what_cannot_be_checked_from_here_is_said_and_no_alert(monkeypatch: pytest.MonkeyPatch):
    outlet = watched(monkeypatch, Answers(Found("ICMP is not allowed", ours=True)), lambda outlet: outlet.problems)

    assert "ICMP is not allowed" in outlet.problems[0]
    assert outlet.payloads == []


def test_what_is_found_while_nothing_can_be_kept_is_told_later(monkeypatch: pytest.MonkeyPatch):
    answers = Answers(BAD)

    def until(outlet: Taken) -> bool:
        outlet.refuse = Unavailable("the disk is full") if answers.asked < 5 else None
        return bool(outlet.payloads)

    assert told(watched(monkeypatch, answers, until)) == [("ProbeFailed", False)]


def test_what_many_targets_tell_at_once_is_parted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "_RECORD_ITEMS", 3)
    targets = [{"url": f"tcp://192.0.2.{number}:80"} for number in range(20)]

    outlet = watched(monkeypatch, Answers(BAD), lambda outlet: len(told(outlet)) >= 20, targets=targets)

    assert max(len(decode(payload)) for _, payload in outlet.payloads) == 3
    assert len({bytes(event.labels) for event in events(outlet)}) == 20


def test_checks_at_the_same_time_are_bounded(monkeypatch: pytest.MonkeyPatch):
    lock, now, most, done = threading.Lock(), [0], [0], threading.Event()

    class Slow(Answers):
        def __call__(self, target: ProbeTarget, timeout_s: float) -> Found:
            with lock:
                self.asked += 1
                now[0] += 1
                most[0] = max(most[0], now[0])
            done.wait(0.01)
            with lock:
                now[0] -= 1
            return GOOD

    answers = Slow(GOOD)
    targets = [{"url": f"tcp://192.0.2.{number}:80"} for number in range(40)]
    watched(monkeypatch, answers, lambda _: answers.asked >= 80, targets=targets, concurrency=4)

    assert most[0] == 4


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com", "'ftp' cannot be checked"),
        ("https://user:secret@example.com", "a user or a password"),
        ("tcp://example.com", "has no port"),
        ("http://", "has no host"),
        ("dns://192.0.2.53/", "nothing to ask for"),
        ("http://example.com:99999", "Port out of range"),
    ],
)
def test_a_target_that_cannot_be_checked_is_refused(url: str, why: str):
    with pytest.raises(ValueError, match=why):
        target(url)


def test_two_targets_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two are called"):
        strictly({"targets": [{"url": "tcp://a:1"}, {"url": "tcp://a:1"}]}, ProbeConfig)


def test_a_server_that_drips_holds_nobody_up():
    stop = threading.Event()

    def drip(listening: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.05):
                    connection.sendall(b"x")

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=drip, args=(listening,), daemon=True)
        thread.start()
        found = check(target(f"http://127.0.0.1:{listening.getsockname()[1]}/", body="never"), 0.3)
        stop.set()
        thread.join()

    assert found.problem == "no answer within 0.3 s"


def test_an_alert_that_lasts_is_told_again(monkeypatch: pytest.MonkeyPatch):
    config = strictly({"targets": [{"url": "tcp://a:1"}], "failures": 1, "of": 1}, ProbeConfig)
    one = probe._Watched(config.targets[0], config)

    rounds = [list(one.judge(BAD, NOON + timedelta(seconds=at), at)) for at in (0.0, 300.0, 600.0, 900.0)]

    assert [len(news) for news in rounds] == [1, 0, 1, 0]
