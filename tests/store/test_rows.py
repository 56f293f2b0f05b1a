"""Tables by columns."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foreshock.core.errors import ConfigError
from foreshock.store.rows import MAX_PROBLEMS, read_table

CSV = 'id,node,note\n1,db1,"a, b"\n2,db2,\n'
ROWS = [{"id": 1, "node": "db1", "note": "a, b"}, {"id": 2, "node": "db2"}]


def test_every_format_gives_the_same_columns(tmp_path: Path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "t.csv").write_text("\ufeff" + CSV)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    (tmp_path / "t.jsonl").write_text(lines)
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.table({"id": ["1", "2"], "node": ["db1", "db2"], "note": ["a, b", ""]}), tmp_path / "t.parquet")

    for name in ("t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz", "t.parquet"):
        table = read_table(tmp_path / name, ["node", "note"])
        assert (table.size, table.texts("node"), table.texts("note")) == (2, ["db1", "db2"], ["a, b", ""])
        assert table.texts("") == ["", ""]


def test_a_value_that_cannot_be_converted_is_named_with_its_line(tmp_path: Path):
    (tmp_path / "t.csv").write_text('node,load\n"db\n1",1\n\ndb2,much\ndb3,\n')

    with pytest.raises(ConfigError) as error:
        read_table(tmp_path / "t.csv", ["node", "load"]).read("load", float)

    assert [(one.line, one.path) for one in error.value.problems] == [(5, "load"), (6, "load")]
    assert "much" in str(error.value.problems[0])


def test_of_very_many_problems_the_first_are_told(tmp_path: Path):
    (tmp_path / "t.csv").write_text("load\n" + "much\n" * 1000)

    with pytest.raises(ConfigError) as error:
        read_table(tmp_path / "t.csv", ["load"]).read("load", float)

    assert len(error.value.problems) == MAX_PROBLEMS


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.csv", None, "does not exist; check the path"),
        (".", None, "is no file"),
        ("t.csv", "", "severity: there is no such column; it is empty"),
        ("t.csv", "id,node\n1,db1\n", "severity: there is no such column; it has id, node"),
        ("t.csv", "id,node,severity\n1,db1\n", "t.csv:2: has 2 of 3 columns"),
        ("t.csv", "node,severity\n1,a,b\n", "t.csv:2: has 3 of 2 columns; put a cell that holds a comma"),
        ("t.csv", b"node,severity\ndb1,low\ndb2,gr\xf6\xdfer\n", "t.csv:3: is not UTF-8; save the file as UTF-8"),
        ("t.csv", "node,severity\n" + "a" * 200_000 + ",b\n", "cannot be read: field larger than field limit"),
        ("t.jsonl", '{"node": "db1"}\n', "severity: there is no such column; it has node"),
        ("t.jsonl", '{"node": 1, "severity": 2}\nnode\n', "t.jsonl:2: is not JSON: "),
        ("t.jsonl", "[1]\n", "t.jsonl:1: is no JSON object"),
        ("t.jsonl", "[" * 5000, "t.jsonl:1: is not JSON: "),
        ("t.csv.gz", "no gzip", "cannot be read"),
        ("t.parquet", "no parquet", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_with_file_and_remedy(
    tmp_path: Path, name: str, content: str | bytes | None, said: str
):
    if content is not None:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    with pytest.raises(ConfigError) as error:
        read_table(tmp_path / name, ["node", "severity"])

    assert said in str(error.value.problems[-1])
