"""Flags over environment over file over defaults, and every problem of all three at once."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cmdb_sync.file import FileConfig
from collectors.rabbitmq import RabbitmqConfig
from foreshock.core.errors import ConfigError
from foreshock.service.settings import Settings, load_settings

Write = Callable[[str], Path]
TOKENS = "prometheus 0123456789abcdef01234567\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "foreshock.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(TOKENS)
    path.chmod(0o600)
    return path


def problems(
    config: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load_settings(config, environment or {}, flags or {})
    folder = "" if config is None else f"{config.parent}/"
    return [str(problem).replace(folder, "") if folder else str(problem) for problem in refused.value.problems]


def test_without_any_file_it_listens_on_this_machine_only_and_keeps_incidents_on_the_desk():
    settings = load_settings(None, {}, {})

    assert settings == Settings()
    assert (settings.host, settings.port, settings.url) == ("127.0.0.1", 8420, "http://127.0.0.1:8420")
    assert settings.store_url == "sqlite:///var/foreshock.db"
    assert [(sink.name, sink.kind) for sink in settings.sinks] == [("desk", "desk")]
    assert settings.retention.age == timedelta(days=14)
    assert settings.limits.body == 5 * 2**20


def test_a_flag_wins_over_the_environment_which_wins_over_the_file_which_wins_over_the_default(write: Write):
    config = write("listen: 127.0.0.1:1\nlimits: {batch: 1, body: 1MiB}\nretention: {age: 1d}\n")
    environment = {"FORESHOCK_LISTEN": "127.0.0.1:2", "FORESHOCK_LIMITS__BATCH": "2"}

    settings = load_settings(config, environment, {"listen": "127.0.0.1:3", "log.level": None})

    assert settings.listen == "127.0.0.1:3"
    assert (settings.limits.batch, settings.limits.body) == (2, 2**20)
    assert settings.retention.age == timedelta(days=1)
    assert settings.log.level == "info"


def test_every_problem_of_file_environment_and_flags_is_listed_at_once(write: Write):
    config = write("""\
listn: x
retention:
  age: 14
sinks:
  - {name: desk, kind: dsk}
  - {name: DESK, kind: desk, x: 1}
""")
    environment = {"FORESHOCK_LIMITS__BATCH": "many", "FORESHOCK_LIMIT__BODY": "1MiB", "FORESHOCK_STATE": ""}

    assert problems(config, environment, {"listen": "0.0.0.0:8420", "log.level": "loud", "verbose": True}) == [
        "environment: FORESHOCK_LIMIT__BODY: no such setting; did you mean FORESHOCK_LIMITS__BODY?",
        "flag: --verbose: no such setting; known: " + ", ".join(Settings.model_fields),
        "foreshock.yaml:1:1: listn: unknown key; did you mean 'listen'?",
        "foreshock.yaml:3:3: retention.age: '14' has no unit; write a number with its unit: 30s, 5m, 2h, 7d or 1h30m",
        "foreshock.yaml:5:18: sinks[0].kind: 'dsk' is no kind; did you mean 'desk'?",
        "foreshock.yaml:6:6: sinks[1].name: 'DESK' is not a name; use 1 to 64 of a-z, 0-9, _ and -",
        "foreshock.yaml:6:30: sinks[1].x: unknown key; remove it",
        'environment: FORESHOCK_LIMITS__BATCH: should be a valid integer, got "many"',
        "flag: --log.level: should be 'debug', 'info', 'warning' or 'error', got \"loud\"",
        "flag: --listen: '0.0.0.0:8420' can be reached from other machines, and there is no tokens_file; "
        "set tokens_file, or listen on 127.0.0.1",
    ]


def test_a_file_that_is_no_yaml_does_not_hide_the_other_problems(write: Write):
    found = problems(write("a: [1\n"), {"FORESHOCK_LISTN": "x"})

    assert len(found) == 2
    assert found[1] == "environment: FORESHOCK_LISTN: no such setting; did you mean FORESHOCK_LISTEN?"


def test_a_file_that_holds_no_mapping_is_refused(write: Write):
    assert problems(write("- a\n")) == ["foreshock.yaml: holds no settings; write `key: value` lines"]


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.7:1", "noc.example.com:1"])
def test_nobody_beyond_this_machine_is_served_without_tokens(listen: str):
    assert "set tokens_file" in problems(None, {"FORESHOCK_LISTEN": listen})[0]
    with pytest.raises(ValidationError, match="can be reached"):
        Settings(listen=listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.9.1:1", "[::1]:1", "localhost:65535"])
def test_this_machine_is_served_without_tokens(listen: str):
    assert load_settings(None, {"FORESHOCK_LISTEN": listen}, {}).listen == listen


def test_others_are_served_with_tokens(tokens_file: Path):
    settings = load_settings(None, {}, {"listen": "0.0.0.0:1", "tokens_file": tokens_file})

    assert settings.tokens_file == tokens_file


def test_tokens_that_others_can_read_are_refused_beside_all_other_problems(write: Write, tokens_file: Path):
    tokens_file.chmod(0o644)

    found = problems(write("tokens_file: tokens\nlog: {level: loud}\n"))

    assert len(found) == 2
    assert found[1].startswith("tokens: others may use it (mode 0644); chmod 600")


@pytest.mark.parametrize(
    "listen",
    ["8420", "127.0.0.1", "127.0.0.1:65536", ":8420", "::1:8420", "http://x:1", "a b:1", "[localhost]:1", "x:٣"],
)
def test_an_address_that_is_none_is_refused_with_an_example(listen: str):
    assert "127.0.0.1:8420" in problems(None, {}, {"listen": listen})[0]


@pytest.mark.parametrize(
    "url", ["noc.example.com", "ftp://x", "https://", "https://x/?a", "https://u@x", "https://x y", "http://x:99999"]
)
def test_a_public_url_that_is_no_address_is_refused(url: str):
    assert "https://foreshock.example.com" in problems(None, {"FORESHOCK_PUBLIC_URL": url})[0]


def test_the_public_url_is_what_people_use_and_ends_without_a_slash():
    assert Settings(public_url="https://noc.example.com/alerts/").url == "https://noc.example.com/alerts"
    assert Settings(listen="[::1]:9").url == "http://[::1]:9"


def test_paths_in_the_file_start_from_the_file_and_all_others_from_the_working_directory(write: Write):
    config = write("state: data\ntopology:\n  - {name: cmdb, kind: file, path: cmdb.yaml}\n")

    settings = load_settings(config, {}, {})
    assert settings.state == config.parent / "data"
    assert settings.topology[0].config == FileConfig(path=config.parent / "cmdb.yaml")

    settings = load_settings(config, {"FORESHOCK_TOPOLOGY": "[{name: a, kind: file, path: b}]"}, {"state": Path("x")})
    assert settings.state == Path("x")
    assert settings.topology[0].config == FileConfig(path=Path("b"))


def test_a_path_alone_is_a_topology(write: Write):
    config = write("topology: cmdb.yaml\n")

    (inside,) = load_settings(config, {}, {}).topology
    (flagged,) = load_settings(config, {}, {"topology": "./nodes"}).topology

    assert (inside.name, inside.kind, inside.config) == ("file", "file", FileConfig(path=config.parent / "cmdb.yaml"))
    assert flagged.config == FileConfig(path=Path("nodes"))


def test_the_configuration_of_a_kind_is_checked_with_the_line_of_its_key(write: Write):
    config = write("""\
