"""One function per row of the protections' table: provoke that fault once, with random details, and check the reaction.

The allowed time of each row is that of the table, plus the delay of the sensor: 0.25 s for a mean value of the meter,
the monitor's own time for a residual current.
"""

from collections.abc import Callable

from cabinet.clock import MS, NS
from cabinet.model import EventKind, Fault
from campaigns.stage import NO_HEARTBEAT, Stage

SHORT_S = {"full": 0.020, "half": 0.045, "intermittent": 0.1, "sparse": 0.5}
SLOW_S = 0.5  # delay of a mean value, and its turn in the round-robin

Row = Callable[[Stage], None]


def short_circuit(stage: Stage) -> None:
    charging = stage.some()
    stage.charge(charging)
    victim, amps = stage.chance.choice(charging), stage.chance.uniform(25, 400)
    shape = stage.chance.choice(list(SHORT_S))
    stage.wait(stage.chance.uniform(0, 0.02))
    short = stage.fault(victim, "short", amps=amps, shape=shape)
    # an arc that strikes rarely may heat the wire before its second half-cycle; so may the first half-cycle of a high
    # current if the wire is warm from the short before
    warm = victim in {event.outlet for event in stage.opened_since(0)}
    sooner = {Fault.OVERCURRENT} if shape in ("intermittent", "sparse") or warm else set()
    stage.provoke(Fault.SHORT_CIRCUIT, SHORT_S[shape], short, {victim}, True, or_sooner=sooner)


def overcurrent(stage: Stage) -> None:
    """Overload an outlet with 12.8 to 18 A.

    The minimum is 1.6 In of 8 A: below, the outlet exceeds its power for 10 s before the wire is hot. The maximum is
    18 A: its crest plus that of a charger stays below the 30 A of a short circuit.
    """
    victim = stage.some(1, 1)[0]
    stage.charge([victim])
    amps = stage.chance.uniform(12.8, 18)
    within_s = 5.0 if amps >= 16.5 else 10.0
    stage.provoke(Fault.OVERCURRENT, within_s, stage.fault(victim, "overload", amps=amps), {victim}, True)
    stage.repair()
    stage.wait(20)  # the wire cools


def overpower(stage: Stage) -> None:
    victim = stage.some(1, 1)[0]
    stage.charge([victim], "resistor:100")
    amps = stage.chance.uniform(4.3, 5.6)
    stage.provoke(Fault.OVERPOWER, 10 + SLOW_S, stage.fault(victim, "overload", amps=amps), {victim}, False)
    stage.repair()
    stage.wait(10)  # no retry at once


def feed_overload(stage: Stage) -> None:
    """Overload the feed: the newest charge is opened, whichever outlet draws too much."""
    charging = stage.some(2, 3)
    stage.charge(charging, "resistor:200")
    guilty, amps = stage.chance.choice(charging), stage.chance.uniform(3.1, 3.5)
    stage.provoke(Fault.FEED_OVERLOAD, 5 + SLOW_S, stage.fault(guilty, "overload", amps=amps), {charging[-1]}, False)


def residual_current(stage: Stage) -> None:
    charging = stage.some()
    stage.charge(charging)
    ma = stage.chance.choice([stage.chance.uniform(30, 150), stage.chance.uniform(150, 500)])
    within_s = 0.3 if ma < 150 else 0.04
    leak = stage.fault(stage.chance.choice(charging), "leak", ma=ma)
    stage.provoke(Fault.RESIDUAL_CURRENT, within_s + 0.02, leak, {None, *charging}, True)
    stage.repair()
    stage.wait(1)  # the monitor's contact closes again


def overvoltage(stage: Stage) -> None:
    _voltage(stage, Fault.OVERVOLTAGE, stage.chance.uniform(266, 300))


def undervoltage(stage: Stage) -> None:
    _voltage(stage, Fault.UNDERVOLTAGE, stage.chance.choice([0, stage.chance.uniform(90, 174)]))


