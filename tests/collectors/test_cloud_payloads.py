"""What the payloads of clouds and services on the Internet become: which alert, how bad, over or not."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import collectors
from collectors import azure, cloudevents
from foreshock.core.contracts import Collector, Ignored, ReceiveConfig, with_head
from foreshock.core.errors import Malformed
from foreshock.core.model import Change, Event, read_annotations, read_labels
from foreshock.core.registry import kinds
from foreshock.testing.payloads import changed, replaced, sample

KINDS = kinds(collectors, "COLLECTOR", Collector)
NOW = datetime(2025, 11, 22, 3, 30, tzinfo=UTC)
DOCS = Path(__file__).parents[2] / "docs" / "connect"


def read(name: str, tree: Any = None, now: datetime = NOW) -> list[Event | Change | Ignored]:
    """What becomes of a sample, or of another body in its place."""
    collector, given = KINDS[name.partition("-")[0].removesuffix(".json")], sample(name)
    payload = given.payload if tree is None else given.of(tree)
    found = []
    for item in collector.decode(payload):
        if isinstance(item, Malformed):
            raise item
        found.append(collector.translate(item, now))
    return found


def labels(name: str, tree: Any = None) -> list[dict[str, str]]:
    return [read_labels(one.labels) for one in read(name, tree) if isinstance(one, Event)]


def body(name: str) -> Any:
    return sample(name).tree


def at(name: str, *place: str | int, value: Any) -> Any:
    """The body of a sample with another value at a place."""
    return replaced(body(name), place, value)


# ---- templates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["datadog", "newrelic", "dynatrace", "elastic"])
def test_the_payload_on_the_page_is_the_one_that_is_read(kind: str):
    page = (DOCS / f"{kind}.md").read_text(encoding="utf-8")
    template = re.search(r"^```\w+\n(\{\n.*?^\})$", page, re.DOTALL | re.MULTILINE)
    assert template
    bare = re.sub(r"(?<=: )\{\{.*?\}\}|(?<=: )\{\w+\}", "null", template[1])  # variables that bring their own quotes

    assert shape(json.loads(bare)) == shape(body(f"{kind}-firing.json"))


def shape(tree: Any) -> Any:
    """Keys of objects in objects."""
    return {key: shape(value) for key, value in tree.items()} if isinstance(tree, dict) else None


@pytest.mark.parametrize("written", ["", "$ALERT_ID", "null", "*"])
def test_a_variable_without_a_value_is_no_value(written: str):
    (found,) = labels("datadog-firing.json", at("datadog-firing.json", "alert_id", value=written))

    assert "monitor_id" not in found


# ---- Datadog --------------------------------------------------------------------------------------------------------


def test_a_group_of_a_monitor_is_an_alert_whatever_value_its_title_holds():
    assert labels("datadog-firing.json") == [
        {"alertname": "Load is # on web-1", "monitor_id": "4711", "host": "web-1", "env": "prod", "service": "shop"}
    ]
    assert labels("datadog-firing.json") == labels("datadog-warning.json") == labels("datadog-resolved.json")


def test_tags_of_kubernetes_get_the_names_that_bind():
    scope = "kube_deployment:cart,kube_namespace:shop,pod_name:cart-1,kube_cluster_name:eu"

    (found,) = labels("datadog-firing.json", at("datadog-firing.json", "alert_scope", value=scope))

    assert (found["deployment"], found["namespace"]) == ("cart", "shop")
    assert (found["pod"], found["cluster"]) == ("cart-1", "eu")


@pytest.mark.parametrize(
    ("transition", "severity", "over"),
    [
        ("Triggered", "p2", False),
        ("Re-Triggered", "p2", False),
        ("Renotify", "p2", False),
        ("Warn", "warning", False),
        ("Re-Warn", "warning", False),
        ("No Data", "warning", False),
        ("Recovered", "p2", True),
    ],
)
def test_the_transition_says_how_bad_it_is_and_whether_it_is_over(transition: str, severity: str, over: bool):
    (event,) = read("datadog-firing.json", at("datadog-firing.json", "alert_transition", value=transition))

    assert isinstance(event, Event)
    assert (event.severity, event.ends_at is not None) == (severity, over)


@pytest.mark.parametrize(("word", "over"), [("Triggered", False), ("Recovered", True)])
def test_the_payload_that_nobody_wrote_is_read_by_its_title(word: str, over: bool):
    title = f"[{word} on {{env:prod,host:web-1}}] Load is high"

    (event,) = read("datadog-default.json", at("datadog-default.json", "title", value=title))

    assert isinstance(event, Event)
    assert read_labels(event.labels) == {"alertname": "Load is high", "env": "prod", "host": "web-1"}
    assert (event.ends_at is not None) is over


# ---- New Relic, Dynatrace, Splunk, Elastic --------------------------------------------------------------------------


def test_an_issue_is_an_alert_for_each_entity_and_condition():
    found = labels("newrelic-firing.json", at("newrelic-firing.json", "alertConditionNames", value=["CPU", "Memory"]))

    assert [(one["ci"], one["alertname"]) for one in found] == [
        ("web-1", "CPU"),
        ("web-1", "Memory"),
        ("web-2", "CPU"),
        ("web-2", "Memory"),
    ]


@pytest.mark.parametrize("state", ["CREATED", "ACTIVATED", "DEACTIVATED"])
def test_only_a_closed_issue_is_over(state: str):
    found = read("newrelic-firing.json", at("newrelic-firing.json", "state", value=state))

    assert [isinstance(one, Event) and one.ends_at for one in found] == [None, None]


def test_an_issue_about_too_much_is_refused_and_not_taken_apart():
    many = [f"web-{number}" for number in range(200)]
    tree = body("newrelic-firing.json") | {"impactedEntities": many, "alertConditionNames": many}

    with pytest.raises(Malformed, match="more than 1000"):
        read("newrelic-firing.json", tree)


def test_each_entity_of_a_problem_is_an_alert_by_the_label_that_fits_it():
    host, service = labels("dynatrace-firing.json")

    assert (host["host"], service["service"]) == ("web-1", "checkout")
    assert labels("dynatrace-resolved.json") == [host, service], "its title is another one by now"


@pytest.mark.parametrize(("state", "over"), [("OPEN", False), ("RESOLVED", True), ("MERGED", True)])
def test_a_problem_that_was_merged_goes_on_as_another(state: str, over: bool):
    found = read("dynatrace-firing.json", at("dynatrace-firing.json", "State", value=state))

    assert [isinstance(one, Event) and one.ends_at is not None for one in found] == [over, over]


def test_what_a_row_names_identifies_and_what_it_counts_does_not():
    (event,) = read("splunk.json")

    assert isinstance(event, Event)
    assert read_labels(event.labels) == {
        "alertname": "Failed logins",
        "splunk_app": "search",
        "host": "web-1",
        "service": "shop",
    }
    assert read_annotations(event.annotations)["count"] == "42"
    assert (event.severity, event.ends_at) == ("high", None)


def test_a_rule_without_groups_is_one_alert():
    (found,) = labels("elastic-firing.json", at("elastic-firing.json", "alert", "id", value="query matched"))

    assert "instance" not in found
    assert "alert_id" not in found


def test_the_first_value_of_a_group_names_the_ci():
    (found,) = labels("elastic-firing.json", at("elastic-firing.json", "alert", "id", value="web-1,eth0"))

    assert (found["instance"], found["alert_id"]) == ("web-1", "web-1,eth0")


@pytest.mark.parametrize(
    ("group", "severity"),
    [("metrics.threshold.warning", "warning"), ("slo.burnRate.alert", "critical"), ("slo.burnRate.high", "major")],
)
def test_the_action_group_is_the_severity_where_none_is_written(group: str, severity: str):
    tree = replaced(at("elastic-firing.json", "severity", value=""), ("alert", "actionGroup"), group)

    (event,) = read("elastic-firing.json", tree)

    assert isinstance(event, Event)
    assert event.severity == severity


# ---- Sentry, PagerDuty ----------------------------------------------------------------------------------------------


def test_an_issue_that_is_archived_ends_what_its_alert_rule_told():
    (fired,) = read("sentry-issue_alert.json")
    (archived,) = read("sentry-issue_archived.json")

    assert isinstance(fired, Event)
    assert isinstance(archived, Event)
    assert read_labels(fired.labels) == {"alertname": "Sentry issue", "issue_id": "1170820242", "service": "shop"}
    assert fired.labels == archived.labels
    assert (fired.ends_at, archived.ends_at) == (None, NOW)


@pytest.mark.parametrize("action", ["created", "unresolved", "assigned"])
def test_which_issues_are_alerts_is_for_the_rules_of_sentry(action: str):
    (found,) = read("sentry-issue_archived.json", at("sentry-issue_archived.json", "action", value=action))

    assert isinstance(found, Ignored)


def test_a_webhook_of_sentry_about_something_else_is_passed_over():
    (found,) = read("sentry-firing.json", {"action": "created", "data": {"installation": {}}})

    assert isinstance(found, Ignored)


@pytest.mark.parametrize("name", ["pagerduty-firing.json", "pagerduty-acknowledged.json", "pagerduty-resolved.json"])
def test_an_incident_is_the_same_alert_in_all_its_states(name: str):
    assert labels(name) == [{"alertname": "PagerDuty incident", "incident_id": "PGR0VU2", "service": "checkout"}]


@pytest.mark.parametrize(
    "tree",
    [
        {"event": {"event_type": "pagey.ping", "resource_type": "pagey", "data": {"message": "Hello", "type": "ping"}}},
        {"event": {"event_type": "service.updated", "data": {"id": "PF9KMXH", "type": "service"}}},
        {"event": {"event_type": "incident.responder.added", "data": {"type": "incident_responder"}}},
    ],
    ids=["ping", "service", "responder"],
)
def test_what_says_nothing_of_an_incidents_state_is_passed_over(tree: Any):
    (found,) = read("pagerduty-firing.json", tree)

    assert isinstance(found, Ignored)


def test_an_incident_that_was_reopened_began_anew():
    tree = replaced(body("pagerduty-firing.json"), ("event", "event_type"), "incident.reopened")

    (event,) = read("pagerduty-firing.json", tree)

    assert isinstance(event, Event)
    assert event.starts_at == datetime(2025, 11, 22, 3, 17, 56, 165000, tzinfo=UTC)


# ---- Amazon ---------------------------------------------------------------------------------------------------------


def said(**fields: Any) -> Any:
    """An alarm with other fields, in its message."""
    tree = body("sns-firing.json")
    return tree | {"Message": json.dumps(json.loads(tree["Message"]) | fields)}


def test_dimensions_of_an_alarm_are_labels_that_bind():
    assert labels("sns-firing.json") == [
        {"alertname": "web-1 CPU", "account": "123456789012", "region": "eu-west-1", "instance": "i-0123456789abcdef0"}
    ]


def test_an_alarm_without_enough_data_neither_fires_nor_is_over():
    (found,) = read("sns-firing.json", said(NewStateValue="INSUFFICIENT_DATA"))

    assert isinstance(found, Ignored)


def test_each_entity_of_a_health_event_is_an_alert_until_the_event_is_closed():
    tree = body("sns-health.json")
    closed = json.loads(tree["Message"])
    closed["detail"] |= {"statusCode": "closed", "endTime": "Sat, 22 Nov 2025 03:25:00 GMT"}

    first = read("sns-health.json")
    last = read("sns-health.json", tree | {"Message": json.dumps(closed)})

    assert [one["instance"] for one in labels("sns-health.json")] == ["i-0123456789abcdef0", "i-0123456789abcdef1"]
    for begun, over in zip(first, last, strict=True):
        assert isinstance(begun, Event)
        assert isinstance(over, Event)
        assert begun.labels == over.labels
        assert (begun.starts_at, begun.ends_at) == (datetime(2025, 11, 22, 3, 10, tzinfo=UTC), None)
        assert over.ends_at == datetime(2025, 11, 22, 3, 25, tzinfo=UTC)


@pytest.mark.parametrize(("number", "severity"), [(9.1, "critical"), (8, "major"), (5.5, "minor"), (2, "warning")])
def test_a_finding_holds_for_a_day_and_is_as_bad_as_its_number(number: float, severity: str):
    finding = json.loads(body("sns-guardduty.json")["Message"])
    finding["detail"]["severity"] = number

    (event,) = read("sns-guardduty.json", body("sns-guardduty.json") | {"Message": json.dumps(finding)})

    assert isinstance(event, Event)
    assert (event.severity, event.ends_at) == (severity, NOW + timedelta(days=1))


def test_a_plain_message_is_known_by_its_subject_without_the_numbers_in_it():
    (event,) = read("sns-plain.json")

    assert isinstance(event, Event)
    assert read_labels(event.labels)["alertname"] == "Backup of # databases failed"
    assert event.ends_at == NOW + timedelta(hours=1)


def test_what_concerns_the_subscription_is_no_alert():
    assert isinstance(read("sns-confirmation.json")[0], Ignored)


# ---- CloudEvents ----------------------------------------------------------------------------------------------------


def test_a_cloudevent_that_says_nothing_of_a_status_holds_for_an_hour():
    (event,) = read("cloudevents-firing.json", at("cloudevents-firing.json", "data", value={"message": "hello"}))

    assert isinstance(event, Event)
    assert event.ends_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("prefix", "said"),
    [("ce-", "50%25 f%C3%BCll"), ("ce_", "50% füll"), ("cloudevents:", "50% füll"), ("cloudevents_", "50% füll")],
)
def test_attributes_of_a_cloudevent_are_found_in_the_headers_of_each_binding(prefix: str, said: str):
    headers = {f"{prefix}specversion": "1.0", f"{prefix}type": said, "authorization": "Bearer secret"}

    assert cloudevents.head(ReceiveConfig(), headers) == {"ce-specversion": "1.0", "ce-type": "50% füll"}
    assert cloudevents.head(ReceiveConfig(), {**headers, "content-type": "Application/CloudEvents+json"}) == {}


def test_of_headers_without_a_prefix_only_what_a_cloudevent_has_is_kept():
    headers = {"specversion": "1.0", "type": "disk.full", "source": "/eu", "authorization": "Bearer secret"}

    kept = cloudevents.head(ReceiveConfig(), headers)

    assert kept == {"ce-specversion": "1.0", "ce-type": "disk.full", "ce-source": "/eu"}
    assert cloudevents.head(ReceiveConfig(), {"type": "disk.full"}) == {}


def test_a_deployment_of_cdevents_is_a_change_and_its_incident_an_alert():
    (deployed,) = read("cloudevents-cdevents.json")
    detected, resolved = (
        read("cloudevents-cdevents.json", incident(predicate))[0] for predicate in ("detected", "resolved")
    )

    assert isinstance(deployed, Change)
    assert (deployed.title, deployed.cis) == ("service checkout deployed in production", ("checkout",))
    assert isinstance(detected, Event)
    assert isinstance(resolved, Event)
    assert detected.labels == resolved.labels
    assert (detected.ends_at is None, resolved.ends_at is None) == (True, False)


def incident(predicate: str) -> Any:
    content = {"description": "slow", "environment": {"id": "production"}, "service": {"id": "checkout"}}
    return body("cloudevents-cdevents.json") | {
        "type": f"dev.cdevents.incident.{predicate}.0.1.0",
        "data": {"subject": {"id": "incident-123", "content": content}},
    }


# ---- Azure, Google, ServiceNow --------------------------------------------------------------------------------------


def test_each_target_of_a_rule_is_an_alert_with_its_dimensions():
    found = labels("azure-firing.json")

    assert [(one["ci"], one["Core"]) for one in found] == [("web-1", "0"), ("web-2", "0")]
    assert {one["alertname"] for one in found} == {"CPU of machines"}


def test_an_alert_of_the_activity_log_holds_for_an_hour():
    (event,) = read("azure-activity.json")

    assert isinstance(event, Event)
    assert event.ends_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("hold", "holds"), [({}, timedelta(days=7)), ({"log_alerts_hold": "90m"}, timedelta(minutes=90))]
)
def test_a_log_search_alert_that_azure_never_resolves_is_over_after_a_while(hold: dict[str, str], holds: timedelta):
    tree = at("azure-firing.json", "data", "essentials", "signalType", value="Log")
    payload = with_head(azure.head(azure.AzureConfig.model_validate(hold), {}), json.dumps(tree).encode())

    for item in azure.decode(payload):
        assert isinstance(item, azure.Targeted)
        assert azure.translate(item, NOW).ends_at == NOW + holds


def test_a_record_of_azure_from_before_there_was_a_setting_is_read_as_well():
    given = sample("azure-firing.json")

    assert len(azure.decode(json.dumps(given.tree).encode())) == len(azure.decode(given.payload)) == 2
    with pytest.raises(Malformed, match="first line"):
        azure.decode(b'{"log_alerts_hold_s":"x"}\n{}')


@pytest.mark.parametrize(("status", "over"), [("Active", False), ("Resolved", True)])
def test_service_health_says_in_its_context_whether_it_is_over(status: str, over: bool):
    tree = at("azure-activity.json", "data", "essentials", "monitoringService", value="ServiceHealth")
    tree = replaced(tree, ("data", "alertContext"), {"status": status, "properties": {"trackingId": "VN11-JD8"}})

    (event,) = read("azure-activity.json", tree)

    assert isinstance(event, Event)
    assert read_labels(event.labels)["tracking_id"] == "VN11-JD8"
    assert event.ends_at == (NOW if over else None)


def test_another_schema_of_azure_is_refused_with_the_remedy():
    with pytest.raises(Malformed, match="enable the common alert schema"):
        read("azure-firing.json", {"status": "Activated", "context": {"name": "CPU"}})


def test_pubsub_brings_the_same_incident_as_the_webhook():
    assert labels("google_cloud-pubsub.json") == labels("google_cloud-firing.json")
    assert labels("google_cloud-firing.json")[0]["instance"] == "8979287136362607111"


def test_only_incidents_of_logs_are_known_by_their_id():
    tree = at("google_cloud-firing.json", "incident", "condition", value={"conditionMatchedLog": {"filter": "x"}})

    assert "incident_id" not in labels("google_cloud-firing.json")[0]
    assert labels("google_cloud-firing.json", tree)[0]["incident_id"] == "0.opqiw61fsv7p"


@pytest.mark.parametrize(
    ("fields", "over"),
    [({"severity": "0"}, True), ({"severity": 0}, True), ({"resolution_state": "Closing"}, True), ({}, False)],
)
def test_an_event_of_em_event_is_over_when_it_is_clear_or_closing(fields: dict[str, Any], over: bool):
    tree = changed(body("servicenow-firing.json"), ("records", 0), lambda one: one | fields)

    event, _ = read("servicenow-firing.json", tree)

    assert isinstance(event, Event)
    assert (event.ends_at is not None) is over


def test_times_of_em_event_are_utc_though_they_do_not_say_so():
    event, _ = read("servicenow-firing.json")

    assert isinstance(event, Event)
    assert event.starts_at == datetime(2025, 11, 22, 3, 17, 56, tzinfo=UTC)


def test_additional_info_may_be_json_in_a_text():
    event, _ = read("servicenow-firing.json")

    assert isinstance(event, Event)
    assert read_annotations(event.annotations)["neighbour"] == "sw-fra-2"


@pytest.mark.parametrize("severity", ["", "9", "critical", None])
def test_an_event_without_a_severity_of_servicenow_is_refused(severity: Any):
    tree = changed(body("servicenow-firing.json"), ("records", 0), lambda one: one | {"severity": severity})

    with pytest.raises(Malformed, match="severity"):
        read("servicenow-firing.json", tree)


# ---- changes --------------------------------------------------------------------------------------------------------

REPOSITORY = {"id": 1, "name": "shop", "default_branch": "main", "html_url": "https://github.com/example/shop"}
RUN = {"id": 30433642, "name": "Deploy", "head_branch": "main", "conclusion": "success", "actor": {"login": "a-person"}}
PUSH = {"ref": "refs/heads/main", "after": "f95f852", "commits": [], "head_commit": {"message": "Faster\n\nmore"}}
RELEASE = {"id": 1, "tag_name": "v4.2", "published_at": "2025-11-22T03:17:56Z", "author": {"login": "a-person"}}


@pytest.mark.parametrize(
    ("payload", "title"),
    [
        ({"action": "completed", "workflow_run": RUN}, "shop: Deploy ended with success"),
        ({"action": "completed", "workflow_run": RUN | {"head_branch": "test"}}, None),
        ({"action": "completed", "workflow_run": RUN | {"name": "Unit tests"}}, None),
        ({"action": "requested", "workflow_run": RUN}, None),
        ({"action": "published", "release": RELEASE}, "shop v4.2 released"),
        ({"action": "created", "release": RELEASE}, None),
        (PUSH, "shop: Faster"),
        (PUSH | {"ref": "refs/heads/test"}, None),
        ({"zen": "Keep it logically awesome."}, None),
    ],
)
def test_what_changes_something_on_github_is_a_change_of_the_repositorys_ci(payload: Any, title: str | None):
    (found,) = read("github-deployment.json", payload | {"repository": REPOSITORY})

    if title is None:
        assert isinstance(found, Ignored)
    else:
        assert isinstance(found, Change)
        assert (found.title, found.cis) == (title, ("shop",))


def test_a_deployment_is_a_change_when_it_begins_and_when_it_is_done():
    tree = body("github-deployment.json")
    (begun,) = read("github-deployment.json", replaced(tree, ("deployment_status", "state"), "in_progress"))
    (done,) = read("github-deployment.json")

    assert isinstance(begun, Change)
    assert isinstance(done, Change)
    assert (begun.title, done.title) == (
        "shop v4.2 is being deployed to production",
        "shop v4.2 deployed to production",
    )
    assert begun.id != done.id, "the end does not take the place of the beginning"


def test_a_deployment_may_name_what_it_changes():
    tree = at("github-deployment.json", "deployment", "payload", value={"cis": ["cart", "checkout"]})

    (found,) = read("github-deployment.json", tree)

    assert isinstance(found, Change)
    assert found.cis == ("cart", "checkout")


@pytest.mark.parametrize(("kind", "name"), [("github", "github-deployment.json"), ("gitlab", "gitlab-deployment.json")])
def test_only_the_environments_that_are_named_count(kind: str, name: str):
    collector = KINDS[kind]
    counted = collector.decode(sample(name)._replace(head={"environments": ["production"]}).payload)
    passed_over = collector.decode(sample(name)._replace(head={"environments": ["staging"]}).payload)

    assert isinstance(collector.translate(counted[0], NOW), Change)
    assert isinstance(collector.translate(passed_over[0], NOW), Ignored)


PROJECT = {"id": 30, "name": "shop", "path_with_namespace": "web/shop", "default_branch": "main"}
PIPELINE = {"id": 31, "ref": "main", "status": "success", "finished_at": "2025-11-22 03:17:56 UTC"}
MERGE = {"iid": 7, "action": "merge", "target_branch": "main", "title": "Faster checkout"}


@pytest.mark.parametrize(
    ("payload", "title"),
    [
        ({"object_kind": "pipeline", "object_attributes": PIPELINE}, "shop: pipeline of main ended with success"),
        ({"object_kind": "pipeline", "object_attributes": PIPELINE | {"status": "running"}}, None),
        ({"object_kind": "pipeline", "object_attributes": PIPELINE | {"ref": "test"}}, None),
        ({"object_kind": "merge_request", "object_attributes": MERGE}, "shop: Faster checkout"),
        ({"object_kind": "merge_request", "object_attributes": MERGE | {"action": "open"}}, None),
        ({"object_kind": "release", "action": "create", "tag": "v4.2"}, "shop v4.2 released"),
        ({"object_kind": "push", "ref": "refs/heads/main", "after": "f95f", "commits": [{"title": "A"}]}, "shop: A"),
        ({"object_kind": "push", "ref": "refs/heads/main", "after": "f95f", "commits": []}, "shop: "),
        ({"object_kind": "push", "ref": "refs/heads/test", "after": "f95f", "commits": []}, None),
        ({"object_kind": "note"}, None),
    ],
)
def test_what_changes_something_on_gitlab_is_a_change_of_the_projects_ci(payload: Any, title: str | None):
    (found,) = read("gitlab-deployment.json", payload | {"project": PROJECT})

    if title is None:
        assert isinstance(found, Ignored)
    else:
        assert isinstance(found, Change)
        assert (found.title, found.cis) == (title, ("shop",))


def test_a_deployment_of_gitlab_is_a_change_when_it_begins_and_when_it_is_done():
    (begun,) = read("gitlab-deployment.json", at("gitlab-deployment.json", "status", value="running"))
    (done,) = read("gitlab-deployment.json")

    assert isinstance(begun, Change)
    assert isinstance(done, Change)
    assert begun.id != done.id, "the end does not take the place of the beginning"


def test_times_of_gitlab_are_read_with_their_zone():
    (found,) = read(
        "gitlab-deployment.json", at("gitlab-deployment.json", "status_changed_at", value="2025-11-22 05:17:56 +0200")
    )

    assert isinstance(found, Change)
    assert found.at == datetime(2025, 11, 22, 3, 17, 56, tzinfo=UTC)
