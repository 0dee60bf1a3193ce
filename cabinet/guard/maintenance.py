"""Maintenance by staff: locks, tests, calibration, the contactor held open; and the count of relay wear.

Relays are closed only through `Switching.start_test_charge`, with its pre-close check; no test changes a protection.
"""

import logging

from cabinet.charge import TestCharge
from cabinet.clock import NS, Clock
from cabinet.config.keys import Config
from cabinet.guard.cabinet import CabinetUnit
from cabinet.guard.contactor import ContactorControl
from cabinet.guard.contacts import Contacts
from cabinet.guard.interlocks import Interlocks, PreCloseCheck
from cabinet.guard.maintenance_file import MaintenanceFile
from cabinet.guard.maintenance_tests import (
    AlertLineJob,
    CycleJob,
    ResidualJob,
    RunningTest,
    SelfTestJob,
    SirenJob,
)
from cabinet.guard.outlet import OutletUnit
from cabinet.guard.segment import Segment
from cabinet.guard.state_files import StateWriter
from cabinet.guard.switching import Switching
from cabinet.guard.wear import RelayLife
from cabinet.hardware.ade7953 import Gain
from cabinet.link.guard_protocol import (
    CycleRelay,
    ReplaceRelay,
    SetContactorLockout,
    SetGains,
    SoundSiren,
    StaffCommand,
    StartSelfTest,
    StartTestCharge,
    TakeOutOfService,
    TestAlertLine,
    TestCommand,
    TestResidual,
)
from cabinet.maintenance import PPB, UNITY_PPM, Attribution, Calibration, Gains, Job, JobState, MaintenanceState
from cabinet.model import CABINET, EndReason, Quality
from cabinet.relays import RelayBank
from cabinet.sections import milli

log = logging.getLogger(__name__)

MIN_GAIN_PPM, MAX_GAIN_PPM = UNITY_PPM // 2, UNITY_PPM * 3 // 2  # as in the configuration
SQRT2_PER_MILLE = 1414


