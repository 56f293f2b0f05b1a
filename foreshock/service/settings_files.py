"""Writes the example configuration, the shipped rules and their JSON Schemas to ``config/``, from the models.

``python -m foreshock.service.settings_files`` (or ``make config``) does so in a checkout; a test compares them.
"""

import json
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from collections.abc import Mapping as Texts
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

import foreshock
from cmdb_sync.file import CRITICALITY, FORMAT_VERSION, IDENTIFIERS
from correlation.settings import CorrelationSettings
from foreshock.connect.config import plain_value
from foreshock.connect.mapping import Mapping
from foreshock.core.contracts import ReceiveConfig
from foreshock.core.topology import DIRECTIONS
from foreshock.service.cases.model import CaseFile
from foreshock.service.settings import (
    Instance,
    Kind,
    RuleEntry,
    Settings,
    SettingsSchema,
    collector_kinds,
    on_call_kinds,
    rule_kinds,
    sink_kinds,
    source_kinds,
)

_WIDTH = 110
_SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
_PLAIN = re.compile(r"[A-Za-z0-9_./-][A-Za-z0-9_./:+-]*")


_KINDS: Texts[str, Callable[[], Texts[str, Kind]]] = {
    "collectors": collector_kinds,
    "topology": source_kinds,
    "sinks": sink_kinds,
    "on_call": on_call_kinds,
}
"""Settings that list instances."""


def example() -> str:
    """A complete configuration file: every setting with its description, at its default."""
    lines = [
        "# yaml-language-server: $schema=foreshock.schema.json",
        "# Every setting of Foreshock at its default; what you do not change may be left out.",
        "# Environment variables (FORESHOCK_LISTEN, FORESHOCK_RETENTION__AGE) and flags win over this file.",
        "# Paths written here start from the folder of this file. Durations: 30s, 5m, 2h, 7d; sizes: 5MiB, 10GiB.",
        "",
    ]
    defaults = Settings()
    for name, info in Settings.model_fields.items():
        lines += _comment(info.description or "", "")
        value = getattr(defaults, name)
        if name in _KINDS:
            lines += _instances(name, value, _KINDS[name]())
        else:
            lines += _setting(name, info, value, "")
        lines.append("")
    return "\n".join(lines)


