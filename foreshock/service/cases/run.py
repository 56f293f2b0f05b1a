"""Runs the cases of files, and tells how each went."""

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from msgspec import Struct

from correlation.rule import RuleInstance
from foreshock.connect.config import Document, anchored, read_yaml, validate
from foreshock.core.errors import ConfigError, ForeshockError, Problem
from foreshock.service.cases.model import CaseFile
from foreshock.service.cases.play import play
from foreshock.service.cases.verdict import Failure, failures
from foreshock.service.rule_files import load_rules
from foreshock.service.settings import collector_kinds, rule_kinds

_ENDINGS = (".yaml", ".yml")


class Result(Struct, frozen=True, kw_only=True):
    """How one case went. line: where it stands. took_s: seconds of work."""

    file: str
    line: int | None
    name: str
    failures: tuple[Failure, ...]
    took_s: float

    @property
    def place(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


def run(paths: Iterable[Path], rules: Path | None, only: str) -> Iterator[Result]:
    """Each case whose name the expression ``only`` finds. rules: those in force where a case names none.

    Raises ConfigError with every mistake of every file, of cases and of the rules they name, before the first case is
    played; ForeshockError where no case is found.
    """
    read, in_force = _read_all(paths, rules)
    wanted = re.compile(only)
    if not any(wanted.search(case.name) for _, _, cases in read for case in cases.cases):
        raise ForeshockError(f"no case has a name in which {only!r} is found", hint="see the names in the case files")
    for path, document, cases in read:
        for index, case in enumerate(cases.cases):
            if wanted.search(case.name) is None:
                continue
            chosen = case.rules or cases.rules or rules
            began_s = time.perf_counter()
            played = play(cases, case, in_force[chosen], collector_kinds(), rule_kinds())
            yield Result(
                file=str(path),
                line=document.origin(("cases", index)).line,
                name=case.name,
                failures=tuple(failures(case.expect, played)),
                took_s=time.perf_counter() - began_s,
            )


_Rules = dict[Path | None, tuple[RuleInstance, ...] | None]


def _read_all(paths: Iterable[Path], rules: Path | None) -> tuple[list[tuple[Path, Document, CaseFile]], _Rules]:
    """The files, and the rules of every path that is named; None for the shipped ones. Raises ConfigError."""
    read: list[tuple[Path, Document, CaseFile]] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            files = _files(path)
        except OSError as error:
            problems.append(Problem(file=str(path), line=None, path="", message=f"cannot be read: {error.strerror}"))
            continue
        for file in files:
            try:
                read.append((file, *_read(file)))
            except ConfigError as error:
                problems += error.problems
    in_force: _Rules = {None: None}
    for named in [rules, *(one.rules for _, _, cases in read for one in (cases, *cases.cases))]:
        if named is None or named in in_force:
            continue
        in_force[named] = None
        try:
            in_force[named] = load_rules(named)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    if not read:
        named_files = ", ".join(map(str, paths))
        raise ConfigError([Problem(file=named_files, line=None, path="", message="holds no case files")])
    return read, in_force


def junit(results: Iterable[Result]) -> bytes:
    """The results as JUnit XML, a suite for each file."""
    root = ElementTree.Element("testsuites")
    suites: dict[str, ElementTree.Element] = {}
    for result in results:
        suite = suites.get(result.file)
        if suite is None:
            suite = suites[result.file] = ElementTree.SubElement(root, "testsuite", name=result.file)
        case = ElementTree.SubElement(
            suite, "testcase", classname=result.file, name=result.name, time=f"{result.took_s:.3f}"
        )
        if result.failures:
            failed = ElementTree.SubElement(case, "failure", message=f"{len(result.failures)} not as expected")
            failed.text = "\n".join(line for failure in result.failures for _, line in told(failure))
    for suite in suites.values():
        cases = suite.findall("testcase")
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def told(failure: Failure) -> Iterator[tuple[str, str]]:
    """Lines with what they are: "moment", "expected", "observed" or "why"."""
    yield "moment", f"at {failure.moment}:"
    yield from (("expected", f"  - {line}") for line in failure.expected)
    yield from (("observed", f"  + {line}") for line in failure.observed)
    yield from (("why", f"    {line}") for line in failure.why)


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix in _ENDINGS) if path.is_dir() else [path]


def _read(path: Path) -> tuple[Document, CaseFile]:
    document = read_yaml(path)
    cases = validate(
        {} if document.data is None else document.data,
        CaseFile,
        where=document.origin,
    )
    return document, anchored(cases, lambda place: path.parent)
