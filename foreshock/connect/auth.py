"""Secrets that stand in files of their own."""

import stat
from pathlib import Path

from foreshock.core.errors import ConfigError, Problem


def read_secret(path: Path, place: str) -> str:
    """The one line in ``path``.

    Args:
        place: the setting that names the file, for messages.
    Raises: ConfigError where it is missing, open to others than its owner, or empty.
    """

    def wrong(message: str, hint: str) -> ConfigError:
        return ConfigError([Problem(file=str(path), line=None, path=place, message=message, hint=hint)])

    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"cannot be read: {error}", "write the secret into it and make Foreshock its owner") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise wrong(f"its mode is {mode:04o}, so others than its owner may read it", f"run: chmod 600 {path}")
    if not secret or "\n" in secret or not secret.isprintable():
        raise wrong("does not hold one line of text", "write the secret into it, and nothing else")
    return secret
