"""Syslog as senders have it: whatever comes is a message, and nothing of it is lost at a boundary."""

import os
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.connect.syslog import MAX_BYTES, Frames, Parts, date, facility, severity, split, structured, words

RECEIVED = datetime(2026, 11, 22, 3, 8, 14, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
fuzzed = settings(max_examples=int(os.environ.get("FORESHOCK_FUZZ_EXAMPLES", "200")))


def parts(priority: int, text: bytes, **more: bytes) -> Parts:
    given = {name: more.get(name, b"") for name in ("when", "host", "app", "process", "id", "data")}
    return Parts(priority, *given.values(), text)


BSD, ISO = b"Nov 22 03:08:13", b"2026-11-22T03:08:13.656434+00:00"
MESSAGES = {
    "rsyslog, RFC 5424": (
        b"<130>1 " + ISO + b" host-a shop - - -  disk failure on /dev/sdb \xe2\x80\x94\n",
        parts(130, "disk failure on /dev/sdb —".encode(), when=ISO, host=b"host-a", app=b"shop"),
    ),
    "logger, with structured data": (
        b'<27>1 %s w1 shop 7 DISK [timeQuality tzKnown="1"][lab@32473 vol="b\\]"] udp' % ISO,
        parts(27, b"udp", when=ISO, host=b"w1", app=b"shop", process=b"7", id=b"DISK",
              data=b'[timeQuality tzKnown="1"][lab@32473 vol="b\\]"]'),
    ),
    "all nil": (b"<165>1 - - - - - -", parts(165, b"")),
    "a byte order mark": (b"<11>1 - h a - - - \xef\xbb\xbfT\xc3\xbcr", parts(11, "Tür".encode(), host=b"h", app=b"a")),
    "rsyslog, traditional": (
        b"<130>" + BSD + b" host-a shop[12]: disk failure",
        parts(130, b"disk failure", when=BSD, host=b"host-a", app=b"shop", process=b"12"),
    ),
    "rsyslog, ISO time": (
        b"<27>" + ISO + b" w1 shop: it fails\n", parts(27, b"it fails", when=ISO, host=b"w1", app=b"shop")
    ),
    "a tag without a colon is text": (
        b"<27>" + BSD + b" w1 shop udp 5424 message", parts(27, b"shop udp 5424 message", when=BSD, host=b"w1")
    ),
    "no host": (
        b"<38>" + BSD + b" sshd[123]: Failed", parts(38, b"Failed", when=BSD, app=b"sshd", process=b"123")
    ),
    "no time": (b"<13>myapp: text", parts(13, b"text", app=b"myapp")),
    "no priority": (ISO + b" host app: text", parts(13, b"text", when=ISO, host=b"host", app=b"app")),
    "nothing but words": (b"it broke: badly", parts(13, b"it broke: badly")),
    "a priority that cannot be": (b"<999>x", parts(13, b"<999>x")),
    "nothing": (b"", parts(13, b"")),
    "RFC 3164's example": (
        b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        parts(34, b"'su root' failed for lonvick on /dev/pts/8", when=b"Oct 11 22:14:15", host=b"mymachine", app=b"su"),
    ),
    "an address of IPv6 for a host": (
        b"<11>" + BSD + b" fe80::1 kernel: oops", parts(11, b"oops", when=BSD, host=b"fe80::1", app=b"kernel")
    ),
    "Cisco, the clock not set": (
        b"<189>45: *Mar  1 00:00:00.123: %LINK-3-UPDOWN: Interface Gi0/1, changed state to down",
        parts(189, b"Interface Gi0/1, changed state to down", when=b"*Mar  1 00:00:00.123", app=b"LINK-3-UPDOWN",
              id=b"LINK-3-UPDOWN"),
    ),
    "Cisco, with origin, numbers and zone": (
        b"<189>45: R1: 000123: *Mar  1 18:46:11.123 UTC: %SYS-5-CONFIG_I: Configured",
        parts(189, b"Configured", when=b"*Mar  1 18:46:11.123 UTC", host=b"R1", app=b"SYS-5-CONFIG_I",
              id=b"SYS-5-CONFIG_I"),
    ),
    "Cisco, through rsyslog": (
        b"<189>1 %s relay sw1 - - - %%LINK-3-UPDOWN: Interface" % ISO,
        parts(189, b"Interface", when=ISO, host=b"relay", app=b"LINK-3-UPDOWN", id=b"LINK-3-UPDOWN"),
    ),
    "Cisco ASA": (
        b"<166>Nov 22 2026 03:08:13 fw1 : %ASA-6-302013: Built",
        parts(166, b"Built", when=b"Nov 22 2026 03:08:13", host=b"fw1", app=b"ASA-6-302013", id=b"ASA-6-302013"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_taken_apart_as_its_sender_meant_it(raw: bytes, expected: Parts):
    assert split(raw) == expected


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(lambda w: w != "-")


@fuzzed
@given(st.integers(0, 191), WORD, WORD, WORD, WORD, st.text(max_size=60))
def test_what_was_written_by_rfc_5424_is_read_so(priority: int, host: str, app: str, process: str, id: str, text: str):
    said = text.strip().lstrip("\ufeff").strip("\r\n\0 ")
    raw = f"<{priority}>1 2026-11-22T03:08:13Z {host} {app} {process} {id} - {said}".encode()

    found = split(raw)

    assert (found.priority, found.host, found.app) == (priority, host.encode(), app.encode())
    assert (found.process, found.id, found.text) == (process.encode(), id.encode(), said.encode())
    assert severity(found.priority) == severity(priority & 7)
    assert facility(found.priority)


LIKELY = st.sampled_from(
    [b"<13>", b"<13>1 ", b"Nov 22 03:08:13", b"Feb 29 23:59:60", b" ", b": ", b"-", b"[", b"]", b'"', b"\\",
     b"%A-1-B: ", b"host", b"*", b"2026-11-22T03:08:13Z", b"12: ", b"\0", b"\xff", b"fe80::1 ", b"a" * 300]
)  # fmt: skip


@fuzzed
@given(st.lists(LIKELY | st.binary(max_size=8), max_size=14).map(b"".join))
def test_any_bytes_are_a_message(raw: bytes):
    found = split(raw)

    assert 0 <= found.priority <= 191
    assert found == split(raw)
    at, note = date(found.when, RECEIVED, BERLIN)
    assert at is None or (at.tzinfo is UTC and abs(at - RECEIVED) <= timedelta(days=1) and not note)
    for part in found[1:]:
        words(part)
    assert len(structured(found.data)) <= 30


def test_a_long_message_that_nearly_fits_costs_no_more_than_its_length():
    for raw in (
        b"<13>1 - h a - - " + b'[a b="c"' * 8000, b"<13>1 - h a - - " + b'[a b="c" ' + b"\\" * 60000,
        b"<13>" + b"1: " * 20000, b"<13>" + BSD + b" " + b"a" * 60000, b"<13>" + b":" * 60000,
    ):  # fmt: skip
        split(raw)  # else this takes minutes
        structured(raw)


# ---- dates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        pytest.param(b"2026-11-22T03:08:13.5Z", "03:08:13.500000", id="ISO with a zone"),
        pytest.param(b"2026-11-22T04:08:13+01:00", "03:08:13", id="another zone"),
        pytest.param(b"2026-11-22T04:08:13", "03:08:13", id="ISO without a zone is local"),
        pytest.param(b"Nov 22 04:08:13", "03:08:13", id="no year, local"),
        pytest.param(b"Nov 22 03:08:13.250 UTC", "03:08:13.250000", id="a zone that is known"),
        pytest.param(b"Nov 22 2026 04:08:13", "03:08:13", id="with a year"),
        pytest.param(b"2026 Nov 22 04:08:13", "03:08:13", id="the year first"),
    ],
)
def test_a_date_is_aware_utc(when: bytes, expected: str):
    assert date(when, RECEIVED, BERLIN) == (datetime.fromisoformat(f"2026-11-22T{expected}+00:00"), "")


@pytest.mark.parametrize(
    ("when", "why"),
    [
        pytest.param(b"*Mar  1 00:00:00.123", "not set", id="Cisco says so"),
        pytest.param(b"2019-11-22T03:08:13Z", "far off: 2019-11-22", id="years ago"),
        pytest.param(b"Jun  3 03:08:13", "far off", id="months away"),
        pytest.param(b"Feb 31 03:08:13", "is none", id="no such day"),
        pytest.param(b"2026-13-22T03:08:13Z", "is none", id="no such month"),
        pytest.param(b"", "", id="none"),
    ],
)
def test_a_clock_that_is_wrong_is_noted_and_not_believed(when: bytes, why: str):
    found, note = date(when, RECEIVED, UTC)

    assert found is None
    assert why in note


def test_around_new_year_the_year_is_the_one_that_is_near():
    eve = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    new = eve + timedelta(seconds=2)

    assert date(b"Dec 31 23:59:59", new, UTC)[0] == eve
    assert date(b"Jan  1 00:00:01", eve, UTC)[0] == new
    assert date(b"Feb 29 12:00:00", datetime(2028, 2, 29, 13, tzinfo=UTC), UTC)[0] is not None


# ---- streams --------------------------------------------------------------------------------------------------------

FRAMED = {
    "counted": lambda message: b"%d %s" % (len(message), message),
    "line": lambda message: message.replace(b"\n", b" ") + b"\n",
    "carriage return": lambda message: message.replace(b"\n", b" ") + b"\r\n",
    "zero and line": lambda message: message.replace(b"\n", b" ") + b"\0\n",
    "zero": lambda message: message.replace(b"\n", b" ") + b"\0",
    "counted with a line break": lambda message: b"%d %s\n" % (len(message) + 1, message),
}
TEXT = st.binary(max_size=40).map(lambda text: b"<13>" + text.replace(b"\0", b"").replace(b"\r", b"") + b".")


FRAMING = st.sampled_from(list(FRAMED))


@fuzzed
@given(st.lists(st.tuples(TEXT, FRAMING), max_size=12), st.lists(st.integers(1, 30), max_size=40))
def test_messages_come_out_of_a_stream_whole_wherever_it_is_cut(messages: list[tuple[bytes, str]], cuts: list[int]):
    stream = b"".join(FRAMED[framing](message) for message, framing in messages)
    frames, found = Frames(), []
    while stream:
        size = cuts.pop() if cuts else len(stream)
        found += frames.feed(stream[:size])
        stream = stream[size:]
    found += frames.end()

    expected = [m if framing.startswith("counted") else m.replace(b"\n", b" ") for m, framing in messages]
    assert [each.rstrip(b"\r\n") for each in found] == [each.rstrip(b"\n") for each in expected]


@fuzzed
@given(st.lists(st.binary(max_size=30), max_size=20))
def test_any_stream_is_read_and_little_of_it_is_held(pieces: list[bytes]):
    frames = Frames()
    for piece in pieces:
        assert all(isinstance(message, bytes) for message in frames.feed(piece))
    frames.end()


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 5 * MAX_BYTES])
@pytest.mark.parametrize("framing", ["counted", "line"])
@pytest.mark.parametrize("piece", [1000, 10**9])
def test_a_message_that_is_too_long_loses_its_end_and_the_next_one_is_whole(size: int, framing: str, piece: int):
    frames, found = Frames(), []
    stream = FRAMED[framing](b"<13>" + b"x" * (size - 4)) + FRAMED[framing](b"<13>next")
    for at in range(0, len(stream), piece):
        found += frames.feed(stream[at : at + piece])
        assert len(frames._rest) <= MAX_BYTES + piece

    assert [len(message) for message in found] == [MAX_BYTES, 8]
    assert frames.cut == 1


def test_a_line_that_begins_with_a_number_is_no_count():
    assert Frames().feed(b"2026-11-22T03:08:13Z host app: a\n12 monkeys\n") == [
        b"2026-11-22T03:08:13Z host app: a", b"12 monkeys",
    ]  # fmt: skip
