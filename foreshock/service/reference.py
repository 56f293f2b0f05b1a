"""Writes the reference pages under ``docs/`` from what the code says of itself: declarations, docstrings, settings.

``python -m foreshock.service.reference`` (or ``make docs``) does so in a checkout; a test compares them.
"""

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from collections.abc import Mapping as Map
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import cmdb_sync
import collectors
import correlation.rules
import incident_sink
from correlation.rule import RuleKind
from foreshock.connect.mapping import ChangeRule, Mapping
from foreshock.core.contracts import Collector, Receive, ReceiveConfig, with_head
from foreshock.service.collector_test import lines_of, modes_of, try_items
from foreshock.service.console.snippets import ADDRESS, snippet
from foreshock.service.docstrings import facts
from foreshock.service.settings import (
    LIVE,
    PREFIX,
    Kind,
    Settings,
    collector_kinds,
    rule_kinds,
    sink_kinds,
    source_kinds,
)
from foreshock.service.settings_files import default_text, instance_lines

_DOCS = Path(__file__).parents[2] / "docs"
_SAMPLES = Path(__file__).parents[2] / "tests" / "samples"
_THEN = datetime(2036, 1, 1, tzinfo=UTC)
"""After all samples, so that what they say of the past is past."""
_BASE = "http://127.0.0.1:8420"
_NOTE = "<!-- Written by `make docs`. Change the docstrings and declarations in the code instead. -->"
_BY_HAND = "<!-- From here on written by hand; `make docs` leaves it as it is. -->"
_ADDRESS = re.compile(r"(?<![<(`])(https?://[^\s,;)]+[^\s,;).])")


def pages(folder: Path | None = None) -> dict[str, str]:
    """Path below ``docs/`` to text of each generated page. A product with kinds in several stages has one page.

    folder: ``docs``, whose pages keep the part that people wrote below the generated one.
    """
    parts: dict[str, list[list[str]]] = {}
    for kind, collector in collector_kinds().items():
        parts.setdefault(kind, []).append(list(_collector(collector)))
    for kind, sink in sink_kinds().items():
        parts.setdefault(kind, []).append(list(_instance(sink, "sinks", f"{incident_sink.__name__}.{kind}")))
    for kind, source in source_kinds().items():
        parts.setdefault(kind, []).append(list(_instance(source, "topology", f"{cmdb_sync.__name__}.{kind}")))
    folder = folder or _DOCS
    found = {
        f"connect/{kind}.md": _page(f"# {kind}", *sections) + _by_hand(folder / "connect" / f"{kind}.md")
        for kind, sections in parts.items()
    }
    return {
        **found,
        "connect/README.md": _page(*_index()),
        "configuration.md": _page(*_configuration()),
        "mapping.md": _page(*_mapping()) + _by_hand(folder / "mapping.md"),
        "rule-kinds.md": _page("# Kinds of rules", *map(list, map(_rule, rule_kinds().values()))),
    }


def _by_hand(path: Path) -> str:
    """What stands on a page from the mark on, with a blank line before it; empty where there is no such part."""
    if not path.exists():
        return ""
    _, mark, rest = path.read_text(encoding="utf-8").partition(_BY_HAND)
    return f"\n{mark}{rest}" if mark else ""


def _page(head: str | list[str], *sections: list[str]) -> str:
    lines = [head] if isinstance(head, str) else head
    blocks = [[lines[0], "", _NOTE, *([""] if lines[1:] else []), *lines[1:]], *sections]
    return "\n\n".join("\n".join(block).strip() for block in blocks) + "\n"


# ---- connectors -----------------------------------------------------------------------------------------------------


def _index() -> Iterator[list[str]]:
    yield [
        "# Connectors",
        "One page for each product. `foreshock kinds` lists what your version has.",
    ]
    rows = [(kind, f"collector: {modes_of(one)}", one.title) for kind, one in collector_kinds().items()]
    rows += [(kind, "sink", sink.title) for kind, sink in sink_kinds().items()]
    rows += [(kind, "source", source.title) for kind, source in source_kinds().items()]
    yield _table(("kind", "what", "for"), ((f"[{kind}]({kind}.md)", what, title) for kind, what, title in rows))
    yield [
        "A *collector* takes events in. A *sink* keeps tickets. A *source* supplies the topology.",
        "",
        "Any other product: [a mapping](../mapping.md) says what its payloads mean.",
        "`foreshock collectors test` shows what becomes of a payload.",
        "",
        "Rules that relate alerts are kinds too: "
        + ", ".join(f"`{kind}`" for kind in rule_kinds())
        + ". See [kinds of rules](../rule-kinds.md) and [how Foreshock decides](../how-foreshock-decides.md).",
    ]
    yield list(_posted())


