"""Two simultaneous events: a short while another fault, end or start happens. The check uses the true current.

A scenario is one cabinet, with parts of real tolerances, and one row: two shorts, a short and a hung bus, a frozen
register, a charge that ends, a guard that is killed with a full disk. The requirements, regardless of the guard's
reports:

- every short's current ends within the row's time, and does not return;
- no contact that is commanded open still conducts;
- the guard has opened the outlet for a reason that it keeps, and does not close it onto the short again;
- unaffected outlets continue to charge.

    python -m campaigns.pairs [--count N] [--seed N --verbose]
"""

import contextlib
import errno
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from cabinet.clock import MS, NS
from cabinet.guard.counters import Counters
from cabinet.link.guard_protocol import Done
from cabinet.model import EventKind
from cabinet.system.atomic_file import ReservedFile
from cabinet_testing.sim_tolerances import Spread
from campaigns import stuck
from campaigns.fault_harness import FaultHarness
from campaigns.runner import Campaign, Outcome, main

EACH_ROW = 400
AFTER_NS = 900 * MS  # time after the short in which the contactor closes again and the weld check is done

# Limits of the total time in which a short's current flows. Two half-cycles and 2 ms of reaction, 24 ms for the slowest
# contactor sold, 10 ms of arc. A hung bus segment adds the adapter's timeout. If a witness is missing, the next
# one must detect the short.
IN_TIME_S, HANGING_S, WITNESS_MISSING_S = 0.060, 0.120, 0.5
SPREAD = Spread(saturating=0.0, coil_diode=0.0, upstream=0.0)
GREATEST_GAP_S = 0.060  # between the two events of a pair

Say = Callable[[str], None]


