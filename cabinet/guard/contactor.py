"""The cabinet's contactor: self-test while it is open, contactor breaks, staff's lockout, weld check after closing.

A cabinet without a contactor has power all the time; only its weld check is made here.
"""

from collections.abc import Callable

from cabinet.clock import MS, Clock
from cabinet.config.keys import Config
from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.contactor_break import ContactorBreak
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.self_test import SelfTest
from cabinet.model import Fault
from cabinet.relays import RelayBank
from cabinet.sections import nanoseconds

# Time after the contactor closed until a welded relay is visible, even if the charger behind it starts softly (0.8 s).
# The other witness, the RMS, has fallen after 0.7 s and takes four readings of 0.19 s (ten outlets) or 0.5 s (forty).
SETTLE_NS, SETTLE_OF_MANY_NS, MANY = 2000 * MS, 2800 * MS, 20


class ContactorControl:
    """State of the contactor; it closes only in `restore_power`. Charges are ended by `Switching`."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        relays: RelayBank,
        units: list[OutletUnit],
        cabinet: CabinetUnit,
        free_bus: Callable[[], None],
    ) -> None:
        """Take the parts. `free_bus` frees a bus that hangs when a relay is commanded to open."""
        self._relays = relays
        self._units = units
        self._cabinet = cabinet
        by_number = {unit.number: unit for unit in units}
        self.breaks = ContactorBreak(
            config, relays, lambda outlet: by_number[outlet].carries_short(clock.monotonic_ns()), free_bus
        )
        self._release_ns = nanoseconds(config.hardware.contactor_release_s)
        self._self_test: SelfTest | None = None
        self._ready_at_ns: int | None = None  # end of the weld check; None: the contactor has not closed yet
        self.locked_out = False  # by staff
        self.self_test_failed: list[int] = []  # of the last self-test

    @property
    def self_testing(self) -> bool:
        return self._self_test is not None

    @property
    def busy(self) -> bool:
        """Return whether a self-test or a contactor break is running: nothing else may move contactor or relays."""
        return self.self_testing or self.breaks.active

    def settled(self, now_ns: int) -> bool:
        """Return whether the weld check after the last closing is over."""
        return self._ready_at_ns is not None and now_ns >= self._ready_at_ns

    def welded(self) -> bool:
        """Return whether the relay of an outlet has welded and staff have not cleared that yet."""
        return any(unit.latched and unit.fault is Fault.RELAY_WELDED for unit in self._units)

    # --- Self-test --------------------------------------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Begin the self-test if there is a contactor: it keeps the power off meanwhile and closes afterwards."""
        self._note_switched(now_ns)
        if self._relays.has_contactor:
            self._note_command(now_ns)  # the previous guard may have left it closed until just now
            self.begin_self_test()
        else:
            self.restore_power(now_ns)

    def begin_self_test(self, outlets: list[int] | None = None) -> None:
        """Begin a self-test, by default of all outlets without a latch.

        Only while the contactor is open: a click would power an outlet.
        """
        if outlets is None:
            outlets = [unit.number for unit in self._units if not unit.latched]
        self.self_test_failed = []
        open_at_ns = self._cabinet.inputs.contactor_open_at_ns
        from_ns = 0 if open_at_ns is None else open_at_ns + 2 * self._release_ns
        self._self_test = SelfTest(self._relays, outlets, from_ns)

    def click_relays(self, outlets: list[int], now_ns: int) -> None:
        """Open the contactor and click these relays; every outlet is open already."""
        self.open(now_ns)
        self.begin_self_test(outlets)

    def step_self_test(self, now_ns: int) -> bool:
        """Advance the self-test. Return True when it has just ended: see `self_test_failed`."""
        test = self._self_test
        if test is None:
            return False
        if self._cabinet.latched:  # everything was opened; with a welded contactor a click would power an outlet
            self._self_test = None
            return False
        if self.breaks.active:  # the relays of the contactor break open first
            return False
        test.step(now_ns)
        self._note_switched(now_ns)  # a click is no weld
        if test.done:
            self._self_test = None
            self.self_test_failed = list(test.failed)
        return test.done

    # --- Opening and closing ----------------------------------------------------------------------------------------

    def begin_break(self, outlet: int, reason: str, now_ns: int) -> None:
        """Begin a contactor break for a current that the outlet's relay may not be able to break."""
        self.note_opening(now_ns)
        self.breaks.begin(outlet, reason, now_ns)

    def open(self, now_ns: int) -> None:
        """Open the contactor; a new weld check is made after it has closed again."""
        self.note_opening(now_ns)
        self._ready_at_ns = None
        self._relays.open_contactor()

    def note_opening(self, now_ns: int) -> None:
        """Note that the contactor is about to open, if it is not open already."""
        if self.breaks.possible:
            self._note_command(now_ns)

    def release_lockout(self) -> None:
        """Let the contactor close again, after a self-test, if nothing else holds it open."""
        if self.locked_out:
            self.locked_out = False
            if not self._cabinet.latched and not self.busy:
                self.begin_self_test()

    def restore_power(self, now_ns: int) -> None:
        """Close the contactor again if nothing holds it open; a new weld check begins."""
        held = self.busy or self.locked_out or self._cabinet.latched
        if held or self._relays.unsent or self.breaks.unchecked or self.welded():
            return
        if self._relays.contactor_closed and self._ready_at_ns is not None:
            return
        self._relays.close_contactor()
        for unit in self._units:  # each load draws its inrush again; with one before the break it would be a short
            unit.safety.reset(Fault.SHORT_CIRCUIT)
        self._note_command(None)
        self._ready_at_ns = now_ns + (SETTLE_NS if len(self._units) <= MANY else SETTLE_OF_MANY_NS)
        self._note_switched(now_ns)

    def _note_command(self, open_at_ns: int | None) -> None:
        self._cabinet.inputs.contactor_open_at_ns = open_at_ns
        self.breaks.note_contactor_command(open_at_ns)

    def _note_switched(self, now_ns: int) -> None:
        for unit in self._units:
            unit.inputs.switched_at_ns = now_ns
