"""The examples of docs/console.md: every command, run on a console over the simulated cabinet, with its real output.

`python -m cabinet_testing.console_examples` writes the page; a test compares it with the output of today's commands.
"""

import re
import tempfile
from collections.abc import Generator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from cabinet.clock import NS, WallTime
from cabinet.console.command import CommandSpec
from cabinet.console.registry import COMMANDS
from cabinet.console.wording import wording
from cabinet.link.service_protocol import (
    AuditAnswer,
    AuditLine,
    DayEnergy,
    Energy,
    Handed,
    SessionLine,
    Sessions,
    UplinkView,
    Usage,
    UsageLine,
)
from cabinet.link.uplink_protocol import UplinkStatus
from cabinet.model import EndReason
from cabinet.system.steward.protocol import (
    Answer,
    BackUp,
    BackupCopied,
    BundleFound,
    DriveFound,
    InspectionItem,
    InspectionProgress,
    InstalledVersion,
    Interface,
    Network,
    Request,
    RequestDone,
    ShowNetwork,
)
from cabinet.system.update import trial as update
from cabinet.system.update.bundle import Manifest
from cabinet.trips import folder as trips_folder
from cabinet_testing.console_harness import ConsoleHarness
from cabinet_testing.console_snapshots import FakeServiceClient
from cabinet_testing.sim_cabinet import SimCabinet

PAGE = Path(__file__).parents[1] / "docs" / "console.md"
MARK = "<!-- from here on: python -m cabinet_testing.console_examples -->\n"
CHANGING = {  # values that depend on the machine and the moment
    r"disk [0-9.]+ GB free": "disk 27.4 GB free",
    r"Linux \S+": "Linux 6.12.47+rpt-rpi-v8",
    r"up [0-9.]+ days": "up 12.3 days",
    r"late [0-9.]+ ms \(worst [0-9.]+\), scan [0-9.]+ ms": "late 0.1 ms (worst 0.4), scan 2.4 ms",
    r"NOT real-time": "real-time",
    r"\S*/cabinet\.toml": "/etc/cabinet/cabinet.toml",
    r'paths\.state: "\S+"': 'paths.state: "/srv/cabinet"',
}


def records(now_ms: int) -> FakeServiceClient:
    """A service as it might answer."""
    began, ended = WallTime(now_ms - 3_600_000, True), WallTime(now_ms - 600_000, True)
    running = SessionLine(
        "SG-1-000124", 3, "charging", WallTime(now_ms - 420_000, True), None, 405, 21_300, 6, None, None
    )
    over = SessionLine("SG-1-000123", 7, "settled", began, ended, 2980, 412_600, 52, EndReason.FULL, None)
    line = UsageLine(123, "SG-1-000123", 7, "****0042", ended, 2980, 412_600, 52, EndReason.FULL, None, "9f" * 32)
    days = [
        DayEnergy("2026-05-29", dict.fromkeys(range(1, 11), 310_000)),
        DayEnergy("2026-05-28", dict.fromkeys(range(1, 11), 1_905_000)),
    ]
    audit = AuditLine(77, began, "tech", "service", "console", "console", "clear 5", "ok")
    uplink = UplinkView("5f0c9a1b2d3e4f60", 1841, 1840, 12, {"tariffs": 7}, {"public_url": "is set in cabinet.toml"})
    return FakeServiceClient(
        Sessions([running], [over]), Usage([line]), Energy(days), AuditAnswer([audit]), uplink, Handed()
    )


def link_of(now_ns: int) -> UplinkStatus:
    """Return the report of an uplink as it might be."""
    return UplinkStatus(now_ns, 10.0, "connected", now_ns - 5 * NS, "", "sg-1", "fleet.example", 1_795_000_000_000)


