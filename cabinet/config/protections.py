"""Keys under `[protections]`: one table per protection function, each limit with its unit, default and reason.

`docs/safety-case.md` gives the purpose of each.
"""

from typing import Annotated

from cabinet.config.declare import Section, number


class ShortCircuitSection(Section, frozen=True):
    """A short repeats in every half-cycle, an inrush does not: the outlet opens at once and is latched."""

    peak_a: Annotated[
        float, number("a peak above this in a second half-cycle within `window_s` is a short", least=6, most=150)
    ] = 30.0
    window_s: Annotated[
        float, number("half-wave faults and arcs skip half-cycles: look this far", least=0.02, most=1)
    ] = 0.1
    hard_peak_a: Annotated[
        float, number("a peak above this is a short at once: no inrush measured came near it", least=60, most=1000)
    ] = 150.0


class OvercurrentSection(Section, frozen=True):
    """A thermal image (I²t) of wiring and contacts: the outlet opens and is latched.

    8 A are what a socket-outlet of 10 A (GB/T 2099.1) bears for hours; fuse, wire and relay bear more. 1000 W stay
    below that down to a power factor of 0.5: what is too many watts is `overpower`, which latches nothing.
    """

    rated_a: Annotated[
        float, number("In of the thermal image: never at 1.13 In, 60 s at 1.45 In, 2 s at 3 In", least=0.5, most=16)
    ] = 8.0


class OverpowerSection(Section, frozen=True):
    """Power above the outlet's rating: the charge ends."""

    after_s: Annotated[float, number("above the outlet's `max_power_w` for so long", least=1, most=120)] = 10.0


class ResidualCurrentSection(Section, frozen=True):
    """Residual current, if a detector is fitted: current that does not return flows to earth. All open, latched."""

    test_every_s: Annotated[
        float, number("the monitor is tested so often, and at each start", least=3600, most=604_800)
    ] = 86_400.0
    test_s: Annotated[float, number("the monitor answers its test within", least=0.05, most=2)] = 0.3


class OutletHotSection(Section, frozen=True):
    """Contacts too hot, or heating too fast: the outlet opens and is latched."""

    trip_c: Annotated[float, number("contacts hotter than this open", least=40, most=90)] = 75.0
    warn_c: Annotated[float, number("staff are warned", least=35, most=85)] = 65.0
    rise_k_per_min: Annotated[
        float, number("rising faster than this above `rise_above_c` opens", above=0, most=100)
    ] = 8.0
    rise_above_c: Annotated[float, number("a rise from a cold night is no fault below this", least=0, most=80)] = 45.0
    hysteresis_k: Annotated[float, number("must have cooled by this before it may close again", least=1, most=30)] = (
        10.0
    )


class SensorLostSection(Section, frozen=True):
    """An outlet that cannot be measured opens; it may close again when readings return."""

    peak_after_s: Annotated[float, number("no valid peak reading for so long opens the outlet", least=0.02, most=1)] = (
        0.1
    )
    slow_after_s: Annotated[
        float, number("no valid current, power or voltage for so long opens the outlet", least=0.2, most=10)
    ] = 1.0
    temperature_after_s: Annotated[
        float, number("no valid temperature for so long opens the outlet, where one is fitted", least=0.5, most=60)
    ] = 5.0


class SensorResetSection(Section, frozen=True):
    """A meter chip back at its power-on values is set up again; if that takes too long, its outlets open."""

    after_s: Annotated[float, number("not set up again for so long opens the outlet", least=0.05, most=1)] = 0.1


class SensorFrozenSection(Section, frozen=True):
    """A reading that is frozen, or that others contradict, is invalid: the outlet opens and is latched."""

    after_s: Annotated[
        float, number("a value of a meter that does not change for so long, under load", least=1, most=60)
    ] = 5.0
    load_a: Annotated[
        float,
        number(
            "so much current that comes or goes for minutes must move the outlet's thermometer by one step",
            least=1,
            most=16,
        ),
    ] = 2.0
    neighbours_k: Annotated[
        float, number("or so much by which half of the other thermometers have moved", least=1, most=20)
    ] = 3.0


