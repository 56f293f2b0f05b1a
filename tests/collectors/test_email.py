"""Alarms by e-mail: what a message says whatever its encoding, what it means, and a real mailbox."""

import asyncio
import imaplib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.email import EmailConfig, Mailbox, _build, decode, translate
from foreshock.connect.config import strictly
from foreshock.connect.mail import MailRule, read_mail, reading
from foreshock.core.contracts import Ignored, with_head
from foreshock.core.errors import Denied, Malformed, Unavailable
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.testing.fakes import Taken
from foreshock.testing.servers import Dovecot

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def message(
    subject: str, text: str = "no answer for 10 s", sender: str = "nagios@example.com", **headers: str
) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, "alarms@example.com", subject
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail.as_bytes()


def said(octets: bytes, *rules: dict[str, Any]) -> Event | Ignored:
    import msgspec

    head = msgspec.to_builtins(reading([strictly(rule, MailRule) for rule in rules], (), DAY))
    (item,) = decode(with_head(head, octets))
    return translate(item, NOON)


def identity(octets: bytes, *rules: dict[str, Any]) -> tuple[dict[str, str], bool]:
    """Labels, and whether the alert is over."""
    event = said(octets, *rules)
    assert isinstance(event, Event)
    assert event.ends_at is not None
    return read_labels(event.labels), event.ends_at <= NOON


# ---- what it means --------------------------------------------------------------------------------------------------

PAIRS = {
    "Nagios": ("** PROBLEM Service Alert: web-1/HTTP is CRITICAL **", "** RECOVERY Service Alert: web-1/HTTP is OK **"),
    "Zabbix": ("Problem: Disk space is low on db1", "Resolved in 1m 5s: Disk space is low on db1"),
    "Alertmanager": ("[FIRING:1] DiskFull db1", "[RESOLVED] DiskFull db1"),
    "a word in front": ("WARNING - queue long", "OK - queue long"),
    "forwarded": ("Fwd: DOWN: router-7", "UP: router-7"),
}


@pytest.mark.parametrize(("problem", "recovery"), PAIRS.values(), ids=PAIRS)
def test_without_a_rule_an_alarm_and_its_recovery_are_one_alert(problem: str, recovery: str):
    opened, ended = identity(message(problem)), identity(message(recovery))

    assert opened[0] == ended[0]
    assert (opened[1], ended[1]) == (False, True)


def test_other_subjects_are_other_alerts():
    assert identity(message("PROBLEM: disk on db1"))[0] != identity(message("PROBLEM: disk on db2"))[0]


RULE = {
    "subject": "(?P<state>PROBLEM|RECOVERY): (?P<check>.+) on (?P<host>.+)",
    "body": "level=(?P<level>[a-z]+)",
    "labels": {"alertname": "{check}", "host": "{host}"},
    "severity": "{level}",
    "resolved": "^RECOVERY",
}


def test_a_rule_names_the_alert_by_what_its_patterns_find():
    problem = said(message("PROBLEM: disk full on db1", "level=major"), RULE)

    assert isinstance(problem, Event)
    assert read_labels(problem.labels) == {"alertname": "disk full", "host": "db1"}
    assert (problem.severity, problem.ends_at) == ("major", NOON + DAY)
    assert identity(message("RECOVERY: disk full on db1", "level=ok"), RULE) == (read_labels(problem.labels), True)


