"""One I2C mux channel: its devices and their health."""

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass

from cabinet.clock import MS
from cabinet.errors import BusError, ChipError
from cabinet.guard.thermometer import Thermometer
from cabinet.hardware.ade7953 import Ade7953, Gain

log = logging.getLogger(__name__)

# A segment is down after only failures for this time, and at least this number: one lost read is an ordinary
# disturbance, and if one in a hundred is lost, three in a row come every few minutes. A segment that is down must be
# set up again, which takes forty transfers.
DOWN_AFTER_NS = 20 * MS
FAILURES_UNTIL_DOWN = 3
FIRST_RETRY_NS = 20 * MS
MAX_RETRY_NS = 1000 * MS
STILL_SAMPLES = 5  # 3 ms apart; the mains move by 60 V in that time even at their crest
MAX_ERROR = 160  # characters of an error kept for display


@dataclass(slots=True)
class Input:
    """One current input of a meter chip and the outlet on it."""

    name: str
    index: int  # of the outlet in the guard's list
    read_from_ns: int | None = None  # when the peak register was last cleared; None: not yet
    was_over: bool = False  # its last peak was over the alert level
    peak_ma: int = 0  # the last one that was, or that came after an alert's edge
    over_to_ns: int = 0  # when a peak over that level was last read
    edge_ns: int | None = None  # when its alert line fell, if no peak was read since
    alert_held: bool = False  # its alert may be latched in the chip: no further edge until it is cleared
    watched_until_ns: int = 0


class Segment:
    """One I2C mux channel: a meter chip, its inputs, its thermometers; and their health."""

    def __init__(
        self,
        name: str,
        chip: Ade7953,
        inputs: list[Input],
        thermometers: list[Thermometer],
        feed_input: str | None = None,
    ) -> None:
        self.name = name
        self.chip = chip
        self.inputs = inputs
        self.thermometers = thermometers
        self.feed_input = feed_input  # input that measures the current of the whole cabinet
        self.up = False
        self.hung = False  # its last failure held the bus
        self.failures = 0
        self.failing_since_ns = 0  # time of the first of them
        self.errors: dict[str, int] = {}  # since the start, by errno or kind
        self.last_error = ""
        self.last_error_ns = 0
        self.retry_at_ns = 0
        self.retry_wait_ns = FIRST_RETRY_NS
        self.alert_peak_ma: int | None = None  # below a short's level for a moment, while staff test its lines
        self.sample_still = False  # its instantaneous voltage stands still: another segment gives the phase
        self._sample_mv: int | None = None
        self._same_samples = 0
        self.urgent_checks: list[tuple[str, Callable[[], None]]] = []  # by input: they cannot wait, one a scan

    def came_up(self) -> None:
        """Mark the segment as set up; discard its peak registers: they cover time before."""
        for input_ in self.inputs:
            input_.read_from_ns = None
            input_.was_over = input_.alert_held = False
            input_.edge_ns = None
        self.sample_still = False
        self.urgent_checks.clear()
        self.up, self.hung = True, False
        self.retry_wait_ns = FIRST_RETRY_NS
        log.info("%s: up", self.name)

    def note_sample(self, voltage_mv: int) -> bool:
        """Note an instantaneous voltage. Return whether the samples stand still."""
        same = voltage_mv == self._sample_mv
        self._sample_mv, self._same_samples = voltage_mv, self._same_samples + 1 if same else 0
        self.sample_still = self._same_samples >= STILL_SAMPLES
        return self.sample_still

    def failed(self, error: BusError | ChipError, now_ns: int, hung: bool) -> None:
        """Note a failed transfer; too many of them in a row, or one that `hung` the bus, take the segment down."""
        if self.failures == 0:
            self.failing_since_ns = now_ns
        self.failures += 1
        self.hung = hung
        kind = errno.errorcode.get(error.errno, "EIO") if isinstance(error, BusError) else type(error).__name__
        self.errors[kind] = self.errors.get(kind, 0) + 1
        self.last_error, self.last_error_ns = str(error)[:MAX_ERROR], now_ns
        lasting = now_ns - self.failing_since_ns >= DOWN_AFTER_NS and self.failures >= FAILURES_UNTIL_DOWN
        if hung or not self.up or lasting:
            if self.up:
                log.warning("%s: down: %s", self.name, error)
            self.up = False
            self.retry_at_ns = now_ns + self.retry_wait_ns
            self.retry_wait_ns = min(2 * self.retry_wait_ns, MAX_RETRY_NS)

    # --- Staff commands --------------------------------------------------------------------------------------------

    def calibrate(self, index: int, gain: Gain) -> None:
        """Set the gain of an outlet's input, if it is here; valid from the next scan, which sets the chip up again."""
        for input_ in self.inputs:
            if input_.index == index:
                self.chip.set_gain(input_.name, gain)
                self._set_up_again()

    def alert_above(self, index: int, peak_ma: int | None) -> None:
        """Set the alert level of an outlet's chip, if it is here, to `peak_ma`; None: the level for a short.

        A lamp then makes an alert. Only the alert lines trip more easily; the judgement of peaks is the same.
        """
        if any(input_.index == index for input_ in self.inputs):
            self.alert_peak_ma = peak_ma
            self._set_up_again()

    def _set_up_again(self) -> None:
        self.up = False
        self.retry_at_ns = 0
