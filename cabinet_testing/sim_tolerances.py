"""A cabinet with real tolerances: every part drawn from the range that its maker, or a standard, allows.

`draw` changes the parts of a simulated cabinet; the ranges are from `parts` and from the sources next to each number
here. None is from the controller's configuration: a cabinet must be safe with any drawn part, or the safety case must
state for which parts it is not.
"""

import math
import random
from typing import NamedTuple

from cabinet.clock import MS
from cabinet.sim.bus import ADAPTER_TIMEOUT_NS
from cabinet.sim.parts import BREAKER, BREAKERS, SQRT2, BreakerPart, ContactorPart, RelayPart
from cabinet.sim.waveform import Harmonic
from cabinet.sim.world import World

# EN 50160: limits of the common harmonics of a low-voltage grid, as a share of the fundamental.
HARMONICS = ((3, 0.05), (5, 0.06), (7, 0.05), (11, 0.035), (13, 0.03))
KERNEL_TICK_NS = 4 * MS  # Raspberry Pi kernels: 250 Hz
MAX_CROSSTALK = 0.015  # 1.5 times the 1 % for which a pile's firmware was once changed
# From instrument transformers of 5 A (FS5, IEC 61869-2: error over 10 % at 5 times at the latest) to protection
# transformers (10P20: within 10 % at 20 times), as instantaneous current; a shunt does not saturate at all.
SATURATION_A = (25 * SQRT2, 100 * SQRT2)


class Spread(NamedTuple):
    """Width of the draw: shares of cabinets or outlets with a deviating part."""

    saturating: float = 0.25  # share of the outlets with a saturating current transformer
    other_breaker: float = 0.5  # share of the outlets with one of `breakers`
    breakers: tuple[str, ...] = ("quick", "slow", "never")
    breaking_a: tuple[float, float] = (30.0, 117.0)  # RMS current that a relay breaks once without welding
    sticking: float = 0.0  # share of operations with current after which contacts stick; about 1e-5 in reality
    coil_diode: float = 0.1  # share of the relays with a late release, which the wiring manual forbids
    upstream: float = 0.5  # share of the cabinets with an upstream breaker that acts


WIDE = Spread()
# Parts that the wiring manual permits: relays that break the configured current, sensors that do not saturate, coils
# without a plain diode. Breakers are slow or missing, and so give no protection.
SUITED = Spread(saturating=0.0, breakers=("slow", "never"), breaking_a=(78.0, 117.0), coil_diode=0.0, upstream=0.0)


def draw(world: World, rng: random.Random, spread: Spread = WIDE) -> None:
    """Replace the parts of this cabinet with drawn ones; they stay after a later fault is cleared."""
    at_ns = world.sync()
    for number in world.outlets:
        world.fitted_relays[number] = world.outlets[number].part = draw_relay(rng, spread)
        part = draw_breaker(rng, spread) if rng.random() < spread.other_breaker else BREAKER
        world.fitted_breakers[number] = part
        world.outlets[number].change_breaker(part, at_ns)
        level_a = rng.uniform(*SATURATION_A) if rng.random() < spread.saturating else math.inf
        world.fitted_saturation_a[number] = level_a
        meter = world.outlets[number].meter
        if meter is not None:
            meter[0].saturate(meter[1], level_a, at_ns)
    _draw_crosstalk(world, rng, at_ns)
    world.bus.timeout_ns = ADAPTER_TIMEOUT_NS + round(rng.uniform(0, KERNEL_TICK_NS))
    world.fitted_contactor = world.contactor_part = draw_contactor(rng)
    world.fitted_harmonics = tuple(
        Harmonic(order, rng.uniform(0, most), rng.uniform(0, 2 * math.pi)) for order, most in HARMONICS
    )
    world.distort(world.fitted_harmonics, at_ns)
    if rng.random() < spread.upstream:
        magnetic_peak_a = rng.uniform(5, 10) * 40 * SQRT2  # a C40
        world.fit_upstream_breaker(BREAKER._replace(rated_a=40.0, magnetic_peak_a=magnetic_peak_a), at_ns)


def draw_relay(rng: random.Random, spread: Spread = WIDE) -> RelayPart:
    """Draw a 16 A relay of any make.

    No data sheet states the current above 16 A that a relay breaks once without welding: it is drawn between the 30 A
    that it may make for seconds and the 117 A of lamp relays (UL 508 TV-8). It makes crests of 80 A (RT1 Inrush) to
    165 A (TV-8 and better) while its contacts still move.
    """
    operate_ns = rng.uniform(5, 10) * MS
    release_ns = rng.uniform(2, 6) * MS * (5 if rng.random() < spread.coil_diode else 1)
    return RelayPart(
        operate_ns=(round(0.9 * operate_ns), round(operate_ns)),
        release_ns=(round(0.7 * release_ns), round(release_ns)),
        breaking_peak_a=rng.uniform(*spread.breaking_a) * SQRT2,
        making_peak_a=rng.uniform(80, 165),
        bounce_ns=round(rng.uniform(0, 4) * MS),
        sticking_share=spread.sticking,
    )


def draw_contactor(rng: random.Random) -> ContactorPart:
    """Draw a contactor with either coil, and a release time that varies by a few milliseconds between operations."""
    soonest_ns, latest_ns = rng.choice(((4 * MS, 19 * MS), (16 * MS, 24 * MS)))
    first_ns = rng.uniform(soonest_ns, latest_ns)
    return ContactorPart(operate_ns=(round(rng.uniform(12, 22) * MS), 24 * MS), release_ns=(round(first_ns), latest_ns))


def draw_breaker(rng: random.Random, spread: Spread = WIDE) -> BreakerPart:
    return BREAKERS[rng.choice(spread.breakers)]


def _draw_crosstalk(world: World, rng: random.Random, at_ns: int) -> None:
    drawn: dict[int, tuple[float, bool]] = {}  # one draw per chip
    for number, outlet in world.outlets.items():
        if outlet.meter is None:
            continue
        chip = outlet.meter[0]
        if id(chip) not in drawn:
            drawn[id(chip)] = (rng.uniform(0, MAX_CROSSTALK), rng.random() < 0.5)
            chip.set_crosstalk(drawn[id(chip)][0], at_ns, drawn[id(chip)][1])
        world.fitted_crosstalk[number] = drawn[id(chip)]
