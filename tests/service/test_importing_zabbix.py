"""Exports of Zabbix, translated; the example in each of the three formats."""

import json
from datetime import date
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from ruamel.yaml import YAML

from foreshock.core.errors import ConfigError
from foreshock.core.matchers import matches_all, parse_matchers
from foreshock.service.importing.folder import write
from foreshock.service.importing.kinds.zabbix import places, read, translate
from foreshock.service.importing.translation import Fate, Translation

TODAY = date(2026, 11, 22)
EXAMPLE = (Path(__file__).parents[1] / "samples/zabbix-export.yaml").read_text()
DATA = YAML(typ="safe").load(EXAMPLE)


def as_xml(value: Any, tag: str) -> str:
    """As Zabbix writes it: a list is an element with one for each entry, named by the singular."""
    if isinstance(value, dict):
        inner = "\n".join(as_xml(part, key) for key, part in value.items())
    elif isinstance(value, list):
        single = tag[:-3] + "y" if tag.endswith("ies") else tag[:-1]
        inner = "\n".join(as_xml(part, single) for part in value)
    else:
        return f"<{tag}>{escape(str(value))}</{tag}>"
    return f"<{tag}>\n{inner}\n</{tag}>"


XML = '<?xml version="1.0" encoding="UTF-8"?>\n' + as_xml(DATA["zabbix_export"], "zabbix_export")


def made(tmp_path: Path, text: str = EXAMPLE, maintenances: Any = None) -> Translation:
    (tmp_path / "export").write_text(text)
    named = None
    if maintenances is not None:
        named = str(tmp_path / "maintenances.json")
        Path(named).write_text(json.dumps(maintenances))
    return translate(read([tmp_path / "export"], named), TODAY)


def told(translation: Translation, what: str) -> dict[str, tuple[Fate, str]]:
    return {item.name: (item.fate, item.note) for item in translation.items if item.what == what}


@pytest.mark.parametrize("text", [json.dumps(DATA), XML], ids=["json", "xml"])
def test_the_three_formats_say_the_same(tmp_path, text):
    one, other = made(tmp_path), made(tmp_path, text)

    for part in ("inhibit", "identity", "sources"):
        assert [noted.value for noted in getattr(one, part)] == [noted.value for noted in getattr(other, part)]
    assert [noted.value for noted in one.cis.values()] == [noted.value for noted in other.cis.values()]
    assert [(i.what, i.fate) for i in one.items] == [(i.what, i.fate) for i in other.items]
    assert list(one.relationships) == list(other.relationships)


# ---- nothing is dropped ---------------------------------------------------------------------------------------------


