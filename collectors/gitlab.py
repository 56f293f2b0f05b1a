"""Deployments, pipelines, releases, merges and pushes on GitLab, through a webhook: changes, as possible causes.

Facts:    https://docs.gitlab.com/user/project/integrations/webhook_events/ (deployment, pipeline, release, merge
          request, push), read 2026-11-22.
Delivery: once, to be answered within 10 seconds; a webhook that keeps failing is switched off for a while.
Recovery: none: a change happened. A deployment is two: what begins after its beginning or after its end may be due to
          it.
Limits:   the project's name is the CI that was changed; let the CI say in the topology that it is known by it. A
          pipeline counts where it is of the default branch, a merge or a push where it goes there. With
          ``environments`` only deployments to these count.
Needs:    in the project or group, Settings > Webhooks, this address, a secret token (the same as in ``token_files``),
          and the triggers deployment events, releases events and, as you like, pipeline, merge request and push
          events.
"""

from collections.abc import Callable
from datetime import datetime

from collectors.github import DeploymentsConfig, Posted, head
from foreshock.core.contracts import Collector, Ignored, Receive, split_head
from foreshock.core.errors import Malformed
from foreshock.core.model import Change
from foreshock.core.payload import Object, change, each, moment, needed, objects, part, text, texts

_DEPLOYED = {"running": "is being deployed", "success": "deployed", "failed": "failed to deploy"}

_decode_payloads = objects("webhooks of GitLab")


def decode(payload: bytes) -> list[Posted | Malformed]:
    """What happened is told by ``object_kind``."""
    settings, body = split_head(payload)
    environments = texts(settings, "environments")
    return each(_decode_payloads(body), lambda found: [Posted(found, environments)])


def translate(item: Posted, received_at: datetime) -> Change | Ignored:
    """Raises Malformed where no kind or project is named."""
    found, kind = item.payload, needed(item.payload, "object_kind")
    project = needed(found, "project", "name")
    if kind == "deployment":
        return _deployment(item, project, received_at)
    if item.environments:
        return Ignored("no deployment to an environment that counts")
    read = _OTHERS.get(kind)
    return Ignored("nothing was changed") if read is None else read(found, project, received_at)


def _deployment(item: Posted, project: str, received_at: datetime) -> Change | Ignored:
    found = item.payload
    environment, status = text(found, "environment"), text(found, "status")
    if item.environments and environment not in item.environments:
        return Ignored("no deployment to an environment that counts")
    if status not in _DEPLOYED:
        return Ignored("a deployment that has not begun, or was cancelled")
    return change(
        f"gitlab:{_path(found)}:{needed(found, 'deployment_id')}:{status}",
        received_at,
        at=moment(found, "status_changed_at"),
        title=f"{project} {text(found, 'short_sha')} {_DEPLOYED[status]} to {environment}",
        cis=[project],
        actor=text(found, "user", "username"),
        url=text(found, "deployable_url") or text(found, "project", "web_url"),
    )


def _pipeline(found: Object, project: str, received_at: datetime) -> Change | Ignored:
    run = part(found, "object_attributes")
    if text(run, "status") not in ("success", "failed") or text(run, "ref") != _branch(found):
        return Ignored("a pipeline of another branch, or one that has not ended")
    return change(
        f"gitlab:{_path(found)}:pipeline:{needed(run, 'id')}",
        received_at,
        at=moment(run, "finished_at"),
        title=f"{project}: pipeline of {text(run, 'ref')} ended with {text(run, 'status')}",
        cis=[project],
        actor=text(found, "user", "username"),
        url=text(run, "url") or text(found, "project", "web_url"),
    )


def _merge(found: Object, project: str, received_at: datetime) -> Change | Ignored:
    request = part(found, "object_attributes")
    if text(request, "action") != "merge" or text(request, "target_branch") != _branch(found):
        return Ignored("a merge request that was not merged to the default branch")
    return change(
        f"gitlab:{_path(found)}:merge:{needed(request, 'iid')}",
        received_at,
        at=moment(request, "updated_at"),
        title=f"{project}: {text(request, 'title')}",
        cis=[project],
        actor=text(found, "user", "username"),
        url=text(request, "url"),
    )


def _release(found: Object, project: str, received_at: datetime) -> Change | Ignored:
    if text(found, "action") != "create":
        return Ignored("a release that is not new")
    return change(
        f"gitlab:{_path(found)}:release:{needed(found, 'tag')}",
        received_at,
        at=moment(found, "released_at"),
        title=f"{project} {text(found, 'tag')} released",
        cis=[project],
        url=text(found, "url"),
    )


def _push(found: Object, project: str, received_at: datetime) -> Change | Ignored:
    if text(found, "ref") != f"refs/heads/{_branch(found)}":
        return Ignored("a push to another branch")
    newest = part(found, "commits", -1)
    return change(
        f"gitlab:{_path(found)}:push:{needed(found, 'after')}",
        received_at,
        at=moment(newest, "timestamp"),
        title=f"{project}: {text(newest, 'title') or text(newest, 'message').partition(chr(10))[0]}",
        cis=[project],
        actor=text(found, "user_username"),
        url=text(newest, "url"),
    )


def _path(found: Object) -> str:
    return text(found, "project", "path_with_namespace") or text(found, "project", "id")


def _branch(found: Object) -> str:
    return text(found, "project", "default_branch")


_OTHERS: dict[str, Callable[[Object, str, datetime], Change | Ignored]] = {
    "pipeline": _pipeline,
    "merge_request": _merge,
    "release": _release,
    "push": _push,
}

_TEXT = {"type": "string"}
COLLECTOR = Collector(
    kind="gitlab",
    title="Deployments, releases and merges on GitLab",
    facts="GitLab webhook events",
    decode=decode,
    translate=translate,
    sample="gitlab-deployment.json",
    receive=Receive(
        path="/api/v1/collect/gitlab",
        token_header="x-gitlab-token",  # noqa: S106 (the name of it)
        config=DeploymentsConfig,
        head=head,
        schema={
            "type": "object",
            "required": ["object_kind", "project"],
            "properties": {
                "object_kind": {**_TEXT, "description": "deployment, pipeline, merge_request, release or push"},
                "project": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}},
                "environment": {**_TEXT, "description": "of a deployment"},
                "status": {**_TEXT, "description": "of a deployment: running, success, failed, canceled"},
            },
        },
    ),
)