def _setting(name: str, info: FieldInfo, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield f"{indent}{name}:"
        for inner, inner_info in type(value).model_fields.items():
            yield from _comment(inner_info.description or "", indent + "  ")
            yield from _setting(inner, inner_info, getattr(value, inner), indent + "  ")
    elif value is None:
        yield f"{indent}# {name}: {_flow((info.examples or ['…'])[0])}"
    else:
        text = default_text(info, value)
        if len(line := f"{indent}{name}: {text}") <= _WIDTH:
            yield line
        else:
            yield f"{indent}{name}:"
            yield from textwrap.wrap(text, _WIDTH, initial_indent=indent + "  ", subsequent_indent=indent + "   ")


def default_text(info: FieldInfo, value: Any) -> str:
    """The value of a setting on one line, as a person would write it in the file."""
    annotation: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return _flow(TypeAdapter(annotation).dump_python(value, mode="json"))


def _instances(name: str, defaults: Sequence[Instance], kinds: Texts[str, Kind]) -> Iterator[str]:
    """The default instances, and one of every other kind as a comment; of kinds with the same settings, one for all."""
    yield f"{name}:" if defaults else f"{name}: []"
    for instance in defaults:
        yield from instance_lines(instance.kind, kinds[instance.kind])
    configured = {instance.kind for instance in defaults}
    removed = "" if defaults else " (write it instead of the [])"
    first: dict[type[BaseModel], str] = {}
    alike = {
        kind: [other for other, one in kinds.items() if one.config is declared.config and other != kind]
        for kind, declared in kinds.items()
    }
    for kind, declared in kinds.items():
        if kind in configured or declared.config in first:
            continue
        first[declared.config] = kind
        others = f"; also {', '.join(alike[kind])}" if alike[kind] else ""
        yield from _comment(f"{kind}: {declared.title}{removed}{others}", "  ")
        told = _told_before(declared.config, first)
        lines = instance_lines(kind, declared, {key for keys in told.values() for key in keys})
        yield from (f"  # {line}" for line in textwrap.dedent("\n".join(lines)).splitlines())
        for other, keys in told.items():
            yield from _comment(f"  and as for {other}: {', '.join(keys)}", "  ")


def _told_before(model: type[BaseModel], first: Texts[type[BaseModel], str]) -> dict[str, list[str]]:
    """Keys that a model has from one for what is posted, which is a kind's own model too: by the kind that shows it."""
    if model is ReceiveConfig or not issubclass(model, ReceiveConfig) or ReceiveConfig not in first:
        return {}
    return {first[ReceiveConfig]: list(ReceiveConfig.model_fields)}


def instance_lines(kind: str, declared: Kind, without: Collection[str] = ()) -> Iterator[str]:
    """An instance of a kind as an entry of its list in the file, without the keys that are told elsewhere."""
    yield f"  - name: {kind}"
    yield f"    kind: {kind}"
    for name, info in declared.config.model_fields.items():
        if name in without:
            continue
        yield from _comment(info.description or "", "    ")
        value = (info.examples or ["…"])[0] if info.is_required() else info.get_default(call_default_factory=True)
        if info.is_required():
            yield f"    {name}: {_flow(value)}"
        else:
            yield from _setting(name, info, value, "    ")


def least_lines(kind: str, declared: Kind) -> Iterator[str]:
    """The same with what is required only."""
    yield f"  - name: {kind}"
    yield f"    kind: {kind}"
    for name, info in declared.config.model_fields.items():
        if info.is_required():
            yield f"    {name}: {_flow((info.examples or ['…'])[0])}"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _flow(value: Any) -> str:
    """YAML on one line, with quotes only where they are needed."""
    if isinstance(value, str):
        return (
            value if _PLAIN.fullmatch(value) and plain_value(value) == value else json.dumps(value, ensure_ascii=False)
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(part)}' for key, part in value.items())}}}"
    return json.dumps(value)


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of the configuration file, for editors and pre-commit checks."""
    schema = Settings.model_json_schema(schema_generator=SettingsSchema)
    schema = {**_SCHEMA, **schema, "title": "Foreshock's configuration"}
    for definition in list(schema["$defs"].values()):
        for alternative in definition.get("oneOf", ()):
            schema["$defs"].update(alternative.pop("$defs", {}))
    topology = schema["properties"]["topology"]
    listed = {"type": topology.pop("type"), "items": topology.pop("items")}
    topology["anyOf"] = [listed, {"type": "string", "description": "path of a topology file or folder"}]
    return schema


def shipped_rules() -> str:
    """The rules in force where nobody wrote any, as a rules file."""
    lines = [
        "# yaml-language-server: $schema=../rules.schema.json",
        "# The rules that are in force without any file. One of the same name in your own file takes the place of one",
        "# here; `enabled: false` takes it out. See docs/rules.md.",
    ]
    for name, kind in rule_kinds().items():
        if kind.shipped:
            lines += ["", *_comment(kind.title, ""), *(line[2:] for line in instance_lines(name, kind))]
    return "\n".join(lines) + "\n"


def rules_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a rules file."""
    rule = RuleEntry.model_json_schema(schema_generator=SettingsSchema)
    rule.pop("$defs", None)
    definitions: dict[str, Any] = {}
    for alternative in rule["oneOf"]:
        definitions.update(alternative.pop("$defs", {}))
    return {
        **_SCHEMA,
        "title": "Foreshock's rules",
        "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Rule"}}, {"$ref": "#/$defs/Rule"}],
        "$defs": {"Rule": rule, **definitions},
    }


