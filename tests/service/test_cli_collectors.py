"""``foreshock collectors test``: what a payload becomes, what is told of it, and how the command ends."""

import json
import re
from pathlib import Path

import pytest

from foreshock.testing.commands import run
from foreshock.testing.payloads import sample

MAPPING = """items: alerts
labels:
  alertname: check.name
  host: check.host
severity: priority
severities: {P1: critical}
starts_at: since
resolved: state == 'ok'
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A mapping, and a payload that it fits."""
    mapping, payload = tmp_path / "mapping.yaml", tmp_path / "payload.json"
    mapping.write_text(MAPPING)
    payload.write_bytes(sample("webhook-firing.json").body)
    return mapping, payload


def test_each_item_is_shown_as_what_it_becomes(files):
    mapping, payload = files

    found = run(["collectors", "test", str(mapping), str(payload)])

    assert found.exit_code == 0
    assert found.stdout.splitlines()[:3] == [
        "item 0  alert",
        "  alertname=DiskFull host=db1.example",
        "  critical, since 2026-11-22T02:57:56Z",
    ]


def test_what_is_refused_names_the_line_of_the_mapping_and_the_item(files):
    mapping, payload = files
    mapping.write_text(MAPPING.replace("check.name", "check.title"))

    found = run(["collectors", "test", str(mapping), str(payload)])

    assert found.exit_code == 4
    assert "item 1  refused" in found.stdout
    assert f"{mapping}:3:3: labels.alertname: 'check.title' gives nothing" in found.stdout


def test_what_is_missing_and_not_understood_is_told(files):
    mapping, payload = files
    mapping.write_text(MAPPING.replace("check.host", "host").replace("{P1: critical}", "{P9: critical}"))
    payload.write_text(payload.read_text().replace("P1", "Px"))

    found = run(["collectors", "test", str(mapping), str(payload)])

    assert found.exit_code == 4
    assert f"! {mapping}:4:3: labels.host: 'host' gives nothing" in found.stdout
    assert "! severity 'Px' is not known: say what it means under `severities`" in found.stdout


def test_what_was_right_once_is_expected_again(files, tmp_path: Path):
    mapping, payload = files
    resolved = tmp_path / "resolved.json"
    resolved.write_bytes(sample("webhook-resolved.json").body)
    expected = tmp_path / "expected.json"
    words = ["collectors", "test", str(mapping), str(resolved)]
    expected.write_text(run([*words, "-o", "json"]).stdout)
    assert json.loads(expected.read_text())[0]["ends_at"] == "on receipt"

    assert run([*words, "--expect", str(expected)]).exit_code == 0
    differs = run(["collectors", "test", str(mapping), str(payload), "--expect", str(expected)])

    assert differs.exit_code == 4
    assert 'item 0: becomes is "alert", expected "resolved"' in differs.stderr


def test_a_payload_may_come_from_another_program_with_its_headers(files):
    mapping, payload = files
    mapping.write_text(MAPPING.replace("severity: priority", 'severity: _head.headers."x-level"\nheaders: [X-Level]'))

    found = run(["collectors", "test", str(mapping), str(payload), "-H", "X-Level: P1", "-o", "json"])

    assert [one["severity"] for one in json.loads(found.stdout)] == ["critical", "critical"]


def test_a_kind_that_knows_its_product_is_tried_in_the_same_way(tmp_path: Path):
    payload = tmp_path / "payload.json"
    payload.write_bytes(sample("alertmanager-webhook-resolved.json").body)

    found = run(["collectors", "test", "alertmanager_webhook", str(payload)])

    assert found.exit_code == 0
    assert found.stdout.startswith("item 0  resolved\n  alertname=LabFault ")


@pytest.mark.parametrize(
    ("mapping", "payload", "code", "told"),
    [
        ("item: a", "{}", 78, "item: unknown key; did you mean 'items'?"),
        (MAPPING, "{", 1, "the payload is not JSON"),
        (MAPPING, "{}", 1, "mapping.yaml:1:1: items finds nothing in the payload"),
        (MAPPING, '{"alerts": []}', 0, "the payload holds no items"),
    ],
)
def test_what_cannot_be_tried_is_told(files, mapping: str, payload: str, code: int, told: str):
    files[0].write_text(mapping)
    files[1].write_text(payload)

    found = run(["collectors", "test", *map(str, files)])

    assert found.exit_code == code
    assert told in found.output


def test_a_file_that_is_not_there_is_told(files):
    assert "nowhere cannot be read: No such file" in run(["collectors", "test", str(files[0]), "nowhere"]).stderr


def test_the_example_of_the_page_about_mappings_is_what_it_says(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
    payload, mapping, _, shown = re.findall(r"```(?:json|yaml|sh|text)\n(.*?)```", page, re.DOTALL)[:4]
    (tmp_path / "checks.yaml").write_text(mapping)
    (tmp_path / "payload.json").write_text(payload)

    found = run(["collectors", "test", str(tmp_path / "checks.yaml"), str(tmp_path / "payload.json")])

    assert (found.exit_code, found.stdout) == (0, shown)
