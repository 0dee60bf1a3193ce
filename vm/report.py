"""Results of the scenarios, the last run of each: docs/reports/vm.json, shown as docs/reports/vm.md."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from vm.guests import GUESTS
from vm.harness import Figure
from vm.scenarios import ORDER, in_container, in_machine

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reports"


class Row(msgspec.Struct, frozen=True):
    """Last run of one scenario; `problem` is empty if it passed."""

    name: str
    promise: str
    day: str
    commit: str
    wall_s: float
    shown: list[str]
    figures: list[Figure]
    problem: str = ""
    seed: int = 0


class Report(msgspec.Struct):
    """Rows by name: for each guest (`Guest.name`), for the container, for programs under user emulation."""

    machine: str = ""
    guests: dict[str, dict[str, Row]] = {}
    container: dict[str, Row] = {}
    emulated: dict[str, Row] = {}


def load() -> Report:
    path = FOLDER / "vm.json"
    return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else Report()


def save(report: Report) -> None:
    (FOLDER / "vm.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    (FOLDER / "vm.md").write_text(page(report))


def page(report: Report, order: Sequence[str] = ORDER) -> str:
    """Return the page, with the scenarios in this order. Pure."""
    lines = [
        "# The product in a virtual machine",
        "",
        "`make test-vm`: Debian's kernel and systemd under QEMU's emulation, the package installed by dpkg, the",
        "guard on `/dev/i2c-1` through smbus2 and on `/dev/gpiochip0` (`gpio-sim`) through lgpio, softdog as the",
        "watchdog, the console on a serial port. Behind the lines and an I2C adapter of the test bed is the simulated",
        "cabinet.",
        "Time in the machine is counted in its own instructions, 1 ns each, and passes as the host's while the machine",
        "idles. It has one processor for all, the simulated hardware included: figures hardly depend on how busy",
        "the host is, and are not those of a Pi. Its disk keeps what was flushed; what was not is lost with the power.",
        "",
        "`make test-vm ARCH=arm64` has a Cortex-A72, the processor of a Pi 4, on QEMU's board `virt`, with Debian's",
        "arm64 kernel and the arm64 package; `RELEASE=trixie` has Debian 13 with its kernel and Python 3.13.",
        "",
        f"{report.machine}.",
        "",
        *_beside_each_other(report.guests, order),
    ]
    for name, guest in GUESTS.items():
        if name in report.guests:
            lines += [
                f"# {guest.title}",
                "",
                *_part(report.guests[name], [scenario for scenario in order if in_machine(scenario, guest)]),
                "",
            ]
    lines += [
        "# systemd in a container",
        "",
        "`python -m vm --container`: the same scenarios, package and units under the real systemd of Debian 12, or 13",
        "with `--release trixie`, at the processor's own speed and with the simulator for hardware: a relay's line is",
        "what its coil was told. What needs the kernel's devices, a panic or a power cut is not among them, and the",
        "guard is not real-time here: times say that something happens, not how soon it does on a Pi.",
        "",
        *_part(report.container, [name for name in order if in_container(name)]),
        "",
        "# arm64 under user emulation",
        "",
        "`make test-arm64`: the arm64 package in an arm64 Debian, program by program under emulation on the host's",
        "kernel: neither units nor devices are tested, and seconds are those of the host.",
        "",
        *_part(report.emulated, []),
    ]
    return "\n".join(lines) + "\n"


def _beside_each_other(guests: dict[str, dict[str, Row]], order: Sequence[str]) -> list[str]:
    """Return the result of each scenario, and each figure with a limit or a unit, for all guests side by side."""
    names = [name for name in GUESTS if name in guests]
    lines = [f"| scenario | {' | '.join(GUESTS[name].title for name in names)} |", "|---" * (len(names) + 1) + "|"]
    rows = list(
        dict.fromkeys(
            row for scenario in order for name in names for row in guests[name] if row.partition(",")[0] == scenario
        )
    )
    for row in rows:
        lines.append(f"| {row} | {' | '.join(_result(guests[name].get(row)) for name in names)} |")
        whats = dict.fromkeys(
            f.what for name in names if row in guests[name] for f in guests[name][row].figures if f.unit
        )
        for what in whats:
            cells = (_value(guests[name].get(row), what) for name in names)
            lines.append(f"| - {what} | {' | '.join(cells)} |")
    return [*lines, ""]


def _result(row: Row | None) -> str:
    if row is None:
        return ""
    return "**no**" if row.problem else "yes"


def _value(row: Row | None, what: str) -> str:
    return next(
        (f"{figure.value:.4g} {figure.unit}" for figure in (row.figures if row else ()) if figure.what == what), ""
    )


def _part(found: dict[str, Row], order: list[str]) -> list[str]:
    rows = [found[name] for name in order if name in found]
    rows += [row for name, row in sorted(found.items()) if name not in order]
    lines = ["| scenario | promise | as promised | run | commit |", "|---|---|---|---|---|"]
    for row in rows:
        result = "yes" if not row.problem else "**no**"
        lines.append(f"| {row.name} | {row.promise} | {result} | {row.day}, {row.wall_s:.0f} s | {row.commit} |")
    ran = {name.partition(", ")[0] for name in found}
    if missing := [name for name in order if name not in ran]:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    for row in rows:
        lines += ["", f"## {row.name}", ""]
        if row.problem:
            lines += ["```", row.problem.strip()[-1500:], "```", ""]
        lines += [f"- {what}" for what in row.shown]
        if row.figures:
            lines += ["", "| measured | value | at most |", "|---|---|---|"]
            lines += [_row_of(figure) for figure in row.figures]
    return lines


def _row_of(figure: Figure) -> str:
    most = "" if figure.bar is None else f"{figure.bar:.4g}"
    return f"| {figure.what} | {figure.value:.4g} {figure.unit} | {most} |"
