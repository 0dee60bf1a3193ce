"""`cabinet bench`: measure on the cabinet itself whether this computer keeps the promised reaction times."""

import argparse
import logging
import socket
from pathlib import Path
from typing import NamedTuple

from cabinet.clock import MS
from cabinet.commands.hardware import openers
from cabinet.commands.measure import Measurement, measure
from cabinet.commands.options import add_config
from cabinet.config import Config
from cabinet.errors import CabinetError
from cabinet.sections import nanoseconds
from cabinet.system import run_folder
from cabinet.system.computer_state import SLOW_BUS_SHARE, computer_problems, computer_root
from cabinet.system.computers import (
    MAX_PERIOD_NS,
    MAX_POLLED_TURN_NS,
    MAX_TRANSFER_US,
    load_here,
    period_problems,
    this_computer,
)

SECONDS = 20
MAX_LATE_MS = 5.0  # a tick later than that is a lost half of a half-cycle; hardware-checklist.md, 1.4
# Here every outlet is open. The steps of charges are 13 % of a turn's instructions (docs/reports/computers.md).
CHARGING = 1.15
EVERYTHING_OFF = "everything-off"


class Line(NamedTuple):
    """One line of the table: median, p99 and worst; `limit` is a text, as a limit may be from below."""

    what: str
    values: list[str]
    limit: str
    kept: bool


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Runs the guard's own loop on the cabinet's chips for a while. It can switch nothing: lines and relays are\n"
        "not driven. The mains stays off, and so does the guard: two programs on one bus would take each other's\n"
        "peaks. Exit status 0: this computer keeps what is promised; 1: it does not, or nothing could be measured.\n\n"
        "examples:\n"
        "  sudo systemctl start cabinet-failsafe   everything off, no guard starts\n"
        "  sudo cabinet bench\n"
        "  sudo cabinet bench --seconds 300\n"
        "  sudo systemctl stop cabinet-failsafe    the guard runs again"
    )
    add_config(parser)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    config = load_here(args.config)
    refuse_beside_a_guard(config)
    logging.disable(logging.ERROR)  # the guard's reports about mains that are off
    try:
        measured = measure(config, openers(config)[0], args.seconds)
    finally:
        logging.disable(logging.NOTSET)
    computer = this_computer()
    name = "a computer of no known kind" if computer is None else computer.name
    print(f"{name}, {len(config.outlet)} outlets, {len(measured.turns_ns)} turns\n")
    found = lines(measured, config)
    print(table(found))
    problems = [f"the computer: {code}" for code in computer_problems(computer_root(config))]
    if computer is not None:
        problems += [f"expected of it: {problem}" for problem in period_problems(config, computer)]
    if not measured.realtime:
        problems.append("not real-time: reaction times are not guaranteed; run it as root")
    for problem in problems:
        print(problem)
    kept = all(line.kept for line in found) and not problems
    print("this computer keeps the promise" if kept else "this computer does NOT keep the promise")
    return 0 if kept else 1


def refuse_beside_a_guard(config: Config) -> None:
    """Raise CabinetError if a guard runs, or may start, while the bus is in use here."""
    run = Path(config.paths.run)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        running = probe.connect_ex(str(run_folder.guard_socket(run))) == 0
    if running:
        raise CabinetError("the guard runs: first switch everything off: sudo systemctl start cabinet-failsafe")
    if not config.simulated and not (run / EVERYTHING_OFF).exists():
        raise CabinetError("a guard may start by itself: first: sudo systemctl start cabinet-failsafe")


def lines(measured: Measurement, config: Config) -> list[Line]:
    """Return the table: turn, lateness, bus and transfer, each with its limit."""
    period_ns = nanoseconds(config.guard.scan_period_s)
    polled = any(outlet.alert is None for outlet in config.outlet)
    turns_ms = [CHARGING * each_ms for each_ms in _points_ms(measured.turns_ns)]
    lates_ms = _points_ms(measured.lates_ns)
    if polled:
        max_turn_ns: float = min(period_ns, MAX_POLLED_TURN_NS)
    else:  # with alert lines, a cabinet too large for the longest period is scanned without a pause
        max_turn_ns = float("inf") if period_ns >= MAX_PERIOD_NS else period_ns
    limit = "none, alert lines" if max_turn_ns == float("inf") else f"p99 {max_turn_ns / MS:.1f}"
    least_hz = SLOW_BUS_SHARE * config.hardware.bus_speed_hz
    khz = f"{measured.bus_hz / 1000:.0f}"
    return [
        Line("turn, ms, all charging", _texts(turns_ms), limit, turns_ms[1] <= max_turn_ns / MS),
        Line("lateness, ms", _texts(lates_ms), f"worst {MAX_LATE_MS:g}", lates_ms[2] <= MAX_LATE_MS),
        Line("bus, kHz", [khz], f"at least {least_hz / 1000:.0f}", measured.bus_hz >= least_hz),
        Line(
            "transfer, us",
            [str(measured.transfer_us)],
            f"at most {MAX_TRANSFER_US}",
            measured.transfer_us <= MAX_TRANSFER_US,
        ),
    ]


def table(found: list[Line]) -> str:
    rows = [["", "median", "p99", "worst", "limit", ""]]
    for line in found:
        values = line.values + [""] * (3 - len(line.values))
        rows.append([line.what, *values, line.limit, "ok" if line.kept else "NOT KEPT"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(cell.ljust(width) for cell, width in row).rstrip() for row in padded)


def _points_ms(ordered: list[int]) -> list[float]:
    """Return median, p99 and worst of an ascending list. Raises CabinetError if nothing was measured."""
    if not ordered:
        raise CabinetError("not one turn was measured: take more --seconds")
    return [ordered[min(len(ordered) - 1, int(share * len(ordered)))] / MS for share in (0.5, 0.99, 1.0)]


def _texts(values_ms: list[float]) -> list[str]:
    return [f"{each_ms:.2f}" for each_ms in values_ms]
