"""Contactor break, for currents too high for a relay: contactor opens, relay opens without current, contactor closes.

If relay contacts part on a current above their breaking capacity, they weld together and can never be opened again. The
relays of the other outlets stay closed meanwhile: these have no power for `contactor_release` and `relay_release`.

A command to open takes time: the contactor conducts until its release time has passed. Every relay commanded to open
meanwhile, for any reason, waits for that; and the contactor closes again only after the read-back of each relay that
was opened.
"""

import math
from collections.abc import Callable, Collection

from cabinet.clock import MS
from cabinet.config.keys import Config
from cabinet.errors import BusError
from cabinet.model import Fault, Trip
from cabinet.relays import RelayBank
from cabinet.sections import milli, nanoseconds

MAX_BREAK_NS = 500 * MS  # after this time the other outlets have waited long enough: their charges end
CHECK_AGAIN_NS = 20 * MS  # a failed read-back may have cost an adapter timeout


class ContactorBreak:
    """Sequencer of contactor breaks, one at a time; a relay commanded to open meanwhile waits in it, or joins it."""

    def __init__(
        self, config: Config, relays: RelayBank, carries_short: Callable[[int], bool], free_bus: Callable[[], None]
    ) -> None:
        """Take the parts. `carries_short` returns whether an outlet carries a current over the short-circuit limit now;
        `free_bus` frees a bus that hangs."""
        self._relays = relays
        self._limit_ma = milli(math.sqrt(2) * config.hardware.relay_breaking_a)
        self._short_ma = milli(config.protections.short_circuit.peak_a)
        self._contactor_ns = nanoseconds(config.hardware.contactor_release_s)
        self._relay_ns = nanoseconds(config.hardware.relay_release_s)
        self._commanded_open_at_ns: int | None = None  # command to open; None: it is closed, or none is fitted
        self._waiting: dict[int, str] = {}  # outlets to be opened when the contactor has released, and the reason
        self._opened: set[int] = set()  # outlets of this sequence with relays commanded to open
        self._began_ns = 0
        self._released_ns = 0
        self._next_check_ns = 0
        self._carries_short = carries_short
        self._free_bus = free_bus
        self.unchecked: set[int] = set()  # of an abandoned sequence: relays not yet read back as open

    @property
    def active(self) -> bool:
        return bool(self._waiting or self._opened)

    def needed(self, trip: Trip, greatest_ma: int | None) -> bool:
        """Return whether the outlet's own relay should not break this current.

        `greatest_ma` is the greatest of all witnesses; None: unknown, which counts as great. Another fault may trip
        before the short is recognised, for example through the heat of the short in a wire that was warm: whatever the
        fault, a peak above the short-circuit limit in the last 0.1 s has a crest that may not have been measured.
        """
        if not self.possible:
            return False
        if greatest_ma is None or trip.fault is Fault.SENSOR_FROZEN:  # a frozen sensor measures nothing
            return True
        if trip.fault is not Fault.SHORT_CIRCUIT:
            return greatest_ma > self._short_ma
        crest_ma = trip.trip_values.get("crest_ma")
        return crest_ma is None or max(crest_ma, trip.trip_values["peak_ma"], greatest_ma) > self._limit_ma

    @property
    def possible(self) -> bool:
        """Return whether a contactor is fitted that can break the current, and is closed."""
        return self._relays.has_contactor and self._relays.contactor_closed

    def note_contactor_command(self, open_at_ns: int | None) -> None:
        """Note that the contactor is commanded to open at that time, for any reason; None: to close."""
        self._commanded_open_at_ns = open_at_ns

    def conducts(self, now_ns: int) -> bool:
        """Return whether the contactor was commanded to open and may not have done so yet."""
        commanded_ns = self._commanded_open_at_ns
        return commanded_ns is not None and now_ns - commanded_ns < self._contactor_ns

    def begin(self, outlet: int, reason: str, now_ns: int) -> None:
        """Open the contactor now, and the relay of `outlet` when no current flows any more."""
        self._commanded_open_at_ns = now_ns
        self.add(outlet, reason, now_ns)
        self._relays.open_contactor()

    def release(self, outlet: int, reason: str, now_ns: int) -> list[Exception]:
        """Open a relay now, or when a contactor that was commanded to open has released. Return the errors."""
        if outlet in self._waiting:
            return []
        closed = self._relays.is_closed(outlet)
        if closed and self.conducts(now_ns):
            self.add(outlet, reason, now_ns)
            return []
        errors = self._relays.release(outlet, reason)
        if any(map(_hung, errors)):  # a chip on some segment may hold the bus of the expander
            self._free_bus()
            errors = self._relays.release(outlet, reason)
        if closed and self.active:
            self._note_opened(outlet, now_ns)
        return errors

    def open_all(self, heavy: Collection[int], reason: str, now_ns: int) -> list[Exception]:
        """Open contactor and relays, those of `heavy` when the contactor has released. Return the errors."""
        waiting = set(self._waiting)
        if self.conducts(now_ns):
            waiting |= {outlet for outlet in heavy if self._relays.is_closed(outlet)}
        else:
            self._waiting.clear()  # its time has passed, and it is welded: only the relays are left
            waiting.clear()
        for outlet in waiting:
            self.add(outlet, reason, now_ns)
        errors = self._relays.open_all(reason, but=waiting)
        if any(map(_hung, errors)):
            self._free_bus()  # unsent commands are sent again in the next tick
        return errors

    def add(self, outlet: int, reason: str, now_ns: int) -> None:
        """Open the relay of `outlet` when the contactor has released; its lease lasts until then, and no longer."""
        if not self.active:
            self._began_ns = now_ns
        self._waiting.setdefault(outlet, reason)
        if self._relays.is_closed(outlet):
            self._relays.hold(outlet, now_ns + 3 * self._contactor_ns)

    def _note_opened(self, outlet: int, now_ns: int) -> None:
        """Note a relay opened while the contactor is open: it, too, is checked before the contactor closes."""
        self._opened.add(outlet)
        self._released_ns = now_ns

    def step(self, now_ns: int) -> bool:
        """Do the work that is due. Return True once every relay of the sequence is open and the contactor may close."""
        if self._waiting:
            if self.conducts(now_ns) or self._still_flows(now_ns):
                return False
            for outlet, reason in self._waiting.items():
                self._relays.release(outlet, reason)  # failures are in `unsent`, and tried again
                self._note_opened(outlet, now_ns)
            self._waiting.clear()
        if not self._opened or now_ns - self._released_ns < self._relay_ns or self._relays.unsent:
            return False
        if now_ns < self._next_check_ns:
            return False
        if not self._read_back():
            self._next_check_ns = now_ns + CHECK_AGAIN_NS
            return False
        self._opened.clear()
        return True

    def _still_flows(self, now_ns: int) -> bool:
        """Return whether to wait once more for a contactor that is too slow; after that, only the relays are left."""
        commanded_ns = self._commanded_open_at_ns
        if commanded_ns is None or now_ns - commanded_ns >= 2 * self._contactor_ns:
            return False
        return any(self._carries_short(outlet) for outlet in self._waiting)

    def _read_back(self) -> bool:
        """Return whether each opened relay is found open; the bank opens one again that is found closed."""
        return not any(m.outlet in self._opened and m.found_closed is not False for m in self._relays.check_outputs())

    def overdue(self, now_ns: int) -> bool:
        """Return whether a relay is still not known to be open after the longest time that the others can wait."""
        return self.active and now_ns - self._began_ns > MAX_BREAK_NS

    def give_up(self) -> None:
        """Abandon the sequence: the contactor stays open until the relays are found open."""
        self.unchecked |= self._opened
        self._opened.clear()


def _hung(error: Exception) -> bool:
    """Return whether the bus did not move at all, as when a chip on some segment holds it."""
    return isinstance(error, BusError) and not error.absent
