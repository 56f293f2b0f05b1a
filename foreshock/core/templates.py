"""The constant words of a text that a machine wrote: a message without the numbers, ids and values in it.

No state, so the same text has the same words today, in a replay and after a restart. A miner that learns its templates
(Drain: He et al. 2017, doi:10.1109/ICWS.2017.13) gives a text another template as it learns, and an index of open
alerts would no longer follow from those alerts; which words tell something is learned separately
(``correlation.vocabulary``).
"""

import re
import unicodedata
from functools import lru_cache

MAX_CHARACTERS = 1024
MAX_WORDS = 32
_MAX_WORD = 40  # characters; longer is encoded data

# Scripts written without spaces between words, which Unicode's word boundaries (UAX 29) leave to dictionaries: Thai,
# Lao, Myanmar, Khmer, kana, ideographs. Pairs of neighbouring characters stand for their words, as in search engines.
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# What stands in quotes is a value; an apostrophe within a word opens none.
_QUOTED = re.compile(r"\"[^\"\n]{0,200}\"|(?<!\w)'[^'\n]{0,200}'(?!\w)|`[^`\n]{0,200}`")
_PIECE = re.compile(rf"[{_DENSE}]+|(?:(?![{_DENSE}])[\w-])+")
_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+", re.ASCII)
_UNICODE_WORD = re.compile(r"[^\W\d_]+")
# A whole piece of ASCII without a digit; possessive, so that it never tries again.
_PLAIN_PIECE = re.compile(r"(?<![\w-])[a-zA-Z_-]++(?![\w-])", re.ASCII)
# A run of what words, paths, addresses and times are made of, with a digit in it. It begins where a run begins, and
# never tries again, so that a long run without one costs its length.
_RUN = rb"[^\s()\[\]{}<>=,;|\"'`]"
_VALUE = re.compile(rb"(?<!" + _RUN + rb")[^\s\d()\[\]{}<>=,;|\"'`]*+\d" + _RUN + rb"*+")
_QUOTED_BYTES = re.compile(_QUOTED.pattern.encode().replace(rb"\w", rb"[\w\x80-\xff]"))
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_REMEMBERED = 4096  # texts without their values, as pieces: machines write few
_IS_DENSE = re.compile(rf"[{_DENSE}]")


def words(text: str) -> tuple[str, ...]:
    """Its distinct words, sorted, at most ``MAX_WORDS``, of its first ``MAX_CHARACTERS`` characters.

    Case, accents and width do not count. ``camelCase`` and ``snake_case`` are several words. A piece with a digit in it
    is a number, time, address, hash or id, and what stands in quotes is a value: both say nothing of the kind of
    message, nor does a single letter.
    """
    text = text[:MAX_CHARACTERS]
    if '"' in text or "'" in text or "`" in text:
        text = _QUOTED.sub(" ", text)
    if text.isascii():
        return _words_of(tuple(_PLAIN_PIECE.findall(text)))
    found: dict[str, None] = {}
    for piece in _PIECE.findall(_plain(text)):
        if _IS_DENSE.match(piece):
            dense = _DIGIT.sub("", piece)
            found.update(dict.fromkeys(dense[at : at + 2] for at in range(max(1, len(dense) - 1))))
        elif not _DIGIT.search(piece):
            for part in _UNICODE_WORD.findall(piece):
                for word in _WORD.findall(part) if part.isascii() else (part,):
                    if 1 < len(word) <= _MAX_WORD:
                        found[word.casefold()] = None
    return tuple(sorted(list(found)[:MAX_WORDS]))


@lru_cache(_REMEMBERED)
def _words_of(pieces: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for piece in pieces:
        for word in _WORD.findall(piece):
            if 1 < len(word) <= _MAX_WORD:
                found[word.lower()] = None
    return tuple(sorted(list(found)[:MAX_WORDS]))


def _plain(text: str) -> str:
    """Without accents, in one width."""
    apart = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
    return unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c)))


# ---- lines ----------------------------------------------------------------------------------------------------------


def key(line: bytes) -> bytes:
    """What lines of one template share, cheaply: lines with the same key have the same template, but lines of one
    template may have several. ``template(key(line)) == template(line)``."""
    return line[:MAX_CHARACTERS].translate(_DIGITS)


def template(line: bytes) -> str:
    """A line of a log as UTF-8 with ``*`` for each value: a piece with a digit in it, or what stands in quotes."""
    line = line[:MAX_CHARACTERS]
    if b'"' in line or b"'" in line or b"`" in line:
        line = _QUOTED_BYTES.sub(b"*", line)
    return " ".join(_VALUE.sub(b"*", line).decode(errors="replace").split())
