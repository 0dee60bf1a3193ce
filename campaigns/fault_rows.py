"""One function per row of the protections' table: provoke that fault once, with random details, and check the reaction.

The allowed time of each row is that of the table, plus the delay of the sensor: 0.25 s for a mean value of the meter,
the monitor's own time for a residual current.
"""

from collections.abc import Callable

from cabinet.clock import MS, NS
from cabinet.model import EventKind, Fault
from campaigns.fault_harness import NO_HEARTBEAT, FaultHarness

SHORT_S = {"full": 0.020, "half": 0.045, "intermittent": 0.1, "sparse": 0.5}
SLOW_S = 0.5  # delay of a mean value, and its turn in the round-robin
TURN_S = 0.2  # the reading that ends a time begins it too: ten outlets are read once in 0.19 s

Row = Callable[[FaultHarness], None]


def short_circuit(harness: FaultHarness) -> None:
    charging = harness.some()
    harness.charge(charging)
    victim, amps = harness.chance.choice(charging), harness.chance.uniform(25, 400)
    shape = harness.chance.choice(list(SHORT_S))
    harness.wait(harness.chance.uniform(0, 0.02))
    short = harness.fault(victim, "short", amps=amps, shape=shape)
    # an arc that strikes rarely may heat the wire before its second half-cycle; so may the first half-cycle of a high
    # current if the wire is warm from the short before
    warm = victim in {event.outlet for event in harness.opened_since(0)}
    sooner = {Fault.OVERCURRENT} if shape in ("intermittent", "sparse") or warm else set()
    harness.provoke(Fault.SHORT_CIRCUIT, SHORT_S[shape], short, {victim}, True, or_sooner=sooner)


def overcurrent(harness: FaultHarness) -> None:
    """Overload an outlet with 12.8 to 18 A.

    The minimum is 1.6 In of 8 A: below, the outlet exceeds its power for 10 s before the wire is hot. The maximum is
    18 A: its crest plus that of a charger stays below the 30 A of a short circuit.
    """
    victim = harness.some(1, 1)[0]
    harness.charge([victim])
    amps = harness.chance.uniform(12.8, 18)
    within_s = 5.0 if amps >= 16.5 else 10.0
    harness.provoke(Fault.OVERCURRENT, within_s, harness.fault(victim, "overload", amps=amps), {victim}, True)
    harness.repair()
    harness.wait(20)  # the wire cools


def overpower(harness: FaultHarness) -> None:
    victim = harness.some(1, 1)[0]
    harness.charge([victim], "resistor:100")
    amps = harness.chance.uniform(4.3, 5.6)
    overload = harness.fault(victim, "overload", amps=amps)
    harness.provoke(Fault.OVERPOWER, 10 + SLOW_S + TURN_S, overload, {victim}, False)
    harness.repair()
    harness.wait(10)  # no retry at once


def feed_overload(harness: FaultHarness) -> None:
    """Overload the feed: the newest charge is opened, whichever outlet draws too much."""
    charging = harness.some(2, 3)
    harness.charge(charging, "resistor:200")
    guilty, amps = harness.chance.choice(charging), harness.chance.uniform(3.1, 3.5)
    harness.provoke(
        Fault.FEED_OVERLOAD, 5 + SLOW_S, harness.fault(guilty, "overload", amps=amps), {charging[-1]}, False
    )


def residual_current(harness: FaultHarness) -> None:
    charging = harness.some()
    harness.charge(charging)
    ma = harness.chance.choice([harness.chance.uniform(30, 150), harness.chance.uniform(150, 500)])
    within_s = 0.3 if ma < 150 else 0.04
    leak = harness.fault(harness.chance.choice(charging), "leak", ma=ma)
    harness.provoke(Fault.RESIDUAL_CURRENT, within_s + 0.02, leak, {None, *charging}, True)
    harness.repair()
    harness.wait(1)  # the monitor's contact closes again


def overvoltage(harness: FaultHarness) -> None:
    _voltage(harness, Fault.OVERVOLTAGE, harness.chance.uniform(266, 300))


def undervoltage(harness: FaultHarness) -> None:
    _voltage(harness, Fault.UNDERVOLTAGE, harness.chance.choice([0, harness.chance.uniform(90, 174)]))


