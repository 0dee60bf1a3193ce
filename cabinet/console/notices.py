"""What a technician is told without asking, where asked for: what changed between two looks at the cabinet. Pure."""

import msgspec

from cabinet.model import CABINET, Fault, Snapshot


class Notice(msgspec.Struct, frozen=True):
    """`code` has a text `notice.<code>`; `outlet` 0 is the cabinet as a whole."""

    code: str
    outlet: int = CABINET
    fault: Fault | None = None
    latched: bool = False


class Seen(msgspec.Struct, frozen=True):
    """One look. `snapshot` None: no guard answers; `hindrance`: what the service has against new charges."""

    snapshot: Snapshot | None
    hindrance: str | None


def changes(before: Seen, now: Seen) -> list[Notice]:
    """What is different and worth a word."""
    found: list[Notice] = []
    if (before.snapshot is None) != (now.snapshot is None):
        found.append(Notice("guard_gone" if now.snapshot is None else "guard_back"))
    if before.hindrance != now.hindrance:
        found.append(Notice("service_back" if now.hindrance is None else f"service_{now.hindrance}"))
    if before.snapshot is None or now.snapshot is None:
        return found
    was, is_ = before.snapshot, now.snapshot
    if was.contactor_closed != is_.contactor_closed:
        found.append(Notice("contactor_closed" if is_.contactor_closed else "contactor_open"))
    if was.fault is not is_.fault:
        found.append(_fault(CABINET, is_.fault, is_.latched))
    faults = {state.outlet: state.fault for state in was.outlets}
    found += [
        _fault(state.outlet, state.fault, state.latched)
        for state in is_.outlets
        if faults.get(state.outlet) is not state.fault
    ]
    return found


def _fault(outlet: int, fault: Fault | None, latched: bool) -> Notice:
    return Notice("fault_over", outlet) if fault is None else Notice("fault", outlet, fault, latched)
