"""What people said: who is kept apart by it, which later word contradicts it, and what truth it gives."""

from datetime import UTC, datetime

import pytest

from correlation.feedback import MAX_LABELS, KeptApart, contradicts, labels, said_first
from foreshock.core.model import Alert, Cause, Judgement, JudgementKind, Member, Situation, Witness
from foreshock.core.severity import Severity

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def witnesses(*names: str) -> tuple[Witness, ...]:
    return tuple(Witness(fingerprint=name, name="Down", ci=name.upper(), onset=NOON) for name in names)


def said(
    kind: JudgementKind, one: str = "", *, same: str = "", apart: str = "", cis: tuple[str, ...] = ()
) -> Judgement:
    return Judgement(
        id="J-1",
        at=NOON,
        actor="mira",
        kind=kind,
        one=witnesses(*one.split()),
        same=witnesses(*same.split()),
        apart=witnesses(*apart.split()),
        cis=cis,
    )


def alert(name: str) -> Alert:
    return Alert(
        fingerprint=name,
        source="test",
        labels=b"{}",
        annotations=b"{}",
        severity=Severity.CRITICAL,
        starts_at=NOON,
        first_seen=NOON,
        last_seen=NOON,
        ci=name.upper(),
    )


def situation(*members: str) -> Situation:
    made = Situation(id="S-1", opened_at=NOON, onset=NOON, updated_at=NOON, last_joined_at=NOON)
    made.members = {name: Member(joined_at=NOON) for name in members}
    return made


SPLIT = said(JudgementKind.SPLIT, "a b", apart="c d")
CIS = said(JudgementKind.NOT_RELATED, cis=("A", "C"))


@pytest.mark.parametrize(
    ("judgement", "newcomer", "members", "kept"),
    [
        (SPLIT, "a", "c x", "J-1"),
        (SPLIT, "c", "b", "J-1"),
        (SPLIT, "a", "b x", ""),
        (SPLIT, "x", "a c", ""),
        (CIS, "a", "c", "J-1"),
        (CIS, "c", "x a", "J-1"),
        (CIS, "a", "b", ""),
    ],
)
def test_each_side_is_kept_out_of_what_holds_the_other(judgement: Judgement, newcomer: str, members: str, kept: str):
    apart = KeptApart()
    apart.add(judgement)
    here = situation(*members.split())

    assert apart.between(alert(newcomer), here, {name.upper() for name in here.members}) == kept
    apart.drop(judgement)
    assert not apart


@pytest.mark.parametrize(
    ("later", "contradicted"),
    [
        (said(JudgementKind.MERGE, "a", same="c"), True),
        (said(JudgementKind.MERGE, "d x", same="b"), True),
        (said(JudgementKind.MERGE, "a", same="b"), False),
        (said(JudgementKind.MOVE, "a", same="x", apart="c"), False),
        (said(JudgementKind.SPLIT, "a", apart="c"), False),
    ],
)
def test_a_later_word_that_joins_both_sides_contradicts(later: Judgement, contradicted: bool):
    assert contradicts(SPLIT, later) is contradicted
    assert contradicts(CIS, said(JudgementKind.MERGE, "c", same="a")) is True


def test_labels_are_pairs_of_what_is_the_same_and_what_is_not():
    moved = said(JudgementKind.MOVE, "a b", same="c", apart="d")

    found = [(row.says, row.alert.fingerprint, row.other.fingerprint if row.other else "") for row in labels(moved)]

    assert found == [("same", "a", "c"), ("same", "b", "c"), ("apart", "a", "d"), ("apart", "b", "d")]


def test_a_cause_is_a_label_for_each_alert_and_what_means_nothing_is_none():
    cause = said(JudgementKind.CAUSE, "a b", cis=("DB",))

    assert [(row.says, row.alert.ci, row.ci) for row in labels(cause)] == [("cause", "A", "DB"), ("cause", "B", "DB")]
    assert list(labels(said(JudgementKind.MERGE, "", same="c"))) == []


def test_one_judgement_gives_a_bounded_number_of_labels():
    many = " ".join(f"n{number}" for number in range(100))

    assert len(list(labels(said(JudgementKind.MOVE, many, same=many, apart=many)))) == MAX_LABELS


def test_the_cause_that_was_said_stands_first_with_the_points_that_evidence_gives_it():
    here = situation("a")
    here.cause_said, here.cause_said_by = "B", "mira"
    ranked = (Cause(ci="A", score=0.7, contributions=()), Cause(ci="B", score=0.2, contributions=()))

    first, second = said_first(ranked, here)

    assert (first.ci, first.score, first.said_by, second.ci) == ("B", 0.2, "mira", "A")
    assert said_first((first, second), here) == (first, second)
