"""What pages and the API share against hostile sites: headers that tie the browser's hands, and a check who is asking.

Facts: https://www.w3.org/TR/fetch-metadata/ (Sec-Fetch-Site; sent to https and loopback only),
    https://fetch.spec.whatwg.org/#origin-header (Origin; sent with every POST of a browser), read 2026-11-22.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import HTTPException, Request

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


def refuse_cross_site(request: Request) -> None:
    """A FastAPI dependency: 403 where another site's page makes a browser change something here.

    A program (curl, a script) sends neither header and passes: it holds no cookie or session that could be borrowed.
    """
    if request.method in _SAFE_METHODS:
        return
    reason = _cross_site(
        request.headers.get("sec-fetch-site"), request.headers.get("origin"), request.headers.get("host", "")
    )
    if reason:
        raise HTTPException(403, detail=f"refused: {reason}; open the console itself and try again there")


def _cross_site(site: str | None, origin: str | None, host: str) -> str:
    """Why this is another site's request; empty if it is not."""
    if site is not None:
        return "" if site in {"same-origin", "none"} else f"the request comes from another site ({site})"
    if origin is None or _same_host(origin, host):
        return ""
    return f"the page at {origin[:100]!r} is not this Foreshock at {host[:100]!r}"


def _same_host(origin: str, host: str) -> bool:
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(theirs.scheme)
        return (
            default is not None
            and bool(theirs.hostname)
            and theirs.hostname == ours.hostname
            and (theirs.port or default) == (ours.port or default)
        )
    except ValueError:
        return False
