"""Thousands of inrushes at any phase of the mains, at the full scan rate: none of them is a short.

Each scenario is one cabinet with a charge on every outlet, and moves: plugs pulled and pushed in again cold, hot or
with a bounce, outlets switched on, plugs that are loose for seconds, and brown-outs after which every charger draws its
inrush at once. The parts of the cabinet vary as much as the wiring manual allows; some chargers have an iron core.

One class remains, which the safety case names: a plug that is loose for seconds and whose pulses cannot be told from a
short opens its own outlet. These are counted, not judged: the table gives their share of all loose plugs.
"""

import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done
from cabinet.model import EventKind, Fault
from cabinet.sim.batteries import KINDS
from cabinet.sim.chargers import Charger, random_charger
from cabinet_testing import sim_tolerances
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_tolerances import SUITED
from campaigns.runner import Campaign, Outcome, main

MOVES = 12
IRON_SHARE = 0.15  # share of the random chargers
OUTLETS = range(1, 11)
NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}  # hours and seconds pass in strides, during which it would be lost
AFTER_NS = 130 * MS  # simulated at the full rate after a move: longer than a short's window

Say = Callable[[str], None]


def replug(sim: SimCabinet, chance: random.Random, say: Say) -> int:
    """Pull a plug and push it in again: the limiter is hot, the capacitor full, half full or empty."""
    outlet = chance.choice(OUTLETS)
    load = sim.world.unplug(outlet)
    off_ns = round(MS * 10 ** chance.uniform(0.5, 4.3))  # 3 ms to 20 s
    say(f"outlet {outlet}: {load.name} back after {off_ns / MS:.0f} ms")
    wait(sim, off_ns)
    sim.world.plug(outlet, load)
    return 1


def bounce(sim: SimCabinet, chance: random.Random, say: Say) -> int:
    outlet = chance.choice(OUTLETS)
    say(f"outlet {outlet}: bouncing plug")
    sim.world.fault(outlet, "hot_plug")
    return 2


def switch_on(sim: SimCabinet, chance: random.Random, say: Say) -> int:
    outlet = chance.choice(OUTLETS)
    sim.stop(outlet)
    wait(sim, chance.randrange(200 * MS, 5 * NS))
    # the contactor breaks an outlet that is stopped in its inrush, and needs its weld check before the next start
    assert sim.run(3 * NS, until=lambda: sim.outlet(outlet).refusal is None), sim.outlet(outlet)
    say(f"outlet {outlet}: switched on")
    refused = sim.start(outlet)
    assert isinstance(refused, Done), refused
    return 1


def brown_out(sim: SimCabinet, chance: random.Random, say: Say) -> int:
    """Cut the mains: when it returns, every charger draws its inrush at once."""
    away_ns = round(MS * 10 ** chance.uniform(0.7, 3.0))  # 5 ms to 1 s
    say(f"brown-out of {away_ns / MS:.0f} ms")
    sim.world.set_mains(cut=True)
    sim.run(away_ns)
    sim.world.set_mains(cut=False)
    return len(OUTLETS)


def wobble(sim: SimCabinet, chance: random.Random, say: Say) -> int:
    """Make the contact of a plug intermittent for seconds."""
    outlet, seconds = chance.choice(OUTLETS), chance.uniform(0.05, 4)
    say(f"outlet {outlet}: loose plug for {seconds:.1f} s")
    sim.world.fault(outlet, "loose_plug", seconds=seconds)
    sim.run(round((seconds + 0.6) * NS))
    return 1  # at least


MOVE = [replug, bounce, wobble, switch_on, brown_out]


def wait(sim: SimCabinet, duration_ns: int) -> None:
    """Wait in one stride, but the last 0.1 s at the full rate, because the guard must follow the mains again."""
    close_ns = min(duration_ns, 100 * MS)
    if duration_ns > close_ns:
        sim.stride(duration_ns - close_ns, duration_ns - close_ns)
    sim.run(close_ns)


def scenario(seed: int, verbose: bool) -> Outcome:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        sim = SimCabinet(Path(folder), demo_config(NO_HEARTBEAT), seed=chance.getrandbits(32))

        def say(what: str) -> None:
            if verbose:
                print(f"{sim.clock.monotonic_ns() / NS:8.3f} s: {what}", file=sys.stderr)

        try:
            problems, inrushes, loose = _moves(sim, chance, say)
            return Outcome(seed, problems, inrushes, cells={"loose plug": loose} if any(loose.values()) else {})
        finally:
            sim.close()


def _moves(sim: SimCabinet, chance: random.Random, say: Say) -> tuple[tuple[str, ...], int, dict[str, int]]:
    """Run the moves. Return the problems, the number of inrushes, and the loose plugs by their result."""
    sim_tolerances.draw(sim.world, chance, SUITED)
    sim.world.set_mains(volts=chance.uniform(198, 242), frequency_hz=chance.uniform(49, 51))
    for outlet in OUTLETS:
        made_up = chance.random() < 0.7  # half of these have a capacitor with a physical charging model
        ordinary = Charger(chance.choice(list(KINDS)), chance.uniform(5, 40))
        load = random_charger(chance, iron_share=IRON_SHARE) if made_up else ordinary
        sim.world.plug(outlet, load)
        sim.run(round(chance.uniform(0, 30) * MS))
        assert isinstance(sim.start(outlet), Done)
    inrushes, loose = len(OUTLETS), {"not opened": 0, "opened": 0}
    sim.run(AFTER_NS)
    for _ in range(MOVES):
        wait(sim, chance.randrange(6 * NS, 8 * NS))  # limiters heat up
        move = chance.choice(MOVE)
        inrushes += move(sim, chance, say)
        sim.run(AFTER_NS)
        wrong = [event for event in sim.seen if event.kind not in (EventKind.CLOSED, EventKind.LOAD_SEEN)]
        wrong = [event for event in wrong if event.kind is EventKind.TRIPPED or event.fault is not None]
        if move is wobble and [event.fault for event in wrong] == [Fault.SHORT_CIRCUIT]:
            loose["opened"] += 1
            break  # its outlet is latched: the other scenarios go on with the other moves
        if wrong:
            said = tuple(f"outlet {e.outlet}: {e.kind.value} {e.fault and e.fault.value} {e.why}" for e in wrong)
            return (*said, f"at a {move.__name__}"), inrushes, loose
        loose["not opened"] += move is wobble
    return (), inrushes, loose


CAMPAIGN = Campaign(
    "inrushes", "campaigns.inrush", "inrushes", scenario, 1000, 4, "no inrush trips anything, whatever the moment"
)

if __name__ == "__main__":
    sys.exit(main(CAMPAIGN))
