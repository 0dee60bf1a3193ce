"""What hangs behind one channel of a mux, and how it is doing."""

import errno
import logging
from collections.abc import Callable

import msgspec

from cabinet.chips.ade7953 import Ade7953, Gain
from cabinet.clock import MS
from cabinet.errors import BusError, ChipError
from cabinet.guard.thermometer import Thermometer

log = logging.getLogger(__name__)

# Nothing but failures for so long, and so many: one lost read is an ordinary disturbance, and where one in a hundred is
# lost, three in a row come every few minutes. What is down must be set up again, which takes forty transfers.
DOWN_AFTER_NS = 20 * MS
FAILURES_UNTIL_DOWN = 3
FIRST_RETRY_NS = 20 * MS
LONGEST_RETRY_NS = 1000 * MS
STILL_SAMPLES = 5  # 3 ms apart; the mains move by 60 V in that time even at their crest
LONGEST_ERROR = 160  # characters kept of one for people


class Input(msgspec.Struct):
    """One current input of a meter chip and the outlet on it."""

    name: str
    index: int  # of the outlet in the guard's list
    read_from_ns: int | None = None  # when the peak register was last cleared; None: not yet
    was_over: bool = False  # its last peak was over the alert level
    over_to_ns: int = 0  # when such a peak was last read
    edge_ns: int | None = None  # when its alert line fell, if no peak was read since
    alert_held: bool = False  # its alert may be latched in the chip: no further edge before it is taken
    watched_until_ns: int = 0


class Segment:
    """What hangs behind one channel of a mux: a meter chip, its inputs, its thermometers; and how it is doing."""

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
        self.feed_input = feed_input  # where the whole cabinet's current is measured
        self.up = False
        self.hung = False  # its last failure was that it held the bus
        self.failures = 0
        self.failing_since_ns = 0  # the first of them
        self.errors: dict[str, int] = {}  # since the start, by errno or kind
        self.last_error = ""
        self.last_error_ns = 0
        self.retry_at_ns = 0
        self.retry_wait_ns = FIRST_RETRY_NS
        self.alert_peak_ma: int | None = None  # lower than a short's for a moment, while staff test its alert lines
        self.sample_still = False  # its instantaneous voltage does not move: another segment's tells the phase
        self._sample_mv: int | None = None
        self._same_samples = 0
        self.slow: list[Callable[[], None]] = []
        self.doubts: list[Callable[[], None]] = []  # checks that cannot wait for their turn, one a scan
        self.turn = 0

    def came_up(self) -> None:
        """It answered and was set up; what its peak registers hold belongs to nobody."""
        for input_ in self.inputs:
            input_.read_from_ns = None
            input_.was_over = input_.alert_held = False
            input_.edge_ns = None
        self.sample_still = False
        self.doubts.clear()
        self.up, self.hung = True, False
        self.retry_wait_ns = FIRST_RETRY_NS
        log.info("%s: up", self.name)

    def note_sample(self, voltage_mv: int) -> bool:
        """Note an instantaneous voltage; whether they stand still."""
        same = voltage_mv == self._sample_mv
        self._sample_mv, self._same_samples = voltage_mv, self._same_samples + 1 if same else 0
        self.sample_still = self._same_samples >= STILL_SAMPLES
        return self.sample_still

    def failed(self, error: BusError | ChipError, now_ns: int, hung: bool) -> None:
        """Note a transfer that failed; too many of them in a row, or one that `hung` the bus, take it down."""
        if self.failures == 0:
            self.failing_since_ns = now_ns
        self.failures += 1
        self.hung = hung
        kind = errno.errorcode.get(error.errno, "EIO") if isinstance(error, BusError) else type(error).__name__
        self.errors[kind] = self.errors.get(kind, 0) + 1
        self.last_error, self.last_error_ns = str(error)[:LONGEST_ERROR], now_ns
        lasting = now_ns - self.failing_since_ns >= DOWN_AFTER_NS and self.failures >= FAILURES_UNTIL_DOWN
        if hung or not self.up or lasting:
            if self.up:
                log.warning("%s: down: %s", self.name, error)
            self.up = False
            self.retry_at_ns = now_ns + self.retry_wait_ns
            self.retry_wait_ns = min(2 * self.retry_wait_ns, LONGEST_RETRY_NS)

    # --- as staff ask ----------------------------------------------------------------------------------------------

    def calibrate(self, index: int, gain: Gain) -> None:
        """Another gain for an outlet's input, if it is here, from the next scan on, which sets the chip up again."""
        for input_ in self.inputs:
            if input_.index == index:
                self.chip.set_gain(input_.name, gain)
                self._set_up_again()

    def alert_above(self, index: int, peak_ma: int | None) -> None:
        """Alerts of an outlet's chip, if it is here, above `peak_ma` instead of what a short needs; None: as always.

        So that a lamp makes one. Only the alert lines are more easily woken by it: what is judged is the same.
        """
        if any(input_.index == index for input_ in self.inputs):
            self.alert_peak_ma = peak_ma
            self._set_up_again()

    def _set_up_again(self) -> None:
        self.up = False
        self.retry_at_ns = 0
