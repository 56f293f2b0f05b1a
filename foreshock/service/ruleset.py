"""What decides, as one value with one name: all `correlation` settings and all rules; the name is a digest of both."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from correlation.rule import RuleInstance
from correlation.settings import CorrelationSettings
from foreshock.core.errors import Malformed

_VERSION_CHARACTERS = 12


class Ruleset(Struct, frozen=True, kw_only=True):
    """Attributes:
    correlation: the settings, every default written out. rules: in order of their names, those that are not enabled
        too, their defaults written out.
    """

    correlation: dict[str, Any]
    rules: tuple[RuleInstance, ...]


def ruleset(settings: CorrelationSettings, rules: Iterable[RuleInstance]) -> Ruleset:
    return Ruleset(correlation=settings.model_dump(mode="json"), rules=tuple(sorted(rules, key=lambda rule: rule.name)))


def version_of(found: Ruleset) -> str:
    """Equal exactly where the same settings and rules are meant."""
    content = msgspec.json.encode(found, order="deterministic")
    return hashlib.sha256(content).hexdigest()[:_VERSION_CHARACTERS]


def decoded(body: bytes) -> Ruleset:
    """Raises Malformed."""
    try:
        return msgspec.json.decode(body, type=Ruleset)
    except msgspec.DecodeError as error:
        raise Malformed(f"it holds no rules and settings: {error}") from None


def differences(before: Ruleset, after: Ruleset) -> Iterator[str]:
    """What is another in ``after``, one line each: a setting with both values, or a rule with what became of it."""
    yield from _settings(before.correlation, after.correlation, "")
    old, new = {rule.name: rule for rule in before.rules}, {rule.name: rule for rule in after.rules}
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        if one is None:
            yield f"rule {name}: added"
        elif other is None:
            yield f"rule {name}: removed"
        elif one != other:
            yield from _rule(one, other)


def _rule(one: RuleInstance, other: RuleInstance) -> Iterator[str]:
    name = f"rule {one.name}"
    if one.kind != other.kind:
        yield f"{name}: kind {one.kind} → {other.kind}"
    if one.enabled != other.enabled:
        yield f"{name}: {'enabled' if other.enabled else 'disabled'}"
    yield from _settings(one.config, other.config, f"{name}: ")


def _settings(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[str]:
    for key in sorted({*before, *after}):
        one, other = before.get(key), after.get(key)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _settings(one, other, f"{path}{key}.")
        else:
            yield f"{path}{key}: {_shown(one)} → {_shown(other)}"


_SHOWN = 120


def _shown(value: Any) -> str:
    text = (
        "unset" if value is None else value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
