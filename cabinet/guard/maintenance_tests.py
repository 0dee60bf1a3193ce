"""Maintenance tests: tests that take the guard some time, run one step a tick.

No test waits, each ends by itself, and each restores all that it changed. A job closes relays only through
`start_test_charge`, with the pre-close check before every closing. A trip ends it.
"""

from typing import Any, Protocol

import msgspec

from cabinet.clock import MS, NS
from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.contactor import ContactorControl
from cabinet.guard.contacts import Contacts
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.residual import ResidualTestPhase as ResidualPhase
from cabinet.guard.segment import Segment
from cabinet.guard.switching import Switching
from cabinet.maintenance import Job, JobKind, JobState
from cabinet.model import CABINET, EndReason
from cabinet.protections.relay_welded import RelayWelded
from cabinet.relays import RelayBank

CLOSED_NS = 700 * MS  # long enough for a charger that starts softly (0.8 s to full) to show some of its current
OPEN_NS = 500 * MS
CLOSING_NS = 3 * NS  # queue, gap after the previous closing, zero crossing of the mains
ALERT_MA = 150  # peak; a lamp of 40 W draws 260
ALERT_WATCH_NS = NS
SELF_TEST_NS = 20 * NS  # ten relays take 0.3 s, and the weld check 1.5 s
RESIDUAL_NS = 10 * NS


class Equipment(Protocol):
    """Parts of the guard that the jobs use; `maintenance` owns them."""

    relays: RelayBank
    contacts: Contacts
    units: list[OutletUnit]
    cabinet: CabinetUnit
    contactor: ContactorControl
    switching: Switching
    segments: list[Segment]
    alert_edges: dict[int, int]  # by outlet: falling edges of its alert line

    def unit(self, outlet: int) -> OutletUnit | None: ...


class RunningTest(Protocol):
    """A running job."""

    kind: JobKind

    def step(self, now_ns: int) -> Job:
        """Do the work that is due; return the job in its present state."""


class _Base:
    kind: JobKind

    def __init__(self, equipment: Equipment, job: Job, command: Any, now_ns: int) -> None:
        self._equipment = equipment
        self._job = job
        self._command = command
        self._began_ns = now_ns

    def _with(self, **changes: Any) -> Job:
        self._job = msgspec.structs.replace(self._job, **changes)
        return self._job


