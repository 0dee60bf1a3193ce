"""Service and console killed or stopped at random times: charging and protection are not affected.

A scenario is one cabinet with charges of four residents. If an outlet gets a short while a process is gone, the guard
cuts it as usual. The contacts of the others never open, and afterwards all energy is billed.

    python -m campaigns.crash_service [--count 10] [--seed N --verbose]
"""

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import ClearLatch, Role
from cabinet.system.run_folder import guard_socket
from cabinet_testing.real_cabinet import reaction_ms, running, wait_for
from campaigns.live import CODES, Live, Say
from campaigns.runner import Campaign, Outcome, main

CRASHES = 10  # per scenario
SHORT_SHARE = 0.4
MIN_A, MAX_A = 25.0, 50.0  # RMS: a relay breaks it alone, so no other outlet is affected
BAR_MS = 100.0  # from the short to the command, on a shared machine; bench/trip.py measures it
LOST_MWH = 70.0  # one checkpoint of a second at 250 W


class Deaths(Live):
    """Crashes of service and console."""

    def death(self, slack: float) -> None:
        """Kill or stop one of the two, and recover to four charges."""
        self.let_pass(self.chance.uniform(0.0, 1.0))
        victim = self.chance.choice(("service", "service", "console"))
        number = self.chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
        short = self.chance.choice(list(CODES)) if self.chance.random() < SHORT_SHARE else None
        self.say(f"{victim}: {number.name}" + (f", short at outlet {short}" if short else ""))
        seq, guard = self.last_seq(), self.cabinet.guard_pid()
        before_mwh = {n: self.cabinet.truth_mwh(n) for n in CODES}
        process = self.cabinet.processes[victim]
        os.kill(process.popen.pid, number)
        if short is not None:
            self.short(short, seq, slack)
        others = set(CODES) - {short}
        wait_for("more energy", lambda: all(self.cabinet.truth_mwh(n) > before_mwh[n] + 20 for n in others))
        if self.cabinet.guard_pid() != guard:
            self.problems.append(f"{victim} gone: another guard")
        if number is signal.SIGSTOP and self.chance.random() < 0.5:
            process.popen.send_signal(signal.SIGCONT)
        else:
            self.cabinet.processes.pop(victim).kill()
            self.cabinet.start(victim)
        self.after(short)
        if touched := self.opened(seq) - {short}:
            self.problems.append(f"{victim} gone: contacts of {touched} parted")

    def short(self, outlet: int, seq: int, slack: float) -> None:
        amps = self.chance.uniform(MIN_A, MAX_A)
        self.sim(lambda sim: sim.fault(outlet, "short", amps=amps))
        wait_for("the trip", lambda: self.cabinet.outlet(outlet).latched)
        took_ms = reaction_ms(self.cabinet.journal(seq), outlet)
        self.say(f"  short cut after {took_ms:.1f} ms")
        self.figures.setdefault("short to command ms", []).append(took_ms)
        if took_ms > slack * BAR_MS:
            self.problems.append(f"short at {outlet}: {took_ms:.0f} ms")
        wait_for("its contacts", lambda: outlet in self.opened(seq))

    def after(self, short: int | None) -> None:
        """Check that the service knows every charge and has settled the one that was cut; then restart that one."""
        for resident in self.residents.values():
            resident.client.base_url = self.cabinet.url
        wait_for("the pages", lambda: all(self.shows_charge(n) for n in CODES if n != short))
        if short is not None:
            wait_for("its receipt", lambda: "/stop" not in self.page(short))
            self.sim(lambda sim: sim.clear(short))
            with BlockingGuard(guard_socket(self.cabinet.run), Role.CONSOLE) as guard:
                guard.request(lambda n: ClearLatch(n, short, "campaign"))
            self.charge(short)
        self.all_charge()

    def shows_charge(self, outlet: int) -> bool:
        return f"{self.pages[outlet]}/stop" in self.page(outlet)

    def page(self, outlet: int) -> str:
        return self.residents[outlet].client.get(self.pages[outlet]).text


def scenario(seed: int, verbose: bool, crashes: int = CRASHES, slack: float = 1.0) -> Outcome:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, running(Path(folder)) as cabinet:
        say: Say = (lambda text: print(text, file=sys.stderr)) if verbose else (lambda text: None)
        campaign = Deaths(cabinet, chance, say)
        campaign.start("resistor:250")
        for _ in range(crashes):
            campaign.death(slack)
        campaign.end(LOST_MWH * (crashes + 1))
        return Outcome(seed, tuple(campaign.problems), crashes, campaign.figures)


CAMPAIGN = Campaign(
    name="crashes-service",
    module="campaigns.crash_service",
    counted="crashes of service and console",
    scenario=scenario,
    whole=10,
    quick=1,
    promise="charging and protection do not notice, and everything is billed",
    processes=1,
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
