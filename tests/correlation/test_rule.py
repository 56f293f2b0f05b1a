"""Kinds and instances: what is in force, under which version."""

from correlation import rules as rules_package
from correlation.rule import RuleInstance, RuleKind, build, shipped
from foreshock.core.registry import kinds

KINDS = kinds(rules_package, "RULE", RuleKind)


def text(**config: object) -> str:
    (rule,) = build([RuleInstance(name="text", kind="text", config=config)], KINDS)
    return rule.tag


def test_the_version_tells_what_a_rule_means():
    assert text(min_words=3) == text(min_words=3)
    assert text(min_words=3) != text(min_words=4)
    assert text() == text(min_words=2), "a default written out changes nothing"


def test_a_rule_has_its_own_name_and_the_version_of_its_kind():
    (rule,) = build([RuleInstance(name="close-by", kind="topology")], KINDS)

    assert rule.name == "close-by"
    assert rule.tag.startswith(f"close-by@{KINDS['topology'].version}.")


def test_a_rule_that_is_not_enabled_is_not_in_force():
    assert build([RuleInstance(name="topology", kind="topology", enabled=False)], KINDS) == ()


def test_a_rule_of_a_kind_from_another_version_of_foreshock_is_left_out():
    assert build([RuleInstance(name="tomorrow", kind="telepathy")], KINDS) == ()


def test_without_any_file_topology_moments_changes_and_what_was_learned_are_in_force():
    names = {rule.name for rule in build(shipped(KINDS), KINDS)}

    assert names == {"change", "cooccurrence", "simultaneity", "topology"}
