"""All settings of one Foreshock: flags over the environment over a file over the defaults.

``load_settings`` is the only place that looks at files and environment; every part gets its own piece as an argument.
If anything is wrong, nothing starts. ``settings_files`` writes the example and the JSON Schema from the models here.
"""

import ipaddress
import json
import pkgutil
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

import cmdb_sync
import collectors
import correlation.rules
import foreshock.connect.on_call
import incident_sink
import predictor.detectors
from correlation.rule import RuleKind
from correlation.settings import CorrelationSettings
from foreshock.connect.brokers import BrokerConfig
from foreshock.connect.config import (
    Document,
    InvalidPart,
    Origin,
    PathTuple,
    anchored,
    annotation_at,
    did_you_mean,
    fields_at,
    parse_yaml,
    path_text,
    problems_of,
    read_yaml,
    strictly,
)
from foreshock.connect.on_call import OnCallKind
from foreshock.core import registry
from foreshock.core.cmdb import SourceKind
from foreshock.core.contracts import Collector, ConnectorConfig, SinkKind, networks_of
from foreshock.core.errors import ConfigError, Invalid, Problem
from foreshock.core.quantities import Duration, Size, parse_size
from foreshock.core.reconcile import ATTRIBUTES, RULES, Rules, fold
from foreshock.service.anomaly_alerts import AnomalyAlert
from foreshock.service.capacity import PredictSettings
from foreshock.service.maintenance import Entry
from foreshock.service.tokens import secrets_of, tokens
from predictor.settings import LearnSettings

PREFIX = "FORESHOCK_"
CLIENT_VARIABLES = frozenset({"FORESHOCK_CONFIG", "FORESHOCK_SERVER", "FORESHOCK_TOKEN_FILE"})
"""Variables with our prefix that the command line reads for itself; they are no settings."""

# Kubernetes sets these in every pod where a Service is called foreshock.
_SERVICE_LINK = re.compile(r"FORESHOCK_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP)(_.+)?)?)")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")

LIVE = frozenset({"correlation", "rules", "topology", "reconcile", "maintenance", "retention", "disk_guard", "log"})
"""Settings that a reload puts into force, each with all below it. The others need a restart."""

CMDB_FILE = "cmdb.db"
"""In the folder `state`: what CMDB sources say, where the store is SQLite."""

Kind = SourceKind | SinkKind | RuleKind | Collector | OnCallKind


class SettingsSchema(GenerateJsonSchema):
    """Writes a default as a person would: ``5m``, not the ISO 8601 of a timedelta."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        built = super().default_schema(schema)
        serialization: Any = schema["schema"].get("serialization", {})
        if "default" in built and serialization.get("type") == "function-plain" and not serialization.get("info_arg"):
            built["default"] = serialization["function"](schema["default"])
        return built


class Section(BaseModel):
    """A frozen part of the settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ---- named instances of kinds ---------------------------------------------------------------------------------------


@cache
def _kinds(package: ModuleType, declaration: str, type_: type[Any]) -> Mapping[str, Any]:
    return registry.kinds(package, declaration, type_)


def source_kinds() -> Mapping[str, SourceKind]:
    """Kinds of CMDB sources, by name."""
    return _kinds(cmdb_sync, "SOURCE", SourceKind)


def sink_kinds() -> Mapping[str, SinkKind]:
    """Kinds of incident sinks, by name."""
    return _kinds(incident_sink, "SINK", SinkKind)


def on_call_kinds() -> Mapping[str, OnCallKind]:
    """Kinds of duty rosters, by name."""
    return _kinds(foreshock.connect.on_call, "ON_CALL", OnCallKind)


def rule_kinds() -> Mapping[str, RuleKind]:
    """Kinds of rules that relate alerts, by name."""
    return _kinds(correlation.rules, "RULE", RuleKind)


def collector_kinds() -> Mapping[str, Collector]:
    """Kinds of collectors, by name."""
    return _kinds(collectors, "COLLECTOR", Collector)


