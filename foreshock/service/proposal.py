"""What a plan proposes, as a file: it can be put into force as it was planned, and as nothing else."""

from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from correlation.rule import shipped
from correlation.settings import CorrelationSettings
from foreshock.core.errors import ConfigError, Problem
from foreshock.core.model import Moment
from foreshock.service.replay import Version
from foreshock.service.ruleset import Ruleset, ruleset, version_of
from foreshock.service.settings import rule_kinds

FORMAT = 1


class Proposal(Struct, frozen=True, kw_only=True):
    """version: of ``proposed``. against: the version it was compared with. said: what the plan found, in a line."""

    format: int
    version: str
    against: str
    planned_at: Moment
    said: str
    proposed: Ruleset


def proposed_by(version: Version) -> Ruleset:
    """What a side of a plan decides by."""
    rules = shipped(rule_kinds()) if version.rules is None else version.rules
    return ruleset(version.settings or CorrelationSettings(), rules)


def proposal(before: Version, after: Version, said: str, now: datetime) -> Proposal:
    proposed = proposed_by(after)
    return Proposal(
        format=FORMAT,
        version=version_of(proposed),
        against=version_of(proposed_by(before)),
        planned_at=now,
        said=said,
        proposed=proposed,
    )


def written(proposal: Proposal) -> bytes:
    return msgspec.json.format(msgspec.json.encode(proposal), indent=1) + b"\n"


def read_proposal(path: Path) -> Proposal:
    """Raises ConfigError where it is none."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Proposal)
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except msgspec.DecodeError as error:
        message = f"is no saved plan: {error}"
    else:
        if found.format == FORMAT:
            return found
        message = f"has format {found.format}, this program reads {FORMAT}"
    hint = "write one with `foreshock rules plan … --save`"
    raise ConfigError([Problem(file=str(path), line=None, path="", message=message, hint=hint)])
