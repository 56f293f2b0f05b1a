"""The files in config/ say what the models say."""

from pathlib import Path

import pytest

from cmdb_sync.file import FileConfig, FileSource
from foreshock.connect.config import read_yaml
from foreshock.service.settings import Settings, load_settings
from foreshock.service.settings_files import bundled, generated, json_schema, write

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("name", sorted(generated()))
def test_the_file_in_config_is_the_generated_one(name: str):
    assert bundled(name) == generated()[name], "run `make config` and commit config/"


def test_the_example_is_every_setting_at_its_default(tmp_path: Path):
    write(tmp_path)

    settings = load_settings(tmp_path / "foreshock.example.yaml", {}, {})

    assert settings.model_copy(update={"state": Path("var")}) == Settings()
    written = read_yaml(tmp_path / "foreshock.example.yaml").data
    assert set(Settings.model_fields) - set(written) == {"tokens_file", "rules"}


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
