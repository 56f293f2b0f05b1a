"""The machine that Foreshock runs on: processor, memory, disks, network, temperatures, and Foreshock itself.

Facts:    psutil 7.2 on Linux; what a machine does not tell (temperatures in most virtual ones) is left out.
Delivery: measured at each visit; what happened between two visits shows only in rates.
Recovery: an alert opens above its limit and ends when the value is two points below it, at one of the next visits, also
          after a restart.
Limits:   file systems on disks only (a network share that hangs would hang the visit), 64 of them; 32 interfaces,
          without those of containers. How soon a disk will be full is what forecasts are for.
Needs:    nothing. `foreshock run --watch-host` has it on where no configuration is given; in a configuration it is two
          lines: `kind: host` and a name.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from pydantic import Field

from foreshock.core.contracts import Collector, Page, Poll, PollConfig
from foreshock.core.errors import Malformed
from foreshock.core.model import Direction, Event, Moment, Samples, Series, encode_texts

MAX_FILE_SYSTEMS = 64
MAX_INTERFACES = 32
_HYSTERESIS = 2.0
"""Points below its limit at which an alert ends."""
_NOT_OURS = ("lo", "veth", "cali", "br-", "docker", "virbr", "tap", "flannel", "cni")
_IMAGES = frozenset({"squashfs", "iso9660", "erofs"})  # read-only and always full


class HostConfig(PollConfig):
    ci: str = Field(default="", max_length=200, description="what this machine is called; without: its host name")
    disk: float = Field(default=90.0, ge=1, le=100, description="percent of a file system in use that is too much")
    inodes: float = Field(default=90.0, ge=1, le=100, description="percent of its inodes in use that is too much")
    memory: float = Field(default=95.0, ge=1, le=100, description="percent of the memory in use that is too much")
    ignore: tuple[str, ...] = Field(
        default=(), max_length=100, description="mount points that are not looked at", examples=[["/mnt/backup"]]
    )


# ---- measuring ------------------------------------------------------------------------------------------------------


class Value(Struct, frozen=True, omit_defaults=True):
    """One measurement. limit: above which it is an alert; 0: it is none. about: what to call it there."""

    metric: str
    value: float
    unit: str
    dimension: str = ""
    limit: float = 0.0
    about: str = ""


class Host:
    """The cursor is a JSON list of what is above its limit, so that it ends after a restart as well."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self._ci = config.ci or socket.gethostname()
        self._counted: dict[tuple[str, str], tuple[float, float]] = {}

    def fetch(self, cursor: str, now: datetime) -> Page:
        values = list(self._values())
        before = set(msgspec.json.decode(cursor, type=list[str])) if cursor else set()
        high, told = _judged(values, before)
        measured = {"ci": self._ci, "at": now, "measured": values}
        payloads = [msgspec.json.encode(measured)]
        if told:
            payloads.append(msgspec.json.encode({"ci": self._ci, "at": now, "told": told}))
        return Page(payloads=tuple(payloads), cursor=msgspec.json.encode(sorted(high)).decode())

    def _values(self) -> Iterator[Value]:
        import psutil

        config = self._config
        yield Value("cpu_busy", psutil.cpu_percent(), "%")
        yield Value("load_per_core", os.getloadavg()[0] / (psutil.cpu_count() or 1), "")
        memory = psutil.virtual_memory()
        used = 100.0 * (1 - memory.available / memory.total)
        yield Value("memory_used", used, "%", limit=config.memory, about="Memory")
        with suppress(OSError, RuntimeError):
            yield Value("swap_used", psutil.swap_memory().percent, "%")
        yield from self._disks()
        yield from self._rates()
        for name, sensors in _temperatures().items():
            for index, sensor in enumerate(sensors):
                label = f"sensor={name} {sensor.label or index}"
                critical = sensor.critical or 0.0
                yield Value(
                    "temperature",
                    sensor.current,
                    "°C",
                    label,
                    critical if critical > sensor.current / 2 else 0.0,
                    "Heat",
                )
        yield Value("foreshock_memory", psutil.Process().memory_info().rss / 2**20, "MiB")

    def _disks(self) -> Iterator[Value]:
        import psutil

        seen: set[int] = set()
        # The root is that of a container where this runs in one, and then on no disk that psutil lists.
        mounts = ["/", *(each.mountpoint for each in psutil.disk_partitions(all=False) if each.fstype not in _IMAGES)]
        for mount in mounts:
            if mount in self._config.ignore or len(seen) == MAX_FILE_SYSTEMS:
                continue
            try:
                device = Path(mount).stat().st_dev
                found = os.statvfs(mount)
            except OSError:
                continue
            if device in seen:
                continue
            seen.add(device)
            place = f"mount={mount}"
            if (blocks := found.f_blocks - found.f_bfree + found.f_bavail) > 0:
                used = 100.0 * (1 - found.f_bavail / blocks)
                yield Value("disk_used", used, "%", place, self._config.disk, "Disk")
            if found.f_files:
                used = 100.0 * (1 - found.f_favail / found.f_files)
                yield Value("inodes_used", used, "%", place, self._config.inodes, "Inodes")

    def _rates(self) -> Iterator[Value]:
        """What grew since the last visit, each second."""
        import psutil

        interfaces = psutil.net_io_counters(pernic=True, nowrap=True)
        ours = [name for name in sorted(interfaces) if not name.startswith(_NOT_OURS)][:MAX_INTERFACES]
        for name in ours:
            count = interfaces[name]
            place = f"interface={name}"
            yield from self._rate("network_in", place, count.bytes_recv, "B/s")
            yield from self._rate("network_out", place, count.bytes_sent, "B/s")
            errors = count.errin + count.errout + count.dropin + count.dropout
            yield from self._rate("network_errors", place, errors, "1/s")
        with suppress(OSError, RuntimeError, AttributeError):
            for name, disk in sorted((psutil.disk_io_counters(perdisk=True) or {}).items())[:MAX_FILE_SYSTEMS]:
                if not name.startswith(("loop", "ram", "zram")):
                    yield from self._rate("disk_busy", f"device={name}", disk.busy_time / 10, "%")

    def _rate(self, metric: str, place: str, count: float, unit: str) -> Iterator[Value]:
        now = time.monotonic()
        before = self._counted.get((metric, place))
        self._counted[metric, place] = (now, count)
        if before is not None and now > before[0] and count >= before[1]:
            yield Value(metric, (count - before[1]) / (now - before[0]), unit, place)


