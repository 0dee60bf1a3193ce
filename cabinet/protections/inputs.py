"""Inputs and interfaces of the protections. Values only."""

import abc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from cabinet.model import ABSENT, Fault, Reading
from cabinet.sections import NS, Section, in_milli_units

SQRT2_PER_MILLE = 1414


class PeakWindow(msgspec.Struct, frozen=True, gc=False):
    """The largest instantaneous current between two reads of the peak register.

    For windows over a short's limit: `first_half_cycle` to `last_half_cycle` are the half-cycles the window may touch,
    counted by the mains' own zero crossings, and `crest_ns` is the voltage's crest nearest to the window's end; None if
    the mains phase is not known. If `at_least` is set, the register contradicts an alert, and the true peak is unknown.
    """

    peak_ma: int
    from_ns: int
    to_ns: int
    first_half_cycle: int | None = None
    last_half_cycle: int | None = None
    crest_ns: int | None = None
    at_least: bool = False


# Inputs are dataclasses, because an attribute of one is set in a quarter of the time that a msgspec struct takes.
@dataclass(slots=True)
class OutletInputs:
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
    late_ns: int = 0  # time, beyond a period, without supervision; 0 if it is too short to matter
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


def measured_sum(loads: list[OutletLoad]) -> tuple[int, bool]:
    """Return the total power of all measured outlets, and whether that covers all outlets."""
    powers_mw = [load.power_mw for load in loads]
    known_mw = [power_mw for power_mw in powers_mw if power_mw is not None]
    return sum(known_mw), len(known_mw) == len(powers_mw)


@dataclass(slots=True)
class CabinetInputs:
    """Inputs of the cabinet as a whole at a tick. An alarm is None if no such contact is fitted."""

    at_ns: int = 0
    smoke: bool | None = None
    water: bool | None = None
    residual: bool | None = None
    residual_testing: bool = False
    residual_test_failed: bool = False
    inside_mc: Reading = ABSENT
    feed_mw: Reading = ABSENT  # of the cabinet's own meter
    loads: list[OutletLoad] = field(default_factory=list)
    contactor_open_at_ns: int | None = None  # when it was commanded open; None: it is closed, or none is fitted
    highest_window: PeakWindow | None = None  # highest peak of any outlet read in this tick
    highest_current_ma: Reading = ABSENT  # highest RMS of any outlet with a live register


Configuration = Any  # `cabinet.config.Config`: made of the sections in these files, so none of them can import it


class Protection(abc.ABC):
    """Facts and limits of a protection. A subclass with a `fault` is found by `table` and needs no other entry.

    Each key of `section` becomes an attribute, in milli-units: `peak_a` is `self.peak_ma`. The section has the name of
    its file: `short_circuit.py` declares `[protections.short_circuit]`.
    """

    fault: ClassVar[Fault]
    section: ClassVar[type[Section]] = Section
    latched: ClassVar[bool]  # stays open until staff clear it; without a default, because the safe one is not the usual
    suspends: ClassVar[bool] = False  # the charge is suspended, not ended
    resumes: ClassVar[bool] = False  # the service continues the interrupted charge once the cause has passed
    hides_current: ClassVar[bool] = False  # an outlet's meter does not show it: it may appear as a neighbour's weld

    def __init__(self, config: Configuration) -> None:
        if self.section is not Section:
            for name, value in in_milli_units(getattr(config.protections, self.section_name())).items():
                setattr(self, name, value)

    @classmethod
    def section_name(cls) -> str:
        return cls.section.__module__.rpartition(".")[2]


class OutletProtection(Protection):
    """A protection of one outlet; each outlet has its own. The methods beside `step` are for those with a state."""

    each_tick: ClassVar[bool] = False  # judges peaks or ages; the others are stepped with each new slow reading
    only_unusual: ClassVar[bool] = False  # its `step` does nothing but for the inputs tried in `OutletSafety.step`
    open_only: ClassVar[bool] = False  # its `step` does nothing for a closed outlet
    whole_cabinet: ClassVar[bool] = False  # opens every outlet
    forgets_on_closing: ClassVar[bool] = False  # readings from before the relay closed do not count

    def __init__(self, config: Configuration, outlet: Any) -> None:
        """Take the limits from `config`, and from `outlet`, its section of the configuration."""
        super().__init__(config)
        self.half_cycle_ns: int = NS // (2 * config.hardware.frequency_hz)

    @abc.abstractmethod
    def step(self, inputs: OutletInputs) -> dict[str, int] | None:
        """Take the inputs of one tick; return the numbers that trip the protection, or None."""

    def step_slow(self, inputs: OutletInputs) -> dict[str, int] | None:
        """Do the same for the slow readings, if `each_tick` is set: with each new one, and 10 times a second."""
        return None

    def present(self, inputs: OutletInputs) -> bool:
        """Return whether the cause is still there (a fault that clears by itself may go once it is not)."""
        return False

    def reset(self) -> None:
        """Forget earlier readings: the outlet was switched, or its latch cleared."""


class CabinetProtection(Protection):
    """A protection of the cabinet as a whole."""

    siren: ClassVar[bool] = False  # people must leave
    each_tick: ClassVar[bool] = False  # judges contacts or peaks; the others are stepped every 20 ms

    @abc.abstractmethod
    def step(self, inputs: CabinetInputs) -> dict[str, int] | None:
        """Return the numbers that trip it, or None; with `outlet` among them, only that outlet opens."""

    def warns(self, inputs: CabinetInputs) -> bool:
        """Return whether staff should be warned already."""
        return False

    @abc.abstractmethod
    def present(self, inputs: CabinetInputs) -> bool:
        """Return whether the cause is still there."""
