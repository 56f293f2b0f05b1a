"""The metric history keeps what it acknowledged: through crashes, damage, compaction and late points."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core.model import Direction, Samples, Series
from foreshock.store import history as store_history
from foreshock.store import points as columns
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


def append(history: ParquetHistory, *appended: Samples) -> None:
    """As a file of its own."""
    history.append("prom", appended)
    history.flush()


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


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1.0, 1e12, 1e30])
def test_a_point_of_no_day_is_left_out_and_the_history_goes_on(history, tmp_path, at):
    history.append("prom", [Samples(series=CPU, times=[at, NOON_S], values=[1.0, 2.0])])
    history.flush()

    assert points(history) == points(ParquetHistory(tmp_path)) == {"db1": [(0.0, 2.0)]}


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
        append(history, samples(CPU, (60 * minute, float(minute))))
    before = points(history)
    assert len(files(tmp_path)) == 70

    saved = history.compact(NOON + timedelta(minutes=75))

    assert saved == 59
    assert len(files(tmp_path)) == 11  # the second hour is not over
    assert points(history) == before
    assert history.compact(NOON + timedelta(minutes=75)) == 0


def test_late_points_after_a_compaction_count_and_are_compacted_in_turn(history, tmp_path):
    append(history, samples(CPU, (0, 1.0)))
    append(history, samples(CPU, (60, 2.0)))
    history.compact(NOON + timedelta(hours=2))
    append(history, samples(CPU, (60, 5.0), (120, 3.0)))

    late = points(history)
    history.compact(NOON + timedelta(hours=2))

    assert late == points(history) == {"db1": [(0.0, 1.0), (60.0, 5.0), (120.0, 3.0)]}
    assert len(files(tmp_path)) == 1


def test_a_crash_between_a_compaction_and_the_removal_of_its_parts_changes_nothing(history, tmp_path):
    for minute in range(3):
        append(history, samples(CPU, (60 * minute, float(minute))))
    parts = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    history.compact(NOON + timedelta(hours=2))
    for path, content in parts.items():
        path.write_bytes(content)

    again = ParquetHistory(tmp_path)

    assert points(again) == {"db1": [(0.0, 0.0), (60.0, 1.0), (120.0, 2.0)]}


def test_a_damaged_file_is_set_aside_and_reported_and_the_others_are_read(history, tmp_path):
    append(history, samples(CPU, (0, 1.0)))
    append(history, samples(CPU, (60, 2.0)))
    first = tmp_path / files(tmp_path)[0]
    first.write_bytes(first.read_bytes()[:-20])

    assert points(history) == {"db1": [(60.0, 2.0)]}
    assert list(history.damaged) == ["2026-11-22-12-000000000001.parquet"]
    assert (tmp_path / "damaged" / "2026-11-22-12-000000000001.parquet").exists()
    assert points(history) == {"db1": [(60.0, 2.0)]}


def test_a_flipped_bit_is_noticed_by_its_checksum(history, tmp_path):
    append(history, samples(CPU, *((60.0 * n, n * 1.37) for n in range(500))))
    path = tmp_path / files(tmp_path)[0]
    body = bytearray(path.read_bytes())
    body[200] ^= 0x10
    path.write_bytes(bytes(body))

    points(history)

    assert len(history.damaged) == 1


def test_a_compaction_leaves_a_damaged_part_aside_and_keeps_the_rest(history, tmp_path):
    for minute in range(3):
        append(history, samples(CPU, (60 * minute, float(minute))))
    (tmp_path / files(tmp_path)[1]).write_bytes(b"not parquet")

    history.compact(NOON + timedelta(hours=2))

    assert points(history) == {"db1": [(0.0, 0.0), (120.0, 2.0)]}
    assert len(history.damaged) == 1


def test_what_a_crash_left_half_written_is_removed(history, tmp_path):
    append(history, samples(CPU, (0, 1.0)))
    (tmp_path / "points" / "day=2026-11-22" / ".12-000000000002.parquet").write_bytes(b"half")

    again = ParquetHistory(tmp_path)
    append(again, samples(CPU, (60, 2.0)))

    assert points(again) == {"db1": [(0.0, 1.0), (60.0, 2.0)]}
    assert list(tmp_path.rglob(".*")) == []


def test_damaged_cursors_cost_no_points(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))], "here")
    history.flush()
    (tmp_path / "cursors.json").write_bytes(b'{"prom": 7}')

    again = ParquetHistory(tmp_path)

    assert again.cursor("prom") == ""
    assert points(again) == {"db1": [(0.0, 1.0)]}


def test_what_is_old_and_what_is_too_much_is_forgotten_oldest_first(history, tmp_path):
    for hour in range(5):
        append(history, samples(CPU, (3600 * hour, float(hour))))
    sizes = [(tmp_path / name).stat().st_size for name in files(tmp_path)]

    freed = history.forget(NOON + timedelta(hours=1), 10**9)
    assert freed == sizes[0]
    assert [at for at, _ in points(history)["db1"]] == [3600.0, 7200.0, 10800.0, 14400.0]

    history.forget(NOON, sum(sizes[-2:]))
    assert [at for at, _ in points(history)["db1"]] == [10800.0, 14400.0]


# ---- days -----------------------------------------------------------------------------------------------------------

DAY = timedelta(days=1)


def test_a_day_that_is_over_becomes_one_file(history, tmp_path):
    for hour in range(20):
        append(history, samples(CPU, (3600.0 * hour, float(hour))), samples(LATENCY, (3600.0 * hour, 0.5)))
    before = points(history), points(history, "latency")

    history.compact(NOON + timedelta(hours=13))

    assert files(tmp_path)[0] == "points/day=2026-11-22/all-000000000012.parquet"
    assert len(files(tmp_path)) == 9
    assert (points(history), points(history, "latency")) == before


def test_a_late_point_of_a_day_that_is_over_joins_its_file(history, tmp_path):
    append(history, samples(CPU, (0, 1.0), (60, 2.0)))
    history.compact(NOON + 2 * DAY)
    append(history, samples(CPU, (60, 5.0), (-60, 0.0)))

    late = points(history)
    history.compact(NOON + 2 * DAY)

    assert late == points(history) == {"db1": [(-60.0, 0.0), (0.0, 1.0), (60.0, 5.0)]}
    assert len(files(tmp_path)) == 1
    assert history.compact(NOON + 2 * DAY) == 0


def test_anyones_pandas_reads_the_folder(history, tmp_path):
    """While the day runs and after it, also beside a file that is just being written."""
    pandas = pytest.importorskip("pandas")
    append(history, samples(LATENCY, (0, 0.5)))
    history.compact(NOON + 2 * DAY)
    append(history, samples(CPU, (86400, 12.0)))
    (tmp_path / "points" / "day=2026-11-23" / ".12-000000000009.parquet").write_bytes(b"half")

    frame = pandas.read_parquet(tmp_path / "points")

    assert frame.drop(columns="time").astype(str).to_dict("records") == [
        {"metric": "latency", "ci": "db1", "dimension": "p99", "unit": "s", "worse": "up", "value": "0.5",
         "day": "2026-11-22"},
        {"metric": "cpu", "ci": "db1", "dimension": "", "unit": "%", "worse": "", "value": "12.0",
         "day": "2026-11-23"},
    ]  # fmt: skip
    assert list(frame.time) == [NOON, NOON + DAY]
    few = pandas.read_parquet(tmp_path / "points", filters=[("metric", "==", "cpu"), ("ci", "in", ["db1"])])
    assert list(few.value) == [12.0]


def test_one_ci_of_a_metric_is_read_from_few_rows(history, tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "ROW_GROUP", 100)
    append(history, *(samples(Series(ci=f"host{n:03}", metric="cpu"), *((60.0 * m, float(n)) for m in range(50)))
                      for n in range(100)))  # fmt: skip
    [path] = tmp_path.rglob("*.parquet")
    read = []

    with parquet.ParquetFile(path) as file:
        take = file.read_row_group
        monkeypatch.setattr(file, "read_row_group", lambda group: read.append(group) or take(group))
        found = columns.load(file, "cpu", {"host042"}, span=(0, 2**62), step_ms=1)

    assert len(found.times) == 50
    assert len(read) <= 2


def many(minutes: int = 30) -> list[Samples]:
    """20 CIs with three metrics each."""
    names = [Series(ci=f"host{ci:02}", metric=f"m{metric}") for metric in range(3) for ci in range(20)]
    return [samples(name, *((60.0 * minute, float(minute)) for minute in range(minutes))) for name in names]


def rows_read(path: Path, monkeypatch, metric: str | None, cis: set[str] | None) -> tuple[int, int]:
    """Points that were found, and rows that were read for them."""
    read = 0
    with parquet.ParquetFile(path) as file:
        take = file.read_row_group

        def counting(group):
            nonlocal read
            table = take(group)
            read += table.num_rows
            return table

        monkeypatch.setattr(file, "read_row_group", counting)
        return len(columns.load(file, metric, cis, span=(0, 2**62), step_ms=1).times), read


def test_all_metrics_of_one_ci_lie_together(history, tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "ROW_GROUP", 90)
    append(history, *many())
    [path] = tmp_path.rglob("*.parquet")

    frame = parquet.read_table(path).to_pandas()

    assert list(frame.ci) == sorted(frame.ci)
    assert rows_read(path, monkeypatch, None, {"host07"}) == (90, 90)


def test_files_that_were_sorted_by_metric_are_read_and_become_sorted_by_ci(history, tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "identity", lambda series: (series.metric, series.ci, series.dimension))
    append(history, *many())
    monkeypatch.undo()
    monkeypatch.setattr(store_history, "_TOGETHER", 200)
    [path] = tmp_path.rglob("*.parquet")
    assert list(parquet.read_table(path).column("ci").to_pylist()[:31:30]) == ["host00", "host01"]
    before = [points(history, f"m{n}") for n in range(3)]

    history.compact(NOON + 2 * DAY)

    [path] = tmp_path.rglob("*.parquet")
    frame = parquet.read_table(path).to_pandas()
    assert [points(history, f"m{n}") for n in range(3)] == before
    assert before[1]["host03"] == [(60.0 * minute, float(minute)) for minute in range(30)]
    assert list(frame.ci) == sorted(frame.ci)


@given(st.lists(st.sampled_from(("append", "read", "flush")), min_size=4, max_size=8), st.integers(0, 8))
@settings(deadline=None, max_examples=8)
def test_between_two_steps_of_putting_together_all_else_may_be_done(tmp_path_factory, between, crash_after):
    folder = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store_history, "_TOGETHER", 300)
        patched.setattr(columns, "ROW_GROUP", 100)
        history = ParquetHistory(folder)
        for part in (many(10), many(20)):
            append(history, *part)
        expected = {ci: dict(course) for ci, course in points(history, "m1").items()}
        late = 0
        for step, _ in enumerate(history.compacting(NOON + 2 * DAY)):
            what = between[step] if step < len(between) else ""
            if what == "append":
                late += 1
                history.append("prom", [samples(Series(ci="host03", metric="m1"), (late + 0.5, float(late)))])
                expected["host03"][late + 0.5] = float(late)
            elif what == "flush":
                history.flush()
            elif what == "read":
                assert {ci: dict(course) for ci, course in points(history, "m1").items()} == expected
            if step == crash_after:
                break
        again = ParquetHistory(folder)
        assert {ci: dict(course) for ci, course in points(again, "m1").items()} == expected
        again.compact(NOON + 2 * DAY)
        assert {ci: dict(course) for ci, course in points(again, "m1").items()} == expected


def test_what_is_read_in_steps_is_whole_although_files_are_put_together_meanwhile(history):
    for day in range(3):
        for minute in range(3):
            append(history, samples(CPU, (86_400.0 * day + 60 * minute, float(minute))))
    expected = points(history)["db1"]
    answer = []

    def reading():
        answer.extend((yield from history.reading(NOON - DAY, NOON + 4 * DAY, metric="cpu")))

    for step, _ in enumerate(reading()):
        if not step:
            history.compact(NOON + 9 * DAY)

    [found] = answer
    assert [(at - NOON_S, value) for at, value in zip(found.times, found.values, strict=True)] == expected


def test_what_is_put_together_piece_by_piece_is_the_same(history, monkeypatch):
    monkeypatch.setattr(store_history, "_TOGETHER", 100)
    for minute in range(30):
        names = [Series(ci=f"host{n}", metric=f"m{n % 3}") for n in range(20)]
        append(history, *(samples(name, (60.0 * minute, float(minute))) for name in names))
    before = [points(history, f"m{n}") for n in range(3)]

    history.compact(NOON + 2 * DAY)

    assert [points(history, f"m{n}") for n in range(3)] == before


def test_folders_of_days_as_they_were_named_before_are_taken_over(history, tmp_path):
    append(history, samples(CPU, (0, 1.0)))
    (tmp_path / "points" / "day=2026-11-22").rename(tmp_path / "2026-11-22")

    assert points(ParquetHistory(tmp_path)) == {"db1": [(0.0, 1.0)]}


# ---- the log --------------------------------------------------------------------------------------------------------


def test_what_was_appended_is_there_before_it_is_parquet_and_after_a_crash(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))], "here")
    assert files(tmp_path) == []
    assert points(history) == {"db1": [(0.0, 1.0)]}

    again = ParquetHistory(tmp_path)

    assert (points(again), again.cursor("prom")) == ({"db1": [(0.0, 1.0)]}, "here")
    assert len(files(tmp_path)) == 1


def test_an_append_that_a_crash_cut_off_is_as_if_it_never_came(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))])
    whole = (tmp_path / "log").stat().st_size
    history.append("prom", [samples(CPU, (60, 2.0))])
    os.truncate(tmp_path / "log", whole + 30)

    again = ParquetHistory(tmp_path)
    again.append("prom", [samples(CPU, (120, 3.0))])

    assert points(ParquetHistory(tmp_path)) == {"db1": [(0.0, 1.0), (120.0, 3.0)]}


def test_a_crash_after_the_log_became_files_doubles_nothing(history, tmp_path):
    history.append("prom", [samples(CPU, (0, 1.0))])
    left = (tmp_path / "log").read_bytes()
    history.flush()
    (tmp_path / "log").write_bytes(left)

    again = ParquetHistory(tmp_path)
    again.compact(NOON + 2 * DAY)

    assert points(again) == {"db1": [(0.0, 1.0)]}


PUTS_TOGETHER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from foreshock.store.history import ParquetHistory

history = ParquetHistory(Path(sys.argv[1]))
print("ready", flush=True)
history.compact(datetime(2026, 11, 30, tzinfo=UTC))
"""


@pytest.mark.parametrize("after_ms", [0, 3, 10, 30, 100])
def test_a_kill_while_files_are_put_together_loses_and_doubles_nothing(history, tmp_path, after_ms):
    for hour in range(30):
        append(history, *(samples(Series(ci=f"h{n}", metric="cpu"), (3600.0 * hour, float(n))) for n in range(50)))
    before = points(history)
    command = [sys.executable, "-c", PUTS_TOGETHER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(after_ms / 1000)
        worker.kill()

    again = ParquetHistory(tmp_path)
    once = points(again)
    again.compact(NOON + 9 * DAY)

    assert once == points(again) == before
    assert len(files(tmp_path)) == 2


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
