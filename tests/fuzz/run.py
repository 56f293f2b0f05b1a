"""Fuzzing with coverage (atheris, libFuzzer) of all that takes bytes of strangers: ``make fuzz``.

``python tests/fuzz/run.py [TARGET …] [--seconds N]``: each target in a process of its own. Exit code 1: something was
raised, took more than ten seconds or a gigabyte; the bytes that did it are in the file that libFuzzer names.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="all if left out")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("FORESHOCK_FUZZ_SECONDS", "20")), help="each")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(f"no fuzzing with coverage: atheris has no wheel for Python {sys.version.split()[0]}")
        return 0
    if given.one:
        fuzz(given.targets[0], given.seconds)
    from foreshock.testing.fuzzing import TARGETS

    unknown = set(given.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}: there are {', '.join(TARGETS)}")
    failed = []
    for target in given.targets or TARGETS:
        print(f"==> {target}, {given.seconds} s", flush=True)
        command = [sys.executable, __file__, target, "--one", "--seconds", str(given.seconds)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if ended.returncode:
            failed.append(target)
        lines = [line for line in ended.stdout.splitlines() if "WARNING" not in line and line.strip()]
        print("\n".join(lines[-40:] if ended.returncode else lines[-1:]), flush=True)
    if failed:
        print(f"mistakes in: {', '.join(failed)}")
    return bool(failed)


def fuzz(name: str, seconds: int) -> None:
    """Does not return."""
    import atheris

    with atheris.instrument_imports(include=["collectors", "foreshock.connect"], enable_loader_override=False):
        from foreshock.testing.fuzzing import TARGETS

        target = TARGETS[name]()
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=10", "-rss_limit_mb=1024"]
        options += [f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{name}-", "-print_final_stats=0"]
        atheris.Setup([sys.argv[0], *options, folder], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
