"""What a console shows of a topology: two sources, and something of each sort that can be doubtful."""

from datetime import timedelta

from foreshock.service.cmdb.health import Doubt, Doubtful, Health, Trust
from foreshock.service.cmdb.status import CmdbStatus, SourceView
from foreshock.service.cmdb.trusted import Shown
from foreshock.store.cmdb import Version
from foreshock.testing.factories import NOW

_HOSTILE = "<script>window.pwned = 1</script>"


def example_topology() -> Shown:
    sources = (
        SourceView(
            name="servicenow", kind="servicenow", in_settings=True, outcome="changed", items=102_400, ties=398_211,
            succeeded_at=NOW - timedelta(minutes=3),
        ),
        SourceView(
            name="old", kind="netbox", in_settings=False, outcome="refused", stale=True, items=12,
            error=f"'old' would retire 9 of its 12 CIs, and at most 10% are allowed: {_HOSTILE}",
        ),
    )  # fmt: skip
    trust = Trust(
        source="servicenow", kind="servicenow", items=102_400, ties=398_211, confirmed_at=NOW,
        oldest_at=NOW - timedelta(days=500), ages=(120, 3_400, 20_000, 300_000, 74_691),
    )  # fmt: skip
    found = tuple(
        Doubtful(doubt=doubt, weight=3, seen=f"{doubt.value} of {_HOSTILE} {'x' * 120}", remedy="mend it in servicenow")
        for doubt in Doubt
    )
    version = Version(number=41, name="ecd786de6a96", at=NOW, cis=100_012, relationships=398_011, source="servicenow")
    return Shown(
        status=CmdbStatus(version=version, in_force="ecd786de6a96", sources=sources),
        health=Health(
            at=NOW - timedelta(minutes=2), version="ecd786de6a96", cis=100_012, relationships=398_011, sources=(trust,),
            found=found, counts={**{doubt.value: 1 for doubt in Doubt}, Doubt.AMBIGUOUS.value: 312},
        ),
        unbound=found[1:2],
    )  # fmt: skip
