"""Which CI an alert is about, found from its labels by the names the topology knows."""

from collections.abc import Iterator, Mapping
from sys import intern

from msgspec import Struct

from correlation.settings import BindSettings
from foreshock.core.topology import Topology


class Binding(Struct, frozen=True, gc=False):
    """``ci`` is empty where nothing was found. ``how`` names the label and the way, for people; it is one of few words,
    so that many alerts share it. ``peers``: other CIs the alert names, each once, without ``ci``."""

    ci: str
    how: str
    peers: tuple[str, ...] = ()


UNBOUND = Binding("", "no label names a CI")


def bind(labels: Mapping[str, str], topology: Topology, settings: BindSettings) -> Binding:
    """The CI that the most specific label names.

    An exact name wins over one without its port or domain. A name that several CIs share binds nothing: a wrong CI
    would glue strangers together, which is worse than none. With ``implied`` the first value that names nothing at all
    serves as a CI of its own.
    """
    found = _bind(labels, topology, settings)
    peers = dict.fromkeys(named(value, topology, settings) for label in settings.peers if (value := labels.get(label)))
    peers.pop(found.ci, None)
    peers.pop("", None)
    return Binding(found.ci, found.how, tuple(peers)) if peers else found


def _bind(labels: Mapping[str, str], topology: Topology, settings: BindSettings) -> Binding:
    implied = shared = ""
    for label in settings.labels:
        value = labels.get(label)
        if not value:
            continue
        for name, how in _spellings(value, settings):
            found = topology.named(name)
            if len(found) == 1:
                return Binding(found[0], intern(f"label {label}{how}"))
            if found:
                shared = shared or f"{label}={value}{how} names {len(found)} CIs"
                break
        else:
            implied = implied or label
    if implied and settings.implied:
        value = _without_port(labels[implied])
        return Binding(intern(value), intern(f"label {implied}, not in the topology"))
    return Binding("", shared) if shared else UNBOUND


def named(name: str, topology: Topology, settings: BindSettings) -> str:
    """The one CI that goes by ``name``, as ``bind`` would take it; empty if there is none, or several share it."""
    for spelling, _ in _spellings(name, settings):
        found = topology.named(spelling)
        if found:
            return found[0] if len(found) == 1 else ""
    return intern(_without_port(name)) if settings.implied else ""


def _spellings(value: str, settings: BindSettings) -> Iterator[tuple[str, str]]:
    yield value, ""
    host = _without_port(value)
    if host != value:
        yield host, " without its port"
    if settings.strip_domain and "." in host and not host.replace(".", "").isdigit():
        yield host.partition(".")[0], " without its domain"


def _without_port(value: str) -> str:
    """host:9100 and [::1]:9100 without the port; anything else as it is."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        return value
    return host.removeprefix("[").removesuffix("]")
