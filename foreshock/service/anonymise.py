"""Captures without the names of an estate, and still with the same grouping.

Names become tokens by a keyed hash: equal names get equal tokens, whoever lacks the key cannot get back. A token keeps
what correlation reads in a name: the port behind it, its domain, numbers as numbers of the same length, and its case.

It takes two readings. The first (``Names.hear``) collects what is a name: values of the labels that were asked for, CIs
with their aliases and owners, people, tickets. The second (``Anonymiser.entry``) writes: where a name stands by itself
it becomes its token, and where it stands as whole words in a text, only it does. Comments and addresses are left out.

Left as they are: names of labels, ``severity``, kinds of CIs, names of rules, times, ids of situations and silences.
"""

import base64
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec

from correlation.identity import Scheme
from correlation.settings import read_recorded
from foreshock.core.contracts import Collector, Record, RecordKind, TicketChange
from foreshock.core.errors import ConfigError, Malformed, Problem
from foreshock.core.learned import Learned, versioned
from foreshock.core.matchers import MAX_EXPRESSION_CHARS, Matcher, parse_matcher
from foreshock.core.model import (
    CI,
    Contribution,
    Event,
    Judgement,
    MaintenanceWindow,
    Relationship,
    Silence,
    SilenceMatcher,
    Witness,
    read_labels,
)
from foreshock.core.topology import TopologyDelta
from foreshock.service.escalation import GROUP
from foreshock.service.records import (
    AnomaliesRecord,
    ForecastsRecord,
    LearnedRecord,
    OperatorRecord,
    OwnAlert,
    SettingsRecord,
    Statement,
    TopologyRecord,
)
from foreshock.store.capture import Entry

HASH, WORDS = "hash", "words"
ANNOTATIONS = "annotations"
"""Stands for all annotations."""
MIN_KEY_BYTES = 16

_KEPT_LABELS = frozenset({"severity"})
_LABELS = frozenset({"labels", "groupLabels", "commonLabels"})
_NOTES = frozenset({"annotations", "commonAnnotations"})
_KEPT_FIELDS = frozenset({"status", "severity", "version"})
_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"[0-9]+")
_LETTER = re.compile(r"[^\W\d_]")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_MATCHES_NOTHING = "[^\\s\\S]"
_TOKEN_LETTERS = 12
"""56 bits: of a million names, two meet by chance once in 140,000 captures."""
_MAX_CACHED = 200_000


def read_choice(texts: Sequence[str]) -> dict[str, str]:
    """By label or annotation, how: ``instance,host=hash`` or ``annotations=words``. Raises Malformed."""
    found: dict[str, str] = {}
    for text in texts:
        names, is_there, how = text.rpartition("=")
        if not is_there or how.strip() not in (HASH, WORDS):
            hint = "write instance,host=hash for names, and annotations=words for texts of which no word is to be left"
            raise Malformed(f"{text!r} does not say what is to be anonymised", hint=hint)
        found |= {name.strip(): how.strip() for name in names.split(",") if name.strip()}
    return found


def read_key(path: Path) -> bytes:
    """Raises ConfigError."""
    try:
        key = path.read_bytes().strip()
        message = f"holds {len(key)} bytes, {MIN_KEY_BYTES} are the least"
    except OSError as error:
        key, message = b"", f"cannot be read: {error.strerror}"
    if len(key) >= MIN_KEY_BYTES:
        return key
    hint = f"make one with `openssl rand -hex 32 > {path}`, and keep it: equal names get equal tokens by equal keys"
    raise ConfigError([Problem(file=str(path), line=None, path="", message=message, hint=hint)])


# ---- tokens ---------------------------------------------------------------------------------------------------------


