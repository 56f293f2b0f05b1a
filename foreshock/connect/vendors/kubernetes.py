"""Kubernetes' API as far as it is read: lists by pages, as the account of a pod or from outside of the cluster.

Facts: kubernetes.io "API concepts" (limit and continue, 410 Expired, resourceVersion, PartialObjectMetadataList, API
    priority and fairness) and "Accessing the API from a Pod", read 2026-11-22; answers of kube-apiserver 1.20 and the
    official client 37.0.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct
from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, Proxy, read_private, read_secret, web_address
from foreshock.core.cmdb import CmdbConfig, Expired
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import ConfigError, Denied, ForeshockError, Invalid, Missing, Problem, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Auth, Http, Refusal  # importing it takes a tenth of a second of each start

POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the cluster puts token and ca.crt of a pod's service account."""
POD_URL = "https://kubernetes.default.svc"
PAGE_ROWS = 500
_MAX_BODY_BYTES = 64 * 2**20  # objects may have 1.5 MB each, what etcd takes; 500 of them have 2 to 10 MB in practice
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_GONE = 410
_NO_SUCH_KIND = b"404 page not found"
"""What the API server itself answers; a proxy's page must not look as if all of a kind were gone."""
_ROLE_HINT = "bind the account to the ClusterRole of the documentation page, or take this kind out of `resources`"


class KubernetesAccess(ConnectorConfig):
    """How to reach a cluster, and as whom."""

    url: str = Field(default=POD_URL, description="address of the API server; the default is right within the cluster")
    token_file: Path | None = Field(
        default=None,
        description="file with the token of a service account, mode 0600; within the cluster the pod's own is used",
    )
    client_cert_file: Path | None = Field(
        default=None, description="client certificate, PEM, in place of a token; with `client_key_file`"
    )
    client_key_file: Path | None = Field(default=None, description="its key, PEM, mode 0600, without a password")
    ca_file: CaFile = None
    proxy: Proxy = ""

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.client_cert_file is None) != (self.client_key_file is None):
            raise Invalid("a client certificate needs its key", hint="write client_cert_file and client_key_file")
        if self.client_cert_file is not None and self.token_file is not None:
            raise Invalid("client_cert_file stands beside token_file", hint="keep one of them")
        return self

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://kubernetes.example.com:6443", instead="token_file")


class KubernetesAccount(KubernetesAccess, CmdbConfig):
    """The same, of a CMDB source."""


class Listed(Struct, frozen=True, kw_only=True):
    """One page of a list. next: token of the next page; empty: this is the last. version: a watch goes on from it."""

    items: list[Any]
    next: str = ""
    version: str = ""


class Seen(Struct, frozen=True, kw_only=True):
    """What a look at changes brought: each with its word (ADDED, MODIFIED, DELETED), and where the next goes on."""

    changes: list[tuple[str, Any]]
    version: str


