"""One thermometer in the round robin: set up, read and checked. Its faults are separate from those of the meter."""

import logging
from collections.abc import Callable, Sequence

from cabinet.clock import Clock
from cabinet.errors import BusError, ChipError, ChipReset
from cabinet.hardware.tmp102 import ALERT_HYSTERESIS_MC, FIRST_CONVERSION_NS, Tmp102
from cabinet.model import ABSENT, Quality, Reading
from cabinet.protections.evidence import TripValues
from cabinet.protections.inputs import OutletInputs
from cabinet.protections.outlet_hot import plausible
from cabinet.protections.stillness import PeerThermometer, StillThermometer

log = logging.getLogger(__name__)

JUMP = "jump"
STILL = "stands still"


class Thermometer:
    """A TMP102 and the outlets with contacts that it watches; none: the air inside the cabinet."""

    def __init__(
        self,
        chip: Tmp102,
        outlets: Sequence[OutletInputs],
        limit_mc: int,
        watch: StillThermometer,
        fresh_ns: int,
        clock: Clock,
    ) -> None:
        """Take the chip; `limit_mc`: limit of protection and chip alert; `fresh_ns`: age limit of a current."""
        self.chip = chip
        self.reading = ABSENT
        self.resets = 0
        self._outlets = outlets
        self._limit_mc = limit_mc
        self._watch = watch
        self._fresh_ns = fresh_ns
        self._clock = clock
        self._ready = False
        self._valid_from_ns = 0
        self._last_good = ABSENT
        self._read_mc: int | None = None  # plausible or not
        self._still: TripValues | None = None  # by its readings
        self._contradicted: TripValues | None = None  # by the chip's own comparison
        self._problem = ""

    def for_comparison(self) -> PeerThermometer | None:
        """Return its value to the other thermometers, for comparison; None if it has no reading now."""
        return None if self.reading.value is None else self._watch.for_comparison(self.reading.value)

    @property
    def still(self) -> TripValues | None:
        """The numbers that prove that it stands still, or None."""
        return self._still or self._contradicted

    def bring_up(self) -> None:
        """Write its settings. If its answer is wrong, it stays down and is tried again. Raises BusError only."""
        try:
            asleep = self.chip.initialise(self._limit_mc)
        except ChipError as error:
            self._failed(error)
            return
        if asleep:
            log.warning("thermometer %s was shut down and is awake again", self.chip.port)
        self._ready, self._problem = True, ""
        self._valid_from_ns = self._clock.monotonic_ns() + FIRST_CONVERSION_NS
        self._last_good, self._read_mc = ABSENT, None  # it may have slept through any change
        self._still = self._contradicted = None
        self._watch.restart()

    def try_bring_up(self) -> None:
        """Bring it up with its segment; the meter waits for no thermometer. Raises BusError only if the bus hangs."""
        try:
            self.bring_up()
        except BusError as error:
            self._ready = False
            if not error.absent:
                raise

    def read(self, others: Callable[[], dict[int, PeerThermometer]]) -> None:
        """Read the temperature in its turn; `others` returns those to compare it with. Raises BusError."""
        if not self._ready or self._clock.monotonic_ns() < self._valid_from_ns:
            return
        try:
            value_mc = self.chip.temperature_mc()
        except ChipError as error:
            self._failed(error)
            return
        at_ns = self._clock.monotonic_ns()
        self._read_mc = value_mc
        before = self._last_good if self._outlets else ABSENT  # the air of a burning cabinet may jump
        if not plausible(value_mc, at_ns, before):
            self._show(Reading(None, before.at_ns, Quality.FAULT, JUMP))
            return
        self._last_good = Reading(value_mc, at_ns, Quality.OK)
        self._still = self._watch.note(at_ns, value_mc, self._squares_ma2(at_ns), others())
        self._show(self._last_good)

    def check(self) -> None:
        """Check one of its settings in its turn, or set the chip up if it is not. Raises BusError."""
        if not self._ready:
            self.bring_up()
            return
        try:
            self.chip.verify_next()
        except ChipError as error:
            self._failed(error)
            return
        if self._read_mc is not None:
            above_mc = self._limit_mc - ALERT_HYSTERESIS_MC if self.chip.above_limit else None
            self._contradicted = self._watch.compare(self._clock.monotonic_ns(), self._read_mc, above_mc)

    def _squares_ma2(self, at_ns: int) -> float | None:
        """Return the squared currents of its outlets; the heat of their contacts is proportional to them."""
        total = 0.0
        for inputs in self._outlets:
            current = inputs.current_ma
            if current.value is None or at_ns - current.at_ns > self._fresh_ns:
                return None
            total += current.value**2
        return total

    def _show(self, reading: Reading) -> None:
        self.reading = reading
        for inputs in self._outlets:
            inputs.temperature_mc = reading
            inputs.still_thermometer = self.still
            inputs.slow_reads += 1
            if reading.quality is Quality.OK:
                inputs.thermometer_reset_at_ns = None

    def _failed(self, error: ChipError) -> None:
        """Have the chip set up again in its next turn; count lost settings, which are reported to staff."""
        self._ready = False
        if str(error) != self._problem:
            self._problem = str(error)
            log.warning("thermometer: %s", error)
        if not isinstance(error, ChipReset):
            return
        self.resets += 1
        for inputs in self._outlets:
            inputs.chip_resets += 1
            inputs.thermometer_reset_at_ns = inputs.thermometer_reset_at_ns or self._clock.monotonic_ns()