class MaintenanceControl:
    """Maintenance control of one cabinet.

    `step` is called once a tick. `handle` returns the code of a refusal, or None if the command was executed or begun.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        relays: RelayBank,
        contacts: Contacts,
        state_writer: StateWriter,
        units: list[OutletUnit],
        cabinet: CabinetUnit,
        contactor: ContactorControl,
        interlocks: Interlocks,
        switching: Switching,
        segments: list[Segment],
    ) -> None:
        self.config = config
        self.relays = relays
        self.contacts = contacts
        self.units = units
        self.cabinet = cabinet
        self.contactor = contactor
        self.switching = switching
        self.segments = segments
        self.alert_edges: dict[int, int] = dict.fromkeys((unit.number for unit in units), 0)
        self._interlocks = interlocks
        self._clock = clock
        self._state_writer = state_writer
        hardware = config.hardware
        self._life = RelayLife(
            milli(hardware.relay_rated_a), hardware.relay_electrical_operations, hardware.relay_mechanical_operations
        )
        self._warn_ppb = round(PPB * hardware.relay_warn_share)
        self.records = MaintenanceFile(state_writer, [unit.number for unit in units], self._attribution("guard"))
        self._closed: dict[int, bool] = dict.fromkeys((CABINET, *(unit.number for unit in units)), False)
        self._counted_changes = 0  # of the relays and the contactor
        self._test: RunningTest | None = None
        self._job: Job | None = None
        for unit in units:
            unit.note = self.records.record(unit.number).note
        contactor.locked_out = self.records.content.contactor_held is not None

    def start(self) -> None:
        """Apply the calibration of this cabinet; it takes precedence over that of the configuration."""
        for index, unit in enumerate(self.units):
            if (gains := self.records.gains(unit.number)) is not None:
                self._calibrate(index, _gain(gains))

    def take_all_out_of_service(self) -> None:
        """Take every outlet out of service and keep the contactor open: the record of latched faults is lost.

        Staff inspect each outlet, put it back into service, and let the contactor close.
        """
        attribution = self._attribution("guard")
        self.records.mark_all_out_of_service(attribution)
        for unit in self.units:
            unit.note = self.records.record(unit.number).note
        if self.relays.has_contactor:
            self.records.content.contactor_held = self.records.content.contactor_held or attribution
            self.contactor.locked_out = True
        self.records.save()

    def stop(self) -> None:
        """Hand the counts to the state writer before the guard ends."""
        self.records.close()

    # --- Turn of a tick ---------------------------------------------------------------------------------------------

    @property
    def testing(self) -> bool:
        return self._test is not None

    def step(self, now_ns: int) -> None:
        """Count the openings and advance the running job."""
        if self.relays.changes != self._counted_changes:
            self._counted_changes = self.relays.changes
            self._count(now_ns)
        self.records.save_when_due(now_ns)
        if self._test is not None:
            self._job = self._test.step(now_ns)
            if self._job.state is not JobState.RUNNING:
                self._test = None
                self._reserve(False)
                log.warning("%s of outlet %d: %s", self._job.kind.value, self._job.outlet, self._job.state.value)

    def _count(self, now_ns: int) -> None:
        contactor = self.relays.contactor_closed
        if self._closed[CABINET] and not contactor:
            self.records.count_operation(CABINET, 0, now_ns)
        self._closed[CABINET] = contactor
        for unit in self.units:
            closed = self.relays.is_closed(unit.number)
            if self._closed[unit.number] and not closed:
                self._count_opening(unit, now_ns)
            self._closed[unit.number] = closed

    def _count_opening(self, unit: OutletUnit, now_ns: int) -> None:
        before_ppb = self.records.record(unit.number).used_ppb
        wear = self.records.count_operation(unit.number, self._life.used_ppb(self._broken_ma(unit)), now_ns)
        if before_ppb < self._warn_ppb <= wear.used_ppb:
            log.warning("outlet %d: its relay has used %d %% of its life", unit.number, 100 * wear.used_ppb // PPB)

    def _broken_ma(self, unit: OutletUnit) -> int | None:
        """Return the RMS current that the relay has just broken; None: unknown. A short is too quick for the RMS."""
        if not self.relays.contactor_closed:
            return 0
        current, peak = unit.inputs.current_ma, unit.shown_peak
        if unit.fault is not None and peak.value is not None:
            return max(current.value or 0, peak.value * 1000 // SQRT2_PER_MILLE)
        return current.value if current.quality is Quality.OK else None

    # --- commands ---------------------------------------------------------------------------------------------------

    def handle(self, command: StaffCommand) -> str | None:
        """Execute a command. Return the code of the refusal, or None."""
        log.warning("%s by %s", type(command).__name__, command.who)
        if isinstance(command, SetContactorLockout):
            return self._set_contactor_lockout(command)
        if isinstance(command, TestCommand):
            return self._begin(command)
        unit = self.unit(command.outlet)
        if unit is None:
            return "unknown_outlet"
        if isinstance(command, StartTestCharge):
            return self._start_test_charge(command, unit)
        if isinstance(command, TakeOutOfService):
            return self._take_out_of_service(command, unit)
        if isinstance(command, ReplaceRelay):
            return self._replace(command, unit)
        return self._set_gains(command, unit)

    def unit(self, outlet: int) -> OutletUnit | None:
        return next((unit for unit in self.units if unit.number == outlet), None)

    def _reserve(self, reserved: bool) -> None:
        """Keep the outlet of the job from residents, also in the pauses of the test; or no longer."""
        if self._job is not None and (unit := self.unit(self._job.outlet)) is not None:
            unit.reserved = reserved

    def end_or_refuse_charges(self, forced: bool, units: list[OutletUnit]) -> bool:
        """Return whether a resident charges there; with `forced`, end those charges first and return False."""
        charging = [unit for unit in units if unit.has_resident]
        if charging and not forced:
            return True
        for unit in charging:
            self.switching.end(unit, EndReason.STOPPED_BY_STAFF, "console")
        return False

    def _start_test_charge(self, command: StartTestCharge, unit: OutletUnit) -> str | None:
        if self._test is not None:
            return "work_under_way"
        until_ns = self._clock.monotonic_ns() + command.seconds * NS
        if isinstance(unit.charge, TestCharge):
            unit.charge.until_ns = until_ns
            return None
        if unit.has_resident and not command.forced:
            return "resident_charging"
        if (refusal := self._interlocks.interlock(unit, PreCloseCheck.TEST_CHARGE)) is not None:
            return refusal  # before a charge is ended for nothing
        self.end_or_refuse_charges(command.forced, [unit])
        return self.switching.start_test_charge(unit, command.who, until_ns)

    def _take_out_of_service(self, command: TakeOutOfService, unit: OutletUnit) -> str | None:
        record = self.records.record(unit.number)
        if command.note is None:
            unit.note = record.note = record.locked = None
        else:
            if self.end_or_refuse_charges(command.forced, [unit]):
                return "resident_charging"
            if record.note != command.note:
                unit.note, record.note, record.locked = command.note, command.note, self._attribution(command.who)
        self.records.save()
        return None

    def _replace(self, command: ReplaceRelay, unit: OutletUnit) -> str | None:
        if unit.charge is not None:
            return "outlet_busy"
        record = self.records.record(unit.number)
        record.operations, record.used_ppb, record.replaced = 0, 0, self._attribution(command.who)
        self.records.save()
        return None

    def _set_gains(self, command: SetGains, unit: OutletUnit) -> str | None:
        wanted, present = command.gains, self.gains(unit)
        if not all(MIN_GAIN_PPM <= gain <= MAX_GAIN_PPM for gain in (wanted.current_ppm, wanted.power_ppm)):
            return "bad_gain"
        if any(other.has_resident for other in self._on_chip_of(unit)):
            return "resident_charging"  # the chip is set up again and does not measure meanwhile
        if wanted == present:
            return None
        self._calibrate(self.units.index(unit), _gain(wanted))
        self.records.record(unit.number).calibration = Calibration(wanted, present, self._attribution(command.who))
        self.records.save()
        return None

    def _calibrate(self, index: int, gain: Gain) -> None:
        for segment in self.segments:
            segment.calibrate(index, gain)

    def gains(self, unit: OutletUnit) -> Gains:
        """Return the gains in use now."""
        place = self.config.outlet_by_number(unit.number)
        assert place is not None  # units are made from the configuration
        configured = Gains(round(place.meter.current_gain * UNITY_PPM), round(place.meter.power_gain * UNITY_PPM))
        return self.records.gains(unit.number) or configured

    def _on_chip_of(self, unit: OutletUnit) -> list[OutletUnit]:
        places = {o.number: (o.meter.mux, o.meter.channel) for o in self.config.outlet}
        return [other for other in self.units if places[other.number] == places[unit.number]]

    def _set_contactor_lockout(self, command: SetContactorLockout) -> str | None:
        if not self.relays.has_contactor:
            return "no_contactor"
        content = self.records.content
        if command.open:  # a running test finds its outlet opened and is aborted
            if self.end_or_refuse_charges(command.forced, self.units):
                return "resident_charging"
            content.contactor_held = content.contactor_held or self._attribution(command.who)
            self.switching.lock_out_contactor()
        elif self._test is not None:
            return "work_under_way"
        else:
            content.contactor_held = None
            self.contactor.release_lockout()
        self.records.save()
        return None

    # --- Jobs -------------------------------------------------------------------------------------------------------

    def _begin(self, command: TestCommand) -> str | None:
        """Begin a job; one runs at a time. If the same job is requested again while it runs, nothing changes."""
        outlet = CABINET if isinstance(command, TestResidual | SoundSiren) else command.outlet
        kind = _TESTS[type(command)].kind
        if self._test is not None and self._job is not None:
            same = (self._job.kind, self._job.outlet, self._job.who) == (kind, outlet, command.who)
            return None if same else "work_under_way"
        unit = self.unit(outlet)
        if unit is None and (outlet != CABINET or isinstance(command, CycleRelay | TestAlertLine)):
            return "unknown_outlet"
        if (refusal := self._test_interlock(command, unit)) is not None:
            return refusal
        number = 1 if self._job is None else self._job.number + 1
        self._job = Job(number, kind, outlet, command.who, JobState.RUNNING)
        self._reserve(True)
        self._test = _TESTS[type(command)](self, self._job, command, self._clock.monotonic_ns())
        return None

    def _test_interlock(self, command: TestCommand, unit: OutletUnit | None) -> str | None:
        """Return the reason why the job may not begin, or None. With `forced`, residents' charges end instead."""
        if isinstance(command, SoundSiren):
            return None if self.contacts.siren_fitted else "not_fitted"
        if isinstance(command, TestResidual):
            if not self.contacts.residual_test_fitted:
                return "not_fitted"
            if self.cabinet.latched:
                return "cabinet_fault"
            return self._end_charges_for_test(command.forced, self.units)
        if isinstance(command, StartSelfTest):
            if not self.relays.has_contactor:
                return "no_contactor"
            if self.cabinet.latched:
                return "cabinet_fault"
            if self.contactor.busy:
                return "not_ready"
            return self._end_charges_for_test(command.forced, self.units)
        assert unit is not None
        place = self.config.outlet_by_number(unit.number)
        if isinstance(command, TestAlertLine) and (place is None or place.alert is None):
            return "no_alert_line"
        others = self._on_chip_of(unit) if isinstance(command, TestAlertLine) else [unit]
        if any(each.has_resident for each in others) and not command.forced:
            return "resident_charging"
        if (refusal := self._interlocks.interlock(unit, PreCloseCheck.TEST_CHARGE)) is not None:
            return refusal
        return self._end_charges_for_test(command.forced, others)

    def _end_charges_for_test(self, forced: bool, units: list[OutletUnit]) -> str | None:
        if self.end_or_refuse_charges(forced, units):
            return "resident_charging"
        for unit in units:
            if unit.trial:
                self.switching.end(unit, EndReason.STOPPED_BY_STAFF, "console")
        return None

    # --- Reports ----------------------------------------------------------------------------------------------------

    def shown(self, now_ns: int) -> MaintenanceState:
        test = self.cabinet.residual_test
        return MaintenanceState(
            at_ns=now_ns,
            outlets=[self.records.shown(unit.number, self.gains(unit)) for unit in self.units],
            warn_ppb=self._warn_ppb,
            contactor_held=self.records.content.contactor_held,
            contactor_operations=self.records.content.contactor_operations,
            siren_fitted=self.contacts.siren_fitted,
            residual_test_fitted=self.contacts.residual_test_fitted,
            residual_passed_at_ns=test.passed_at_ns,
            residual_failed=test.failed,
            job=self._job,
            damaged="; ".join(self._state_writer.damaged),
            unwritten=self.records.unwritten,
        )

    def _attribution(self, who: str) -> Attribution:
        wall = self._clock.wall()
        return Attribution(who, wall.unix_ms, wall.trusted)


_TESTS: dict[type, type[SelfTestJob | CycleJob | AlertLineJob | ResidualJob | SirenJob]] = {
    StartSelfTest: SelfTestJob,
    CycleRelay: CycleJob,
    TestAlertLine: AlertLineJob,
    TestResidual: ResidualJob,
    SoundSiren: SirenJob,
}


def _gain(gains: Gains) -> Gain:
    return Gain(gains.current_ppm / UNITY_PPM, gains.power_ppm / UNITY_PPM)
