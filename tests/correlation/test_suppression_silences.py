"""Who asked for quiet."""

import pytest

from correlation.suppression.silences import ActiveSilence, silenced_by
from foreshock.core.errors import Malformed
from foreshock.core.model import Silence, SilenceMatcher
from foreshock.testing.records import NOON, seconds


def silence(name: str = "q", *matchers: tuple[str, str, bool], from_s: float = 0, to_s: float = 60) -> ActiveSilence:
    return ActiveSilence(
        Silence(
            id=name,
            matchers=tuple(
                SilenceMatcher(name=n, value=v, is_regex=r) for n, v, r in matchers or (("host", "db1", False),)
            ),
            starts_at=NOON + seconds(from_s),
            ends_at=NOON + seconds(to_s),
            created_by="mira",
            comment="",
            updated_at=NOON,
        )
    )


@pytest.mark.parametrize(("at_s", "covered"), [(-1, False), (0, True), (59.999, True), (60, False)])
def test_a_silence_covers_from_its_start_until_before_its_end(at_s: float, covered: bool):
    assert silence().covers({"host": "db1"}, NOON + seconds(at_s)) is covered


def test_all_its_matchers_must_hit():
    both = silence("q", ("host", "db.*", True), ("job", "node", False))

    assert both.covers({"host": "db1", "job": "node"}, NOON)
    assert not both.covers({"host": "db1"}, NOON)


def test_every_silence_that_covers_is_named_in_order():
    silences = [silence("z"), silence("a"), silence("m", ("host", "web", False))]

    assert silenced_by({"host": "db1"}, silences, NOON) == ("a", "z")
    assert silenced_by({"host": "mail"}, silences, NOON) == ()


def test_an_expression_that_cannot_be_read_is_refused_when_it_is_set():
    with pytest.raises(Malformed, match="not a valid expression"):
        silence("q", ("host", "(", True))
