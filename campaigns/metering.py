"""Metered energy against the delivered energy: mixed loads, lost reads, chip resets, overflows.

A scenario is one cabinet with ten charges on the real guard and drivers over chips at register level, with their noise.
Periods at the full rate, in which some reads are lost and meter chips are reset to their power-on values, alternate
with hours in strides (in which a lost read would be a lost sensor and open the outlet). In one stride the energy
registers are not read for so long that the strongest loads overflow their 24 bits.

    python -m campaigns.metering [--count 10] [--seed N --verbose]
"""

import random
import sys
import tempfile
from pathlib import Path

from cabinet.clock import MS, NS
from cabinet.hardware.ade7953 import ENERGY_COUNTS_PER_S
from cabinet.link.guard_protocol import Done
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from campaigns.runner import Campaign, Outcome, main

OUTLETS = range(1, 11)
CHARGERS = ("lead-acid-36v12ah", "lead-acid-48v20ah", "lithium-48v", "lithium-60v")
STRONG = (1, 6)  # outlets with a load that overflows its register
BAR = 0.002
MAX_LOST_READS = 0.02
RESETS = 4
HALF_TURN = 1 << 23  # counts of a signed register of 24 bits
MIN_MWH = 2000  # below it the rounding of a count is too large a share


class MeteringHarness:
    """One cabinet and its loads."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.chance = chance
        self.sim = SimCabinet(folder, demo_config({"heartbeat_pin = 27\n": ""}), seed=chance.getrandbits(32))
        self.watts = {outlet: chance.uniform(800, 980) for outlet in STRONG}
        for outlet in OUTLETS:
            if outlet in STRONG:
                self.sim.plug(outlet, f"resistor:{self.watts[outlet]:.0f}")
            elif chance.random() < 0.3:
                self.sim.plug(outlet, f"resistor:{chance.uniform(15, 700):.0f}")
            else:
                self.sim.plug(outlet, chance.choice((*CHARGERS, f"random:{chance.randrange(10_000)}")), 20)
        self.lost_share = chance.uniform(0.001, MAX_LOST_READS)
        self.start()

    def start(self) -> None:
        """Start every outlet that is not charging.

        A chip that resets pulls its alert line low; if its peak cannot be read within 15 ms, the outlet trips as a
        short, and staff clear it.
        """
        for outlet in OUTLETS:
            if self.sim.outlet(outlet).latched:
                self.sim.clear(outlet)
            if not self.sim.outlet(outlet).closed:
                self.sim.run(4 * NS, until=lambda o=outlet: isinstance(self.sim.start(o), Done))
        self.sim.run(1500 * MS)

    def reset(self) -> None:
        """Reset one meter chip within a period at the full rate, with lost reads before and after."""
        self.sim.world.fault(None, "noise_reads", share=self.lost_share)
        self.sim.run(round(self.chance.uniform(0.05, 0.4) * NS))
        self.sim.world.fault(self.chance.choice(OUTLETS), "chip_reset", chip="meter", down=self.chance.choice((0, 1)))
        self.sim.run(700 * MS)
        self.start()
        self.sim.world.clear(None)

    def hours(self) -> None:
        self.sim.stride(round(self.chance.uniform(900, 5400)) * NS, 10 * NS)

    def overflow(self) -> float:
        """Make a stride so long that the registers of the strong loads overflow. Return the number of half turns."""
        hardware = self.sim.config.hardware
        full_w = hardware.current_full_scale_a * hardware.voltage_full_scale_v / 2
        seconds = self.chance.uniform(1.1, 2.2) * HALF_TURN / ENERGY_COUNTS_PER_S * full_w / min(self.watts.values())
        self.sim.stride(round(seconds) * NS, round(seconds) * NS)
        return seconds * min(self.watts.values()) / full_w * ENERGY_COUNTS_PER_S / HALF_TURN

    def errors(self) -> dict[int, float]:
        """Return billed over delivered energy, minus 1, for every outlet with at least `MIN_MWH` delivered."""
        errors = {}
        for outlet in OUTLETS:
            truth_mwh = self.sim.world.truth(outlet).energy_mwh
            if truth_mwh >= MIN_MWH:
                errors[outlet] = self.sim.unit(outlet).meter.count().energy_mwh / truth_mwh - 1
        return errors


def scenario(seed: int, verbose: bool, resets: int = RESETS) -> Outcome:
    """Run one scenario; with fewer `resets` before the first hours it is another one."""
    chance = random.Random(seed)
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="metering-") as folder:
        harness = MeteringHarness(Path(folder), chance)
        for _ in range(resets):
            harness.reset()
        harness.hours()
        turns = harness.overflow()
        harness.reset()
        harness.hours()
        errors = harness.errors()
        harness.sim.close()
    for outlet, error in errors.items():
        if verbose:
            print(f"outlet {outlet}: {100 * error:+.4f} %", file=sys.stderr)
        if abs(error) > BAR:
            problems.append(f"outlet {outlet}: {100 * error:+.3f} %")
    if missing := set(STRONG) - errors.keys():
        problems.append(f"outlets {missing} delivered nothing")
    figures = {
        "metering error, %": [100 * abs(error) for error in errors.values()],
        "overflow, half turns of the register": [turns],
    }
    return Outcome(seed, tuple(problems), len(errors), figures)


CAMPAIGN = Campaign(
    name="metering",
    module="campaigns.metering",
    counted="outlets with hours of charging",
    scenario=scenario,
    whole=10,
    quick=1,
    promise="billed energy within 0.2 % of what was delivered, with lost reads, chip resets and register overflows",
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
