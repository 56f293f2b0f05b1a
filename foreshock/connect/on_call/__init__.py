"""Who answers for a group at a moment: one file for each kind of duty roster, ending with ``ON_CALL``."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from foreshock.core.contracts import ConnectorConfig


class Roster(Protocol):
    """One duty roster."""

    def who(self, at: datetime) -> tuple[str, ...]:
        """The people on duty then, as `notify.contacts` calls them; empty where nobody is. Raises Unavailable,
        Denied, Rejected."""


class OnCallKind(Struct, frozen=True, kw_only=True):
    """Declaration of a kind of roster. build: gets the instance's name, its configuration and a ``connect.http.Http``
    factory."""

    kind: str
    title: str
    facts: str
    config: type[ConnectorConfig]
    build: Callable[[str, Any, Callable[..., Any]], Roster]
