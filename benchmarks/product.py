"""What the benchmarks share: the tools they run by path, a Foreshock to measure, and what the kernel says about it.

``BENCH_TOOLS`` is the folder with the sender, the streams and the peers (default ``../shared/bench`` beside the
checkout), ``BENCH_WORK`` a scratch folder to keep built tools and streams in (default: a temporary one, removed at the
end). The checkout that this file lies in is measured, whichever checkout the virtualenv names.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(os.environ.get("BENCH_TOOLS") or ROOT.parent / "shared" / "bench").resolve()
EVAL = TOOLS.parent / "eval"
PORT = 19095
sys.path.insert(0, str(ROOT))  # before this folder, whose correlation.py is not the package

# Before Python 3.14 the kernel does not hear of a thread's name: all are called like the process. Telling it is one
# write at the start of each thread, so what is measured stays the same.
_START = """
import sys, threading
start = threading.Thread.start
def named(thread):
    start(thread)
    try:
        with open(f"/proc/self/task/{thread.native_id}/comm", "w") as comm:
            comm.write(thread.name[:15])
    except OSError:
        pass
threading.Thread.start = named
from foreshock.service.cli import main
sys.argv[0] = "foreshock"
main()
"""


def skip(why: str) -> NoReturn:
    """End without failing: this machine lacks what the comparison needs."""
    print(f"skipped: {why}")
    raise SystemExit(0)


def need_tools(*programs: str) -> None:
    if not (TOOLS / "compare.py").is_file():
        skip(f"there are no bench tools in {TOOLS}; name their folder in BENCH_TOOLS")
    for program in programs:
        if shutil.which(program) is None:
            skip(f"{program} is not installed")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """The folder for everything written; also what the tools see as BENCH_WORK."""
    chosen = os.environ.get("BENCH_WORK")
    work = Path(chosen).resolve() if chosen else Path(tempfile.mkdtemp(prefix="foreshock-bench-"))
    (work / "data").mkdir(parents=True, exist_ok=True)
    os.environ["BENCH_WORK"] = str(work)
    try:
        yield work
    finally:
        if not chosen:
            shutil.rmtree(work, ignore_errors=True)


def environment() -> dict[str, str]:
    """For a Foreshock of this checkout, without settings of the shell."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
    return {**own, "PYTHONPATH": str(ROOT)}


def command(*arguments: str, interpreter: Sequence[str] = ()) -> list[str]:
    """``foreshock ARGUMENTS`` of this checkout. ``interpreter``: flags for Python."""
    return [sys.executable, *interpreter, "-P", "-c", _START, *arguments]


def shell(words: Sequence[str]) -> str:
    return shlex.join(words)


# ---- the work -------------------------------------------------------------------------------------------------------


def build_sender(work: Path) -> Path:
    """The C program that replays prepared requests."""
    sender = work / "blast"
    if not sender.exists():
        subprocess.run(["gcc", "-O2", "-o", sender, TOOLS / "blast.c"], check=True)
    return sender


def make_stream(work: Path, events: int, mode: str = "mixed") -> dict[str, Any]:
    """Stream and topology under ``work/data``; what must be true after the last event."""
    tag = f"fill-{events}" if mode == "fill" else str(events)
    expected = work / "data" / f"expected-{tag}.json"
    if not expected.exists():
        options = ["--events", str(events), "--mode", mode, "--out", str(work / "data")]
        subprocess.run([sys.executable, TOOLS / "alert_stream.py", *options], check=True, stdout=subprocess.DEVNULL)
    content: dict[str, Any] = json.loads(expected.read_text())
    return content


def make_requests(work: Path, tag: str, batch: int, connections: int) -> Path:
    """The stream ``tag`` as HTTP requests."""
    requests = work / "data" / f"alertmanager-{tag}-b{batch}-c{connections}.bin"
    if not requests.exists():
        options = [
            "--format",
            "alertmanager",
            "--batch",
            str(batch),
            "--conns",
            str(connections),
            "--out",
            str(requests),
        ]
        stream = work / "data" / f"stream-{tag}.jsonl"
        subprocess.run([sys.executable, TOOLS / "build_requests.py", "--stream", stream, *options], check=True)
    return requests


