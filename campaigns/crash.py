"""Guard, keeper or both killed or stopped at random times, with real processes and bikes charging.

A scenario is one cabinet with charges of four residents. After each crash every relay must be open within its time, by
the simulator's clock. No relay may close before the new guard has clicked each relay without power and checked for
welds. Then the charges resume. In some crashes a relay welds at the same time: then no relay may close at all.

    python -m campaigns.crash [--count 20] [--seed N --verbose]
"""

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from cabinet.clock import MS
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import ClearLatch, Role
from cabinet.model import Fault
from cabinet.system.run_folder import guard_socket
from cabinet_testing.real_cabinet import RealCabinet, running, wait_for
from campaigns.live import CODES, Live, Say
from campaigns.runner import Campaign, Outcome, main

CRASHES = 10  # per scenario
NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}
BAR_MS = 300.0  # from the crash to the last contact open, if keeper or guard is alive
BAR_DEAD_MS = 150.0  # from the last heartbeat, if both are dead
BAR_HANGS_MS = 20_000.0  # 4096 turns; a hung keeper alone is not yet a hazard, because the guard is alive
HEARTBEAT_MS = 100.0  # without an edge for so long the hardware opens the relays
WELD_SHARE = 0.1
SETTLE_NS = 1490 * MS  # the weld check after the contactor closes takes 1.5 s
LOST_MWH = 150  # delivered energy that a crash may leave unbilled, never at the cost of the resident