class Instance(Section):
    """One configured instance of a kind. In a file the keys of ``config`` stand beside those of the instance itself.

    Attributes:
        config: of the kind's own model.
    """

    kinds: ClassVar[Callable[[], Mapping[str, Kind]]]

    name: str = Field(description="what this instance is called in logs, metrics and pages")
    kind: str = Field(description="which kind it is")
    config: SerializeAsAny[ConnectorConfig]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Put what stands beside name and kind together, for the kind's own model."""
        if not isinstance(data, dict) or isinstance(data.get("config"), ConnectorConfig):
            return data
        own = {key: data[key] for key in cls.model_fields if key in data and key != "config"}
        return {**own, "config": {key: value for key, value in data.items() if key not in own}}

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} is not a name", hint="use 1 to 64 of a-z, 0-9, _ and -")
        return name

    @field_validator("kind")
    @classmethod
    def _is_a_kind(cls, kind: str) -> str:
        if kind not in cls.kinds():
            raise Invalid(f"{kind!r} is no kind", hint=did_you_mean(kind, tuple(cls.kinds())))
        return kind

    @field_validator("config", mode="before")
    @classmethod
    def _is_of_the_kind(cls, config: Any, info: ValidationInfo) -> ConnectorConfig:
        if isinstance(config, ConnectorConfig):
            return config
        if "kind" not in info.data:
            # The kind is the problem to tell; what the rest means is unknown without it.
            return ConnectorConfig()
        model = cls.kinds()[info.data["kind"]].config
        try:
            return strictly(config, model)
        except ValidationError as error:
            raise InvalidPart(error, model, inline=True) from None

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        own = {key: getattr(self, key) for key in type(self).model_fields if key != "config"}
        return {**own, **self.config.model_dump(mode="json")}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """One alternative for each model of settings, with its keys and the kinds that have it."""
        by_model: dict[type[BaseModel], list[str]] = {}
        for name, kind in cls.kinds().items():
            by_model.setdefault(kind.config, []).append(name)
        alternatives = []
        for model, names in by_model.items():
            built = model.model_json_schema(schema_generator=SettingsSchema)
            properties = {
                "name": {"type": "string", "pattern": f"^{_NAME.pattern}$"},
                "kind": {"const": names[0]} if len(names) == 1 else {"enum": names},
                **cls._more_keys(),
                **_inlined(built.get("properties", {}), built.get("$defs", {})),
            }
            required = ["name", "kind", *built.get("required", [])]
            alternatives.append({
                "title": cls.kinds()[names[0]].title if len(names) == 1 else ", ".join(names), "type": "object",
                "properties": properties, "required": required, "additionalProperties": False,
            })  # fmt: skip
        return {"oneOf": alternatives}

    @classmethod
    def _more_keys(cls) -> dict[str, Any]:
        """Schemas of the keys that not every instance has."""
        return {}


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with each reference to a definition replaced by it: a kind's definitions are no settings' own."""
    if isinstance(schema, dict):
        if (reference := schema.get("$ref")) is not None:
            found = definitions[reference.removeprefix("#/$defs/")]
            return _inlined({**found, **{key: part for key, part in schema.items() if key != "$ref"}}, definitions)
        return {key: _inlined(part, definitions) for key, part in schema.items()}
    return [_inlined(part, definitions) for part in schema] if isinstance(schema, list) else schema


class CollectorInstance(Instance):
    """A collector."""

    kinds = staticmethod(collector_kinds)


class SourceInstance(Instance):
    """A CMDB source."""

    kinds = staticmethod(source_kinds)


class SinkInstance(Instance):
    """An incident sink."""

    kinds = staticmethod(sink_kinds)


class RosterInstance(Instance):
    """A duty roster."""

    kinds = staticmethod(on_call_kinds)


class RuleEntry(Instance):
    """A rule, as it stands in a rules file."""

    kinds = staticmethod(rule_kinds)

    enabled: bool = Field(default=True, description="false: the rule is not in force")

    @classmethod
    def _more_keys(cls) -> dict[str, Any]:
        return {"enabled": {"type": "boolean", "default": True, "description": cls.model_fields["enabled"].description}}


# ---- settings -------------------------------------------------------------------------------------------------------


class StoreSettings(Section):
    url: SecretStr = Field(
        default=SecretStr(""),
        description="empty: SQLite in the folder `state`; else postgresql+psycopg://user@host/database "
        "(a password is better kept in ~/.pgpass)",
    )

    @field_validator("url")
    @classmethod
    def _is_a_store(cls, url: SecretStr) -> SecretStr:
        scheme = url.get_secret_value().partition("://")[0]
        if scheme and scheme not in ("sqlite", "postgresql+psycopg"):
            # The address may hold a password, so only what stands before :// is shown, and only if it is no address.
            shown = repr(scheme) if re.fullmatch(r"[a-z0-9+]{1,30}", scheme) else "this"
            raise Invalid(f"{shown} is no store", hint="write postgresql+psycopg://…, or leave it empty for SQLite")
        return url


class ShedSettings(Section):
    """What may be let go when more comes in than can be worked on. A request is let go whole or not at all; one that
    says that something is over never is."""

    sources: tuple[str, ...] = Field(default=(), description="names of sources; empty: any, if severities are given")
    severities: tuple[Literal["unknown", "info", "warning", "minor", "major", "critical"], ...] = Field(
        default=(), description="only of these severities; empty: any, if sources are given"
    )


class LimitSettings(Section):
    body: Size = Field(default=parse_size("5MiB"), gt=0, description="largest body of a request")
    decompressed: Size = Field(default=parse_size("20MiB"), gt=0, description="largest body after decompression")
    batch: int = Field(default=5000, ge=1, le=100_000, description="most events in one request")
    waiting: Size = Field(
        default=parse_size("256MiB"),
        ge=parse_size("32MiB"),
        description="requests in memory, in all; beyond it senders are asked to come later (429)",
    )
    lag: int = Field(
        default=50_000,
        ge=100,
        description="records on disk that are not worked on yet; beyond it senders are asked to come later (429)",
    )
    shed: ShedSettings = Field(
        default_factory=ShedSettings, description="what is let go, and counted, from half of `waiting` or `lag` on"
    )


class RetentionSettings(Section):
    age: Duration = Field(
        default=timedelta(days=14), ge=timedelta(hours=1), description="records older than this are removed"
    )
    size: Size = Field(default=parse_size("10GiB"), gt=0, description="the oldest records are removed beyond this size")
    reports: Duration = Field(
        default=timedelta(days=400),
        ge=timedelta(hours=1),
        description="the few figures of each incident that reports need are kept so long, or as long as records",
    )


_DETECTORS = tuple(sorted(module.name for module in pkgutil.iter_modules(predictor.detectors.__path__)))
"""By the names of their files, so that none of what they import is."""


class MetricSettings(Section):
    age: Duration = Field(
        default=timedelta(days=30), ge=timedelta(hours=1), description="points older than this are removed"
    )
    size: Size = Field(default=parse_size("5GiB"), gt=0, description="the oldest points are removed beyond this size")
    series: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="how many series are kept; the points of further ones are left out, counted by source and metric",
    )
    series_of_source: int = Field(
        default=50_000, ge=1, le=10_000_000, description="how many series are kept of one source"
    )
    learn: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(hours=1),
        le=timedelta(days=90),
        description="how much history tells what is usual for a metric; three days and more show the time of day",
    )
    window: Duration = Field(
        default=timedelta(minutes=30),
        ge=timedelta(minutes=5),
        le=timedelta(hours=6),
        description="how far back a deviation is looked for, each minute",
    )
    detectors: tuple[str, ...] = Field(
        default=_DETECTORS,
        description="which detectors are asked; none: metrics are only kept",
        examples=[["robust", "silence"]],
    )
    alerts: tuple[AnomalyAlert, ...] = Field(
        default=(),
        max_length=100,
        description="anomalies that are alerts by themselves; all others are only evidence of incidents",
        examples=[[{"match": 'metric="availability", direction="down"', "severity": "critical", "score": 5.0}]],
    )

    @field_validator("detectors")
    @classmethod
    def _exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(names) - set(_DETECTORS)):
            raise Invalid(f"no detector is called {', '.join(unknown)}", hint=f"there are {', '.join(_DETECTORS)}")
        return names


class DiskGuardSettings(Section):
    min_free_percent: float = Field(
        default=5.0, ge=0, le=90, allow_inf_nan=False, description="of the disk that holds `state`"
    )
    min_free: Size = Field(default=parse_size("512MiB"), description="the same as an amount; the larger of both counts")


class TlsSettings(Section):
    """TLS of our own server, where no proxy ends it."""

    certificate: Path = Field(description="our certificate with its chain, PEM")
    key: Path = Field(description="its key, PEM, without a passphrase, mode 0600")
    client_ca: Path | None = Field(
        default=None, description="authorities of client certificates, PEM; who must show one, a collector says"
    )


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console on a terminal and JSON elsewhere"
    )


def _default_sinks() -> tuple[SinkInstance, ...]:
    return (SinkInstance.model_validate({"name": "desk", "kind": "desk"}),)


class NotifySettings(Section):
    """Whom a message for a person or a group goes to."""

    contacts: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="by person or group the sinks of kind notify or webhook that reach them: {ann: [ann-phone]}; names "
        "compare without case",
    )
    fallback: tuple[str, ...] = Field(
        default=(), description="sinks that hear what is for somebody nobody knows how to reach"
    )


class ReconcileSettings(Section):
    """Which objects of several sources of topology are one CI, and whose word counts. The sources lead in the order in
    which ``topology`` names them."""

    identify: tuple[str, ...] = Field(
        default=tuple(RULES), description="by what objects of two sources are found to be one, the surest first"
    )
    precedence: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="by attribute of a CI the sources to take it from, before all others: {owner: [netbox]}; "
        f"attributes: {', '.join(ATTRIBUTES)}",
    )
    placeholders: tuple[str, ...] = Field(
        default=(),
        description="serial numbers, names and the like that identify nothing here; the usual ones, such as "
        "To be filled by O.E.M., are known",
    )

    @field_validator("identify")
    @classmethod
    def _are_rules(cls, identify: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(identify):
            if name not in RULES or name in identify[:index]:
                what = "stands there twice" if name in RULES else "identifies nothing"
                raise Invalid(f"{name!r} {what}", hint=f"known: {', '.join(RULES)}", path=(index,))
        return identify

    @field_validator("precedence")
    @classmethod
    def _are_attributes(cls, precedence: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in precedence:
            if name not in ATTRIBUTES:
                raise Invalid(f"{name!r} is no attribute", hint=f"known: {', '.join(ATTRIBUTES)}", path=(name,))
        return precedence


class Settings(Section):
    """Everything that can be set. Made by ``load_settings``; tests make it directly."""

    listen: str = Field(
        default="127.0.0.1:8420",
        description="address and port to listen on; beyond this machine only with tokens_file; port 0: any free one",
    )
    public_url: str = Field(default="", description="address that people and tickets use; empty: made from `listen`")
    state: Path = Field(default=Path("var"), description="folder for everything Foreshock keeps")
    store: StoreSettings = Field(
        default_factory=StoreSettings, description="where records, situations and tickets are kept"
    )
    tokens_file: Path | None = Field(
        default=None,
        description="file with a line `name token` for each sender or person, not readable by others (chmod 600)",
        examples=["tokens"],
    )
    tls: TlsSettings | None = Field(
        default=None,
        description="serve HTTPS; without it a proxy may",
        examples=[{"certificate": "foreshock.crt", "key": "foreshock.key"}],
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(),
        description="networks of proxies whose X-Forwarded-For says where a call came from; nobody else's is believed",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="names besides localhost under which browsers and senders may reach this server"
    )
    correlation: CorrelationSettings = Field(
        default_factory=CorrelationSettings, description="how alerts become situations, and situations tickets"
    )
    rules: Path | None = Field(
        default=None,
        description="file or folder with rules that relate alerts; a rule named like a shipped one replaces it",
        examples=["rules"],
    )
    learn: LearnSettings = Field(default_factory=LearnSettings, description="what is learned from history, and when")
    collectors: tuple[CollectorInstance, ...] = Field(
        default=(),
        description="what Foreshock asks and listens to; what is posted to it needs an entry only to prove itself, or "
        "to be missed when it is silent",
    )
    metrics: MetricSettings = Field(
        default_factory=MetricSettings, description="history of what collectors of metrics read, and its anomalies"
    )
    predict: PredictSettings = Field(
        default_factory=PredictSettings, description="what is forecast, so that something is done before it happens"
    )
    topology: tuple[SourceInstance, ...] = Field(
        default=(), description="sources of CIs and relationships; or only the path of a topology file or folder"
    )
    reconcile: ReconcileSettings = Field(
        default_factory=ReconcileSettings, description="how objects of several sources of topology become one CI"
    )
    maintenance: tuple[Entry, ...] = Field(
        default=(), description="planned work: while it runs, what it covers opens no ticket"
    )
    sinks: tuple[SinkInstance, ...] = Field(default_factory=_default_sinks, description="where tickets are kept")
    notify: NotifySettings = Field(default_factory=NotifySettings, description="how people are reached")
    on_call: tuple[RosterInstance, ...] = Field(
        default=(), description="who answers for a group now; each is named like the group it stands for"
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="bounds on what a sender may post")
    retention: RetentionSettings = Field(default_factory=RetentionSettings, description="how long records are kept")
    disk_guard: DiskGuardSettings = Field(
        default_factory=DiskGuardSettings, description="intake is refused while less of the disk is free than this"
    )
    log: LogSettings = Field(default_factory=LogSettings, description="our own log, on standard error")

    @property
    def host(self) -> str:
        """The host part of ``listen``, without brackets."""
        return split_listen(self.listen)[0]

    @property
    def port(self) -> int:
        return split_listen(self.listen)[1]

    @property
    def url(self) -> str:
        """The address that people and tickets use, without a slash at the end."""
        if self.public_url:
            return self.public_url
        host = socket.gethostname() if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def store_url(self) -> str:
        """SQLAlchemy's address of the store. May hold a password: never log it."""
        return self.store.url.get_secret_value() or f"sqlite:///{self.state / 'foreshock.db'}"

    @property
    def cmdb_url(self) -> str:
        """Address of the CMDB store: an SQLite file of its own, or the same PostgreSQL database."""
        return self.store_url if self.store_url.startswith("postgresql") else f"sqlite:///{self.state / CMDB_FILE}"

    @field_validator("collectors")
    @classmethod
    def _read_what_is_known(cls, instances: tuple[CollectorInstance, ...]) -> tuple[CollectorInstance, ...]:
        kinds = collector_kinds()
        for index, instance in enumerate(instances):
            if not isinstance(instance.config, BrokerConfig) or instance.config.mapping:
                continue
            # A kind that reads by files of its settings needs these: `mapping` is how a broker has it.
            fit = [name for name, kind in kinds.items() if kind.receive is not None and kind.receive.prepare is None]
            if instance.config.reads not in fit:
                message = f"{instance.config.reads!r} is no kind that reads messages"
                raise Invalid(message, hint=f"write one of: {', '.join(fit)}", path=(index, "reads"))
        return instances

    @field_validator("collectors", "topology", "sinks", "on_call", "maintenance")
    @classmethod
    def _have_own_names(cls, instances: tuple[Any, ...]) -> tuple[Any, ...]:
        for index, instance in enumerate(instances):
            if any(other.name == instance.name for other in instances[:index]):
                raise Invalid(f"two are called {instance.name!r}", hint="give each its own name", path=(index, "name"))
        return instances

    @model_validator(mode="after")
    def _reaches_people(self) -> Self:
        """Contacts lead to sinks that carry messages."""
        able = [sink.name for sink in self.sinks if sink_kinds()[sink.kind].messages]
        places: list[tuple[tuple[str | int, ...], str]] = [
            (("notify", "contacts", person, index), sink)
            for person, sinks in self.notify.contacts.items()
            for index, sink in enumerate(sinks)
        ]
        places += [(("notify", "fallback", index), sink) for index, sink in enumerate(self.notify.fallback)]
        for path, sink in places:
            if sink not in able:
                known = f"there are {', '.join(able)}" if able else "there is none yet"
                raise Invalid(f"no sink that carries messages is called {sink!r}", hint=known, path=path)
        return self

    @model_validator(mode="after")
    def _takes_from_sources(self) -> Self:
        known = [source.name for source in self.topology]
        for attribute, names in self.reconcile.precedence.items():
            for index, name in enumerate(names):
                if name not in known:
                    hint = f"there are {', '.join(known)}" if known else "there is none yet"
                    path = ("reconcile", "precedence", attribute, index)
                    raise Invalid(f"no source of topology is called {name!r}", hint=hint, path=path)
        return self

    @property
    def identification(self) -> Rules:
        """How objects of the sources become CIs."""
        return Rules(
            sources=tuple(source.name for source in self.topology),
            kinds={source.name: source.kind for source in self.topology},
            precedence=self.reconcile.precedence,
            identify=self.reconcile.identify,
            placeholders=tuple(map(fold, self.reconcile.placeholders)),
        )

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, listen: str) -> str:
        split_listen(listen)
        return listen

    @field_validator("public_url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if not url:
            return url
        try:
            parts = urlsplit(url)
            ok = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
            ok = ok and parts.username is None and (parts.port is None or parts.port > 0)
        except ValueError:
            ok = False
        if not ok or not url.isprintable() or " " in url:
            raise Invalid(f"{url!r} is not an address", hint="write it like https://foreshock.example.com")
        return url.rstrip("/")

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for index, host in enumerate(hosts):
            if not _HOST.fullmatch(host):
                raise Invalid(f"{host!r} is not a host name", hint="write it without scheme and port", path=(index,))
        return tuple(host.lower() for host in hosts)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return networks_of(networks)

    @model_validator(mode="after")
    def _knows_clients(self) -> Self:
        """Who asks for client certificates has said whose count."""
        for index, instance in enumerate(self.collectors):
            if getattr(instance.config, "client_names", ()) and (self.tls is None or self.tls.client_ca is None):
                hint = "set tls.client_ca, or let it show a token"
                path = ("collectors", index, "client_names")
                raise Invalid("nobody can show a client certificate here", hint=hint, path=path)
        return self

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if self.tokens_file is None and not is_loopback(self.host):
            raise unguarded(self.listen)
        return self


def split_listen(listen: str) -> tuple[str, int]:
    """Host without brackets, and port, of ``127.0.0.1:8420`` or ``[::1]:8420``. Raises Invalid."""
    hint = "write address and port: 127.0.0.1:8420, [::1]:8420 or 0.0.0.0:8420"
    host, colon, port = listen.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65_535:
        raise Invalid(f"{listen!r} has no port between 0 and 65535", hint=hint)
    bare = host.removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(host) or (host != bare and not _is_ip(bare)):
        raise Invalid(f"{listen!r} has no address before the port", hint=hint)
    return bare, int(port)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    return host.lower() == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def unguarded(listen: str) -> Invalid:
    return Invalid(
        f"{listen!r} can be reached from other machines, and there is no tokens_file",
        hint="set tokens_file, or listen on 127.0.0.1",
        path=("listen",),
    )


# ---- loading --------------------------------------------------------------------------------------------------------


def load_settings(config: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Settings of one run. Raises ConfigError with every problem of all three at once.

    Args:
        config: the file; None where there is none. Relative paths in it start from its folder.
        environment: ``FORESHOCK_LISTEN``, ``FORESHOCK_RETENTION__AGE``. An empty variable counts as absent; one that is
            no setting is a problem, but for those in CLIENT_VARIABLES and those that Kubernetes makes for a Service.
        flags: by the path of the setting with dots, such as ``listen`` or ``retention.age``; None counts as absent.
            As in the environment, text is read as YAML where the setting is not a text itself; relative paths start
            from the working directory.
    """
    return _Loading(config).load(environment, flags)


class SettingsSource:
    """Where the settings of one run come from, to read them again. Args as of ``load_settings``."""

    def __init__(self, config: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> None:
        self._config, self._environment, self._flags = config, dict(environment), dict(flags)

    def load(self) -> Settings:
        """Raises ConfigError as ``load_settings`` does."""
        return load_settings(self._config, self._environment, self._flags)

    @property
    def file(self) -> Path | None:
        return self._config

    def options(self) -> list[str]:
        """Of a command that is to read the same settings; it has our environment anyway."""
        options = [] if self._config is None else ["--config", str(self._config)]
        state = self._flags.get("state")
        return options if state is None else [*options, "--state", str(state)]

    def where(self, name: str) -> Origin:
        """Where a setting stands in the file, or would stand."""
        if self._config is None:
            return Origin(file="settings", line=None, path=name)
        document = read_yaml(self._config)
        return document.origin((name,))


class _Loading:
    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._document: Document | None = None
        self._data: dict[str, Any] = {}
        self._problems: list[Problem] = []
        # Where a value came from, if not from the file: the path of the setting to file and name for a Problem.
        self._overrides: dict[PathTuple, tuple[str, str]] = {}

    def load(self, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
        self._read_file()
        self._read_environment(environment)
        self._read_flags(flags)
        if isinstance(path := self._data.get("topology"), str):
            # A path alone is short for one source of kind file.
            self._data["topology"] = [{"name": "file", "kind": "file", "path": path}]
        settings: Settings | None = None
        try:
            settings = strictly(self._data, Settings)
        except ValidationError as error:
            self._problems += problems_of(error, Settings, self._where)
            # pydantic looks at the whole only once all parts are right; this one must not wait for a second start.
            self._check_guard()
        if settings is not None:
            settings = anchored(settings, self._folder_of)
            if settings.tokens_file is not None:
                self._check_tokens(settings.tokens_file)
            if (tls := settings.tls) is not None:
                self._check(lambda: _tls(tls))
            for instance in settings.collectors:
                self._check(partial(secrets_of, instance.name, instance.config, collector_kinds()[instance.kind]))
        elif isinstance(named := self._data.get("tokens_file"), str):
            self._check_tokens((self._folder_of(("tokens_file",)) or Path()) / Path(named))
        if self._problems or settings is None:
            raise ConfigError(tuple(dict.fromkeys(self._problems)))
        return settings

    def _read_file(self) -> None:
        if self._config is None:
            return
        try:
            self._document = read_yaml(self._config)
        except ConfigError as error:
            self._problems.extend(error.problems)
            return
        if isinstance(self._document.data, dict):
            self._data = _copy(self._document.data)
        elif self._document.data is not None:
            self._report(str(self._config), "", "holds no settings", "write `key: value` lines")

    def _read_environment(self, environment: Mapping[str, str]) -> None:
        for variable in sorted(environment):
            if not variable.startswith(PREFIX) or not environment[variable]:
                continue
            if variable in CLIENT_VARIABLES or _SERVICE_LINK.fullmatch(variable):
                continue
            path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
            if self._is_setting(path, "environment", variable):
                self._override(path, environment[variable], "environment", variable)

    def _read_flags(self, flags: Mapping[str, Any]) -> None:
        for name, value in flags.items():
            path = tuple(name.replace("-", "_").split("."))
            shown = "--" + name.replace("_", "-")
            if value is not None and self._is_setting(path, "flag", shown):
                self._override(path, value, "flag", shown)

    def _is_setting(self, path: PathTuple, file: str, shown: str) -> bool:
        if annotation_at(Settings, path) is not None:
            return True
        if path[0] in ("collectors", "topology", "sinks", "maintenance"):
            self._report(file, shown, "a part of a list cannot be set by itself", "set the whole list, or use a file")
            return False
        depth = next(depth for depth in range(len(path)) if annotation_at(Settings, path[: depth + 1]) is None)
        known = tuple(fields_at(Settings, path[:depth]))
        hint = did_you_mean(str(path[depth]), known)
        for name in known:
            if hint == f"did you mean {name!r}?":
                right = (*path[:depth], name, *path[depth + 1 :])
                meant = (
                    PREFIX + "__".join(map(str, right)).upper()
                    if file == "environment"
                    else f"--{path_text(right).replace('_', '-')}"
                )
                hint = f"did you mean {meant}?"
        self._report(file, shown, "no such setting", hint)
        return False

    def _override(self, path: PathTuple, value: Any, file: str, shown: str) -> None:
        """Put ``value`` at ``path``, over what a weaker origin said there."""
        here: Any = self._data
        for step in path[:-1]:
            if not isinstance(here.get(step), dict):
                here[step] = {}
            here = here[step]
        try:
            here[path[-1]] = _typed(value, annotation_at(Settings, path))
        except UnicodeEncodeError:
            self._report(file, shown, "is not UTF-8", "write it as UTF-8")
            return
        self._overrides = {known: origin for known, origin in self._overrides.items() if known[: len(path)] != path}
        self._overrides[path] = (file, shown)

    def _override_of(self, place: PathTuple) -> PathTuple | None:
        return next((place[:size] for size in range(len(place), 0, -1) if place[:size] in self._overrides), None)

    def _where(self, place: PathTuple) -> Origin:
        override = self._override_of(place)
        if override is not None:
            file, shown = self._overrides[override]
            rest = path_text(place[len(override) :])
            return Origin(file=file, line=None, path=f"{shown} {rest}".rstrip())
        if self._document is None:
            return Origin(file="settings", line=None, path=path_text(place))
        return self._document.origin(place)

    def _folder_of(self, place: PathTuple) -> Path | None:
        return None if self._config is None or self._override_of(place) is not None else self._config.parent

    def _check_guard(self) -> None:
        listen = self._data.get("listen")
        if not isinstance(listen, str) or self._data.get("tokens_file") is not None:
            return
        try:
            host, _ = split_listen(listen)
        except Invalid:
            return
        if not is_loopback(host):
            problem = unguarded(listen)
            self._problems.append(self._where(problem.path).problem(str(problem), problem.hint))

    def _check_tokens(self, path: Path) -> None:
        self._check(lambda: tokens(path.expanduser()))

    def _check(self, read: Callable[[], object]) -> None:
        try:
            read()
        except ConfigError as error:
            self._problems.extend(error.problems)

    def _report(self, file: str, path: str, message: str, hint: str) -> None:
        self._problems.append(Problem(file=file, line=None, path=path, message=message, hint=hint))


def _tls(tls: TlsSettings) -> None:
    from foreshock.service.tls import context_of  # only then: it loads OpenSSL

    context_of(tls.certificate, tls.key, tls.client_ca)


def _copy(data: Any) -> Any:
    """Mappings copied deep, because overrides are written into them and an alias shares them."""
    return {key: _copy(value) for key, value in data.items()} if isinstance(data, dict) else data


def _typed(value: Any, annotation: Any) -> Any:
    """A flag or a variable as plain data: its text where the setting is a text, else what YAML makes of it.

    Raises UnicodeEncodeError for a variable that is not UTF-8.
    """
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    value.encode()
    candidates: list[Any] = [value]
    with suppress(ConfigError):
        candidates.append(parse_yaml(value, file="").data)
    for candidate in candidates:
        try:
            TypeAdapter(annotation).validate_json(json.dumps(candidate), strict=True)
        except ValidationError:
            continue
        return candidate
    # Neither fits. The problems of a list or mapping are inside it; otherwise the text as it came is the problem.
    return candidates[-1] if isinstance(candidates[-1], list | dict) else value
