"""Batteries with their chargers: named kinds, and random ones within plausible limits.

The values of the two plain lead-acid chargers are published (1.8 A to 44.4 V, 0.3 A, float 41.4 V; 3 A to 59.2 V,
0.55 A, float 55.2 V for 2 to 3 h). All others represent their class: the behaviour of the class is known (a stage of
small constant current and rising voltage after the taper, a battery that switches its charger on and off while it
balances its cells, a valve-regulated battery that takes more current the hotter it gets), but the figures are not
measured. Waveforms and inrush lie in the range measured on household rectifier loads; efficiency is 84 to 92 %.
"""

import random
from typing import NamedTuple

from cabinet.sim.loads import Inrush
from cabinet.sim.waveform import Shape

HOUR = 3600.0
MAX_IRON_PEAK_A = 80.0  # limited by the resistance of winding and wires, about 4 ohm together


class BatteryKind(NamedTuple):
    """Parameters of one charger and its battery."""

    title: str
    capacity_ah: float
    current_a: float
    full_v: float  # voltage at the end of constant current, constant after it
    taper_from: float  # state of charge at which the current begins to fall
    ends_a: float  # current at which constant voltage ends
    float_v: float = 0.0  # 0: no float stage, the charger switches off
    float_from_a: float = 0.0
    float_to_a: float = 0.0
    float_s: float = 0.0  # duration of the falling float current; then off unless `floats_on`
    floats_on: bool = False
    rise: tuple[tuple[float, float], ...] = ((0.0, 0.83), (0.1, 0.905), (0.4, 0.925), (1.0, 1.0))
    tapers: bool = True  # False: a cell is shorted, so the voltage is never reached and the current never falls
    runaway_from_a: float = 0.0  # taper current at which the current begins to rise again; 0: no runaway
    runaway_s: float = 0.0  # duration of the rise, until the charger limits the current
    boost_a: float = 0.0  # a small constant current after the taper, 0: none
    boost_v: float = 0.0  # voltage at the end of boost
    boost_s: float = 0.0
    balance_a: float = 0.0  # current pulses after the taper, while cells are balanced; 0: none
    balance_on_s: float = 180.0
    balance_off_s: float = 300.0
    balance_s: float = 0.0  # duration of all pulses together
    fan_w: float = 0.0  # power of a fan that runs intermittently during the charge
    fan_on_s: float = 240.0
    fan_off_s: float = 420.0
    efficiency: float = 0.87
    charge_factor: float = 1.0  # ampere-hours to charge for each one stored
    standby_w: float = 2.0
    shape: Shape = Shape.of(2.3, 0.68)
    inrush: Inrush = Inrush(45.0, 1_500_000)
    step_s: float = 5.0


_LEAD_48 = BatteryKind(
    "48 V 20 Ah lead-acid, 3 A", 20, 3.0, 59.2, 0.80, 0.55, float_v=55.2, float_from_a=0.5, float_to_a=0.06,
    float_s=2.5 * HOUR, charge_factor=1.08, shape=Shape.of(2.3, 0.68), inrush=Inrush(50.0, 1_500_000),
)  # fmt: skip
_LITHIUM_48 = BatteryKind(
    "48 V 15 Ah lithium (13 cells), 3 A", 15, 3.0, 54.6, 0.88, 0.20, efficiency=0.88, standby_w=1.5,
    shape=Shape.of(2.0, 0.78), inrush=Inrush(55.0, 1_200_000),
)  # fmt: skip
_LITHIUM_60 = BatteryKind(
    "60 V 24 Ah lithium (17 cells), 5 A, power factor corrected", 24, 5.0, 71.4, 0.90, 0.40, efficiency=0.90,
    standby_w=2.5, shape=Shape.of(1.5, 0.98), inrush=Inrush(75.0, 2_500_000),
)  # fmt: skip

HEALTHY = {
    "lead-acid-36v12ah": BatteryKind(
        "36 V 12 Ah lead-acid, 1.8 A", 12, 1.8, 44.4, 0.78, 0.3, float_v=41.4, float_from_a=0.3, float_to_a=0.05,
        float_s=2 * HOUR, floats_on=True, charge_factor=1.08, shape=Shape.of(2.5, 0.62), inrush=Inrush(38.0, 800_000),
    ),
    "lead-acid-48v20ah": _LEAD_48,
    "iron-36v12ah": BatteryKind(
        "36 V 12 Ah lead-acid, 1.8 A, charger with an iron core: inrush of one sign that falls cycle by cycle", 12, 1.8,
        44.4, 0.78, 0.3, float_v=41.4, float_from_a=0.3, float_to_a=0.05, float_s=2 * HOUR, floats_on=True,
        charge_factor=1.08, efficiency=0.75, standby_w=6.0, shape=Shape.of(1.8, 0.75),
        inrush=Inrush(35.0, 0, decay_ns=30_000_000),
    ),
    "lithium-48v": _LITHIUM_48,
    "lithium-60v": _LITHIUM_60,
    "demo": BatteryKind(
        "a toy battery that is full in about two minutes, 150 W", 0.115, 2.5, 54.6, 0.90, 0.45, efficiency=0.90,
        shape=Shape.of(2.1, 0.72), inrush=Inrush(40.0, 1_000_000), step_s=0.5,
    ),
    "boost-48v20ah": _LEAD_48._replace(
        title="48 V 20 Ah lead-acid, topped off after the taper: 0.55 A for 1.5 h up to 2.6 V a cell",
        boost_a=0.55, boost_v=62.4, boost_s=1.5 * HOUR,
    ),
    "balancing-48v": _LITHIUM_48._replace(
        title="48 V 15 Ah lithium that balances its cells at the end: 3 minutes on, 5 off, for 1.5 h",
        balance_a=0.25, balance_s=1.5 * HOUR,
    ),
    "fan-60v": _LITHIUM_60._replace(
        title="60 V 24 Ah lithium, 5 A, with a fan of 4 W that starts and stops", fan_w=4.0
    ),
}  # fmt: skip

