"""Object files of Nagios, translated. The example is one that `nagios4 -v` accepts (tests/system/test_importing.py)."""

from datetime import date
from pathlib import Path

import pytest

from foreshock.core.errors import ConfigError
from foreshock.core.matchers import matches_all, parse_matchers
from foreshock.service.importing.folder import write
from foreshock.service.importing.kinds.nagios import read, translate
from foreshock.service.importing.translation import Fate, Translation

TODAY = date(2026, 11, 22)

EXAMPLE = (Path(__file__).parents[1] / "samples/nagios-objects.cfg").read_text()

STATUS = """
info {
\tcreated=1795351000
\t}
hostdowntime {
\thost_name=web1
\tdowntime_id=4
\tstart_time=1795351000
\tend_time=1795361000
\tfixed=1
\tauthor=ann
\tcomment=new disks
\t}
servicedowntime {
\thost_name=db1
\tservice_description=MySQL
\tdowntime_id=5
\tstart_time=1795351000
\tend_time=1795361000
\tfixed=0
\tauthor=bob
\tcomment=upgrade
\t}
"""


def made(tmp_path: Path, text: str = EXAMPLE, status: str | None = None) -> Translation:
    (tmp_path / "objects.cfg").write_text(text)
    named = None
    if status is not None:
        named = str(tmp_path / "status.dat")
        Path(named).write_text(status)
    return translate(read([tmp_path / "objects.cfg"], named), TODAY)


def test_every_definition_is_in_the_report_with_its_line(tmp_path):
    told = {(item.what.removesuffix(" template").removesuffix(" parents"), item.line) for item in made(tmp_path).items}

    for number, line in enumerate(EXAMPLE.splitlines(), 1):
        if line.startswith("define"):
            assert (line.split()[1].strip("{"), number) in told


def test_every_attribute_is_translated_or_told(tmp_path):
    translation = made(tmp_path, EXAMPLE + "define host {\n host_name odd\n address 192.0.2.99\n novelty 1\n}\n")
    told = {item.name: item for item in translation.items if item.what.endswith(" attribute")}

    assert {"check_command", "notes", "_rack", "max_check_attempts", "execution_failure_criteria"} <= told.keys()
    assert told["novelty"].note.startswith("this importer does not know it")
    assert told["check_command"].fate is Fate.NOT_TRANSLATED


def test_hosts_are_cis_with_alias_and_owner_and_depend_on_their_parents(tmp_path):
    translation = made(tmp_path)
    cis = {noted.value["id"]: noted.value for noted in translation.cis.values()}

    assert cis["web1"] == {
        "id": "web1", "kind": "host", "name": "first web server", "aliases": ["192.0.2.11"], "owner": "linux",
    }  # fmt: skip
    assert (cis["db1"]["owner"], "aliases" in cis["db1"]) == ("ann", False)
    assert cis["core"]["owner"] == "network"
    assert set(translation.relationships) == {
        ("edge", "depends_on", "core"), ("web1", "depends_on", "core"), ("web1", "depends_on", "edge"),
        ("db1", "depends_on", "edge"), ("web1", "depends_on", "db1"),
    }  # fmt: skip


def fates(translation: Translation, what: str) -> list[Fate]:
    return [item.fate for item in translation.items if item.what == what]


def test_dependencies_about_checks_alone_are_told_and_those_about_people_are_inhibition(tmp_path):
    translation = made(tmp_path)
    rules = {noted.value["name"]: noted.value for noted in translation.inhibit}

    assert fates(translation, "hostdependency") == [Fate.APPROXIMATELY, Fate.NOT_TRANSLATED]
    assert fates(translation, "servicedependency") == [Fate.TRANSLATED, Fate.APPROXIMATELY]
    assert rules["Shop depends on MySQL (db1)"] == {
        "name": "Shop depends on MySQL (db1)",
        "source_matchers": ['job="nagios"', 'host="db1"', 'alertname="MySQL"'],
        "target_matchers": ['job="nagios"', 'host="web1"', 'alertname="Shop"'],
        "equal": [],
    }
    assert rules["HTTP depends on Load (web1, db1)"]["equal"] == ["host"]
    assert rules["services of a host that is down"]["equal"] == ["host"]


