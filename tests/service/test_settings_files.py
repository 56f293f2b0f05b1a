"""The files in config/ say what the models say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from cmdb_sync.file import FileConfig, FileSource
from foreshock.connect.config import read_yaml
from foreshock.connect.mapping import Mapping
from foreshock.core.errors import ConfigError
from foreshock.service.cases.model import Case, Check, Expected, Step
from foreshock.service.settings import Settings, load_settings
from foreshock.service.settings_files import (
    bundled,
    cases_schema,
    generated,
    json_schema,
    mapping_schema,
    topology_schema,
    write,
)
from foreshock.testing.commands import run
from foreshock.testing.schemas import problems

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("name", sorted(generated()))
def test_the_file_in_config_is_the_generated_one(name: str):
    assert bundled(name) == generated()[name], "run `make config` and commit config/"


def test_the_example_is_every_setting_at_its_default(tmp_path: Path):
    write(tmp_path)

    settings = load_settings(tmp_path / "foreshock.example.yaml", {}, {})

    assert settings.model_copy(update={"state": Path("var")}) == Settings()
    written = read_yaml(tmp_path / "foreshock.example.yaml").data
    assert set(Settings.model_fields) - set(written) == {"tokens_file", "rules", "tls"}


def test_the_schema_knows_every_setting_and_refuses_others():
    schema = json_schema()

    assert set(schema["properties"]) == set(Settings.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["RetentionSettings"]["properties"]["age"]["default"] == "14d"
    kinds = [one["properties"]["kind"]["const"] for one in schema["$defs"]["SourceInstance"]["oneOf"]]
    assert "file" in kinds


def test_the_example_of_the_topology_is_one():
    snapshot = FileSource("example", FileConfig(path=CONFIG / "topology.example.yaml")).fetch()

    assert snapshot.warnings == ()
    assert len(snapshot.cis) == 19


FILES = sorted(CONFIG.rglob("*.yaml"))
NAMED = re.compile(r"# yaml-language-server: \$schema=(\S+)")


def schema_of(file: Path) -> Any:
    """The one that its first line names for editors."""
    named = NAMED.fullmatch(file.read_text(encoding="utf-8").splitlines()[0])
    assert named is not None
    return json.loads((file.parent / named[1]).read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_shipped_is_what_the_schema_of_its_first_line_says(file: Path):
    schema = schema_of(file)

    assert list(problems(read_yaml(file).data, schema, schema)) == []


CASE = {"name": "one", "steps": [{"at": "0s", "fire": "a on b"}], "expect": [{"at": "1m", "situations": []}]}


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ({"steps": [{"at": "0s", "fier": "a on b"}]}, ".cases[0].steps[0].fier: may not be here"),
        ({"steps": [{"at": "0s"}]}, ".cases[0].steps[0]: fits 0 of 16"),
        ({"steps": [{"at": "0s", "fire": "a on b", "resolve": "c on d"}]}, ".cases[0].steps[0]: fits 2 of 16"),
        ({"steps": [{"at": "soon", "fire": "a on b"}]}, ".cases[0].steps[0].at: 'soon' is against pattern"),
        ({"steps": [{"at": "0s", "fire": "Full"}]}, ".cases[0].steps[0].fire: fits 0 of 2"),
        ({"topology": ["shop needs api"]}, ".cases[0].topology[0]: 'shop needs api' is against pattern"),
        ({"settings": {"group": {"treshold": 1}}}, ".cases[0].settings.group.treshold: may not be here"),
        ({"expect": [{"at": "1m", "situations": [{"alerts": ["a on b"], "held": "x"}]}]}, ".held: fits 0 of 2"),
    ],
)
def test_an_editor_tells_of_a_mistake_in_a_case_where_it_stands(section: dict[str, Any], place: str):
    schema = cases_schema()
    found = list(problems({"cases": [{**CASE, **section}]}, schema, schema))

    assert any(place in problem for problem in found), found


def test_an_editor_knows_every_key_of_a_case():
    schema = cases_schema()

    assert not list(problems({"version": 1, "cases": [CASE]}, schema, schema))
    for name, model in (("Step", Step), ("Expected", Expected), ("Check", Check), ("Case", Case)):
        known = {info.alias or field for field, info in model.model_fields.items()}
        described = schema["$defs"][name]["properties"]
        assert described.keys() == known
        assert [key for key, one in described.items() if "description" not in one] in ([], ["state"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"cis": [{"id": "db", "kid": "host"}]},
        {"cis": [{"kind": "host"}]},
        {"cis": [{"id": "db", "criticality": 5}]},
        {"relationships": [{"source": "a", "target": "b"}]},
        {"version": 2},
    ],
)
def test_an_editor_refuses_the_mistakes_in_a_topology_that_its_reader_refuses(tmp_path: Path, wrong: dict[str, Any]):
    (tmp_path / "t.yaml").write_text(json.dumps(wrong))

    assert list(problems(wrong, topology_schema(), topology_schema()))
    with pytest.raises(ConfigError):
        FileSource("t", FileConfig(path=tmp_path / "t.yaml")).fetch()


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": {"alertname": "name"}, "lables": {}},
        {"labels": {"alertname": 1}},
        {"labels": {"alertname": "name"}, "format": "xml"},
        {"labels": {"alertname": "name"}, "severities": {"P1": "terrible"}},
        {"rules": [{"change": {"id": "id"}}]},
    ],
)
def test_an_editor_refuses_the_mistakes_in_a_mapping_that_its_reader_refuses(wrong: dict[str, Any]):
    assert list(problems(wrong, mapping_schema(), mapping_schema()))
    with pytest.raises(ValidationError):
        Mapping.model_validate(wrong)


def test_an_editor_takes_the_mappings_of_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
    mappings = [given for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "collectors:" not in text
                and isinstance(given := YAML(typ="safe").load(text), dict)]  # fmt: skip

    assert len(mappings) > 1
    for given in mappings:
        assert not list(problems(given, mapping_schema(), mapping_schema()))
        Mapping.model_validate(given)


def test_the_files_of_init_name_schemas_that_lie_beside_them(tmp_path: Path):
    assert run(["init", str(tmp_path)]).exit_code == 0

    for file in tmp_path.glob("*.yaml"):
        assert not list(problems(read_yaml(file).data, schema_of(file), schema_of(file)))
    assert {file.name for file in tmp_path.glob("*.schema.json")} == {
        f"{name}.schema.json" for name in ("foreshock", "rules", "cases", "topology", "mapping")
    }
