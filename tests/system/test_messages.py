"""People are told of an incident by a real Foreshock, beside its ticket."""

import json
from datetime import UTC, datetime, timedelta

from foreshock.testing.receiver import Receiver
from foreshock.testing.servers import ForeshockServer, eventually

QUICK = {"ticket": {"delay": "100ms", "delay_by_priority": {1: "100ms"}}, "group": {"quiet": "200ms"}}


def test_an_incident_is_told_to_people_when_it_begins_and_when_it_is_over(tmp_path):
    secret = tmp_path / "receiver"
    secret.touch(mode=0o600)
    began = datetime.now(UTC)
    alert = {"labels": {"alertname": "Down", "ci": "db1", "severity": "critical"}, "startsAt": began.isoformat()}
    with Receiver(status=200) as receiver:
        secret.write_text(f"json://127.0.0.1:{receiver.server_port}/")
        sinks = [{"name": "desk", "kind": "desk"}, {"name": "noc", "kind": "notify", "url_file": str(secret)}]
        with ForeshockServer(config={"correlation": QUICK, "sinks": sinks}) as foreshock:
            foreshock.post("/api/v2/alerts", [{**alert, "endsAt": (began + timedelta(hours=1)).isoformat()}])
            eventually(lambda: len(receiver.got) == 1, what="the first message")
            foreshock.post("/api/v2/alerts", [{**alert, "endsAt": datetime.now(UTC).isoformat()}])
            eventually(lambda: len(receiver.got) == 2, what="the second message")

    titles = [json.loads(body)["title"] for _, _, body in receiver.got]
    assert [title.split(":")[0] for title in titles] == ["New", "Resolved"]
    assert all("Down on db1" in title for title in titles)
