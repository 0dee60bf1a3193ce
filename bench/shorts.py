"""Random shorts under a manual clock: the guard over the simulated chips, against the bare limit of the waveform."""

import logging
import math
import random
import tempfile
from pathlib import Path

import msgspec
from msgspec import structs

from bench.scan import cabinet_of
from cabinet.clock import MS, NS
from cabinet.config import Config
from cabinet.link.guard_protocol import Done
from cabinet.sim.waveform import Mains, Wave
from cabinet.system.computers import HERE
from cabinet_testing import sim_computer
from cabinet_testing.sim_cabinet import OUTLETS, SimCabinet, demo_config

SHORT_A, HARD_A = 30.0, 150.0
MIN_A, MAX_A = 25.0, 400.0  # RMS of the actual current
SHAPES = {"full": 0.6, "half": 0.25, "intermittent": 0.15}
LOADS = ["lead-acid-36v12ah", "lead-acid-48v20ah", "lithium-48v", "lithium-60v", "resistor:300"]
ALERT_PINS = (4, 5, 6, 12, 13, 16, 18, 19, 20, 21)
SHOTS = 20  # per batch of one seed
COOLING_NS = 40 * NS  # until the thermal image lets an outlet start again
GAP_NS = 100 * MS  # short_circuit.window_s


class Shot(msgspec.Struct, frozen=True):
    """One short and its result; times are from the first fault current on."""

    path: str  # alert or polled
    shape: str
    amps: float
    loaded: bool
    took_ms: float
    phase_deg: float  # mains angle at the onset; the voltage's crests are at 90 and 270
    bare_ms: float | None = None  # None: unknown, because the time of an arc is random in real time
    ceiling_ms: float | None = None  # time when the waveform exceeded the hard ceiling, if it does

    @property
    def over_ceiling(self) -> bool:
        """Return whether the hard ceiling decides, not the second half-cycle."""
        return self.ceiling_ms is not None


def sine_a(amps: float, shape: str) -> float:
    """Return the RMS of the full sine for the simulator; a half wave has 1/sqrt 2 of its RMS."""
    return round(amps * math.sqrt(2) if shape == "half" else amps, 1)


def batch(seed: int, path: str, shots: int = SHOTS, computer: str = HERE, outlets: int = OUTLETS) -> list[Shot]:
    """Run shorts on one cabinet while the other outlets charge. `path`: with `alert` lines, or `polled` only.

    `computer`: see `sim_computer.choose`.
    """
    sim_computer.choose(computer)
    chance = random.Random(seed)
    changes = {"heartbeat_pin = 27\n": ""}  # between shorts the clock strides until the wire has cooled
    if path == "polled":
        changes |= {f'alert = "gpio:{pin}"\n': "" for pin in ALERT_PINS}
    with tempfile.TemporaryDirectory() as folder:
        config = demo_config(changes) if outlets == OUTLETS else large_cabinet(outlets, path)
        sim = SimCabinet(Path(folder), config, seed=chance.getrandbits(32))
        for outlet in sorted(sim.world.outlets):
            sim.plug(outlet, chance.choice(LOADS))
        logging.disable(logging.ERROR)  # many trips are intended
        try:
            return [_shoot(sim, chance, path) for _ in range(shots)]
        finally:
            logging.disable(logging.NOTSET)
            sim.close()


def large_cabinet(outlets: int, path: str) -> Config:
    """Return the configuration of a cabinet with more outlets, without a heartbeat."""
    config = cabinet_of(outlets)
    hardware = structs.replace(config.hardware, heartbeat_pin=None)
    if path == "polled":
        hardware = structs.replace(hardware, alert_expanders=())
        config = structs.replace(config, outlet=tuple(structs.replace(each, alert=None) for each in config.outlet))
    return structs.replace(config, hardware=hardware)


def _shoot(sim: SimCabinet, chance: random.Random, path: str) -> Shot:
    world = sim.world
    sim.stride(2 * NS, NS)
    for other in sorted(world.outlets):
        if not sim.outlet(other).closed and not isinstance(sim.start(other), Done):
            raise RuntimeError(f"outlet {other} cannot be used: {sim.outlet(other)}")
    all_closed_ns = 4 * NS * (1 + len(world.outlets) // 20)  # closings are 0.2 s apart
    sim.run(all_closed_ns, until=lambda: all(state.closed for state in sim.guard.snapshot().outlets))
    sim.stride(2 * NS, NS)  # until soft starts end
    outlet = chance.randint(1, len(world.outlets))
    load = None if chance.random() < 0.75 else world.unplug(outlet)
    shape = chance.choices(list(SHAPES), list(SHAPES.values()))[0]
    amps = round(MIN_A * (MAX_A / MIN_A) ** chance.random(), 1)
    sim.run(40 * MS)
    before, mains = world.journal.last_seq, world.mains
    assert mains is not None
    # The phase is drawn, not left to the guard's timing, to give two versions of the guard the same shorts.
    phase_deg = 360 * chance.random()
    world.fault(outlet, "short", amps=sine_a(amps, shape), shape=shape, at_phase=phase_deg)
    waves: list[Wave] = []
    begin_ns = mains.next_angle_ns(math.radians(phase_deg), sim.clock.monotonic_ns())
    world.timeline.at(begin_ns, lambda _: waves.append(world.outlets[outlet].wave))
    if not sim.run(2 * NS, until=lambda: sim.unit(outlet).latched):
        raise RuntimeError(f"missed: {shape} short of {amps} A on outlet {outlet}")
    journal = world.journal.after(before)
    onset = next(r for r in journal if (r.kind, r.outlet) == ("fault_onset", outlet))
    onset_ns = onset.at_ns
    off = {("coil_off", outlet), ("contactor_off", None)}
    off_ns = next(r.at_ns for r in journal if (r.kind, r.outlet) in off and r.at_ns > onset_ns)
    world.clear(outlet)
    if load is not None:
        world.plug(outlet, load)
    sim.stride(COOLING_NS, 10 * NS)
    sim.clear(outlet)
    (wave,) = waves
    bare_ns, ceiling_ns = bare_limit_ns(mains, wave, onset_ns), wave.first_above_ns(HARD_A, onset_ns)
    return Shot(
        path, shape, amps, load is None, (off_ns - onset_ns) / MS, float(onset.detail["phase_deg"]),
        (bare_ns - onset_ns) / MS, None if ceiling_ns is None else (ceiling_ns - onset_ns) / MS,
    )  # fmt: skip


def bare_limit_ns(mains: Mains, wave: Wave, onset_ns: int) -> int:
    """Return the earliest time at which the current has exceeded the limit in two half-cycles, or the ceiling once.

    Raises ValueError if it never does, as that is not a short.
    """
    ceiling_ns = wave.first_above_ns(HARD_A, onset_ns)
    first_ns = wave.first_above_ns(SHORT_A, onset_ns)
    if first_ns is None:
        raise ValueError("this current is never over the limit")
    second_ns = wave.first_above_ns(SHORT_A, _next_half_ns(mains, first_ns))
    assert second_ns is not None  # the current is periodic
    return second_ns if ceiling_ns is None else min(second_ns, ceiling_ns)


def _next_half_ns(mains: Mains, at_ns: int) -> int:
    """Return the zero crossing after `at_ns`, plus 1 us against rounding to a time before it."""
    halves = math.floor((at_ns - mains.origin_ns) / mains.half_ns) + 1
    return mains.origin_ns + math.ceil(halves * mains.half_ns) + 1000
