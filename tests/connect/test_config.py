"""What people write is read with its lines, and everything that is wrong is said at once."""

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from foreshock.connect.config import (
    MAX_BYTES,
    ConfigError,
    load,
    parse_yaml,
    path_text,
    read_yaml,
)
from foreshock.core.quantities import Duration, parse_duration


class Pause(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Duration = parse_duration("5m")
    labels: tuple[str, ...] = ()
    times: int = Field(default=3, ge=1)


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="what people call it")
    pause: Pause = Pause()
    pauses: tuple[Pause, ...] = ()
    log: Path = Path("log")
    logs: dict[str, Path] = {}
    password: SecretStr = SecretStr("")
    on: bool = True


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return path

    return write


def problems(path: Path) -> list[str]:
    """Each problem without the folder of the test."""
    with pytest.raises(ConfigError) as refused:
        load(path, Plan)
    return [str(problem).replace(f"{path.parent}/", "") for problem in refused.value.problems]


def test_a_file_becomes_the_model(write: Write):
    plan = load(write("name: night\npause:\n  after: 1h30m\n  labels: [host, db]\n"), Plan)

    assert plan.name == "night"
    assert plan.pause.after.total_seconds() == 5400
    assert plan.pause.labels == ("host", "db")


def test_every_problem_is_listed_with_its_line_the_value_seen_and_a_remedy(write: Write):
    path = write(
        "name: 5\npause:\n  after: 30\n  labls: [a]\npauses:\n  - times: 1\n  - times: 0\non: 'yes'\npasswrd: geheim\n"
    )

    assert problems(path) == [
        "plan.yaml:1:1: name: should be a valid string, got 5",
        "plan.yaml:3:3: pause.after: '30' has no unit; write a number with its unit: 30s, 5m, 2h, 7d or 1h30m",
        "plan.yaml:4:3: pause.labls: unknown key; did you mean 'labels'?",
        "plan.yaml:7:5: pauses[1].times: should be greater than or equal to 1, got 0",
        'plan.yaml:8:1: on: should be a valid boolean, got "yes"',
        "plan.yaml:9:1: passwrd: unknown key; did you mean 'password'?",
    ]


def test_a_key_like_no_other_is_answered_with_all_there_are(write: Write):
    assert problems(write("name: x\npause: {zzz: 1}\n")) == [
        "plan.yaml:2:9: pause.zzz: unknown key; known: after, labels, times"
    ]


def test_a_missing_key_is_explained_and_an_empty_file_misses_it_too(write: Write):
    for text in ("log: x\n", "", "# nothing yet\n"):
        assert problems(write(text)) == ["plan.yaml:1:1: name: is missing; add it: what people call it"]


def test_a_refused_secret_is_never_shown(write: Write):
    (problem,) = problems(write("name: x\npassword: 12345678\n"))

    assert "12345678" not in problem
    assert "plan.yaml:2:1: password" in problem


def test_a_relative_path_starts_from_the_folder_of_its_file_and_a_default_from_the_working_directory(write: Write):
    path = write("name: x\nlogs: {a: logs/a, b: /var/b, c: ~/c}\n")

    plan = load(path, Plan)

    assert plan.logs == {"a": path.parent / "logs/a", "b": Path("/var/b"), "c": Path("~/c").expanduser()}
    assert plan.log == Path("log")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("0123", "0123"), ("1:30", "1:30"), ("0x10", "0x10"), ("2026-11-22", "2026-11-22"),
        (".nan", ".nan"), ("1_000", "1_000"), ("True", "True"), ("1e999", "1e999"), ("=", "="), ("9" * 30, "9" * 30),
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("-5", -5), ("1.5", 1.5), ("1e3", 1000.0), ("'5'", "5"), ('"true"', "true"), ("|\n  a\n  b", "a\nb"),
    ],
)  # fmt: skip
def test_a_plain_word_is_more_than_text_only_where_json_says_so(text: str, value: object):
    read = parse_yaml(f"key: {text}", file="x").data["key"]

    assert read == value
    assert type(read) is type(value)


def test_a_key_is_the_text_that_was_written():
    assert parse_yaml("no: 1\n8420: 2\n1.0: 3\n", file="x").data == {"no": 1, "8420": 2, "1.0": 3}


