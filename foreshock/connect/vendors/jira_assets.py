"""Assets, the CMDB of Jira Service Management: the part of its REST API that reads objects.

Facts: developer.atlassian.com, "Assets REST API" (Cloud) and "Assets for Jira Service Management" (Data Center 10),
    support.atlassian.com, "Use Assets Query Language (AQL)"; read 2026-11.

Cloud keeps Assets of a site in a workspace under another address; the site names it. Both editions search by AQL and
page by offset, in whatever order AQL asks for, so rows shift when an object is deleted meanwhile: see ``Assets.after``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct

from foreshock.core.errors import Denied, ForeshockError, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal

Json = dict[str, Any]

CLOUD_ROOT = "https://api.atlassian.com/jsm/assets/workspace/{}/v1"
DATA_CENTER_ROOT = "/rest/assets/1.0"
PAGE = 100
"""Objects a call: more are not answered, 25 where nothing is asked for."""
ORDER = "order by Created asc"
"""A new object comes last, and no change moves one. UNVERIFIED: that Data Center before 10 orders by it alike."""
REFERENCE = "1"
"""Type of an attribute whose values are other objects."""
MAX_BODY_BYTES = 32 * 1024 * 1024
"""Of a hundred objects with all attributes; a text attribute may hold a page."""
LIMITED_S = 30.0
"""A limit without a time: 1,000 calls a minute for each endpoint."""


class Objects(Struct, frozen=True, kw_only=True):
    """Part of what a search finds. total: of all; 0 where it does not say."""

    rows: Sequence[Json]
    last: bool
    total: int = 0


class Assets:
    """Assets of one site. Not for several threads at once."""

    def __init__(self, http: "Http", *, cloud: bool) -> None:
        self._http, self._cloud = http, cloud
        self.name = http.instance

    @property
    def server_now(self) -> datetime | None:
        """Its own clock, by its last answer; None before the first."""
        return self._http.server_now

    def schemas(self) -> dict[str, str]:
        """Names of the object schemas that this account may read, by id."""
        found: dict[str, str] = {}
        start = 0
        while True:
            params = {"startAt": start, "maxResults": PAGE} if self._cloud else None
            answer = self._http.get("/objectschema/list", params=params)
            body = _object(answer)
            rows = _rows(answer, body, "values" if self._cloud else "objectschemas")
            found |= {str(row.get("id")): str(row.get("name") or "") for row in rows}
            start += len(rows)
            if not rows or not self._cloud or start >= int(body.get("total") or 0):
                return found

    def types(self, schema: str) -> dict[str, str]:
        """Names of the object types of a schema, by id. Raises Denied, Rejected."""
        answer = self._http.get(f"/objectschema/{quote(schema, safe='')}/objecttypes/flat")
        body = answer.json()
        if not isinstance(body, list) or not all(isinstance(row, dict) for row in body):
            raise Unavailable(f"{answer.place} answered something else than a list of object types")
        return {str(row.get("id")): str(row.get("name") or "") for row in body}

    def search(self, aql: str, start: int, rows: int = PAGE) -> Objects:
        """Objects from the one with number ``start`` on, 0 is the first. Raises Rejected for AQL that it cannot read,
        Unavailable for a page that was not asked for.

        Args: rows: at most so many; on a Data Center ``start`` is a multiple of them.
        """
        if self._cloud:
            params: dict[str, str | int] = {"startAt": start, "maxResults": rows, "includeAttributes": "true"}
            answer = self._http.post("/object/aql", params=params, json={"qlQuery": aql})
            body = _object(answer)
            found, at = _rows(answer, body, "values"), body.get("startAt", start)
            total, last = _number(body.get("total")), bool(body.get("isLast", not found))
        else:
            number, beyond = divmod(start, rows)
            assert not beyond, "a Data Center pages by whole pages"
            params = {"qlQuery": aql, "page": number + 1, "resultPerPage": rows, "includeAttributes": "true"}
            answer = self._http.get("/aql/objects", params={**params, "includeAttributesDeep": 1})
            body = _object(answer)
            found, at = _rows(answer, body, "objectEntries"), body.get("startIndex", start)
            total = _number(body.get("totalFilterCount"))
            last = not found or start + len(found) >= total
        if at != start:
            raise Unavailable(f"{answer.place} answered the objects from {at}, not from {start}")
        return Objects(rows=found, last=last, total=total)

    def after(self, aql: str, start: int, before: str, rows: int = PAGE) -> Objects | None:
        """The same, if the object just before ``start`` still is the one with the id ``before``; None otherwise: then
        something in front of it was deleted, and some rows have moved there."""
        if self._cloud:
            found = self.search(aql, start - 1, rows)
            if not found.rows or str(found.rows[0].get("id")) != before:
                return None
            return Objects(rows=found.rows[1:], last=found.last, total=found.total)
        found = self.search(aql, start, rows)
        # Afterwards: what is deleted in between is noticed as well.
        probe = self.search(aql, start - 1, 1).rows
        return found if probe and str(probe[0].get("id")) == before else None


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What Assets means by an answer that is no 2xx."""
    match refusal.status:
        case 401:
            return Denied(refusal.message, hint="check user and token, and that the token has not expired")
        case 403 | 404:
            return Denied(
                refusal.message,
                hint="check `url`, that the plan includes Assets, and that the account is an Object Schema User of the "
                "schemas (`foreshock cmdb test`)",
            )
        case 400:
            return Rejected(refusal.message, hint="check `schemas` and `filter`")
        case 429:
            return Unavailable(refusal.message, retry_after_s=refusal.retry_after_s or LIMITED_S, unsent=True)
    return None


def _object(answer: "Answer") -> Json:
    body = answer.json()
    if not isinstance(body, dict):
        raise Unavailable(f"{answer.place} answered JSON that is no object", hint="check that the address is Assets")
    return body


def _rows(answer: "Answer", body: Json, name: str) -> list[Json]:
    rows = body.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(f"{answer.place} answered JSON without {name}", hint="check that the address is Assets")
    return rows


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
