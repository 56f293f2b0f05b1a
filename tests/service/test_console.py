"""What the console serves, without a browser."""

from html.parser import HTMLParser

import pytest
from fastapi import FastAPI, HTTPException
from starlette.testclient import TestClient

from correlation.problem import Past
from foreshock.core.errors import Rejected
from foreshock.core.model import Cause, ForecastState
from foreshock.service.console import console, not_found
from foreshock.service.console.picture import BOX_WIDTH, COLUMN_MAX, cut, draw, fold
from foreshock.service.console.snippets import base_url, snippet
from foreshock.service.console.words import PATTERN_STATES, age, gap, href, linked, matches, visible
from foreshock.service.ledger import Ledger
from foreshock.service.quiet import Quiet
from foreshock.service.views import GraphEdge, GraphNode, GraphView, LabelSetView, TimelineEntry, WhyView
from foreshock.testing.factories import (
    HOSTILE_SCRIPT,
    HOSTILE_URLS,
    NOW,
    ago,
    example_views,
    make_alert_view,
    make_forecast,
    make_forecast_view,
    make_incident_row,
    make_incident_view,
    make_proactive_view,
    make_source_view,
    make_status_view,
)
from foreshock.testing.fakes import MemoryViews
from foreshock.testing.quiet import example_quiet
from foreshock.testing.rules import MemoryRules, MemoryShadows, example_rules

PAGES = [
    "/",
    "/?state=resolved",
    "/?state=all&q=sto-2",
    "/?fragment=1",
    "/incidents/S-41",
    "/incidents/S-41?lane=person",
    "/incidents/S-42",
    "/incidents/S-45",
    "/incidents/S-66?why_not=c0ffee01",
    "/incidents/S-66",
    "/incidents/INC0000041",
    "/silences",
    "/silences?like=a1",
    "/reports",
    "/reports?days=7&by=service",
    "/forecasts",
    "/forecasts?days=365&by=team&all=1",
    "/problems/P-3",
    "/rules",
    "/sources",
    "/dead-letters",
    "/problems",
    "/problems/PRB0000001",
    "/problems/PRB0000002",
    "/problems/P-1",
    "/problems/P-2",
    "/problems/0badc0de",
    "/status",
]
HTML = {"accept": "text/html"}


def make_client(
    views: MemoryViews | None = None,
    *,
    quiet: Quiet | None = None,
    rules: tuple[MemoryRules, MemoryShadows] | None = None,
    demo: bool = False,
) -> TestClient:
    views = views or example_views()
    app = FastAPI()
    rules, shadows = rules or example_rules()
    quiet = quiet or example_quiet()
    app.include_router(console(views, views, quiet, rules, shadows, actor=lambda request: "ada", demo=demo))
    app.add_exception_handler(404, not_found)
    return TestClient(app, headers=HTML, follow_redirects=False, base_url="http://foreshock.test:8080")


