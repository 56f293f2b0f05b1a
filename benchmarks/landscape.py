"""A made-up estate as large CMDBs hold them: services over applications, containers, machines, racks and sites, with a
network beside them, and a few things that nearly everything uses."""

import random
from collections.abc import Sequence

import msgspec

from foreshock.core.model import CI, Relationship
from foreshock.core.topology import TopologyDelta

SHARES = {
    "service": 0.01, "application": 0.09, "database": 0.03, "container": 0.4, "vm": 0.3, "server": 0.12,
    "network": 0.02, "storage": 0.01, "power": 0.008, "rack": 0.01, "location": 0.001,
}  # fmt: skip
"""Part of all CIs that is of this kind; what is left over are further containers."""
HUBS = ("dns", "directory", "monitoring", "backup")
_ENVIRONMENTS = ("production", "production", "staging", "test")


def estate(seed: int, cis: int = 100_000, relationships: int = 400_000) -> tuple[list[CI], list[Relationship]]:
    """CIs with five aliases each, and relationships that are all different."""
    draw = random.Random(seed)
    counts = {kind: max(1, int(share * cis)) for kind, share in SHARES.items()}
    counts["container"] += cis - len(HUBS) - sum(counts.values())
    names = {kind: [f"{kind}-{number:05}" for number in range(count)] for kind, count in counts.items()}
    made = [_ci(name, kind, number, draw) for kind in names for number, name in enumerate(names[kind])]
    made += [_ci(hub, "server", number, draw) for number, hub in enumerate(HUBS)]
    ties = dict.fromkeys(_structure(names, draw))
    users = [name for kind in ("application", "container", "vm", "server") for name in names[kind]]
    while len(ties) < relationships:
        ties[draw.choice(users), "uses", draw.choice(HUBS)] = None
        ties[draw.choice(names["application"]), "depends_on", draw.choice(names["application"])] = None
        ties[draw.choice(names["container"]), "sends_data_to", draw.choice(names["database"])] = None
    return made, [
        Relationship(source=source, type=kind, target=target) for source, kind, target in [*ties][:relationships]
    ]


def _structure(names: dict[str, list[str]], draw: random.Random) -> list[tuple[str, str, str]]:
    ties = [(one, "depends_on", app) for one in names["service"] for app in draw.sample(names["application"], 4)]
    for app in names["application"]:
        ties += [(app, "depends_on", draw.choice(names["database"])), (app, "calls", draw.choice(names["application"]))]
    for number, container in enumerate(names["container"]):
        ties.append((names["application"][number % len(names["application"])], "runs_on", container))
        ties.append((container, "hosted_on", draw.choice(names["vm"])))
    ties += [(database, "runs_on", draw.choice(names["vm"])) for database in names["database"]]
    for vm in names["vm"]:
        ties += [(vm, "runs_on", draw.choice(names["server"])), (vm, "stored_on", draw.choice(names["storage"]))]
    for number, server in enumerate(names["server"]):
        ties.append((names["rack"][number % len(names["rack"])], "contains", server))
        ties += [(server, "connects_to", switch) for switch in draw.sample(names["network"], 2)]
        ties.append((server, "powered_by", draw.choice(names["power"])))
    core = names["network"][: max(2, len(names["network"]) // 50)]
    ties += [(switch, "connects_to", other) for switch in names["network"] for other in draw.sample(core, 2)]
    for kind in ("rack", "storage", "power"):
        ties += [(one, "located_in", draw.choice(names["location"])) for one in names[kind]]
    return [tie for tie in ties if tie[0] != tie[2]]


def _ci(name: str, kind: str, number: int, draw: random.Random) -> CI:
    mark = f"{draw.getrandbits(128):032x}"
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    aliases = (f"{name}.corp.example", f"{kind}/{address}", f"urn-{mark[:20]}", f"sn-{mark[12:]}", f"i-{mark[:17]}")
    return CI(
        id=name,
        kind=kind,
        name=name.upper(),
        aliases=aliases,
        owner=f"team-{number % 40}",
        criticality=1 + number % 4 if kind == "service" and number % 3 else 0,
        environment=draw.choice(_ENVIRONMENTS),
    )


def churn(cis: Sequence[CI], ties: Sequence[Relationship], seed: int, share: float = 0.01) -> TopologyDelta:
    """So large a part of it ended, renamed or new: 1 % of 100,000 and 400,000 are 1,000 CIs and 4,000 relationships."""
    draw = random.Random(seed)
    changed = draw.sample(range(len(cis)), int(share * len(cis)))
    gone = [cis[at].id for at in changed[::4]]
    put = [msgspec.structs.replace(cis[at], name=f"{cis[at].name} renamed") for at in changed[1::4] + changed[2::4]]
    new = [CI(id=f"new-{seed}-{at}", kind="vm", aliases=(f"new-{seed}-{at}.corp.example",)) for at in changed[3::4]]
    moved = draw.sample(range(len(ties)), int(share * len(ties)) // 2)
    drawn = [
        Relationship(
            source=ties[at].source, type=ties[at].type, target=draw.choice(new).id if at % 2 else ties[at - 1].target
        )
        for at in moved
    ]
    return TopologyDelta(
        put_cis=(*put, *new),
        gone_cis=tuple(gone),
        put_relationships=tuple(drawn),
        gone_relationships=tuple(ties[at] for at in moved),
    )