SICK = {
    "runaway-48v20ah": _LEAD_48._replace(
        title="48 V 20 Ah lead-acid that runs away: after its taper it takes more again, within 40 minutes all it can",
        runaway_from_a=0.9, runaway_s=40 * 60.0,
    ),
    "shorted-cell-48v20ah": _LEAD_48._replace(
        title="48 V 20 Ah lead-acid with a shorted cell: its current never falls", full_v=59.2 * 23 / 24, tapers=False
    ),
}  # fmt: skip

KINDS = {**HEALTHY, **SICK}


# Few, because a table is cached for each; they span the measured currents of household rectifier loads.
SHAPES = (
    Shape.of(1.5, 0.98), Shape.of(1.8, 0.82), Shape.of(2.0, 0.78), Shape.of(2.1, 0.72), Shape.of(2.3, 0.68),
    Shape.of(2.5, 0.62), Shape.of(2.7, 0.50), Shape.of(2.8, 0.39),
)  # fmt: skip


def random_kind(rng: random.Random, iron_share: float = 0.0) -> BatteryKind:
    """Draw a healthy battery and charger: lead-acid or lithium, 36 to 72 V, 1.8 to 5 A.

    From empty, the constant current lasts 2 to 6.5 hours. Some are topped off, balance their cells or have a fan;
    a share of `iron_share` has an iron-core transformer at the input.
    """
    kind = _random_lead(rng) if rng.random() < 0.5 else _random_lithium(rng)
    kind = kind._replace(
        standby_w=rng.uniform(1.0, 3.0),
        shape=rng.choice(SHAPES),
        inrush=random_iron_inrush(rng) if rng.random() < iron_share else random_inrush(rng),
    )
    if rng.random() < 0.3:
        kind = kind._replace(
            fan_w=rng.uniform(2.0, 4.0), fan_on_s=rng.uniform(120.0, 600.0), fan_off_s=rng.uniform(120.0, 600.0)
        )
    return kind


def random_iron_inrush(rng: random.Random) -> Inrush:
    """Draw the inrush of a 100 to 300 VA transformer: 8 to 90 times rated current at worst, for one to a few cycles.

    Toroid makers' notes give 8 to 15 times and one to three cycles as ordinary; 30 to 90 times is also stated.
    """
    rated_a = rng.uniform(100, 300) / 220
    times = 8 * (90 / 8) ** rng.random()
    return Inrush(min(rated_a * times, MAX_IRON_PEAK_A), 0, decay_ns=round(rng.uniform(8, 45) * 1e6))


def random_inrush(rng: random.Random) -> Inrush:
    """Draw a half-sine in the measured range, or a capacitor of 68 to 1000 uF that charges through 4.5 to 10 ohm."""
    if rng.random() < 0.5:
        return Inrush(rng.uniform(30.0, 80.0), round(rng.uniform(0.3, 3.0) * 1e6))
    ohm = rng.uniform(4.5, 10.0)
    return Inrush(311.0 / ohm, 5_000_000, 68 * (1000 / 68) ** rng.random(), ohm)


def _random_lead(rng: random.Random) -> BatteryKind:
    blocks = rng.choice((3, 4, 5, 6))
    amps = rng.uniform(1.8, 3.5) if blocks <= 4 else rng.uniform(2.5, 5.0)
    full_v = 14.8 * blocks * rng.uniform(0.99, 1.01)
    taper_from, factor = rng.uniform(0.74, 0.84), rng.uniform(1.05, 1.10)
    capacity_ah = amps * rng.uniform(3.0, 6.5) / (taper_from * factor)
    ends_a = amps * rng.uniform(0.15, 0.20)
    kind = BatteryKind(
        f"{12 * blocks} V {capacity_ah:.0f} Ah lead-acid, {amps:.1f} A", capacity_ah, amps, full_v, taper_from, ends_a,
        float_v=full_v * rng.uniform(0.925, 0.94), float_from_a=ends_a * rng.uniform(0.85, 0.95),
        float_to_a=rng.uniform(0.04, 0.07), float_s=rng.uniform(1.5, 3.0) * HOUR, floats_on=rng.random() < 0.3,
        charge_factor=factor, efficiency=rng.uniform(0.84, 0.89),
    )  # fmt: skip
    if rng.random() < 0.3:
        kind = kind._replace(
            boost_a=ends_a, boost_v=full_v * rng.uniform(1.03, 1.055), boost_s=rng.uniform(1.0, 2.0) * HOUR
        )
    return kind


def _random_lithium(rng: random.Random) -> BatteryKind:
    cells = rng.choice((10, 13, 17, 20))
    amps, taper_from = rng.uniform(2.0, 5.0), rng.uniform(0.85, 0.93)
    capacity_ah = amps * rng.uniform(2.0, 5.5) / taper_from
    kind = BatteryKind(
        f"{cells} cells {capacity_ah:.0f} Ah lithium, {amps:.1f} A", capacity_ah, amps, 4.2 * cells, taper_from,
        amps * rng.uniform(0.05, 0.10), efficiency=rng.uniform(0.86, 0.92),
    )  # fmt: skip
    if rng.random() < 0.3:
        kind = kind._replace(
            balance_a=rng.uniform(0.1, 0.3), balance_on_s=rng.uniform(120.0, 300.0),
            balance_off_s=rng.uniform(180.0, 600.0), balance_s=rng.uniform(0.5, 2.0) * HOUR,
        )  # fmt: skip
    return kind
