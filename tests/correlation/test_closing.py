"""What the words mean with which people close tickets."""

import pytest

from correlation.closing import Label, label_of


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("Duplicate", Label.DUPLICATE),
        ("Not Solved (Not Reproducible)", Label.NO_FAULT),
        ("no_fault_found", Label.NO_FAULT),
        ("Cannot Reproduce", Label.NO_FAULT),
        ("False alarm", Label.FALSE_ALARM),
        ("Solved (Permanently)", Label.REAL),
        ("Workaround provided", Label.REAL),
        ("Done", Label.REAL),
        ("No resolution provided", Label.UNKNOWN),
        ("", Label.UNKNOWN),
    ],
)
def test_the_usual_words_of_each_system_are_known(code, label):
    assert label_of(code, {}) is label


def test_what_settings_say_of_a_word_counts_before_what_is_usual():
    ours = {"Fehlalarm": Label.FALSE_ALARM, "done": Label.NO_FAULT}

    assert [label_of(code, ours) for code in ("FEHLALARM", "Done", "Fixed")] == [
        Label.FALSE_ALARM, Label.NO_FAULT, Label.REAL,
    ]  # fmt: skip
