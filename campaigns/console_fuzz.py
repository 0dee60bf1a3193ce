"""Noise on the console's line: no crash, no hang, no command run, constant memory, the guard undisturbed.

A scenario is a cabinet of real processes with an active charge, and a technician logged in at a terminal with or
without cursor control. Then noise of one kind is sent over the line: random bytes, control sequences, broken UTF-8, a
line of a million characters without an end, or fifty disconnections in the middle of a command. The noise contains a
confirmation only by chance: the audit log must contain no command, the simulator's journal no switched coil, and the
console must answer afterwards. A whole run has ten scenarios of each kind: a million random bytes and 500 cuts.

    python -m campaigns.console_fuzz [--count 5] [--seed N --verbose]
"""

import os
import random
import select
import sys
import tempfile
import time
import tty
from pathlib import Path

import msgspec

from cabinet.console.service_client import ServiceSocketClient
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import Role
from cabinet.link.service_protocol import MAX_LINES, AskAudit, AuditAnswer, path_in
from cabinet.model import Event, EventKind, Fault
from cabinet.system.run_folder import console_terminal, guard_socket
from cabinet_testing.real_cabinet import RealCabinet, running, wait_for
from campaigns.runner import Campaign, Outcome, main

KINDS = ("random", "control", "utf8", "endless", "cuts")
RANDOM_BYTES = 100_000
ENDLESS_BYTES = 1_000_000
CUTS = 50
CHUNK = 2048
WITHIN_S = 120.0
ATTEMPTS = 5
MAX_GROWN_KB = 4096  # after the first tenth of the noise, which fills the caches
IT_IS_A_TERMINAL = b"\x1b[?62;22c"
OF_24_BY_80 = b"\x1b[24;80R"
HALVES = (b"off 3", b"clear 3\rye", b"watch\r", b"\x1b[", b"outlet ", "充".encode()[:2], b"pin\r123")


class RawLine:
    """A technician at the raw end of the line. The output is read continuously; only its last part is kept."""

    def __init__(self, cabinet: RealCabinet, account: str, can: bool) -> None:
        self._cabinet = cabinet
        self._can = can
        self._account = account  # its setting of the terminal is stored
        self._pin = cabinet.command("console", "--new-pin", account).strip().split()[-1]
        self._seen = b""
        self._end = -1
        self.open()

    def open(self) -> None:
        self._end = os.open((console_terminal(self._cabinet.run)).resolve(), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._end)
        self._seen = b""

    def close(self) -> None:
        os.close(self._end)

    def log_in(self) -> None:
        """Log in as a person does: Ctrl-C and Enter until there is a prompt, and again if noise is still in transit."""
        for _ in range(ATTEMPTS):
            self.expect(b"login: ", b"\x03\r")
            self.send(self._account.encode() + b"\r")
            if self.expect(b"PIN: ", or_=b"login: ") == b"PIN: ":
                break
        self.send(self._pin.encode() + b"\r")
        self.expect(b"> ")
        if self._can:
            self.send(IT_IS_A_TERMINAL)
            self.expect(b"\x1b[6n")
            self.send(OF_24_BY_80)

    def send(self, data: bytes) -> None:
        """Send all of `data`, at the pace of the console, within `WITHIN_S`."""
        deadline = time.monotonic() + WITHIN_S
        while data:
            readable, writable, _ = select.select([self._end], [self._end], [], 1)
            if readable:
                self.read()
            if writable:
                data = data[os.write(self._end, data[:CHUNK]) :]
            if time.monotonic() > deadline:
                raise AssertionError("the console takes nothing any more")

    def read(self) -> None:
        self._seen = (self._seen + os.read(self._end, 65_536))[-65_536:]

    def expect(self, what: bytes, asking: bytes = b"", or_: bytes | None = None) -> bytes:
        """Wait until the console shows `what` or `or_`. Return which. If `asking` is given, send it repeatedly."""
        deadline = time.monotonic() + WITHIN_S
        while what not in self._seen and (or_ is None or or_ not in self._seen):
            if asking:
                os.write(self._end, asking)
            if select.select([self._end], [], [], 1.0)[0]:
                self.read()
            if time.monotonic() > deadline:
                raise AssertionError(f"the console does not show {what!r}, but {self._seen[-200:]!r}")
        shown = what if or_ is None or what in self._seen else or_
        self._seen = b""
        return shown


