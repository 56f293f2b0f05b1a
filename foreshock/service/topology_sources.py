"""The CMDB sources of the settings, read together."""

from collections.abc import Sequence

from foreshock.core.contracts import CmdbSource
from foreshock.core.model import CI, Relationship
from foreshock.service.records import TopologyRecord
from foreshock.service.settings import SourceInstance, source_kinds

Stamp = tuple[tuple[SourceInstance, str], ...]


def stamp(instances: Sequence[SourceInstance]) -> Stamp | None:
    """Another one whenever ``read`` may give something else; None where a source cannot tell. It is looked every few
    seconds, and reading a hundred thousand CIs takes one."""
    found = tuple((instance, _source(instance).stamp()) for instance in instances)
    return found if all(said for _, said in found) else None


def read(instances: Sequence[SourceInstance]) -> TopologyRecord:
    """All together; a CI that several know is taken from the first. Raises what ``CmdbSource.fetch`` raises."""
    cis: dict[str, CI] = {}
    relationships: dict[Relationship, None] = {}
    versions = []
    for instance in instances:
        snapshot = _source(instance).fetch()
        versions.append(snapshot.version)
        for ci in snapshot.cis:
            cis.setdefault(ci.id, ci)
        relationships.update(dict.fromkeys(snapshot.relationships))
    return TopologyRecord(version="+".join(versions), cis=tuple(cis.values()), relationships=tuple(relationships))


def _source(instance: SourceInstance) -> CmdbSource:
    return source_kinds()[instance.kind].build(instance.name, instance.config)
