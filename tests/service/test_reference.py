"""The generated pages are those of the code, and what people wrote by hand names what exists."""

import re
from pathlib import Path

import msgspec
import pytest

import foreshock.core.model as model
from foreshock.core.severity import Severity
from foreshock.core.topology import DIRECTIONS
from foreshock.service.reference import pages
from foreshock.service.settings import collector_kinds, sink_kinds, source_kinds

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
_METRIC = re.compile(r'"(foreshock_[a-z_]+)"')


@pytest.mark.parametrize("name", pages())
def test_a_generated_page_is_current(name: str):
    assert (DOCS / name).read_text(encoding="utf-8") == pages()[name], "run `make docs`"


def test_every_connector_has_a_page_and_no_page_is_left_over():
    known = {*collector_kinds(), *sink_kinds(), *source_kinds()}

    assert {path.stem for path in (DOCS / "connect").glob("*.md")} - {"README"} == known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_documentation_lead_somewhere(page: Path):
    targets = [target for target, _ in _LINK.findall(page.read_text(encoding="utf-8")) if target]

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_operations_page_names_every_metric():
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    sources = (ROOT / "foreshock" / "service" / name for name in ("metrics.py", "wiring.py"))
    names = {name for path in sources for name in _METRIC.findall(path.read_text(encoding="utf-8"))}

    assert names
    assert sorted(name for name in names if f"`{name}" not in text) == []


def test_the_concepts_page_names_every_value_severity_and_relationship_type():
    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    values = [
        name
        for name, value in vars(model).items()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == model.__name__
    ]
    words = [*values, *(severity.word for severity in Severity), *DIRECTIONS]

    assert [word for word in words if f"`{word}`" not in text] == []