def _voltage(stage: Stage, fault: Fault, volts: float) -> None:
    charging = stage.some()
    stage.charge(charging, "resistor:200")  # a charger would apply its own limits
    act = lambda: stage.desk.world.set_mains(volts=volts)  # noqa: E731
    stage.provoke(fault, 1 + SLOW_S, act, set(charging), False, suspends=True)
    stage.desk.world.set_mains(volts=220)
    stage.desk.stride(70 * NS, NS)


def outlet_hot(stage: Stage) -> None:
    """Heat a contact. It takes minutes, so strides last one thermometer round. The check uses its own temperature."""
    charging = stage.some(1, 2)
    stage.charge(charging, "resistor:900")
    victim, ohms, desk = charging[0], stage.chance.uniform(1.5, 6), stage.desk
    desk.world.fault(victim, "hot", ohms=ohms)
    hottest_mc = 0
    for _ in range(3600):
        desk.stride(NS // 4, NS // 4)
        hottest_mc = max(hottest_mc, desk.outlet(victim).temperature_mc.value or 0)
        if desk.events(victim, EventKind.TRIPPED) and not desk.outlet(victim).closed:
            break
    stage.judge_last(Fault.OUTLET_HOT, victim)
    if not 45_000 <= hottest_mc <= 85_000:
        stage.problems.append(f"outlet_hot: thermometer at {hottest_mc / 1000:.1f} C")
    stage.repair()
    desk.stride(2400 * NS, 5 * NS)


def cabinet_hot(stage: Stage) -> None:
    charging = stage.some()
    stage.charge(charging)
    heat = stage.fault(None, "cabinet_heat", kelvin=stage.chance.uniform(60, 100), settle_s=1)
    stage.provoke(Fault.CABINET_HOT, 3, heat, {None, *charging}, True)
    stage.repair()
    stage.wait(10)


def smoke(stage: Stage) -> None:
    _contact(stage, Fault.SMOKE, 0.13)


def water(stage: Stage) -> None:
    _contact(stage, Fault.WATER, 1.03)


def _contact(stage: Stage, fault: Fault, within_s: float) -> None:
    charging = stage.some()
    stage.charge(charging)
    alarm = stage.fault(None, fault.value), stage.fault(None, "wire_cut", input=fault.value)
    stage.provoke(fault, within_s, stage.chance.choice(alarm), {None, *charging}, True)


def sensor_lost(stage: Stage) -> None:
    """Lose a chip or the bus segment: both outlets of the chip have no readings then."""
    charging = stage.some()
    stage.charge(charging)
    victim = stage.chance.choice(charging)
    act = stage.chance.choice([stage.fault(victim, "nack", chip="meter"), stage.fault(victim, "stuck_bus")])
    stage.provoke(Fault.SENSOR_LOST, 0.14, act, stage.same_chip(victim, charging), False)
    stage.forget_storms()


def sensor_reset(stage: Stage) -> None:
    """Reset the chip repeatedly, as by a supply at its limit.

    The alert line falls with each reset. An alert without a matching peak for 15 ms is cut as a short.
    """
    charging = stage.some()
    stage.charge(charging)
    victim, desk = stage.chance.choice(charging), stage.desk

    meter = desk.world.outlets[victim].meter
    assert meter is not None

    def act() -> None:
        for number in range(135):  # each before the set-up after the last one is done, which takes 12 ms of bus time
            desk.world.timeline.at(desk.clock.monotonic_ns() + number * MS, meter[0].reset)

    stage.provoke(
        Fault.SENSOR_RESET, 0.14, act, stage.same_chip(victim, charging), False, or_sooner={Fault.SHORT_CIRCUIT}
    )
    stage.forget_storms()


def sensor_frozen(stage: Stage) -> None:
    charging = stage.some()
    stage.charge(charging)
    victim = stage.chance.choice(charging)
    frozen = stage.fault(victim, "frozen", chip="meter")
    hit = stage.same_chip(victim, charging)
    idle = stage.same_chip(victim, stage.outlets) - hit  # its peaks repeat too
    stage.provoke(Fault.SENSOR_FROZEN, 5.5, frozen, hit, True, besides={each for each in idle if each is not None})


def sensor_disagrees(stage: Stage) -> None:
    charging = stage.some()
    stage.charge(charging)
    bypass = stage.fault(stage.chance.choice(charging), "bypass", amps=stage.chance.uniform(1.5, 8))
    stage.provoke(Fault.SENSOR_DISAGREES, 10 + 2 * SLOW_S, bypass, {None, *charging}, True)


def relay_welded(stage: Stage) -> None:
    """Weld a relay: the guard detects it when the charge ends."""
    charging = stage.some(2, 4)
    stage.charge(charging)
    victim = charging[0]
    stage.desk.world.fault(victim, "welded")
    within_s = 0.2 + 0.05
    stage.provoke(Fault.RELAY_WELDED, within_s, lambda: stage.desk.stop(victim), set(charging[1:]) | {victim}, True)


def relay_stuck_open(stage: Stage) -> None:
    charging = stage.some()
    stage.charge(charging)
    victim = stage.chance.choice(charging)
    stage.provoke(Fault.RELAY_STUCK_OPEN, 2.1, stage.fault(victim, "stuck_open"), {victim}, True)


def contactor_welded(stage: Stage) -> None:
    """Weld the contactor: the guard detects it when the contactor should break a short for a relay."""
    charging = stage.some(2, 4)
    stage.charge(charging)
    victim, amps = charging[0], stage.chance.uniform(120, 400)

    def act() -> None:
        stage.desk.world.fault(None, "contactor_welded")
        stage.desk.world.fault(victim, "short", amps=amps)

    stage.provoke(Fault.CONTACTOR_WELDED, 0.15, act, {None, *charging[1:]}, True, besides={victim})


def thermal_runaway(stage: Stage) -> None:
    """Run a battery into thermal runaway, for hours in strides. The check uses the simulator's true power."""
    desk, victim = stage.desk, stage.some(1, 1)[0]
    desk.plug(victim, "runaway-48v20ah", stage.chance.uniform(50, 75))
    desk.start(victim)
    lowest_mw, risen_s, at_s = 10**9, None, 0.0
    for _ in range(10 * 360):
        desk.stride(10 * NS, 10 * NS)
        at_s += 10
        power_mw = desk.world.truth(victim).power_mw
        if not desk.outlet(victim).closed:
            break
        if power_mw > 50_000 and at_s > 60:
            lowest_mw = min(lowest_mw, power_mw)
        if (
            risen_s is None
            and desk.world.truth(victim).stage != "constant current"
            and power_mw > 1.2 * lowest_mw + 6000
        ):
            risen_s = at_s
    stage.judge_last(Fault.THERMAL_RUNAWAY, victim)
    if risen_s is None or at_s - risen_s > 900:
        stage.problems.append(f"thermal_runaway: power rose at {risen_s} s, opened at {at_s:.0f} s")
    desk.world.unplug(victim)


def reclose_storm(stage: Stage) -> None:
    victim = stage.some(1, 1)[0]
    for turn in range(3):
        stage.charge([victim])
        nack = stage.fault(victim, "nack", chip="meter")
        if turn < 2:
            stage.provoke(Fault.SENSOR_LOST, 0.14, nack, {victim}, False)
            stage.repair()
            stage.wait(stage.chance.uniform(1, 60))
    stage.provoke(Fault.SENSOR_LOST, 0.14, nack, {victim}, False, then=Fault.RECLOSE_STORM)


def guard_late(stage: Stage) -> None:
    """Delay the guard's loop, but less than the time after which the heartbeat hardware cuts the coil supply."""
    charging = stage.some()
    stage.charge(charging)
    away_ns = stage.chance.randint(58 * MS, 95 * MS)
    stage.provoke(
        Fault.GUARD_LATE, away_ns / NS + 0.01, lambda: stage.desk.clock.advance_ns(away_ns), set(charging), False
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
