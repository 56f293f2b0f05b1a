"""What went wrong, told by what happens next: the class carries the recovery, so callers never read messages."""

from collections.abc import Sequence
from dataclasses import dataclass


class ForeshockError(Exception):
    """Any failure with a remedy. ``str(error)`` names the instance and the observed value; ``hint`` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.hint}" if self.hint else message


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing a person must edit: where it stands and what to write instead.

    Attributes:
        file: path as the person named it, or "environment" / "flag".
        line, column: 1-based; None where the source has none.
        path: the key inside the file, for example ``engine.delay``.
    """

    file: str
    line: int | None
    path: str
    message: str
    hint: str = ""
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        remedy = f"; {self.hint}" if self.hint else ""
        return f"{place}: {self.path + ': ' if self.path else ''}{self.message}{remedy}"


class ConfigError(ForeshockError):
    """A person must edit something; raised while starting or reloading, with every problem listed at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class Invalid(ValueError):
    """A validator of configuration refuses a value; ``connect.config`` turns it into a Problem with place and line.

    It is a ValueError because that is what pydantic gathers. The message gives the observed value, ``hint`` says what
    to write instead, ``path`` leads from the validated object to the key at fault where that is not the object itself.
    """

    def __init__(self, message: str, *, hint: str = "", path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.path = tuple(path)


class Unavailable(ForeshockError):
    """The other side cannot answer now; try again, not before ``retry_after_s`` if it is given (seconds).

    ``unsent``: the request certainly had no effect there (nobody listened, or it was turned away at the door).
    Otherwise it may have been carried out although no answer came. ``answered``: the system itself said so, so it is no
    longer at work on the request.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after_s: float | None = None,
        unsent: bool = False,
        answered: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s
        self.unsent = unsent
        self.answered = answered


class Denied(ForeshockError):
    """Credentials were refused; trying again with the same ones is useless."""


class Malformed(ForeshockError):
    """One record cannot be read; it becomes a dead letter and the rest goes on. ``payload``: the item, where it is
    known."""

    def __init__(self, message: str, *, hint: str = "", payload: bytes = b"") -> None:
        super().__init__(message, hint=hint)
        self.payload = payload


class TooLarge(Malformed):
    """A bound on size was passed; the message names the bound and the observed value."""


class Rejected(ForeshockError):
    """The other side refuses this payload for good; dead letter, visible in the console."""


class Missing(Rejected):
    """Nothing goes by the name that was given; the hint says what there is."""


class Fenced(ForeshockError):
    """Another process works on this store: it moved the engine's position, or took over a sink. Step aside, write
    nothing."""


class Held(ForeshockError):
    """The store belongs to another process; the message says which."""