class Crashes(Live):
    """Crashes of guard and keeper. The time limits are multiplied by `slack`."""

    def __init__(self, cabinet: RealCabinet, chance: random.Random, say: Say, heartbeat: bool, slack: float) -> None:
        super().__init__(cabinet, chance, say)
        self.heartbeat = heartbeat
        self.slack = slack

    def crash(self) -> None:
        """Cause one crash of any kind, and recover to four charges."""
        self.let_pass(self.chance.uniform(0.0, 0.7))
        welded = self.chance.choice(list(CODES)) if self.chance.random() < WELD_SHARE else None
        kinds = {self.guard_killed: 4, self.guard_stopped: 4, self.keeper_killed: 4, self.keeper_stopped: 4}
        kinds[self.keeper_hangs] = 1  # which takes longer
        if self.heartbeat:
            kinds |= {self.both_killed: 4, self.both_stopped: 4}
        kind = self.chance.choices(list(kinds), list(kinds.values()))[0]
        name = kind.__name__.replace("_", " ")
        self.say(name + (f", outlet {welded} welds" if welded else ""))
        seq, guard = self.last_seq(), self.cabinet.guard_pid()
        if welded is not None:
            self.sim(lambda sim: sim.fault(welded, "welded"))
        gone_ms = kind(guard)
        dead = set(CODES) - {welded}
        wait_for("every relay open", lambda: dead <= self.opened(seq))
        self.judge_time(name, gone_ms, seq, dead)
        self.restart(name)
        wait_for("another guard", lambda: self.cabinet.guard_is_another(guard))
        if welded is not None:
            self.mend(welded)
        self.all_charge()
        self.judge_closing(name, seq)

    # --- Kinds of crash ----------------------------------------------------------------------------------------------

    def guard_killed(self, guard: int) -> float:
        return self.signal(guard, signal.SIGKILL)

    def guard_stopped(self, guard: int) -> float:
        return self.signal(guard, signal.SIGSTOP)

    def keeper_killed(self, guard: int) -> float:
        return self.signal(self.keeper_pid(), signal.SIGKILL)

    def keeper_stopped(self, guard: int) -> float:
        """Stop the keeper: no relay opens for this, because the guard still protects. Then kill it, as systemd does."""
        seq = self.last_seq()
        self.signal(self.keeper_pid(), signal.SIGSTOP)
        self.let_pass(1.0)
        if self.opened(seq):
            self.problems.append("keeper stopped: relays opened although the guard is well")
        return self.signal(self.keeper_pid(), signal.SIGKILL)

    def keeper_hangs(self, guard: int) -> float:
        """Stop the keeper until the guard detects that its heartbeats are not read."""
        return self.signal(self.keeper_pid(), signal.SIGSTOP)

    def both_killed(self, guard: int) -> float:
        self.signal(self.keeper_pid(), signal.SIGKILL)
        return self.signal(guard, signal.SIGKILL)

    def both_stopped(self, guard: int) -> float:
        self.signal(self.keeper_pid(), signal.SIGSTOP)
        return self.signal(guard, signal.SIGSTOP)

    def signal(self, pid: int, number: signal.Signals) -> float:
        """Send a signal. Return the time, in ms of the journal's clock."""
        at_ms = self.cabinet.now_ms()
        os.kill(pid, number)
        return at_ms

    def keeper_pid(self) -> int:
        return self.cabinet.processes["guard"].popen.pid

    def restart(self, name: str) -> None:
        """Do as systemd does if the keeper is gone: run ExecStopPost, then start the unit again."""
        if name in ("guard killed", "guard stopped"):
            return  # the keeper restarts it
        if name in ("both stopped", "keeper hangs"):
            for pid in (self.keeper_pid(), *self.cabinet.guard_pids()):
                os.kill(pid, signal.SIGKILL)
        self.cabinet.processes.pop("guard").kill()
        self.cabinet.command("failsafe")
        self.cabinet.start("guard")

    # --- Checks ------------------------------------------------------------------------------------------------------

    def judge_time(self, name: str, gone_ms: float, seq: int, dead: set[int]) -> None:
        journal = self.cabinet.journal(seq)
        last_ms = max(r["at_ns"] for r in journal if r["kind"] == "contacts_opened" and r["outlet"] in dead) / 1e6
        since_ms, bar_ms = gone_ms, BAR_HANGS_MS if name == "keeper hangs" else BAR_MS
        if name.startswith("both"):
            lost_ms = [r["at_ns"] / 1e6 for r in journal if r["kind"] == "heartbeat_lost"]
            since_ms, bar_ms = lost_ms[0] - HEARTBEAT_MS, BAR_DEAD_MS
        took_ms = last_ms - since_ms
        self.say(f"  open after {took_ms:.0f} ms")
        self.figures.setdefault(f"{name}{'' if self.heartbeat else ', no heartbeat'} ms", []).append(took_ms)
        if took_ms > self.slack * bar_ms:
            self.problems.append(f"{name}: open after {took_ms:.0f} ms, allowed {self.slack * bar_ms:.0f}")

    def judge_closing(self, name: str, seq: int) -> None:
        """Check that no outlet got power before all relays were clicked without power and the weld check was over."""
        journal = self.cabinet.journal(seq)
        contactor_on_ns: int | None = 0  # before the crash it was closed
        clicked: set[int] = set()
        for record in journal:
            kind, outlet = record["kind"], record.get("outlet")
            if kind == "contactor_off":
                contactor_on_ns = None
            elif kind == "contactor_on":
                contactor_on_ns = record["at_ns"]
                if len(clicked) < 10:
                    self.problems.append(f"{name}: contactor closed after {len(clicked)} relays were tested")
            elif kind == "coil_on" and contactor_on_ns is None:
                clicked.add(record["outlet"])
            elif kind == "coil_on" and record["at_ns"] - (contactor_on_ns or 0) < SETTLE_NS:
                self.problems.append(f"{name}: outlet {outlet} closed before the weld check was over")

    def mend(self, welded: int) -> None:
        """Check that a weld blocks all starts, then repair it and clear it as staff do."""
        wait_for("the weld", lambda: self.fault_of(welded) is Fault.RELAY_WELDED)
        self.let_pass(self.chance.uniform(0, 0.5))
        closed = [n for n in CODES if n != welded and self.cabinet.outlet(n).closed]
        if closed:
            self.problems.append(f"outlets {closed} closed beside the weld of {welded}")
        # Staff clear a latch minutes later. If it is cleared before the service has asked, its charge is resumed.
        page = self.pages[welded]
        wait_for("the end of its charge", lambda: "/stop" not in self.residents[welded].client.get(page).text)
        self.sim(lambda sim: sim.clear(welded))
        with BlockingGuard(guard_socket(self.cabinet.run), Role.CONSOLE) as guard:
            guard.request(lambda n: ClearLatch(n, welded, "campaign"))
        self.charge(welded)


def scenario(seed: int, verbose: bool, crashes: int = CRASHES, slack: float = 1.0) -> Outcome:
    chance = random.Random(seed)
    heartbeat = chance.random() < 0.6
    with (
        tempfile.TemporaryDirectory(prefix="crash-") as folder,
        running(Path(folder), None if heartbeat else NO_HEARTBEAT, "sim", "guard", "service") as cabinet,
    ):
        say: Say = (lambda text: print(text, file=sys.stderr)) if verbose else (lambda text: None)
        campaign = Crashes(cabinet, chance, say, heartbeat, slack)
        campaign.start()
        for _ in range(crashes):
            campaign.crash()
        campaign.end(LOST_MWH * crashes)
        return Outcome(seed, tuple(campaign.problems), crashes, campaign.figures)


CAMPAIGN = Campaign(
    name="crashes-guard",
    module="campaigns.crash",
    counted="crashes of guard and keeper",
    scenario=scenario,
    whole=20,
    quick=1,
    promise="every relay is open in time, nothing closes unchecked, and the charges go on",
    processes=1,  # without load from other scenarios, because it measures time
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
