"""One spelling for each name, so that what two systems write differently is found to be the same."""

import ipaddress
import re
import unicodedata
from collections.abc import Sequence

_PLAIN = re.compile(r"[0-9a-z_/-][0-9a-z_./ -]*[0-9a-z_/-]").fullmatch
"""Most names as they come: in lower case, and nothing in them that has another spelling."""
_PLAIN_LINES = re.compile(r"(?:[0-9a-z_/-][0-9a-z_./ -]*[0-9a-z_/-]\n)+").fullmatch
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}")
_MAC_LENGTHS = (14, 17)
_PREFIXES = ("urn:uuid:",)


def canonical(name: str) -> str:
    """The spelling by which a name is looked up; the same for all of its spellings, and for itself.

    Case, white space around it and invisible letters do not count, nor how Unicode composes it, the dot at the end of
    a full domain name, brackets or braces around it (``[::1]``, ``{uuid}``), zeros left out of an IPv6 address, what
    separates the bytes of a MAC address, and whether an international domain name is written in ASCII (``xn--``). An
    IPv6 address that stands for one of version 4 is that. Empty where nothing is left.
    """
    lower = name.lower()
    if lower.isascii():
        if _PLAIN(lower) and "xn--" not in lower and (len(lower) not in _MAC_LENGTHS or not _MAC.fullmatch(lower)):
            return name if lower == name else lower
    else:
        lower = _folded(name)
    return _spelt(lower)


def canonical_all(names: Sequence[str]) -> set[str]:
    """``canonical`` of each, without what is empty then: in a third of the time, as there are very many of them."""
    text = "\n".join([*names, ""])
    lower = text.lower()
    if _PLAIN_LINES(lower) and "xn--" not in lower and lower.count("\n") == len(names):
        if lower == text:
            found = set(names)
        else:
            found = {one if one == name else name for one, name in zip(names, lower.split("\n"), strict=False)}
        if not any(len(name) in _MAC_LENGTHS and _MAC.fullmatch(name) for name in found):
            return found
    return {canonical(name) for name in names} - {""}


def _folded(name: str) -> str:
    """Unicode's own way to compare without case (NFKC_Casefold), near enough: it ends where nothing changes."""
    for _ in range(4):
        shown = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", shown).casefold())
        if folded == name:
            break
        name = folded
    return name


def _spelt(name: str) -> str:
    before = None
    while name != before:
        before = name
        name = name.strip()
        if name[:1] + name[-1:] in ("[]", "{}"):
            name = name[1:-1]
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        name = name.removesuffix(".")
    if "xn--" in name:
        name = ".".join(_from_ascii(label) for label in name.split("."))
    if _MAC.fullmatch(name):
        digits = re.sub("[:.-]", "", name)
        return ":".join(digits[at : at + 2] for at in range(0, 12, 2))
    return _address(name) if name.count(":") > 1 else name


def _from_ascii(label: str) -> str:
    """A label of an international domain name as it is read; as it is where it is none."""
    if not label.startswith("xn--"):
        return label
    try:
        read = _folded(label[4:].encode("ascii").decode("punycode"))
    except UnicodeError:
        return label
    return read if read and read.encode("punycode").decode("ascii") == label[4:] else label


def _address(name: str) -> str:
    try:
        found = ipaddress.IPv6Address(name)
    except ValueError:
        return name
    return str(found.ipv4_mapped or found)
