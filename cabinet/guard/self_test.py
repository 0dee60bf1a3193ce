"""Self-test before any outlet may close: clicks each relay while the contactor keeps the power off.

It finds a relay with an output that does not follow before a paying resident does. Current that flows despite the open
contactor is found by `contactor_welded`, which watches all the time.
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
    """Self-test: `step` once a tick until `done`; `failed` lists outlets with an output that did not follow."""

    def __init__(self, relays: RelayBank, outlets: list[int], from_ns: int = 0) -> None:
        """Begin no click before `from_ns`: a contactor that was just commanded to open still conducts."""
        self._relays = relays
        self._left = list(outlets)
        self._clicked: int | None = None
        self._next_ns = from_ns
        self.failed: list[int] = []
        self.done = False

    def step(self, now_ns: int) -> None:
        """Do the work that is due."""
        if now_ns < self._next_ns:
            return
        if self._clicked is not None:
            self._check_output(self._clicked)
            self._relays.release(self._clicked, "self-test")
            self._clicked = None
            self._next_ns = now_ns + OPEN_NS
        elif self._left:
            self._click(self._left.pop(0), now_ns)
        else:
            self.done = True  # the last relay, too, has had its time to open

    def _click(self, outlet: int, now_ns: int) -> None:
        try:
            self._relays.hold(outlet, now_ns + LEASE_NS)
        except CabinetError as error:
            log.error("self-test: outlet %d: %s", outlet, error)  # its expander is tried again once a second
            return
        self._clicked = outlet
        self._next_ns = now_ns + CLOSED_NS

    def _check_output(self, outlet: int) -> None:
        """Check the output of the clicked relay; a bus that does not answer proves nothing about the relay."""
        for mismatch in self._relays.check_outputs():
            if mismatch.outlet == outlet and mismatch.found_closed is False:
                log.error("self-test: outlet %d: commanded to close, found open (%s)", outlet, mismatch.problem)
                self.failed.append(outlet)
