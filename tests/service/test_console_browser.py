"""The console in a real browser, Debian's chromium, judged by axe; the screenshots lie in tests/artefacts/."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI, Request, Response
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, expect, sync_playwright

from foreshock.service.console import console, not_found
from foreshock.service.views import ChildView, UmbrellaView
from foreshock.testing.cmdb_health import example_topology
from foreshock.testing.factories import NOW, example_views, make_incident_row, make_incident_view, make_ticket_view
from foreshock.testing.fakes import MemoryViews
from foreshock.testing.quiet import example_quiet
from foreshock.testing.rules import example_rules
from foreshock.testing.servers import free_port, program

ARTEFACTS = Path(__file__).resolve().parent.parent / "artefacts"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {
    "incidents": "/",
    "incidents-all": "/?state=all",
    "incidents-filtered": "/?q=database",
    "incident": "/incidents/S-41",
    "incident-held": "/incidents/S-45",
    "incident-merged": "/incidents/S-42",
    "incident-hostile": "/incidents/S-66",
    "incident-why-not": "/incidents/S-41?why_not=c0ffee01",
    "silences": "/silences?of=patching",
    "reports": "/reports?days=365&by=service",
    "forecasts": "/forecasts?days=365&by=service&all=1",
    "expected": "/problems/P-3",
    "rules": "/rules",
    "sources": "/sources",
    "topology": "/topology",
    "dead-letters": "/dead-letters",
    "problems": "/problems",
    "problem": "/problems/PRB0000001",
    "recurring": "/problems/P-1",
    "status": "/status",
    "not-found": "/nowhere",
}


@dataclass
class Site:
    """A running console. broken: answer every request with 503, as a Foreshock in trouble would."""

    url: str
    views: MemoryViews
    broken: bool = False


@pytest.fixture(scope="module")
def browser(require: Callable[..., None]) -> Iterator[Browser]:
    require("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(program("chromium")), args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def site() -> Iterator[Site]:
    views = example_views()
    running = Site(url=f"http://127.0.0.1:{free_port()}", views=views)
    app = FastAPI()
    app.include_router(
        console(
            views,
            views,
            example_quiet(),
            *example_rules(),
            actor=lambda request: "ada",
            demo=True,
            topology=example_topology,
        )
    )
    app.add_exception_handler(404, not_found)

    @app.middleware("http")
    async def break_it(request: Request, go_on: Callable[..., Any]) -> Response:
        return Response(status_code=503) if running.broken else await go_on(request)

    server = uvicorn.Server(
        uvicorn.Config(app, port=int(running.url.rsplit(":", 1)[1]), log_level="error", ws="none", lifespan="off")
    )
    thread = threading.Thread(target=server.run, name="console")
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the console did not start"
        time.sleep(0.01)
    yield running
    server.should_exit = True
    thread.join()


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """``open_page(path, **context)``; at the end no page may have run a stranger's script or broken its own policy."""
    contexts = []
    complaints: list[str] = []

    def open_one(path: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # both cores may be busy with other tests
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("console", lambda message: "Content Security" in message.text and complaints.append(message.text))
        page.goto(site.url + path)
        return page

    yield open_one
    for context in contexts:
        for page in context.pages:
            # Without scripts, nothing of ours can have set it; otherwise ask the page.
            assert page.evaluate("window.pwned") is None
        context.close()
    assert complaints == []


def shoot(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"console-{name}.png", full_page=True)


# ---- every page -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_on_any_page(open_page: Callable[..., Page], name: str, scheme: str):
    page = open_page(PAGES[name], color_scheme=scheme)
    shoot(page, f"{name}-{scheme}")
    page.evaluate("document.querySelectorAll('main details').forEach((details) => { details.open = true; })")

    found = Axe().run(page).response["violations"]

    grave = [
        (rule["id"], [node["html"][:160] for node in rule["nodes"]])
        for rule in found
        if rule["impact"] in {"serious", "critical"}
    ]
    assert grave == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_320_pixels_wide_needs_no_sideways_scrolling(open_page: Callable[..., Page], name: str):
    page = open_page(PAGES[name], viewport={"width": 320, "height": 640})
    page.evaluate("document.querySelectorAll('main details').forEach((details) => { details.open = true; })")
    shoot(page, f"{name}-320")

    assert page.evaluate("document.documentElement.scrollWidth") == 320


SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
  .filter((item) => item.getClientRects().length && !item.closest(".note-text, .entry-text, p, li.entry, .skip"))
  .map((item) => [item.outerHTML.slice(0, 120), item.getBoundingClientRect(), item.type])
  .filter(([, box, type]) => type !== "checkbox" && (box.height < 24 || box.width < 24))
  .map(([html, box]) => `${Math.round(box.width)}x${Math.round(box.height)} ${html}`)"""


@pytest.mark.parametrize("name", PAGES)
def test_what_can_be_clicked_is_large_enough_to_hit(open_page: Callable[..., Page], name: str):
    assert open_page(PAGES[name]).evaluate(SMALL_TARGETS) == []


def test_colours_of_the_system_and_less_motion_are_respected(open_page: Callable[..., Page]):
    page = open_page("/incidents/S-41", forced_colors="active", reduced_motion="reduce")
    shoot(page, "incident-forced-colors")

    assert page.evaluate("getComputedStyle(document.querySelector('.badge')).borderTopStyle") == "solid"


# ---- by keyboard ----------------------------------------------------------------------------------------------------


def test_an_incident_is_found_opened_and_commented_without_a_mouse(open_page: Callable[..., Page], site: Site):
    page = open_page("/")

    page.keyboard.press("j")
    expect(page.locator(":focus")).to_contain_text("Storage array sto-2")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/incidents/S-41")
    page.keyboard.press("c")
    page.keyboard.type("Failover has started.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    page.wait_for_url("**/incidents/S-41#desk")
    expect(page.locator(".notes li").first).to_contain_text("Failover has started.")
    expect(page.locator(".notes li").first).to_contain_text("ada")


def test_an_incident_is_resolved_and_a_problem_opened_through_the_forms(open_page: Callable[..., Page]):
    page = open_page("/incidents/S-43")

    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#desk")).to_contain_text("ada")
    page.locator("summary", has_text="Open a problem").click()
    page.get_by_label("Title of the problem").fill("Uplinks wear out")
    page.get_by_role("button", name="Open problem").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Uplinks wear out")
    page.get_by_role("link", name="INC0000043").first.click()
    page.locator("summary", has_text="Resolve").click()
    page.get_by_label("How it ended").select_option(label="Fixed")
    page.get_by_role("button", name="Resolve", exact=True).click()

    expect(page.locator("#desk")).to_contain_text("resolved")
    expect(page.locator("#desk")).to_contain_text("Fixed")


def test_alerts_are_split_off_after_a_look_at_what_will_happen(open_page: Callable[..., Page]):
    page = open_page("/incidents/S-41")

    page.locator("summary", has_text="Split off or move alerts").click()
    page.locator("#structure").get_by_role("checkbox").first.check()
    page.locator("#split-why").fill("its own fan")
    shoot(page, "incident-split")
    page.locator("#structure").get_by_role("button", name="Review").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Split an incident")
    expect(page.get_by_role("main")).to_contain_text("1 of 9 alerts")
    shoot(page, "confirm")
    assert [rule["id"] for rule in Axe().run(page).response["violations"]] == []
    page.get_by_role("button", name="Split an incident").click()

    page.wait_for_url("**/incidents/S-41#structure")
    expect(page.locator("#structure")).to_contain_text("its own fan")
    shoot(page, "incident-said")


def test_the_filter_answers_at_once_and_stays_in_the_address(open_page: Callable[..., Page]):
    page = open_page("/")

    page.keyboard.press("/")
    page.keyboard.type("core-sw")
    expect(page.locator("#rows tr:visible")).to_have_count(1)
    expect(page.locator("#shown")).to_have_text("1 of 7 match")
    assert page.url.endswith("?q=core-sw")
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_contain_text("core-sw-1 loses packets")
    page.reload()
    expect(page.locator("#rows tr:visible")).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#rows tr:visible")).to_have_count(7)
    assert "q=" not in page.url


@pytest.mark.parametrize(
    ("key", "path"),
    [("i", "/"), ("p", "/problems"), ("f", "/forecasts"), ("s", "/sources"), ("d", "/dead-letters"), ("t", "/status")],
)
def test_g_and_a_letter_go_places(open_page: Callable[..., Page], site: Site, key: str, path: str):
    page = open_page("/incidents/S-41")

    page.keyboard.press("g")
    page.keyboard.press(key)

    page.wait_for_url(site.url + path)


def test_why_something_is_expected_is_read_and_the_figures_are_chosen_without_a_mouse(open_page: Callable[..., Page]):
    page = open_page("/forecasts")

    why = page.locator("summary", has_text="Why").first
    why.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("91 % used, 2 % more each hour").first).to_be_visible()
    page.get_by_label("Rows", exact=True).focus()
    page.keyboard.type("by team")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    page.wait_for_url("**/forecasts?*by=team*all=1*")
    expect(page.get_by_role("table", name="How often it was right")).to_contain_text("storage-oncall")


def test_help_opens_and_closes_and_single_keys_can_be_switched_off_for_good(open_page: Callable[..., Page]):
    page = open_page("/")

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    shoot(page, "help")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Keyboard").click()
    page.get_by_label("Single-key shortcuts").uncheck()
    page.get_by_role("button", name="Close").click()
    page.reload()
    page.keyboard.press("?")
    page.keyboard.press("j")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("[data-nav]:focus")).to_have_count(0)


def test_the_first_tab_stop_skips_to_the_content(open_page: Callable[..., Page]):
    page = open_page("/")

    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")

    assert page.evaluate("document.activeElement.id") == "main"


# ---- live -----------------------------------------------------------------------------------------------------------


def hurry(page: Page, times: int = 1) -> None:
    """Let the page's clock run ``times`` refreshes on."""
    for _ in range(times):
        page.clock.run_for(5_000)
        page.wait_for_timeout(150)


@pytest.fixture
def live_list(browser: Browser, open_page: Callable[..., Page]) -> Page:
    """The list with a clock of its own, so that no test waits five seconds."""
    page = open_page("/nowhere")
    page.clock.install(time=NOW)
    page.goto(page.url.replace("/nowhere", "/"))
    return page


def test_new_incidents_appear_without_taking_the_focus_and_are_announced_once(live_list: Page, site: Site):
    page = live_list
    page.keyboard.press("j")
    page.keyboard.press("j")
    focused = page.locator(":focus")
    expect(focused).to_contain_text("core-sw-1")

    for number in (90, 91):
        site.views.put(
            make_incident_view(make_incident_row(f"S-{number}", title=f"New {number}", priority=1, opened_at=NOW))
        )
    hurry(page)

    expect(page.locator("#rows tr").first).to_contain_text("New 9")
    expect(page.locator(":focus")).to_contain_text("core-sw-1")
    expect(page.locator("#say")).to_have_text("2 new incidents, 2 with priority 1")
    page.keyboard.press("j")
    expect(page.locator(":focus")).to_contain_text("checkout answers slower")


def test_a_changed_row_changes_in_place_and_its_link_keeps_the_focus(live_list: Page, site: Site):
    page = live_list
    page.keyboard.press("j")
    page.evaluate("document.activeElement.dataset.mark = 'same element'")
    view = site.views.incident("S-41")
    assert view is not None

    site.views.put(replace(view, row=replace(view.row, title="Storage array sto-2 recovers", active=2)))
    hurry(page)

    expect(page.locator("#rows tr").first).to_contain_text("Storage array sto-2 recovers")
    expect(page.locator(":focus")).to_have_attribute("data-mark", "same element")


def test_a_focused_incident_that_ends_hands_the_focus_to_its_neighbour(live_list: Page, site: Site):
    page = live_list
    page.keyboard.press("j")
    page.keyboard.press("j")

    site.views.remove("S-43")
    hurry(page)

    expect(page.locator("#rows tr")).to_have_count(6)
    expect(page.locator(":focus")).to_contain_text("checkout answers slower")
    expect(page.locator("#say")).to_have_text("1 incident left the list")


def test_rows_do_not_move_under_a_selection_but_wait_behind_a_button(live_list: Page, site: Site):
    page = live_list
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#rows .c-title'))")

    site.views.put(make_incident_view(make_incident_row("S-90", title="New one", priority=1, opened_at=NOW)))
    hurry(page)

    expect(page.locator("#rows tr").first).to_contain_text("Storage array")
    button = page.get_by_role("button", name="Show 1 new incident")
    expect(button).to_be_visible()
    button.click()
    expect(page.locator("#rows tr").first).to_contain_text("New one")
    expect(button).to_have_count(0)


def test_a_filter_also_holds_for_what_arrives_later(live_list: Page, site: Site):
    page = live_list
    page.get_by_role("searchbox").fill("core-sw")

    site.views.put(make_incident_view(make_incident_row("S-90", title="Another", cis=("core-sw-9",), opened_at=NOW)))
    site.views.put(make_incident_view(make_incident_row("S-91", title="Unrelated", opened_at=NOW)))
    hurry(page)

    expect(page.locator("#rows tr:visible")).to_have_count(2)


def test_hostile_text_that_arrives_later_runs_no_script_either(live_list: Page, site: Site):
    page = live_list

    site.views.put(
        make_incident_view(
            make_incident_row(
                "S-90",
                title="<img src=x onerror=window.pwned=1><script>window.pwned=1</script>",
                opened_at=NOW,
                tickets=(make_ticket_view("X", url="javascript:window.pwned=1"),),
            )
        )
    )
    hurry(page)

    expect(page.locator("#rows")).to_contain_text("<script>window.pwned=1</script>")


def test_data_that_is_no_longer_fresh_says_so_until_it_is_again(live_list: Page, site: Site):
    page = live_list
    hurry(page)
    expect(page.locator("#stale")).to_be_hidden()

    site.broken = True
    hurry(page, 4)
    expect(page.locator("#stale")).to_contain_text("Foreshock does not answer")
    shoot(page, "stale")
    site.broken = False
    hurry(page)

    expect(page.locator("#stale")).to_be_hidden()


def test_ages_count_on_from_the_servers_clock(browser: Browser, open_page: Callable[..., Page], site: Site):
    page = open_page("/nowhere")
    page.clock.install(time=0)  # a machine whose clock is decades wrong
    page.goto(site.url)

    expect(page.locator("#rows tr").nth(2)).to_contain_text(re.compile(r"\b(3[89]|[45]\d) s\b"))
    site.broken = True  # each answer would set the page's clock back to the one of this site, which stands still
    page.clock.run_for(60_000)

    expect(page.locator("#rows tr").nth(2)).to_contain_text("1 min")


def test_an_open_incident_tells_that_it_changed_and_leaves_the_half_written_comment_alone(
    open_page: Callable[..., Page], site: Site
):
    page = open_page("/nowhere")
    page.clock.install(time=NOW)
    page.goto(site.url + "/incidents/S-41")
    page.get_by_label("Comment").fill("half a sent")
    view = site.views.incident("S-41")
    assert view is not None

    site.views.put(replace(view, row=replace(view.row, priority=2)))
    hurry(page)

    expect(page.locator("#changed")).to_contain_text("has changed since you opened it")
    expect(page.get_by_label("Comment")).to_have_value("half a sent")


# ---- without scripts ------------------------------------------------------------------------------------------------


def test_everything_works_without_scripts(browser: Browser, site: Site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url)
    assert page.locator("noscript meta[http-equiv=refresh], meta[http-equiv=refresh]").count() == 1
    page.get_by_role("searchbox").fill("core-sw")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("#rows tr:visible").count() == 1
    page.get_by_role("link", name="core-sw-1 loses packets on both uplinks").click()
    page.get_by_label("Comment").fill("no scripts here")
    page.get_by_role("button", name="Add comment").click()
    expect(page.locator(".notes")).to_contain_text("no scripts here")
    page.goto(f"{site.url}/incidents/S-41")
    page.locator("nav[aria-label='Lane of the timeline'] a", has_text="Person").click()
    assert page.locator("#entries li:visible").count() == 2
    context.close()


# ---- an umbrella ----------------------------------------------------------------------------------------------------


def storm(site: Site) -> None:
    """A site with 4,876 incidents, two of which had tickets before."""
    children = tuple(
        ChildView(
            id=f"S-{number}",
            title=f"Down on host-{number}",
            priority=2 + number % 2,
            opened_at=NOW,
            alerts=4,
            tickets=("INC0000077",) if number % 20 == 1 else (),
        )
        for number in range(101, 121)
    )
    words = (
        "This ticket is also for 4875 situations that began below site-1 (site); 4875 of them are not over. "
        "All together: 20000 alerts on 5000 CIs, 20000 active."
    )
    held = UmbrellaView(
        words=words, ci="site-1", since=NOW, total=4875, open=4875, alerts=20_000, active=20_000, cis=5_000,
        children=children,
    )  # fmt: skip
    ticket = make_ticket_view("INC0000100")
    row = make_incident_row("S-100", title="Down on site-1", priority=1, opened_at=NOW, under=4875, tickets=(ticket,))
    site.views.put(make_incident_view(row, umbrella=held))
    site.views.put(make_incident_view(make_incident_row("S-101", title="Down on host-101", parent="S-100")))


def test_a_storm_is_one_row_and_its_page_lists_the_worst_under_it(open_page: Callable[..., Page], site: Site):
    storm(site)

    page = open_page("/")
    shoot(page, "incidents-umbrella-light")
    expect(page.locator("#rows")).to_contain_text("and 4,875 under its umbrella")
    expect(page.locator("#rows")).not_to_contain_text("host-101")

    page.get_by_role("link", name="Down on site-1").click()
    expect(page.get_by_role("heading", name="Under its umbrella")).to_be_visible()
    expect(page.locator("main")).to_contain_text("20000 alerts on 5000 CIs")
    expect(page.locator("main")).to_contain_text("The 20 most urgent are listed.")
    shoot(page, "incident-umbrella-light")
    assert [rule["id"] for rule in Axe().run(page).response["violations"]] == []

    page.get_by_role("link", name="Down on host-101").click()
    expect(page.locator("main")).to_contain_text("Under the umbrella of S-100")
    page.locator("main").get_by_role("link", name="S-100").click()
    expect(page.get_by_role("heading", name="Down on site-1")).to_be_visible()


def test_the_page_of_an_umbrella_fits_a_narrow_screen(open_page: Callable[..., Page], site: Site):
    storm(site)
    page = open_page("/incidents/S-100", viewport={"width": 320, "height": 640})
    shoot(page, "incident-umbrella-320")

    assert page.evaluate("document.documentElement.scrollWidth") == 320