def cases_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a case file."""
    schema = CaseFile.model_json_schema(schema_generator=SettingsSchema)
    settings = CorrelationSettings.model_json_schema(schema_generator=SettingsSchema)
    definitions = {**schema.pop("$defs"), **settings.pop("$defs"), "CorrelationSettings": settings}
    for beginning in (schema, definitions["Case"]):
        told = beginning["properties"]["settings"]["description"]
        beginning["properties"]["settings"] = {"$ref": "#/$defs/CorrelationSettings", "description": told}
    return {**_SCHEMA, **schema, "title": "Cases for Foreshock's rules", "$defs": definitions}


def mapping_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a mapping file."""
    schema = Mapping.model_json_schema(schema_generator=SettingsSchema)
    return {**_SCHEMA, **schema, "title": "A mapping for Foreshock's webhooks and brokers"}


def plan_schema() -> dict[str, Any]:
    """Of what ``foreshock rules plan -o json`` writes."""
    from foreshock.service.plan.report import Told

    return {**_SCHEMA, "title": "What `foreshock rules plan -o json` writes", **msgspec.json.schema(Told)}


def topology_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a topology file. Types of CIs and relationships are suggested, and may be others, as the
    settings of the source may translate them."""
    text = {"type": "string"}
    ci = {
        "id": {**text, "description": "its name everywhere, without regard to case"},
        "kind": {**text, "description": "what it is: host, service, database, business_service, …"},
        "name": {**text, "description": "what people call it"},
        "aliases": {"type": "array", "items": text, "description": "other names that alerts give it"},
        "owner": {**text, "description": "the group that gets its tickets"},
        "criticality": {
            "enum": [known for known in CRITICALITY if known not in ("", None)],
            "description": "how much depends on it: 1 (critical) to 4 (low)",
        },
        "environment": {**text, "description": "prod, test, …"},
        "identifiers": {
            **_object({type_: {"anyOf": [text, {"type": "array", "items": text}]} for type_ in IDENTIFIERS}),
            "description": "by what other sources know it too, so that it is one CI with theirs",
        },
        "location": {**text, "description": "where it stands"},
        "contact": {**text, "description": "who else answers for it"},
        "retired": {"type": "boolean", "description": "out of use: no part of the topology"},
    }
    relationship = {
        "source": {**text, "description": "id of a CI"},
        "type": {
            "anyOf": [{"enum": list(DIRECTIONS)}, text],
            "description": "says which way failures spread: `shop depends_on db` from db to shop",
        },
        "target": {**text, "description": "id of a CI"},
    }
    return {
        **_SCHEMA,
        "title": "A topology for Foreshock",
        **_object({
            "version": {"const": FORMAT_VERSION, "description": "of this format"},
            "cis": {"type": "array", "items": _object(ci, "id"), "description": "what there is"},
            "relationships": {
                "type": "array",
                "items": _object(relationship, "source", "type", "target"),
                "description": "what depends on what",
            },
        }),
    }  # fmt: skip


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


def generated() -> dict[str, str]:
    """The files of ``config/`` that are written from the models, by name."""
    return {
        "foreshock.example.yaml": example(),
        "foreshock.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        "rules/shipped.yaml": shipped_rules(),
        "rules.schema.json": json.dumps(rules_schema(), indent=2, ensure_ascii=False) + "\n",
        "cases.schema.json": json.dumps(cases_schema(), indent=2, ensure_ascii=False) + "\n",
        "mapping.schema.json": json.dumps(mapping_schema(), indent=2, ensure_ascii=False) + "\n",
        "plan.schema.json": json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n",
        "topology.schema.json": json.dumps(topology_schema(), indent=2, ensure_ascii=False) + "\n",
    }


def bundled(name: str) -> str:
    """A file of ``config/`` as it was shipped: inside the installed package, or beside it in a checkout."""
    package = Path(foreshock.__file__).parent
    folder = package / "config"
    return ((folder if folder.is_dir() else package.parent / "config") / name).read_text(encoding="utf-8")


def write(folder: Path) -> None:
    for name, text in generated().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2] / "config")