HERE = update.ComputerFacts(
    architecture="arm64", python="3.11", version="0.1.0", free=9 << 30, installed=90 << 20,
    changed_files=(), on_trial=None,
)  # fmt: skip
LAST = update.UpdateRecord(
    old="0.1.0", new="0.1.9", phase=update.UpdatePhase.GONE_BACK, boot_id="b", schema=12,
    why="had to be started again: cabinet-service.service",
)  # fmt: skip
NEWER = Manifest(format=1, version="0.2.0", architecture="arm64", python="3.11", size=31_457_280, sha256="5e" * 32)
FOUND: list[InspectionItem] = [
    InspectionProgress(),
    InstalledVersion(HERE, None, None, LAST, []),
    DriveFound("/dev/sda1", "/media/stick", 2),
    InspectionProgress("cabinet-0.2.0-arm64.bundle", 13_107_200, 31_457_280),
    BundleFound("cabinet-0.2.0-arm64.bundle", NEWER, "maker", "newer"),
    BundleFound("found-somewhere.bundle", wrong="unsigned"),
]


class FakeSteward:
    """A steward as it might answer, with two bundles on its stick."""

    def inspect_updates(self) -> Generator[InspectionItem, None, None]:
        yield from FOUND

    def ask(self, request: Request, /) -> Answer:
        if isinstance(request, ShowNetwork):
            return Network(
                [Interface("eth0", True, "02:00:00:00:00:01", ["192.0.2.7/24"])], ["192.0.2.1 (eth0)"], ["192.0.2.53"]
            )
        if isinstance(request, BackUp):
            return BackupCopied(
                "/media/stick/cabinet-backups/cabinet-000017-2026-05-28T00-00-00.db", 1_843_200, "3f" * 32
            )
        return RequestDone()


class ExampleConsole:
    """A cabinet with a charge at outlet 3, a lamp in outlet 4 and a short that tripped outlet 5, and a technician who
    has logged in."""

    def __init__(self, folder: Path) -> None:
        self.sim = SimCabinet(folder, seed=1)
        self.sim.plug(3, "lead-acid-48v20ah", 30)
        self.sim.start(3, "0192f3a4c5d6")
        self.sim.plug(4, "resistor:60")
        self.sim.plug(5, "resistor:200")
        self.sim.start(5, "0192f3a4c5d7")
        self.sim.run(10 * NS)
        self.sim.world.fault(5, "short", amps=50, at_phase=5)
        self.sim.run(5 * NS)
        self.sim.wait_recorded()
        assert trips_folder.numbers(self.sim.trips)
        source = folder / "cabinet.toml"
        source.write_bytes(resources.files("cabinet.examples").joinpath("demo.toml").read_bytes())
        paths = msgspec.structs.replace(self.sim.config.paths, state=str(folder))
        uplink = msgspec.structs.replace(self.sim.config.uplink, enabled=True)
        config = msgspec.structs.replace(self.sim.config, paths=paths, uplink=uplink)
        backends: dict[str, Any] = {
            "records": records(self.sim.clock.wall().unix_ms),
            "steward": FakeSteward(),
            "source": source,
            "uplink": lambda: link_of(self.sim.clock.monotonic_ns()),
        }
        self.console = ConsoleHarness(self.sim, folder, config=config, scan_ns=NS, **backends)

    def show(self, plan: CommandSpec) -> str:
        """Type the example, and yes if it asks. Return the lines on the terminal."""
        reply = self.console.begin(plan.example)
        text = reply.text
        if plan.name == "update check":
            text, reply = self.console.follow(reply), self.console.reply
        shown = f"DEMO-1> {plan.example}\n{text}"
        if reply.prompt.startswith("Type yes"):
            shown += f"\n{reply.prompt}yes\n{self.console.say('yes')}"
            reply = self.console.reply
        if not reply.prompt.startswith("DEMO-1") and self.console.shell.logged_in:
            shown += f"\n{reply.prompt}"
            self.console.shell.interrupt()
        return shown.rstrip()

    def close(self) -> None:
        self.sim.close()


def steady(text: str) -> str:
    """Replace values that differ from machine to machine."""
    for pattern, instead in CHANGING.items():
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def examples() -> str:
    """Return one section per command, in the order of `help`."""
    words = wording("en")
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        console = ExampleConsole(Path(folder))
        try:
            for plan in COMMANDS.values():
                level = words(f"level.{plan.level.name.lower()}")
                about = f"`{plan.usage(words)}`, level {level}: {words(f'help.{plan.key}')}."
                sections.append(f"### {plan.name}\n\n{about}\n\n```\n{steady(console.show(plan))}\n```\n")
        finally:
            console.close()
    return "\n".join(sections)


if __name__ == "__main__":
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + "\n" + examples(), encoding="utf-8")
