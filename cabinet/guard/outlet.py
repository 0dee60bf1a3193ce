"""One outlet in the guard: its measurements, protections, counters and charge."""

from cabinet.charge import Charge, EndLimits, TestCharge
from cabinet.clock import MS
from cabinet.config.keys import Config, OutletSection
from cabinet.metering import OutletMeter
from cabinet.model import (
    ABSENT,
    EndReason,
    Event,
    EventKind,
    Fault,
    MeterCount,
    OutletState,
    Phase,
    Quality,
    Reading,
)
from cabinet.protections.inputs import SQRT2_PER_MILLE, OutletInputs, PeakWindow
from cabinet.protections.overcurrent import Overcurrent
from cabinet.protections.sensor_lost import SensorLost
from cabinet.protections.short_circuit import ShortCircuit
from cabinet.protections.voltage import Undervoltage
from cabinet.safety import OutletSafety
from cabinet.trips.format import UNKNOWN

ANY_CURRENT_MA = 1_000_000
UNDECIDED_NS = 25 * MS  # a half-wave short comes again after 20 ms
# While an outlet is open, its power is crosstalk of its neighbour plus noise. From that the guard learns a share that
# is lower than the configured one: a charger that idles at 2 W next to one of 800 W can then be distinguished from an
# empty outlet.
LEARN_FROM_MW = 100_000
LEARN_AFTER_NS = 2000 * MS  # both readings are of the neighbour's load
NOISE_MW = 200
NEVER_NS = 1 << 62
# A peak not read for so long is unknown: longer than a scan in which the bus hung once, plus the next scan.
UNREAD_NS = 40 * MS
# A neighbour of 100 W was seen to read as 1 W until a maker changed the firmware (X10P, change log). Twice that is no
# weld current: next to an ordinary charger of 2.3 A (crest) a welded relay still shows from 0.13 A on.
MAX_CROSSTALK_SHARE = 0.02
JUST_NOW_NS = 5 * MS
CURRENT_SEEN_MA = 50  # peak; an idle charger of 0.5 W shows about as much, noise less
QUIET_NS = 25 * MS  # more than a cycle: a rectifier draws current only in a part of each half-cycle
# The settings that scale a closed outlet's current are read so often for each outlet of the cabinet, whatever it shows:
# 0.3 s with ten outlets. A disturbance that shrinks a gain just when a short begins can show it as an ordinary current.
SCALE_CHECK_NS = 30 * MS
SHOWN_PEAK_NS = 100 * MS  # the displayed peak covers this time, not only the last scan
CHARGE_CHECK_NS = 100 * MS  # a charge's limits are checked at least so often, and with each reading of power or energy


