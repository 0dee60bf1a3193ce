"""Inputs and interfaces of the protections. Values only."""

from typing import Protocol

import msgspec

from cabinet.model import ABSENT, Fault, Reading

NS = 1_000_000_000
SQRT2_PER_MILLE = 1414


class ProtectionLimits(msgspec.Struct, frozen=True):
    """Limits of one outlet's protections in milli-units; the guard builds them from `cabinet.toml`."""

    short_peak_ma: int
    short_window_ns: int
    hard_peak_ma: int
    rated_ma: int
    most_mw: int
    overpower_ns: int
    hot_trip_mc: int
    hot_warn_mc: int
    hot_rise_mc_per_min: int
    hot_rise_above_mc: int
    hot_hysteresis_mc: int
    peak_lost_ns: int
    slow_lost_ns: int
    temperature_lost_ns: int
    reset_ns: int
    frozen_ns: int
    weld_ma: int
    weld_after_ns: int
    stuck_open_ns: int
    late_ns: int
    lowest_mv: int
    highest_mv: int
    voltage_ns: int
    voltage_back_ns: int
    runaway_share: float
    runaway_mw: int
    runaway_ns: int
    storm_trips: int
    storm_ns: int
    half_cycle_ns: int
    thermometer_fitted: bool
    parted_ns: int = 30_000_000  # coil released until zero current: the contacts, and their arc up to the next zero


class CabinetLimits(msgspec.Struct, frozen=True):
    """Cabinet-wide limits."""

    hot_trip_mc: int
    hot_warn_mc: int
    feed_mw: int
    feed_refuse_mw: int
    feed_reserve_mw: int
    feed_overload_ns: int
    disagree_share: float
    disagree_mw: int
    disagree_warn_ns: int
    disagree_open_ns: int
    weld_ma: int
    short_peak_ma: int
    contactor_release_ns: int


class PeakWindow(msgspec.Struct, frozen=True, gc=False):
    """The largest instantaneous current between two reads of the peak register.

    For windows over a short's limit: `first_half_cycle` to `last_half_cycle` are the half-cycles the window may touch,
    counted by the mains' own zero crossings, and `crest_ns` is the voltage's crest nearest to the window's end; None if
    the mains phase is not known. If `at_least` is set, the register contradicts an alert, and the true peak is unknown.
    """

    peak_ma: int
    from_ns: int
    to_ns: int
    first_half_cycle: int | None
    last_half_cycle: int | None
    crest_ns: int | None = None
    at_least: bool = False


class OutletInputs(msgspec.Struct):
    """Inputs of one outlet at a tick. `window` is None unless a peak was read since the last step."""

    outlet: int
    at_ns: int = 0
    closed: bool = False
    switched_at_ns: int = 0  # time of the last change of `closed`
    resumed: bool = False  # closed to continue a charge after an outage or the end of another guard
    window: PeakWindow | None = None
    peak_valid_at_ns: int = 0  # last valid read of the peak register
    current_ma: Reading = ABSENT
    voltage_mv: Reading = ABSENT
    power_mw: Reading = ABSENT
    backwards: bool = False  # the sensor measures that power in the wrong direction: reported to staff, no protection
    temperature_mc: Reading = ABSENT
    slow_reads: int = 0  # counts readings of current, voltage, power and temperature
    current_unmoved: int = 0  # readings in a row with an identical raw value of the register
    power_unmoved: int = 0
    voltage_unmoved: int = 0
    energy_uj: int = 0  # total read from the energy register since the guard's start
    energy_at_ns: int = 0
    late_ns: int = 0  # time, beyond a period, without supervision
    crosstalk_ma: int = 0  # peak that the load on the chip's other input may show here
    still_thermometer: dict[str, int] | None = None  # evidence that its thermometer is frozen
    thermometer_reset_at_ns: int | None = None  # found with altered settings then, and without a measurement since
    chip_resets: int = 0  # count of altered settings found in its meter or thermometer
    reset_at_ns: int | None = None  # its chip was found at power-on values then, and is not set up again yet
    found_open_at_ns: int | None = None  # commanded closed, and found open since then
    commanded_open_at_ns: int | None = None  # of the relay itself; set for windows over a short's limit
    alert_at_ns: int | None = None  # its chip reported a current over the alert level, and no valid low peak followed


class OutletLoad(msgspec.Struct, frozen=True, gc=False):
    """Power that one outlet takes from the feed."""

    outlet: int
    power_mw: int | None  # None: closed, but not measured at present; sums that include it are unknown
    closed_at_ns: int | None  # None: open
    known: bool  # closed long enough for its power to have settled


class CabinetInputs(msgspec.Struct):
    """Inputs of the cabinet as a whole at a tick. An alarm is None if no such contact is fitted."""

    at_ns: int = 0
    smoke: bool | None = None
    water: bool | None = None
    residual: bool | None = None
    residual_testing: bool = False
    residual_test_failed: bool = False
    inside_mc: Reading = ABSENT
    feed_mw: Reading = ABSENT  # of the cabinet's own meter
    loads: list[OutletLoad] = []
    contactor_open_at_ns: int | None = None  # when it was commanded open; None: it is closed, or none is fitted
    highest_window: PeakWindow | None = None  # highest peak of any outlet read in this tick
    highest_current_ma: Reading = ABSENT  # highest RMS of any outlet with a live register


class Protection(Protocol):
    """Interface of an outlet protection. `step` is called once a tick; it returns the numbers that trip it, or None."""

    fault: Fault
    latched: bool
    whole_cabinet: bool
    suspends: bool

    def step(self, inputs: OutletInputs) -> dict[str, int] | None: ...

    def present(self, inputs: OutletInputs) -> bool:
        """Return whether the cause is still there (a fault that clears by itself may go once it is not)."""

    def reset(self) -> None:
        """Forget earlier readings: the outlet was switched, or its latch cleared."""


class CabinetProtection(Protocol):
    """Interface of a cabinet protection. `step` adds `outlet` to the numbers if only that outlet is to open."""

    fault: Fault
    latched: bool

    def step(self, inputs: CabinetInputs) -> dict[str, int] | None: ...

    def warns(self, inputs: CabinetInputs) -> bool:
        """Return whether staff should be warned already."""

    def present(self, inputs: CabinetInputs) -> bool:
        """Return whether the cause is still there."""
