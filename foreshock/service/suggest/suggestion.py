"""What a suggestion is, and what a kind of suggestion declares."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from io import StringIO
from typing import Any

import msgspec
from msgspec import Struct
from ruamel.yaml import YAML

from correlation.rule import RuleInstance
from correlation.settings import CorrelationSettings
from foreshock.core import registry
from foreshock.core.contracts import Snapshot
from foreshock.core.model import Relationship
from foreshock.service.replay import Version
from foreshock.service.settings import RuleEntry
from foreshock.service.suggest.recall import Recalled


class Patch(Struct, frozen=True, kw_only=True):
    """What would change.

    Attributes:
        rules: entries of a rules file, as plain data. settings: of ``correlation``, only what changes, as plain data.
        relationships: lines of a topology file.
    """

    rules: tuple[dict[str, Any], ...] = ()
    settings: dict[str, Any] = {}
    relationships: tuple[Relationship, ...] = ()

    def yaml(self) -> str:
        """As a file that is ready to be saved: a rules file, or a part of a configuration or topology file."""
        parts: list[str] = []
        if self.rules:
            parts.append(dumped(list(self.rules)))
        if self.settings:
            parts.append(dumped({"correlation": self.settings}))
        if self.relationships:
            lines = [{"source": one.source, "type": one.type, "target": one.target} for one in self.relationships]
            parts.append(dumped({"relationships": lines}))
        return "".join(parts)


class Suggestion(Struct, frozen=True, kw_only=True):
    """One change that the earlier part of history speaks for.

    Attributes:
        id: the same for the same patch. kind: which file found it.
        title: what to do, in a few words. seen: what was seen, how often.
        times, of: it was so in so many of so many cases. share: 95 % confidence interval of that share.
        p: probability of seeing as much where nothing is behind it.
        weight: how many tickets or corrections of the earlier part it concerns; those with most are tried first.
    """

    id: str
    kind: str
    title: str
    seen: str
    times: int
    of: int
    share: tuple[float, float]
    p: float
    patch: Patch
    weight: float


class Mined(Struct, frozen=True):
    """tested: how many claims were tested to find these, for the false discovery rate; 0 where the kind has controlled
    it already."""

    found: tuple[Suggestion, ...] = ()
    tested: int = 0


class SuggestionKind(Struct, frozen=True, kw_only=True):
    """Declaration of a kind; ``mine`` is pure."""

    kind: str
    title: str
    mine: Callable[[Recalled], Mined]


@cache
def suggestion_kinds() -> Mapping[str, SuggestionKind]:
    from foreshock.service.suggest import kinds

    return registry.kinds(kinds, "KIND", SuggestionKind)


def suggestion(kind: str, patch: Patch, **told: Any) -> Suggestion:
    """With the id that its patch gives it, and the interval of its share."""
    from predictor.support import interval

    digest = hashlib.sha256(msgspec.json.encode(patch, order="deterministic")).hexdigest()[:6]
    share = told.pop("share", None) or interval(told["times"], told["of"])
    return Suggestion(id=f"{kind.replace('_', '-')}-{digest}", kind=kind, patch=patch, share=share, **told)


def mine(past: Recalled, only: Iterable[str], fdr: float) -> list[Suggestion]:
    """What the kinds find, each at this false discovery rate; by kind in turns, in each what concerns most first."""
    from predictor.support import discovered

    by_kind: list[list[Suggestion]] = []
    for name in only:
        mined = suggestion_kinds()[name].mine(past)
        kept = list(mined.found)
        if mined.tested:
            stands = discovered([one.p for one in kept], mined.tested, fdr)
            kept = [one for one, yes in zip(kept, stands, strict=True) if yes]
        by_kind.append(sorted(kept, key=lambda one: (-one.weight, one.p, one.id)))
    longest = max(map(len, by_kind), default=0)
    return [found[turn] for turn in range(longest) for found in by_kind if turn < len(found)]


def changed(version: Version, patch: Patch, topology: Snapshot | None) -> Version:
    """A version with what the patch says. topology: what its relationships come to."""
    settings = (version.settings or CorrelationSettings()).model_dump(mode="json")
    if patch.relationships and topology is not None:
        relationships = (*topology.relationships, *patch.relationships)
        drawn = msgspec.structs.replace(topology, relationships=relationships, version=f"{topology.version}+")
        version = msgspec.structs.replace(version, topology=drawn)
    return msgspec.structs.replace(
        version,
        settings=CorrelationSettings.model_validate(_merged(settings, patch.settings)),
        rules=_with_rules(version.rules or (), patch),
    )


def _with_rules(rules: Iterable[RuleInstance], patch: Patch) -> tuple[RuleInstance, ...]:
    """Those of the patch take the place of those of the same name."""
    named = {rule.name: rule for rule in rules}
    for data in patch.rules:
        entry = RuleEntry.model_validate(data)
        named[entry.name] = RuleInstance(
            name=entry.name, kind=entry.kind, enabled=entry.enabled, config=entry.config.model_dump(mode="json")
        )
    return tuple(named[name] for name in sorted(named))


def _merged(data: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in change.items():
        here = data.get(key)
        data[key] = _merged(here, value) if isinstance(value, dict) and isinstance(here, dict) else value
    return data


def dumped(data: Any) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 10_000  # a condition stays on one line
    text = StringIO()
    yaml.dump(data, text)
    return text.getvalue()
