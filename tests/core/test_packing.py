"""Texts kept small in memory come back as they were, whatever else was packed before and since."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core import packing
from foreshock.core.packing import Packing


@pytest.fixture(autouse=True, scope="module")
def _soon() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_AFTER", (3, 6, 9))
        yield


def summary(number: int) -> bytes:
    said = "has been above its threshold for five minutes; see the runbook for first steps"
    return b'{"summary":"Load on host-%d.example %s"}' % (number, said.encode())


@given(st.lists(st.tuples(st.sampled_from(["", "Load on ", "x" * 200]), st.text(max_size=300)), max_size=30))
def test_what_was_packed_comes_back(texts: list[tuple[str, str]]):
    ours = Packing()
    given_ = [b"{" + (start + rest).encode() + b"}" for start, rest in texts]
    packed = [ours.pack(text) for text in given_]

    assert [ours.unpack(each) for each in packed] == given_
    assert all(len(each) <= len(text) for each, text in zip(packed, given_, strict=True))


def test_what_says_nearly_the_same_as_others_takes_a_fraction():
    ours = Packing()
    packed = [ours.pack(summary(number)) for number in range(50)]

    assert packed[0] == summary(0)
    assert all(len(each) < len(summary(0)) / 3 for each in packed[10:])


def test_a_change_of_what_is_usual_is_learned():
    ours = Packing()
    for number in range(4):
        ours.pack(b'{"text":"%d %s"}' % (number, bytes(range(97, 123)) * 4))
    packed = [ours.pack(summary(number)) for number in range(10)]

    assert len(packed[-1]) < len(packed[0]) / 2
    assert [ours.unpack(each) for each in packed] == [summary(number) for number in range(10)]


def test_several_threads_may_read_and_write_at_once():
    ours = Packing()

    def there_and_back(number: int) -> bool:
        return all(ours.unpack(ours.pack(summary(each))) == summary(each) for each in range(number, number + 500))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(there_and_back, range(8)))
