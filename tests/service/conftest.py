"""Fixtures that several tests of the service use."""

from pathlib import Path

import pytest


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder of its own with the ``FILES`` of the test's module, and no configuration."""
    for name, text in request.module.FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORESHOCK_CONFIG", raising=False)
    return tmp_path
