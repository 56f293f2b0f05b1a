"""Syslog at full speed beside rsyslog's own receiver: messages a second, CPU, and datagrams that were lost.

    make bench-collectors        or    python benchmarks/collectors_syslog.py [--messages 1000000] [--reps 3] [--quick]

Both take the same bytes on loopback, in turn. Foreshock is a whole ``foreshock run``: each message is parsed and told
by its template, two in a hundred become events that are synced to disk, the others are counted into the metric history.
rsyslog parses and writes each message to a file, which it does not sync. A message counts once its receiver says that
it has it: Foreshock in its status, rsyslog in the file. The sender has its own process and prepared buffers.
"""

import argparse
import contextlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from foreshock.testing.servers import ForeshockServer, Rsyslog, eventually, free_port, missing

TCP_TARGET, UDP_TARGET = 50_000, 20_000
UDP_S = 10
_TICK = os.sysconf("SC_CLK_TCK")
_TEXTS = (
    ("sshd", "Accepted publickey for deploy from 10.{0}.3.{1} port {2} ssh2"),
    ("kernel", "eth{0}: link is up at {1} Mbps, {2} duplex"),
    ("nginx", "GET /api/items/{2}?page={0} HTTP/1.1 200 {1}"),
    ("postgres", "checkpoint complete: wrote {2} buffers ({0}.1%); write={1} s"),
    ("cron", "(root) CMD (run-parts /etc/cron.hourly {0} {1})"),
)


class Run(NamedTuple):
    """cpu_s: of the receiver's processes; own_s: of them the one that reads the socket. lost: datagrams."""

    seconds: float
    cpu_s: float
    own_s: float
    lost: int


def messages(number: int) -> list[bytes]:
    """Half in each format, from fifty hosts; two in a hundred are errors."""
    draw = random.Random(7)
    found = []
    for at in range(number):
        app, text = _TEXTS[at % len(_TEXTS)]
        said = text.format(draw.randint(0, 255), draw.randint(0, 255), draw.randint(1024, 65535))
        priority, host, process = 24 + (3 if at % 50 == 0 else 6), f"host-{at % 53}", at % 30_000
        if at % 2:
            when = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
            found.append(f"<{priority}>1 {when} {host} {app} {process} - - {said}".encode())
        else:
            when = time.strftime("%b %d %H:%M:%S", time.gmtime())
            found.append(f"<{priority}>{when} {host} {app}[{process}]: {said}".encode())
    return found


# ---- sending, in a process of its own -------------------------------------------------------------------------------


def send_tcp(port: int, file: Path) -> None:
    data = memoryview(file.read_bytes())
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for at in range(0, len(data), 2**20):
            sock.sendall(data[at : at + 2**20])
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)