class SensorDisagreesSection(Section, frozen=True):
    """The sum of the outlets against the cabinet's own meter, if one is fitted: all open, latched."""

    share: Annotated[float, number("of the cabinet's power that may be missing", above=0, most=0.5)] = 0.1
    power_w: Annotated[float, number("and at least so much (0.5 A at 220 V)", least=20, most=2000)] = 110.0
    warn_after_s: Annotated[float, number("staff are warned", least=1, most=60)] = 2.0
    open_after_s: Annotated[float, number("all open", least=2, most=120)] = 10.0


class RelayStuckOpenSection(Section, frozen=True):
    """A relay that should be closed, is found open and carries no current: the charge ends, the outlet is latched."""

    after_s: Annotated[float, number("found open for so long", least=0.5, most=10)] = 1.0


class ThermalRunawaySection(Section, frozen=True):
    """A battery whose power rises again although it should fall is heating up: the outlet opens, latched."""

    rise_share: Annotated[
        float,
        number("in the constant-voltage phase: so much above the lowest power, steps left out", least=0.05, most=1),
    ] = 0.15
    rise_w: Annotated[float, number("and at least so much: balancing and fans are no runaway", least=1, most=100)] = 6.0
    rise_for_s: Annotated[float, number("for so long", least=60, most=3600)] = 600.0
    taper_within_s: Annotated[
        float,
        number(
            "not used any more: a charge that never tapers ends at `charge.max_duration_s`", least=3600, most=86_400
        ),
    ] = 28_800.0


class RecloseStormSection(Section, frozen=True):
    """An outlet that trips repeatedly is latched, so that the next resident does not try it."""

    trips: Annotated[int, number("so many trips", least=2, most=20)] = 3
    within_s: Annotated[float, number("within so long", least=60, most=86_400)] = 3600.0


class CabinetHotSection(Section, frozen=True):
    """The air inside too hot: all outlets and the contactor open, the siren sounds, latched."""

    trip_c: Annotated[float, number("all open", least=45, most=90)] = 65.0
    warn_c: Annotated[float, number("no new charges, and staff are warned", least=40, most=85)] = 55.0


class RelayWeldedSection(Section, frozen=True):
    """Current through an open relay: the contactor opens, and the outlet is latched."""

    current_a: Annotated[float, number("more than this with the relay open is a weld", least=0.02, most=1)] = 0.1
    after_s: Annotated[float, number("given to the relay and the meter before the check", least=0.05, most=2)] = 0.1


class GuardLateSection(Section, frozen=True):
    """If the guard's loop is late it cannot protect: all outlets open until it is on time."""

    after_s: Annotated[float, number("a tick later than this opens all outlets", least=0.01, most=0.5)] = 0.05


class VoltageSection(Section, frozen=True):
    """Outside these limits charges are suspended and none begins; they continue after a while inside."""

    lowest_v: Annotated[float, number("undervoltage below", least=50, most=240)] = 176.0
    highest_v: Annotated[float, number("overvoltage above", least=100, most=300)] = 264.0
    after_s: Annotated[float, number("outside for so long suspends", least=0.2, most=10)] = 1.0
    back_s: Annotated[float, number("inside for so long before anything closes again", least=1, most=600)] = 60.0


class ProtectionsSection(Section, frozen=True):
    """Limits of the protection functions; `docs/safety-case.md` gives the hazard of each."""

    short_circuit: ShortCircuitSection = ShortCircuitSection()
    overcurrent: OvercurrentSection = OvercurrentSection()
    overpower: OverpowerSection = OverpowerSection()
    residual_current: ResidualCurrentSection = ResidualCurrentSection()
    voltage: VoltageSection = VoltageSection()
    outlet_hot: OutletHotSection = OutletHotSection()
    cabinet_hot: CabinetHotSection = CabinetHotSection()
    sensor_lost: SensorLostSection = SensorLostSection()
    sensor_reset: SensorResetSection = SensorResetSection()
    sensor_frozen: SensorFrozenSection = SensorFrozenSection()
    sensor_disagrees: SensorDisagreesSection = SensorDisagreesSection()
    relay_welded: RelayWeldedSection = RelayWeldedSection()
    relay_stuck_open: RelayStuckOpenSection = RelayStuckOpenSection()
    thermal_runaway: ThermalRunawaySection = ThermalRunawaySection()
    reclose_storm: RecloseStormSection = RecloseStormSection()
    guard_late: GuardLateSection = GuardLateSection()