def test_duplicate_keys_tags_and_merge_keys_are_all_told_in_one_go():
    with pytest.raises(ConfigError) as refused:
        parse_yaml("a: 1\nb:\n  c: 1\n  c: 2\nd: !!python/object:os.system x\na: 2\n<<: {e: 1}\n? [f]\n: 1\n", file="x")

    assert [(problem.line, problem.path) for problem in refused.value.problems] == [
        (4, "b.c"), (5, "d"), (6, "a"), (7, ""), (8, ""),
    ]  # fmt: skip
    assert "first on line 3" in refused.value.problems[0].message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1,\n2", 2), ("a: b: c", 1), ("a: 'open", 1),
        ("\ta: 1", 1), ("a: 1\n---\nb: 1", 2), ("a: *b", 1), ("a: &b [*b]", 1),
        ("a: \x00", None), ('a: "\\ud800"', 1), ('a: "\\UFFFFFFFF"', None), ("%YAML 3.0\n---\na: 1", 1),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_refused_with_its_line(text: str, line: int | None):
    with pytest.raises(ConfigError) as refused:
        parse_yaml(text, file="x")

    assert refused.value.problems[0].line == line


def test_an_alias_is_the_value_of_its_anchor_and_has_its_own_line():
    document = parse_yaml("a: &x\n  b: 1\nc: *x\n", file="x")

    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.origin(("c",)).line == 3


def aliases_of_aliases() -> str:
    """Eight lines that stand for a hundred million values."""
    lines = ["a: &a [1,1,1,1,1,1,1,1,1,1]"]
    for before, name in pairwise("abcdefgh"):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "bomb",
    [aliases_of_aliases(), "[" * 100_000, "{a: " * 100_000, "- " * 100_000, "[" + "1," * 300_000 + "1]"],
    ids=["aliases", "lists", "mappings", "dashes", "values"],
)
@pytest.mark.timeout(60)
def test_a_bomb_is_refused_while_it_is_read(bomb: str):
    with pytest.raises(ConfigError, match=r"deeper than 32|more than 250000"):
        parse_yaml(bomb, file="x")


def test_the_line_of_what_is_not_there_is_the_line_of_what_is_around_it():
    document = parse_yaml("a: 1\nb:\n  - c: 1\n  - d: 1\n    e: 2\n", file="x")

    assert document.origin(("b", 1, "e")).line == 5
    assert document.origin(("b", 1, "nothing", 3)).line == 4
    assert document.origin(("b", 7)).line == 2
    assert document.origin(()).line == 1


def test_a_file_that_cannot_be_read_is_a_problem_and_no_traceback(tmp_path: Path):
    large, latin = tmp_path / "large.yaml", tmp_path / "latin.yaml"
    large.write_text("#" * (MAX_BYTES + 1))
    latin.write_bytes("a: 1\nname: Zürich".encode("latin-1"))

    for path, said in [
        (tmp_path / "absent.yaml", "does not exist"), (tmp_path, "Is a directory"),
        (large, "larger than 2097152 bytes"),
        (latin, "is not UTF-8"), (Path("/dev/zero"), "larger than"), (Path("a\0b"), "null byte"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            read_yaml(path)
    with pytest.raises(ConfigError) as refused:
        read_yaml(latin)
    assert refused.value.problems[0].line == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_problem(write: Write):
    path = write("name: x")
    path.chmod(0)

    assert "Permission denied" in problems(path)[0]


def test_a_byte_order_mark_is_not_part_of_the_text(write: Write):
    assert load(write("\ufeffname: x"), Plan).name == "x"


def test_a_path_reads_as_people_write_it():
    assert path_text(("topology", 0, "path")) == "topology[0].path"
    assert path_text(()) == ""


@given(st.text() | st.text(st.sampled_from("ab:-&*!%@|>'\"[]{},#? \n\t\\\x85\u2028")))
def test_any_text_is_read_or_refused_and_nothing_else(text: str):
    try:
        parse_yaml(text, file="x")
    except ConfigError:
        return


_KEYS = st.text(max_size=5).filter(lambda key: key != "<<")
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(_VALUES)
def test_json_is_yaml_and_means_the_same(value: object):
    assert parse_yaml(json.dumps(value), file="x").data == value
