"""Topologies from YAML, JSON and CSV: equal content is the same topology, and bad rows are named with their lines."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cmdb_sync import file as file_module
from cmdb_sync.file import MAX_PROBLEMS, FileConfig, FileSource
from foreshock.core.cmdb import IdType, Item
from foreshock.core.contracts import Snapshot
from foreshock.core.errors import ConfigError
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology

Write = Callable[[str], Path]

SHOP = """\
version: 1
cis:
  - {id: db1, kind: database, name: Orders DB, aliases: [db1.example.com, 10.0.0.5], owner: dba, environment: prod}
  - {id: shop, kind: business_service, criticality: critical}
relationships:
  - {source: shop, type: depends_on, target: db1}
"""
NODES = """\
node,type,name,aliases,owner,criticality,environment
shop,business_service,,,,1,
db1,database,Orders DB,10.0.0.5; db1.example.com,dba,,prod
"""
EDGES = "source,target,relation\nshop,db1,depends_on\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "t.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str, str], Path]:
    def folder(nodes: str, edges: str) -> Path:
        (tmp_path / "nodes.csv").write_text(nodes)
        (tmp_path / "topology.csv").write_text(edges)
        return tmp_path

    return folder


Folder = Callable[[str, str], Path]


def fetch(path: Path, **config: Any) -> Snapshot:
    return FileSource("cmdb", FileConfig(path=path, **config)).fetch()


def problems(path: Path, **config: Any) -> list[str]:
    """Each problem without the folder of the test and without its hint."""
    with pytest.raises(ConfigError) as refused:
        fetch(path, **config)
    folder = path if path.is_dir() else path.parent
    return [str(problem).partition(";")[0].replace(f"{folder}/", "") for problem in refused.value.problems]


def test_a_yaml_file_becomes_cis_and_relationships(write: Write):
    found = fetch(write(SHOP))

    assert found.cis == (
        CI(
            id="db1", kind="database", name="Orders DB", aliases=("10.0.0.5", "db1.example.com"), owner="dba",
            environment="prod",
        ),
        CI(id="shop", kind="business_service", criticality=1),
    )  # fmt: skip
    assert found.relationships == (Relationship(source="shop", type="depends_on", target="db1"),)
    assert found.warnings == ()


def test_the_same_content_in_any_shape_and_order_has_the_same_version(write: Write, folder: Folder):
    yaml = fetch(write(SHOP))
    data = {
        "relationships": [{"target": "db1", "type": "Depends On", "source": "shop"}],
        "cis": [
            {"criticality": 1, "kind": "business_service", "id": "shop"},
            {
                "id": "db1", "kind": "database", "name": "Orders DB", "aliases": ["10.0.0.5", "db1.example.com", "db1"],
                "owner": "dba", "environment": "prod", "criticality": None,
            },
        ],
    }  # fmt: skip

    assert fetch(write(json.dumps(data), "t.json")) == yaml
    assert fetch(folder(NODES, EDGES)) == yaml
    assert fetch(write(SHOP.replace("dba", "dbb"))).version != yaml.version
    assert len(yaml.version) == 12


def test_every_problem_of_a_yaml_file_is_listed_with_its_line(write: Write):
    path = write("""\
version: 2
cis:
  - {id: a, kind: vm, criticality: 5}
  - {id: a}
  - {id: A, ownr: x}
  - {id: 7, aliases: x}
  - {kind: vm, name: [x]}
  - nonsense
  - {id: "b\\x07"}
relationships:
  - {source: a, type: depend_on, target: nobody}
  - {source: a, target: A}