def _temperatures() -> Mapping[str, Iterable[Any]]:
    import psutil

    try:
        return psutil.sensors_temperatures()
    except (AttributeError, OSError, RuntimeError, ValueError):  # not on every system, and wrong on some
        return {}


class Told(Struct, frozen=True):
    """A value that is too high, or is so no more."""

    value: Value
    over: bool


def _judged(values: Iterable[Value], before: set[str]) -> tuple[set[str], list[Told]]:
    """What is too high now, and what there is to tell: each that is, and each that no longer is. What was too high and
    is not there any more (a file system that was unmounted) has ended."""
    high: set[str] = set()
    told: list[Told] = []
    seen = set()
    for value in values:
        if not value.limit:
            continue
        key = f"{value.about}|{value.metric}|{value.dimension}"
        seen.add(key)
        if value.value >= value.limit - (_HYSTERESIS if key in before else 0.0):
            high.add(key)
            told.append(Told(value, over=False))
        elif key in before:
            told.append(Told(value, over=True))
    for key in sorted(before - seen):
        about, metric, dimension = key.split("|", 2)
        told.append(Told(Value(metric, 0.0, "", dimension, about=about), over=True))
    return high, told


# ---- payload to samples and events ----------------------------------------------------------------------------------


class _Payload(Struct, forbid_unknown_fields=True):
    ci: Annotated[str, Meta(min_length=1, max_length=200)]
    at: Moment
    measured: list[msgspec.Raw] = []
    told: list[msgspec.Raw] = []


class Item(Struct, frozen=True):
    ci: str
    at: datetime
    found: Value | Told


_PAYLOAD = msgspec.json.Decoder(_Payload)
_VALUE, _TOLD = msgspec.json.Decoder(Value), msgspec.json.Decoder(Told)


def decode(payload: bytes) -> list[Item | Malformed]:
    try:
        read = _PAYLOAD.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"no measurements: {error}") from None
    if not read.measured and not read.told:
        raise Malformed("there is nothing measured in it")
    items: list[Item | Malformed] = []
    for decoder, raws in ((_VALUE, read.measured), (_TOLD, read.told)):
        for raw in raws:
            try:
                items.append(Item(read.ci, read.at, decoder.decode(raw)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                items.append(Malformed(f"no measurement: {error}", payload=bytes(raw)))
    return items


def translate(item: Item, received_at: datetime) -> Event | Samples:
    """What is measured: a point. What is told: ``DiskNearlyFull`` and the like, of this host and what it is about."""
    found = item.found
    value = found.value if isinstance(found, Told) else found
    if not value.metric:
        raise Malformed("a measurement without a name")
    if not isinstance(found, Told):
        series = Series(
            ci=item.ci,
            metric=value.metric[:100],
            dimension=value.dimension[:300],
            unit=value.unit[:20],
            worse=Direction.UP,
        )
        return Samples(series=series, times=[item.at.timestamp()], values=[value.value])
    name = _NAMES.get(value.about)
    if name is None:
        raise Malformed(f"nothing is known about {value.about[:100]!r}")
    what, _, which = value.dimension.partition("=")
    shown = f" of {which}" if which else ""
    at = min(item.at, received_at)
    return Event(
        labels=encode_texts({"alertname": name, "host": item.ci, **({what: which} if which else {})}),
        annotations=encode_texts(
            {"summary": f"{value.metric}{shown} is {value.value:.1f} {value.unit}, the limit is {value.limit:g}"[:2000]}
        ),
        severity="critical" if value.value >= _CRITICAL and value.unit == "%" else "warning",
        ends_at=at if found.over else None,
    )


_NAMES = {
    "Disk": "DiskNearlyFull",
    "Inodes": "InodesNearlyUsedUp",
    "Memory": "MemoryNearlyFull",
    "Heat": "TemperatureCritical",
}
_CRITICAL = 97.0


def _build(name: str, config: HostConfig) -> Host:
    return Host(config)


COLLECTOR = Collector(
    kind="host",
    title="The machine that Foreshock runs on",
    facts="psutil 7.2",
    decode=decode,
    translate=translate,
    sample="host-firing.json",
    poll=Poll(config=HostConfig, build=_build),
)