def quiet(translation: Translation, **labels: str) -> list[str]:
    """When an alert of Nagios is in a window: its beginning and recurrence."""
    wanted = {"job": "nagios", **labels}
    found = [noted.value for noted in translation.maintenance]
    return [
        f"{entry['starts'][-5:]} {entry['length']} {entry['rrule'].rpartition('=')[2]}"
        for entry in found
        if matches_all([m for text in entry["matchers"] for m in parse_matchers(text)], wanted)
    ]


def test_outside_of_the_notification_period_is_a_window_which_services_have_from_their_host(tmp_path):
    translation = made(tmp_path)
    office = ["00:00 9h MO,TU", "12:00 1h MO", "17:00 7h MO,TU", "00:00 24h WE,TH,FR,SA,SU"]

    assert quiet(translation, alertname="HostDown", host="db1") == office
    assert quiet(translation, alertname="Load", host="db1") == office
    assert quiet(translation, alertname="MySQL", host="db1") == []
    assert quiet(translation, alertname="HostDown", host="web1") == []


def test_what_nobody_is_told_of_is_a_window_that_never_ends(tmp_path):
    assert quiet(made(tmp_path), alertname="HTTP", host="web1") == ["00:00 24h DAILY"]


def test_a_period_with_days_of_its_own_is_told_and_keeps_nothing_quiet(tmp_path):
    translation = made(tmp_path)
    told = {item.name: (item.fate, item.note) for item in translation.items if item.what == "timeperiod"}

    assert quiet(translation, alertname="Shop", host="web1") == []
    assert told["bank"][0] is Fate.NOT_TRANSLATED
    assert "december 25 00:00-00:00" in told["bank"][1]
    assert (told["24x7"][0], told["idle"][0]) == (Fate.TRANSLATED, Fate.NOT_TRANSLATED)


@pytest.mark.parametrize(("interval", "expires"), [("60", "2h"), ("0", "30d"), ("1", "1h")])
def test_an_alert_holds_for_as_long_as_nagios_may_not_tell_of_it(tmp_path, interval, expires):
    text = EXAMPLE.replace("notification_interval  60", f"notification_interval  {interval}")

    assert made(tmp_path, text).sources[0].value == {"source": "nagios", "expire_after": expires}


def test_downtimes_are_silences_of_those_who_asked(tmp_path):
    translation = made(tmp_path, status=STATUS)

    told = [(one["createdBy"], one["comment"], [m["value"] for m in one["matchers"]]) for one in translation.silences]
    assert told == [
        ("ann", "new disks", ["nagios", "web1"]), ("bob", "upgrade", ["nagios", "db1", "MySQL"]),
    ]  # fmt: skip
    assert fates(translation, "downtime") == [Fate.TRANSLATED, Fate.APPROXIMATELY]
    assert "1 info" in next(item.note for item in translation.items if item.what == "status file")


def test_what_is_written_passes_the_checks(tmp_path):
    write(made(tmp_path, status=STATUS), tmp_path / "out")