class OutletUnit:
    """State of one outlet. Decisions about all outlets together belong to `Guard`."""

    def __init__(self, config: Config, outlet: OutletSection, ends: EndLimits, meter: OutletMeter) -> None:
        self.number = outlet.number
        self.ends = ends
        self.inputs = OutletInputs(outlet.number)
        self.safety = OutletSafety(config, outlet)
        short, lost = self.safety.of(ShortCircuit), self.safety.of(SensorLost)
        self.short_peak_ma, self._hard_peak_ma = short.peak_ma, short.hard_peak_ma
        self._peak_lost_ns, self._temperature_lost_ns = lost.peak_after_ns, lost.temperature_after_ns
        self.slow_lost_ns = lost.slow_after_ns
        self._scale_check_ns = SCALE_CHECK_NS * len(config.outlet)
        self._rated_ma = self.safety.of(Overcurrent).rated_ma
        band = self.safety.of(Undervoltage)
        self.lowest_mv, self.highest_mv = band.lowest_mv, band.highest_mv
        self._min_mains_mv = self.lowest_mv // 2
        self.meter = meter
        self.charge: Charge | None = None
        self.last_charge_count = MeterCount()
        self.fault: Fault | None = None
        self.latched = False
        self.trip_values: dict[str, int] = {}
        self.note: str | None = None  # set while staff have the outlet out of service
        self.reserved = False  # a maintenance test uses the outlet, also in its pauses
        self.unrecorded_peak_ma = UNKNOWN  # highest peak not yet taken by the flight recorder
        self._crosstalk_share = ends.crosstalk_share  # share of the neighbour's power that may show here
        self.resets_reported = 0  # of `inputs.chip_resets`
        self.reset_reported_ns = -NEVER_NS
        self._shown_peak_ma, self._shown_peak_at_ns = -1, 0  # -1: none yet
        self._over_at_ns: int | None = None  # the last peak over the short-circuit limit
        self._unmeasured_at_ns: int | None = None  # the last time that the peak register contradicted an alert
        self._stepped_at_ns: int | None = None
        self._charge_stepped_for = 0, 0  # times of the readings of power and energy
        self._charge_due_ns = 0
        self._current_seen_at_ns = self._rechecked_at_ns = -NEVER_NS

    @property
    def session_id(self) -> str | None:
        return None if self.charge is None else self.charge.session_id

    @property
    def trial(self) -> bool:
        """Return whether the outlet is closed for a test charge by staff."""
        return isinstance(self.charge, TestCharge)

    @property
    def has_resident(self) -> bool:
        return self.charge is not None and not self.trial

    @property
    def shown_peak(self) -> Reading:
        """The highest peak of the last 0.1 s."""
        if self._shown_peak_ma < 0:
            return ABSENT
        return Reading(self._shown_peak_ma, self._shown_peak_at_ns, Quality.OK)

    def charge_count(self) -> MeterCount:
        """Return the counters of the present charge, or of the last one."""
        return self.last_charge_count if self.charge is None else self.charge.count(self.meter.count())

    def count_time(self, now_ns: int) -> None:
        """Count the time since the last call if the outlet has been closed and the mains is present."""
        before_ns, self._stepped_at_ns = self._stepped_at_ns, now_ns
        if before_ns is None or not self.inputs.closed or self.charge is None or not self.mains_present():
            return
        self.meter.add_time(max(0, now_ns - max(before_ns, self.inputs.switched_at_ns)))

    def note_opened(self, at_ns: int) -> None:
        """Note that the relay was commanded to open; count the time for which it was closed until then."""
        self.count_time(at_ns)
        self.inputs.closed = False
        self.inputs.switched_at_ns = at_ns

    def count_load(self) -> None:
        """Count the time in which the charge certainly had a load; this time is billed."""
        if self.charge is not None:
            self.meter.add_time(0, self.charge.take_load_ns())

    def power_mw(self, now_ns: int) -> int | None:
        """Return the power for sums: 0 while the outlet is open, None while it is closed and not measured.

        An open outlet has power only if its relay has welded. The last reading of a meter that is lost or stands still
        is no power.
        """
        inputs = self.inputs
        reading = aged(inputs.power_mw, now_ns, self.slow_lost_ns)
        if not inputs.closed and self.fault is not Fault.RELAY_WELDED:
            return 0
        return reading.value if inputs.closed else reading.value or 0

    def learn_crosstalk(self, beside: OutletInputs) -> None:
        """Compare the power of this open outlet with that of its neighbour."""
        here, there = self.inputs.power_mw, beside.power_mw
        if self.inputs.closed or not beside.closed or there.value is None or there.value < LEARN_FROM_MW:
            return
        since_ns = max(beside.switched_at_ns, self.inputs.switched_at_ns) + LEARN_AFTER_NS
        if here.value is None or min(here.at_ns, there.at_ns) < since_ns:
            return
        self._crosstalk_share = min(self._crosstalk_share, (here.value + NOISE_MW) / there.value)

    def neighbour_share_mw(self, neighbour_mw: int) -> int:
        """Scale the neighbour's power for `Charge.step`, in proportion to the share of it that shows here."""
        if not self.ends.crosstalk_share:
            return 0
        return int(neighbour_mw * self._crosstalk_share / self.ends.crosstalk_share)

    def mains_present(self) -> bool:
        """Return whether the voltage exceeds half the lowest one for charging; below it, nothing charges at all."""
        return self.inputs.voltage_mv.value is not None and self.inputs.voltage_mv.value > self._min_mains_mv

    def note_peak(self, window: PeakWindow) -> None:
        """Keep the highest recent peak for display; the protections use every window."""
        peak_ma, to_ns = window.peak_ma, window.to_ns
        if peak_ma >= CURRENT_SEEN_MA:
            self._current_seen_at_ns = to_ns
            if peak_ma > self.short_peak_ma:
                self._over_at_ns = to_ns
                if window.at_least:
                    self._unmeasured_at_ns = to_ns
        if peak_ma > self.unrecorded_peak_ma:
            self.unrecorded_peak_ma = peak_ma
        if peak_ma >= self._shown_peak_ma or to_ns - self._shown_peak_at_ns > SHOWN_PEAK_NS:
            self._shown_peak_ma, self._shown_peak_at_ns = peak_ma, to_ns

    def charge_step_due(self, now_ns: int) -> bool:
        """Return whether to step the charge now: after a reading, and once more when that has been counted."""
        inputs = self.inputs
        news = inputs.power_mw.at_ns, inputs.energy_at_ns
        if news != self._charge_stepped_for:
            self._charge_stepped_for, self._charge_due_ns = news, now_ns
            return True
        if now_ns < self._charge_due_ns:
            return False
        self._charge_due_ns = now_ns + CHARGE_CHECK_NS
        return True

    def take_scale_check(self, now_ns: int) -> bool:
        """Return whether the settings that scale the outlet's current are to be checked now.

        They are in turn while it is closed, and at once if it has shown no current for more than a cycle: nothing is
        plugged in, the charger rests, or the chip lost those settings. A call that returns True starts the next turn.
        """
        if not self.inputs.closed:
            return False
        quiet_since_ns = max(self._current_seen_at_ns, self.inputs.switched_at_ns)
        is_quiet = now_ns - quiet_since_ns > QUIET_NS and self._rechecked_at_ns <= quiet_since_ns
        if not is_quiet and now_ns - self._rechecked_at_ns < self._scale_check_ns:
            return False
        self._rechecked_at_ns = now_ns
        return True

    def recent_peak_ma(self, now_ns: int) -> int:
        """Return the highest peak of the last 0.1 s, or 0 if there is none."""
        window = self.inputs.window
        recent_ma = max(0, self._shown_peak_ma) if now_ns - self._shown_peak_at_ns <= SHOWN_PEAK_NS else 0
        return recent_ma if window is None else max(recent_ma, window.peak_ma)

    def greatest_peak_ma(self, now_ns: int) -> int | None:
        """Return the greatest peak that any witness gives for the last 0.1 s; None: unknown.

        An RMS reading lags by 0.2 s: the newer the current, the less it shows; after an inrush it shows too much.
        """
        if self.current_unknown(now_ns):
            return None
        peak_ma, rms_ma = self.recent_peak_ma(now_ns), self._rms_ma(now_ns)
        return peak_ma if self._inrush_explains(now_ns) else max(peak_ma, rms_ma * SQRT2_PER_MILLE // 1000)

    def may_be_heavy(self, now_ns: int) -> bool:
        """Return whether the outlet carries a short-circuit current, or its current is unknown."""
        greatest_ma = self.greatest_peak_ma(now_ns)
        return greatest_ma is None or greatest_ma > self.short_peak_ma

    def current_unknown(self, now_ns: int) -> bool:
        """Return whether the outlet may carry any current: its peak was not read, or another witness contradicts it.

        The witnesses: an alert line with a peak that could not be read; an RMS current above the rated one and above
        every peak of the time that it covers.
        """
        inputs = self.inputs
        if inputs.alert_at_ns is not None or now_ns - inputs.peak_valid_at_ns > UNREAD_NS:
            return inputs.closed
        if self._unmeasured(now_ns, SHOWN_PEAK_NS):
            return True
        rms_ma = self._rms_ma(now_ns)
        if rms_ma <= self._rated_ma or not inputs.closed or self._inrush_explains(now_ns):
            return False
        return rms_ma > self.recent_peak_ma(now_ns)

    def _unmeasured(self, now_ns: int, within_ns: int) -> bool:
        return self._unmeasured_at_ns is not None and now_ns - self._unmeasured_at_ns <= within_ns

    def _rms_ma(self, now_ns: int) -> int:
        current = self.inputs.current_ma
        fresh = current.value is not None and now_ns - current.at_ns <= self.slow_lost_ns
        return current.value or 0 if fresh else 0

    def _inrush_explains(self, now_ns: int) -> bool:
        """Return whether a peak over the short-circuit limit is so recent that an RMS reading may still show it."""
        return self._over_at_ns is not None and now_ns - self._over_at_ns <= self.slow_lost_ns

    def carries_short(self, now_ns: int) -> bool:
        """Return whether a peak over the short-circuit limit was read just now."""
        return self._over_at_ns is not None and now_ns - self._over_at_ns <= JUST_NOW_NS

    def may_be_short(self, now_ns: int) -> bool:
        """Return whether a short's peak came within about a cycle: a second half-cycle may still follow."""
        return self._over_at_ns is not None and now_ns - self._over_at_ns <= UNDECIDED_NS

    def crosstalk_ma(self, now_ns: int) -> int:
        """Return the peak that this outlet's current may show at the other input of its chip.

        Return `ANY_CURRENT_MA` for a current above the hard ceiling, where a meter may be at the end of its scale, and
        for one that is not measured.
        """
        shown_ma = self._shown_peak_ma
        if shown_ma < 0 or now_ns - self._shown_peak_at_ns > 2 * SHOWN_PEAK_NS:
            return 0
        if shown_ma > self.short_peak_ma and (
            shown_ma > self._hard_peak_ma or self._unmeasured(now_ns, 2 * SHOWN_PEAK_NS)
        ):
            return ANY_CURRENT_MA
        return int(max(MAX_CROSSTALK_SHARE, self.ends.crosstalk_share) * shown_ma)

    def event(
        self,
        kind: EventKind,
        at_ns: int,
        *,
        session_id: str | None = None,
        fault: Fault | None = None,
        latched: bool = False,
        reason: EndReason | None = None,
        why: dict[str, int] | None = None,
        who: str = "",
    ) -> Event:
        """Build an event of this outlet, with the present counters; not numbered yet."""
        return Event(
            guard_run="",
            seq=0,
            at_ns=at_ns,
            kind=kind,
            outlet=self.number,
            session_id=session_id or self.session_id,
            fault=fault,
            latched=latched,
            reason=reason,
            why=why or {},
            count=self.meter.count(),
            charge_count=self.charge_count(),
            who=who,
        )

    def _shown(self, reading: Reading) -> Reading:
        """Return current or power for the snapshot; if the outlet is open, no value from before it opened."""
        inputs = self.inputs
        shown = aged(reading, inputs.at_ns, self.slow_lost_ns)
        if not inputs.closed and shown.quality is Quality.OK and shown.at_ns < inputs.switched_at_ns:
            return Reading(None, shown.at_ns, Quality.STALE, NOT_SINCE_OPENED)
        return shown

    def state(self, refusal: str | None) -> OutletState:
        """Return the state for the snapshot; readings too old to act on are marked as such."""
        inputs = self.inputs
        return OutletState(
            outlet=self.number,
            closed=inputs.closed,
            phase=Phase.IDLE if self.charge is None else self.charge.phase,
            session_id=self.session_id,
            peak_ma=aged(self.shown_peak, inputs.at_ns, self._peak_lost_ns + SHOWN_PEAK_NS),
            current_ma=self._shown(inputs.current_ma),
            voltage_mv=aged(inputs.voltage_mv, inputs.at_ns, self.slow_lost_ns),
            power_mw=self._shown(inputs.power_mw),
            temperature_mc=aged(inputs.temperature_mc, inputs.at_ns, self._temperature_lost_ns),
            count=self.meter.count(),
            charge_count=self.charge_count(),
            fault=self.fault,
            latched=self.latched,
            why=self.trip_values,
            refusal=refusal,
            note=self.note,
            trial=self.trial,
            backwards=inputs.backwards,
        )


NOT_SINCE_OPENED = "not measured since it opened"


def aged(reading: Reading, now_ns: int, lost_after_ns: int) -> Reading:
    """Return the reading for display: after `lost_after_ns` it has no value, and its absence is a fault."""
    if reading.quality is not Quality.OK or now_ns - reading.at_ns <= lost_after_ns:
        return reading
    return Reading(None, reading.at_ns, Quality.FAULT, "no answer")


def neighbours(config: Config, units: list[OutletUnit]) -> dict[int, OutletUnit]:
    """Map each outlet to the unit on the other input of its meter chip: its load may show in this outlet's readings."""
    by_number = {unit.number: unit for unit in units}
    return {
        outlet.number: by_number[other.number]
        for outlet in config.outlet
        for other in config.outlet
        if outlet is not other and (outlet.meter.mux, outlet.meter.channel) == (other.meter.mux, other.meter.channel)
    }
