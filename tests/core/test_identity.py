"""Which events are the same alert."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core import identity
from foreshock.core.identity import fingerprint

LABELS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), min_size=1, max_size=5)

# Different label sets that look the same once their parts are strung together.
LOOK_ALIKES = [
    pytest.param({"a": "bc"}, {"ab": "c"}, id="name and value"),
    pytest.param({"a": "b,c=d"}, {"a": "b", "c": "d"}, id="a separator in a value"),
    pytest.param({"a": 'b","c":"d'}, {"a": "b", "c": "d"}, id="JSON in a value"),
    pytest.param({"a": "b\x00c\x00d"}, {"a": "b", "c": "d"}, id="zero bytes"),
    pytest.param({"a": "b\nc=d"}, {"a": "b", "c": "d"}, id="lines"),
    pytest.param({"a": "1:b1:c1:d"}, {"a": "b", "c": "d"}, id="lengths in a value"),
    pytest.param({"a": "b\\"}, {"a": "b\\\\"}, id="escapes"),
    pytest.param({"a": "é"}, {"a": "e\u0301"}, id="composed and decomposed"),
    pytest.param({"a": "b"}, {"A": "b"}, id="case"),
    pytest.param({"a": "b"}, {"a": "b "}, id="trailing space"),
]


@given(LABELS, st.randoms(use_true_random=False))
def test_the_order_of_labels_does_not_matter(labels: dict[str, str], random: Any):
    items = list(labels.items())
    random.shuffle(items)

    assert fingerprint(dict(items)) == fingerprint(labels)


@given(LABELS, LABELS)
def test_different_labels_have_different_fingerprints(one: dict[str, str], other: dict[str, str]):
    assert (fingerprint(one) == fingerprint(other)) is (one == other)


@given(st.lists(st.sampled_from(["a", "b", "=", ",", '"', ":", "1", "\\", "\x00"]), min_size=4, max_size=10), st.data())
def test_one_text_cut_into_labels_in_two_ways_gives_two_fingerprints(letters: list[str], data: Any):
    def cut() -> dict[str, str]:
        parts = sorted(data.draw(st.sets(st.integers(1, len(letters) - 1), min_size=1, max_size=3)))
        pieces = ["".join(letters[a:b]) for a, b in zip([0, *parts], [*parts, len(letters)], strict=True)]
        return dict(zip(pieces[::2], [*pieces[1::2], ""], strict=False))

    one, other = cut(), cut()

    assert (fingerprint(one) == fingerprint(other)) is (one == other)


@pytest.mark.parametrize(("one", "other"), LOOK_ALIKES)
def test_label_sets_that_only_look_alike_are_different_alerts(one: dict[str, str], other: dict[str, str]):
    assert fingerprint(one) != fingerprint(other)


def test_families_of_sources_are_kept_apart():
    labels = {"alertname": "Down"}

    assert len({fingerprint(labels), fingerprint(labels, namespace="a"), fingerprint(labels, namespace="b")}) == 3
    assert fingerprint({"a": "x"}, namespace="b") != fingerprint({"ba": "x"})


def test_another_version_of_the_rule_never_meets_an_old_fingerprint(monkeypatch: pytest.MonkeyPatch):
    before = fingerprint({"a": "b"})

    monkeypatch.setattr(identity, "FINGERPRINT_VERSION", identity.FINGERPRINT_VERSION + 1)

    assert fingerprint({"a": "b"}) != before


def test_a_fingerprint_is_32_hexadecimal_digits_and_the_same_on_every_machine():
    """Raise FINGERPRINT_VERSION when this changes: saved alerts carry it."""
    assert (
        fingerprint({"alertname": "Down", "host": "db1"}, namespace="prometheus") == "45702cc85e427f6430632ebdfc91bee7"
    )