class SelfTestJob(_Base):
    """Self-test: contactor open, relays clicked, contactor closed, weld check."""

    kind = JobKind.SELF_TEST

    def __init__(self, equipment: Equipment, job: Job, command: Any, now_ns: int) -> None:
        super().__init__(equipment, job, command, now_ns)
        numbers = [unit.number for unit in equipment.units]
        equipment.contactor.click_relays(numbers if command.outlet == CABINET else [command.outlet], now_ns)

    def step(self, now_ns: int) -> Job:
        cabinet, contactor = self._equipment.cabinet, self._equipment.contactor
        failed = sorted(contactor.self_test_failed)
        if cabinet.latched:
            return self._with(state=JobState.FAILED, fault=cabinet.fault, outlets=failed)
        if now_ns - self._began_ns > SELF_TEST_NS:
            return self._with(state=JobState.BROKEN_OFF, why="contactor_open", outlets=failed)
        if contactor.busy:
            return self._job
        settled = contactor.settled(now_ns) and self._equipment.relays.contactor_closed
        if not (failed or settled or contactor.locked_out or contactor.welded()):
            return self._job
        state = JobState.FAILED if failed or contactor.welded() else JobState.PASSED
        return self._with(state=state, outlets=failed, values={"ms": (now_ns - self._began_ns) // MS})


class CycleJob(_Base):
    """Relay cycles: closes and opens one relay several times and checks each time if current follows."""

    kind = JobKind.RELAY_CYCLE

    def __init__(self, equipment: Equipment, job: Job, command: Any, now_ns: int) -> None:
        super().__init__(equipment, job, command, now_ns)
        unit = equipment.unit(command.outlet)
        assert unit is not None  # checked before
        self._unit: OutletUnit = unit
        self._welded = unit.safety.of(RelayWelded)
        self._next_ns = now_ns
        self._closed_since_ns: int | None = None
        self._waiting_since_ns: int | None = None
        self._opened_ns: int | None = None
        self._peak_ma = 0
        self._values = {
            "times": command.times, "done": 0, "with_current": 0, "output_differs": 0, "least_peak_ma": 0,
            "peak_ma": 0, "open_peak_ma": 0,
        }  # fmt: skip

    def step(self, now_ns: int) -> Job:
        unit = self._unit
        if unit.fault is not None or self._equipment.cabinet.latched:
            fault = unit.fault or self._equipment.cabinet.fault
            return self._with(state=JobState.FAILED, fault=fault, values=dict(self._values))
        if self._closed_since_ns is not None:
            return self._while_closed(now_ns, self._closed_since_ns)
        if self._waiting_since_ns is not None:
            return self._while_closing(now_ns, self._waiting_since_ns)
        self._note_open_peak(now_ns)
        if now_ns < self._next_ns:
            return self._job
        if self._values["done"] >= self._command.times:
            return self._verdict()
        self._peak_ma = 0
        refusal = self._equipment.switching.start_test_charge(unit, self._command.who, now_ns + CLOSING_NS + CLOSED_NS)
        if refusal is not None:
            return self._with(state=JobState.BROKEN_OFF, why=refusal, values=dict(self._values))
        self._waiting_since_ns = now_ns
        return self._job

    def _while_closing(self, now_ns: int, since_ns: int) -> Job:
        """Wait until the outlet closes; others may be before it in the queue of closings."""
        if self._unit.inputs.closed:
            self._waiting_since_ns, self._closed_since_ns = None, now_ns
        elif not self._unit.trial:
            return self._broken_off("")
        elif now_ns - since_ns > CLOSING_NS:
            return self._broken_off("not_ready")
        return self._job

    def _while_closed(self, now_ns: int, since_ns: int) -> Job:
        if not self._unit.trial:
            return self._broken_off("")
        if now_ns - since_ns > 100 * MS:
            self._peak_ma = max(self._peak_ma, self._unit.shown_peak.value or 0)
        if now_ns - since_ns < CLOSED_NS:
            return self._job
        differs = [m for m in self._equipment.relays.check_outputs() if m.outlet == self._unit.number]
        values = self._values
        flows = self._peak_ma > self._limit_ma()
        values["output_differs"] += bool(differs)
        values["with_current"] += flows
        values["peak_ma"] = max(values["peak_ma"], self._peak_ma)
        values["least_peak_ma"] = min(values["least_peak_ma"] or self._peak_ma, self._peak_ma)
        values["done"] += 1
        self._equipment.switching.end(self._unit, EndReason.STOPPED_BY_STAFF, self._command.who)
        self._closed_since_ns, self._opened_ns, self._next_ns = None, now_ns, now_ns + OPEN_NS
        return self._with(values=dict(values))

    def _note_open_peak(self, now_ns: int) -> None:
        """Note a window of the last 0.1 s, from 0.2 s after opening: by then the relay and its arc have ended."""
        if self._opened_ns is not None and now_ns - self._opened_ns > 2 * self._welded.after_ns + 100 * MS:
            self._values["open_peak_ma"] = max(self._values["open_peak_ma"], self._unit.shown_peak.value or 0)

    def _limit_ma(self) -> int:
        return self._welded.peak_limit_ma + self._unit.inputs.crosstalk_ma

    def _broken_off(self, why: str) -> Job:
        """Abort the job. Without a `why`, something else opened the outlet."""
        if self._unit.trial:
            self._equipment.switching.end(self._unit, EndReason.STOPPED_BY_STAFF, self._command.who)
        return self._with(state=JobState.BROKEN_OFF, why=why, values=dict(self._values))

    def _verdict(self) -> Job:
        """Judge the contact: one that carries current only in some closings is worn; with no load, it is unknown."""
        values = self._values
        steady = values["with_current"] in (0, values["times"])
        good = steady and not values["output_differs"] and values["open_peak_ma"] <= self._limit_ma()
        return self._with(state=JobState.PASSED if good else JobState.FAILED, values=dict(values))


class AlertLineJob(_Base):
    """Alert line test: closes a load while its chip alerts at a very low level and checks which line falls."""

    kind = JobKind.ALERT_LINE

    def __init__(self, equipment: Equipment, job: Job, command: Any, now_ns: int) -> None:
        super().__init__(equipment, job, command, now_ns)
        unit = equipment.unit(command.outlet)
        assert unit is not None  # checked before
        self._unit: OutletUnit = unit
        self._index = equipment.units.index(unit)
        self._edges = dict(equipment.alert_edges)
        self._closed_since_ns: int | None = None
        self._peak_ma = 0
        self._alert_above(ALERT_MA)
        self._refusal = equipment.switching.start_test_charge(
            unit, command.who, now_ns + CLOSING_NS + 2 * ALERT_WATCH_NS
        )

    def step(self, now_ns: int) -> Job:
        unit = self._unit
        if self._refusal is not None or not unit.trial:
            fault = unit.fault or self._equipment.cabinet.fault
            state = JobState.BROKEN_OFF if fault is None else JobState.FAILED
            return self._end(state, why=self._refusal or "", fault=fault)
        if self._closed_since_ns is None:
            if unit.inputs.closed:
                self._closed_since_ns = now_ns
            elif now_ns - self._began_ns > CLOSING_NS:
                return self._end(JobState.BROKEN_OFF, why="not_ready")
            return self._job
        self._peak_ma = max(self._peak_ma, unit.shown_peak.value or 0)
        if now_ns - self._closed_since_ns < ALERT_WATCH_NS:
            return self._job
        moved = [n for n, edges in self._equipment.alert_edges.items() if edges > self._edges[n]]
        state = JobState.PASSED if moved == [unit.number] else JobState.FAILED
        return self._end(state, outlets=moved)

    def _end(self, state: JobState, **changes: Any) -> Job:
        """End the job in any case with the chip's alert level back at the one for a short."""
        self._alert_above(None)
        if self._unit.trial:
            self._equipment.switching.end(self._unit, EndReason.STOPPED_BY_STAFF, self._command.who)
        return self._with(state=state, values={"peak_ma": self._peak_ma}, **changes)

    def _alert_above(self, peak_ma: int | None) -> None:
        for segment in self._equipment.segments:
            segment.alert_above(self._index, peak_ma)


class ResidualJob(_Base):
    """The test of the residual-current monitor, run now instead of once a day."""

    kind = JobKind.RESIDUAL

    def __init__(self, equipment: Equipment, job: Job, command: Any, now_ns: int) -> None:
        super().__init__(equipment, job, command, now_ns)
        if not equipment.cabinet.residual_test.active:
            equipment.cabinet.residual_test.reset()
        self._tested_ns: int | None = None

    def step(self, now_ns: int) -> Job:
        test = self._equipment.cabinet.residual_test
        if test.failed or self._equipment.cabinet.latched:
            return self._with(state=JobState.FAILED, fault=self._equipment.cabinet.fault)
        if test.phase is ResidualPhase.TESTING and self._tested_ns is None:
            self._tested_ns = now_ns
        if test.phase is ResidualPhase.RELEASING and self._tested_ns is not None and not self._job.values:
            return self._with(values={"ms": (now_ns - self._tested_ns) // MS})
        if test.passed_at_ns is not None and not test.active:
            return self._with(state=JobState.PASSED)
        if now_ns - self._began_ns > RESIDUAL_NS:
            return self._with(state=JobState.BROKEN_OFF, why="not_ready")
        return self._job


class SirenJob(_Base):
    """Siren test: sounds for the given time, then returns to the state that the cabinet's faults require."""

    kind = JobKind.SIREN

    def __init__(self, equipment: Equipment, job: Job, command: Any, now_ns: int) -> None:
        super().__init__(equipment, job, command, now_ns)
        equipment.contacts.sound(True)

    def step(self, now_ns: int) -> Job:
        if now_ns - self._began_ns < self._command.seconds * NS:
            return self._job
        self._equipment.contacts.sound(self._equipment.cabinet.siren)
        return self._with(state=JobState.PASSED)