topology:
  - name: a
    kind: file
    pth: x
    relations:
      calls_to: call
  - name: a
    path: x
""")

    found = problems(config)

    assert [line.partition(";")[0] for line in found] == [
        "foreshock.yaml:2:5: topology[0].path: is missing",
        "foreshock.yaml:4:5: topology[0].pth: unknown key",
        "foreshock.yaml:6:7: topology[0].relations.calls_to: 'call' is not a relationship type",
        "foreshock.yaml:7:5: topology[1].kind: is missing",
    ]
    assert "add it: YAML or JSON file" in found[0]
    assert "did you mean 'path'?" in found[1]
    assert "known: depends_on" in found[2]


@pytest.mark.parametrize("reads", ["evnts", "prometheus", "nats", "webhook"])
def test_a_broker_whose_messages_no_kind_would_read_is_refused_with_the_line(write: Write, reads: str):
    config = write(f"""\
collectors:
  - name: mq
    kind: rabbitmq
    url: amqps://mq.example
    queue: alerts
    reads: {reads}
""")

    (problem,) = problems(config)

    assert problem.startswith(f"foreshock.yaml:6:5: collectors[0].reads: '{reads}' is no kind that reads messages")
    assert "alertmanager_webhook" in problem
    assert "cloudevents" in problem


@pytest.mark.parametrize("url", ["amqp://mq.example", "amqp://user:secret@localhost", "mq.example"])
def test_an_address_of_a_broker_that_shows_a_secret_or_is_none_is_refused(url: str):
    with pytest.raises(ValueError, match=r"without encryption|holds a user|no address"):
        RabbitmqConfig(url=url, queue="alerts", user="ada", password_file=Path("p"))


def test_two_instances_cannot_share_a_name():
    flags = {"topology": "[{name: a, kind: file, path: x}, {name: a, kind: file, path: y}]"}

    assert problems(None, {}, flags) == ["flag: --topology [1].name: two are called 'a'; give each its own name"]


def test_what_is_shown_of_the_settings_can_be_read_as_settings_again(write: Write):
    settings = load_settings(None, {"FORESHOCK_TOPOLOGY": "x.yaml", "FORESHOCK_RETENTION__AGE": "36h"}, {})

    shown = settings.model_dump_json()

    assert '"age":"1d12h"' in shown
    assert Settings.model_validate_json(shown) == settings


def test_the_password_of_the_store_is_not_shown():
    settings = load_settings(None, {"FORESHOCK_STORE__URL": "postgresql+psycopg://me:geheim@db/foreshock"}, {})

    assert settings.store_url.endswith("me:geheim@db/foreshock")
    assert "geheim" not in repr(settings) + settings.model_dump_json()
    for bad in ("mysql://me:geheim@db/x", "geheim"):
        assert "geheim" not in problems(None, {"FORESHOCK_STORE__URL": bad})[0].replace("'geheim' is no store", "")


def test_variables_of_the_command_line_and_of_kubernetes_are_no_settings_and_no_problem():
    environment = {
        "FORESHOCK_SERVER": "http://x", "FORESHOCK_CONFIG": "x", "FORESHOCK_SERVICE_HOST": "10.0.0.1",
        "FORESHOCK_PORT": "tcp://10.0.0.1:8420", "FORESHOCK_PORT_8420_TCP_ADDR": "10.0.0.1", "PATH": "/bin",
    }  # fmt: skip

    assert load_settings(None, environment, {}) == Settings()


def test_a_variable_is_text_where_the_setting_is_text_and_yaml_elsewhere():
    environment = {
        "FORESHOCK_STATE": "123", "FORESHOCK_ALLOWED_HOSTS": "[noc.example.com, NOC]", "FORESHOCK_LIMITS__BATCH": "7",
        "FORESHOCK_CORRELATION__BIND__IMPLIED": "false", "FORESHOCK_CORRELATION__RELATE__COSTS__CONNECTS_TO": "2.5",
    }  # fmt: skip

    settings = load_settings(None, environment, {})

    assert settings.state == Path("123")
    assert settings.allowed_hosts == ("noc.example.com", "noc")
    assert settings.limits.batch == 7
    assert settings.correlation.bind.implied is False
    assert settings.correlation.relate.costs == {"connects_to": 2.5}


def test_a_part_of_a_list_cannot_be_set_by_a_variable():
    (found,) = problems(None, {"FORESHOCK_TOPOLOGY__0__PATH": "x"})

    assert found.startswith("environment: FORESHOCK_TOPOLOGY__0__PATH: a part of a list cannot be set by itself")


def test_a_variable_replaces_a_section_that_is_no_mapping(write: Write):
    assert load_settings(write("log: loud\n"), {"FORESHOCK_LOG__LEVEL": "debug"}, {}).log.level == "debug"


_PATHS = st.sampled_from(
    [
        "LISTEN",
        "STATE",
        "TOPOLOGY",
        "SINKS",
        "LIMITS__BATCH",
        "RETENTION__AGE",
        "STORE__URL",
        "LOG",
        "X",
        "_",
        "ALLOWED_HOSTS",
    ]
)
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["\udcff", "[{name: a}]", "{a: 1}", "[[1]]", "5"]
)


@given(st.dictionaries(_PATHS.map("FORESHOCK_{}".format), _TEXT))
def test_any_environment_is_read_or_refused_and_nothing_else(environment: dict[str, str]):
    try:
        load_settings(None, environment, {})
    except ConfigError:
        return


def test_an_identity_rule_that_cannot_be_meant_is_refused_with_its_line(write: Write):
    config = write("""\