class Seen(HTMLParser):
    """Every element of a page with its attributes, as a browser would find them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# ---- security -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/static/console.css", "/incidents/none", "/static/none", "/nowhere"])
def test_every_answer_carries_the_headers_that_tie_the_browsers_hands(path: str):
    headers = make_client().get(path).headers

    assert (
        headers["content-security-policy"]
        == "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_holds_a_script_style_or_handler_of_its_own_whatever_the_senders_wrote(path: str):
    answer = make_client(demo=True).get(path)
    page = Seen(answer.text)

    assert answer.status_code == 200
    for tag, attributes in page.tags:
        assert tag not in {"style", "iframe", "object", "embed", "base", "img"}
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "srcdoc"}]
        if tag == "script":
            assert (attributes["src"] or "").startswith("/static/console.js?v=")
        for name in ("href", "src", "action"):
            assert not (attributes.get(name) or "").strip().lower().startswith(("javascript:", "data:", "//", "/\\"))


def test_hostile_text_is_shown_as_text():
    page = Seen(make_client().get("/incidents/S-66").text)

    assert HOSTILE_SCRIPT in page.text
    assert "{{7*7}}" in page.text
    assert "invoice⟨U+202E⟩gpj.exe" in page.text
    assert "a⟨U+0000⟩b⟨U+001B⟩[31m" in page.text


def test_a_source_link_leads_to_http_and_https_only_and_tells_the_other_side_nothing():
    page = Seen(make_client().get("/incidents/S-66").text)
    outside = [attributes for tag, attributes in page.tags if tag == "a" and attributes.get("target")]

    assert {attributes["href"] for attributes in outside} == {HOSTILE_URLS[-1]}
    assert {attributes["rel"] for attributes in outside} == {"noopener noreferrer"}


@pytest.mark.parametrize("url", [url for url in HOSTILE_URLS if not url.startswith("https://")])
def test_an_address_that_is_no_address_is_not_linked(url: str):
    assert href(url) == ""


@pytest.mark.parametrize("url", ["https://x.example/a?b=c#d", "http://10.0.0.1:9090/graph", "/incidents/INC0000001"])
def test_an_address_stays_as_it_is(url: str):
    assert href(url) == url


CROSS_SITE = [
    ("another site's page", {"sec-fetch-site": "cross-site"}, 403),
    ("a neighbour on the same domain", {"sec-fetch-site": "same-site"}, 403),
    ("an older browser on another site's page", {"origin": "https://evil.example"}, 403),
    ("another port of this machine", {"origin": "http://foreshock.test:9090"}, 403),
    ("a sandboxed frame", {"origin": "null"}, 403),
    ("an origin that is none", {"origin": "http://["}, 403),
    ("another site with our origin", {"sec-fetch-site": "cross-site", "origin": "http://foreshock.test:8080"}, 403),
    ("our own page", {"sec-fetch-site": "same-origin", "origin": "http://foreshock.test:8080"}, 303),
    ("our own page over plain http", {"origin": "http://foreshock.test:8080"}, 303),
    ("a person's own bookmark", {"sec-fetch-site": "none"}, 303),
    ("a program", {}, 303),
]  # fmt: skip


@pytest.mark.parametrize(("who", "headers", "code"), CROSS_SITE, ids=[row[0] for row in CROSS_SITE])
def test_only_our_own_pages_and_programs_may_change_something(who: str, headers: dict[str, str], code: int):
    views = example_views()

    answer = make_client(views).post("/records/INC0000041/comment", data={"text": "hello"}, headers=headers)

    assert answer.status_code == code
    found = views.record("INC0000041")
    assert found is not None
    assert (found[1][-1].text == "hello") is (code == 303)


@pytest.mark.parametrize(
    "name",
    ["../pages.py", "..%2fpages.py", "%2e%2e/templates/base.html", "console.css/../x", "console.css%00", "x.css"],
)
def test_no_path_leads_out_of_the_static_files(name: str):
    answer = make_client().get(f"/static/{name}")

    assert answer.status_code == 404
    assert "import" not in answer.text


def test_a_static_file_is_kept_by_the_browser_until_the_next_release():
    client = make_client()
    address = next(
        str(attributes["href"])
        for tag, attributes in Seen(client.get("/").text).tags
        if tag == "link" and attributes["rel"] == "stylesheet"
    )

    first = client.get(address)

    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/static/console.css").headers["cache-control"] == "no-cache"
    assert client.get(address, headers={"if-none-match": first.headers["etag"]}).status_code == 304


# ---- the list -------------------------------------------------------------------------------------------------------


def _listed(html: str) -> list[str]:
    return [
        str(attributes["data-id"]) for tag, attributes in Seen(html).tags if tag == "tr" and "data-id" in attributes
    ]


def _visible(html: str) -> list[str]:
    return [
        str(attributes["data-id"])
        for tag, attributes in Seen(html).tags
        if tag == "tr" and "data-id" in attributes and "hidden" not in attributes
    ]


def test_the_list_shows_the_most_urgent_first_and_the_newest_of_equals():
    html = make_client().get("/").text

    assert _listed(html) == ["S-41", "S-43", "S-45", "S-38", "S-66", "S-44", "S-12"]


def test_the_list_says_priority_and_state_in_words_and_why_a_ticket_is_held():
    text = Seen(make_client().get("/").text).text

    assert "P1 Critical" in text
    assert "P5 Planning" in text
    assert "Held: it may still recover by itself, 22 s left" in text
    assert "answer lost, searching" in text
    assert "refused" in text


@pytest.mark.parametrize(
    ("q", "ids"),
    [
        ("STO-2", ["S-41"]),
        ("database disk", ["S-38"]),
        ("network-oncall", ["S-43"]),
        ("INC0000043", ["S-43"]),
        ("p5", ["S-12"]),
        ("nothing-has-this-name", []),
    ],
)
def test_the_filter_in_the_address_works_without_a_script(q: str, ids: list[str]):
    assert _visible(make_client().get("/", params={"q": q}).text) == ids


def test_a_state_nobody_knows_shows_what_is_open():
    client = make_client()

    assert _listed(client.get("/?state=%3Cscript%3E").text) == _listed(client.get("/").text)
    assert _listed(client.get("/?state=resolved").text) == ["S-40"]


def test_a_list_that_did_not_change_is_not_sent_again_although_the_incidents_grow_older():
    views = example_views()
    client = make_client(views)
    etag = client.get("/?fragment=1").headers["etag"]
    young = views.incident("S-45")
    assert young is not None

    views.put(make_incident_view(make_incident_row(**{**_fields(young.row), "age_s": 900.0})))
    same = client.get("/?fragment=1", headers={"if-none-match": etag})
    views.put(make_incident_view(make_incident_row(**{**_fields(young.row), "priority": 1})))
    changed = client.get("/?fragment=1", headers={"if-none-match": etag})

    assert same.status_code == 304
    assert same.content == b""
    assert changed.status_code == 200
    assert "<html" not in changed.text


def _fields(row: object) -> dict[str, object]:
    fields = {name: getattr(row, name) for name in type(row).__struct_fields__}  # type: ignore[attr-defined]
    return {"name": fields.pop("id"), **fields}


def test_an_empty_list_tells_a_newcomer_how_to_connect_and_others_that_all_is_quiet():
    fresh = make_client(MemoryViews(status=make_status_view(), sources=[make_source_view(last_seen=None)]))
    quiet = make_client(MemoryViews(status=make_status_view(), sources=[make_source_view()]))

    assert "Nothing has reported here yet" in fresh.get("/").text
    assert "All quiet" in quiet.get("/").text


def test_a_closed_intake_is_said_on_every_page():
    client = make_client(MemoryViews(status=make_status_view(intake="the disk is full")))

    for path in ("/", "/sources", "/status", "/problems", "/dead-letters"):
        assert "Not taking in alerts:" in client.get(path).text


def test_the_demo_says_so_on_every_page():
    for path in PAGES:
        if "fragment" not in path:
            assert ("Demo data" in make_client(demo=True).get(path).text) is True
            assert ("Demo data" in make_client().get(path).text) is False


# ---- one incident ---------------------------------------------------------------------------------------------------


def test_an_incident_explains_its_priority_its_causes_and_each_link():
    text = " ".join(Seen(make_client().get("/incidents/S-41").text).text.split())

    assert "impact 1 (high) × urgency 1 (high)" in text
    assert "+0.38 upstream 8 of 8 other affected CIs depend on it" in text
    assert "db-stock needs sto-2, which failed 50 s earlier" in text
    assert "db-stock runs on → esx-4 stored on → sto-2" in text
    assert "0.71 needs 0.50" in text
    assert "topology@1" in text


def test_a_relationship_on_a_path_keeps_the_direction_in_which_it_is_true():
    why = WhyView(
        sentence="",
        path=("db", "shop", "rack", "other"),
        relations=("calls", "contains", "connects_to"),
        rule="topology@1",
    )
    graph = GraphView(
        nodes=(),
        edges=(
            GraphEdge(source="shop", target="db", type="calls"),
            GraphEdge(source="shop", target="rack", type="contains"),
            GraphEdge(source="rack", target="other", type="connects_to"),
        ),
    )
    view = make_incident_view(alerts=(make_alert_view(why=why),), graph=graph)

    page = Seen(make_client(MemoryViews(status=make_status_view(), incidents=[view])).get("/incidents/S-1").text)

    assert "Path: db ← calls shop ← contains rack connects to other" in " ".join(page.text.split())


def test_an_incident_is_found_by_its_ticket_number_too():
    client = make_client()

    assert Seen(client.get("/incidents/INC0000041").text).text == Seen(client.get("/incidents/S-41").text).text


def test_the_timeline_can_be_filtered_by_lane():
    def shown(path: str) -> set[str]:
        return {
            str(attributes["data-lane"])
            for tag, attributes in Seen(make_client().get(path).text).tags
            if tag == "li" and "data-lane" in attributes and "hidden" not in attributes
        }

    assert shown("/incidents/S-41") == {"alert", "incident", "ticket", "person"}
    assert shown("/incidents/S-41?lane=person") == {"person"}
    assert shown("/incidents/S-41?lane=%22%3E") == {"alert", "incident", "ticket", "person"}


def test_alerts_that_start_in_the_same_second_share_a_line_of_the_timeline():
    burst = [
        TimelineEntry(at=ago(5), lane="alert", actor="am", action="began", text=f"Down on host{number}")
        for number in range(6)
    ]
    views = MemoryViews(status=make_status_view(), incidents=[make_incident_view(timeline=tuple(burst))])

    page = Seen(make_client(views).get("/incidents/S-1").text)

    assert "6 alerts at once" in page.text
    assert all(entry.text in page.text for entry in burst)
    assert (
        sum(
            "data-lane" in attributes
            for tag, attributes in page.tags
            if tag == "li" and "entry" in str(attributes.get("class"))
        )
        == 1
    )


def test_a_merged_incident_says_where_its_alerts_went():
    assert 'href="/incidents/S-41"' in make_client().get("/incidents/S-42").text


def test_many_alerts_are_all_there_but_most_are_folded_away():
    many = tuple(make_alert_view(f"f{number}", name=f"Alert{number}") for number in range(40))
    views = MemoryViews(status=make_status_view(), incidents=[make_incident_view(alerts=many)])

    html = make_client(views).get("/incidents/S-1").text

    assert all(f'id="alert-f{number}"' in html for number in range(40))
    assert "28 more alerts" in html


def test_a_poll_says_whether_an_open_incident_has_changed():
    views = example_views()
    client = make_client(views)
    etag = client.get("/incidents/S-41?fragment=1").headers["etag"]

    before = client.get("/incidents/S-41?fragment=1", headers={"if-none-match": etag})
    client.post("/records/INC0000041/comment", data={"text": "hello"})
    after = client.get("/incidents/S-41?fragment=1", headers={"if-none-match": etag})

    assert (before.status_code, after.status_code) == (304, 200)


# ---- what belongs together ------------------------------------------------------------------------------------------


def test_a_split_is_told_back_first_and_done_when_it_is_confirmed():
    views = example_views()
    client = make_client(views)
    form = {"kind": "split", "alert": ["c0ffee01", "c0ffee02"], "comment": "another <b>fan</b>"}

    asked = client.post("/incidents/S-41/feedback", data=form)

    assert asked.status_code == 200
    assert "2 of 9 alerts of S-41" in asked.text
    assert "another &lt;b&gt;fan&lt;/b&gt;" in asked.text
    assert views.judgements() == []
    fields = [(a["name"] or "", a["value"] or "") for tag, a in Seen(asked.text).tags if tag == "input" and "name" in a]
    done = client.post("/incidents/S-41/feedback", data=_many(fields))
    assert (done.status_code, done.headers["location"]) == (303, "/incidents/S-41#structure")
    said = views.judgements()[0]
    assert (said.actor, said.kind, said.comment) == ("ada", "split", "another <b>fan</b>")
    assert [one.fingerprint for one in said.one] == ["c0ffee01", "c0ffee02"]
    assert "another &lt;b&gt;fan&lt;/b&gt;" in client.get("/incidents/S-41").text


def test_alerts_with_a_place_to_go_are_moved():
    asked = make_client().post(
        "/incidents/S-41/feedback", data={"kind": "split", "alert": "c0ffee01", "other": "INC0000043"}
    )

    assert "1 of 9 alerts of S-41" in asked.text
    assert "move to S-43" in asked.text


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"kind": "split"}, "no alert is chosen"),
        ({"kind": "merge"}, "no other incident is named"),
        ({"kind": "merge", "other": "S-999", "confirmed": "yes"}, "there is no incident"),
        ({"kind": "cause"}, "no CI is named"),
        ({"kind": "cause", "ci": "esx4", "comment": "x" * 2001}, "2001 characters"),
        ({"kind": "guess"}, "does not say what to do"),
    ],
)
def test_what_cannot_be_done_is_refused_and_what_was_typed_stays(form: dict[str, str], problem: str):
    views = example_views()

    answer = make_client(views).post("/incidents/S-41/feedback", data={"comment": "<i>why</i>", **form})

    assert answer.status_code == 409
    assert problem in answer.text
    assert views.judgements() == []
    if form["kind"] != "guess" and "comment" not in form:
        assert "&lt;i&gt;why&lt;/i&gt;" in answer.text


def test_a_person_asks_why_something_is_not_in_an_incident():
    client = make_client()

    assert "is where it is" in client.get("/incidents/S-66?why_not=c0ffee01").text
    assert "or no alert &#39;nothing&#39;; check the ids" in client.get("/incidents/S-66?why_not=nothing").text


def _many(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return found


# ---- the desk -------------------------------------------------------------------------------------------------------


def test_a_comment_is_kept_under_its_authors_name_and_leads_back_to_the_incident():
    views = example_views()

    answer = make_client(views).post("/records/INC0000041/comment", data={"text": "  Failover started.\r\nETA 5 min  "})

    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents/S-41#desk")
    found = views.record("INC0000041")
    assert found is not None
    assert (found[1][-1].author, found[1][-1].text) == ("ada", "Failover started.\r\nETA 5 min")


def test_an_incident_goes_from_taken_to_resolved_to_reopened_to_closed():
    views = example_views()
    client = make_client(views)

    for action, form, state in [
        ("take", {}, "in_progress"),
        ("wait", {"text": "the vendor"}, "pending"),
        ("resolve", {"code": "fixed", "text": "cable replaced"}, "resolved"),
        ("reopen", {"text": "it is back"}, "in_progress"),
        ("resolve", {"code": "fixed"}, "resolved"),
        ("close", {}, "closed"),
    ]:
        assert client.post(f"/records/INC0000043/{action}", data=form).status_code == 303
        found = views.record("INC0000043")
        assert found is not None
        assert found[0].state == state


def test_a_refused_action_says_why_and_keeps_what_was_typed():
    answer = make_client().post("/records/INC0000041/resolve", data={"code": "", "text": "<b>long explanation</b>"})

    assert answer.status_code == 409
    assert "no resolution code was chosen" in answer.text
    assert "&lt;b&gt;long explanation&lt;/b&gt;</textarea>" in answer.text


def test_what_the_records_state_does_not_allow_is_refused_with_the_state():
    answer = make_client().post("/records/INC0000040/take", data={})

    assert answer.status_code == 409
    assert "INC0000040 is resolved" in answer.text


def test_a_problem_is_opened_from_an_incident_once():
    client = make_client()

    first = client.post("/incidents/INC0000041/problem", data={"title": "Controllers hang"})
    again = client.post("/incidents/INC0000041/problem", data={"title": "Controllers hang"})

    assert first.headers["location"] == again.headers["location"] == "/problems/PRB0000003"
    assert "Controllers hang" in client.get("/problems").text


@pytest.mark.parametrize(
    ("path", "form", "code"),
    [
        ("/records/INC9999999/take", {}, 404),
        ("/records/INC0000041/delete", {}, 404),
        ("/incidents/INC9999999/problem", {}, 404),
        ("/records/INC0000041/comment", {"text": "x" * 70_000}, 413),
        ("/records/INC0000041/comment", {"text": "x" * 9_000}, 409),
        ("/records/INC0000041/comment", {"text": "   "}, 409),
        ("/records/INC0000041/comment", {str(number): "x" for number in range(40)}, 400),
    ],
)
def test_a_form_that_cannot_be_carried_out_is_answered_with_a_page(path: str, form: dict[str, str], code: int):
    answer = make_client().post(path, data=form)

    assert answer.status_code == code
    assert "<h1" in answer.text


def test_a_form_that_is_no_form_is_refused():
    assert make_client().post("/records/INC0000041/comment", json={"text": "x"}).status_code == 415


# ---- the other pages ------------------------------------------------------------------------------------------------


def test_sources_show_what_to_paste_with_the_address_the_reader_uses():
    text = Seen(make_client().get("/sources").text).text

    assert 'targets: ["foreshock.test:8080"]' in text
    assert "url: http://foreshock.test:8080/api/v1/collect/alertmanager" in text


def test_who_reports_comes_first_and_every_other_product_is_shown_with_what_it_needs():
    page = make_client(MemoryViews(status=make_status_view(), sources=[make_source_view()])).get("/sources").text
    text = Seen(page).text

    assert text.index("reporting") < text.index("Connect more") < text.index("Zabbix, by a webhook media type")
    assert "http://foreshock.test:8080/api/v1/collect/zabbix" in text
    assert "kind: syslog" in text, "what is listened to is written into the configuration"


def test_a_newcomer_sees_one_way_to_connect_open():
    sources = [make_source_view("alertmanager", collector="alertmanager", last_seen=None)]
    page = make_client(MemoryViews(status=make_status_view(), sources=sources)).get("/sources").text

    assert "Connect a first source" in page
    assert page.count('class="more-of" open') == 1


def test_a_source_that_needs_somebody_says_why():
    source = make_source_view(
        silent_since=NOW, expired=7, clock="its clock is 40 s ahead of ours", clash="Down is one alert for a and b"
    )
    text = Seen(make_client(MemoryViews(status=make_status_view(), sources=[source])).get("/sources").text).text

    assert "Nothing has come since 2026-11-22 14:05:00 UTC" in text
    assert "Its clock is 40 s ahead of ours." in text
    assert "Down is one alert for a and b" in text


def test_an_alert_of_several_label_sets_shows_which_of_them_fires():
    sets = (
        LabelSetView(labels={"replica": "a"}, state="resolved", count=3),
        LabelSetView(labels={"replica": "b"}, state="firing", count=4),
    )
    view = make_incident_view(alerts=(make_alert_view(label_sets=sets),))
    text = Seen(
        make_client(MemoryViews(status=make_status_view(), incidents=[view])).get(f"/incidents/{view.row.id}").text
    ).text

    assert "One alert of 2 label sets" in text
    assert "replica=b" in text


def test_a_host_header_that_is_no_address_does_not_reach_the_snippet():
    assert base_url("http", "x\n- evil") == "http://foreshock.example:8080"
    assert base_url("https", "[::1]:8080") == "https://[::1]:8080"


def test_an_instance_of_its_own_is_a_path_prefix_for_prometheus():
    assert "path_prefix: /s/prom-eu\n" in snippet("alertmanager", "/s/prom-eu/api/v2/alerts", "http://f:1").text
    assert "path_prefix" not in snippet("alertmanager", "/api/v2/alerts", "http://f:1").text


def test_an_unknown_address_helps_a_person_and_answers_a_program_in_its_language():
    client = make_client()

    for path in ("/nowhere", "/incidents/S-999", "/problems/PRB9"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "/?state=all" in answer.text
    program = client.get("/nowhere", headers={"accept": "*/*"})
    assert program.json()["error"] == "there is nothing at '/nowhere'"


def test_what_a_route_says_about_something_missing_stays_as_it_said_it():
    app = FastAPI()
    app.add_exception_handler(404, not_found)

    @app.get("/api/v2/silence")
    def silence() -> None:
        raise HTTPException(404, detail="silence 7 not found")

    assert TestClient(app).get("/api/v2/silence").json() == {"detail": "silence 7 not found"}


# ---- words and the picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_600, "1 h"), (3_900, "1 h 5 min"), (183_600, "2 d 3 h")],
)
def test_ages_have_two_units_at_most(seconds: float, words: str):
    assert age(seconds) == words


def test_gaps_are_exact_where_it_matters():
    assert [gap(0.2), gap(40), gap(200), gap(7_300)] == ["same second", "40 s", "3 min 20 s", "2 h 1 min"]


def test_numbers_in_notes_become_links_and_the_rest_stays_text():
    assert linked("see INC0000041 & <b>PRB0000001</b>") == (
        'see <a href="/incidents/INC0000041">INC0000041</a> &amp; &lt;b&gt;'
        '<a href="/problems/PRB0000001">PRB0000001</a>&lt;/b&gt;'
    )


def test_characters_nobody_sees_are_spelled_out_and_writing_from_right_to_left_is_not():
    assert visible("a\u202eb\x00") == "a⟨U+202E⟩b⟨U+0000⟩"
    assert visible("שרת\nשני\u200f") == "שרת\nשני\u200f"


def test_the_filter_wants_every_word():
    assert matches("db1 database p3", "P3 db")
    assert not matches("db1 database p3", "db2 p3")


def _graph(levels: dict[str, int], edges: list[tuple[str, str]]) -> GraphView:
    return GraphView(
        nodes=tuple(
            GraphNode(id=ci, label=ci, kind="host", role="affected", severity="", level=level)
            for ci, level in levels.items()
        ),
        edges=tuple(GraphEdge(source=source, target=target, type="runs_on") for source, target in edges),
    )


def test_the_picture_puts_what_is_needed_left_of_what_needs_it():
    picture = draw(_graph({"app": 1, "host": 0}, [("app", "host")]))
    x = {box.node.id: box.x for box in picture.boxes}

    assert x["host"] + BOX_WIDTH < x["app"]
    assert picture.lines[0].path.startswith(f"M{x['host'] + BOX_WIDTH} ")


def test_boxes_never_overlap_and_stay_inside_the_picture():
    crowded = draw(
        _graph({f"n{number}": number % 3 // 2 for number in range(60)}, [(f"n{n}", f"n{n - 1}") for n in range(1, 60)])
    )
    places = {(box.x, box.y) for box in crowded.boxes}

    assert len(places) == 60
    assert all(0 <= x <= crowded.width - BOX_WIDTH and 0 <= y < crowded.height for x, y in places)
    assert max(sum(box.x == x for box in crowded.boxes) for x, _ in places) <= COLUMN_MAX


def test_neighbours_stand_in_the_same_row_where_that_avoids_a_crossing():
    picture = draw(_graph({"a": 0, "b": 0, "x": 1, "y": 1}, [("x", "b"), ("y", "a")]))
    y = {box.node.id: box.y for box in picture.boxes}

    assert (y["a"] < y["b"]) == (y["y"] < y["x"])


def test_a_graph_with_a_cycle_or_an_edge_into_nowhere_is_drawn_all_the_same():
    picture = draw(_graph({"a": 0, "b": 0, "c": 1}, [("a", "b"), ("b", "a"), ("a", "a"), ("c", "gone"), ("a", "c")]))

    assert len(picture.lines) == 3


def test_an_empty_graph_has_no_picture():
    assert draw(GraphView(nodes=(), edges=())).boxes == ()


def test_a_long_label_ends_in_an_ellipsis_and_wide_characters_count_twice():
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("数据库服务器", 6) == "数据…"


def test_a_label_is_broken_between_words_into_two_lines_at_most():
    assert fold("db1", 16) == ("db1",)
    assert fold("Load balancer of list adoptions", 16) == ("Load balancer of", "list adoptions")
    assert fold("a-label-without-any-space", 16) == ("a-label-without…",)
    assert fold("one two three four five six seven eight", 16) == ("one two three", "four five six s…")
    assert fold("", 16) == ("",)


def test_metrics_that_left_their_band_are_shown_with_their_way_to_the_incident():
    seen = Seen(make_client().get("/incidents/S-41").text)

    text = " ".join(seen.text.split())
    assert "Metrics that are not as usual 2" in text
    assert "esx-3 needs sto-2" in text
    assert "disk_latencyvolume=vol7" in text
    assert "0.054\xa0s" in seen.text
    assert "12 up" in text
    assert "run_queue92 of 100, full about 12:44 UTC" in text
    labels = [attributes.get("aria-label") for tag, attributes in seen.tags if attributes.get("class") == "curve"]
    assert labels == ["up, 0.054 where 0.012 is usual"]


def test_an_incident_without_metrics_has_no_table_of_them():
    assert "are not as usual" not in make_client().get("/incidents/S-42").text


def test_a_cause_without_a_topology_still_has_a_page():
    view = make_incident_view(causes=(Cause(ci="db1", score=0.5, contributions=()),), alerts=())

    text = make_client(MemoryViews(status=make_status_view(), incidents=[view])).get("/incidents/S-1").text

    assert "None of these alerts is bound to a CI" in text
    assert f"{ago(12):%H:%M:%S}" in text
    assert NOW.isoformat() in text


# ---- silences and maintenance ---------------------------------------------------------------------------------------

SAME = {"origin": "http://foreshock.test:8080"}


def told(page: str) -> str:
    return " ".join(Seen(page).text.split())


def test_the_page_of_silences_tells_who_asked_for_what_until_when_and_what_it_holds():
    page = told(make_client().get("/silences").text)

    assert 'active alertname="HighCpu" host=~"web.*"load test, CHG0012 mira' in page
    assert 'expired job="nightly"a test ada' in page
    assert (
        "running Patching of db1CHG0034, see the calendar db1 3 CIs in all dba 13:00:00 to 16:00:00 1 incident" in page
    )
    assert "FREQ=WEEKLY;BYDAY=SU (Europe/Berlin)" in page


def test_a_silence_is_tried_before_it_is_set_and_nothing_typed_is_lost():
    quiet = example_quiet()
    client = make_client(quiet=quiet)
    form = {"matchers": 'host="db1"\n', "length": "30m", "comment": "known"}

    tried = client.post("/silences", data={**form, "do": "preview"}, headers=SAME)
    assert tried.status_code == 200
    assert "What it covers now 1 of 4 active alerts. Nothing is set yet." in told(tried.text)
    assert "known" in tried.text
    assert len(quiet.silences()) == 2

    done = client.post("/silences", data={**form, "do": "set"}, headers=SAME)
    assert (done.status_code, done.headers["location"]) == (303, "/silences")
    newest = next(view for view in quiet.silences() if view.comment == "known")
    assert (newest.created_by, newest.matchers) == ("ada", ('host="db1"',))

    client.post(f"/silences/{newest.id}/expire", headers=SAME)
    assert next(view for view in quiet.silences() if view.id == newest.id).state == "expired"


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"matchers": "host", "comment": "x"}, "is not a matcher"),
        ({"matchers": "host=db1", "comment": ""}, "needs a comment"),
        ({"matchers": "host=db1", "comment": "x", "length": "2"}, "'2' is not a duration"),
        ({"matchers": "", "comment": "x"}, "at least one matcher"),
    ],
)
def test_a_silence_that_is_refused_says_why_in_the_form(form: dict[str, str], problem: str):
    answer = make_client().post("/silences", data={"length": "2h", "do": "set", **form}, headers=SAME)

    assert answer.status_code == 409
    assert problem in told(answer.text)


def test_maintenance_is_tried_planned_and_ended():
    quiet = example_quiet()
    client = make_client(quiet=quiet)
    form = {"title": "Move", "comment": "CHG1", "cis": "api, nix", "descendants": "1", "length": "2h"}
    form |= {"starts": "2026-11-22 14:00", "time_zone": "UTC", "services": "", "matchers": "", "rrule": ""}

    tried = told(client.post("/maintenance", data={**form, "do": "preview"}, headers=SAME).text)
    assert "2 of 4 active alerts; 3 CIs are in scope" in tried
    assert "Not in the topology: nix" in tried

    assert client.post("/maintenance", data={**form, "do": "set"}, headers=SAME).status_code == 303
    (made,) = [view for view in quiet.windows() if view.title == "Move"]
    assert (made.cis, made.owner, made.state) == (("api", "nix"), "ada", "running")

    assert client.post(f"/maintenance/{made.id}/end", headers=SAME).status_code == 303
    assert next(view for view in quiet.windows() if view.title == "Move").state == "over"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"rrule": "FREQ=SECONDLY"}, "has no FREQ"),
        ({"time_zone": "Mars"}, "'Mars' is no time zone"),
        ({"cis": ""}, "has no scope"),
        ({"comment": ""}, "comment:"),
        ({"starts": "soon"}, "'soon' is no time"),
    ],
)
def test_a_plan_that_is_refused_says_why_in_the_form(wrong: dict[str, str], problem: str):
    form = {
        "title": "t",
        "comment": "c",
        "cis": "api",
        "starts": "2026-11-22 14:00",
        "length": "2h",
        "time_zone": "UTC",
    }
    answer = make_client().post("/maintenance", data={**form, "do": "set", **wrong}, headers=SAME)

    assert answer.status_code == 409
    assert problem in told(answer.text)


def test_a_silence_can_begin_with_the_labels_of_an_alert():
    views = MemoryViews(status=make_status_view())
    alert = make_alert_view("f00", labels={"alertname": "DiskFull", "host": "db1"})
    views.put(make_incident_view(make_incident_row("S-1"), alerts=(alert,)))
    client = make_client(views)

    assert "/silences?like=f00#new-silence" in client.get("/incidents/S-1").text
    page = client.get("/silences?like=f00").text
    assert "alertname=&#34;DiskFull&#34;\nhost=&#34;db1&#34;</textarea>" in page


def test_what_a_silence_covers_can_be_looked_at_later():
    quiet = example_quiet()
    (running,) = [view for view in quiet.windows() if view.title == "Patching of db1"]

    page = told(make_client(quiet=quiet).get(f"/silences?of={running.id}").text)

    assert "3 of 4 active alerts; 3 CIs are in scope" in page
    assert "3 of 3 held" in page


# ---- reports --------------------------------------------------------------------------------------------------------


def test_the_page_of_reports_has_a_line_for_all_and_one_for_each_team():
    page = make_client().get("/reports?days=365&by=team").text

    table = Seen(page).text
    assert "Noise reduction" in table
    assert "storage-oncall" in table
    assert 'href="/api/v1/report?by=team' in page


@pytest.mark.parametrize("query", ["days=soon", "days=-1", "days=9999999999999", "by=colour", "by=%3Cscript%3E"])
def test_a_report_nobody_offers_is_the_usual_one(query: str):
    page = make_client().get(f"/reports?{query}")

    assert page.status_code == 200
    assert "<script>" not in page.text
    assert '<option value="30" selected>' in page.text


# ---- forecasts ------------------------------------------------------------------------------------------------------


def test_the_page_of_forecasts_tells_when_what_and_why_the_soonest_first():
    page = make_client().get("/forecasts").text
    text = " ".join(Seen(page).text.split())

    assert text.index("overdue by 40 min") < text.index("in 8 h 50 min") < text.index("in 2 d 11 h")
    assert "/var is full in 9 h (7 to 13 h)" in text
    assert "+1.90 91 % used, 2 % more each hour" in text
    assert "+2.20 together: the score of the model" in text
    assert 'href="/problems/P-3"' in page


def test_what_came_true_is_expected_no_more_and_what_opened_no_problem_says_why():
    forecasts = [
        make_forecast_view(make_forecast("done-1"), outcome="confirmed"),
        make_forecast_view(make_forecast("gone-1", state=ForecastState.WITHDRAWN), reason="withdrawn: it falls"),
        make_forecast_view(make_forecast("calm-1"), problem="", outcome="", reason="31%, and 70% are needed"),
    ]
    page = make_client(MemoryViews(status=make_status_view(), forecasts=forecasts)).get("/forecasts").text

    assert "Nothing is expected now" in page
    assert "1 forecast that opened no problem, and why" in page
    assert "31%, and 70% are needed" in page
    assert "done-1" not in page
    assert "gone-1" not in page


def test_few_cases_are_told_as_few():
    page = make_client().get("/forecasts?by=model").text
    text = " ".join(Seen(page).text.split())

    assert "3 of 4 75 % (30 % to 95 %)" in text
    assert "none yet" not in text.split("disk@3")[-1][:100]
    assert 'href="/api/v1/forecasts/ledger?by=model&amp;format=csv&amp;all=false&amp;from=2026-11-02T' in page


def test_what_ended_says_how_long_people_had_and_links_the_incident():
    text = " ".join(Seen(make_client().get("/forecasts").text).text.split())

    assert "nodes@7 at 18 Nov 14:05 esx-3 82 % 1 d 16 h S-43 P-6" in text
    assert "withdrawn An incident" in text


def test_without_any_forecast_the_page_says_how_to_post_one():
    page = make_client(MemoryViews(status=make_status_view())).get("/forecasts").text

    assert "Nothing has been forecast yet" in page
    assert "curl http://foreshock.test:8080/api/v1/forecasts" in page
    assert "How often it was right" not in page


@pytest.mark.parametrize("query", ["days=soon", "days=9999999999999", "by=colour", "by=%3Cscript%3E&all=maybe"])
def test_figures_nobody_offers_are_the_usual_ones(query: str):
    page = make_client().get(f"/forecasts?{query}")

    assert page.status_code == 200
    assert "<script>" not in page.text
    assert '<option value="30" selected>' in page.text
    assert 'value="1" checked' not in page.text


def test_more_than_figures_can_be_made_of_is_refused_with_the_remedy():
    views = example_views()

    def too_many(*args: object, **more: object) -> Ledger:
        raise Rejected("more than 100,000 forecasts were announced in this time", hint="ask for a shorter period")

    views.ledger = too_many  # type: ignore[method-assign]
    page = make_client(views).get("/forecasts?days=365&all=1")

    assert page.status_code == 409
    assert "ask for a shorter period" in page.text


@pytest.mark.parametrize("state", ["watched", "expected", "confirmed", "expired", "withdrawn", "ended"])
def test_the_page_of_a_forecast_that_made_a_problem_names_each_state(state: str):
    views = MemoryViews(status=make_status_view(), patterns=[make_proactive_view(state=state)])

    page = make_client(views).get("/problems/P-3")

    assert page.status_code == 200
    assert PATTERN_STATES[state] in page.text
    assert ("Most likely about" in page.text) == (state == "expected")


# ---- rules ----------------------------------------------------------------------------------------------------------


def test_the_page_of_rules_tells_what_runs_by_whom_and_how_the_files_differ():
    page = Seen(make_client().get("/rules").text).text

    assert "What runs in its place:" in page
    assert "group.threshold: 0.4 → 0.35" in page
    assert "1 split" in page
    assert "now 0.75 for" in page


def test_refused_files_stand_on_the_page_of_rules():
    rules, shadows = example_rules()
    rules.error, rules.unread = "rules.yaml:3: nonsense", ("rule one: added",)

    page = Seen(make_client(rules=(rules, shadows)).get("/rules").text).text

    assert "The files are refused, and what ran before stays: rules.yaml:3: nonsense" in page
    assert "rule one: added" in page


def test_a_version_is_put_back_with_a_reason_and_refused_without():
    rules, shadows = example_rules()
    client = make_client(rules=(rules, shadows))
    first = rules.history()[-1].version

    refused = client.post("/rules/rollback", data={"version": first, "reason": " "})
    assert refused.status_code == 409
    assert "say why, in 1 to 2000" in refused.text
    assert client.post("/rules/rollback", data={"version": first, "reason": "worse"}).status_code == 303

    newest = rules.history()[0]
    assert (newest.version, newest.actor, newest.reason) == (first, "ada", "worse")


def test_a_shadow_is_stopped_and_applied_from_its_page():
    rules, shadows = example_rules()
    client = make_client(rules=(rules, shadows))

    assert client.post("/rules/shadow/stop", data={}).status_code == 303
    assert client.post("/rules/shadow/stop", data={}).status_code == 409
    assert client.post("/rules/shadow/apply", data={"reason": "two quiet days"}).status_code == 303
    assert rules.runs == shadows.candidate


def test_without_a_shadow_the_page_says_how_to_start_one():
    rules, shadows = example_rules()
    shadows.shadow = None

    assert "foreshock rules shadow start" in make_client(rules=(rules, shadows)).get("/rules").text


# ---- what comes back ----


def test_the_page_of_problems_tells_what_comes_back_and_why_it_is_none_yet():
    text = Seen(make_client().get("/problems").text).text

    assert "3 times in 12 days" in text
    assert "not yet: 2 of 3 in 30d" in text
    assert "proposed for closing" in text


def test_a_problem_tells_why_it_is_one_what_is_known_and_how_each_incident_ended():
    text = Seen(make_client().get("/problems/P-1").text).text

    assert "3rd time in 12 days; 3 in 30d are enough" in text
    assert "controller hangs" in text
    assert "closed by Mira Okafor as Fixed (real)" in text
    assert "replaced the battery" in text
    assert "Last change before it: CHG77 firmware" in text


def test_an_incident_tells_how_its_like_ended_before():
    past = Past(
        situation="S-7", title="Down", opened_at=NOW, ended_at=NOW, how="closed by Mira", note="new battery",
        label="real", ticket="INC0000007",
    )  # fmt: skip
    view = make_incident_view(recurrence="problem P-1: 3 times", problem="P-1", pattern="1f", similar=(past,))
    page = make_client(MemoryViews(status=make_status_view(), incidents=[view])).get(f"/incidents/{view.row.id}").text

    assert 'href="/problems/P-1"' in page
    assert "new battery" in Seen(page).text
