"""What a relay cannot break, the contactor breaks: contactor open, relay open without current, contactor closed again.

The contacts of a relay that part on more than it can break weld together, and then nothing ever opens them. The other
outlets' relays stay closed meanwhile: they are without power for `contactor_release` and `relay_release`.
"""

import math

from cabinet.clock import MS
from cabinet.config.keys import Config
from cabinet.guard.limits import milli, nanoseconds
from cabinet.model import Fault, Trip
from cabinet.relays import RelayBank

LONGEST_NS = 500 * MS  # the others have waited long enough: their charges end


class Breaking:
    """At most one sequence at a time; an outlet that trips during it opens at once, as no current flows."""

    def __init__(self, config: Config, relays: RelayBank) -> None:
        self._relays = relays
        self._limit_ma = milli(math.sqrt(2) * config.hardware.relay_breaking_a)
        self._short_ma = milli(config.protections.short_circuit.peak_a)
        self._contactor_ns = nanoseconds(config.hardware.contactor_release_s)
        self._relay_ns = nanoseconds(config.hardware.relay_release_s)
        self._outlet: int | None = None
        self._reason = ""
        self._began_ns = 0
        self._released_ns: int | None = None

    @property
    def active(self) -> bool:
        return self._outlet is not None

    def needed(self, trip: Trip, recent_peak_ma: int) -> bool:
        """Whether the outlet's own relay should not break this, or nobody can say that it may.

        A short may be found first by the heat that it makes in a wire that was warm: whatever the name, a peak above a
        short's limit in the last tenth of a second has a crest that nobody may have seen.
        """
        if trip.fault is not Fault.SHORT_CIRCUIT:
            return self.possible and recent_peak_ma > self._short_ma
        if not self.possible:
            return False
        highest_ma = max(trip.why["peak_ma"], trip.why.get("crest_ma", self._limit_ma + 1))
        return highest_ma > self._limit_ma

    @property
    def possible(self) -> bool:
        """There is a contactor to break it, and it is closed."""
        return self._relays.has_contactor and self._relays.contactor_closed

    def begin(self, outlet: int, reason: str, now_ns: int) -> None:
        """The contactor opens now; the relay of `outlet` when no current flows any more."""
        self._outlet, self._reason = outlet, reason
        self._began_ns, self._released_ns = now_ns, None
        self._relays.open_contactor()

    def step(self, now_ns: int) -> bool:
        """What is due; True once when the relay is open and the contactor may close again."""
        if self._outlet is None:
            return False
        if self._released_ns is None:
            if now_ns - self._began_ns < self._contactor_ns:
                return False
            self._relays.release(self._outlet, self._reason)  # what went wrong is in `unsent`, and tried again
            self._released_ns = now_ns
        if now_ns - self._released_ns < self._relay_ns or self._relays.unsent:
            return False
        self._outlet = None
        return True

    def overdue(self, now_ns: int) -> bool:
        """Whether the relay still cannot be opened after so long that nobody can be kept waiting for it."""
        return self._outlet is not None and bool(self._relays.unsent) and now_ns - self._began_ns > LONGEST_NS

    def give_up(self) -> None:
        """The contactor stays open until whatever is in the way has gone."""
        self._outlet = None