def _collector(collector: Collector) -> Iterator[str]:
    ways = " ".join(words for mode, words in _WAYS.items() if getattr(collector, mode) is not None)
    yield from (f"**Collector.** {collector.title}. {ways}", "", *_facts(f"{collectors.__name__}.{collector.kind}"), "")
    if collector.receive is not None:
        yield from _receiving(collector, collector.receive)
    if collector.config is not ReceiveConfig:
        yield from (*_configured(collector, "collectors"), "")
    yield from _sampled(collector)


_WAYS = {"receive": "It posts to us.", "poll": "We ask it.", "listen": "We listen to it."}


def _receiving(collector: Collector, receive: Receive) -> Iterator[str]:
    example = snippet(collector.kind, receive.path, _BASE)
    expiry = (
        "An alert without an end is over when it was not sent again for `correlation.fold.expire_after`."
        if collector.expires
        else "Only a resolve ends an alert; nothing expires."
    )
    sorts = ", ".join(f"`{sort}`" for sort in ("application/json", *receive.texts))
    yield f"`POST {receive.path}` with content type {sorts}. With `/s/NAME` in front of the path"
    yield "the source is called NAME, for example `/s/eu" + receive.path + "`."
    yield f"[How it may prove itself, and what is answered](README.md#what-is-posted-to-us).{_proofs(receive)}"
    yield from ("", expiry, "")
    if receive.certified is not None:
        yield from ("Only what the product has signed is taken, so a payload cannot be tried by hand.", "")
    elif any(info.is_required() for info in collector.config.model_fields.values()):
        yield from ("It is taken for an entry in `collectors` only, as below.", "")
    elif example.file == ADDRESS:
        yield from ("To try it without the product, with the payload below as payload.json:", "")
        sort = receive.texts[0] if receive.texts and _sample(collector)[1] is None else "application/json"
        yield from ("```sh", f"curl -fsS {example.text.rstrip()} \\", f"  -H 'Content-Type: {sort}' \\")
        yield from ("  --data-binary @payload.json", "```", "")
    else:
        yield from (f"In `{example.file}`:" if example.file != "shell" else "In a shell:", "")
        yield from (f"```{_language(example.file)}", example.text.rstrip(), "```", "", example.after, "")
    yield from _fields(receive.schema)
    if receive.answer == "alertmanager":
        yield from (
            "Answers as Alertmanager does: 200 where all is on disk, 400 where something could not be read; what is",
            "",
        )


def _proofs(receive: Receive) -> str:
    """What the product itself can do to prove its calls."""
    found = []
    if receive.token_header:
        found.append(f"a token in `{receive.token_header}`")
    if receive.token_query:
        found.append(f"a token in the address, `?{receive.token_query}=…`")
    if receive.signed is not None:
        found.append(f"a signature in `{receive.signed.header}`, made with a secret of `secret_files`")
    if receive.certified is not None:
        found.append("a signature with its certificate, which is always checked")
    return f" Of its own it has {' and '.join(found)}." if found else ""


_SHOWN_LINES = 150


def _sample(collector: Collector) -> tuple[bytes, Any, list[str]]:
    """The payload with what goes before it, the body as JSON, and its lines; None and none where it is not readable."""
    path = _SAMPLES / collector.sample
    if path.suffix != ".json":
        return b"", None, []
    document = json.loads(path.read_text(encoding="utf-8"))
    body, head = document["body"], document.get("head")
    text = body if isinstance(body, str) else json.dumps(body, indent=1, ensure_ascii=False)
    payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    payload = payload if head is None else with_head(head, payload)
    return payload, None if isinstance(body, str) else body, text.splitlines()


def _sampled(collector: Collector) -> Iterator[str]:
    """A recorded payload, and what becomes of it."""
    payload, tree, text = _sample(collector)
    if not text:
        return
    yield from ("A payload:" if collector.receive is not None else "What is kept of it:", "")
    yield from ("```json" if tree is not None else "```text", *text[:_SHOWN_LINES])
    yield from (*([f"… {len(text) - _SHOWN_LINES} more lines"] if len(text) > _SHOWN_LINES else ()), "```", "")
    tried = try_items(collector, payload, _THEN)
    yield from ("becomes:", "", "```text")
    yield from (line for one in tried[:3] for line in lines_of(one))
    yield from (*([f"… {len(tried) - 3} more items"] if len(tried) > 3 else ()), "```", "")


