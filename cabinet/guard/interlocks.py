"""Interlocks: may this outlet close? One ordered table of reasons against it; the first that applies is the answer.

The pre-close check is made at a request and again at the moment of closing, because an outlet may wait in the queue. A
request for an outlet in use is answered from its charge, before this check.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

from cabinet.clock import Clock
from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.contactor import ContactorControl
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.state_files import StateWriter
from cabinet.model import Fault
from cabinet.relays import RelayBank


class PreCloseCheck(enum.IntEnum):
    """Occasions of the check. Each includes the rows of those before it."""

    CLOSING = 1  # the relay is about to close
    TEST_CHARGE = 2  # staff request a test charge; they may also test an outlet that is out of service
    CHARGE = 3  # a resident's charge is requested


class Interlocks(NamedTuple):
    """The parts of the guard that the rows of the table read."""

    cabinet: CabinetUnit
    contactor: ContactorControl
    relays: RelayBank
    state_writer: StateWriter
    clock: Clock

    def interlock(self, unit: OutletUnit, check: PreCloseCheck) -> str | None:
        """Run the pre-close check. Return the code of the reason why `unit` may not close now, or None."""
        for row_check, code, applies in INTERLOCKS:
            if row_check <= check and applies(unit, self):
                return code
        return None


class Interlock(NamedTuple):
    """One row: the first check that includes it, its code (one of `model.REFUSALS`), its predicate."""

    check: PreCloseCheck
    code: str
    applies: Callable[[OutletUnit, Interlocks], bool]


def _present(unit: OutletUnit, fault: Fault, other: Fault | None = None) -> bool:
    present, inputs = unit.safety.present, unit.inputs
    return present(fault, inputs) or (other is not None and present(other, inputs))


def _voltage_out_of_band(unit: OutletUnit) -> bool:
    voltage_mv = unit.inputs.voltage_mv.value
    return voltage_mv is None or not unit.lowest_mv <= voltage_mv <= unit.highest_mv


_CLOSING, _TEST_CHARGE, _CHARGE = PreCloseCheck

INTERLOCKS: tuple[Interlock, ...] = (
    Interlock(_CLOSING, "fault_latched", lambda unit, _: unit.latched),
    Interlock(_CLOSING, "cabinet_fault", lambda _, parts: parts.cabinet.latched),
    # A latch set now would be lost with the next power cut.
    Interlock(_CLOSING, "state_unwritable", lambda _, parts: not parts.state_writer.writable),
    Interlock(_CLOSING, "contactor_open", lambda _, parts: parts.contactor.locked_out),
    Interlock(_CLOSING, "not_ready", lambda _, parts: not parts.contactor.settled(parts.clock.monotonic_ns())),
    Interlock(_CLOSING, "contactor_open", lambda _, parts: not parts.relays.contactor_closed),
    # Without a contactor nothing could cut the power of a welded relay: no outlet closes beside one.
    Interlock(_CLOSING, "relay_welded", lambda _, parts: parts.contactor.welded()),
    Interlock(_CLOSING, "relay_welded", lambda unit, _: _present(unit, Fault.RELAY_WELDED)),
    Interlock(_CLOSING, "sensor_lost", lambda unit, _: _present(unit, Fault.SENSOR_LOST)),
    Interlock(_CLOSING, "sensor_lost", lambda unit, _: unit.inputs.reset_at_ns is not None),
    Interlock(_CLOSING, "voltage_out_of_band", lambda unit, _: _voltage_out_of_band(unit)),
    # The voltage is back inside the band, but not for long enough.
    Interlock(_CLOSING, "voltage_out_of_band", lambda unit, _: _present(unit, Fault.OVERVOLTAGE, Fault.UNDERVOLTAGE)),
    # Contacts or wires have not cooled yet.
    Interlock(_CLOSING, "outlet_hot", lambda unit, _: _present(unit, Fault.OUTLET_HOT, Fault.OVERCURRENT)),
    Interlock(_CLOSING, "fault_present", lambda unit, _: unit.fault is not None),
    # A test of the residual-current monitor runs only while every outlet is open.
    Interlock(_TEST_CHARGE, "not_ready", lambda _, parts: parts.cabinet.inputs.residual_testing),
    Interlock(_TEST_CHARGE, "cabinet_hot", lambda _, parts: parts.cabinet.present(Fault.CABINET_HOT)),
    Interlock(_TEST_CHARGE, "feed_full", lambda _, parts: parts.cabinet.feed_full),
    Interlock(_CHARGE, "out_of_service", lambda unit, _: unit.note is not None),
    Interlock(_CHARGE, "not_ready", lambda unit, _: unit.reserved),
)
