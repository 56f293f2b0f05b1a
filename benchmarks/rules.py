"""How long the commands take that a person and a pipeline wait for: checking 500 rules, playing 200 cases.

    make bench-rules             or    python benchmarks/rules.py [--reps 7]

Each figure is of a whole process, its start included: by the clock, and by CPU time, which says more on a machine that
does something else too.
"""

import argparse
import os
import subprocess
import time
from collections.abc import Iterator, Sequence

import product

RULES, RULES_TARGET_S = 500, 1.0
CASES, CASES_TARGET_S = 200, 3.0


def rules() -> Iterator[str]:
    """Half of them compare labels, a quarter also asks a condition of its own, a quarter compares texts."""
    for number in range(RULES):
        yield f"- name: rule-{number}\n  window: 10m\n  strength: 0.6\n"
        if number % 4 == 3:
            yield "  kind: text\n"
            continue
        yield f"  kind: attribute\n  equal: [cluster, label{number}]\n"
        if number % 4 == 2:
            yield f'  when: b.ci_kind == "storage" && a.labels.alertname.matches("^(Disk|Volume{number})")\n'


def cases() -> Iterator[str]:
    """A database takes two services along, once or with a silence, a merge or a flap; checked twice."""
    yield "version: 1\ntopology: [shop depends_on api, api depends_on db1, mail runs_on nas]\ncases:\n"
    more = (
        "{at: 30s, fire: Slow on mail}",
        "{at: 0s, silence: 'host=\"nas\"', for: 2h}",
        "{at: 40s, fire: Full on nas, every: 30s, times: 20}",
        "{at: 30s, flap: Link on nas, every: 20s, times: 6}",
    )
    for number in range(CASES):
        yield (
            f"- name: a database that fails takes what depends on it along ({number})\n"
            f"  steps:\n  - {{at: 0s, fire: DiskFull on db1}}\n  - {{at: 20s, fire: [Errors on api, Slow on shop]}}\n"
            f"  - {more[number % len(more)]}\n"
            "  - {at: 20m, resolve: [DiskFull on db1, Errors on api, Slow on shop]}\n"
            "  expect:\n"
        )
        for moment, state in (("10m", "open"), ("40m", "resolved")):
            yield (
                f"  - at: {moment}\n    others: true\n    situations:\n"
                f"    - {{alerts: [DiskFull on db1, Errors on api, Slow on shop], cause: db1, state: {state}}}\n"
            )


def timed(words: Sequence[str], reps: int) -> tuple[list[float], list[float], float]:
    """Seconds by the clock and of CPU, and the peak of memory in MiB. The first run fills caches and is left out."""
    clock_s, cpu_s, peak = [], [], 0.0
    for _ in range(reps + 1):
        began = time.perf_counter()
        process = subprocess.Popen(product.command(*words), stdout=subprocess.DEVNULL, env=product.environment())
        _, status, used = os.wait4(process.pid, 0)
        clock_s.append(time.perf_counter() - began)
        cpu_s.append(used.ru_utime + used.ru_stime)
        peak = max(peak, used.ru_maxrss / 1024)
        assert os.waitstatus_to_exitcode(status) == 0, f"foreshock {' '.join(words)} failed"
    return clock_s[1:], cpu_s[1:], peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=7)
    reps: int = parser.parse_args().reps
    rows = []
    with product.scratch() as work:
        written = {"rules.yaml": rules(), "cases.yaml": cases()}
        for name, lines in written.items():
            (work / name).write_text("".join(lines), encoding="utf-8")
        for what, words, aim_s in (
            ("foreshock --version", ["--version"], None),
            (f"rules check, {RULES} rules", ["rules", "check", str(work / "rules.yaml")], RULES_TARGET_S),
            (f"rules test, {CASES} cases", ["rules", "test", str(work / "cases.yaml")], CASES_TARGET_S),
        ):
            clock_s, cpu_s, peak = timed(words, reps)
            aim = "" if aim_s is None else f"< {aim_s:.0f}"
            rows.append((what, product.spread(clock_s, 2), product.spread(cpu_s, 2), f"{peak:.0f}", aim))
    product.table((f"of {reps} runs", "clock, s", "CPU, s", "MiB", "aim, s"), rows)
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