class Kubernetes:
    """One cluster. Not for several threads at once."""

    def __init__(self, http: "Http") -> None:
        self._http = http
        self.name = http.instance

    def page(
        self, path: str, token: str = "", *, limit: int = PAGE_ROWS, selector: str = "", metadata: bool = False
    ) -> Listed:
        """One page of a list.

        Args:
            selector: of fields. metadata: of each object only that.
        Raises: Missing where the server knows no such kind, Expired, Denied, Unavailable.
        """
        params: dict[str, str | int] = {"limit": limit}
        params |= {"continue": token} if token else {}
        params |= {"fieldSelector": selector} if selector else {}
        try:
            answer = self._http.get(path, params=params, headers={"Accept": _METADATA} if metadata else None)
        except Rejected as error:
            if token and not isinstance(error, Missing):  # a server of another version may not know its tokens any more
                raise Expired(str(error)) from None
            raise
        body = answer.json()
        is_list = isinstance(body, dict) and str(body.get("kind")).endswith("List")
        items = body.get("items") or [] if is_list else None  # Go writes an empty list as null
        if not isinstance(items, list):
            raise Unavailable(f"{answer.place} answered no list", hint="check that the address is that of the API")
        head = body.get("metadata")
        following = str(head.get("continue") or "") if isinstance(head, Mapping) else ""
        if following and following == token:
            raise Unavailable(f"{answer.place} answered the same page twice")
        version = str(head.get("resourceVersion") or "") if isinstance(head, Mapping) else ""
        return Listed(items=items, next=following, version=version)

    def all(self, path: str, *, metadata: bool = False) -> list[Any]:
        """All pages of a list; none where the server knows no such kind."""
        found: list[Any] = []
        token = ""
        while True:
            try:
                page = self.page(path, token, metadata=metadata)
            except Missing:
                return []
            found += page.items
            token = page.next
            if not token:
                return found

    def watch(self, path: str, version: str, *, selector: str = "", seconds: int = 1) -> Seen:
        """What changed since ``version``, as far as it comes within so many seconds: a watch that ends by itself.

        Raises: Expired where the server does not remember that version any more, Denied, Unavailable.
        """
        params: dict[str, str | int] = {"watch": "true", "resourceVersion": version, "timeoutSeconds": seconds}
        params |= {"allowWatchBookmarks": "true"}
        params |= {"fieldSelector": selector} if selector else {}
        answer = self._http.get(path, params=params)
        changes: list[tuple[str, Any]] = []
        lines, _, _ = answer.body.rpartition(b"\n")  # what is behind the last one was cut off: it comes again
        for line in lines.split(b"\n") if lines else ():
            try:
                change = msgspec.json.decode(line, type=_Change)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Unavailable(f"{answer.place} answered no changes: {error}") from None
            if change.type == "ERROR":
                if change.object.get("code") == _GONE:
                    raise Expired(str(change.object.get("message", ""))[:500])
                raise Unavailable(f"{answer.place} ended its changes: {str(change.object.get('message', ''))[:500]}")
            metadata = change.object.get("metadata")
            version = str(metadata.get("resourceVersion") or version) if isinstance(metadata, dict) else version
            if change.type != "BOOKMARK":
                changes.append((change.type, change.object))
        return Seen(changes=changes, version=version)


class _Change(Struct):
    type: str
    object: dict[str, Any]


def connect(account: KubernetesAccess, name: str, place: str, http: Callable[..., "Http"]) -> Kubernetes:
    """A client for a cluster.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where the token or certificate cannot be read, or there is none.
    """
    from foreshock.connect.http import Bearer

    ca_file = account.ca_file
    auth: Auth | None = None
    pair: tuple[Path, Path] | None = None
    if account.client_cert_file is not None and account.client_key_file is not None:
        read_private(account.client_key_file, f"{place}.client_key_file")
        pair = account.client_cert_file, account.client_key_file
    elif account.token_file is not None:
        auth = Bearer(read_secret(account.token_file, f"{place}.token_file"))
    else:
        auth = Bearer(_pod_token(f"{place}.token_file"))
        ca_file = ca_file or POD_FOLDER / "ca.crt"
    return Kubernetes(
        http(
            f"kubernetes {name!r}",
            account.url,
            auth=auth,
            ca_file=ca_file,
            client_cert=pair,
            proxy=account.proxy,
            max_body_bytes=_MAX_BODY_BYTES,
            read_refusal=read_refusal,
        )
    )


def _pod_token(place: str) -> str:
    """Of the pod that this is. The cluster gives the file its mode, and a new token within the hour."""
    path = POD_FOLDER / "token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        hint = "name a file with the token of a service account, or mount the pod's own (automountServiceAccountToken)"
        raise ConfigError(
            [Problem(file=str(path), line=None, path=place, message=f"cannot be read: {error}", hint=hint)]
        ) from None


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    match refusal.status:
        case 410:
            return Expired(refusal.message)
        case 404 if _NO_SUCH_KIND in refusal.body or isinstance(refusal.json(), dict):
            return Missing(refusal.message)
        case 401:
            return Denied(refusal.message, hint="check the token: it may have expired, or be of another cluster")
        case 403:
            return Denied(refusal.message, hint=_ROLE_HINT)
    return None
