"""What the CMDB store knows of how far its graph can be trusted."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from foreshock.core.cmdb import RELATED, CmdbPage, Item, Tie
from foreshock.core.reconcile import Rules
from foreshock.service.cmdb.health import Health
from foreshock.store.cmdb import CmdbStore
from foreshock.store.cmdb_applying import Guard, apply
from foreshock.store.cmdb_trust import (
    Loose,
    Told,
    Unmapped,
    keep_health,
    kept_health,
    loose,
    told,
    unmapped_classes,
    unmapped_relations,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> CmdbStore:
    made = CmdbStore(f"sqlite:///{tmp_path / 'cmdb.db'}")
    lease = made.lease("cmdb", "servicenow", "me", NOON, DAY, gone=True)
    items = [
        Item(id="1", name="web1", kind="server", class_name="cmdb_ci_server"),
        Item(id="2", name="odd", class_name="cmdb_ci_foo"),
        Item(id="3", name="odder", class_name="cmdb_ci_foo"),
        Item(id="4", name="plain"),
    ]
    first = [Tie(source="1", type="runs_on", target="2"), Tie(source="2", type=RELATED, target="3", class_name="Likes")]
    for days, page in enumerate(
        (CmdbPage(items=items, ties=first), CmdbPage(ties=[Tie(source="4", type="uses", target="1")]))
    ):
        with made.write() as connection:
            apply(
                connection, lease.source, "cmdb", [page], whole=False, rules=Rules(sources=("cmdb",)),
                guard=Guard(share=1.0), now=NOON + days * DAY,
            )  # fmt: skip
    return made


def test_relationships_are_counted_by_source_and_the_reading_that_first_said_so(store: CmdbStore):
    assert told(store) == [
        Told(source="cmdb", since=NOON, count=2),
        Told(source="cmdb", since=NOON + DAY, count=1),
    ]


def test_classes_and_relations_that_no_map_names_are_counted(store: CmdbStore):
    assert unmapped_classes(store) == [Unmapped(source="cmdb", class_name="cmdb_ci_foo", count=2, example="2")]
    assert unmapped_relations(store) == [Unmapped(source="cmdb", class_name="Likes", count=1)]


def test_relationships_that_no_ci_has_are_counted(store: CmdbStore):
    assert loose(store) == []

    lease = store.lease("cmdb", "servicenow", "me", NOON, DAY, gone=True)
    ties = [Tie(source="1", type="runs_on", target="nowhere"), Tie(source="1", type="runs_on", target="1")]
    with store.write() as connection:
        apply(
            connection, lease.source, "cmdb", [CmdbPage(ties=ties)], whole=False, rules=Rules(sources=("cmdb",)),
            guard=Guard(share=1.0), now=NOON + 2 * DAY,
        )  # fmt: skip

    assert loose(store) == [Loose(source="cmdb", without_ci=1, to_itself=1)]


def test_what_was_found_last_is_kept(store: CmdbStore):
    assert kept_health(store) == ""

    for cis in (1, 2):
        keep_health(store, Health(at=NOON, version="v", cis=cis, relationships=0, sources=(), found=()))

    assert '"cis":2' in kept_health(store)