class Tokens:
    """Names as tokens, by one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._names: dict[str, str] = {}
        self._numbers: dict[tuple[str, str], str] = {}

    def name(self, name: str) -> str:
        """Its token: as ``correlation.bind`` reads names, the port stays, and host and domain are apart."""
        found = self._names.get(name)
        if found is None:
            if len(self._names) >= _MAX_CACHED:
                self._names.clear()
            found = self._names[name] = self._token(name)
        return found

    def _token(self, name: str) -> str:
        host, colon, port = name.rpartition(":")
        if colon and port.isdigit() and (":" not in host or host.endswith("]")):
            inner = self._token(host.removeprefix("[").removesuffix("]"))
            return f"[{inner}]:{port}" if host.startswith("[") else f"{inner}:{port}"
        first, dot, rest = name.partition(".")
        if dot and not name.replace(".", "").isdigit():
            return f"{self._part(first)}.{self._part(rest)}"
        return self._part(name)

    def _part(self, part: str) -> str:
        if not part:
            return ""
        if not _LETTER.search(part):
            return self._letters(part)
        stem = _NUMBER.sub("\0", part)
        numbers = (self.number(number, stem) for number in _NUMBER.findall(part))
        return "-".join((self._in_its_case(stem), *numbers))

    def _in_its_case(self, stem: str) -> str:
        """Names that differ in case only have tokens that do: the topology knows names whatever their case."""
        letters = self._letters(stem.lower())
        if stem == stem.lower():
            return letters
        upper = self._digest("case", stem)
        return "".join(one.upper() if upper[place] & 1 else one for place, one in enumerate(letters))

    def _letters(self, text: str) -> str:
        number = int.from_bytes(self._digest("letters", text), "big")
        return "".join(chr(ord("a") + number // 26**place % 26) for place in range(_TOKEN_LETTERS))

    def number(self, digits: str, tweak: str = "") -> str:
        """Another number of as many digits; two never become one. A Feistel network over the digits."""
        found = self._numbers.get((digits, tweak))
        if found is None:
            if len(self._numbers) >= _MAX_CACHED:
                self._numbers.clear()
            found = self._numbers[digits, tweak] = self._number(digits, tweak)
        return found

    def _number(self, digits: str, tweak: str) -> str:
        if len(digits) == 1:
            order = sorted("0123456789", key=lambda digit: self._digest("digit", tweak, digit))
            return order[int(digits)]
        left, right = digits[: len(digits) // 2], digits[len(digits) // 2 :]
        for turn in range(8):
            mixed = int.from_bytes(self._digest("turn", tweak, str(turn), str(len(digits)), right), "big")
            left, right = right, str((int(left) + mixed) % 10 ** len(left)).zfill(len(left))
        return left + right

    def words(self, text: str) -> str:
        """Each word a token, numbers other numbers: as much alike as they were."""
        return _WORD.sub(self._word, text)

    def _word(self, found: re.Match[str]) -> str:
        word = found[0]
        return self.number(word) if word.isdecimal() and word.isascii() else self.name(word)

    def opaque(self, text: str) -> str:
        """What nothing reads, as hexadecimal digits like those of a fingerprint."""
        return self._digest("opaque", text).hex()[:32]

    def _digest(self, *parts: str) -> bytes:
        said = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, said, "sha256")


# ---- what is a name -------------------------------------------------------------------------------------------------


class Names:
    """What the first reading finds.

    Args:
        choice: as ``read_choice`` gives it.
    Attributes:
        values: of the labels that were asked for. fingerprints: of alerts that somebody spoke of.
    """

    def __init__(self, choice: Mapping[str, str], collectors: Mapping[str, Collector]) -> None:
        self.choice, self.collectors = choice, collectors
        self.values: dict[str, set[str]] = {name: set() for name in choice}
        self.fingerprints: set[str] = set()
        self._names: set[str] = set()

    def hear(self, entry: Entry) -> None:
        if isinstance(entry, Judgement):
            self._name(entry.actor)
            self._names.update(entry.cis)
            self._spoken_of((*entry.one, *entry.same, *entry.apart))
            return
        self._name(entry.actor)
        if entry.kind is RecordKind.EVENTS:
            self._of_events(entry)
        elif entry.kind is RecordKind.TOPOLOGY:
            topology = msgspec.json.decode(entry.body, type=TopologyRecord)
            delta = topology.delta or TopologyDelta()
            for ci in (*topology.cis, *delta.put_cis):
                self._name(ci.id, ci.name, ci.owner, *ci.aliases)
            self._name(*delta.gone_cis)
            for tie in (*topology.relationships, *delta.put_relationships, *delta.gone_relationships):
                self._name(tie.source, tie.target)
        elif entry.kind is RecordKind.TICKET:
            change = msgspec.json.decode(entry.body, type=TicketChange)
            self._name(change.number, change.actor, change.problem.by if change.problem is not None else "")
            self._spoken_of(change.alerts)
        elif entry.kind is RecordKind.ANOMALIES:
            self._name(*(one.ci for one in msgspec.json.decode(entry.body, type=AnomaliesRecord).anomalies))
        elif entry.kind is RecordKind.FORECASTS:
            self._name(*(one.ci for one in msgspec.json.decode(entry.body, type=ForecastsRecord).forecasts))
        elif entry.kind is RecordKind.OPERATOR:
            self._of_operator(msgspec.json.decode(entry.body, type=OperatorRecord))

    def _of_operator(self, done: OperatorRecord) -> None:
        if (silence := done.set_silence) is not None:
            self._name(silence.created_by)
        if (window := done.set_window) is not None:
            self._name(window.owner, *window.cis, *window.services)
        if (said := done.judge) is not None:
            self._name(*said.cis)
            self.fingerprints.update(said.alerts)
            self._spoken_of([one for some in said.past.values() for one in some])

    def _spoken_of(self, witnesses: Sequence[Witness]) -> None:
        self.fingerprints.update(one.fingerprint for one in witnesses)
        self._name(*(one.ci for one in witnesses))

    def _of_events(self, record: Record) -> None:
        for labels in labels_of(record, self.collectors):
            for name in self.values.keys() & labels.keys():
                self.values[name].add(labels[name])
        for document in _documents(record.body):
            for key, text in _texts(document):
                if key in ("actor", "cis", "ci"):
                    self._name(text)

    def _name(self, *names: str) -> None:
        self._names.update(filter(None, names))

    def all(self) -> Iterator[str]:
        """Names to look for in texts: too short ones, and small numbers, would be found everywhere."""
        hashed = (value for name, values in self.values.items() if self.choice[name] == HASH for value in values)
        for name in {*self._names, *hashed}:
            for part in {name, bare := _without_port(name), bare.partition(".")[0]}:
                meant = sum(map(str.isalnum, part))
                if meant > 3 or (meant > 1 and _LETTER.search(part)):
                    yield part


def labels_of(record: Record, collectors: Mapping[str, Collector]) -> Iterator[dict[str, str]]:
    """Of each alert that can be read."""
    collector = collectors.get(record.collector)
    if collector is None:
        return
    try:
        items = collector.decode(record.body)
    except Malformed:
        return
    for item in items:
        try:
            event = None if isinstance(item, Malformed) else collector.translate(item, record.at)
            if isinstance(event, Event):
                yield read_labels(event.labels)
        except Malformed:
            continue


def _documents(body: bytes) -> list[Any]:
    """The JSON that a payload holds; of one with a head (``core.contracts.with_head``) both."""
    whole = _document(body)
    if whole is not None:
        return [whole]
    head, _, rest = body.partition(b"\n")
    both = [_document(head), _document(rest)]
    return [] if None in both else both


def _document(text: bytes) -> Any:
    """None where it is no JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _unwrapped(value: str) -> bytes:
    """Of base64; empty where it is none."""
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return b""


