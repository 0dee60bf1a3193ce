"""Unsolicited notices, if a technician has switched them on: changes between two checks of the cabinet."""

from collections.abc import Callable

import msgspec

from cabinet.clock import NS
from cabinet.console.command import GuardClient
from cabinet.errors import LinkError
from cabinet.model import CABINET, Fault, Snapshot
from cabinet.texts import Texts

CHECK_PERIOD_NS = NS  # interval of the checks


class Notice(msgspec.Struct, frozen=True):
    """`code` has a text `notice.<code>`; `outlet` 0 is the cabinet as a whole."""

    code: str
    outlet: int = CABINET
    fault: Fault | None = None
    latched: bool = False
    address: str | msgspec.UnsetType = msgspec.UNSET


class WatchedState(msgspec.Struct, frozen=True):
    """Result of one check. `snapshot` None: no guard answers; `hindrance`: code why the service takes no new charges.

    `attacker`: address of a recent attack on PINs or passwords.
    """

    snapshot: Snapshot | None
    hindrance: str | None
    attacker: str | None = None


def changes(before: WatchedState, now: WatchedState) -> list[Notice]:
    """Return the differences that are worth a notice."""
    found: list[Notice] = []
    if (before.snapshot is None) != (now.snapshot is None):
        found.append(Notice("guard_gone" if now.snapshot is None else "guard_back"))
    if before.hindrance != now.hindrance:
        found.append(Notice("service_back" if now.hindrance is None else f"service_{now.hindrance}"))
    if now.attacker is not None and before.attacker != now.attacker:
        found.append(Notice("attack", address=now.attacker))
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


class ChangeMonitor:
    """Change monitor: checks the cabinet once a second while notices are on."""

    def __init__(
        self, guard: GuardClient, hindrance: Callable[[], str | None], attacker: Callable[[], str | None] = lambda: None
    ) -> None:
        self._guard = guard
        self._hindrance = hindrance
        self._attacker = attacker
        self._seen: WatchedState | None = None  # None: notices are off
        self._due_ns = 0

    def begin(self) -> None:
        self._seen = self._check()

    def end(self) -> None:
        self._seen = None

    def check(self, now_ns: int) -> list[Notice]:
        """Return the changes since the last check; empty if the next check is not due yet."""
        if self._seen is None or now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + CHECK_PERIOD_NS
        before, self._seen = self._seen, self._check()
        return changes(before, self._seen)

    def _check(self) -> WatchedState:
        try:
            snapshot = self._guard.snapshot()
        except LinkError:
            snapshot = None
        return WatchedState(snapshot, self._hindrance(), self._attacker())


def notice_text(notice: Notice, words: Texts) -> str:
    """Return the notice as text in the reader's language."""
    place = words("outlet.title", outlet=notice.outlet) if notice.outlet else words("log.cabinet")
    fault = "" if notice.fault is None else words(f"fault.{notice.fault.value}.name")
    latched = words("latched_mark") if notice.latched else ""
    return words(
        f"notice.{notice.code}",
        place=place,
        fault=fault + latched,
        address="" if notice.address is msgspec.UNSET else notice.address,
    )
