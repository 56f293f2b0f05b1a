"""What a message says once its values are taken out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.templates import MAX_CHARACTERS, MAX_WORDS, words


@pytest.mark.parametrize(
    "other",
    [
        pytest.param("replica lost primary rs-9 at 10.1.2.4:27018", id="other numbers and addresses"),
        pytest.param("2026-11-22T10:00:00Z replica lost primary", id="a time"),
        pytest.param("replica lost primary 550e8400-e29b-41d4-a716-446655440000", id="an id"),
        pytest.param("replica lost primary 0xdeadbeef01", id="a hash"),
        pytest.param('replica lost primary "orders" of `shop`', id="values in quotes"),
        pytest.param("REPLICA_LOST: Primary!", id="case and punctuation"),
        pytest.param("replicaLostPrimary", id="words run together"),
        pytest.param("réplica lóst prımary".replace("ı", "i"), id="accents"),
    ],
)
def test_the_same_message_with_other_values_has_the_same_words(other: str):
    own = set(words(other)) - {"at", "of"}

    assert own == {"replica", "lost", "primary"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("磁盘空间不足 on host7", ("on", "不足", "盘空", "磁盘", "空间", "间不")),
        ("데이터베이스 연결 오류", ("데이터베이스", "연결", "오류")),
        ("Ошибка диска", ("диска", "ошибка")),
        ("STRASSE Straße", ("strasse",)),
        ("ﬁle ＦＵＬＬ", ("file", "full")),
        ("HTTPServerError can't start", ("can", "error", "http", "server", "start")),
        ("", ()),
        ("42 % 'x'", ()),
    ],
)
def test_words_of_many_scripts(text: str, expected: tuple[str, ...]):
    assert words(text) == expected


@given(st.text(max_size=MAX_CHARACTERS * 2))
def test_any_text_has_few_sorted_words_without_digits(text: str):
    found = words(text)

    assert len(found) <= MAX_WORDS
    assert list(found) == sorted(set(found))
    assert not any(character.isdecimal() for word in found for character in word)


def test_a_hostile_text_costs_no_more_than_its_length():
    for text in ("a" * 100_000, "a-" * 50_000, '"' * 100_000, "aA" * 50_000, "'" + "x'" * 50_000):
        assert len(words(text)) <= MAX_WORDS
