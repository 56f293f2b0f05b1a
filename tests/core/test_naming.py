"""One spelling for each name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core.naming import canonical, canonical_all


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("DB1", "db1", id="case"),
        pytest.param("STRASSE", "straße", id="case in Unicode"),
        pytest.param("db1.corp.example.", "db1.corp.example", id="dot at the end"),
        pytest.param(" db1 ", "db1", id="white space"),
        pytest.param("e\u0301tage", "\u00e9tage", id="composed and not"),
        pytest.param("ｄｂ１", "db1", id="full width"),
        pytest.param("d\u200bb1\ufeff", "db1", id="letters nobody sees"),
        pytest.param("bücher.example", "XN--BCHER-KVA.example", id="international domain name"),
        pytest.param("[2001:DB8:0::1]", "2001:db8::1", id="address of version 6"),
        pytest.param("::ffff:10.0.0.7", "10.0.0.7", id="address of version 4 in one of version 6"),
        pytest.param("00-1A-2B-3C-4D-5E", "00:1a:2b:3c:4d:5e", id="MAC address"),
        pytest.param("001a.2b3c.4d5e", "00:1a:2b:3c:4d:5e", id="MAC address as Cisco writes it"),
        pytest.param(
            "{6BA7B810-9DAD-11D1-80B4-00C04FD430C8}", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", id="UUID"
        ),
    ],
)
def test_spellings_of_one_name_are_one(one: str, other: str):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("db1", "db-1", id="other letters"),
        pytest.param("10.0.0.7", "10.0.0.07", id="addresses that some read as octal"),
        pytest.param("001a2b3c4d5e", "00:1a:2b:3c:4d:5e", id="twelve digits may be a container"),
        pytest.param("fe80::1%eth0", "fe80::1%eth1", id="zones of an address"),
        pytest.param("xn--", "", id="no domain name at all"),
        pytest.param("db1:80", "db1", id="a port is for who looks it up"),
    ],
)
def test_what_differs_stays_apart(one: str, other: str):
    assert canonical(one) != canonical(other)


def test_a_name_that_is_canonical_stays_the_same_object():
    name = "".join(["shop/deployment", "/cart"])

    assert canonical(name) is name


@settings(max_examples=500)
@given(st.text(max_size=12) | st.from_regex(r"(?i)\[?(xn--)?[0-9a-f:.]{1,14}[\].%-]?", fullmatch=True))
def test_the_canonical_spelling_of_a_canonical_spelling_is_itself(name: str):
    assert canonical(canonical(name)) == canonical(name)


NAMES = st.text(alphabet="aB1.-\n é:", max_size=5) | st.sampled_from(
    ["001a.2b3c.4d5e", "00-1a-2b-3c-4d-5e", "db1", "A/b c"]
)


@settings(max_examples=500)
@given(st.lists(NAMES, max_size=4))
def test_names_taken_together_are_spelt_as_each_alone(names: list[str]):
    assert canonical_all(names) == {canonical(name) for name in names} - {""}