def send(work: Path, requests: Path) -> dict[str, Any]:
    done = subprocess.run(
        [build_sender(work), "127.0.0.1", str(PORT), requests], check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write_config(work: Path) -> Path:
    """Settings as an operator would have them, with the 10,000 CIs; only the disk guard is off, for small machines."""
    folder = work / "topology"
    folder.mkdir(exist_ok=True)
    read = json.loads((work / "data" / "topology.json").read_text())
    nodes = "".join(f"{node['id']},{node['type']}\n" for node in read["nodes"])
    (folder / "nodes.csv").write_text(f"node,type\n{nodes}")
    edges = "".join(f"{source},{target},depends_on\n" for source, target in read["edges"])
    (folder / "topology.csv").write_text(f"source,target,relation\n{edges}")
    return write_settings(work, folder)


def write_settings(work: Path, topology: Path) -> Path:
    """For a Foreshock in ``work`` that knows the CIs in the folder ``topology``."""
    config = work / "foreshock.yaml"
    config.write_text(
        f"listen: 127.0.0.1:{PORT}\n"
        f"topology:\n  - {{name: bench, kind: file, path: {json.dumps(str(topology))}}}\n"
        "disk_guard: {min_free: 1MiB, min_free_percent: 0}\n"
        "log: {level: warning}\n"
    )
    return config


# ---- a Foreshock ----------------------------------------------------------------------------------------------------


def get(path: str, timeout: float = 10.0) -> bytes:
    answer: bytes = urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=timeout).read()
    return answer


def lag() -> float:
    """Records on disk that the engine has not worked on yet."""
    name = b"foreshock_inbox_lag_records "
    return sum(float(line.split()[-1]) for line in get("/metrics").splitlines() if line.startswith(name))


def settled() -> bool:
    """The topology is in force and nothing waits: what comes from here on is not start-up."""
    try:
        return bool(json.loads(get("/api/v1/status"))["cis"]) and lag() == 0
    except (urllib.error.URLError, OSError):
        return False


class Running:
    """One Foreshock in a process of its own. ``state`` lives on after ``stop`` and ``kill``."""

    def __init__(self, work: Path, *, fresh: bool = True, interpreter: Sequence[str] = ()) -> None:
        self._work = work
        self.state = work / "state"
        if fresh:
            shutil.rmtree(self.state, ignore_errors=True)
        self.log = work / "foreshock.log"
        words = command(
            "run", "--config", str(work / "foreshock.yaml"), "--state", str(self.state), interpreter=interpreter
        )
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                words, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self, within_s: float = 60.0) -> float:
        """Seconds from the start to the first 200 of /-/ready."""
        while time.monotonic() - self.began < within_s:
            try:
                get("/-/ready")
            except (urllib.error.URLError, OSError):
                if self._process.poll() is not None:
                    break
                time.sleep(0.005)
            else:
                return time.monotonic() - self.began
        raise SystemExit(f"Foreshock did not get ready; its log:\n{self.log.read_text(errors='replace')[-2000:]}")

    def settle(self, within_s: float = 300.0) -> None:
        deadline = time.monotonic() + within_s
        while not settled():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise SystemExit("Foreshock did not settle")
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()


# ---- what the kernel knows ------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident(pid: int) -> int:
    """Bytes of memory that the process and its children use now; what they share counts in part for each."""
    used = 0
    for process in (pid, *children(pid)):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        used += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return used


def thread_seconds(pid: int) -> dict[str, float]:
    """CPU seconds by the name of the thread, numbers at its end left out; those of ended threads are missing. Those
    of child processes, such as the one that takes events in, are called front."""
    seconds: dict[str, float] = {}
    for process in (pid, *children(pid)):
        for task in Path(f"/proc/{process}/task").iterdir():
            try:
                name = (task / "comm").read_text().strip().rstrip("0123456789_- ")
                used = int((task / "schedstat").read_text().split()[0]) / 1e9
            except OSError:
                continue
            if task.name == str(process):
                name = "main (event loop)"
            name = name if process == pid else f"front: {name}"
            seconds[name] = seconds.get(name, 0.0) + used
    return seconds


# ---- telling --------------------------------------------------------------------------------------------------------


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Markdown, so that it can go into docs/measured.md as it is."""
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    print(flush=True)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}..{max(values):.{digits}f}]"


def about(versions: Mapping[str, str]) -> None:
    """The circumstances, which a number means nothing without."""
    found = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%h %cs"], capture_output=True, text=True, check=False
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    said = {"checkout": found.stdout.strip(), "Python": sys.version.split()[0], **versions}
    facts = "; ".join(f"{name} {version}" for name, version in said.items())
    print(f"{time.strftime('%Y-%m-%d %H:%M')}; {os.cpu_count()} cores; load {load}; {facts}\n", flush=True)
