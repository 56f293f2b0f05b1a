"""As much of JSON Schema 2020-12 as the schemas in ``config/`` use, to hold files against them."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_TOLD_ONLY = frozenset({
    "$schema", "$defs", "title", "description", "default", "examples", "format", "writeOnly", "discriminator",
})  # fmt: skip
_BOUNDS: Mapping[str, Callable[[float, float], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
_SIZES = {
    "minLength": str, "maxLength": str, "minItems": list, "maxItems": list,
    "minProperties": dict, "maxProperties": dict,
}  # fmt: skip


def problems(value: Any, schema: Any, root: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """What in ``value`` the schema refuses, each with its place. Raises KeyError for a keyword that is not known here,
    so that nothing passes unseen."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{place}: may not be here"
        return
    for keyword, said in schema.items():
        if keyword not in _TOLD_ONLY:
            yield from _keyword(keyword, said, value, schema, root, place)


def _keyword(
    keyword: str, said: Any, value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: str
) -> Iterator[str]:
    if keyword == "$ref":
        yield from problems(value, root["$defs"][said.removeprefix("#/$defs/")], root, place)
    elif keyword in ("anyOf", "oneOf"):
        fits = sum(not list(problems(value, one, root, place)) for one in said)
        if not fits or (keyword == "oneOf" and fits > 1):
            yield f"{place}: fits {fits} of {len(said)}"
    elif keyword == "prefixItems":
        for index, (item, one) in enumerate(zip(value if isinstance(value, list) else (), said, strict=False)):
            yield from problems(item, one, root, f"{place}[{index}]")
    elif keyword in ("properties", "items", "additionalProperties", "propertyNames"):
        yield from _parts(keyword, said, value, schema, root, place)
    elif not _holds(keyword, said, value):
        yield f"{place}: {value!r} is against {keyword} {said!r}"


def _parts(
    keyword: str, said: Any, value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: str
) -> Iterator[str]:
    if keyword == "items" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(item, said, root, f"{place}[{index}]")
    if keyword == "items" or not isinstance(value, dict):
        return
    for name, part in value.items():
        own = name in schema.get("properties", {})
        if keyword == "propertyNames":
            yield from problems(name, said, root, f"{place}.{name}")
        elif keyword == "properties" and own:
            yield from problems(part, said[name], root, f"{place}.{name}")
        elif keyword == "additionalProperties" and not own:
            yield from problems(part, said, root, f"{place}.{name}")


def _holds(keyword: str, said: Any, value: Any) -> bool:
    if keyword == "type":
        kinds = [said] if isinstance(said, str) else said
        if isinstance(value, bool):  # which Python takes for a number
            return "boolean" in kinds
        return any(isinstance(value, _TYPES[kind]) for kind in kinds)
    if keyword == "enum":
        return any(value == one and type(value) is type(one) for one in said)
    if keyword == "const":
        return bool(value == said and type(value) is type(said))
    if keyword == "required":
        return not isinstance(value, dict) or value.keys() >= set(said)
    if keyword == "pattern":
        return not isinstance(value, str) or re.search(said, value) is not None
    if keyword in _SIZES:
        long = isinstance(value, _SIZES[keyword])
        return not long or (len(value) >= said if keyword.startswith("min") else len(value) <= said)
    bound = _BOUNDS[keyword]
    return isinstance(value, bool) or not isinstance(value, int | float) or bound(value, said)
