"""Deployments, releases, workflow runs and pushes on GitHub, through a webhook: changes, as possible causes.

Facts:    https://docs.github.com/en/webhooks/webhook-events-and-payloads (deployment_status, workflow_run, release,
          push), read 2026-11-22.
Delivery: once, to be answered within 10 seconds; GitHub does not try again by itself, a person may send it again.
Recovery: none: a change happened. A deployment is two: what begins after its beginning or after its end may be due to
          it.
Limits:   the repository's name is the CI that was changed, or what the payload of the deployment names as ``service``
          or ``cis``; let the CI say in the topology that it is known by the repository's name. A workflow run counts
          where it is of the default branch and its name speaks of deploying, releasing or rolling out; a push where it
          is to the default branch. With ``environments`` only deployments to these count.
Needs:    in the repository or organisation, Settings > Webhooks, this address with content type application/json, a
          secret (the same as in ``secret_files``), and the events deployment statuses, releases and, as you like,
          workflow runs and pushes.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from pydantic import Field

from foreshock.connect.proofs import GITHUB
from foreshock.core.contracts import Collector, Ignored, Receive, ReceiveConfig, split_head
from foreshock.core.errors import Malformed
from foreshock.core.model import Change
from foreshock.core.payload import Object, change, each, moment, needed, objects, part, text, texts

_DEPLOYING = re.compile(r"(?i)deploy|releas|roll.?out|publish|promot|\bcd\b")
_DEPLOYED = {"in_progress": "is being deployed", "success": "deployed", "failure": "failed to deploy"}
_DEPLOYED["error"] = _DEPLOYED["failure"]


class DeploymentsConfig(ReceiveConfig):
    environments: tuple[str, ...] = Field(
        default=(),
        max_length=50,
        description="only deployments to these count as changes; empty: all of them, and pushes and releases as well",
        examples=[["production"]],
    )


class Posted(Struct):
    """A payload, and the environments that count."""

    payload: Object
    environments: list[str]


def head(config: DeploymentsConfig, headers: Mapping[str, str]) -> dict[str, Any]:
    return {"environments": list(config.environments)}


_decode_payloads = objects("webhooks of GitHub")


def decode(payload: bytes) -> list[Posted | Malformed]:
    """What happened is told by what the payload holds; the header X-GitHub-Event says no more."""
    settings, body = split_head(payload)
    environments = texts(settings, "environments")
    return each(_decode_payloads(body), lambda found: [Posted(found, environments)])


def translate(item: Posted, received_at: datetime) -> Change | Ignored:
    """Raises Malformed where no repository is named."""
    found, repository = item.payload, needed(item.payload, "repository", "name")
    if isinstance(part(found, "deployment_status"), dict):
        return _deployment(item, repository, received_at)
    if item.environments:
        return Ignored("no deployment to an environment that counts")
    if isinstance(part(found, "workflow_run"), dict):
        return _run(found, repository, received_at)
    if isinstance(part(found, "release"), dict):
        return _release(found, repository, received_at)
    if text(found, "ref") and "commits" in found:
        return _push(found, repository, received_at)
    return Ignored("nothing was changed")


def _deployment(item: Posted, repository: str, received_at: datetime) -> Change | Ignored:
    found = item.payload
    deployment, status = part(found, "deployment"), part(found, "deployment_status")
    environment = text(status, "environment") or text(deployment, "environment")
    state = text(status, "state")
    if item.environments and environment not in item.environments:
        return Ignored("no deployment to an environment that counts")
    if state not in _DEPLOYED:
        return Ignored("a deployment that has not begun, or is of no effect any more")
    own = part(deployment, "payload")
    return change(
        f"github:{repository}:{needed(deployment, 'id')}:{state}",
        received_at,
        at=moment(status, "created_at"),
        title=f"{repository} {text(deployment, 'ref')} {_DEPLOYED[state]} to {environment}",
        cis=texts(own, "cis") or texts(own, "service") or [repository],
        actor=text(deployment, "creator", "login"),
        url=text(status, "log_url") or text(status, "target_url") or text(found, "repository", "html_url"),
    )


def _run(found: Object, repository: str, received_at: datetime) -> Change | Ignored:
    run = part(found, "workflow_run")
    if text(found, "action") != "completed" or text(run, "conclusion") not in ("success", "failure"):
        return Ignored("a workflow run that has not ended")
    if text(run, "head_branch") != text(found, "repository", "default_branch") or not _DEPLOYING.search(
        text(run, "name")
    ):
        return Ignored("a workflow run that deploys nothing")
    return change(
        f"github:{repository}:run:{needed(run, 'id')}",
        received_at,
        at=moment(run, "updated_at"),
        title=f"{repository}: {text(run, 'name')} ended with {text(run, 'conclusion')}",
        cis=[repository],
        actor=text(run, "actor", "login"),
        url=text(run, "html_url"),
    )


def _release(found: Object, repository: str, received_at: datetime) -> Change | Ignored:
    if text(found, "action") not in ("published", "released"):
        return Ignored("a release that is not published")
    release = part(found, "release")
    return change(
        f"github:{repository}:release:{needed(release, 'id')}",
        received_at,
        at=moment(release, "published_at"),
        title=f"{repository} {text(release, 'tag_name')} released",
        cis=[repository],
        actor=text(release, "author", "login"),
        url=text(release, "html_url"),
    )


def _push(found: Object, repository: str, received_at: datetime) -> Change | Ignored:
    if text(found, "ref") != f"refs/heads/{text(found, 'repository', 'default_branch')}":
        return Ignored("a push to another branch")
    newest = part(found, "head_commit")
    return change(
        f"github:{repository}:push:{needed(found, 'after')}",
        received_at,
        at=moment(newest, "timestamp"),
        title=f"{repository}: {text(newest, 'message').partition(chr(10))[0]}",
        cis=[repository],
        actor=text(found, "pusher", "name"),
        url=text(found, "compare"),
    )


_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="github",
    title="Deployments, releases and pushes on GitHub",
    facts="GitHub webhook events",
    decode=decode,
    translate=translate,
    sample="github-deployment.json",
    receive=Receive(
        path="/api/v1/collect/github",
        signed=GITHUB,
        config=DeploymentsConfig,
        head=head,
        schema={
            "type": "object",
            "required": ["repository"],
            "properties": {
                "repository": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}},
                "deployment_status": {"type": "object", "description": "beside `deployment`: state, environment"},
                "workflow_run": {"type": "object"},
                "release": {"type": "object"},
                "ref": {**_TEXT, "description": "of a push"},
            },
        },
    ),
)
