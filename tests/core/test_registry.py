"""A file in a stage's folder is a kind."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import collectors
from correlation import rules
from correlation.rule import RuleKind
from foreshock.core.contracts import Collector
from foreshock.core.registry import kinds


class Part:
    def __init__(self, kind: str) -> None:
        self.kind = kind


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    package = tmp_path / "parts_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("parts_of_a_test")
    yield module
    for name in [name for name in sys.modules if name.startswith("parts_of_a_test")]:
        del sys.modules[name]


def add(folder: ModuleType, kind: str, text: str) -> None:
    assert folder.__file__ is not None
    Path(folder.__file__).with_name(f"{kind}.py").write_text(text)


def declaration(kind: str) -> str:
    return f"class Part:\n    kind = {kind!r}\nPART = Part()\n"


def test_each_file_of_ours_declares_its_kind():
    assert set(kinds(collectors, "COLLECTOR", Collector)) >= {"alertmanager", "alertmanager_webhook", "events"}
    assert set(kinds(rules, "RULE", RuleKind)) >= {"attribute", "topology"}


def test_a_file_is_found_by_being_there_in_the_order_of_names(folder: ModuleType):
    add(folder, "zeta", declaration("zeta"))
    add(folder, "alpha", declaration("alpha"))

    assert list(kinds(folder, "PART", object)) == ["alpha", "zeta"]


def test_an_empty_folder_has_no_kinds(folder: ModuleType):
    assert kinds(folder, "PART", object) == {}


def test_a_file_without_its_declaration_is_our_mistake(folder: ModuleType):
    add(folder, "alpha", "")

    with pytest.raises(AssertionError, match=r"alpha declares no PART of type Part"):
        kinds(folder, "PART", Part)


def test_a_kind_is_named_as_its_file(folder: ModuleType):
    add(folder, "alpha", declaration("beta"))

    with pytest.raises(AssertionError, match=r"kind must be 'alpha'"):
        kinds(folder, "PART", object)
