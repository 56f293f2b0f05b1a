"""State that is saved a slice at a time: whenever it is cut off, the last whole checkpoint comes back, and no more."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.service import saving
from foreshock.service.saving import Saver, Slice

State = dict[tuple[str, str], bytes]
KINDS = ("alert", "situation", "silence", "a kind of tomorrow")


class SmallEngine:
    """Holds some items, and says which changed; nothing else of an engine matters to who saves it."""

    def __init__(self, items: State) -> None:
        self.items = dict(items)
        self.changed: dict[tuple[str, str], None] = {}

    @property
    def alerts(self) -> list[str]:
        return [key for kind, key in self.items if kind == "alert"]

    @property
    def situations(self) -> list[str]:
        return [key for kind, key in self.items if kind == "situation"]

    @property
    def unsaved(self) -> int:
        return len(self.changed)

    def put(self, item: tuple[str, str], body: bytes | None) -> None:
        if body is None:
            self.items.pop(item, None)
        else:
            self.items[item] = body
        self.changed[item] = None

    def checkpoint(self) -> Iterator[tuple[str, str, bytes | None]]:
        for kind, key in self.changed:
            yield kind, key, self.items.get((kind, key))

    def save_again(self, items: Iterable[tuple[str, str]]) -> None:
        self.changed |= dict.fromkeys(items)

    def saved(self) -> None:
        self.changed = {}


class Disk:
    """What the journal keeps: blocks, and the position up to which they count."""

    def __init__(self) -> None:
        self.blocks: dict[int, tuple[int, bytes]] = {}
        self.checkpoint = 0

    def write(self, part: Slice) -> None:
        for block in part.blocks:
            assert block.number not in self.blocks
            self.blocks[block.number] = (block.position, block.body)
        if part.checkpoint is not None:
            self.checkpoint = part.checkpoint
        self.blocks = {number: block for number, block in self.blocks.items() if number >= part.gone_before}

    def read(self) -> list[tuple[int, bytes]]:
        self.blocks = {number: block for number, block in self.blocks.items() if block[0] <= self.checkpoint}
        return [(number, self.blocks[number][1]) for number in sorted(self.blocks, reverse=True)]


def start(disk: Disk) -> tuple[Any, Saver]:
    engine: Any = SmallEngine({})
    saver = Saver(engine)
    engine.items = {(kind, key): body for kind, key, body in saver.read(disk.read())}
    return engine, saver


CHANGES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 12), st.none() | st.binary(min_size=1, max_size=3)), max_size=12
)
NOTHING: st.SearchStrategy[Any] = st.just(())
MOVES = st.one_of(
    st.tuples(st.just("change"), CHANGES), st.tuples(st.just("step"), NOTHING), st.tuples(st.just("kill"), NOTHING)
)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_BLOCK_ITEMS": 2, "_SLICE_BLOCKS": 1, "_LEAST_SWEPT": 3, "_LEAST_BYTES": 4}.items():
            patch.setattr(saving, name, value)
        yield


@settings(max_examples=300)
@given(st.lists(MOVES, min_size=1, max_size=60))
def test_after_any_cut_the_last_whole_checkpoint_comes_back(moves: list[tuple[str, Any]]):
    disk = Disk()
    engine, saver = start(disk)
    whole: dict[int, State] = {0: {}}
    for position, (move, changes) in enumerate(moves, 1):
        if move == "change":
            for kind, number, body in changes:
                engine.put((kind, str(number)), body)
        elif move == "step":
            if not saver.busy and engine.unsaved:
                saver.begin(position)
                whole[position] = dict(engine.items)
            disk.write(saver.take())
        else:
            engine, saver = start(disk)
            assert engine.items == whole[disk.checkpoint]
    assert start(disk)[0].items == whole[disk.checkpoint]


def test_what_is_kept_is_bounded_however_often_items_change():
    disk = Disk()
    engine, saver = start(disk)
    for number in range(20):
        engine.put(("alert", str(number)), b"0123456789")
        engine.put(("silence", str(number)), b"0123456789")
    most = 0
    for position in range(1, 2000):
        engine.put(("alert", str(position % 5)), str(position).encode() * 3)
        if not saver.busy:
            saver.begin(position)
        disk.write(saver.take())
        most = max(most, len(disk.blocks)) if position > 200 else 0

    assert most < 100  # the state alone takes 20
    assert start(disk)[0].items.keys() == engine.items.keys()


def test_a_slice_is_small_however_much_there_is_to_save():
    engine, saver = start(Disk())
    for number in range(100):
        engine.put(("alert", str(number)), b"x")

    saver.begin(7)
    parts = []
    while saver.busy:
        parts.append(saver.take())

    assert [len(part.blocks) for part in parts] == [1] * 50
    assert [part.checkpoint for part in parts] == [None] * 49 + [7]
    assert saver.take().blocks == ()


def test_saving_keeps_up_with_a_storm():
    """Each step changes as much as a slice of a calm time holds a hundred times."""
    engine, saver = start(Disk())
    sizes = []
    for step in range(60):
        for number in range(200):
            engine.put(("alert", f"{step}-{number}"), b"x")
        if not saver.busy:
            sizes.append(engine.unsaved)
            saver.begin(step)
        saver.take()

    assert len(sizes) > 20
    assert max(sizes) <= 600


def test_what_is_not_said_again_is_not_thrown_away(monkeypatch: pytest.MonkeyPatch):
    disk = Disk()
    engine, saver = start(disk)
    engine.put(("a kind of tomorrow", "1"), b"its only copy")
    monkeypatch.setattr(engine, "save_again", lambda items: None)

    for position in range(1, 300):
        engine.put(("alert", "1"), str(position).encode())
        if not saver.busy:
            saver.begin(position)
        disk.write(saver.take())

    assert start(disk)[0].items["a kind of tomorrow", "1"] == b"its only copy"