def _fields(schema: Map[str, Any]) -> Iterator[str]:
    """The fields of one item of the payload."""
    for step in schema.get("oneOf", (schema,)):
        item = step.get("items") or step.get("properties", {}).get("alerts", {}).get("items") or step
        if "properties" in item:
            break
    else:
        return
    required = item.get("required", ())
    yield from ("Fields of one item:", "")
    rows = (
        (f"`{name}`", _type(field), "yes" if name in required else "", field.get("description", ""))
        for name, field in item["properties"].items()
    )
    yield from (*_table(("field", "type", "required", "meaning"), rows), "")


def _type(field: Map[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("format") == "date-time":
        return "time, RFC 3339"
    return "object of strings" if field.get("type") == "object" else str(field.get("type", "any"))


def _posted() -> Iterator[str]:
    """What holds for every collector that is posted to."""
    yield from ("## What is posted to us", "")
    yield from """\
A source needs no entry in `collectors`: beyond loopback it shows a token of the API. With an entry it proves itself,
and what it shows opens nothing else. Its token is read from `Authorization: Bearer TOKEN`, from the password of
`Authorization: Basic`, or from `X-Foreshock-Token`. Its page says what its product can do beside that.

```yaml
collectors:
  - name: grafana          # posts to its own path; another name: to /s/NAME/…
    kind: grafana
    token_files: [grafana.token]
    expect_every: 1h       # and is missed when it is silent
```
""".splitlines()
    yield from (*_rows(ReceiveConfig.model_fields, None, ()), "", "Answers:", "")
    yield from _table(
        ("status", "means"),
        [
            ("202", "all on disk"),
            ("207", "some items were refused; `results` says which and why, the others are on disk"),
            ("400", "nothing could be read"),
            ("401", "it is not known, or not proven, who sends it; our log says what was wrong"),
            ("413", "a limit was passed; the answer names it and the value"),
            ("415", "content type or content encoding not accepted"),
            ("421", "the Host header is not a name of this Foreshock; see `allowed_hosts`"),
            ("429, 503", "not now; `Retry-After` says when"),
        ],
    )


def _instance(kind: Kind, key: str, module: str) -> Iterator[str]:
    word = "Sink" if key == "sinks" else "Source"
    yield from (f"**{word}.** {kind.title}.", "", *_facts(module), "")
    yield from _configured(kind, key)


def _configured(kind: Kind, key: str) -> Iterator[str]:
    yield from ("In the configuration file:", "", "```yaml", f"{key}:", *instance_lines(kind.kind, kind), "```")
    if kind.config.model_fields:
        yield from ("", *_rows(kind.config.model_fields, None, ()), *_listed(kind.config.model_fields))


def _listed(fields: Map[str, FieldInfo]) -> Iterator[str]:
    """The keys of each entry of a setting that is a list of parts."""
    for name, info in fields.items():
        part = next(
            (one for one in get_args(info.annotation) if isinstance(one, type) and issubclass(one, BaseModel)), None
        )
        if part is not None:
            yield from ("", f"Each of `{name}`:", "", *_rows(part.model_fields, None, ()))


def _rule(kind: RuleKind) -> Iterator[str]:
    text = inspect.getdoc(importlib.import_module(f"{correlation.rules.__name__}.{kind.kind}")) or ""
    yield from (f"## {kind.kind}", "", *text.replace("``", "`").splitlines(), "")
    yield "In force without any file." if kind.shipped else "In force only where a rules file has one."
    if kind.config.model_fields:
        yield from ("", *_rows(kind.config.model_fields, None, ()))


def _facts(module: str) -> list[str]:
    """The docstring: its first paragraph, then its ``Word: text`` lines as a list."""
    first, found = facts(module)
    return [_marked(first), "", *(_marked(f"- **{word}:** {text}") for word, text in found.items())]


def _marked(text: str) -> str:
    return _ADDRESS.sub(r"<\1>", text.replace("``", "`"))


def _language(file: str) -> str:
    return "yaml" if file.endswith((".yml", ".yaml")) else "sh"


# ---- mappings -------------------------------------------------------------------------------------------------------


def _mapping() -> Iterator[list[str]]:
    yield [
        "# Mappings",
        *"""\
A mapping says what the payload of a product means that Foreshock does not know. It is a YAML file of
[JMESPath](https://jmespath.org/tutorial.html) expressions. Webhooks ([webhook](connect/webhook.md)) take one, and so do
brokers (`mapping` of [nats](connect/nats.md), [kafka](connect/kafka.md), [rabbitmq](connect/rabbitmq.md),
[mqtt](connect/mqtt.md), [redis_streams](connect/redis_streams.md)). It is recorded with each payload: a replay reads
what came in as it was read then.""".splitlines(),
    ]
    yield ["## Keys", "", *_rows(Mapping.model_fields, None, ())]
    yield ["Each of `rules` has the keys `when` to `ignore` of the table above.", "", "Of `change`:"]
    yield _rows(ChangeRule.model_fields, None, ())


# ---- settings -------------------------------------------------------------------------------------------------------


def _configuration() -> Iterator[list[str]]:
    yield [
        "# Configuration",
        *f"""\
`foreshock init` writes a commented file; `foreshock check --config FILE` reads it as a start would and lists every
problem with file and line. Nothing starts while anything is wrong (exit code 78).

Four places, the stronger first:

1. flags: `--listen`, `--state`;
2. environment variables: `{PREFIX}` and the path in capitals with `__` between its parts, for example
   `{PREFIX}RETENTION__AGE=7d`. Text is read as YAML where the setting is not a text itself. An empty variable counts
   as absent; one that is no setting is a problem;
3. the file named with `--config` or `{PREFIX}CONFIG`;
4. the defaults below.

A list (`collectors`, `topology`, `sinks`) is set as a whole. `topology` may also be only the path of a file or folder.
Paths in the file start from the folder of the file, others from the working directory. Durations are written `30s`,
`5m`, `2h`, `7d`, `1h30m`, sizes `5MiB`, `10GiB`; a bare number is refused.

Settings are read at the start, and again by a [reload](operations.md#run-it) (SIGHUP, `POST /-/reload`, `foreshock
reload`), all or nothing. The column *comes into force* tells what a reload is enough for; a reload that meets a change
of any other setting is refused. Those under `correlation` and the rules become a record of the inbox, so that a replay
uses what was in force. CMDB sources are read each by its own `every`.

The command line as a client reads `{PREFIX}SERVER`, `{PREFIX}TOKEN_FILE` and `{PREFIX}CONFIG`.""".splitlines(),
    ]
    defaults = Settings()
    plain = {name: info for name, info in Settings.model_fields.items() if not _section(getattr(defaults, name))}
    yield ["## General", "", *_rows(plain, defaults, ())]
    for name, info in Settings.model_fields.items():
        if name not in plain:
            yield from _sections(name, info, getattr(defaults, name), (name,))


def _section(value: Any) -> bool:
    return isinstance(value, BaseModel)


def _sections(name: str, info: FieldInfo, value: BaseModel, path: tuple[str, ...]) -> Iterator[list[str]]:
    fields = type(value).model_fields
    inner = {key: field for key, field in fields.items() if _section(getattr(value, key))}
    own = {key: field for key, field in fields.items() if key not in inner}
    if own:
        yield [f"## {'.'.join(path)}", "", f"{_sentence(info.description or name)}", "", *_rows(own, value, path)]
    for key, field in inner.items():
        yield from _sections(key, field, getattr(value, key), (*path, key))


def _rows(fields: Map[str, FieldInfo], value: BaseModel | None, path: tuple[str, ...]) -> list[str]:
    rows = []
    for name, info in fields.items():
        key = ".".join((*path, name))
        if value is None and info.is_required():
            shown = "required"
        else:
            held = getattr(value, name) if value is not None else info.get_default(call_default_factory=True)
            shown = _default(info, held)
        rows.append((f"`{key}`", shown, *((_force(key),) if value is not None else ()), info.description or ""))
    return _table(("setting", "default", *(("comes into force",) if value is not None else ()), "meaning"), rows)


def _force(key: str) -> str:
    return "reload" if key.partition(".")[0] in LIVE else "restart"


def _default(info: FieldInfo, value: Any) -> str:
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return ", ".join(f"`{json.dumps(one.model_dump(mode='json'))}`" for one in value)
    text = default_text(info, value)
    return "none" if text == '""' else f"`{text}`"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows),
    ]


def write(folder: Path) -> None:
    for name, text in pages(folder).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(_DOCS)
