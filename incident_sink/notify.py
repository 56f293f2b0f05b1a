"""Messages to people: e-mail, Slack, Teams, PagerDuty, Opsgenie, SMS and some 130 more, through Apprise.

Facts:    github.com/caronc/apprise 2.2 (2026), its page "URL basics" and one page for each service; read 2026-11-22.
Delivery: at least once. A message has no identity that could be asked for, so one whose answer was lost is sent again.
          Incidents are told of when they are opened, get more urgent, come back and are over; what the engine has
          somebody told (escalations, times that run out) comes as it is.
Changes:  none: nobody answers here.
Limits:   a title of 200 and a text of 4000 characters; less where the service takes less.
Needs:    the address of one receiver as Apprise writes it, in a file of its own, because it holds the secret.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from foreshock.connect.auth import read_secret
from foreshock.connect.markup import line, plain
from foreshock.core.contracts import (
    ConnectorConfig,
    Finding,
    Order,
    Receipt,
    SinkKind,
    SinkParts,
    TicketChange,
    Verb,
)
from foreshock.core.errors import ConfigError, Problem, Unavailable

if TYPE_CHECKING:
    from apprise import NotifyBase  # it takes a tenth of a second and some megabytes of whoever loads it

TITLE_CHARS = 200
TEXT_CHARS = 4000
_CALLS = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|<(?=[!@#])", re.IGNORECASE)
"""What calls a whole channel in Slack, Discord, Teams or Mattermost (their API references, "mentions")."""


class NotifyConfig(ConnectorConfig):
    url_file: Path = Field(
        description="file with the address of the receiver as Apprise writes it, such as "
        "mailtos://user:password@example.com?to=noc@example.com or slack://…, mode 0600"
    )
    incidents: bool = Field(
        default=True,
        description="tell of every incident; false: only of what `notify` sends here, such as an escalation",
    )
    min_priority: int = Field(
        default=5, ge=1, le=5, description="tell of incidents that have at least this priority (1 is the highest)"
    )


class NotifySink:
    """One receiver."""

    def __init__(self, name: str, receiver: "NotifyBase", config: NotifyConfig, console: str) -> None:
        self._name = name
        self._receiver = receiver
        self._config = config
        self._console = console

    def find(self, key: str) -> Receipt | None:
        """Nothing can be asked."""
        return None

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        kept = dict(ticket.kept) if ticket is not None else {}
        if "notice" in order.fields:
            self._send(str(order.fields["title"]), str(order.fields["text"]), order, "warning")
            return Receipt(number=order.key, url=f"{self._console}{order.url}")
        priority = int(order.fields.get("priority", kept.get("priority", 5)))
        word = _word(order.verb, priority, kept, self._config.min_priority)
        if word:
            title = f"{word}: {order.fields.get('title') or kept.get('title') or order.key} (P{priority})"
            text = "\n\n".join(filter(None, (order.note, str(order.fields.get("description", "")))))
            self._send(title, text, order, _TYPES[order.verb])
            kept["told"] = str(priority)
        kept["priority"] = str(priority)
        kept["title"] = line(str(order.fields.get("title") or kept.get("title", "")), TITLE_CHARS)
        return Receipt(number=order.key, url=f"{self._console}{order.url}", kept=kept)

    def _send(self, title: str, text: str, order: Order, type: str) -> None:
        """Raises Unavailable with what Apprise says of it."""
        from apprise import Apprise

        page = f"{self._console}{order.url}" if self._console and order.url else ""
        body = _inert(plain("\n\n".join(filter(None, (text, page))), TEXT_CHARS))
        sender = Apprise()
        sender.add(self._receiver)
        said: list[str] = []
        sent = sender.notify(
            title=_inert(line(title, TITLE_CHARS)),
            body=body or "-",
            body_format="text",
            notify_type=type,
            log_level=logging.WARNING,
            log_callback=lambda entry, _: said.append(str(entry.message)),
        )
        if not sent:
            problem = " ".join(" ".join(said).split()) or "the message was not taken"
            raise Unavailable(f"notify {self._name!r}: {problem}"[:500])

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        """A receiver tells nothing back."""
        return ()

    def check(self) -> Sequence[Finding]:
        """A receiver can be asked nothing without sending it a message."""
        where = str(self._receiver.url(privacy=True)).split("?")[0]  # type: ignore[no-untyped-call]
        return [
            Finding(subject="receiver", observed=f"{self._receiver.service_name}: {where}; only --create sends to it")
        ]


def _word(verb: Verb, priority: int, kept: dict[str, str], least: int) -> str:
    """How the message begins; empty where people are not told."""
    told = int(kept["told"]) if "told" in kept else None
    if verb is Verb.RESOLVE:
        return "Resolved" if told is not None else ""
    if priority > least:
        return ""
    if told is None:
        return "New"
    if verb is Verb.REOPEN:
        return "Again"
    return "More urgent" if priority < told else ""


def _inert(text: str) -> str:
    """Text of strangers that calls nobody."""
    return _CALLS.sub(lambda found: found[0] + " ", text)


_TYPES = {Verb.OPEN: "failure", Verb.UPDATE: "failure", Verb.REOPEN: "failure", Verb.RESOLVE: "success"}


def _build(name: str, config: NotifyConfig, parts: SinkParts) -> NotifySink:
    from apprise import Apprise, AppriseAsset

    place = f"sinks.{name}"
    address = read_secret(config.url_file, f"{place}.url_file")
    asset = AppriseAsset(app_id="Foreshock", app_desc="Foreshock", async_mode=False)
    problem = "it is no address that Apprise knows"
    receiver: Any = None
    try:
        receiver = Apprise.instantiate(address, asset=asset, suppress_exceptions=False)
    except TypeError as error:
        problem = str(error)
    if receiver is None:
        hint = "write one address as on the service's page of Apprise, such as mailtos://user:password@example.com"
        raise ConfigError(
            [Problem(file=str(config.url_file), line=1, path=f"{place}.url_file", message=problem, hint=hint)]
        )
    return NotifySink(name, receiver, config, parts.console)


SINK = SinkKind(
    kind="notify",
    title="Messages to people (Apprise: e-mail, Slack, Teams, PagerDuty …)",
    facts="github.com/caronc/apprise 2.2, read 2026-11-22",
    config=NotifyConfig,
    build=_build,
    searches=False,
    messages=True,
)
