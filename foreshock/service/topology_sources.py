"""The CMDB sources of the settings, read together."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbPage, CmdbParts, CmdbSource, Item
from foreshock.core.model import CI, Relationship
from foreshock.service.records import TopologyRecord
from foreshock.service.settings import SourceInstance, source_kinds

Stamp = tuple[tuple[SourceInstance, str], ...]


def source(instance: SourceInstance) -> CmdbSource:
    return source_kinds()[instance.kind].build(instance.name, instance.config, CmdbParts(http=Http))


def unchanged(instances: Sequence[SourceInstance], stamp: Stamp | None) -> bool:
    """Whether ``read`` would give what it gave when ``stamp`` was taken. Reading a hundred thousand CIs takes a second,
    so files are asked first."""
    if stamp is None or tuple(instance for instance, _ in stamp) != tuple(instances):
        return False
    return all(mark and not source(instance).page("", mark).whole for instance, mark in stamp)


def read(instances: Sequence[SourceInstance]) -> tuple[TopologyRecord, Stamp]:
    """All together; a CI that several know is taken from the first. Raises what ``CmdbSource.page`` raises."""
    cis: dict[str, CI] = {}
    relationships: dict[Relationship, None] = {}
    stamp = []
    for instance in instances:
        mark = ""
        for page in pages(source(instance)):
            mark = page.mark
            for item in page.items:
                cis.setdefault(item.id, _ci(item))
            for tie in page.ties:
                relationships[Relationship(source=tie.source, type=tie.type, target=tie.target)] = None
        stamp.append((instance, mark))
    content = sorted(map(msgspec.json.encode, (*cis.values(), *relationships)))
    version = blake2b(b"\n".join(content), digest_size=6).hexdigest()
    return TopologyRecord(version=version, cis=tuple(cis.values()), relationships=tuple(relationships)), tuple(stamp)


def pages(source: CmdbSource) -> Iterator[CmdbPage]:
    """A whole reading."""
    page = source.page("", "")
    yield page
    while page.next:
        page = source.page(page.next, "")
        yield page


def _ci(item: Item) -> CI:
    return CI(
        id=item.id,
        kind=item.kind,
        name=item.name,
        aliases=item.aliases,
        owner=item.owner,
        criticality=item.criticality,
        environment=item.environment,
    )