def _without_port(name: str) -> str:
    host, colon, port = name.rpartition(":")
    return host.removeprefix("[").removesuffix("]") if colon and port.isdigit() else name


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(field, text) of all texts in JSON but labels and annotations."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name not in _LABELS | _NOTES:
                yield from _texts(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, key)
    elif isinstance(value, str):
        yield key, value


# ---- writing without them -------------------------------------------------------------------------------------------


class Anonymiser:
    """Args:
    names: of the whole capture, from the first reading.
    Raises ConfigError where an expression cannot be written without the names that it matches.
    """

    def __init__(self, names: Names, tokens: Tokens) -> None:
        self._names, self._tokens = names, tokens
        self._by_word: dict[str, list[tuple[int, str]]] = {}
        for name in sorted(set(map(str.lower, names.all())), key=lambda name: (-len(name), name)):
            if (first := _WORD.search(name)) is not None:
                self._by_word.setdefault(first[0], []).append((first.start(), name))
        self._texts: dict[str, str] = {}
        self._schemes = Scheme(), Scheme()
        self._fingerprints: dict[str, str] = {}

    def entry(self, entry: Entry) -> Entry:
        """The next one, in order."""
        if isinstance(entry, Judgement):
            return self._judgement(entry)
        return msgspec.structs.replace(
            entry, body=self._body(entry), actor=self._tokens.name(entry.actor), source=self.text(entry.source)
        )

    def _body(self, record: Record) -> bytes:
        if record.kind is RecordKind.EVENTS:
            return self._events(record)
        write = self._writers().get(record.kind)
        if write is None:
            return record.body
        kind, change = write
        return msgspec.json.encode(change(msgspec.json.decode(record.body, type=kind)))

    def _writers(self) -> Mapping[RecordKind, tuple[Any, Callable[[Any], Any]]]:
        return {
            RecordKind.TOPOLOGY: (TopologyRecord, self._topology),
            RecordKind.SETTINGS: (SettingsRecord, self._settings),
            RecordKind.OPERATOR: (OperatorRecord, self._operator),
            RecordKind.TICKET: (TicketChange, self._ticket),
            RecordKind.ANOMALIES: (AnomaliesRecord, self._anomalies),
            RecordKind.FORECASTS: (ForecastsRecord, self._forecasts),
            RecordKind.LEARNED: (LearnedRecord, self._learned),
        }

    # ---- texts ----

    def text(self, text: str) -> str:
        """With tokens for the names in it."""
        found = self._texts.get(text)
        if found is None:
            if len(self._texts) >= _MAX_CACHED:
                self._texts.clear()
            found = self._texts[text] = "".join(self._pieces(text))
        return found

    def _pieces(self, text: str) -> Iterator[str]:
        done, lowered = 0, text.lower()
        if len(lowered) != len(text):  # a letter that has no lower case of one letter
            lowered = text
        for word in _WORD.finditer(lowered):
            for before, name in self._by_word.get(word[0], ()):
                start = word.start() - before
                end = start + len(name)
                if start >= done and lowered.startswith(name, start) and not lowered[end : end + 1].isalnum():
                    yield text[done:start]
                    yield self._tokens.name(text[start:end])
                    done = end
                    break
        yield text[done:]

    def _label(self, name: str, value: str) -> str:
        how = self._names.choice.get(name)
        if how is None:
            return value if name in _KEPT_LABELS else self.text(value)
        return self._tokens.name(value) if how == HASH else self._tokens.words(value)

    def _annotation(self, name: str, value: str) -> str:
        how = self._names.choice.get(name) or self._names.choice.get(ANNOTATIONS)
        if how is None:
            return self.text(value)
        return self._tokens.name(value) if how == HASH else self._tokens.words(value)

    # ---- events ----

    def _events(self, record: Record) -> bytes:
        documents = _documents(record.body)
        if not documents:
            return b"?"  # nobody can read it, which is what became of it
        written = b"\n".join(msgspec.json.encode(self._json(document)) for document in documents)
        if self._names.fingerprints:
            self._follow(record, msgspec.structs.replace(record, body=written, source=self.text(record.source)))
        return written

    def _json(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            if key in _LABELS:
                return {name: self._label(name, str(one)) for name, one in value.items()}
            if key in _NOTES:
                return {name: self._annotation(name, str(one)) for name, one in value.items()}
            return {name: self._json(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self._json(one, key) for one in value]
        return self._field(key, value) if isinstance(value, str) else value

    def _field(self, key: str, value: str) -> str:
        if key.lower().endswith("url") or key == "groupKey":
            return ""
        if key in _KEPT_FIELDS or _TIME.match(value):
            return value
        if value[:1] == "{" and (inner := _document(value.encode())) is not None:  # Amazon SNS wraps what it brings
            return msgspec.json.encode(self._json(inner)).decode()
        if key == "data" and (inner := _document(_unwrapped(value))) is not None:  # and so does Google Pub/Sub
            return base64.b64encode(msgspec.json.encode(self._json(inner))).decode()
        return self._tokens.name(value) if key in ("actor", "cis", "ci") else self.text(value)

    def _follow(self, was: Record, now: Record) -> None:
        """Which fingerprints the alerts have now that somebody speaks of."""
        collector = self._names.collectors.get(was.collector)
        if collector is None:
            return
        old, new = (
            scheme.family(collector.namespace, collector.kind, record.source)
            for scheme, record in zip(self._schemes, (was, now), strict=True)
        )
        of_both = zip(*(labels_of(record, self._names.collectors) for record in (was, now)), strict=False)
        for before, after in of_both:
            if (key := old.key(before)) in self._names.fingerprints:
                self._fingerprints[key] = new.key(after)

    def _fingerprint(self, key: str) -> str:
        return self._fingerprints.get(key) or self._tokens.opaque(key)

    # ---- other records ----

    def _topology(self, read: TopologyRecord) -> TopologyRecord:
        delta = read.delta
        return TopologyRecord(
            version=self.text(read.version),
            cis=self._cis(read.cis),
            relationships=self._ties(read.relationships),
            base=self.text(read.base),
            delta=None
            if delta is None
            else TopologyDelta(
                put_cis=self._cis(delta.put_cis),
                gone_cis=tuple(map(self._tokens.name, delta.gone_cis)),
                put_relationships=self._ties(delta.put_relationships),
                gone_relationships=self._ties(delta.gone_relationships),
            ),
        )

    def _cis(self, cis: Iterable[CI]) -> tuple[CI, ...]:
        name = self._tokens.name
        return tuple(
            msgspec.structs.replace(
                ci, id=name(ci.id), name=name(ci.name), aliases=tuple(map(name, ci.aliases)), owner=name(ci.owner)
            )
            for ci in cis
        )

    def _ties(self, ties: Iterable[Relationship]) -> tuple[Relationship, ...]:
        name = self._tokens.name
        return tuple(msgspec.structs.replace(tie, source=name(tie.source), target=name(tie.target)) for tie in ties)

    def _settings(self, read: SettingsRecord) -> SettingsRecord:
        bare = msgspec.structs.replace(read, source=None)  # who applied them, and why
        changed = msgspec.convert(self._written(msgspec.to_builtins(bare)), SettingsRecord)
        changed = msgspec.structs.replace(changed, correlation=self._who_and_whose(changed.correlation))
        old, new = (read_recorded(one.correlation)[0].fold.identity for one in (read, changed))
        self._schemes = Scheme(old), Scheme(new)
        return changed

    def _written(self, value: Any) -> Any:
        """Settings: names stand in matchers, and in quotes."""
        if isinstance(value, dict):
            return {name: self._written(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._written(one) for one in value]
        if not isinstance(value, str) or "=" not in value:
            return value
        try:
            matcher = parse_matcher(value)
        except Malformed:
            return self._in_quotes(value)
        # An expression of CEL looks like a matcher too, up to what stands before its operator.
        return str(self._matcher(matcher, "settings")) if _plain(matcher.name) else self._in_quotes(value)

    def _who_and_whose(self, correlation: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that name services and groups outright. A pattern of names fits no token: whose ticket it is may
        differ, what belongs together does not."""
        found, name = deepcopy(dict(correlation)), self._tokens.name
        hours = found.get("priority", {}).get("service_hours", {})
        if "services" in hours:
            hours["services"] = {name(service): calendar for service, calendar in hours["services"].items()}
        assignment = found.get("assignment", {})
        for section in (assignment, *assignment.get("rules", ())):
            section |= {key: name(section[key]) for key in ("name", "ci", "group", "default") if section.get(key)}
        for policy in found.get("escalation", ()):
            policy |= {"name": name(policy["name"]), "groups": list(map(name, policy.get("groups", ())))}
            for step in policy["steps"]:
                step["tell"] = [whom if whom == GROUP else name(whom) for whom in step["tell"]]
        ticket = found.get("ticket", {})
        for text in (ticket.get("text", {}), *ticket.get("text_by_sink", {}).values()):
            text |= {key: self.text(template) for key, template in text.items()}
        return found

    def _in_quotes(self, text: str) -> str:
        return _QUOTED.sub(lambda found: self.text(found[0]), text)

    def _matcher(self, matcher: Matcher, where: str) -> Matcher:
        value = self._label(matcher.name, matcher.value)
        if matcher.is_regex:
            value = self._expression(matcher, where)
        return Matcher(name=matcher.name, value=value, is_regex=matcher.is_regex, is_equal=matcher.is_equal)

    def _expression(self, matcher: Matcher, where: str) -> str:
        """The tokens of all that it matches in this capture: a pattern of names says nothing of tokens."""
        known = self._names.values.get(matcher.name)
        if known is None:
            return self.text(matcher.value)
        pattern = Matcher(name=matcher.name, value=matcher.value, is_regex=True)
        hit = sorted(self._label(matcher.name, value) for value in known if pattern.matches({matcher.name: value}))
        expression = "|".join(map(re.escape, hit)) or _MATCHES_NOTHING
        if pattern.matches({}):
            expression += "|"
        if len(expression) > MAX_EXPRESSION_CHARS:
            message = f"{matcher} matches {len(hit)} values of {matcher.name}, more than an expression can list"
            hint = f"leave {matcher.name} out of --anonymise, or capture a shorter period"
            raise ConfigError([Problem(file=where, line=None, path="", message=message, hint=hint)])
        return expression

    def _matchers(self, matchers: Sequence[SilenceMatcher], where: str) -> tuple[SilenceMatcher, ...]:
        return tuple(
            msgspec.structs.replace(
                one,
                value=self._matcher(
                    Matcher(name=one.name, value=one.value, is_regex=one.is_regex, is_equal=one.is_equal), where
                ).value,
            )
            for one in matchers
        )

    def _operator(self, done: OperatorRecord) -> OperatorRecord:
        silence, window, said, notice = done.set_silence, done.set_window, done.judge, done.notice
        return msgspec.structs.replace(
            done,
            set_silence=None if silence is None else self._silence(silence),
            set_window=None if window is None else self._window(window),
            judge=None if said is None else self._statement(said),
            notice=None if notice is None else self._notice(notice),
            remark=None,  # for the audit only
        )

    def _notice(self, notice: OwnAlert) -> OwnAlert:
        labels = {name: self._label(name, value) for name, value in notice.labels.items()}
        return OwnAlert(labels=labels, summary=self.text(notice.summary))

    def _silence(self, silence: Silence) -> Silence:
        return msgspec.structs.replace(
            silence,
            matchers=self._matchers(silence.matchers, f"silence {silence.id}"),
            created_by=self._tokens.name(silence.created_by),
            comment="",
            annotations={},
        )

    def _window(self, window: MaintenanceWindow) -> MaintenanceWindow:
        name = self._tokens.name
        return msgspec.structs.replace(
            window,
            title=self.text(window.title),
            owner=name(window.owner),
            comment="",
            cis=tuple(map(name, window.cis)),
            services=tuple(map(name, window.services)),
            matchers=self._matchers(window.matchers, f"maintenance window {window.id}"),
            calendar="",
        )

    def _statement(self, said: Statement) -> Statement:
        return msgspec.structs.replace(
            said,
            alerts=tuple(map(self._fingerprint, said.alerts)),
            cis=tuple(map(self._tokens.name, said.cis)),
            comment="",
            past={id: self._witnesses(some) for id, some in said.past.items()},
        )

    def _judgement(self, said: Judgement) -> Judgement:
        return msgspec.structs.replace(
            said,
            actor=self._tokens.name(said.actor),
            one=self._witnesses(said.one),
            same=self._witnesses(said.same),
            apart=self._witnesses(said.apart),
            cis=tuple(map(self._tokens.name, said.cis)),
            comment="",
            outcome="",
        )

    def _witnesses(self, some: Sequence[Witness]) -> tuple[Witness, ...]:
        return tuple(
            msgspec.structs.replace(
                one,
                fingerprint=self._fingerprint(one.fingerprint),
                name=self._label("alertname", one.name),
                ci=self._tokens.name(one.ci),
            )
            for one in some
        )

    def _ticket(self, change: TicketChange) -> TicketChange:
        name = self._tokens.name
        problem = change.problem
        if problem is not None:
            problem = msgspec.structs.replace(problem, by=name(problem.by), known_error="")
        return msgspec.structs.replace(
            change, number=name(change.number), actor=name(change.actor), url="", comment="", problem=problem,
            alerts=self._witnesses(change.alerts),
        )  # fmt: skip

    def _anomalies(self, read: AnomaliesRecord) -> AnomaliesRecord:
        return AnomaliesRecord(
            anomalies=tuple(
                msgspec.structs.replace(
                    one, ci=self._tokens.name(one.ci), dimension=self.text(one.dimension), said=self.text(one.said)
                )
                for one in read.anomalies
            )
        )

    def _forecasts(self, read: ForecastsRecord) -> ForecastsRecord:
        def part(one: Contribution) -> Contribution:
            return msgspec.structs.replace(one, name=self.text(one.name), evidence=self.text(one.evidence))

        return ForecastsRecord(
            forecasts=tuple(
                msgspec.structs.replace(
                    one,
                    ci=self._tokens.name(one.ci),
                    model=self.text(one.model),
                    about=self.text(one.about),
                    summary=self.text(one.summary),
                    signs=tuple(map(self.text, one.signs)),
                    contributions=tuple(map(part, one.contributions)),
                )
                for one in read.forecasts
            )
        )

    def _learned(self, read: LearnedRecord) -> LearnedRecord:
        def side(one: Any) -> Any:
            return msgspec.structs.replace(one, name=self._label("alertname", one.name), ci=self._tokens.name(one.ci))

        pairs = tuple(msgspec.structs.replace(pair, a=side(pair.a), b=side(pair.b)) for pair in read.learned.pairs)
        learned: Learned = msgspec.structs.replace(read.learned, pairs=pairs)
        return msgspec.structs.replace(read, learned=versioned(learned) if read.learned.version else learned)


# ---- all of it ------------------------------------------------------------------------------------------------------


def anonymised(
    read: Callable[[], Iterator[Entry]], choice: Mapping[str, str], key: bytes, collectors: Mapping[str, Collector]
) -> Iterator[Entry]:
    """The entries of a capture, which is read twice. Raises ConfigError."""
    names = Names(choice, collectors)
    for entry in read():
        names.hear(entry)
    anonymiser = Anonymiser(names, Tokens(key))
    for entry in read():
        yield anonymiser.entry(entry)


def _plain(name: str) -> bool:
    return re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) is not None
