from foreshock.connect.lookup import ABSENT_S, Groups, Lookup
from foreshock.core.errors import Denied


def test_a_name_is_asked_once_and_that_there_is_none_is_believed_for_minutes_only():
    at, asked = [0.0], []
    names = {"web": 7}
    lookup = Lookup(found_s=1000, absent_s=10, now=lambda: at[0])

    def value(name):
        return lookup.of(name, lambda: asked.append(name) or names.get(name))

    first = [value(name) for name in ("web", "web", "db", "db")]
    names["db"] = 8
    at[0] = 10

    assert first == [7, 7, None, None]
    assert (value("web"), value("db")) == (7, 8)
    assert asked == ["web", "db", "db"]


def test_what_is_forgotten_is_asked_again():
    lookup = Lookup()
    lookup.of("web", lambda: 7)
    lookup.forget()

    assert lookup.of("web", lambda: 8) == 8


def test_a_group_is_known_by_a_name_that_no_other_has_and_an_unknown_one_is_looked_for_later():
    at, listed = [0.0], [{"id": 1, "name": "dba"}, {"id": 2, "name": "web"}, {"id": 3, "name": "web"}]
    groups = Groups(lambda: listed, now=lambda: at[0])

    assert [groups.id_of(name, "dba") for name in ("dba", "web", "net", "77", "")] == ["1", "1", "1", "77", "1"]
    listed.append({"id": 4, "name": "net"})
    assert groups.id_of("net") == ""
    at[0] += ABSENT_S
    assert groups.id_of("net") == "4"


def test_groups_that_may_not_be_seen_are_none_and_the_check_says_so():
    def denied():
        raise Denied("forbidden")

    groups = Groups(denied)

    assert groups.id_of("dba") == ""
    assert [finding.remedy for finding in groups.check("dba", "")] == ["let the agent see the groups"]
    assert list(groups.check("")) == []
