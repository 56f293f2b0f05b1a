"""The metric history keeps what it acknowledged: through crashes, damage, compaction and late points."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core.model import Direction, Samples, Series
from foreshock.store.history import ParquetHistory

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOON_S = NOON.timestamp()
LATENCY = Series(ci="db1", metric="latency", dimension="p99", unit="s", worse=Direction.UP)
CPU = Series(ci="db1", metric="cpu", unit="%")


def samples(series: Series, *points: tuple[float, float]) -> Samples:
    """(seconds after noon, value)."""
    return Samples(series=series, times=[NOON_S + at for at, _ in points], values=[value for _, value in points])


def points(history: ParquetHistory, metric: str = "cpu", first_s: float = -(10**6), last_s: float = 10**6, **asked):
    """{ci: [(seconds after noon, value)]}"""
    start, end = NOON + timedelta(seconds=first_s), NOON + timedelta(seconds=last_s)
    return {
        found.series.ci: [(at - NOON_S, value) for at, value in zip(found.times, found.values, strict=True)]
        for found in history.read(start, end, metric=metric, **asked)
    }


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))


@pytest.fixture
def history(tmp_path) -> ParquetHistory:
    return ParquetHistory(tmp_path)


def test_what_was_appended_is_read_with_its_series_and_by_its_time(history):
    history.append("prom", [samples(LATENCY, (0, 0.5), (60, 0.7)), samples(CPU, (0, 12.0))])

    [found] = history.read(NOON, NOON + timedelta(seconds=61), metric="latency")
    assert found.series == LATENCY
    assert list(found.times) == [NOON_S, NOON_S + 60]
    assert list(found.values) == [0.5, 0.7]
    assert history.metrics(NOON - timedelta(days=1)) == ["cpu", "latency"]
    assert history.metrics(NOON + timedelta(hours=1)) == []
    assert points(history, "latency", 0, 60) == {"db1": [(0.0, 0.5)]}
    assert points(history, "nothing") == {}


def test_points_of_several_days_and_hours_come_together_in_order(history):
    history.append("prom", [samples(CPU, (90_000, 3.0), (0, 1.0), (4000, 2.0))])

    assert points(history) == {"db1": [(0.0, 1.0), (4000.0, 2.0), (90_000.0, 3.0)]}


def test_only_the_cis_asked_for_are_read(history):
    history.append("prom", [samples(Series(ci=ci, metric="cpu"), (0, float(n))) for n, ci in enumerate("abc")])

    assert points(history, cis={"c", "a", "x"}) == {"a": [(0.0, 0.0)], "c": [(0.0, 2.0)]}


def test_series_come_sorted_whatever_hour_they_begin_in(history):
    history.append("prom", [samples(Series(ci="z", metric="cpu"), (0, 1.0))])
    history.append("prom", [samples(Series(ci=ci, metric="cpu"), (4000, 2.0)) for ci in ("b", "a", "z")])

    assert list(points(history)) == ["a", "b", "z"]


def test_a_point_that_comes_again_counts_once_and_the_newer_value_holds(history):
    history.append("prom", [samples(CPU, (0, 1.0), (60, 2.0))])
    history.append("prom", [samples(CPU, (60, 9.0), (120, 3.0))])

    assert points(history) == {"db1": [(0.0, 1.0), (60.0, 9.0), (120.0, 3.0)]}


def test_a_step_keeps_its_last_point(history):
    history.append("prom", [samples(CPU, (0, 1.0), (60, 2.0), (299, 3.0), (300, 4.0))])

    assert points(history, step_s=300) == {"db1": [(299.0, 3.0), (300.0, 4.0)]}


def test_a_value_that_is_no_number_is_left_out(history):
    history.append("prom", [samples(CPU, (0, float("nan")), (60, float("inf")), (120, 1.0))])

    assert points(history) == {"db1": [(120.0, 1.0)]}


def test_the_newest_unit_holds(history):
    history.append("prom", [samples(CPU, (0, 1.0))])
    history.append("prom", [samples(Series(ci="db1", metric="cpu", unit="ratio"), (60, 1.0))])

    [found] = history.read(NOON, NOON + timedelta(hours=1), metric="cpu")

    assert found.series.unit == "ratio"
    assert len(found.times) == 2


def test_the_cursor_is_known_after_a_restart(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))], "up to noon")
    history.append("other", [], "elsewhere")

    again = ParquetHistory(tmp_path)

    assert (again.cursor("prom"), again.cursor("other"), again.cursor("nobody")) == ("up to noon", "elsewhere", "")


def test_files_of_an_hour_that_is_over_become_one_and_nothing_is_lost(history, tmp_path):
    for minute in range(70):
        history.append("prom", [samples(CPU, (60 * minute, float(minute)))])
    before = points(history)
    assert len(files(tmp_path)) == 70

    saved = history.compact(NOON + timedelta(minutes=75))

    assert saved == 59
    assert len(files(tmp_path)) == 11  # the second hour is not over
    assert points(history) == before
    assert history.compact(NOON + timedelta(minutes=75)) == 0


def test_late_points_after_a_compaction_count_and_are_compacted_in_turn(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))])
    history.append("prom", [samples(CPU, (60, 2.0))])
    history.compact(NOON + timedelta(hours=2))
    history.append("prom", [samples(CPU, (60, 5.0), (120, 3.0))])

    late = points(history)
    history.compact(NOON + timedelta(hours=2))

    assert late == points(history) == {"db1": [(0.0, 1.0), (60.0, 5.0), (120.0, 3.0)]}
    assert len(files(tmp_path)) == 1


def test_a_crash_between_a_compaction_and_the_removal_of_its_parts_changes_nothing(history, tmp_path):
    for minute in range(3):
        history.append("prom", [samples(CPU, (60 * minute, float(minute)))])
    parts = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    history.compact(NOON + timedelta(hours=2))
    for path, content in parts.items():
        path.write_bytes(content)

    again = ParquetHistory(tmp_path)

    assert points(again) == {"db1": [(0.0, 0.0), (60.0, 1.0), (120.0, 2.0)]}


def test_a_damaged_file_is_set_aside_and_reported_and_the_others_are_read(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))])
    history.append("prom", [samples(CPU, (60, 2.0))])
    first = tmp_path / files(tmp_path)[0]
    first.write_bytes(first.read_bytes()[:-20])

    assert points(history) == {"db1": [(60.0, 2.0)]}
    assert list(history.damaged) == ["2026-11-22-12-000000000001.parquet"]
    assert (tmp_path / "damaged" / "2026-11-22-12-000000000001.parquet").exists()
    assert points(history) == {"db1": [(60.0, 2.0)]}


def test_a_flipped_bit_is_noticed_by_its_checksum(history, tmp_path):
    history.append("prom", [samples(CPU, *((60.0 * n, n * 1.37) for n in range(500)))])
    path = tmp_path / files(tmp_path)[0]
    body = bytearray(path.read_bytes())
    body[200] ^= 0x10
    path.write_bytes(bytes(body))

    points(history)

    assert len(history.damaged) == 1


def test_a_compaction_leaves_a_damaged_part_aside_and_keeps_the_rest(history, tmp_path):
    for minute in range(3):
        history.append("prom", [samples(CPU, (60 * minute, float(minute)))])
    (tmp_path / files(tmp_path)[1]).write_bytes(b"not parquet")

    history.compact(NOON + timedelta(hours=2))

    assert points(history) == {"db1": [(0.0, 0.0), (120.0, 2.0)]}
    assert len(history.damaged) == 1


def test_what_a_crash_left_half_written_is_removed(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))])
    (tmp_path / "2026-11-22" / "12-000000000002.tmp").write_bytes(b"half")

    again = ParquetHistory(tmp_path)
    again.append("prom", [samples(CPU, (60, 2.0))])

    assert points(again) == {"db1": [(0.0, 1.0), (60.0, 2.0)]}
    assert list(tmp_path.rglob("*.tmp")) == []


def test_damaged_cursors_cost_no_points(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))], "here")
    (tmp_path / "cursors.json").write_bytes(b'{"prom": 7}')

    again = ParquetHistory(tmp_path)

    assert again.cursor("prom") == ""
    assert points(again) == {"db1": [(0.0, 1.0)]}


def test_what_is_old_and_what_is_too_much_is_forgotten_oldest_first(history, tmp_path):
    for hour in range(5):
        history.append("prom", [samples(CPU, (3600 * hour, float(hour)))])
    sizes = [(tmp_path / name).stat().st_size for name in files(tmp_path)]

    freed = history.forget(NOON + timedelta(hours=1), 10**9)
    assert freed == sizes[0]
    assert [at for at, _ in points(history)["db1"]] == [3600.0, 7200.0, 10800.0, 14400.0]

    history.forget(NOON, sum(sizes[-2:]))
    assert [at for at, _ in points(history)["db1"]] == [10800.0, 14400.0]


KILLED = """
import sys
from foreshock.core.model import Samples, Series
from foreshock.store.history import ParquetHistory
from pathlib import Path