def send_udp(port: int, file: Path, rate: int) -> None:
    """In bursts of two milliseconds."""
    lines = file.read_bytes().splitlines()
    each = max(1, rate // 500)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 2**20)
        sock.connect(("127.0.0.1", port))
        began = time.perf_counter()
        for at in range(0, len(lines), each):
            ahead_s = at / rate - (time.perf_counter() - began)
            if ahead_s > 0:
                time.sleep(ahead_s)
            for line in lines[at : at + each]:
                sock.send(line)


@contextlib.contextmanager
def sender(what: str, port: int, file: Path, rate: int = 0) -> Iterator[None]:
    with subprocess.Popen([sys.executable, __file__, "--send", what, str(port), str(file), str(rate)]) as process:
        yield
        process.terminate()


# ---- receivers ------------------------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def listener(pids: list[int]) -> int:
    return next(pid for pid in pids if b"listening_work" in Path(f"/proc/{pid}/cmdline").read_bytes())


def measured(held: Callable[[], int], pids: list[int], own: int, send: contextlib.AbstractContextManager[None],
             number: int, patience_s: float) -> Run:  # fmt: skip
    """held: messages that the receiver has. It is waited until it has all, or takes no more for five seconds."""
    first, cpu, of_own = held(), sum(map(cpu_s, pids)), cpu_s(own)
    began = changed = time.perf_counter()
    last = 0
    with send:
        while last < number and time.perf_counter() - changed < patience_s:
            time.sleep(0.05)
            if (now := held() - first) != last:
                last, changed = now, time.perf_counter()
    return Run(changed - began, sum(map(cpu_s, pids)) - cpu, cpu_s(own) - of_own, number - last)


@contextlib.contextmanager
def foreshock(tcp: int, udp: int) -> Iterator[tuple[Callable[[], int], list[int], int]]:
    collector = {"name": "net", "kind": "syslog", "tcp": f"127.0.0.1:{tcp}", "udp": f"127.0.0.1:{udp}"}
    with ForeshockServer(config={"collectors": [collector], "log": {"level": "warning"}}) as server:

        def view() -> dict:
            return next(each for each in server.get("/api/v1/sources") if each["name"] == "net")["listening"]

        eventually(lambda: view()["address"])

        def held() -> int:
            counts = view()["counts"]
            return counts.get("received", 0) + counts.get("counted", 0)

        pids = family(server.pid)
        yield held, pids, listener(pids)


@contextlib.contextmanager
def rsyslog(tcp: int, udp: int) -> Iterator[tuple[Callable[[], int], list[int], int]]:
    with Rsyslog(
        'module(load="imptcp")', f'input(type="imptcp" address="127.0.0.1" port="{tcp}")',
        'module(load="imudp")', f'input(type="imudp" address="127.0.0.1" port="{udp}" rcvbufSize="32m")',
        'action(type="omfile" file="@LAB@/out" flushInterval="1")',
    ) as server:  # fmt: skip
        out, read = server.folder / "out", [0, 0]

        def held() -> int:
            if out.exists():
                with out.open("rb") as file:
                    file.seek(read[0])
                    while part := file.read(2**22):
                        read[0] += len(part)
                        read[1] += part.count(b"\n")
            return read[1]

        yield held, [server.pid], server.pid


# ---- report ---------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="200,000 messages, once")
    parser.add_argument("--folder", type=Path, default=None, help="for the prepared buffers")
    parser.add_argument("--send", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        what, port, file, rate = options.send
        send_tcp(int(port), Path(file)) if what == "tcp" else send_udp(int(port), Path(file), int(rate))
        return
    number, reps = (200_000, 1) if options.quick else (options.messages, options.reps)
    receivers = {"foreshock": foreshock} | ({} if missing("rsyslogd") else {"rsyslog": rsyslog})
    folder = Path(options.folder or f"/tmp/bench-syslog-{os.getpid()}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report(number, reps, receivers, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(number: int, reps: int, receivers: dict, folder: Path) -> None:
    prepared = messages(number)
    lines, counted = folder / "lines", folder / "counted"
    lines.write_bytes(b"\n".join(prepared) + b"\n")
    counted.write_bytes(b"".join(b"%d %s" % (len(message), message) for message in prepared))
    found: dict[tuple[str, str], list[Run]] = {}
    cases = {"TCP, counted": ("tcp", counted, 0, number), "TCP, lines": ("tcp", lines, 0, number)}
    for rate in (UDP_TARGET, 2 * UDP_TARGET):
        some = folder / f"udp-{rate}"
        some.write_bytes(b"\n".join(prepared[: rate * UDP_S]) + b"\n")
        cases[f"UDP, {rate:,}/s"] = ("udp", some, rate, min(number, rate * UDP_S))
    for _ in range(reps):
        for name, receiver in receivers.items():
            tcp, udp = free_port(), free_port()
            with receiver(tcp, udp) as (held, pids, own):
                for case, (what, file, rate, size) in cases.items():
                    send = sender(what, tcp if what == "tcp" else udp, file, rate)
                    found.setdefault((case, name), []).append(measured(held, pids, own, send, size, 8.0))
                    print(f"  {case:14} {name:10} {found[case, name][-1]}", file=sys.stderr, flush=True)
    print(f"{'':14} {'receiver':10} {'messages/s':>11} {'CPU µs each':>12} {'reader µs':>10} {'lost':>7}")
    for (case, name), runs in found.items():
        size = cases[case][3]
        rate, each, own = (
            statistics.median(values)
            for values in (
                [(size - run.lost) / run.seconds for run in runs],
                [run.cpu_s / size * 1e6 for run in runs],
                [run.own_s / size * 1e6 for run in runs],
            )
        )
        print(f"{case:14} {name:10} {rate:>11,.0f} {each:>12.2f} {own:>10.2f} {sum(run.lost for run in runs):>7,}")
    if "rsyslog" in receivers:
        for case in cases:
            ours, theirs = (statistics.median(run.cpu_s for run in found[case, name]) for name in receivers)
            print(f"{case:14} CPU beside rsyslog: {ours / theirs:.2f}")
    slowest = min((size - run.lost) / run.seconds for (case, name), runs in found.items() if name == "foreshock"
                  for size in [cases[case][3]] for run in runs if case.startswith("TCP"))  # fmt: skip
    lost = sum(run.lost for run in found[f"UDP, {UDP_TARGET:,}/s", "foreshock"])
    print(f"TCP {'reached' if slowest >= TCP_TARGET else 'missed'}: {slowest:,.0f}/s, to reach {TCP_TARGET:,}/s")
    print(f"UDP {'reached' if not lost else 'missed'}: {lost} lost at {UDP_TARGET:,}/s")


if __name__ == "__main__":
    main()
