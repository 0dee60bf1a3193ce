"""The cabinet as a whole in the guard: alarm contacts, the feed, the air inside, the siren."""

from cabinet.clock import NS
from cabinet.config.keys import Config
from cabinet.guard.contacts import Contacts
from cabinet.guard.outlet import OutletUnit, aged
from cabinet.guard.residual import ResidualTest
from cabinet.model import ABSENT, CABINET, Fault, Phase, Trip
from cabinet.protections.inputs import CabinetInputs, OutletLoad, PeakWindow
from cabinet.safety import CabinetSafety
from cabinet.sections import nanoseconds

KNOWN_NS = 30 * NS  # by then a charger that starts softly shows its final power
SLOW_STEP_NS = NS // 10  # loads change slowly; contacts and windows are read on each tick
JUDGE_STEP_NS = NS // 50  # the protections that judge neither: they wait for seconds


class CabinetUnit:
    """Cabinet-wide state. Opening and closing belong to `Switching`."""

    number = CABINET

    def __init__(self, config: Config, contacts: Contacts) -> None:
        self._contacts = contacts
        self._slow_due_ns = self._judge_due_ns = 0
        self._residual_test_fitted = contacts.residual_test_fitted
        self.inputs = CabinetInputs()
        for name, alarm in contacts.alarms.items():
            setattr(self.inputs, name, alarm)
        self.safety = CabinetSafety(config)
        residual = config.protections.residual_current
        self.residual_test = ResidualTest(nanoseconds(residual.test_every_s), nanoseconds(residual.test_s))
        self.fault: Fault | None = None
        self.latched = False
        self.trip_values: dict[str, int] = {}
        self.siren = False

    def note_window(self, window: PeakWindow) -> None:
        """Note a peak read in this tick while the contactor is open: the highest counts."""
        inputs = self.inputs
        if inputs.highest_window is None or window.peak_ma > inputs.highest_window.peak_ma:
            inputs.highest_window = window

    def step(self, now_ns: int, units: list[OutletUnit]) -> Trip | None:
        """Read the contacts, run the residual test, run the protections. The windows noted so far are used up."""
        inputs, contacts = self.inputs, self._contacts
        if (read := contacts.read_next()) is not None:
            setattr(inputs, *read)
        inputs.at_ns = now_ns
        count = now_ns >= self._slow_due_ns
        if self._residual_test_fitted and (count or self.residual_test.active):
            self._test_residual(now_ns, units)
        if count:
            self.count_loads(now_ns, units)
        slow = now_ns >= self._judge_due_ns
        if slow:
            self._judge_due_ns = now_ns + JUDGE_STEP_NS
        trip = self.safety.step(inputs, slow)
        inputs.highest_window = None
        return trip

    def count_loads(self, now_ns: int, units: list[OutletUnit]) -> None:
        """Update each outlet's load on the feed: ten times a second, and before each start."""
        self._slow_due_ns = now_ns + SLOW_STEP_NS
        self.inputs.loads = [_load(unit, now_ns) for unit in units]
        currents = [aged(unit.inputs.current_ma, now_ns, unit.slow_lost_ns) for unit in units if _moves(unit)]
        self.inputs.highest_current_ma = max(currents, key=lambda each: each.value or 0, default=ABSENT)

    def _test_residual(self, now_ns: int, units: list[OutletUnit]) -> None:
        test, inputs = self.residual_test, self.inputs
        idle = all(unit.charge is None for unit in units)
        self._contacts.test_residual(test.step(now_ns, inputs.residual is True, idle))
        inputs.residual_testing, inputs.residual_test_failed = test.active, test.failed

    @property
    def feed_full(self) -> bool:
        """Return whether the feed has no power for another charge."""
        return self.safety.feed_full(self.inputs)

    def present(self, fault: Fault) -> bool:
        """Return whether the cause of a fault of the whole cabinet is there."""
        return self.safety.present(fault, self.inputs)

    def trip(self, trip: Trip) -> None:
        """Store the reason why everything is open; sound the siren for faults in which people must leave."""
        self.fault, self.latched, self.trip_values = trip.fault, True, trip.trip_values
        self.sound(self.safety.sounds_siren(trip.fault))

    def keeps_first_reason(self, fault: Fault) -> bool:
        """Return whether a latch keeps its reason when `fault` is found too.

        Two come on top: one that begins the siren, and a welded contactor, as only the upstream breaker ends it. Others
        would silence the siren: a fire may burn the monitor's wire.
        """
        if not self.latched or self.fault is fault:
            return self.latched
        return fault is not Fault.CONTACTOR_WELDED and (self.siren or not self.safety.sounds_siren(fault))

    def remember(self, fault: Fault, why: dict[str, int]) -> None:
        """Restore a latch from before the guard's start; the siren does not sound for it again."""
        self.fault, self.latched, self.trip_values = fault, True, why

    def clear(self) -> Fault | None:
        """Clear the latch for staff and return its fault. A cause that is still there trips again at once."""
        cleared, self.fault = self.fault, None
        self.latched, self.trip_values = False, {}
        self.residual_test.reset()
        self.sound(False)
        return cleared

    def sound(self, on: bool) -> None:
        self.siren = on
        self._contacts.sound(on)


def _moves(unit: OutletUnit) -> bool:
    """Return whether the RMS is measured: a frozen register holds a current from before it froze."""
    return unit.fault is not Fault.SENSOR_FROZEN and unit.inputs.current_unmoved == 0


def _load(unit: OutletUnit, now_ns: int) -> OutletLoad:
    closed_at_ns = unit.inputs.switched_at_ns if unit.charge is not None else None
    charging = unit.charge is not None and unit.charge.phase is Phase.CHARGING
    known = closed_at_ns is not None and charging and now_ns - closed_at_ns >= KNOWN_NS
    return OutletLoad(unit.number, unit.power_mw(now_ns), closed_at_ns, known)
