"""Every row of the protections' table, provoked many times: none missed, each in time, correct name, correct latch.

A scenario is one cabinet, with parts that vary as much as the wiring manual allows, and one row, with several faults
one after the other at random outlets and times. Stuck registers are in `stuck`, two simultaneous faults in `pairs`.
"""

import random
import sys
from collections.abc import Callable

from cabinet_testing.sim_tolerances import SUITED
from campaigns.fault_harness import FaultHarness
from campaigns.fault_rows import ROWS
from campaigns.runner import Campaign, Outcome, main

FAULTS_A_SCENARIO = 5
SLOW_ROWS = frozenset({"thermal_runaway", "outlet_hot"})  # one fault per scenario, so five times as many scenarios
NAMES = sorted(ROWS)
TURNS = [*NAMES, *(sorted(SLOW_ROWS) * (FAULTS_A_SCENARIO - 1))]
FAULTS_A_ROW = 200


def scenario(seed: int, verbose: bool, faults: int = FAULTS_A_SCENARIO) -> Outcome:
    """Run the row that the seed's remainder selects, because then any count of scenarios covers all rows evenly.

    With fewer `faults` it is the first part of the same scenario.
    """
    name = TURNS[seed % len(TURNS)]
    row, changes = ROWS[name]
    chance = random.Random(seed)
    say: Callable[[str], None] = (lambda text: print(text, file=sys.stderr)) if verbose else (lambda text: None)
    harness = FaultHarness(chance, say, changes, SUITED)
    done = 0
    try:
        for _ in range(1 if name in SLOW_ROWS else faults):
            row(harness)
            harness.mend()
            done += 1
            if harness.problems:
                break
        return Outcome(
            seed, tuple(f"{name}: {each}" for each in harness.problems), done, {f"{name} ms": harness.times_ms}
        )
    finally:
        harness.close()


CAMPAIGN = Campaign(
    name="faults",
    module="campaigns.faults",
    counted="faults",
    scenario=scenario,
    whole=FAULTS_A_ROW // FAULTS_A_SCENARIO * len(TURNS),
    quick=len(TURNS),
    kinds=len(TURNS),
    promise="every fault is found in its time, under its name, with its latch, and nothing else opens",
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