correlation:
  fold:
    identity:
      - {without: [pod]}
      - {source: eu}
      - {by: [host], without: [pod]}
      - match: [host="db1", 'host=~"("']
        by: [host]
""")

    neither, both, bad = problems(config)
    assert neither == (
        "foreshock.yaml:5:9: correlation.fold.identity[1]: an identity rule has neither `by` nor `without`; "
        "name the labels that identify, or those that do not"
    )
    assert both.startswith("foreshock.yaml:6:9: correlation.fold.identity[2]: an identity rule has both")
    assert bad.startswith("foreshock.yaml:7:29: correlation.fold.identity[3].match[1]: '(' is not a valid expression")


def test_how_sources_become_one_is_set_by_names_of_sources_attributes_and_rules(write: Write):
    config = write("""\
topology:
  - {name: netbox, kind: file, path: a.yaml}
  - {name: cmdb, kind: file, path: b.yaml}
reconcile:
  identify: [serial, name]
  precedence: {owner: [cmdb]}
  placeholders: [SPARE PART]
""")

    rules = load_settings(config, {}, {}).identification

    assert rules.sources == ("netbox", "cmdb")
    assert rules.kinds == {"netbox": "file", "cmdb": "file"}
    assert rules.precedence == {"owner": ("cmdb",)}
    assert rules.identify == ("serial", "name")
    assert rules.placeholders == ("spare part",)


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("identify: [serial, shoe_size]", "reconcile.identify[1]", "'shoe_size' identifies nothing"),
        ("identify: [serial, serial]", "reconcile.identify[1]", "'serial' stands there twice"),
        ("precedence: {colour: [cmdb]}", "reconcile.precedence.colour", "'colour' is no attribute"),
        ("precedence: {owner: [cmdb]}", "reconcile.precedence.owner[0]", "no source of topology is called 'cmdb'"),
    ],
)
def test_a_word_that_reconciliation_does_not_know_is_told_with_its_place(
    text: str, path: str, problem: str, write: Write
):
    (told,) = problems(write(f"reconcile:\n  {text}\n"))

    assert f"{path}: {problem}" in told
