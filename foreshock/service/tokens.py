"""Who may use the API, and what sources show: files of tokens and secrets that a person keeps."""

import hmac
import re
import stat
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from pydantic import SecretStr

from foreshock.connect.auth import read_secret
from foreshock.connect.config import read_text
from foreshock.core.contracts import Collector, ConnectorConfig, ReceiveConfig
from foreshock.core.errors import ConfigError, Problem

MIN_TOKEN_CHARS = 20
_MIN_SECRET_CHARS = 16
_TOKEN = re.compile(r"[!-~]{20,512}")


@dataclass(frozen=True, slots=True)
class Token:
    """Somebody's token, wrapped so that no log, traceback or page shows it."""

    name: str
    secret: SecretStr

    def matches(self, presented: str) -> bool:
        """In constant time."""
        return hmac.compare_digest(_digest(self.secret.get_secret_value()), _digest(presented))


def _digest(token: str) -> bytes:
    # Equal lengths to compare, so that not even the length of a token can be measured.
    return blake2b(token.encode("utf-8", "surrogatepass")).digest()


def tokens(path: Path) -> list[Token]:
    """Read lines of ``name token``; # begins a comment line. Raises ConfigError that names lines, never tokens."""
    problems: list[Problem] = []

    def report(line: int | None, message: str, hint: str) -> None:
        problems.append(Problem(file=str(path), line=line, path="", message=message, hint=hint))

    text = read_text(path)
    mode = path.stat().st_mode
    if mode & stat.S_IRWXO:
        report(None, f"others may use it (mode {stat.S_IMODE(mode):04o})", f"chmod 600 {path}")
    found: list[Token] = []
    names: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", words[0]):
            # Not even the first word is shown: in a line with the name forgotten it is the token.
            report(number, "is not a name and a token", "write `name token`; names hold letters, digits and . _ @ -")
            continue
        name, token = words
        if not _TOKEN.fullmatch(token):
            report(
                number,
                f"the token of {name!r} has {len(token)} characters",
                f"use {MIN_TOKEN_CHARS} to 512 of ASCII: openssl rand -hex 24",
            )
        if (first := names.setdefault(name, number)) != number:
            report(number, f"the name {name!r} stands on line {first} too", "give each its own name")
        if (first := lines.setdefault(token, number)) != number:
            report(number, f"the token of {name!r} stands on line {first} too", "give each its own token")
        found.append(Token(name, SecretStr(token)))
    if not found and not problems:
        report(None, "holds no token", "add a line `name token`; make one with: openssl rand -hex 24")
    if problems:
        raise ConfigError(problems)
    return found


def secrets_of(name: str, config: ConnectorConfig, collector: Collector) -> tuple[list[str], list[str]]:
    """Tokens that the source ``name`` may show, and secrets that it may sign with. Raises ConfigError."""
    place, problems = f"collectors.{name}", list[Problem]()
    if not isinstance(config, ReceiveConfig):
        return [], []

    def read(setting: str, paths: tuple[Path, ...]) -> list[str]:
        found = []
        for path in paths:
            try:
                secret = read_secret(path, f"{place}.{setting}")
            except ConfigError as error:
                problems.extend(error.problems)
                continue
            if len(secret) < _MIN_SECRET_CHARS:
                message = f"holds {len(secret)} characters; {_MIN_SECRET_CHARS} are the least"
                report(path, setting, message, f"make one: openssl rand -hex 24 > {path}")
            found.append(secret)
        return found

    def report(path: Path, setting: str, message: str, hint: str) -> None:
        problems.append(Problem(file=str(path), line=None, path=f"{place}.{setting}", message=message, hint=hint))

    tokens, secrets = read("token_files", config.token_files), read("secret_files", config.secret_files)
    if config.secret_files and (collector.receive is None or collector.receive.signed is None):
        message = f"{collector.kind} signs nothing"
        report(config.secret_files[0], "secret_files", message, "let it show a token: token_files")
    if problems:
        raise ConfigError(problems)
    return tokens, secrets
