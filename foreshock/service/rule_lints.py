"""What is legal in a rule and hardly meant: said as warnings, each with a remedy."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from correlation.rule import RuleInstance
from correlation.rules.attribute import AttributeConfig
from correlation.rules.text import TextConfig
from correlation.settings import CorrelationSettings
from foreshock.connect.config import Origin
from foreshock.core.quantities import format_duration
from foreshock.service.settings import rule_kinds

_HEARD = 4
"""Rules are heard down to this part of ``group.threshold``."""


class Lint(Struct, frozen=True, kw_only=True):
    """One thing to look at again. what: the rule, or what else it is. file, line, column: None if it is in no file."""

    what: str
    message: str
    hint: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file is not None else ""
        return f"{place}{self.what}: {self.message}; {self.hint}"


def lint(rules: Iterable[RuleInstance], settings: CorrelationSettings, origins: Mapping[str, Origin]) -> list[Lint]:
    """Of the enabled rules, in their order."""
    enabled = [(rule, rule_kinds()[rule.kind].config.model_validate(rule.config)) for rule in rules if rule.enabled]
    attributes = [(rule.name, config) for rule, config in enabled if isinstance(config, AttributeConfig)]
    found = []
    for rule, config in enabled:
        said = [*_weak(config, settings)]
        if isinstance(config, AttributeConfig | TextConfig):
            said += _long(config, settings)
        if isinstance(config, AttributeConfig):
            said += [*_alone(config), *_shadowed(rule.name, config, attributes)]
        origin = origins.get(rule.name)
        for message, hint in said:
            found.append(
                Lint(
                    what=rule.name,
                    message=message,
                    hint=hint,
                    file=origin.file if origin is not None else None,
                    line=origin.line if origin is not None else None,
                    column=origin.column if origin is not None else None,
                )
            )
    return found


Said = Iterator[tuple[str, str]]


def _weak(config: object, settings: CorrelationSettings) -> Said:
    strength, threshold = getattr(config, "strength", 1.0), settings.group.threshold
    if strength < threshold / _HEARD:
        yield (
            f"it can never match: its strength of {strength:g} is below {threshold / _HEARD:g}, where rules are heard",
            f"give it more, or lower group.threshold ({threshold:g})",
        )
    elif strength < threshold:
        yield (
            f"alone it joins nothing: its strength of {strength:g} is below group.threshold ({threshold:g})",
            "leave it so if it is only to support other rules",
        )


def _long(config: AttributeConfig | TextConfig, settings: CorrelationSettings) -> Said:
    window, join = config.window, settings.group.join
    if window > join:
        yield (
            f"its window of {format_duration(window)} is longer than group.join ({format_duration(join)}): a situation "
            "that has been quiet for so long takes no alert any more",
            "shorten the window, or lengthen group.join",
        )


def _alone(config: AttributeConfig) -> Said:
    if not config.equal:
        yield (
            "it compares a new alert with every open one: its condition has no label to look up",
            "name labels in `equal`, as far as the condition asks for equal ones",
        )


def _shadowed(name: str, config: AttributeConfig, others: Iterable[tuple[str, AttributeConfig]]) -> Said:
    for other, wider in others:
        if other == name:
            continue
        asks_less = set(wider.equal) <= set(config.equal) and wider.when in ("", config.when)
        says_more = wider.window >= config.window and wider.strength >= config.strength
        if asks_less and says_more and (other < name or wider != config):  # of two that are equal the second one
            yield (
                f"{other!r} says all that it says, and more: it asks for no more, and is as strong for as long",
                "remove one of them, or make this one stronger or longer",
            )
            return
