"""What every kind of CMDB source promises. A new file in ``cmdb_sync`` is tested by existing.

It brings ``tests/samples/cmdb_sync/<kind>/config.yaml``: settings of an instance that answers from that folder.
"""

import importlib
import inspect
from pathlib import Path

import pytest
from pydantic import ValidationError

from foreshock.connect.config import load, parse_yaml
from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbConfig, CmdbPage, CmdbParts, SourceKind
from foreshock.core.topology import DIRECTIONS
from foreshock.service.settings import Settings, source_kinds
from foreshock.service.settings_files import example

SAMPLES = Path(__file__).parents[1] / "samples" / "cmdb_sync"

pytestmark = pytest.mark.parametrize("declared", source_kinds().values(), ids=source_kinds())


def whole(declared: SourceKind) -> CmdbPage:
    config = load(SAMPLES / declared.kind / "config.yaml", declared.config)
    return declared.build("sample", config, CmdbParts(http=Http)).page("", "")


def test_the_declaration_is_complete(declared: SourceKind):
    assert declared.title
    assert declared.facts
    assert issubclass(declared.config, CmdbConfig)
    assert callable(declared.build)


def test_the_file_begins_with_its_facts(declared: SourceKind):
    doc = inspect.getdoc(importlib.import_module(f"cmdb_sync.{declared.kind}")) or ""

    assert [word for word in ("Facts:", "Delivery:", "Recovery:", "Limits:", "Needs:") if word not in doc] == []


def test_every_setting_is_described_and_unknown_ones_are_refused(declared: SourceKind):
    assert [name for name, info in declared.config.model_fields.items() if not info.description] == []
    assert not {"name", "kind", "config"} & set(declared.config.model_fields), "these name the instance"
    with pytest.raises(ValidationError, match="Extra inputs"):
        declared.config.model_validate({"no_such_setting": 1})


def test_the_instance_in_the_example_file_can_be_configured(declared: SourceKind):
    lines = example().splitlines()
    begin = lines.index(f"  # - name: {declared.kind}")
    end = next(index for index in range(begin + 1, len(lines)) if not lines[index].startswith("  #   "))
    shown = [line.replace("# ", "", 1) for line in lines[begin:end]]

    data = parse_yaml("topology:\n" + "\n".join(shown), file="example").data

    assert Settings.model_validate(data).topology[0].kind == declared.kind


def test_the_same_content_gives_the_same_reading(declared: SourceKind):
    assert whole(declared) == whole(declared)


def test_a_whole_reading_holds_both_ends_of_each_relationship(declared: SourceKind):
    found = whole(declared)
    ids = [item.id for item in found.items]

    assert ids
    assert len(set(ids)) == len(ids)
    assert {end for tie in found.ties for end in (tie.source, tie.target)} <= set(ids)
    assert {tie.type for tie in found.ties} <= set(DIRECTIONS)
