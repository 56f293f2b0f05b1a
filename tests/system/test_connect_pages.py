"""The pages of docs/connect, as a newcomer takes them: their commands, with their payload, against a Foreshock as it
comes."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.service.settings import collector_kinds
from foreshock.testing.servers import ForeshockServer

DOCS = Path(__file__).parents[2] / "docs" / "connect"
ADDRESS = "http://127.0.0.1:8420"
COMMAND = re.compile(r"```sh\n(curl .*?)```", re.DOTALL)
PAYLOAD = re.compile(r"A payload:\n\n```(?:json|text)\n(.*?)```", re.DOTALL)


def command_of(kind: str) -> str:
    """The one that stands in the generated part of its page; empty where there is none."""
    found = COMMAND.search((DOCS / f"{kind}.md").read_text(encoding="utf-8"))
    return found[1] if found else ""


KINDS = [kind for kind, collector in collector_kinds().items() if collector.receive is not None and command_of(kind)]


def test_only_kinds_that_need_something_first_have_no_command():
    without = {kind for kind, collector in collector_kinds().items() if collector.receive is not None} - set(KINDS)

    assert without == {"alertmanager", "alertmanager_webhook", "sns", "webhook"}


@pytest.fixture(scope="module")
def foreshock() -> Iterator[ForeshockServer]:
    with ForeshockServer() as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_page_says_is_taken(foreshock: ForeshockServer, tmp_path: Path, kind: str):
    payload = PAYLOAD.search((DOCS / f"{kind}.md").read_text(encoding="utf-8"))
    assert payload is not None
    assert "more lines" not in payload[1]
    (tmp_path / "payload.json").write_text(payload[1])

    done = subprocess.run(
        ["sh", "-c", command_of(kind).replace(ADDRESS, foreshock.url)], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert '"rejected":0' in done.stdout, done.stdout
