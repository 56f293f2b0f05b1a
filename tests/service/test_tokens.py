"""The file of tokens: refused with its lines, and never shown."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from foreshock.core.errors import ConfigError
from foreshock.service.tokens import Token, tokens

ONE, TWO = "1" * 24, "2" * 24
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, mode: int = 0o600) -> Path:
        path = tmp_path / "tokens"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def test_a_token_is_known_by_its_name(write: Write):
    known = tokens(write(f"# senders\n\nprometheus {ONE}\n  ana.lyst@noc\t{TWO}\n"))

    assert [token.name for token in known] == ["prometheus", "ana.lyst@noc"]
    assert [token.matches(ONE) for token in known] == [True, False]
    assert not any(token.matches(other) for token in known for other in (ONE[:-1], ONE + "1", ""))


def test_every_bad_line_is_named_and_no_token_is_shown(write: Write):
    secret = "geheim-geheim-geheim-geheim"
    path = write(f"a {secret}\nb short-one\n{secret}\nc d e\na {ONE}\nf {secret}\n")

    with pytest.raises(ConfigError) as refused:
        tokens(path)

    assert [problem.line for problem in refused.value.problems] == [2, 3, 4, 5, 6]
    assert "has 9 characters" in str(refused.value)
    assert "line 1 too" in str(refused.value)
    assert secret not in str(refused.value)
    assert "short-one" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601])
def test_a_file_that_others_may_use_is_refused(write: Write, mode: int):
    with pytest.raises(ConfigError, match="chmod 600"):
        tokens(write(f"a {ONE}", mode))


def test_a_group_may_read_it_because_that_is_how_containers_get_secrets(write: Write):
    assert len(tokens(write(f"a {ONE}", 0o440))) == 1


def test_an_empty_or_absent_file_lets_nobody_in_and_says_so(write: Write, tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no token"):
        tokens(write("# later\n"))
    with pytest.raises(ConfigError, match="does not exist"):
        tokens(tmp_path / "absent")


def test_a_token_shows_itself_nowhere():
    token = Token("ana", SecretStr(ONE))

    assert ONE not in f"{token} {token!r} {token.secret}"


@given(st.text())
def test_whatever_is_presented_is_compared(presented: str):
    assert Token("ana", SecretStr(ONE)).matches(presented) == (presented == ONE)
