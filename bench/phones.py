"""Fifty phones on live pages: memory of the service, and delay of the guard's scans.

Ten outlets charge during the whole run. The guard is measured without phones, with them, and without them again, in one
run, so other load of the machine affects all three. Each of the guard's snapshots, five per second, reports the
greatest delay of a turn since the snapshot before.

    python -m bench.phones [--phones 50] [--minutes 10] [--report]
"""

import argparse
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from bench.footprint import memory_mb
from bench.viewers import Viewers, charge_everywhere
from bench.web import OUTLETS
from cabinet.link import protocol
from cabinet.link.protocol import Hello, Role
from cabinet.model import GuardHealth, Snapshot
from cabinet.system.run_folder import guard_socket
from cabinet_testing.real_cabinet import RealCabinet, running
from campaigns.report import FOLDER
from campaigns.runner import commit, machine, percentile

MINUTE_S = 60
SETTLING_S = 30  # after the phones connect, because the first answers allocate lasting memory
FLAT_MB = 2.0
WITHOUT_SHARE = 0.3  # share of the time with phones, before and after


class GuardWatch:
    """Reader of every snapshot that the guard publishes to a viewer."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._socket.settimeout(10)
        self._socket.connect(str(path))
        self._socket.send(protocol.encode(Hello(Role.VIEWER, snapshots=True)))

    def __enter__(self) -> "GuardWatch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def next(self) -> GuardHealth:
        while True:
            message = protocol.decode_from_guard(self._socket.recv(protocol.MAX_FRAME))
            if isinstance(message, Snapshot):
                return message.health


class Span(NamedTuple):
    """Measurements over a period with or without phones."""

    name: str
    late_us: list[int]  # greatest delay in each 0.2 s, ascending
    scan_us: list[int]  # ascending
    service_cpu_s: float
    seconds: float


def span(name: str, watch: GuardWatch, pid: int, over: Callable[[], bool]) -> Span:
    """Measure until `over`, called with every snapshot, returns true."""
    began, cpu_s = time.monotonic(), cpu_of(pid)
    healths = [watch.next()]
    while not over():
        healths.append(watch.next())
    late = sorted(health.late_worst_us for health in healths)
    scans = sorted(health.scan_us for health in healths)
    return Span(name, late, scans, cpu_of(pid) - cpu_s, time.monotonic() - began)


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


class Clocked:
    """A period of `seconds`, during which the service's memory is recorded each minute."""

    def __init__(self, seconds: float, pid: int) -> None:
        self._pid = pid
        self._every_s = min(MINUTE_S, seconds / 4)
        self._end = time.monotonic() + seconds
        self._next = time.monotonic()
        self.memory_mb: list[tuple[float, float]] = []  # (RSS, PSS)

    def __call__(self) -> bool:
        now = time.monotonic()
        if now >= self._next:
            self._next += self._every_s
            self.memory_mb.append(memory_mb(self._pid))
        return now >= self._end


def measure(cabinet: RealCabinet, phones: int, with_s: float) -> str:
    """Run the measurement. Return the tables of the report."""
    charges = charge_everywhere(cabinet, OUTLETS)
    pid = cabinet.processes["service"].popen.pid
    without_s = WITHOUT_SHARE * with_s
    with GuardWatch(guard_socket(cabinet.run)) as watch:
        spans = [span("no phones, before", watch, pid, before := Clocked(without_s, pid))]
        with Viewers(cabinet.url, charges, phones) as viewers:
            span("settling", watch, pid, Clocked(SETTLING_S, pid))
            spans.append(span(f"{phones} phones", watch, pid, during := Clocked(with_s, pid)))
        spans.append(span("no phones, after", watch, pid, after := Clocked(without_s, pid)))
    if viewers.refused:
        raise RuntimeError(f"live pages were refused: {viewers.refused[:3]}")
    rss = [rss for rss, _ in during.memory_mb]
    growth_mb = statistics.fmean(rss[len(rss) // 2 :]) - statistics.fmean(rss[: len(rss) // 2])
    minutes = ", ".join(f"{each:.1f}" for each in rss)
    return (
        f"| the guard with | snapshots | late p50 ms | p99 | worst | scan p50 ms | p99 | service's share of a core |\n"
        f"|---|---|---|---|---|---|---|---|\n{''.join(map(_row, spans))}\n"
        f"The phones were sent {viewers.events} events, {viewers.bytes_ / 1e6:.1f} MB.\n\n"
        f"| the service's memory | MB RSS (PSS) | bar |\n|---|---|---|\n"
        f"| before the phones | {_memory(before.memory_mb[-1])} | |\n"
        f"| with them, at the first | {_memory(during.memory_mb[0])} | |\n"
        f"| with them, at the last | {_memory(during.memory_mb[-1])} | |\n"
        f"| second half over first half | {growth_mb:+.2f} | {FLAT_MB:g} |\n"
        f"| after them | {_memory(after.memory_mb[-1])} | |\n\nRSS with them, minute by minute: {minutes} MB.\n"
    )


def _memory(found: tuple[float, float]) -> str:
    return f"{found[0]:.1f} ({found[1]:.1f})"


def _row(span: Span) -> str:
    late, scan = ([percentile(values, at) / 1000 for at in (0.5, 0.99, 1.0)] for values in (span.late_us, span.scan_us))
    return (
        f"| {span.name} | {len(span.late_us)} | {late[0]:.2f} | {late[1]:.2f} | {late[2]:.2f} "
        f"| {scan[0]:.2f} | {scan[1]:.2f} | {span.service_cpu_s / span.seconds:.0%} |\n"
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.phones", description=__doc__)
    parser.add_argument("--phones", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--report", action="store_true", help="also write docs/reports/phones.md")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cabinet:
        tables = measure(cabinet, args.phones, MINUTE_S * args.minutes)
    command = f"python -m bench.phones --phones {args.phones} --minutes {args.minutes:g}"
    text = f"`{command}`\n\n{machine()}, commit {commit()}, {time.strftime('%Y-%m-%d')}\n\n{tables}"
    print(text)
    if args.report:
        head = f"# {args.phones} phones on live pages\n\n"
        (FOLDER / "phones.md").write_text(head + text, encoding="utf-8")


if __name__ == "__main__":
    main()
