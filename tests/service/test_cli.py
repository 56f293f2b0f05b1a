"""What the command line makes of wrong input: one message that says where and what to do, never a traceback."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from foreshock.service.cli import running
from foreshock.service.cli.terminal import print_table
from foreshock.service.settings import SettingsSource
from foreshock.testing.commands import run

FILES = {
    "alerts.csv": "time,node,name\n1,web,Down\n2,db,Down\n",
    "alerts.jsonl": '{"labels":{"alertname":"Down","ci":"web"},"startsAt":"2026-01-01T00:00:00Z"}\n',
    "mapping.yaml": "version: 1\nalerts: {time: time}\n",
    "topology/nodes.csv": "node,type\nweb,host\ndb,host\n",
    "topology/topology.csv": "source,target,relation\nweb,db,depends_on\n",
    "rank/issues.csv": "issue_id,start,end\n1,0,60\n",
    "rank/topology.csv": "source,target\nweb,db\n",
    "rank/alerts.csv": "time,node,name\n1,web,Down\n",
    "rank/spec.yaml": "issues: {file: issues.csv, start: start, end: end}\n"
    "topology: {relationships: {file: topology.csv}}\n"
    "alerts: {file: alerts.csv, columns: {time: time}}\n",
    "rules.yaml": "[]\n",
    "settings.yaml": "{}\n",
    "foreshock.yaml": "{}\n",
}
REPLAY = ("replay", "alerts.csv", "--mapping", "mapping.yaml", "--topology", "topology", "--out", "out")
LEARN = ("learn", "--history", "alerts.csv", "--mapping", "mapping.yaml", "--topology", "topology", "--out", "l.json")
STREAM = ("replay", "alerts.jsonl", "--out", "out")
RULED = ("replay", "alerts.jsonl", "--rules", "rules.yaml", "--settings", "settings.yaml", "--out", "out")
RANK = ("rank", "--spec", "rank/spec.yaml", "--data", "rank", "--out", "causes.csv")
CHECK = ("check", "--config", "foreshock.yaml")
ASK = ("incidents", "list", "--token-file", "token", "--server", "http://127.0.0.1:1")


@pytest.mark.parametrize("words", [REPLAY, LEARN, STREAM, RULED, RANK, CHECK], ids=lambda words: " ".join(words[:2]))
def test_what_is_sound_is_done(here: Path, words: Sequence[str]):
    assert run(words).exit_code == 0


@pytest.mark.parametrize("words", [REPLAY, LEARN], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("mapping.yaml", "alerts: {time: at}", "alerts.csv:1: at: there is no such column; it has time, node, name"),
        ("mapping.yaml", "alerts: {time: ''}", "mapping.yaml:1:10: alerts.time: "),
        ("mapping.yaml", "alerts: {tine: at}", "mapping.yaml:1:10: alerts.tine: unknown key; did you mean 'time'?"),
        (
            "mapping.yaml",
            "alerts: {time: time}\ntopology:\n  columns: {nod: name}",
            "mapping.yaml:3:13: topology.columns.nod: 'nod' is no column of ours; known: node",
        ),
        (
            "mapping.yaml",
            "alerts: {time: time}\ntopology:\n  relations: {needs: need}",
            "mapping.yaml:3:15: topology.relations.needs: 'need' is not a relationship type; known: ",
        ),
        ("alerts.csv", "time,node,name\n1,a,b\nnoon,a,b\n", "alerts.csv:3: time: 'noon' is no time; write RFC 3339"),
        ("alerts.csv", "time,node,name\ninf,a,b\n", "alerts.csv:2: time: 'inf' is no time"),
        ("alerts.csv", "time,node,name\n1e300,a,b\n", "alerts.csv:2: time: '1e300' is no time"),
        ("alerts.csv", "time,node,name\n9999-12-31,a,b\n", "alerts.csv:2: time: '9999-12-31' is no time"),
        ("alerts.csv", "time,node,name\n1,a\n", "alerts.csv:2: has 2 of 3 columns"),
        ("alerts.csv", b"time,node,name\n1,gr\xfcn,b\n", "alerts.csv:2: is not UTF-8; save the file as UTF-8"),
        ("alerts.csv", None, "alerts.csv: does not exist; check the path"),
        ("topology/nodes.csv", b"\x00\xff\xfe", "nodes.csv:1: byte 1 is not UTF-8"),
        ("topology/topology.csv", "source,target,relation\nweb,nodb,depends_on\n", "topology.csv:2: target: 'nodb'"),
    ],
)
def test_a_history_that_cannot_be_read_is_refused_with_place_and_remedy(
    here: Path, words: Sequence[str], file: str, content: str | bytes | None, said: str
):
    refused(here, words, file, content, said)


@pytest.mark.parametrize(
    ("words", "file", "content", "said"),
    [
        (STREAM, "alerts.jsonl", "Down on web", "alerts.jsonl:1: cannot be read: JSON is malformed"),
        (STREAM, "alerts.jsonl", "\n\n" + "[" * 5000, "alerts.jsonl:3: cannot be read: "),
        (
            STREAM,
            "alerts.jsonl",
            '{"number":1,"at":"2026-01-01T00:00:00Z","kind":"events","collector":"carrier","body":""}',
            "alerts.jsonl:1: comes from 'carrier', a collector that is not known here",
        ),
        (RULED, "rules.yaml", "- {name: a, kind: topologie}", "rules.yaml:1:13: [0].kind: 'topologie' is no kind"),
        (RULED, "settings.yaml", "group: {threshhold: 1}", "settings.yaml:1:9: group.threshhold: unknown key"),
        (RULED, "settings.yaml", "x: &a [*a]", "settings.yaml:1:8: x[0]: alias *a has no finished anchor"),
        (RANK, "rank/spec.yaml", "issues: {file: i}", "spec.yaml:1:1: issues: neither `start` nor `time` is given"),
        (RANK, "rank/issues.csv", "issue_id,start,end\n1,noon,\n", "issues.csv:2: start: 'noon' is no time"),
        (RANK, "rank/alerts.csv", "time,node,name\nnan,a,b\n", "alerts.csv:2: time: 'nan' is no time"),
        (RANK, "rank/topology.csv", "from,to\nweb,db\n", "topology.csv:1: source: there is no such column"),
        ((*STREAM, "--learned", "l.json"), "l.json", "{}", "l.json: it holds nothing that was learned; write one with"),
        ((*STREAM, "--learned", "l.json"), "l.json", None, "l.json: cannot be read: No such file or directory"),
        (CHECK, "foreshock.yaml", "rules: nowhere", "nowhere: does not exist; check the path"),
        (CHECK, "foreshock.yaml", "topology: nowhere.yaml", "nowhere.yaml: does not exist"),
        (
            CHECK,
            "foreshock.yaml",
            "maintenance: [{name: yearly, calendar: nowhere.ics, cis: [db]}]",
            "nowhere.ics: maintenance yearly: No such file or directory; name an .ics file",
        ),
        (CHECK, "foreshock.yaml", "tokens_file: nowhere", "nowhere: does not exist; check the path"),
        (ASK, "token", None, "token: does not exist; check the path"),
        (ASK, "token", "ann 0123456789", "token: does not hold a token; write your token into it"),
        (ASK, "token", b"\xff\xfe", "token:1: byte 0 is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused_with_place_and_remedy(
    here: Path, words: Sequence[str], file: str, content: str | bytes | None, said: str
):
    refused(here, words, file, content, said)


def refused(here: Path, words: Sequence[str], file: str, content: str | bytes | None, said: str) -> None:
    (here / file).unlink(missing_ok=True)
    if content is not None:
        (here / file).write_bytes(content.encode() if isinstance(content, str) else content)

    done = run(words)

    assert done.exit_code == 78, done.exception
    assert said in done.stderr


@pytest.mark.parametrize("out", ["alerts.csv/out", "topology/nodes.csv/x/y"])
@pytest.mark.parametrize("words", [REPLAY, LEARN, STREAM, RANK, ("init", "")], ids=lambda words: words[0])
def test_a_place_that_cannot_be_written_is_named(here: Path, words: Sequence[str], out: str):
    done = run([*words[:-1], out])

    assert done.exit_code == 1
    assert "cannot be written: Not a directory; name another place" in done.stderr


def test_a_state_folder_that_cannot_be_is_named(here: Path):
    done = run(["db", "upgrade", "--config", str(written(here / "state.yaml", "state: alerts.csv/state"))])

    assert done.exit_code == 78
    assert "alerts.csv/state: nothing can be kept there: Not a directory; choose another folder" in done.stderr


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("learn", "--since", "yesterday"), "'yesterday' is not a duration"),
        (("learn", "--out", "l.json"), "--out goes with --history"),
        (("kinds", "nonsense"), "'nonsense' is none of"),
    ],
)
def test_wrong_usage_is_told_as_such(here: Path, words: Sequence[str], said: str):
    done = run(words)

    assert done.exit_code == 2
    assert said in done.stderr


def test_a_row_for_another_program_is_one_line_with_everything_in_it(capsys: pytest.CaptureFixture[str]):
    identity, comment = "17fbab7c-e52f-41c1-8358-4e29782d793b", "why " * 100
    print_table(("silence", "comment"), [(identity, comment)])

    (_, row) = capsys.readouterr().out.splitlines()
    assert row.split("  ") == [identity, comment]


def test_text_of_a_stranger_cannot_command_the_terminal(here: Path):
    name = "\x1b]0;owned\x07"
    done = run(["replay", name, "--out", "out"])

    assert "\x1b" not in done.stderr
    assert "\\x1b]0;owned" in done.stderr


def test_this_machine_is_watched_where_nothing_says_what_is():
    (watched,) = SettingsSource(None, {}, running._host(None, {})).load().collectors

    assert (watched.name, watched.kind) == ("this-host", "host")
    assert running._host(Path("foreshock.yaml"), {}) == {}
    assert running._host(None, {"FORESHOCK_COLLECTORS": "[]"}) == {}
