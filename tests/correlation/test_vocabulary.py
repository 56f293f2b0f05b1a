"""Which words tell that two alerts are one problem."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from correlation.vocabulary import MAX_WORDS, Vocabulary
from foreshock.testing.records import NOON, seconds

DAY = 86_400.0


def vocabulary() -> Vocabulary:
    return Vocabulary(window_s=600, half_life=timedelta(days=7))


def test_nobody_trusts_a_word_before_anything_was_seen():
    assert vocabulary().told_by("quorum") < 0.4


def test_a_word_that_comes_seldom_and_alone_tells_more_than_one_that_comes_all_the_time():
    known = vocabulary()
    for hour in range(24 * 7):
        known.learn({"high": 0, **({"quorum": 0} if hour % 24 == 0 else {})}, NOON + timedelta(hours=hour))

    assert known.told_by("quorum") > 0.8
    assert known.told_by("high") < known.told_by("quorum")


def test_a_word_that_comes_in_several_problems_at_once_tells_little_however_seldom_it_comes():
    known = vocabulary()
    for day in range(20):
        for others in (0, 1, 2):
            known.learn({"timeout": others}, NOON + timedelta(days=day))

    assert known.told_by("timeout") < 0.55


def test_what_was_learned_fades():
    known = vocabulary()
    for day in range(10):
        known.learn({"quorum": 3}, NOON + timedelta(days=day))
    before = known.told_by("quorum")

    known.learn({}, NOON + timedelta(days=150))

    assert known.told_by("quorum") > before


def test_it_holds_a_bounded_number_of_words_and_forgets_the_rarest_first():
    known = vocabulary()
    known.learn({"old": 0}, NOON)
    known.learn({"old": 0}, NOON)
    known.learn({f"w{index:05}": 0 for index in range(MAX_WORDS)}, NOON + seconds(1))

    assert len(known) <= MAX_WORDS
    assert known.told_by("w09999") == known.told_by("never seen")
    assert known.told_by("old") != known.told_by("never seen")


@given(
    st.lists(
        st.tuples(st.integers(0, 40 * 86_400), st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5))),
        max_size=30,
    ),
    st.integers(0, 30),
)
def test_a_saved_vocabulary_goes_on_to_the_bit(lessons: list[tuple[int, dict[str, int]]], stop: int):
    lessons.sort(key=lambda lesson: lesson[0])
    straight, again = vocabulary(), vocabulary()
    for number, (after_s, met) in enumerate(lessons):
        if number == stop:
            saved = again.save()
            again = vocabulary()
            again.load(saved)
        straight.learn(met, NOON + seconds(after_s))
        again.learn(met, NOON + seconds(after_s))

    assert again.save() == straight.save()
    assert all(0.0 < straight.told_by(word) < 1.0 for word in "abcdefg")