relations: []
""")

    assert problems(path) == [
        "t.yaml:1:1: version: 2 is not a version that is known here",
        "t.yaml:3:23: cis[0].criticality: 5 is not a criticality",
        "t.yaml:4:6: cis[1].id: id 'a' stands here twice, first on line 3",
        "t.yaml:5:6: cis[2].id: id 'A' differs from 'a' only by case, first on line 3",
        "t.yaml:5:13: cis[2].ownr: unknown key",
        "t.yaml:6:6: cis[3].id: 7 is not text",
        "t.yaml:6:13: cis[3].aliases: 'x' is no list",
        "t.yaml:7:5: cis[4].id: is missing",
        "t.yaml:7:16: cis[4].name: ['x'] is not text",
        "t.yaml:8:5: cis[5]: must be a mapping",
        "t.yaml:8:5: cis[5].id: is missing",
        "t.yaml:9:6: cis[6].id: 'b\\x07' holds a control character",
        "t.yaml:11:17: relationships[0].type: 'depend_on' is not a relationship type",
        "t.yaml:11:34: relationships[0].target: 'nobody' is no CI",
        "t.yaml:12:5: relationships[1].type: is missing",
        "t.yaml:12:17: relationships[1].target: 'A' is no CI",
        "t.yaml:13:1: relations: unknown key",
    ]


def test_an_unknown_relationship_type_is_answered_with_the_known_ones(write: Write):
    with pytest.raises(
        ConfigError, match=r"did you mean 'depends_on'\? \(known: depends_on, .*related_to\).*`relations`"
    ):
        fetch(write(SHOP.replace("depends_on", "dependson")))


def test_a_wrong_endpoint_is_answered_with_the_one_that_differs_only_by_case(write: Write):
    with pytest.raises(ConfigError, match="did you mean 'db1'"):
        fetch(write(SHOP.replace("target: db1", "target: DB1")))


def test_every_problem_of_csv_files_is_listed_with_its_line(folder: Folder):
    path = folder(
        'node,type,criticality\n"a\n a",vm,\nb,vm,urgent\n\n,vm,\nb,host,\n', "source,target,relation\nb,c,x\n"
    )

    assert problems(path) == [
        "nodes.csv:2: node: 'a\\n a' holds a control character",
        "nodes.csv:4: criticality: 'urgent' is not a criticality",
        "nodes.csv:6: node: is missing",
        "nodes.csv:7: node: id 'b' stands here twice, first on line 4",
        "topology.csv:2: target: 'c' is no CI",
        "topology.csv:2: relation: 'x' is not a relationship type",
    ]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("", "nodes.csv:1: has no column node, type"),
        ("id;type\na;vm\n", "nodes.csv:1: has no column node, type"),
        ("id,node,type\na,a,vm\n", "nodes.csv:1: id: has this column twice"),
        ("id,type\na,vm,x\nb\n", "nodes.csv:2: has 3 cells, the first line has 2"),
        ('id,type\n"a,vm\n', "nodes.csv:2: is not CSV: unexpected end of data"),
    ],
)
def test_a_csv_file_of_another_shape_is_refused(folder: Folder, nodes: str, said: str):
    assert problems(folder(nodes, EDGES))[0] == said


def test_a_folder_without_one_of_the_files_is_refused(tmp_path: Path):
    assert problems(tmp_path) == ["nodes.csv: does not exist", "topology.csv: does not exist"]


def test_id_is_as_good_as_node_and_other_columns_are_counted_but_not_read(folder: Folder):
    found = fetch(folder("id,type,tier,rack\na,vm,1,2\n", "relation,source,target,since\n"))

    assert found.cis == (CI(id="a", kind="vm"),)
    assert [warning.partition(": ")[2] for warning in found.warnings] == [
        "columns that are not read (2): 'tier', 'rack'", "columns that are not read (1): 'since'",
    ]  # fmt: skip


def test_a_ci_that_depends_on_itself_is_left_out_with_a_warning(write: Write):
    found = fetch(write(SHOP + "  - {source: db1, type: uses, target: db1}\n"))

    assert len(found.relationships) == 1
    assert found.warnings[0].endswith("t.yaml:7: 'db1' uses itself: left out")


def test_a_relationship_that_stands_there_twice_counts_once(write: Write):
    found = fetch(write(SHOP + "  - {source: shop, type: depends_on, target: db1}\n"))

    assert found.version == fetch(write(SHOP)).version
    assert found.warnings == ("1 relationships stand there more than once",)


def test_a_ci_that_stands_there_twice_with_equal_values_counts_once(write: Write):
    """As in an export of several systems put one below the other."""
    found = fetch(write("cis:\n  - {id: a, kind: vm}\n  - {id: a, kind: vm}\n"))

    assert [ci.id for ci in found.cis] == ["a"]
    assert found.warnings == ("1 CIs stand there more than once, with equal values",)


def test_an_alias_of_two_cis_is_kept_as_ambiguous(write: Write):
    found = fetch(write("cis:\n  - {id: a, aliases: [X, b]}\n  - {id: b, aliases: [x]}\n"))

    assert Topology(found.cis).named("x") == ("a", "b")
    assert found.warnings == (
        "alias 'b' names 2 CIs, so it binds to none: 'a', 'b'",
        "alias 'x' names 2 CIs, so it binds to none: 'a', 'b'",
    )


def test_ids_that_differ_only_by_unicode_form_are_the_same(write: Write):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    cis = f"cis:\n  - {{id: {composed}}}\n  - {{id: a}}\n"

    found = fetch(write(cis + f"relationships:\n  - {{source: a, type: uses, target: {decomposed}}}\n"))

    assert found.relationships[0].target == composed
    assert problems(write(f"cis:\n  - {{id: {composed}}}\n  - {{id: {decomposed}, kind: vm}}\n")) == [
        f"t.yaml:3:6: cis[1].id: id '{composed}' stands here twice, first on line 2"
    ]


def test_words_of_another_cmdb_are_mapped_or_left_out_by_configuration(folder: Folder):
    path = folder("node,type\na,Service\nb,Pod\n", "source,target,relation\na,b,instance_of\nb,a,discovers\n")

    found = fetch(path, relations={"instance_of": "runs_on", "discovers": "ignore"}, kinds={"Pod": "pod"})

    assert found.relationships == (Relationship(source="a", type="runs_on", target="b"),)
    assert [ci.kind for ci in found.cis] == ["Service", "pod"]
    assert found.warnings == ("1 relationships of type 'discovers' are left out, as `relations` says",)


def test_a_mapping_to_an_unknown_type_is_refused():
    with pytest.raises(ValidationError, match="'call' is not a relationship type"):
        FileConfig(path=Path("x"), relations={"calls_to": "call"})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.json", "{", "t.json:1:2: is not JSON: Expecting property name enclosed in double quotes"),
        ("t.json", '{"cis": [{"id": "a", "criticality": NaN}]}', "t.json: is not JSON: NaN is not JSON"),
        ("t.json", '{"cis":\n [{"id": "a",\n "id": "b"}]}', "t.json:3:2: cis[0].id: the key stands here twice"),
        ("t.json", '{"cis":\n\t[{"id": "a",\n\t"kid": "b"}]}', "t.json:3:2: cis[0].kid: unknown key"),
        ("t.json", "[" * 100_000, "t.json: is not JSON: maximum recursion depth exceeded"),
        ("t.yaml", "- a", "t.yaml:1:1: must be a mapping"),
        ("t.yaml", "", "t.yaml:1:1: must be a mapping"),
        ("t.yaml", "cis: {a: 1}", "t.yaml:1:1: cis: must be a list"),
        ("t.txt", "", "t.txt: is neither YAML nor JSON by its name"),
    ],
)  # fmt: skip
def test_a_file_of_another_shape_is_refused(write: Callable[[str, str], Path], name: str, text: str, said: str):
    assert problems(write(text, name))[0].startswith(said)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path):
    assert problems(tmp_path / "absent") == ["absent: does not exist"]
    assert problems(tmp_path / "absent.csv") == ["absent.csv: does not exist"]


def test_a_file_where_all_is_wrong_tells_the_first_thousand_problems(folder: Folder):
    path = folder("node,type\na,host\n" + "a,vm\n" * (MAX_PROBLEMS + 49), "source,target,relation\n")

    found = problems(path)

    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "nodes.csv: … and 49 more problems"


def test_ten_thousand_cis_are_read_from_csv_well_within_a_second(folder: Folder):
    nodes = "node,type,aliases\n" + "".join(
        f"ci-{n},vm,ci-{n}.example.com;10.{n // 250}.0.{n % 250}\n" for n in range(10_000)
    )
    edges = "source,target,relation\n" + "".join(
        f"ci-{n % 10_000},ci-{(n * 7 + 1) % 10_000},depends_on\n" for n in range(19_000)
    )
    path = folder(nodes, edges)

    started = time.process_time()
    found = fetch(path)

    assert time.process_time() - started < 1
    assert len(found.cis) == 10_000


_TEXT = st.text(max_size=8) | st.sampled_from(["a", "A", "b", "depends_on", "critical", "", "node", "id"])
_ANY = st.none() | st.booleans() | st.integers() | _TEXT | st.lists(_TEXT, max_size=2)
_KEYS = st.sampled_from(["id", "kind", "name", "aliases", "owner", "criticality", "source", "type", "target"]) | _TEXT
_ROWS = st.lists(st.dictionaries(_KEYS, _ANY, max_size=5) | _ANY, max_size=4) | _ANY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["cis", "relationships", "version"]) | _TEXT, _ROWS))
def test_any_json_is_read_or_refused_and_nothing_else(write: Callable[[str, str], Path], data: dict[str, Any]):
    try:
        fetch(write(json.dumps(data), "any.json"))
    except ConfigError:
        return


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_TEXT, max_size=4), max_size=5))
def test_any_csv_is_read_or_refused_and_nothing_else(folder: Folder, rows: list[list[str]]):
    text = "\n".join(",".join(row) for row in rows).encode("utf-8", "replace").decode()
    try:
        fetch(folder("node,type\n" + text, EDGES))
    except ConfigError:
        return


def test_the_stamp_changes_with_each_of_the_files_and_not_by_itself(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_module, "_SETTLED_S", 0.0)
    source = FileSource("test", FileConfig(path=folder(NODES, EDGES)))
    first = source.stamp()

    assert first
    assert source.stamp() == first
    (source._config.path / "topology.csv").write_text(EDGES + "\n")
    second = source.stamp()
    (source._config.path / "nodes.csv").write_text(NODES + "\n")
    assert len({first, second, source.stamp()}) == 3


def test_a_file_that_is_not_there_or_was_just_written_has_no_stamp(write: Write, tmp_path: Path):
    assert FileSource("test", FileConfig(path=tmp_path / "absent.yaml")).stamp() == ""
    assert FileSource("test", FileConfig(path=tmp_path)).stamp() == ""
    assert FileSource("test", FileConfig(path=write(SHOP))).stamp() == ""


# ---- what other sources know it by ----------------------------------------------------------------------------------


def items(path: Path) -> dict[str, Item]:
    return {item.id: item for item in FileSource("cmdb", FileConfig(path=path)).page("", "").items}


def test_a_ci_may_say_what_other_sources_know_it_by(write: Write):
    path = write(
        "cis:\n"
        "- {id: db1, identifiers: {serial: CZC123, ip: [10.0.0.1, 10.0.0.2]}, location: Berlin, contact: Ada}\n"
        "- {id: old, retired: true}\n"
        "relationships: [{source: db1, type: depends_on, target: old}]\n"
    )

    found = items(path)

    assert [(each.type, each.value) for each in found["db1"].identifiers] == [
        (IdType.SERIAL, "CZC123"),
        (IdType.IP, "10.0.0.1"),
        (IdType.IP, "10.0.0.2"),
    ]
    assert (found["db1"].location, found["db1"].contact, found["old"].retired) == ("Berlin", "Ada", True)
    assert ([ci.id for ci in fetch(path).cis], fetch(path).relationships) == (["db1"], ())


def test_csv_has_a_column_for_each_of_them(folder: Folder):
    path = folder(
        "node,type,serial,ip,location,contact,retired\ndb1,host,CZC123,10.0.0.1;10.0.0.2,Berlin,Ada,\nold,host,,,,,yes\n",
        "source,target,relation\n",
    )

    found = items(path)

    assert [each.value for each in found["db1"].identifiers] == ["CZC123", "10.0.0.1", "10.0.0.2"]
    assert (found["db1"].location, found["db1"].contact, found["old"].retired) == ("Berlin", "Ada", True)
    assert found["old"].identifiers == ()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("identifiers: {serail: X}", "'serail' identifies nothing; did you mean 'serial'"),
        ("identifiers: CZC123", "'CZC123' is no mapping; write {serial: ABC123}"),
        ("identifiers: {ip: [10]}", "10 is not text"),
        ("retired: maybe", "'maybe' is neither yes nor no"),
    ],
)
def test_what_identifies_nothing_is_refused_with_the_line(write: Write, said: str, message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        fetch(write(f"cis:\n- {{id: db1, {said}}}\n"))
