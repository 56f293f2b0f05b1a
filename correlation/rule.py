"""What a rule is: a kind is a file in ``correlation/rules``; a rule is an instance of a kind with a name and parameters
of its own, written in a rules file. Links carry ``name@version`` of the rule that said so.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct
from pydantic import ValidationError

from foreshock.core.contracts import ConnectorConfig
from foreshock.core.learned import NOTHING, Learned
from foreshock.core.model import Alert, Link

if TYPE_CHECKING:
    from correlation.relate import Candidate, View

_DIGEST_CHARACTERS = 6


class RuleConfig(ConnectorConfig):
    """Parameters of a rule, as a person writes them. Validators raise ``Invalid`` for what cannot be a rule."""


class Index(Protocol):
    """What a rule remembers of open situations, so that a new alert meets only what can be related to it.

    It is never saved: after a restart, and whenever the rules change or a topology comes whole, the rule is built anew
    and every alert of every open situation is added again, in order of opening and joining. When a part of the topology
    changes it stays, and only alerts that are bound anew are dropped and added: what it holds must not depend on the
    topology.
    """

    def add(self, situation: str, alert: Alert) -> None:
        """``alert`` belongs to the open ``situation`` now."""

    def moved(self, situation: str, alert: Alert) -> None:
        """The onset or the annotations of ``alert``, of the open ``situation``, are others now."""

    def drop(self, situation: str, alerts: Iterable[Alert]) -> None:
        """``situation`` is no longer open, or no longer has these alerts. They may not all have been added."""


class Memory(Protocol):
    """What a rule learns from the alerts it sees; part of the engine's state and of its checkpoints.

    It goes on while the rule keeps its version. An index must not depend on it: it is built anew from open situations.
    """

    def learn(self, situation: str, alert: Alert, now: datetime) -> None:
        """``alert`` fires, and was placed in ``situation``; called after ``Index.add``."""

    def save(self) -> bytes: ...

    def load(self, saved: bytes) -> None:
        """Take over what ``save`` gave; the rule is new."""


class Rule(Struct, frozen=True, kw_only=True):
    """A rule in force.

    Attributes:
        tag: name@version; what candidates and links carry.
        relate: candidates among the open situations for a new alert, in any order; the alert may have no CI. The
            ``strength`` of a candidate is the probability that both alerts are the same problem, judged from this kind
            of evidence alone; ``correlation.group`` combines what several rules say. It tells ``View.spend`` what it
            looked at; one that takes more than its budget for long is suspended.
        describe: the link in words, for people. It may be one that an earlier version of the rule made.
        index: its own index of open situations, if ``View.traces`` does not do.
        memory: what it has learned, if it learns.
    """

    tag: str
    relate: "Callable[[Alert, View], Sequence[Candidate]]"
    describe: Callable[[Link], str]
    index: Index | None = None
    memory: Memory | None = None

    @property
    def name(self) -> str:
        return self.tag.partition("@")[0]


class RuleKind(Struct, frozen=True, kw_only=True):
    """Declaration of a rule kind.

    Attributes:
        kind: the file's name. version: rises when its meaning changes.
        title: one line for people.
        config: parameters of an instance.
        build: the rule with this tag and these parameters; a ``trained`` kind gets what was learned from history as a
            third.
        shipped: a rule of this kind at its defaults, named like the kind, is in force unless a rules file says
            otherwise.
    """

    kind: str
    version: int
    title: str
    config: type[RuleConfig]
    build: Callable[..., Rule]
    shipped: bool = True
    trained: bool = False


class RuleInstance(Struct, frozen=True, kw_only=True):
    """One entry of a rules file. config: parameters of its kind as plain data, defaults written out, so that a replay
    by a later version with other defaults is the same."""

    name: str
    kind: str
    enabled: bool = True
    config: dict[str, Any] = {}


def shipped(kinds: Mapping[str, RuleKind]) -> tuple[RuleInstance, ...]:
    """The rules in force where nobody wrote any."""
    return tuple(
        RuleInstance(name=name, kind=name, config=kind.config().model_dump(mode="json"))
        for name, kind in kinds.items()
        if kind.shipped
    )


def build(
    instances: Iterable[RuleInstance], kinds: Mapping[str, RuleKind], learned: Learned = NOTHING
) -> tuple[Rule, ...]:
    """The enabled rules. One that this version cannot read is left out: a record of another version may hold a kind or
    a parameter that is gone, or new."""
    built = []
    for instance in instances:
        kind = kinds.get(instance.kind)
        if not instance.enabled or kind is None:
            continue
        try:
            config = kind.config.model_validate(instance.config)
        except ValidationError:
            continue
        built.append(_build(instance.name, kind, config, learned))
    return tuple(built)


def _build(name: str, kind: RuleKind, config: RuleConfig, learned: Learned) -> Rule:
    tag = f"{name}@{version_of(kind, config)}"
    if not kind.trained:
        return kind.build(tag, config)
    return kind.build(f"{tag}.{learned.version}" if learned.version else tag, config, learned)


def changes(before: Iterable[Rule], after: Iterable[Rule], instances: Iterable[RuleInstance]) -> list[tuple[str, str]]:
    """What came of the rules when they were read again, for the record: (rule, what happened). instances: those that
    ``after`` was built of."""
    old, new = {rule.tag for rule in before}, {rule.tag for rule in after}
    built = {rule.name for rule in after}
    unread = sorted(one.name for one in instances if one.enabled and one.name not in built)
    return [
        *((tag, "withdrawn") for tag in sorted(old - new)),
        *((tag, "in force") for tag in sorted(new - old)),
        *((name, "left out, this version cannot read it") for name in unread),
    ]


def in_words(link: Link, rules: Iterable[Rule]) -> str:
    """The link in the words of the rule of its name; empty if there is no such rule any more."""
    name = link.rule.partition("@")[0]
    return next((rule.describe(link) for rule in rules if rule.name == name), "")


def version_of(kind: RuleKind, config: RuleConfig) -> str:
    """Version of the kind and digest of the parameters: equal exactly where two rules mean the same."""
    content = msgspec.json.encode(config.model_dump(mode="json"), order="deterministic")
    digest = hashlib.sha256(kind.kind.encode() + b"\0" + content).hexdigest()
    return f"{kind.version}.{digest[:_DIGEST_CHARACTERS]}"
