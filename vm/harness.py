"""Test bench of the scenarios: the machine with a cabinet in it, checks and results."""

import json
import math
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vm.container import Container
from vm.guests import DEFAULT, Guest
from vm.machine import Machine

CARD, PIN = "10023344", "471108"
NEIGHBOUR = "10023345"  # card of a second resident, with the same PIN
CODES = {1: "A7K2", 2: "B3M9"}
RELAYS, CONTACTOR = {1: 10, 2: 11}, 17
PHONE = "/usr/bin/python3 /opt/bench/phone.py"  # actions of a resident
AS_SERVICE = "runuser -u cabinet-service -- cabinet"  # like sudo -u, with the account's groups
UNITS = ("cabinet-guard", "cabinet-service", "cabinet-console")


class Figure(NamedTuple):
    """A measured value with its upper limit; None if there is no limit."""

    what: str
    value: float
    unit: str
    bar: float | None


class Failed(Exception):
    """A promise of the product does not hold."""


class VmHarness:
    """One machine, and the checks and figures of one scenario."""

    def __init__(
        self,
        machine: Machine | Container,
        boot: Callable[..., Machine | Container],
        seed: int,
        guest: Guest = DEFAULT,
    ) -> None:
        """Take a booted machine; `boot` starts the same disk again."""
        self.guest = guest
        self.change: Callable[[Guest, Callable[[Path], None]], None] | None = None  # if its disk can be changed
        self.machine = machine
        self.boot = boot
        self.kernel = isinstance(machine, Machine)  # bus and lines are those of the kernel
        self.figures: list[Figure] = []
        self.shown: list[str] = []
        self.problem = ""
        self.random = random.Random(seed)
        self.cuts = 0
        self.until_s = math.inf  # of the host's monotonic clock

    # --- Results ----------------------------------------------------------------------------------------------------

    def shows(self, what: str, ok: object) -> None:
        """Record a check. Raises Failed if it does not hold."""
        if not ok:
            raise Failed(f"not so: {what}")
        self.shown.append(what)

    def shows_once(self, what: str, ok: object) -> None:
        """Do as `shows` for a check that is repeated, and record it once."""
        if not ok or what not in self.shown:
            self.shows(what, ok)

    def measured(self, what: str, value: float, unit: str, bar: float | None = None) -> None:
        self.figures.append(Figure(what, value, unit, bar))
        if bar is not None and value > bar:
            raise Failed(f"{what}: {value:.3g} {unit}, at most {bar:.3g}")

    # --- Machine ----------------------------------------------------------------------------------------------------

    def run(self, command: str, within_s: float = 120.0) -> str:
        """Return the output of a command that must succeed."""
        return self.machine.run(command, within_s).out

    def ok(self, command: str, within_s: float = 120.0) -> bool:
        return self.machine.run(command, within_s, check=False).status == 0

    def wait(self, what: str, command: str, within_s: float = 60.0) -> None:
        """Wait until a shell condition holds. Raises Failed after `within_s` of the machine's time."""
        loop = f"end=$(( $(cut -d. -f1 /proc/uptime) + {within_s:.0f} )); until {command}; do sleep 0.2; "
        loop += "[ $(cut -d. -f1 /proc/uptime) -lt $end ] || exit 1; done"
        if not self.ok(loop, within_s + 60):
            states = self.machine.run("systemctl --no-pager --lines=8 status 'cabinet-*' 'bench-*'", check=False).out
            raise Failed(f"waited {within_s:.0f} s for {what}\n{states[-3000:]}")

    def cut_power(self, off_s: float) -> None:
        """Kill the machine at once, and start it again `off_s` later by its clock."""
        self._off(self.machine.kill, off_s)

    def shut_down(self, off_s: float) -> None:
        """Shut the machine down in order, and start it again `off_s` later by its clock."""
        self._off(self.machine.power_off, off_s)

    def change_disk(self, guest: Guest, change: Callable[[Path], None], off_s: float) -> None:
        """Shut down, change the content of the disk, and start it as `guest`, `off_s` later by the machine's clock."""
        assert self.change is not None
        at_s = float(self.run("date +%s.%N"))
        self.machine.power_off()
        self.change(guest, change)
        self.guest, self.machine = guest, self.boot(wall=iso(at_s + off_s))

    def _off(self, how: Callable[[], None], off_s: float) -> None:
        at_s = float(self.run("date +%s.%N"))
        how()
        self.machine = self.boot(wall=iso(at_s + off_s))

    def enough(self, done: int) -> bool:
        """Return whether all requested cuts are done. Raises Failed if the time is up before."""
        if done < self.cuts and self.time_is_up():
            raise Failed(f"{done} of {self.cuts} when the time was up")
        return done >= self.cuts

    def time_is_up(self) -> bool:
        return time.monotonic() > self.until_s

    def uptime_s(self) -> float:
        return float(self.run("cut -d' ' -f1 /proc/uptime"))

    def shows_not_commissioned(self) -> None:
        """Check which units run without a configuration."""
        units = (*UNITS, "cabinet-steward")
        states = {unit: self.machine.run(f"systemctl is-active {unit}", check=False).out.strip() for unit in units}
        self.shows("guard and service do not run", states["cabinet-guard"] == states["cabinet-service"] == "inactive")
        self.shows(
            "the console and its steward run", states["cabinet-console"] == states["cabinet-steward"] == "active"
        )
        self.shows("no unit has failed", self.run("systemctl --failed --no-legend | wc -l").strip() == "0")

    def stick(self) -> None:
        """Mount the second disk at /mnt/stick."""
        if self.kernel:
            self.run("mkdir -p /mnt/stick && mount -o ro /dev/vdb /mnt/stick")

    # --- Cabinet ----------------------------------------------------------------------------------------------------

    def wait_protecting(self) -> None:
        self.wait("the guard", "systemctl is-active -q cabinet-guard", 90)
        self.wait(
            "the service", "systemctl is-active -q cabinet-service && [ -s /run/cabinet/service/service.url ]", 120
        )

    def charging(self) -> None:
        """Wait for the state after `commission`, also after a boot: outlet 1 charges."""
        self.wait_protecting()
        self.wait_charging()

    def wait_charging(self, outlet: int = 1, within_s: float = 180.0) -> None:
        """Wait until the relay is closed, and again 2 s later, because the guard tests each relay at its start."""
        closed = self.closed(outlet)
        self.wait(f"the charge at outlet {outlet}", f"{closed} && sleep 2 && {closed}", within_s)

    def plug(self, outlet: int, load: str = "lithium-48v", charge: float = 30.0) -> None:
        self.run(f"echo '{outlet} {load} {charge}' >> /var/lib/bench/plugged; sync")
        self.run(f"cabinet sim plug {outlet} {load} --charge {charge} --config /opt/bench/sim.toml")

    def start(self, outlet: int, card: str = CARD) -> None:
        """Start a charge as a resident. Return when the relay's line is high."""
        self.wait("a start that is taken", f"{PHONE} start {card} {PIN} {CODES[outlet]}", 90)
        self.wait("the relay", self.closed(outlet), 30)

    def charge(self, outlet: int = 1) -> None:
        self.plug(outlet)
        self.start(outlet)

    def charge_beside(self, outlet: int = 2) -> None:
        """Start a charge of another resident."""
        self.run(f"{AS_SERVICE} resident add {NEIGHBOUR} --pin {PIN} --balance 50")
        self.plug(outlet)
        self.start(outlet, NEIGHBOUR)

    def closed(self, outlet: int) -> str:
        return f"grep -q 1 /run/bench/lines/sim_gpio{RELAYS[outlet]}/value"

    def all_open(self) -> str:
        return "! grep -q 1 " + " ".join(f"/run/bench/lines/sim_gpio{line}/value" for line in RELAYS.values())

    def pid(self, name: str) -> int:
        return int(self.run(f"pgrep -x {name} | head -1"))

    def lines(self) -> list[tuple[int, int, bool]]:
        """Return every change of a GPIO output since boot: monotonic ns, line, level."""
        rows = [line.split() for line in self.run("cat /run/bench/lines.log").splitlines()]
        return [(int(at), int(line), level == "1") for at, line, level in rows]

    def journal(self) -> list[dict[str, Any]]:
        """Return the journal of the simulated hardware."""
        found: dict[str, Any] = json.loads(self.run("cabinet sim state --json --config /opt/bench/sim.toml"))
        return list(found["journal"])

    def monotonic_ns(self) -> int:
        return int(self.run("python3 -c 'import time; print(time.monotonic_ns())'"))

    def opened_ms(self, since_ns: int) -> float:
        """Return the time from `since_ns` until every relay's line was low. Raises Failed if none went low."""
        levels: dict[int, bool] = {}
        last = 0
        for at_ns, line, high in self.lines():
            if line in RELAYS.values():
                levels[line] = high
                if at_ns > since_ns and not high:
                    last = at_ns
                    if not any(levels.values()):
                        break
        if not last:
            raise Failed("no relay's line went low")
        return (last - since_ns) / 1e6

    def several(self, *commands: str) -> list[dict[str, Any]]:
        """Run `cabinet` commands with the service's account in one process. Return their status and output."""
        as_service = AS_SERVICE.removesuffix("cabinet") + "/usr/lib/cabinet/bin/python3 /opt/bench/several.py"
        found: list[dict[str, Any]] = json.loads(self.run(f"{as_service} " + " ".join(f"'{c}'" for c in commands)))
        return found

    def usage(self) -> list[str]:
        """Return the usage log, one line per session."""
        return self.run(f"{AS_SERVICE} usage export --format jsonl").splitlines()

    def check_money(self) -> None:
        """Check that database, ledger and usage log are complete and consistent."""
        said = self.run(f"{AS_SERVICE} store check")
        self.shows("database, ledger and usage log are whole (store check)", said.startswith("OK"))
        self.shows("the usage log's chain verifies (usage verify)", self.ok(f"{AS_SERVICE} usage verify"))

    def restarts(self, unit: str) -> int:
        return int(self.run(f"systemctl show --value -p NRestarts {unit}") or 0)


def found_mib(text: str, name: str) -> float:
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0


def wall() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def iso(unix_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))


def work_folder(root: Path) -> Path:
    folder = root / "work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
