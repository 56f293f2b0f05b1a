"""Nautobot's APIs, versions 2.1 to 3.x: one thin client.

Facts: docs.nautobot.com (REST API, GraphQL, change logging), the sources of nautobot 2.4.44 and 3.2.7, and a real
    3.2.7, read 2026-11-22.

What it takes care of: REST refuses what a token may not view (403), GraphQL silently leaves it out, so REST is asked
before GraphQL is believed; a page of GraphQL has no order that one can rely on, so ids are listed first and objects are
asked for by id; GraphQL answers 200 where one object could not be shown, and names its place; fields differ by version.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from foreshock.connect.vendors.dcim import moment_of
from foreshock.core.errors import Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Http  # importing it takes a tenth of a second of each start

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The ids of a million objects fit in it."""
NOBODY = "00000000-0000-0000-0000-000000000000"
"""An id that nothing has: who asks for it learns at once whether it may ask."""
REST_ROWS = 1000
"""More are cut to that, by the server's default."""


class Nautobot:
    """One server. Not for several threads at once."""

    def __init__(self, http: "Http") -> None:
        self.http = http
        self._fields: dict[str, frozenset[str]] = {}

    def count(self, path: str, **filters: str) -> int:
        """How many objects of a sort this token may view. Raises Unseen, or Missing where there is no such sort."""
        params: dict[str, str | int] = {"limit": 1, "depth": 0, "exclude_m2m": "true", **filters}
        return self.http.get(f"/api/{path}/", params=params).part("count", int)

    def rows(self, path: str, **params: str | int) -> list[Mapping[str, Any]]:
        """All rows of a short list, in the order of their ids: of each page the first row must be one that the page
        before held, or something slipped past the edge because another was deleted; then the reading steps back."""
        found: dict[str, Mapping[str, Any]] = {}
        last, offset = "", 0
        while True:
            wanted = {"depth": 0, "limit": REST_ROWS, "offset": offset, "sort": "id", **params}
            page = self.http.get(f"/api/{path}/", params=wanted).rows("results")
            if offset and page and str(page[0].get("id")) > last:
                offset = max(0, offset - REST_ROWS // 2)
                continue
            found.update((str(row.get("id")), row) for row in page)
            fresh = max((str(row.get("id")) for row in page), default="")
            if len(page) < 2 or fresh <= last:
                return list(found.values())
            last, offset = fresh, offset + len(page) - 1

    def ask(self, query: str, /, **variables: Any) -> tuple[Mapping[str, Any], list[tuple[tuple[Any, ...], str]]]:
        """The data of a query, and where in it something could not be shown, with why. Raises Rejected where the query
        is none to this version, Unavailable where nothing was answered."""
        answer = self.http.post("/api/graphql/", json={"query": query, "variables": variables})
        said = answer.json()
        errors = said.get("errors") or [] if isinstance(said, dict) else []
        wrong = [(tuple(each.get("path") or ()), str(each.get("message"))) for each in errors if isinstance(each, dict)]
        data = said.get("data") if isinstance(said, dict) else None
        for path, message in wrong:
            if len(path) < 2:  # not of one object
                raise Unavailable(f"{answer.place} answered: {message[:300]}", answered=True)
        if not isinstance(data, dict):
            raise Unavailable(
                f"{answer.place} answered HTTP {answer.status} without data",
                hint="check that the address is Nautobot and not a login or proxy page",
            )
        return data, wrong

    def rows_of(self, query: str, name: str, **variables: Any) -> list[Any]:
        """One list of a query whose objects are all needed."""
        data, wrong = self.ask(query, **variables)
        if wrong:
            raise Unavailable(f"{self.http.instance}: {name}: {wrong[0][1][:300]}", answered=True)
        return self.listed(data, name)

    def listed(self, data: Mapping[str, Any], name: str) -> list[Any]:
        """A list of an answer. Raises Unavailable where it is missing: it is the answer to another question."""
        rows = data.get(name)
        if not isinstance(rows, list):
            raise Unavailable(f"{self.http.instance} answered GraphQL without {name}", answered=True)
        return rows

    def has(self, type: str, *fields: str) -> bool:
        """Whether objects of a GraphQL type have all these fields in this version."""
        if type not in self._fields:
            data, _ = self.ask("query($type:String!){__type(name:$type){fields{name}}}", type=type)
            shown = (data.get("__type") or {}).get("fields") or ()
            self._fields[type] = frozenset(str(each.get("name")) for each in shown)
        return self._fields[type].issuperset(fields)

    def newest_change(self) -> tuple[str, datetime | None]:
        """Id and time of the latest entry of the change log; empty where there is none."""
        params: dict[str, str | int] = {"limit": 1, "depth": 0, "sort": "-time"}
        rows = self.http.get("/api/extras/object-changes/", params=params).rows("results")
        return (str(rows[0].get("id")), moment_of(rows[0].get("time"))) if rows else ("", None)

    def knows_change(self, id: str) -> bool:
        """Whether an entry of the change log is still there."""
        try:
            self.http.get(f"/api/extras/object-changes/{id}/", params={"depth": 0})
        except (Missing, Rejected):
            return False
        return True


def chunks(ids: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
