"""Samples of what products send, and the ways in which a payload can be wrong: for tests that hold for every collector.

A sample is a file in tests/samples. Of a JSON document with a key ``body``, that is what was sent: an object or a list,
or a text as it stands; its key ``head`` is what goes before it (``core.contracts.with_head``). Any other file is the
payload itself.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from foreshock.core.contracts import Collector, with_head
from foreshock.core.errors import Malformed

SAMPLES = Path(__file__).parents[2] / "tests" / "samples"

Step = str | int
Place = tuple[Step, ...]
"""Keys and indices that lead to a part of a JSON document."""


class Sample(NamedTuple):
    """tree: the body as JSON; None where it is none. body: as it is sent."""

    name: str
    head: dict[str, Any] | None
    tree: Any
    body: bytes

    @property
    def payload(self) -> bytes:
        return self.around(self.body)

    def around(self, body: bytes) -> bytes:
        """The payload with another body."""
        return body if self.head is None else with_head(self.head, body)

    def of(self, tree: Any) -> bytes:
        """The payload with another body, as JSON."""
        return self.around(json.dumps(tree).encode())


def sample(name: str) -> Sample:
    raw = (SAMPLES / name).read_bytes()
    if name.endswith(".json"):
        document = json.loads(raw)
        if isinstance(document, dict) and "body" in document:
            body = document["body"]
            if isinstance(body, str):
                return Sample(name, document.get("head"), None, body.encode())
            return Sample(name, document.get("head"), body, json.dumps(body).encode())
    return Sample(name, None, None, raw)


def samples_of(collector: Collector) -> Sequence[str]:
    """Its sample, and those named like it: of ``x-firing.json`` also ``x-resolved.json``, ``x-anything.json``."""
    stem, firing, ending = collector.sample.partition("-firing")
    beside = sorted(path.name for path in SAMPLES.glob(f"{stem}-*{ending}")) if firing else []
    return [collector.sample, *(name for name in beside if name != collector.sample)]


# ---- parts of a JSON document ---------------------------------------------------------------------------------------


def parts(tree: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every part with its place, the whole first."""
    yield place, tree
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, value in inner:
        yield from parts(value, (*place, step))


def changed(tree: Any, place: Place, change: Callable[[Any], Any]) -> Any:
    """A copy in which the part at ``place`` is what ``change`` makes of it; where that raises KeyError it is gone."""
    if not place:
        return change(tree)
    step, rest = place[0], place[1:]
    copy: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    try:
        copy[step] = changed(tree[step], rest, change)
    except KeyError:
        if rest:
            raise
        del copy[step]
    return copy


def replaced(tree: Any, place: Place, value: Any) -> Any:
    return changed(tree, place, lambda _: value)


def removed(tree: Any, place: Place) -> Any:
    def gone(_: Any) -> Any:
        raise KeyError

    return changed(tree, place, gone)


def doubled(value: Any) -> str:
    """JSON in which every key of every object comes twice, a text first and what it holds then."""
    if isinstance(value, dict):
        pairs = ", ".join(
            f'{json.dumps(key)}: "twice", {json.dumps(key)}: {doubled(part)}' for key, part in value.items()
        )
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(doubled, value))}]"
    return json.dumps(value)


def items_at(collector: Collector, given: Sample) -> Place | None:
    """Where the list is of which each entry becomes an item; None where a payload is about one thing."""
    whole = len(collector.decode(given.payload))
    for place, part in parts(given.tree):
        if isinstance(part, list) and part and all(isinstance(entry, dict) for entry in part):
            twice = given.of(replaced(given.tree, place, [*part, *part]))
            with suppress(Malformed):
                if len(collector.decode(twice)) == 2 * whole:
                    return place
    return None
