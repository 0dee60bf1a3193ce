"""Read-back: compares the relays' commands with the latches and the pins of the expanders."""

import logging
from typing import NamedTuple

from cabinet.guard.outlet import OutletUnit
from cabinet.relays import EXPANDER_RESET, RelayBank

log = logging.getLogger(__name__)


class ReadBack(NamedTuple):
    """Findings of a check that need action."""

    lost: list[int]  # outlets that were closed when their expander lost its set-up
    reset: set[int]  # the addresses of such expanders
    unknown: set[int]  # outlets commanded to open, with an output that could not be read


def read_back(relays: RelayBank, units: list[OutletUnit], now_ns: int) -> ReadBack:
    """Compare every output; note in each unit since when an outlet commanded to close is found open.

    `relay_stuck_open` judges that. If an outlet commanded to open is found closed, the bank opens it again.
    """
    found = ReadBack([], set(), set())
    found_open: set[int] = set()
    for mismatch in relays.check_outputs():
        log.error("outlet %d: output read-back: %s", mismatch.outlet, mismatch.problem)
        if mismatch.problem == EXPANDER_RESET:
            found.reset.update(relays.expander_of(mismatch.outlet))
            if mismatch.commanded_closed:
                found.lost.append(mismatch.outlet)
        elif mismatch.found_closed is None and not mismatch.commanded_closed:
            found.unknown.add(mismatch.outlet)
        elif mismatch.commanded_closed and mismatch.found_closed is False:
            found_open.add(mismatch.outlet)
    for unit in units:
        since_ns = unit.inputs.found_open_at_ns
        unit.inputs.found_open_at_ns = (since_ns or now_ns) if unit.number in found_open else None
    return found
