"""The guard's own test before anything may be closed: each relay is clicked while the contactor keeps the power away.

A relay whose output does not follow is found here, and not by the resident who pays for it. Current that flows in spite
of the open contactor is found by `contactor_welded`, which watches all the time.
"""

import logging

from cabinet.clock import MS
from cabinet.errors import CabinetError
from cabinet.relays import RelayBank

log = logging.getLogger(__name__)

CLOSED_NS = 12 * MS  # a relay operates in 7 ms
OPEN_NS = 8 * MS
LEASE_NS = 50 * MS


class SelfTest:
    """`step` once a tick until `done`; `failed` are the outlets whose output did not follow."""

    def __init__(self, relays: RelayBank, outlets: list[int], from_ns: int = 0) -> None:
        """The first click not before `from_ns`: a contactor that has just been told to open still conducts."""
        self._relays = relays
        self._left = list(outlets)
        self._clicked: int | None = None
        self._next_ns = from_ns
        self.failed: list[int] = []
        self.done = False

    def step(self, now_ns: int) -> None:
        """What is due."""
        if now_ns < self._next_ns:
            return
        if self._clicked is not None:
            self._look(self._clicked)
            self._relays.release(self._clicked, "self-test")
            self._clicked = None
            self._next_ns = now_ns + OPEN_NS
        elif self._left:
            self._click(self._left.pop(0), now_ns)
        else:
            self.done = True  # and the last relay has had its time to open

    def _click(self, outlet: int, now_ns: int) -> None:
        try:
            self._relays.hold(outlet, now_ns + LEASE_NS)
        except CabinetError as error:
            log.error("self-test: outlet %d: %s", outlet, error)  # its expander is tried again once a second
            return
        self._clicked = outlet
        self._next_ns = now_ns + CLOSED_NS

    def _look(self, outlet: int) -> None:
        """A bus that does not answer says nothing about the relay."""
        for mismatch in self._relays.check_outputs():
            if mismatch.outlet == outlet and mismatch.found_closed is False:
                log.error("self-test: outlet %d: told to close, found open (%s)", outlet, mismatch.problem)
                self.failed.append(outlet)
