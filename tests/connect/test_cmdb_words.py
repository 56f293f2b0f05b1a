"""What classes and relations that people made themselves mean."""

import pytest
from pydantic import ValidationError

from foreshock.connect.cmdb import IGNORE, MappedConfig, folded, kind_of, tie_of
from foreshock.core.cmdb import GENERIC, RELATED, Tie

KNOWN = {"Depends On": "depends_on", "Used by": "inverse depends_on", "Owned by": IGNORE}


@pytest.mark.parametrize(
    ("word", "tie"),
    [
        ("depends on", Tie(id="r", source="a", type="depends_on", target="b", class_name="depends on")),
        ("USED BY", Tie(id="r", source="b", type="depends_on", target="a", class_name="USED BY")),
        ("admires", Tie(id="r", source="a", type=RELATED, target="b", class_name="admires")),
        ("Owned by", None),
    ],
)
def test_a_relation_reads_as_the_table_says_whatever_the_case(word, tie):
    assert tie_of("r", "a", word, "b", folded(KNOWN)) == tie


def test_the_settings_win_over_what_a_source_knows():
    relations = folded(KNOWN, {"depends ON": "inverse powers"})

    assert tie_of("r", "a", "Depends on", "b", relations) == Tie(
        id="r", source="b", type="powers", target="a", class_name="Depends on"
    )


def test_a_class_that_no_table_names_is_generic():
    assert [kind_of(name, folded({"Server": "server"})) for name in ("SERVER", "toaster")] == ["server", GENERIC]


def test_a_type_that_is_none_is_refused_with_those_that_are():
    with pytest.raises(ValidationError, match="'inverse feeds' is not a relationship type"):
        MappedConfig(relations={"Fed by": "inverse feeds"})
