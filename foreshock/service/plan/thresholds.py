"""``--fail-if``: a bound on what a plan counts, such as ``vanished_p1 > 0``."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from foreshock.connect.config import did_you_mean
from foreshock.core.errors import Malformed

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_THRESHOLD = re.compile(r"\s*(?P<name>[a-z][a-z0-9_]*)\s*(?P<op>>=|<=|==|!=|>|<)\s*(?P<bound>-?[0-9]+(?:\.[0-9]+)?)\s*")


class Threshold(Struct, frozen=True):
    """It is crossed where the comparison holds."""

    name: str
    op: str
    bound: float

    def crossed(self, values: Mapping[str, float]) -> bool:
        return _OPERATORS[self.op](values[self.name], self.bound)


def parse_threshold(text: str, names: Sequence[str]) -> Threshold:
    """Raises Malformed for what is none, or names nothing that is counted."""
    found = _THRESHOLD.fullmatch(text)
    if found is None:
        raise Malformed(f"{text!r} is no threshold", hint="write a name, a comparison and a number: vanished_p1 > 0")
    if found["name"] not in names:
        raise Malformed(f"nothing that is counted is named {found['name']!r}", hint=did_you_mean(found["name"], names))
    return Threshold(found["name"], found["op"], float(found["bound"]))
