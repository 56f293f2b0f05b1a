"""What was learned, as a table with a version."""

import pytest

from foreshock.core.learned import CoOccurrence, Learned, Side, Standing, foreign


def version(*names: str) -> Learned:
    """Of pairs, each of two CIs, and of one pair of classes."""
    apart = {"together": 5, "times": 5, "expected": 0.1, "strength": 0.8, "window_s": 20.0, "lag_s": (0.0, 1.0, 2.0)}
    pairs = [CoOccurrence(a=Side(ci=name), b=Side(ci=f"{name}-peer"), **apart) for name in names]
    classes = CoOccurrence(a=Side(name="Down"), b=Side(name="Slow"), standing=Standing.NEEDS, **apart)
    return Learned(version="20260101-abc", pairs=(*pairs, classes))


@pytest.mark.parametrize(
    ("learned", "known", "said"),
    [
        (version("db1", "web1"), {"db1", "web1", "db1-peer", "x"}, ""),
        (version("db1", "web1"), {"db1"}, ""),  # a CMDB that knows little
        (version("db1", "web1", "sw1"), {"db1"}, "names 6 CIs, of which 1 are known here: another estate's"),
        (version(), {"db1"}, ""),  # classes carry over
    ],
    ids=["its own", "its own, with a poor CMDB", "another one's", "classes only"],
)
def test_a_version_of_another_estate_is_known_by_the_cis_it_names(learned: Learned, known: set[str], said: str):
    assert foreign(learned, known).endswith(said)
    assert bool(foreign(learned, known)) == bool(said)