def things(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Kind and name of everything in the example that a person would ask for."""
    kinds = {"groups": "group", "templates": "template", "hosts": "host", "triggers": "trigger", "maps": "map",
             "trigger_prototypes": "trigger", "dependencies": "trigger dependency"}  # fmt: skip
    found = []
    if isinstance(value, dict):
        for inner, part in value.items():
            found += things(part, inner)
    elif isinstance(value, list):
        for part in value:
            named = {k: v for k, v in part.items() if k in ("host", "template", "name")}
            if key in kinds and (len(part) > 1 or key == "dependencies"):
                found.append((kinds[key], named.get("host") or named.get("template") or named["name"]))
            found += things(part)
    return found


def test_every_host_group_template_trigger_dependency_and_map_is_in_the_report(tmp_path):
    items = made(tmp_path).items

    for kind, name in things(DATA):
        assert any(item.what == kind and name in item.name for item in items), (kind, name)
    assert len(things(DATA)) > 18


def mappings(value: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    if isinstance(value, dict):
        found.append((path, value))
        for key, inner in value.items():
            found += mappings(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += mappings(inner, f"{path}[{index}]")
    return found


TOP_LEVELS = [
    "zabbix_export", "zabbix_export.groups[0]", "zabbix_export.templates[0]", "zabbix_export.hosts[1]",
    "zabbix_export.hosts[1].interfaces[0]", "zabbix_export.triggers[0]", "zabbix_export.maps[0]",
    "zabbix_export.templates[0].discovery_rules[0].item_prototypes[0].trigger_prototypes[0]",
]  # fmt: skip


@pytest.mark.parametrize("place", TOP_LEVELS)
def test_a_key_that_nobody_knows_is_told_wherever_it_stands(tmp_path, place):
    data = json.loads(json.dumps(DATA))
    dict(mappings(data))[place]["novelty"] = "x"
    names = [item.name for item in made(tmp_path, json.dumps(data)).items if item.fate is Fate.NOT_TRANSLATED]

    assert sum("novelty" in name for name in names) == 1


# ---- what it becomes ------------------------------------------------------------------------------------------------


def test_hosts_are_cis_with_aliases_that_name_them_alone(tmp_path):
    translation = made(tmp_path)

    assert [noted.value for noted in translation.cis.values()] == [
        {"id": "router", "kind": "host", "name": "Core router", "aliases": ["192.0.2.1"]},
        {"id": "web1", "kind": "host", "name": "First web server", "aliases": ["web1.example.com"]},
        {"id": "db1", "kind": "host", "name": "db1"},
    ]
    assert told(translation, "host")["old"] == (Fate.NOT_TRANSLATED, "it is disabled")


def test_dependencies_between_hosts_are_inhibition_and_topology_and_links_of_maps_connect(tmp_path):
    translation = made(tmp_path)
    rules = {noted.value["name"]: noted.value for noted in translation.inhibit}

    assert set(translation.relationships) == {
        ("web1", "depends_on", "router"), ("db1", "depends_on", "router"), ("router", "connects_to", "db1"),
    }  # fmt: skip
    assert rules["Both are gone depends on Router does not answer"]["target_matchers"] == [
        'job="zabbix"', 'host=~"web1|db1"', 'alertname="Both are gone"',
    ]  # fmt: skip


def inhibits(translation: Translation, source: dict[str, str], target: dict[str, str]) -> bool:
    def hit(texts: list[str], labels: dict[str, str]) -> bool:
        return matches_all([m for text in texts for m in parse_matchers(text)], {"job": "zabbix", **labels})

    return any(
        hit(rule["source_matchers"], source)
        and hit(rule["target_matchers"], target)
        and all(source.get(name, "") == target.get(name, "") for name in rule["equal"])
        for rule in (noted.value for noted in translation.inhibit)
    )


def test_a_dependency_of_templates_holds_on_each_host_alone(tmp_path):
    translation = made(tmp_path)
    ping, agent = {"alertname": "No answer to ping"}, {"alertname": "Agent is not available"}

    assert inhibits(translation, {**ping, "host": "db1"}, {**agent, "host": "db1"})
    assert not inhibits(translation, {**ping, "host": "db1"}, {**agent, "host": "web1"})
    assert not inhibits(translation, {**agent, "host": "db1"}, {**ping, "host": "db1"})


def test_what_is_discovered_depends_only_on_what_has_the_same_tag(tmp_path):
    translation = made(tmp_path)
    down = {"alertname": "Interface eth0: link down", "host": "db1", "interface": "eth0"}
    errors = {"alertname": "Interface eth0: errors (many)", "host": "db1", "interface": "eth0"}

    assert inhibits(translation, down, errors)
    assert not inhibits(
        translation, down, {**errors, "alertname": "Interface eth1: errors (many)", "interface": "eth1"}
    )


def test_a_trigger_has_the_tags_of_the_items_in_its_expression_wherever_it_stands(tmp_path):
    data = json.loads(json.dumps(DATA))
    rule = data["zabbix_export"]["templates"][0]["discovery_rules"][0]
    rule["trigger_prototypes"] = rule["item_prototypes"][0].pop("trigger_prototypes")
    [found] = [noted.value for noted in made(tmp_path, json.dumps(data)).inhibit if "link down" in noted.value["name"]]

    assert found["equal"] == ["host", "interface"]


def test_what_is_discovered_and_has_no_tag_is_told_because_it_would_keep_too_much_quiet(tmp_path):
    translation = made(tmp_path, EXAMPLE.replace("tag: interface", "tag: interface\n                  novelty: x", 1)
                       .replace("value: '{#IFNAME}'", "value: all"))  # fmt: skip
    [(fate, note)] = [
        said for name, said in told(translation, "trigger dependency").items() if name.endswith("link down")
    ]

    assert (fate, "no tag says which belong together" in note) == (Fate.NOT_TRANSLATED, True)


def test_a_dependency_on_what_is_not_in_the_files_is_told(tmp_path):
    data = json.loads(json.dumps(DATA))
    data["zabbix_export"]["hosts"] = data["zabbix_export"]["hosts"][1:]
    notes = [note for _, note in told(made(tmp_path, json.dumps(data)), "trigger dependency").values()]

    assert "router is not in these files: export it too" in notes


def test_a_template_in_a_template_counts_for_the_hosts_of_the_outer_one(tmp_path):
    data = json.loads(json.dumps(DATA))
    export = data["zabbix_export"]
    export["templates"].append({"template": "All", "name": "All", "templates": [{"name": "Linux base"}]})
    export["hosts"][1]["templates"] = [{"name": "All"}]
    router = {"name": "Router does not answer", "expression": "max(/router/icmpping,#3)=0"}
    export["templates"][0]["items"][1]["triggers"][0]["dependencies"] = [router]
    translation = made(tmp_path, json.dumps(data))

    assert inhibits(
        translation,
        {"alertname": "Router does not answer", "host": "router"},
        {"alertname": "Load is above {$LOAD.MAX}", "host": "web1"},
    )


def test_tags_whose_value_changes_do_not_identify(tmp_path):
    assert [noted.value for noted in made(tmp_path).identity] == [{"source": "zabbix", "without": ["now"]}]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("last(/Zabbix server/system.cpu.load[all,avg1])>5", ("Zabbix server",)),
        ("last(/a b/k)>0 and (count(/c/k,10m,,\"/x/y\")>1 or min(/a b/z,#3)=0)", ("a b", "c")),
        ("{web1:agent.ping.last()}=0 and {db 1:net[a,b].min(5m)}>{$MAX}", ("web1", "db 1")),
        ("find(/h/k,,\"regexp\",\"(/etc/passwd)\")=1", ("h",)),
        ("1=1", ()),
    ],
)  # fmt: skip
def test_hosts_are_found_in_expressions_of_both_kinds(expression, found):
    assert places(expression) == found


def test_what_is_written_passes_the_checks(tmp_path):
    write(made(tmp_path), tmp_path / "out")


# ---- maintenances ---------------------------------------------------------------------------------------------------


def maintenance(*periods: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "maintenanceid": "1", "name": "Patching", "description": "CHG0012", "maintenance_type": "0",
        "active_since": "1795305600", "active_till": "1826841600", "tags_evaltype": "0", "tags": [],
        "hosts": [{"hostid": "1", "host": "db1"}], "groups": [], "timeperiods": list(periods), **fields,
    }  # fmt: skip


PERIOD = {
    "timeperiod_type": "0", "every": "1", "month": "0", "dayofweek": "0", "day": "0", "start_time": "7200",
    "period": "5400", "start_date": "1795305600",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "starts", "rule"),
    [
        ({}, "2026-11-22 00:00", ""),
        ({"timeperiod_type": "2", "every": "2"}, "2026-11-22 02:00", "FREQ=DAILY;INTERVAL=2"),
        ({"timeperiod_type": "3", "dayofweek": "65"}, "2026-11-22 02:00", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,SU"),
        ({"timeperiod_type": "3", "dayofweek": "1"}, "2026-11-23 02:00", "FREQ=WEEKLY;INTERVAL=1;BYDAY=MO"),
        ({"timeperiod_type": "4", "month": "2049", "day": "15"}, "2026-11-22 02:00",
         "FREQ=MONTHLY;BYMONTH=1,12;BYMONTHDAY=15"),
        ({"timeperiod_type": "4", "month": "2048", "dayofweek": "64", "every": "5"}, "2026-11-22 02:00",
         "FREQ=MONTHLY;BYMONTH=12;BYDAY=-1SU"),
    ],
)  # fmt: skip
def test_a_maintenance_is_a_window_as_it_recurs(tmp_path, changes, starts, rule):
    translation = made(tmp_path, maintenances={"result": [maintenance({**PERIOD, **changes})]})
    [window] = [noted.value for noted in translation.maintenance]

    assert (window["starts"], window["length"]) == (starts, "1h30m")
    assert window.get("rrule", "").partition(";UNTIL")[0] == rule
    assert window["matchers"] == ['job="zabbix"', 'host="db1"']
    write(translation, tmp_path / "out")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"active_till": "1795305601", "active_since": "1763769600", "tags": [{"tag": "x"}]}, "with some tags only"),
        ({"active_till": "1763769600"}, "it is over"),
        ({"hosts": [], "groups": [{"name": "Elsewhere"}]}, "no host of it is in these files (Elsewhere)"),
    ],
)
def test_a_maintenance_that_cannot_be_a_window_is_told(tmp_path, fields, said):
    translation = made(tmp_path, maintenances=[maintenance(PERIOD, **fields)])

    assert translation.maintenance == []
    assert said in told(translation, "maintenance")["Patching"][1]


def test_a_maintenance_of_a_group_is_about_its_hosts(tmp_path):
    groups = [{"groupid": "4", "name": "Lab databases"}]
    translation = made(tmp_path, maintenances=[maintenance(PERIOD, hosts=[], groups=groups)])

    assert translation.maintenance[0].value["matchers"][1] == 'host=~"db1|old"'


# ---- what is broken or hostile --------------------------------------------------------------------------------------


BOMB = """<?xml version="1.0"?>
<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<zabbix_export><version>&b;</version></zabbix_export>
"""
OUTSIDE = '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><zabbix_export/>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "export:2: has a document type declaration"),
        (OUTSIDE, "export:1: has a document type declaration"),
        ("<zabbix_export>\n<hosts>", "export:2: is not XML"),
        ("<a/>", "holds no `zabbix_export`"),
        ("<zabbix_export>" + "<a>" * 100 + "</a>" * 100 + "</zabbix_export>", "is nested deeper than 64 levels"),
        ("zabbix_export: [", "is not YAML"),
        ("zabbix_export:\n  hosts: {a: 1}\n", "export:2:3: zabbix_export.hosts: must be a list"),
        ("zabbix_export:\n  hosts:\n    - name: x\n", "export:3:7: zabbix_export.hosts[0]: has no host name"),
        ("[]", "holds no `zabbix_export`"),
        ("", "holds no `zabbix_export`"),
        ("zabbix_export: {triggers: [{name: x, dependencies: 7}]}", "must be a list"),
        ("zabbix_export: '" + "x" * 2_100_000 + "'", "export it as XML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("maintenances", "said"),
    [
        ("x", "must be a list"),
        ([maintenance(active_since="soon")], "[0]: has no sound active_since"),
        ([{**maintenance(), "timeperiods": None}], "has no timeperiods"),
    ],
)
def test_maintenances_that_are_none_are_said(tmp_path, maintenances, said):
    with pytest.raises(ConfigError, match=r"maintenances\.json") as caught:
        made(tmp_path, maintenances=maintenances)

    assert said in str(caught.value)