def test_where_one_pattern_does_not_match_the_next_rule_counts():
    ignored = {"subject": "newsletter", "ignore": True}

    assert isinstance(said(message("our newsletter"), RULE, ignored), Ignored)
    assert identity(message("PROBLEM: disk full on db1", "no level"), RULE, ignored)[0]["alertname"] == "Mail"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"subject": "(?P<a>x", "labels": {"alertname": "y"}}, "no valid pattern"),
        ({"subject": r"(a)\1", "labels": {"alertname": "y"}}, "no valid pattern"),
        ({"subject": "x"}, "no alertname"),
        ({"subject": "x", "labels": {"alertname": "{host}"}}, "nothing here is called 'host'"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        strictly(rule, MailRule)


AUTOMATIC = [{"Auto_Submitted": "auto-replied (vacation)"}, {"Precedence": "auto_reply"}, {"X_Autoreply": "yes"}]


@pytest.mark.parametrize("headers", AUTOMATIC)
def test_answers_of_machines_are_passed_over(headers: dict[str, str]):
    assert isinstance(said(message("PROBLEM: x", **headers)), Ignored)


def test_an_alarm_that_says_it_was_generated_is_taken():
    assert isinstance(said(message("PROBLEM: x", Auto_Submitted="auto-generated")), Event)


def test_only_senders_that_are_named_are_listened_to():
    allowed = reading((), ("@example.com", "pager@example.net"), DAY)

    seen = ("a@example.com", "pager@example.net", "x@example.net", "a@notexample.com")
    assert [allowed.lets_in(each) for each in seen] == [True, True, False, False]


def test_a_message_from_the_future_is_dated_now():
    assert said(message("PROBLEM: x", Date="Mon, 22 Nov 2027 03:17:56 +0000")).starts_at is None  # type: ignore[union-attr]
    earlier = said(message("PROBLEM: x", Date="Sun, 22 Nov 2026 05:17:56 +0530"))
    assert isinstance(earlier, Event)
    assert earlier.starts_at == datetime(2026, 11, 21, 23, 47, 56, tzinfo=UTC)


# ---- what it says ---------------------------------------------------------------------------------------------------

HEAD = b"From: a@example.com\r\nSubject: x\r\n"
BODIES = {
    "Latin-1 that says it is UTF-8": (b"Content-Type: text/plain; charset=utf-8\r\n\r\nf\xfcr", "f\u00fcr"),
    "a charset nobody knows": (b"Content-Type: text/plain; charset=x-klingon\r\n\r\nplain", "plain"),
    "quoted-printable": (b"Content-Transfer-Encoding: quoted-printable\r\n\r\nf=C3=BCr", "f\u00fcr"),
    "base64 that is cut off": (b"Content-Transfer-Encoding: base64\r\n\r\ncGxhaW4g", "plain"),
    "HTML only": (b"Content-Type: text/html\r\n\r\n<style>p{}</style><p>down</p><script>x()</script>", "down"),
    "a part that never ends": (b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nplain', "plain"),
    "an attachment first": (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n'
        b"Content-Disposition: attachment\r\n\r\nlog\r\n--b\r\n\r\nplain\r\n--b--",
        "plain",
    ),
    "control characters": (b"\r\na\x00b\x1b[31mc", "ab[31mc"),
}


@pytest.mark.parametrize(("rest", "text"), BODIES.values(), ids=BODIES)
def test_the_text_is_read_whatever_its_encoding(rest: bytes, text: str):
    assert read_mail(HEAD + rest).text == text


def test_encoded_headers_are_read():
    mail = read_mail(
        b"From: =?utf-8?q?=C3=BC?= <A@Example.com>\r\nSubject: =?iso-8859-1?q?f=FCr?=\r\n =?x-no?q?x?=\r\n\r\n"
    )

    assert (mail.sender, mail.subject) == ("a@example.com", "f\u00fcrx")


@pytest.mark.parametrize("octets", [b"", b"\x00" * 50, b"Subject: x\r\n\r\nno sender", b"From: a@example.com\r\n\r\n"])
def test_a_message_that_says_nothing_is_refused(octets: bytes):
    with pytest.raises(Malformed):
        read_mail(octets)


NOISE = st.sampled_from(
    b"From: |a@b.c|Subject: |=?utf-8?b?|?=|\r\n|\n|\r\n\r\n|Content-Type: multipart/mixed; boundary=b|--b|--b--|"
    b'Content-Transfer-Encoding: base64|message/rfc822|Date: |99999|;|"|\xff|('.split(b"|")
)


@settings(max_examples=200)
@given(octets=st.lists(NOISE | st.binary(max_size=8), max_size=40).map(b"".join))
def test_any_octets_are_read_or_refused(octets: bytes):
    with suppress(Malformed):
        read_mail(octets)
    with suppress(Malformed):
        read_mail(HEAD + octets)


# ---- a real mailbox -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dovecot(require: Callable[..., None]) -> Iterator[Dovecot]:
    require("dovecot")
    with Dovecot() as server:
        yield server


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A mailbox for each test."""
    return f"u{abs(hash(request.node.name)) % 10**9}"


def client(server: Dovecot, user: str) -> imaplib.IMAP4:
    connection = imaplib.IMAP4("127.0.0.1", server.port)
    connection.login(user, server.password)
    return connection


def sent(server: Dovecot, user: str, *messages: bytes) -> None:
    with client(server, user) as connection:
        for octets in messages:
            assert connection.append("INBOX", "", "", octets.replace(b"\n", b"\r\n"))[0] == "OK"


def left(server: Dovecot, user: str, folder: str = "INBOX", what: str = "ALL") -> int:
    with client(server, user) as connection:
        connection.select(folder, readonly=True)
        return len(connection.search(None, what)[1][0].split())


def config(server: Dovecot, user: str, **given: Any) -> EmailConfig:
    plain = {"host": "127.0.0.1", "port": server.port, "security": "none", "user": user, "password_file": "secret"}
    return strictly({**plain, **given}, EmailConfig)


def read(settings: EmailConfig, secret: str, work: Callable[[Taken], Awaitable[None]]) -> Taken:
    async def run() -> Taken:
        outlet = Taken()
        task = asyncio.create_task(Mailbox("mail", settings, lambda: secret).run(outlet))
        try:
            async with asyncio.timeout(30):
                working = asyncio.create_task(work(outlet))
                await asyncio.wait([task, working], return_when=asyncio.FIRST_COMPLETED)
                await (task if task.done() else working)
        finally:
            working.cancel()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return outlet

    return asyncio.run(run())


async def until(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - what it waits for is no event
        await asyncio.sleep(0.02)


def test_an_alarm_and_its_recovery_come_in_and_are_marked(dovecot: Dovecot, user: str):
    sent(dovecot, user, message("PROBLEM: disk full on db1"))

    async def work(outlet: Taken) -> None:
        await until(lambda: len(outlet.payloads) == 1)
        # By then it waits for what the server tells of: this comes in at once, not after a minute.
        await asyncio.to_thread(sent, dovecot, user, message("RECOVERY: disk full on db1"))
        await until(lambda: len(outlet.payloads) == 2)
        await until(lambda: left(dovecot, user, what="SEEN") == 2)

    outlet = read(config(dovecot, user), dovecot.password, work)

    events = [translate(item, NOON) for _, payload in outlet.payloads for item in decode(payload)]
    assert [read_labels(event.labels)["subject"] for event in events if isinstance(event, Event)] == [
        "disk full on db1"
    ] * 2
    assert isinstance(events[0], Event)
    assert read_annotations(events[0].annotations)["description"] == "no answer for 10 s"
    assert left(dovecot, user, what="UNSEEN") == 0


def test_a_message_is_not_marked_before_it_is_on_disk(dovecot: Dovecot, user: str):
    sent(dovecot, user, message("PROBLEM: x"))

    async def work(outlet: Taken) -> None:
        outlet.refuse = Unavailable("the disk is full")
        await until(lambda: outlet.problems)
        assert left(dovecot, user, what="UNSEEN") == 1
        outlet.refuse = None
        await until(lambda: left(dovecot, user, what="UNSEEN") == 0)

    outlet = read(config(dovecot, user), dovecot.password, work)

    assert len(outlet.payloads) == 1
    assert outlet.problems[-1] == ""


@pytest.mark.parametrize("how", [{"done": "delete"}, {"move_to": "Taken"}], ids=["deleted", "moved"])
def test_a_message_that_was_taken_goes_where_it_should(dovecot: Dovecot, user: str, how: dict[str, str]):
    sent(dovecot, user, message("PROBLEM: x"))
    with client(dovecot, user) as connection:
        connection.create("Taken")

    async def work(outlet: Taken) -> None:
        await until(lambda: left(dovecot, user) == 0)

    read(config(dovecot, user, **how), dovecot.password, work)

    assert left(dovecot, user, "Taken") == ("move_to" in how)


def test_a_wrong_password_is_told_and_not_tried_again(dovecot: Dovecot, user: str):
    async def run() -> None:
        await Mailbox("mail", config(dovecot, user), lambda: "wrong").run(Taken())

    with pytest.raises(Denied, match="password_file"):
        asyncio.run(asyncio.wait_for(run(), 20))


def test_a_server_that_is_away_is_told_and_asked_again(user: str, dovecot: Dovecot):
    async def work(outlet: Taken) -> None:
        await until(lambda: outlet.problems)

    nowhere = config(dovecot, user).model_copy(update={"port": 1})
    outlet = read(nowhere, "secret", work)

    assert "mail" in outlet.problems[0]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"host": "imap.example.com"}, "without encryption"),
        ({"token_file": "token"}, "a password_file or a token_file"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], why: str):
    plain = {"host": "127.0.0.1", "security": "none", "user": "alarms", "password_file": "secret"}
    with pytest.raises(ValueError, match=why):
        strictly({**plain, **given}, EmailConfig)


def test_a_token_is_read_again_at_each_connection(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("first")
    token.chmod(0o600)
    settings = strictly({"host": "imap.example.com", "user": "a", "token_file": str(token)}, EmailConfig)
    mailbox = _build("mail", settings)

    token.write_text("second")

    assert mailbox._secret() == "second"