def _voltage(harness: FaultHarness, fault: Fault, volts: float) -> None:
    charging = harness.some()
    harness.charge(charging, "resistor:200")  # a charger would apply its own limits
    act = lambda: harness.sim.world.set_mains(volts=volts)  # noqa: E731
    harness.provoke(fault, 1 + SLOW_S, act, set(charging), False, suspends=True)
    harness.sim.world.set_mains(volts=220)
    harness.sim.stride(70 * NS, NS)


def outlet_hot(harness: FaultHarness) -> None:
    """Heat a contact. It takes minutes, so strides last one thermometer round. The check uses its own temperature."""
    charging = harness.some(1, 2)
    harness.charge(charging, "resistor:900")
    victim, ohms, sim = charging[0], harness.chance.uniform(1.5, 6), harness.sim
    sim.world.fault(victim, "hot", ohms=ohms)
    hottest_mc = 0
    for _ in range(3600):
        sim.stride(NS // 4, NS // 4)
        hottest_mc = max(hottest_mc, sim.outlet(victim).temperature_mc.value or 0)
        if sim.events(victim, EventKind.TRIPPED) and not sim.outlet(victim).closed:
            break
    harness.judge_last(Fault.OUTLET_HOT, victim)
    if not 45_000 <= hottest_mc <= 85_000:
        harness.problems.append(f"outlet_hot: thermometer at {hottest_mc / 1000:.1f} C")
    harness.repair()
    sim.stride(2400 * NS, 5 * NS)


def cabinet_hot(harness: FaultHarness) -> None:
    charging = harness.some()
    harness.charge(charging)
    heat = harness.fault(None, "cabinet_heat", kelvin=harness.chance.uniform(60, 100), settle_s=1)
    harness.provoke(Fault.CABINET_HOT, 3, heat, {None, *charging}, True)
    harness.repair()
    harness.wait(10)


def smoke(harness: FaultHarness) -> None:
    _contact(harness, Fault.SMOKE, 0.13)


def water(harness: FaultHarness) -> None:
    _contact(harness, Fault.WATER, 1.03)


def _contact(harness: FaultHarness, fault: Fault, within_s: float) -> None:
    charging = harness.some()
    harness.charge(charging)
    alarm = harness.fault(None, fault.value), harness.fault(None, "wire_cut", input=fault.value)
    harness.provoke(fault, within_s, harness.chance.choice(alarm), {None, *charging}, True)


def sensor_lost(harness: FaultHarness) -> None:
    """Lose a chip or the bus segment: both outlets of the chip have no readings then."""
    charging = harness.some()
    harness.charge(charging)
    victim = harness.chance.choice(charging)
    act = harness.chance.choice([harness.fault(victim, "nack", chip="meter"), harness.fault(victim, "stuck_bus")])
    harness.provoke(Fault.SENSOR_LOST, 0.14, act, harness.same_chip(victim, charging), False)
    harness.forget_storms()


def sensor_reset(harness: FaultHarness) -> None:
    """Reset the chip repeatedly, as by a supply at its limit.

    The alert line falls with each reset. An alert without a matching peak for 15 ms is cut as a short.
    """
    charging = harness.some()
    harness.charge(charging)
    victim, sim = harness.chance.choice(charging), harness.sim

    meter = sim.world.outlets[victim].meter
    assert meter is not None

    def act() -> None:
        for number in range(135):  # each before the set-up after the last one is done, which takes 12 ms of bus time
            sim.world.timeline.at(sim.clock.monotonic_ns() + number * MS, meter[0].reset)

    harness.provoke(
        Fault.SENSOR_RESET, 0.14, act, harness.same_chip(victim, charging), False, or_sooner={Fault.SHORT_CIRCUIT}
    )
    harness.forget_storms()


def sensor_frozen(harness: FaultHarness) -> None:
    charging = harness.some()
    harness.charge(charging)
    victim = harness.chance.choice(charging)
    frozen = harness.fault(victim, "frozen", chip="meter")
    hit = harness.same_chip(victim, charging)
    idle = harness.same_chip(victim, harness.outlets) - hit  # its peaks repeat too
    harness.provoke(Fault.SENSOR_FROZEN, 5.5, frozen, hit, True, besides={each for each in idle if each is not None})


def sensor_disagrees(harness: FaultHarness) -> None:
    charging = harness.some()
    harness.charge(charging)
    bypass = harness.fault(harness.chance.choice(charging), "bypass", amps=harness.chance.uniform(1.5, 8))
    harness.provoke(Fault.SENSOR_DISAGREES, 10 + 2 * SLOW_S, bypass, {None, *charging}, True)


def relay_welded(harness: FaultHarness) -> None:
    """Weld a relay: the guard detects it when the charge ends."""
    charging = harness.some(2, 4)
    harness.charge(charging)
    victim = charging[0]
    harness.sim.world.fault(victim, "welded")
    within_s = 0.2 + 0.05
    harness.provoke(Fault.RELAY_WELDED, within_s, lambda: harness.sim.stop(victim), {*charging[1:], victim}, True)


def relay_stuck_open(harness: FaultHarness) -> None:
    charging = harness.some()
    harness.charge(charging)
    victim = harness.chance.choice(charging)
    harness.provoke(Fault.RELAY_STUCK_OPEN, 2.1, harness.fault(victim, "stuck_open"), {victim}, True)


def contactor_welded(harness: FaultHarness) -> None:
    """Weld the contactor: the guard detects it when the contactor should break a short for a relay."""
    charging = harness.some(2, 4)
    harness.charge(charging)
    victim, amps = charging[0], harness.chance.uniform(120, 400)

    def act() -> None:
        harness.sim.world.fault(None, "contactor_welded")
        harness.sim.world.fault(victim, "short", amps=amps)

    harness.provoke(Fault.CONTACTOR_WELDED, 0.15, act, {None, *charging[1:]}, True, besides={victim})


def thermal_runaway(harness: FaultHarness) -> None:
    """Run a battery into thermal runaway, for hours in strides. The check uses the simulator's true power."""
    sim, victim = harness.sim, harness.some(1, 1)[0]
    sim.plug(victim, "runaway-48v20ah", harness.chance.uniform(50, 75))
    sim.start(victim)
    lowest_mw, risen_s, at_s = 10**9, None, 0.0
    for _ in range(10 * 360):
        sim.stride(10 * NS, 10 * NS)
        at_s += 10
        power_mw = sim.world.truth(victim).power_mw
        if not sim.outlet(victim).closed:
            break
        if power_mw > 50_000 and at_s > 60:
            lowest_mw = min(lowest_mw, power_mw)
        if (
            risen_s is None
            and sim.world.truth(victim).stage != "constant current"
            and power_mw > 1.2 * lowest_mw + 6000
        ):
            risen_s = at_s
    harness.judge_last(Fault.THERMAL_RUNAWAY, victim)
    if risen_s is None or at_s - risen_s > 900:
        harness.problems.append(f"thermal_runaway: power rose at {risen_s} s, opened at {at_s:.0f} s")
    sim.world.unplug(victim)


def reclose_storm(harness: FaultHarness) -> None:
    victim = harness.some(1, 1)[0]
    for turn in range(3):
        harness.charge([victim])
        nack = harness.fault(victim, "nack", chip="meter")
        if turn < 2:
            harness.provoke(Fault.SENSOR_LOST, 0.14, nack, {victim}, False)
            harness.repair()
            harness.wait(harness.chance.uniform(1, 60))
    harness.provoke(Fault.SENSOR_LOST, 0.14, nack, {victim}, False, then=Fault.RECLOSE_STORM)


def guard_late(harness: FaultHarness) -> None:
    """Delay the guard's loop, but less than the time after which the heartbeat hardware cuts the coil supply."""
    charging = harness.some()
    harness.charge(charging)
    away_ns = harness.chance.randint(58 * MS, 95 * MS)
    harness.provoke(
        Fault.GUARD_LATE, away_ns / NS + 0.01, lambda: harness.sim.clock.advance_ns(away_ns), set(charging), False
    )


ROWS: dict[str, tuple[Row, dict[str, str]]] = {
    row.__name__: (row, changes)
    for row, changes in (
        (short_circuit, {}),
        (overcurrent, {}),
        (overpower, {}),
        (feed_overload, {"[tariff]": "[feed]\nlimit_w = 1000\n\n[tariff]"}),
        (residual_current, {}),
        (overvoltage, NO_HEARTBEAT),
        (undervoltage, NO_HEARTBEAT),
        (outlet_hot, NO_HEARTBEAT),
        (cabinet_hot, {}),
        (smoke, {}),
        (water, {}),
        (sensor_lost, {}),
        (sensor_reset, {}),
        (sensor_frozen, {}),
        (sensor_disagrees, {}),
        (relay_welded, {}),
        (relay_stuck_open, {}),
        (contactor_welded, {}),
        (thermal_runaway, NO_HEARTBEAT),
        (reclose_storm, {}),
        (guard_late, {}),
    )
}
