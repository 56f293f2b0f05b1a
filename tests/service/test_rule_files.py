"""Rules that people write: what is read, and what is told of mistakes."""

import json
from pathlib import Path

import pytest

from correlation.rule import RuleInstance, build
from foreshock.core.errors import ConfigError
from foreshock.service.rule_files import load_rules
from foreshock.service.settings import rule_kinds
from foreshock.service.settings_files import bundled, rules_schema


def by_name(path: Path | None) -> dict[str, RuleInstance]:
    return {rule.name: rule for rule in load_rules(path)}


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load_rules(path)
    return [str(problem) for problem in refused.value.problems]


def test_the_shipped_rules_are_those_of_the_shipped_file(tmp_path: Path):
    shipped = tmp_path / "shipped.yaml"
    shipped.write_text(bundled("rules/shipped.yaml"))

    assert load_rules(shipped) == load_rules(None)


def test_the_example_of_rules_is_one(tmp_path: Path):
    example = tmp_path / "rules.yaml"
    example.write_text(bundled("rules.example.yaml"))

    assert by_name(example).keys() - by_name(None).keys() == {"same-deployment", "storage-of-the-site", "backup-run"}


def test_a_rule_named_like_a_shipped_one_takes_its_place_and_others_come_on_top(tmp_path: Path):
    (tmp_path / "b.yaml").write_text(
        "- name: cooccurrence\n  kind: cooccurrence\n  open: 3\n- {name: near, kind: text}\n"
    )
    (tmp_path / "a.yml").write_text("name: topology\nkind: topology\nenabled: false\n")
    (tmp_path / "notes.txt").write_text("not a rule")

    rules = by_name(tmp_path)

    assert rules["cooccurrence"].config["open"] == 3
    assert not rules["topology"].enabled
    in_force = {rule.name for rule in build(rules.values(), rule_kinds())}
    assert in_force == {"near", "change", "cooccurrence", "simultaneity"}


def test_what_travels_in_a_record_has_its_defaults_written_out(tmp_path: Path):
    (tmp_path / "rules.yaml").write_text("- {name: cooccurrence, kind: cooccurrence}\n")

    assert by_name(tmp_path)["cooccurrence"].config["open"] == 16
    assert by_name(tmp_path) == by_name(None)


def test_every_mistake_is_told_at_once_with_file_line_and_remedy(tmp_path: Path):
    (tmp_path / "one.yaml").write_text(
        "- name: y\n  kind: text\n  windo: 3s\n- name: x\n  kind: topolog\n- name: near\n  kind: topology\n"
    )
    (tmp_path / "two.yaml").write_text("- name: near\n  kind: topology\n- {name: far, kind: text, min_words: 0}\n")
    (tmp_path / "zero.yaml").write_text("- name: [\n")

    found = problems(tmp_path)

    assert f"{tmp_path}/one.yaml:3:3: [0].windo: unknown key; did you mean 'window'?" in found
    assert f"{tmp_path}/one.yaml:5:3: [1].kind: 'topolog' is no kind; did you mean 'topology'?" in found
    assert any(
        line.startswith(f"{tmp_path}/two.yaml:1:3: [0].name: 'near' is the name of the rule at") for line in found
    )
    assert any(line.startswith(f"{tmp_path}/two.yaml:3:27: [1].min_words: ") for line in found)
    assert any(line.startswith(f"{tmp_path}/zero.yaml:") and "is not YAML" in line for line in found)


@pytest.mark.parametrize(
    ("text", "said"), [("just words", "holds no rules"), ("- 3\n", "[0]"), ("- {kind: topology}\n", "[0].name")]
)
def test_what_is_no_rule_is_refused(tmp_path: Path, text: str, said: str):
    (tmp_path / "rules.yaml").write_text(text)

    (problem,) = problems(tmp_path)

    assert said in problem


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path):
    assert problems(tmp_path / "absent.yaml") == [f"{tmp_path}/absent.yaml: does not exist; check the path"]


def test_the_schema_knows_each_kind_and_refuses_other_keys():
    schema = rules_schema()

    kinds = {one["properties"]["kind"]["const"]: one for one in schema["$defs"]["Rule"]["oneOf"]}
    assert kinds.keys() == rule_kinds().keys()
    assert set(kinds["text"]["properties"]) >= {"name", "kind", "enabled", "min_words"}
    assert all(one["additionalProperties"] is False for one in kinds.values())
    json.dumps(schema)


def test_a_bad_condition_is_told_with_the_line_of_its_key_and_its_place_in_the_expression(tmp_path: Path):
    (tmp_path / "rules.yaml").write_text(
        "- name: one\n  kind: attribute\n  equal: [cluster]\n  when: |\n    a.labels.job ==\n      c.labels.job\n"
        "- name: two\n  kind: attribute\n"
        "- name: three\n  kind: attribute\n  when: 'a.severity.matches(\"(a{30}){30}\")'\n"
    )

    one, two, three = problems(tmp_path)

    assert one.startswith(
        f"{tmp_path}/rules.yaml:4:3: [0].when: line 2, column 11 of the expression: undeclared reference"
    )
    assert two.startswith(f"{tmp_path}/rules.yaml:7:3: [1]: the rule links everything; name labels in `equal`")
    assert three.startswith(f"{tmp_path}/rules.yaml:11:3: [2].when: '(a{{30}}){{30}}' needs")
