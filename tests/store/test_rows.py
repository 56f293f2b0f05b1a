"""Tables by columns."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foreshock.core.errors import ConfigError
from foreshock.store.rows import read_columns

CSV = 'id,node,note\n1,db1,"a, b"\n2,db2,\n'


def test_csv_plain_and_gzipped_and_parquet_give_the_same_columns(tmp_path: Path):
    (tmp_path / "t.csv").write_text(CSV)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    pq.write_table(pa.table({"id": ["1", "2"], "node": ["db1", "db2"], "note": ["a, b", ""]}), tmp_path / "t.parquet")

    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        assert read_columns(tmp_path / name, ["node", "note"]) == {"node": ["db1", "db2"], "note": ["a, b", ""]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.csv", None, "there is no such file"),
        ("t.csv", "id,node\n1,db1\n", "severity: there is no such column; it has id, node"),
        ("t.csv", "id,node,severity\n1,db1\n", "t.csv:2: has 2 of 3 columns"),
        ("t.csv.gz", "no gzip", "cannot be read"),
        ("t.parquet", "no parquet", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_and_reason(tmp_path: Path, name: str, content: str | None, said: str):
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(ConfigError) as error:
        read_columns(tmp_path / name, ["node", "severity"])

    assert said in str(error.value.problems[0])
