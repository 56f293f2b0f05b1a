"""An outage that comes back, from the third alert to the problem on the desk, over a kill in between."""

import time

from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock

QUICK = {
    "correlation": {
        "ticket": {"delay": "0s", "delay_by_priority": {}},
        "group": {"quiet": "500ms", "quiet_by_priority": {}, "reopen": "500ms"},
        "fold": {"flap_changes": 20},
        "suppress": {"transient": {"enabled": False}},
    }
}


def outage(server: ForeshockServer, number: int) -> None:
    alert = {"labels": {"alertname": "Down", "host": "db1"}, "severity": "critical"}
    record = f"/api/v1/records/INC{number:07d}"
    assert server.post("/api/v1/events", [{**alert, "status": "firing"}]).status == 202
    eventually(lambda: number in numbers(server), what="a ticket")
    assert server.post("/api/v1/events", [{**alert, "status": "resolved"}]).status == 202
    eventually(lambda: server.get(record)["record"]["state"] == "resolved", what="its end")
    eventually(lambda: not server.get("/api/v1/incidents?state=open"), what="the end of the incident")
    time.sleep(1)  # longer than `reopen`: what comes now is another incident


def numbers(server: ForeshockServer) -> set[int]:
    rows = server.get("/api/v1/incidents?state=all")
    return {int(ticket["number"][3:]) for row in rows for ticket in row["tickets"] if ticket["number"]}


def test_the_third_outage_opens_one_problem_of_which_the_next_incident_tells():
    with ForeshockServer(config=QUICK) as server:
        for number in (1, 2):
            outage(server, number)
        assert server.get("/api/v1/problems") == []
        assert "2 of 3 in 30d" in run_foreshock("problems", "list", "--all", "--server", server.url).stdout

        server.kill()
        server.start()
        outage(server, 3)

        (problem,) = eventually(lambda: server.get("/api/v1/problems"), what="a problem")
        assert (problem["title"], problem["ci"]) == ("Recurring: Down on db1", "db1")
        linked = server.get(f"/api/v1/records/{problem['number']}")["linked"]
        assert [record["number"] for record in linked] == ["INC0000003", "INC0000002", "INC0000001"]
        shown = run_foreshock("problems", "show", problem["number"], "--server", server.url).stdout
        assert "P-1" in shown
        assert "3 incidents linked" in shown

        outage(server, 4)
        notes = server.get("/api/v1/records/INC0000004")["notes"]
        assert f"Part of problem {problem['number']}: 4 times" in notes[0]["text"]
        eventually(lambda: len(server.get(f"/api/v1/records/{problem['number']}")["linked"]) == 4, what="a link")