history = ParquetHistory(Path(sys.argv[1]))
for n in range(100_000):
    at = 1_795_000_000.0 + n
    history.append("prom", [Samples(series=Series(ci="db1", metric="cpu"), times=[at], values=[float(n)])], str(n))
    print(n, flush=True)
"""


def test_after_a_kill_all_that_was_acknowledged_is_there(tmp_path):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 30:
                writer.kill()
                break
        acknowledged = [30, *map(int, writer.stdout)][-1]

    history = ParquetHistory(tmp_path)
    [found] = history.read(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), metric="cpu")

    assert list(found.values)[: acknowledged + 1] == [float(n) for n in range(acknowledged + 1)]
    assert int(history.cursor("prom")) >= acknowledged
    assert history.damaged == {}


SERIES = [Series(ci=ci, metric=metric) for ci in ("a", "b") for metric in ("m", "n")]
APPENDS = st.lists(
    st.tuples(st.sampled_from(SERIES), st.integers(-9000, 9000), st.floats(-1e9, 1e9)), min_size=1, max_size=6
)


@settings(max_examples=60)
@given(st.lists(APPENDS | st.just("compact") | st.just("restart"), max_size=10))
def test_a_history_is_a_dictionary_of_points_whatever_is_done_to_its_files(tmp_path_factory, moves):
    folder = tmp_path_factory.mktemp("history")
    history, known = ParquetHistory(folder), {}
    for move in moves:
        if move == "compact":
            history.compact(NOON + timedelta(days=1))
        elif move == "restart":
            history = ParquetHistory(folder)
        else:
            history.append("prom", [samples(series, (at, value)) for series, at, value in move])
            known |= {(series.metric, series.ci, float(at)): value for series, at, value in move}

    read = {
        (metric, ci, at): value
        for metric in history.metrics(NOON - timedelta(days=1))
        for ci, found in points(history, metric).items()
        for at, value in found
    }

    assert read == known


def test_pandas_is_not_imported_for_any_of_this(tmp_path):
    code = (
        "import sys, json; from datetime import UTC, datetime; from pathlib import Path;"
        "from foreshock.store.history import ParquetHistory; h = ParquetHistory(Path(sys.argv[1]));"
        "from foreshock.core.model import Samples, Series;"
        "h.append('p', [Samples(series=Series(ci='a', metric='m'), times=[0.0], values=[1.0])]);"
        "h.metrics(datetime.fromtimestamp(0, UTC));"
        "print(json.dumps('pandas' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) is False