def test_a_main_file_leads_to_its_files_and_a_folder_is_read_whole(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.cfg").write_text(EXAMPLE)
    (tmp_path / "more.cfg").write_text("define host {\n host_name extra\n address 192.0.2.77\n}\n")
    (tmp_path / "nagios.cfg").write_text("log_file=x\ncfg_dir=conf\ncfg_file=more.cfg\ninterval_length=1\n")
    by_main = translate(read([tmp_path / "nagios.cfg"], None), TODAY)
    by_folder = translate(read([tmp_path], None), TODAY)

    assert list(by_main.cis) == ["core", "edge", "web1", "db1", "extra"]
    assert sorted(by_folder.cis) == sorted(by_main.cis)
    assert by_main.sources[0].value["expire_after"] == "5m"
    assert "log_file" in next(item.note for item in by_main.items if item.what == "settings")


def test_more_dependencies_than_rules_are_allowed_are_told(tmp_path):
    lines = ("host_name h", "service_description a{}", "dependent_host_name h", "dependent_service_description b{}",
             "notification_failure_criteria w,u,c")  # fmt: skip
    many = "".join("define servicedependency {\n" + "\n".join(lines).format(n, n) + "\n}\n" for n in range(260))
    translation = made(tmp_path, a_host("h") + many)

    assert len(translation.inhibit) == 200
    assert sum("the most that are allowed" in item.note for item in translation.items) == 61
    write(translation, tmp_path / "out")


def test_times_are_those_of_the_zone_that_nagios_is_told(tmp_path):
    (tmp_path / "a.cfg").write_text(EXAMPLE)
    (tmp_path / "nagios.cfg").write_text("use_timezone=Europe/Berlin\ncfg_file=a.cfg\n")
    translation = translate(read([tmp_path / "nagios.cfg"], None), TODAY)

    zones = {n.value["time_zone"] for n in translation.maintenance if n.value["name"].startswith("nagios-office")}
    assert zones == {"Europe/Berlin"}


def a_host(name: str, *lines: str) -> str:
    return "define host {\n" + "\n".join((f"host_name {name}", "address 192.0.2.1", *lines)) + "\n}\n"


@pytest.mark.parametrize(
    ("own", "first", "second", "expected"),
    [
        ("", "a", "b", ["a"]),
        ("x", "a", "b", ["x"]),
        ("+x", "a", "b", ["x", "a"]),
        ("+x", "+a", "b", ["x", "a", "b"]),
        ("null", "a", "b", []),
        ("", "null", "b", []),
        ("+x", "null", "b", ["x"]),
        ("", "", "b", ["b"]),
    ],
)
def test_values_are_inherited_as_nagios_does(tmp_path, own, first, second, expected):
    def says(value: str) -> str:
        return f"contact_groups {value}" if value else ""

    text = "".join(
        f"define host {{\n name {name}\n register 0\n {says(value)}\n}}\n"
        for name, value in (("t1", first), ("t2", second))
    )
    (tmp_path / "a.cfg").write_text(text + a_host("h", "use t1,t2", says(own)))
    [host] = read([tmp_path / "a.cfg"], None).of("host")

    assert host.list("contact_groups") == expected


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ("host_name *", {"a1", "a2", "b1"}),
        ("host_name *,!b1", {"a1", "a2"}),
        ("hostgroup_name as,!ones", {"a2"}),
        ("hostgroup_name as\nhost_name b1", {"a1", "a2", "b1"}),
    ],
)
def test_lists_of_hosts_mean_what_they_mean_to_nagios(tmp_path, lists, expected):
    groups = "define hostgroup {\nhostgroup_name as\nmembers a1,a2\n}\ndefine hostgroup {\nhostgroup_name ones\n}\n"
    text = a_host("a1", "hostgroups ones") + a_host("a2") + a_host("b1", "hostgroups ones") + groups
    text += f"define service {{\nservice_description S\n{lists}\nnotifications_enabled 0\n}}\n"
    translation = made(tmp_path, text)

    assert {host for host in ("a1", "a2", "b1") if quiet(translation, alertname="S", host=host)} == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("define host {\nhost_name a\n", "objects.cfg:1: the definition is not closed"),
        ("define host {\nhost_name a\ndefine host {\n}\n", "objects.cfg:3: the definition of line 1 is not closed"),
        (a_host("a", "use gone"), "objects.cfg:4: host on line 1: 'gone' is no host template"),
        ("define host {\nname x\nuse x\n}\n", "'x' uses itself"),
        ("define host {\nname x\nuse y\n}\ndefine host {\nname y\nuse x\n}\n", "uses itself"),
        (a_host("a") + "stray\n", "objects.cfg:5: 'stray' stands outside of a definition"),
        ("what is this\n", "objects.cfg:1: 'what is this' is neither key=value nor `define host {`"),
        ("cfg_file=/nowhere/x.cfg\n", "objects.cfg:1: '/nowhere/x.cfg' does not exist"),
        ("", "holds no object definitions"),
        ("define host {\nhost_name \x00\xff\n}\n", ""),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, text, said):
    if not said:
        write(made(tmp_path, text), tmp_path / "out")  # a name that no topology takes is told, not a mistake
        return
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, text)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("", "is no status file of Nagios"),
        (STATUS.replace("end_time=1795361000", "end_time=soon"), "status.dat:5: downtime 4: has no sound"),
        (STATUS.replace("host_name=web1", "x=y"), "has no sound 'host_name'"),
    ],
)
def test_a_status_file_that_is_none_is_said(tmp_path, status, said):
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, status=status)

    assert said in str(caught.value)
