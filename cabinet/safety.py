"""The protections in their order: inputs are readings and time, outputs are verdicts.

Pure: no code here waits, reads a clock, or depends on relays, buses or sessions. Each protection is a small object in
`cabinet.protections` with its own limits and state; it returns the numbers that tripped it. Only the order of
`model.Fault` decides which fault is reported if several trip at once.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from cabinet.model import Fault, Trip
from cabinet.protections.feed_overload import FeedOverload
from cabinet.protections.inputs import CabinetInputs, Configuration, OutletInputs, OutletProtection
from cabinet.protections.outlet_hot import OutletHot
from cabinet.protections.reclose_storm import RecloseStorm
from cabinet.protections.table import CABINET_PROTECTIONS, PROTECTIONS

P = TypeVar("P", bound=OutletProtection)
Step = Callable[[OutletInputs], dict[str, int] | None]
SLOW_NS = 100_000_000


class OutletSafety:
    """All protections of one outlet, in the order of the table."""

    def __init__(self, config: Configuration, outlet: Any) -> None:
        """Set up every protection with the limits in `config`; `outlet` is the outlet's own section of it."""
        self._all = tuple(kind(config, outlet) for kind in PROTECTIONS)
        self._by_fault = {protection.fault: protection for protection in self._all}
        self._hot, self._storm = self.of(OutletHot), self.of(RecloseStorm)
        self._each_tick = [each.step for each in self._all if each.each_tick]
        usual = [each for each in self._all if each.each_tick and not each.only_unusual]
        self._usual_open = [each.step for each in usual]
        self._usual_closed = [each.step for each in usual if not each.open_only]
        self._slow = [each.step_slow if each.each_tick else each.step for each in self._all if _judges_slow(each)]
        self._owners: dict[Step, OutletProtection] = {
            step: each for each in self._all for step in (each.step, each.step_slow)
        }
        self._slow_read = -1
        self._slow_due_ns = 0
        self._warned = False

    def of(self, kind: type[P]) -> P:
        """Return the outlet's own protection of a kind, for its limits."""
        protection = self._by_fault[kind.fault]
        assert isinstance(protection, kind)
        return protection

    def step(self, inputs: OutletInputs) -> Trip | None:
        """Return the trip of the first protection in the table that trips now.

        All protections that are due are stepped, so each keeps its state: those based on peaks always, the others with
        every new reading, and at least every `SLOW_NS`.
        """
        found: tuple[Step, dict[str, int]] | None = None
        steps = self._usual_closed if inputs.closed else self._usual_open
        if (
            inputs.late_ns
            or inputs.found_open_at_ns is not None
            or inputs.reset_at_ns is not None
            or inputs.thermometer_reset_at_ns is not None
        ):
            steps = self._each_tick
        for step in steps:
            if (why := step(inputs)) is not None:
                found = found or (step, why)
        if inputs.slow_reads != self._slow_read or inputs.at_ns >= self._slow_due_ns:
            self._slow_read = inputs.slow_reads
            self._slow_due_ns = inputs.at_ns + SLOW_NS
            for step in self._slow:
                if (why := step(inputs)) is not None:
                    found = found or (step, why)
        return None if found is None else self._trip(inputs, *found)

    def _trip(self, inputs: OutletInputs, step: Step, numbers: dict[str, int]) -> Trip:
        tripped = self._owners[step]
        outlet = None if tripped.whole_cabinet else inputs.outlet
        return Trip(tripped.fault, outlet, inputs.at_ns, tripped.latched, numbers, tripped.suspends)

    def tripped(self, trip: Trip) -> None:
        """Note that `trip` opened this outlet; after too many of its own, the next step reports a reclose storm."""
        if trip.outlet is not None and not trip.suspends and trip.fault is not Fault.RECLOSE_STORM:
            self._storm.note(trip.at_ns)

    @property
    def recent_trips_ns(self) -> list[int]:
        """Times of the trips that count towards a reclose storm, to be kept for the next guard."""
        return self._storm.trips_ns

    @recent_trips_ns.setter
    def recent_trips_ns(self, moments_ns: list[int]) -> None:
        self._storm.reset()
        for at_ns in moments_ns:
            self._storm.note(at_ns)

    def newly_warm(self, inputs: OutletInputs) -> bool:
        """Return True once when the contacts reach the warning threshold; again only after they have cooled."""
        if self._hot.warm(inputs):
            was, self._warned = self._warned, True
            return not was
        self._warned = self._warned and self._hot.present(inputs)
        return False

    def present(self, fault: Fault, inputs: OutletInputs) -> bool:
        """Return whether the cause of `fault` is still there; False if it is not a fault of an outlet."""
        protection = self._by_fault.get(fault)
        return protection is not None and protection.present(inputs)

    def reset(self, fault: Fault | None = None) -> None:
        """Reset the state of one protection, or of all."""
        for protection in self._all:
            if fault is None or protection.fault is fault:
                protection.reset()

    def forget_before_closing(self) -> None:
        """Reset the protections for which readings from before the relay closed do not count."""
        for protection in self._all:
            if protection.forgets_on_closing:
                protection.reset()


def _judges_slow(protection: OutletProtection) -> bool:
    return not protection.each_tick or type(protection).step_slow is not OutletProtection.step_slow


class CabinetSafety:
    """All protections of the cabinet as a whole, in the order of the table."""

    def __init__(self, config: Configuration) -> None:
        self._all = tuple(kind(config) for kind in CABINET_PROTECTIONS)
        self._by_fault = {protection.fault: protection for protection in self._all}
        self._each_tick = [protection for protection in self._all if protection.each_tick]
        self._feed = next(protection for protection in self._all if isinstance(protection, FeedOverload))
        self._warned: set[Fault] = set()

    def step(self, inputs: CabinetInputs, slow: bool = True) -> Trip | None:
        """Return the first trip, or None; it names an outlet if only that one is to open.

        Without `slow`, only the protections of each tick are stepped.
        """
        verdict: Trip | None = None
        for protection in self._all if slow else self._each_tick:
            why = protection.step(inputs)
            if why is not None and verdict is None:
                outlet = why.pop("outlet", None)
                verdict = Trip(protection.fault, outlet, inputs.at_ns, protection.latched, why)
        return verdict

    def newly_warning(self, inputs: CabinetInputs) -> list[Fault]:
        """Return the faults that staff should know before they trip, each once until its cause is gone."""
        warning = {protection.fault for protection in self._all if protection.warns(inputs)}
        new, self._warned = warning - self._warned, warning
        return sorted(new, key=lambda fault: fault.value)

    def sounds_siren(self, fault: Fault) -> bool:
        return self._by_fault[fault].siren

    def present(self, fault: Fault, inputs: CabinetInputs) -> bool:
        return self._by_fault[fault].present(inputs)

    def feed_full(self, inputs: CabinetInputs) -> bool:
        """Return whether the feed has no power for another charge."""
        return self._feed.full(inputs)