def noise(kind: str, chance: random.Random) -> bytes:
    if kind == "random":
        return chance.randbytes(RANDOM_BYTES)
    if kind == "control":
        letters = b"0123456789;?<ABCDHJKMRcmnr~"
        return b"".join(
            b"\x1b[" + bytes(chance.choices(letters, k=chance.randrange(1, 9))) for _ in range(RANDOM_BYTES // 7)
        )
    if kind == "utf8":
        text = "充电 off 3 é \u202e是".encode()
        cut = (text[chance.randrange(len(text)) :][: chance.randrange(1, 9)] for _ in range(RANDOM_BYTES // 6))
        return b"\xff".join(cut)
    return b"x" * ENDLESS_BYTES


def scenario(seed: int, verbose: bool, share: float = 1.0) -> Outcome:
    """Run one scenario with `share` of its noise."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cabinet:
        cabinet.plug(3, "resistor:200")
        return disturbed(cabinet, seed, share)


def disturbed(cabinet: RealCabinet, seed: int, share: float) -> Outcome:
    """Run one scenario on `cabinet`, which has a load at outlet 3 and may have had other kinds of noise before."""
    chance = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    technician = RawLine(cabinet, kind, can=chance.random() < 0.5)
    journal = len(cabinet.journal())
    figures: dict[str, list[float]] = {}
    problems = _disturb(cabinet, technician, kind, chance, share, figures)
    moved = [r["kind"] for r in cabinet.journal(journal) if r["kind"].startswith(("coil", "contactor"))]
    problems += [f"the simulator's journal: {moved}"] if moved else []
    problems += _commands(cabinet)
    late = [e for e in _events(cabinet) if e.fault is Fault.GUARD_LATE and e.kind is EventKind.TRIPPED]
    problems += ["the guard was late"] if late else []
    technician.close()
    return Outcome(seed, tuple(problems), figures=figures, cells={kind: {"as promised": int(not problems)}})


def _disturb(
    cabinet: RealCabinet,
    technician: RawLine,
    kind: str,
    chance: random.Random,
    share: float,
    figures: dict[str, list[float]],
) -> list[str]:
    """Send the noise. Return the problems of the console, which must answer afterwards."""
    console = cabinet.processes["console"].popen.pid
    cabinet.snapshot()  # restarts the measurement of the guard's delay
    grown: list[int] = []
    if kind == "cuts":
        times = max(2, int(CUTS * share))
        for number in range(times):
            technician.log_in()
            technician.send(chance.choice(HALVES))
            technician.close()
            wait_for("the cut to be noticed", lambda: _reopened(technician))
            if number >= times // 10:
                grown.append(_resident_kb(console))
    else:
        technician.log_in()
        data = noise(kind, chance)
        data = data[: max(CHUNK, int(len(data) * share))]
        for start in range(0, len(data), CHUNK):
            technician.send(data[start : start + CHUNK])
            if start >= len(data) // 10:
                grown.append(_resident_kb(console))
    figures["late_ms"] = [cabinet.snapshot().health.late_worst_us / 1000]
    figures["grown_kb"] = [float(max(grown) - grown[0])]
    problems = [f"memory grew by {max(grown) - grown[0]} kB"] if max(grown) - grown[0] > MAX_GROWN_KB else []
    technician.close()
    wait_for("the line to be free", lambda: _reopened(technician))
    technician.log_in()
    technician.send(b"\x15terminal plain\r")
    technician.expect(b"> ")
    technician.send(b"limits --json\r")
    technician.expect(b"hard_peak_a")
    if cabinet.processes["console"].popen.poll() is not None:
        problems.append("the console has ended")
    return problems


def _reopened(technician: RawLine) -> bool:
    """Reopen the line. Return whether the console greets, which shows that it has detected the cut."""
    technician.open()
    if select.select([technician._end], [], [], 2.0)[0]:
        technician.read()
        if b"login: " in technician._seen:
            return True
    technician.close()
    return False


def _commands(cabinet: RealCabinet) -> list[str]:
    """Return the unintended commands in the audit log."""
    meant = {"login", "terminal plain", "limits"}
    halves = {"watch", "clear 3", "pin"}  # complete lines among `HALVES`; none has an effect by itself
    path = cabinet.state / "console-audit.jsonl"
    rows = [msgspec.json.decode(row) for row in path.read_bytes().splitlines()] if path.exists() else []
    rows += _kept(cabinet)
    return [f"ran {row['line']!r}: {row['outcome']}" for row in rows if row["line"] not in meant | halves]


def _kept(cabinet: RealCabinet) -> list[dict[str, str]]:
    audit = ServiceSocketClient(path_in(cabinet.run), 10).ask(AskAudit(MAX_LINES), AuditAnswer)
    return [{"line": line.subject, "outcome": line.detail} for line in audit.lines if line.action == "console"]


def _events(cabinet: RealCabinet) -> list[Event]:
    with BlockingGuard(guard_socket(cabinet.run), Role.CONSOLE) as link:
        return list(link.recent().events)


def _resident_kb(pid: int) -> int:
    """Return the resident memory in kB, from the pages in proc(5)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


CAMPAIGN = Campaign(
    name="console-fuzz",
    module="campaigns.console_fuzz",
    counted="noises on the console's line",
    scenario=scenario,
    whole=50,
    quick=1,
    promise="no crash, no hang, no command run, memory flat, the guard not late",
    processes=1,
    kinds=len(KINDS),
)

if __name__ == "__main__":
    sys.exit(main(CAMPAIGN))