class Pair:
    """A cabinet in operation, and the events applied to it."""

    def __init__(self, chance: random.Random, say: Say) -> None:
        self.chance = chance
        self.harness = FaultHarness(chance, say, spread=SPREAD)
        self.sim, self.world = self.harness.sim, self.harness.sim.world
        self.problems: list[str] = []
        self.shorts: list[int] = []
        self.disturbed: set[int] = set()  # further outlets that may open correctly
        self.flowed_ms: list[float] = []
        self.charging = self.harness.some(3, 6)
        self.harness.charge(self.charging, chance.choice((None, f"resistor:{chance.uniform(60, 900):.0f}")))
        self.seen = len(self.sim.seen)
        self.began_ns = self.sim.clock.monotonic_ns()

    def short(self, number: int, after_s: float = 0.0, least_a: float = 25.0) -> None:
        """Plan a short after `after_s`, at any angle of the mains; the outlet's breaker never acts."""
        amps = least_a * (400 / least_a) ** self.chance.random()
        self.world.fault(number, "breaker", acts="never")
        self.shorts.append(number)
        at_ns = self.sim.clock.monotonic_ns() + round(after_s * NS)
        self.harness.say(f"short of {amps:.0f} A at {number} after {after_s * 1000:.1f} ms")
        self.world.timeline.at(at_ns, lambda t: self.world.fault(number, "short", amps=amps))

    def gap_s(self) -> float:
        return self.chance.uniform(0, GREATEST_GAP_S)

    def other(self, number: int, same_chip: bool) -> int:
        """Return another charging outlet; start a charge there if needed."""
        mate = number + 1 if number % 2 else number - 1
        elsewhere = [n for n in self.harness.outlets if n not in (number, mate)]
        found = mate if same_chip else self.chance.choice(elsewhere)
        if found not in self.charging:
            self.charging.append(found)
            self.harness.charge([found])
            self.seen, self.began_ns = len(self.sim.seen), self.sim.clock.monotonic_ns()
        return found

    def victim(self) -> int:
        return self.chance.choice(self.charging)

    def with_chip(self, number: int) -> set[int]:
        return {n for n in self.harness.outlets if (n - 1) // 2 == (number - 1) // 2}

    # --- Checks -----------------------------------------------------------------------------------------------------

    def judge(self, within_s: float, told: bool = True) -> None:
        self.sim.run(round(within_s * NS) + 100 * MS)
        self.sim.run(AFTER_NS)
        for number in dict.fromkeys(self.shorts):
            self._judge_short(number, within_s, told)
        welded = self._judge_welds()
        opened = {n for n in self.charging if not self.sim.outlet(n).closed}
        strangers = opened - set(self.shorts) - self.disturbed
        if strangers and not welded:
            what = [(e.outlet, e.kind.value, e.fault and e.fault.value) for e in self.sim.seen[self.seen :]]
            self.problems.append(f"outlets {sorted(strangers)} had nothing to do with it and were opened: {what}")

    def _judge_short(self, number: int, within_s: float, told: bool) -> None:
        flowed_ns, since_ns = 0, None
        onset = False
        for record in self.world.journal.after(0, number):
            if record.at_ns < self.began_ns:
                continue
            if record.kind == "fault_onset":
                since_ns, onset = record.at_ns, True
            elif record.kind == "current_zero" and since_ns is not None:
                flowed_ns, since_ns = flowed_ns + record.at_ns - since_ns, None
            elif record.kind == "contacts_closed" and onset:
                self.problems.append(f"outlet {number} was closed onto its short")
        flows = self.world.truth(number).current_ma > 20_000
        if onset and (flows or flowed_ns > within_s * NS):
            self.problems.append(f"short at {number}: flowed for {flowed_ns / MS:.0f} ms{', and still' * flows}")
        self.flowed_ms.append(flowed_ns / MS)
        tripped = [event for event in self.sim.events(number, EventKind.TRIPPED) if event.at_ns >= self.began_ns]
        if told and flowed_ns > 20 * MS and not tripped:
            self.problems.append(f"short at {number}: nothing is told of it")

    def _judge_welds(self) -> bool:
        """Check that no open outlet conducts. Return whether any relay welded: then the contactor must stay open."""
        for number in self.harness.outlets:
            truth = self.world.truth(number)
            if truth.power_mw > 1000 and not (self.sim.outlet(number).closed and truth.coil_told):
                self.problems.append(f"outlet {number} conducts {truth.power_mw / 1000:.0f} W and should be open")
        return any(self.world.truth(number).welded for number in self.harness.outlets)

    def start_again(self) -> None:
        """Try to start the shorted outlets, with their shorts still present."""
        for number in dict.fromkeys(self.shorts):
            answer = self.sim.start(number)
            self.sim.run(NS)
            if isinstance(answer, Done) or self.world.truth(number).current_ma > 20_000:
                self.problems.append(f"outlet {number} may be closed onto its short again: {answer}")


# ---- Rows


def two_shorts_on_one_chip(pair: Pair) -> None:
    first = pair.victim()
    second = pair.other(first, same_chip=True)
    pair.short(first)
    pair.short(second, pair.gap_s())
    pair.judge(IN_TIME_S)
    pair.start_again()


def two_shorts_on_two_chips(pair: Pair) -> None:
    first = pair.victim()
    second = pair.other(first, same_chip=False)
    pair.short(first)
    pair.short(second, pair.gap_s())
    pair.judge(IN_TIME_S)
    pair.start_again()


def short_while_the_contactor_breaks_another(pair: Pair) -> None:
    first = pair.victim()
    second = pair.other(first, same_chip=pair.chance.random() < 0.3)
    pair.short(first, least_a=90)
    pair.short(second, pair.chance.uniform(0.015, 0.25))
    pair.judge(IN_TIME_S)


def charge_ends_while_the_contactor_breaks(pair: Pair) -> None:
    """End the charge of the shorted outlet, or of another one."""
    first = pair.victim()
    ending = first if pair.chance.random() < 0.3 else pair.other(first, same_chip=pair.chance.random() < 0.5)
    pair.short(first, least_a=90)
    pair.sim.run(round(pair.chance.uniform(0, 0.08) * NS))
    pair.sim.stop(ending)
    pair.disturbed.add(ending)
    pair.judge(IN_TIME_S, told=ending != first)


def short_while_another_channel_hangs(pair: Pair) -> None:
    first = pair.victim()
    hanging = pair.other(first, same_chip=False)
    pair.disturbed |= pair.with_chip(hanging)
    pair.world.fault(hanging, "stuck_bus")
    pair.short(first, pair.chance.uniform(0, 0.1))
    pair.judge(HANGING_S)


def short_while_its_own_channel_hangs(pair: Pair) -> None:
    first = pair.victim()
    pair.disturbed |= pair.with_chip(first)
    gap_s = pair.gap_s()
    if pair.chance.random() < 0.5:
        pair.world.fault(first, "stuck_bus")
        pair.short(first, gap_s)
    else:
        pair.short(first)
        pair.world.timeline.at(
            pair.sim.clock.monotonic_ns() + round(gap_s * NS), lambda t: pair.world.fault(first, "stuck_bus")
        )
    pair.judge(HANGING_S)


def short_behind_a_meter_that_is_silent(pair: Pair) -> None:
    first = pair.victim()
    pair.disturbed |= pair.with_chip(first)
    pair.world.fault(first, "nack", chip="meter")
    pair.short(first, pair.chance.uniform(0, 0.15))
    pair.judge(HANGING_S)


def short_with_a_frozen_register(pair: Pair) -> None:
    """Freeze a register that the guard reads, up to 30 s before the short."""
    first = pair.victim()
    pair.disturbed |= pair.with_chip(first)
    cell = pair.chance.choice([cell for cell in stuck.CELLS if cell.chip in ("meter", "alert") and cell.value])
    stuck.freeze(pair.harness, cell, first)
    pair.harness.wait(pair.chance.choice((0.0, pair.chance.uniform(0, 1), pair.chance.uniform(0, 30))))
    pair.short(first)
    pair.judge(WITNESS_MISSING_S)


def short_through_a_welded_relay(pair: Pair) -> None:
    first = pair.victim()
    pair.world.fault(first, "welded")
    pair.short(first, pair.gap_s())
    pair.judge(0.2)


def short_beside_a_lost_meter(pair: Pair) -> None:
    """Short an outlet over 10 s after a meter was lost: the others still charge, and the short is detected as usual."""
    first = pair.victim()
    lost = pair.other(first, same_chip=False)
    pair.disturbed |= pair.with_chip(lost)
    pair.world.fault(lost, "nack", chip="meter")
    pair.harness.wait(pair.chance.uniform(11, 16))
    pair.short(first)
    pair.judge(IN_TIME_S)


def short_as_the_mains_comes_back(pair: Pair) -> None:
    first = pair.victim()
    pair.world.fault(None, "mains_cut", seconds=pair.chance.uniform(0.005, 0.8))
    pair.short(first, pair.chance.uniform(0, 1))
    pair.judge(0.1, told=False)


def guard_killed_with_a_full_disk(pair: Pair) -> None:
    """Trip a short while the disk is full, kill the guard, and restart it with free space."""
    first = pair.victim()
    with _full(pair.sim.state, takes_reserved=(reserved := pair.chance.random() < 0.5)):
        pair.short(first)
        pair.judge(IN_TIME_S)
        pair.sim.close()
    if reserved and pair.chance.random() < 0.5:  # with a power cut: the content of memory is lost
        shutil.rmtree(pair.sim.state / "run", ignore_errors=True)
        pair.sim.counters = Counters(len(pair.sim.config.outlet))
    pair.sim.boot()
    pair.start_again()


@contextlib.contextmanager
def _full(state: Path, takes_reserved: bool) -> Iterator[None]:
    """Simulate a full disk; if `takes_reserved` is False, not even reserved blocks can be written, only memory."""

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write = ReservedFile.write

    def limited(file: ReservedFile, content: bytes) -> None:
        if file.path.parent == state:
            no_room()
        write(file, content)

    with contextlib.ExitStack() as stack:
        if takes_reserved:
            stack.enter_context(mock.patch("os.posix_fallocate", no_room))
        else:
            stack.enter_context(mock.patch.object(ReservedFile, "write", limited))
        yield


ROWS: dict[str, Callable[[Pair], None]] = {
    row.__name__: row
    for row in (
        two_shorts_on_one_chip,
        two_shorts_on_two_chips,
        short_while_the_contactor_breaks_another,
        charge_ends_while_the_contactor_breaks,
        short_while_another_channel_hangs,
        short_while_its_own_channel_hangs,
        short_behind_a_meter_that_is_silent,
        short_with_a_frozen_register,
        short_through_a_welded_relay,
        short_beside_a_lost_meter,
        short_as_the_mains_comes_back,
        guard_killed_with_a_full_disk,
    )
}
NAMES = sorted(ROWS)


def scenario(seed: int, verbose: bool) -> Outcome:
    """Run the row that the seed's remainder selects."""
    name = NAMES[seed % len(NAMES)]
    pair = Pair(random.Random(seed), (lambda text: print(text, file=sys.stderr)) if verbose else (lambda text: None))
    try:
        ROWS[name](pair)
    finally:
        pair.harness.close()
    cells = {name: {"**failed**" if pair.problems else "as promised": 1}}
    figures = {"a short flowed for, ms": pair.flowed_ms}
    return Outcome(seed, tuple(f"{name}: {each}" for each in pair.problems), 1, figures, cells)


CAMPAIGN = Campaign(
    name="pairs",
    module="campaigns.pairs",
    counted="pairs of faults",
    scenario=scenario,
    whole=EACH_ROW * len(NAMES),
    quick=len(NAMES),
    kinds=len(NAMES),
    promise="every short is broken in its time and stays broken, and whatever has nothing to do with it goes on",
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
