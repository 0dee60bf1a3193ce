"""Jumps of the wall clock, by seconds or decades, in every state of a charge: durations follow the monotonic one.

Each scenario is ten charges over a fake guard. In one of the five states the wall clock jumps, trusted or not
afterwards, and often jumps again while charging. In some charges the power is cut there, and the next boot continues
with a monotonic clock that has restarted. The campaign compares the billed values with the guard's deliveries.

    python -m campaigns.clock [--count 40] [--seed N --verbose]
"""

import asyncio
import random
import sys
import tempfile
from pathlib import Path

from cabinet.clock import NS
from cabinet.model import EndReason
from cabinet.records import UsageRecord
from cabinet_testing.clock_jumps import AFTER_S, BEFORE_S, CHEAPEST, DEAREST, POWER_MW, STATES, JumpedCharge
from cabinet_testing.service_harness import ServiceHarness
from campaigns.runner import Campaign, Outcome, main

CHARGES = 10  # per scenario
SECOND, MINUTE, HOUR, DAY, YEAR = 1000, 60_000, 3_600_000, 86_400_000, 365 * 86_400_000
SIZES = {"seconds": (SECOND, MINUTE), "an hour or so": (MINUTE, 6 * HOUR), "days": (DAY, 60 * DAY),
         "years": (YEAR, 40 * YEAR)}  # fmt: skip
ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")
REBOOT = "power cut, any clock"
CHECKPOINT_S = 11


class Jump:
    """One step of the wall clock; `name` is its kind."""

    def __init__(self, chance: random.Random) -> None:
        size = chance.choice(list(SIZES))
        self.back = chance.random() < 0.5
        self.step_ms = (-1 if self.back else 1) * chance.randrange(*SIZES[size])
        self.trusted = chance.random() < 0.7
        self.name = f"{size} {'back' if self.back else 'on'}"

    def __call__(self, harness: ServiceHarness) -> None:
        harness.clock.set_wall(max(0, harness.clock.wall().unix_ms + self.step_ms), trusted=self.trusted)


def charge(
    folder: Path, state: str, first: Jump, then: Jump | None, zone: str, reboot: bool
) -> tuple[ServiceHarness, int]:
    """Run one charge to its end. Return the test cabinet and the expected duration in seconds."""
    harness = ServiceHarness(folder, {'site_id = "DEMO-1"': f'site_id = "DEMO-1"\ntimezone = "{zone}"'})

    async def lives() -> int:
        if reboot:
            async with harness.running() as service:
                await JumpedCharge(harness, service, first).start()
                await harness.charge(service, 3, BEFORE_S, POWER_MW)
            harness.guard.restart(new_epoch=True)
            harness.boot = "boot-2"
            first(harness)
        async with harness.running() as service:
            story = JumpedCharge(harness, service, first)
            if reboot:
                for _ in range(3):
                    harness.clock.advance_ns(2 * NS)
                    await harness.settle(service)
            else:
                await getattr(story, state)()
            on = harness.guard.outlets[3].session_id is not None
            if on and then is not None:
                then(harness)
            if on:
                await story.charge(AFTER_S)
                harness.guard.end(3, EndReason.FULL)
            await harness.settle(service)
            return (BEFORE_S if reboot else BEFORE_S + AFTER_S) + AFTER_S * on

    seconds = asyncio.run(lives())
    harness.check_books()
    return harness, seconds


def judge(harness: ServiceHarness, seconds: int, reboot: bool) -> tuple[list[str], float]:
    """Return the problems, and the error of the charging time in seconds."""
    record: UsageRecord
    (record,) = harness.records()
    delivered_mwh = sum(harness.guard.delivered_uwh.values()) // 1000
    lost_s = CHECKPOINT_S if reboot else 0
    wrong = []
    if not delivered_mwh - lost_s * POWER_MW // 3600 - reboot <= record.energy_mwh <= delivered_mwh:
        wrong.append(f"delivered {delivered_mwh} mWh, billed {record.energy_mwh}")
    off_s = record.charging_s - seconds
    if not -lost_s - 1 <= off_s <= 1 or not -lost_s - 1 <= record.powered_s - seconds <= 1:
        wrong.append(f"charged {seconds} s, billed {record.charging_s}, powered {record.powered_s}")
    kwh = record.energy_mwh / 1_000_000
    if not int(kwh * CHEAPEST) - 2 <= record.electricity_fen <= int(kwh * DEAREST):
        wrong.append(f"{kwh} kWh for {record.electricity_fen} fen")
    return wrong, abs(off_s) if not reboot else 0.0


def scenario(seed: int, verbose: bool, charges: int = CHARGES) -> Outcome:
    chance = random.Random(seed)
    problems: list[str] = []
    offs: list[float] = []
    cells: dict[str, dict[str, int]] = {}
    for _ in range(charges):
        state, zone, first = chance.choice(STATES), chance.choice(ZONES), Jump(chance)
        then = Jump(chance) if chance.random() < 0.5 else None
        reboot = chance.random() < 0.2
        with tempfile.TemporaryDirectory() as folder:
            wrong, off_s = judge(*charge(Path(folder), state, first, then, zone, reboot), reboot)
        what = f"{'charging, ' + REBOOT if reboot else state}: {first.name}"
        if verbose:
            print(f"{what} ({first.step_ms} ms): {wrong or 'as promised'}", file=sys.stderr)
        problems += [f"{what} ({first.step_ms} ms), {zone}: {each}" for each in wrong]
        offs.append(off_s)
        row = cells.setdefault(REBOOT if reboot else state, {})
        name = "**not as promised**" if wrong else first.name
        row[name] = row.get(name, 0) + 1
    return Outcome(seed, tuple(problems), charges, {"charging time off, s": offs}, cells)


CAMPAIGN = Campaign(
    name="clock-jumps",
    module="campaigns.clock",
    counted="charges with a jump",
    scenario=scenario,
    whole=30,
    quick=1,
    promise="durations within 1 s of the monotonic clock in every state, energy as delivered, never dearer",
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
