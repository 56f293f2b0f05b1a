"""NetBox's REST API, versions 4.0 to 4.6: one thin client.

Facts: NetBox documentation 4.6 (REST API, filtering, authentication) and the OpenAPI document of 4.2, read 2026-11-22.

What it takes care of: lists are read in the order of their ids, from the last one on, because a page by number shifts
when something is deleted; a filter that a version ignores shows by the ids that come; request lines stay below what a
server accepts; the change log moved with 4.1, and MAC addresses became objects with 4.2.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from foreshock.connect.vendors.dcim import Row, moment_of
from foreshock.core.errors import Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Http  # importing it takes a tenth of a second of each start

MAX_BODY_BYTES = 64 * 1024 * 1024
ROWS = 1000
"""More a page are cut to that, by the server's default (MAX_PAGE_SIZE)."""
_IDS_A_LINE = 100
"""A request line of more than 4094 bytes is refused (gunicorn, which NetBox is run by)."""
_MAX_ROWS = 200_000
V2 = "nbt_"
"""How tokens of version 2 begin, from 4.5 on."""


def authorization(token: str) -> str:
    return f"Bearer {token}" if token.startswith(V2) else f"Token {token}"


class NetBox:
    """One server. Not for several threads at once."""

    def __init__(self, http: "Http") -> None:
        self.http = http
        self._has: dict[str, bool] = {}

    def has(self, path: str) -> bool:
        """Whether this version has a sort of objects. Raises Unseen."""
        if path not in self._has:
            try:
                self.count(path, anything=False)
            except Missing:
                self._has[path] = False
        return self._has[path]

    def count(self, path: str, *, anything: bool = True) -> int:
        """How many objects of a sort this token may view; 0 at once where ``anything`` is not. Raises Unseen, or
        Missing where there is no such sort."""
        params: dict[str, str | int] = {"limit": 1, "brief": "true", **({} if anything else {"id": 0})}
        found = self.http.get(f"/api/{path}/", params=params).part("count", int)
        self._has[path] = True
        return found

    def page(self, path: str, after: int, size: int, **filters: Any) -> tuple[list[Row], int | None]:
        """Rows in the order of their ids, and after which id to go on; None: there are no more."""
        asked: list[tuple[str, Any]] = [("id__gt", after), ("ordering", "id"), ("limit", size)]
        if path in ("dcim/devices", "virtualization/virtual-machines"):
            asked.append(("exclude", "config_context"))  # which costs most of the time
        for name, value in filters.items():
            asked += [(name, each) for each in (value if isinstance(value, list) else [value])]
        answer = self.http.get(f"/api/{path}/?{urlencode(asked)}")
        rows: list[Row] = answer.rows("results")
        ids = [id for row in rows if isinstance(id := row.get("id"), int)]
        if len(ids) < len(rows):
            raise Unavailable(f"{answer.place} answered rows without a number as id", answered=True)
        if ids and (min(ids) <= after or ids != sorted(ids)):
            raise Unavailable(
                f"{answer.place} answered rows before {after}, or in another order than that of their ids",
                hint="if this goes on, a proxy answers from memory, or this version ignores id__gt",
            )
        more = answer.json().get("next")
        if more and not ids:
            raise Unavailable(f"{answer.place} says that there are more rows, and shows none with an id")
        return rows, ids[-1] if more else None

    def all(self, path: str, **filters: Any) -> list[Row]:
        """All rows that a filter finds; none where this version has no such sort. Raises Unavailable where there are
        too many."""
        if not self.has(path):
            return []
        found: list[Row] = []
        after: int | None = 0
        while after is not None:
            rows, after = self.page(path, after, ROWS, **filters)
            found += rows
            if len(found) > _MAX_ROWS:
                raise Unavailable(f"{self.http.instance}: more than {_MAX_ROWS} rows of {path}")
        return found

    def some(self, path: str, **filters: Any) -> list[Row]:
        """The same by a filter that takes a list of ids, for however many; none for none."""
        ((name, ids),) = ((name, value) for name, value in filters.items() if isinstance(value, list))
        others = {other: value for other, value in filters.items() if other != name}
        found: dict[int, Row] = {}
        for start in range(0, len(ids), _IDS_A_LINE):
            batch: Sequence[int] = ids[start : start + _IDS_A_LINE]
            found.update((row["id"], row) for row in self.all(path, **{name: list(batch)}, **others))
        return [found[id] for id in sorted(found)]

    def newest_change(self, path: str) -> tuple[int, datetime | None]:
        """Id and time of the latest entry of the change log; 0 where there is none."""
        params: Mapping[str, str | int] = {"limit": 1, "ordering": "-id"}
        rows = self.http.get(f"/api/{path}/", params=params).rows("results")
        return (int(rows[0]["id"]), moment_of(rows[0].get("time"))) if rows else (0, None)

    def knows_change(self, path: str, id: int) -> bool:
        """Whether an entry of the change log is still there."""
        try:
            self.http.get(f"/api/{path}/{id}/")
        except (Missing, Rejected):
            return False
        return True
