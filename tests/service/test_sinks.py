"""Which sinks hear of what."""

from pathlib import Path

from foreshock.service.settings import SinkInstance
from foreshock.service.sinks import who_hears


def instance(name: str, kind: str, **config: object) -> SinkInstance:
    return SinkInstance.model_validate({"name": name, "kind": kind, **config})


def test_problems_go_where_they_are_kept_and_nobody_said_no(tmp_path: Path):
    password = tmp_path / "password"
    password.write_text("secret")
    account = {"url": "https://x.service-now.com", "user": "foreshock", "password_file": str(password)}
    sinks = (
        instance("desk", "desk"),
        instance("prod", "servicenow", **account),
        instance("test", "servicenow", **account, problems=False),
        instance("hook", "webhook", url="https://hooks.example/x", secret_file=str(password)),
    )

    assert who_hears(sinks) == (("desk", "prod", "test", "hook"), ("desk", "prod"))
