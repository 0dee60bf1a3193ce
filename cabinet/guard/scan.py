"""Reads the sensors: every outlet's peak at each scan, everything else in turn, and survives what a bus can do.

A scan never fails. What could not be read keeps its old time stamp, and the protections judge by age. One segment that
hangs costs at most one adapter timeout (20 ms) a retry; the others are read on as before.
"""

import errno
import logging
import math
from collections.abc import Callable
from functools import partial

import msgspec

from cabinet.chips.ade7953 import NAME as METER_NAME
from cabinet.chips.ade7953 import Ade7953, Gain
from cabinet.chips.bus import Line, Muxes, clock_out
from cabinet.chips.tmp102 import Tmp102
from cabinet.clock import MS, Clock
from cabinet.errors import BusError, ChipError, ChipReset
from cabinet.guard.phase import MainsPhase
from cabinet.guard.probe import Prober
from cabinet.model import ABSENT, Quality, Reading
from cabinet.protections.heat import believable
from cabinet.protections.words import OutletNow, PeakWindow

log = logging.getLogger(__name__)

# Nothing but failures for so long, and so many: one lost read is an ordinary disturbance, and where one in a hundred is
# lost, three in a row come every few minutes. What is down must be set up again, which takes forty transfers.
DOWN_AFTER_NS = 20 * MS
FAILURES_UNTIL_DOWN = 3
FIRST_RETRY_NS = 20 * MS
LONGEST_RETRY_NS = 1000 * MS
SLOW_ROUND_NS = 500 * MS  # in which each slow value is read: half of what the shortest-lived may be old (slow_lost_s)

WATCHED_NS = 100 * MS  # after a peak over the alert level: as long as a short may skip half-cycles
REST_NS = 250_000  # between two extra looks at one outlet: a look takes 0.2 ms on the bus
EDGE_LATE_NS = 500_000  # an edge is noted this long after the sample that made it, at most

LONGEST_ERROR = 160  # characters kept of one for people
BACKWARDS_MW = 3000  # less is noise around zero

AddEnergy = Callable[[int, int], None]  # (outlet's index, microjoules)


class Input(msgspec.Struct):
    """One current input of a meter chip and the outlet on it."""

    name: str
    index: int  # of the outlet in the guard's list
    read_from_ns: int | None = None  # when the peak register was last cleared; None: not yet
    was_over: bool = False  # its last peak was over the alert level
    alert_held: bool = False  # its alert may be latched in the chip: no further edge before it is taken
    watched_until_ns: int = 0


class Segment:
    """What hangs behind one channel of a mux: a meter chip, its inputs, its thermometers; and how it is doing."""

    def __init__(
        self,
        name: str,
        chip: Ade7953,
        inputs: list[Input],
        thermometers: list[tuple[Tmp102, list[int]]],
        feed_input: str | None = None,
    ) -> None:
        self.name = name
        self.chip = chip
        self.inputs = inputs
        self.thermometers = thermometers
        self.feed_input = feed_input  # where the whole cabinet's current is measured
        self.up = False
        self.failures = 0
        self.failing_since_ns = 0  # the first of them
        self.errors: dict[str, int] = {}  # since the start, by errno or kind
        self.last_error = ""
        self.last_error_ns = 0
        self.retry_at_ns = 0
        self.retry_wait_ns = FIRST_RETRY_NS
        self.alert_peak_ma: int | None = None  # lower than a short's for a moment, while staff test its alert lines
        self.slow: list[Callable[[], None]] = []
        self.turn = 0


class Scanner:
    """Owns the sensor side of the bus. Writes what it read into the guard's `OutletNow`s."""

    def __init__(
        self,
        segments: list[Segment],
        outlets: list[OutletNow],
        inside: Tmp102 | None,
        muxes: Muxes,
        mux_reset: Line | None,
        clock_out_line: Line | None,
        phase: MainsPhase,
        alert_peak_ma: int,
        add_energy: AddEnergy,
        clock: Clock,
    ) -> None:
        self._segments = segments
        self._outlets = outlets
        self._inside = inside
        self._muxes = muxes
        self._mux_reset = mux_reset
        self._clock_out_line = clock_out_line
        self._hung_again = False  # although the segments had been cut off: an upstream chip holds the bus
        self.phase = phase
        self._alert_peak_ma = alert_peak_ma
        self._add_energy = add_energy
        self._clock = clock
        self._slow_turn = 0
        self._scanned_at_ns = clock.monotonic_ns()
        self._last_good_mc: dict[int, Reading] = {}
        self.inside_mc = ABSENT
        self.frequency_mhz = ABSENT
        self.feed_mw = ABSENT
        self.bus_errors = 0
        self._hung = False
        self.prober: Prober | None = None  # looks, or has looked, for chips that nobody expects
        self.between: Callable[[], None] = lambda: None  # called before each segment: what cannot wait for the scan
        self.judge: Callable[[int], None] = lambda index: None  # called with each peak read, before the next is read
        self._watched: list[tuple[Segment, Input]] = []
        for segment in segments:
            segment.slow = list(self._slow_reads(segment))

    def start(self) -> None:
        """Bring every segment up; what does not answer stays down and is tried again by `scan`."""
        for segment in self._segments:
            self.between()
            self._attempt(segment, partial(self._bring_up, segment))

    def scan(self, everything: bool = False) -> None:
        """One scan. With `everything` all slow values are read too, for tests that stride through hours."""
        sampled = False
        raised = False
        self._hung = False
        slow_segments = self._slow_segments()
        for segment in self._segments:
            if not everything:  # after a stride an alert would be judged beside values that are a stride old
                self.between()
            if not segment.up:
                if raised or self._clock.monotonic_ns() < segment.retry_at_ns:
                    continue
                raised = True  # setting a chip up takes longer than a scan: one at a time
            if everything and segment.up:
                for read in segment.slow:  # first: the peak read below is judged together with them
                    self._attempt(segment, read)
            work = self._bring_up if not segment.up else self._read_peaks
            if not self._attempt(segment, partial(work, segment)):
                if self._hung:
                    return  # one transfer that runs into the adapter's timeout is enough for one scan
                continue
            if not sampled:
                sampled = self._attempt(segment, partial(self._sample_voltage, segment))
            if segment in slow_segments:
                self._attempt(segment, partial(self._next_slow, segment))
            if not everything:
                self.between()
                self.watch()
        if self.prober is not None and not self.prober.done and not self._watched:
            self._probe(self.prober)

    def _probe(self, prober: Prober) -> None:
        """One address a scan, and none while an outlet is watched: a transfer, or the adapter's timeout, at most."""
        if prober.step():
            self._hung = True
            self._free_bus()

    @property
    def segments(self) -> list[Segment]:
        return self._segments

    @property
    def inside_thermometer(self) -> Tmp102 | None:
        return self._inside

    def set_gain(self, index: int, gain: Gain) -> None:
        """Calibrate an outlet's input from now on; its chip is set up again at the next scan."""
        for segment, input_ in self._inputs_of(index):
            segment.chip.set_gain(input_.name, gain)
            self._set_up_again(segment)

    def set_alert_level(self, index: int, peak_ma: int | None) -> None:
        """Alerts of an outlet's chip above `peak_ma` instead of what a short needs, so that a lamp makes one; None: as
        always. Only the alert lines are more easily woken by it: what is judged is the same."""
        for segment, _ in self._inputs_of(index):
            segment.alert_peak_ma = peak_ma
            self._set_up_again(segment)

    def _inputs_of(self, index: int) -> list[tuple[Segment, Input]]:
        return [(segment, each) for segment in self._segments for each in segment.inputs if each.index == index]

    def _set_up_again(self, segment: Segment) -> None:
        segment.up = False
        segment.retry_at_ns = 0

    def _slow_segments(self) -> list[Segment]:
        """Whose turn it is for a slow value: one segment a scan, or as many as keep the round within its time.

        Ten outlets get round with one; forty, whose scan takes three times as long for four times the values, with
        five, and so their values are no older.
        """
        now_ns = self._clock.monotonic_ns()
        count = len(self._segments)
        values = sum(len(segment.slow) for segment in self._segments)
        due = math.ceil(values * (now_ns - self._scanned_at_ns) / SLOW_ROUND_NS)
        self._scanned_at_ns = now_ns
        turns = range(self._slow_turn, self._slow_turn + max(1, min(due, count)))
        self._slow_turn = turns.stop
        return [self._segments[turn % count] for turn in turns]

    # --- outlets that drew too much a moment ago -------------------------------------------------------------------

    @property
    def watching(self) -> bool:
        """Whether some outlet is to be looked at more often than a scan does."""
        return bool(self._watched)

    def watch(self) -> None:
        """One extra look at an outlet whose current was over the alert level within the last 100 ms, in turn.

        What decides between an inrush and a short is the first millisecond of its next half-cycle, and a scan's
        windows are too wide to say which half-cycle they saw. At most one look between two segments, so that ten
        inrushes at once do not keep the scan from anybody else.
        """
        now_ns = self._clock.monotonic_ns()
        over = [(s, i) for s, i in self._watched if now_ns >= i.watched_until_ns]
        self._watched = [(s, i) for s, i in self._watched if s.up and now_ns < i.watched_until_ns]
        for segment, input_ in over:
            if segment.up and input_.alert_held:  # nobody looked in time: without this its line would never move again
                self._attempt(segment, partial(self._release, segment, input_))
        for place, (segment, input_) in enumerate(self._watched):
            if input_.read_from_ns is None or now_ns - input_.read_from_ns >= REST_NS:
                self._watched.append(self._watched.pop(place))
                self._attempt(segment, partial(self._look_again, segment, input_))
                return

    def _look_again(self, segment: Segment, input_: Input) -> None:
        self._read_peak(segment, input_)
        if input_.alert_held and not input_.was_over:
            self._release(segment, input_)

    def _release(self, segment: Segment, input_: Input) -> None:
        """Take the chip's alert, now that the current is low again: the next one over the level makes an edge."""
        input_.alert_held = False
        if segment.chip.take_alerts(input_.name).reset:
            raise ChipReset(METER_NAME, segment.name, "was reset: its set-up is lost")

    def read_alert(self, index: int, edge_ns: int) -> None:
        """The over-current line of an outlet went low at `edge_ns`: read its peak before anything else."""
        for segment in self._segments:
            for input_ in segment.inputs:
                if input_.index == index and segment.up:
                    self._attempt(segment, partial(self._answer, segment, input_, edge_ns))

    def _answer(self, segment: Segment, input_: Input, edge_ns: int) -> None:
        self._read_peak(segment, input_, None if input_.was_over else edge_ns)
        input_.alert_held = True
        if not input_.was_over:
            self._release(segment, input_)  # a scan had read that peak already

    def _attempt(self, segment: Segment, work: Callable[[], None]) -> bool:
        """Do `work`, which is on `segment`; False where it failed, and then the segment's retry is arranged."""
        try:
            work()
        except BusError as error:
            self.bus_errors += 1
            self._failed(segment, error, hung=not error.absent)
            return False
        except ChipError as error:
            if isinstance(error, ChipReset):
                self._note_reset(segment)
            self._failed(segment, error, hung=False)
            segment.up = False  # a chip that lost its set-up must be set up again
            return False
        segment.failures = 0
        self._hung_again = False
        return True

    def _note_reset(self, segment: Segment) -> None:
        """From now until the first peak after its new set-up, its outlets are not measured as they should be."""
        for input_ in segment.inputs:
            now = self._outlets[input_.index]
            now.reset_at_ns = self._clock.monotonic_ns() if now.reset_at_ns is None else now.reset_at_ns

    def _failed(self, segment: Segment, error: BusError | ChipError, hung: bool) -> None:
        now_ns = self._clock.monotonic_ns()
        if segment.failures == 0:
            segment.failing_since_ns = now_ns
        segment.failures += 1
        kind = errno.errorcode.get(error.errno, "EIO") if isinstance(error, BusError) else type(error).__name__
        segment.errors[kind] = segment.errors.get(kind, 0) + 1
        segment.last_error, segment.last_error_ns = str(error)[:LONGEST_ERROR], now_ns
        lasting = now_ns - segment.failing_since_ns >= DOWN_AFTER_NS and segment.failures >= FAILURES_UNTIL_DOWN
        if hung:
            self._hung = True
            self._free_bus()
        if hung or not segment.up or lasting:
            if segment.up:
                log.warning("%s: down: %s", segment.name, error)
            segment.up = False
            segment.retry_at_ns = now_ns + segment.retry_wait_ns
            segment.retry_wait_ns = min(2 * segment.retry_wait_ns, LONGEST_RETRY_NS)

    def _free_bus(self) -> None:
        """RESET of the muxes cuts every segment off the bus (TCA9548A: 6 ns are enough); next time, SCL by hand too."""
        if self._hung_again and self._clock_out_line is not None:
            clock_out(self._clock_out_line)
        self._hung_again = True
        if self._mux_reset is None:
            self._muxes.forget()
            return
        self._mux_reset.on()
        self._mux_reset.off()
        self._muxes.was_reset()

    def _bring_up(self, segment: Segment) -> None:
        level_ma = segment.alert_peak_ma
        segment.chip.initialise(self._alert_peak_ma if level_ma is None else min(level_ma, self._alert_peak_ma))
        for thermometer, _ in segment.thermometers:
            thermometer.validate()
        for input_ in segment.inputs:
            input_.read_from_ns = None
            input_.was_over = input_.alert_held = False
        segment.up = True
        segment.retry_wait_ns = FIRST_RETRY_NS
        log.info("%s: up", segment.name)

    def _read_peaks(self, segment: Segment) -> None:
        for input_ in segment.inputs:
            self._read_peak(segment, input_)

    def _read_peak(self, segment: Segment, input_: Input, edge_ns: int | None = None) -> None:
        """Read and judge one peak; with the moment of an alert's edge, that is when it was over the level."""
        start_ns = self._clock.monotonic_ns()
        peak_ma = segment.chip.peak_ma(input_.name)
        end_ns = self._clock.monotonic_ns()
        from_ns, input_.read_from_ns = input_.read_from_ns, start_ns
        input_.was_over = peak_ma > self._alert_peak_ma
        if input_.was_over:
            self._suspect(segment, input_, end_ns)
        if from_ns is None:
            return  # what the register held before belongs to nobody
        now = self._outlets[input_.index]
        to_ns = end_ns
        if edge_ns is not None and input_.was_over and from_ns < edge_ns < end_ns:
            from_ns, to_ns = max(from_ns, edge_ns - EDGE_LATE_NS), edge_ns
        crest_ns = self.phase.crest_ns(to_ns) if input_.was_over else None
        now.window = PeakWindow(peak_ma, from_ns, to_ns, *self.phase.half_cycles(from_ns, to_ns), crest_ns)
        now.peak_valid_at_ns = end_ns
        now.reset_at_ns = None
        self.judge(input_.index)

    def _suspect(self, segment: Segment, input_: Input, now_ns: int) -> None:
        input_.alert_held = True  # the chip sets the flag whether its line is connected or not
        if now_ns >= input_.watched_until_ns or (segment, input_) not in self._watched:
            self._watched.append((segment, input_))
        input_.watched_until_ns = now_ns + WATCHED_NS

    def _sample_voltage(self, segment: Segment) -> None:
        start_ns = self._clock.monotonic_ns()
        voltage_mv = segment.chip.voltage_sample_mv()
        self.phase.sample((start_ns + self._clock.monotonic_ns()) // 2, voltage_mv)

    def _next_slow(self, segment: Segment) -> None:
        read = segment.slow[segment.turn % len(segment.slow)]
        segment.turn += 1
        read()

    def _slow_reads(self, segment: Segment) -> list[Callable[[], None]]:
        """One call a value; their order is the order of the round robin."""
        reads: list[Callable[[], None]] = []
        for input_ in segment.inputs:
            reads += [
                partial(self._read_current, segment, input_),
                partial(self._read_power, segment, input_),
                partial(self._read_energy, segment, input_),
            ]
        reads.append(partial(self._read_voltage, segment))
        for thermometer, indexes in segment.thermometers:
            reads.append(partial(self._read_temperature, thermometer, indexes))
        if segment.feed_input is not None:
            reads.append(partial(self._read_feed, segment, segment.feed_input))
        reads.append(segment.chip.verify_next)
        if segment is self._segments[0]:
            reads.append(partial(self._read_shared, segment))
        return reads

    def _ok(self, value: int) -> Reading:
        return Reading(value, self._clock.monotonic_ns(), Quality.OK)

    def _read_current(self, segment: Segment, input_: Input) -> None:
        now = self._outlets[input_.index]
        now.current_ma = self._ok(segment.chip.current_ma(input_.name))
        now.slow_reads += 1

    def _read_power(self, segment: Segment, input_: Input) -> None:
        # a current transformer clamped on backwards shows the same power with a minus
        now = self._outlets[input_.index]
        power_mw = segment.chip.power_mw(input_.name)
        now.power_mw = self._ok(abs(power_mw))
        now.backwards = power_mw < -BACKWARDS_MW
        now.slow_reads += 1

    def _read_feed(self, segment: Segment, input_name: str) -> None:
        self.feed_mw = self._ok(abs(segment.chip.power_mw(input_name)))

    def _read_energy(self, segment: Segment, input_: Input) -> None:
        self._add_energy(input_.index, abs(segment.chip.energy_uj(input_.name)))

    def _read_voltage(self, segment: Segment) -> None:
        reading = self._ok(segment.chip.voltage_mv())
        for input_ in segment.inputs:
            now = self._outlets[input_.index]
            now.voltage_mv = reading
            now.slow_reads += 1

    def _read_temperature(self, thermometer: Tmp102, indexes: list[int]) -> None:
        reading = self._ok(thermometer.temperature_mc())
        assert reading.value is not None  # just read
        for index in indexes:
            self._outlets[index].slow_reads += 1
            before = self._last_good_mc.get(index, ABSENT)
            if believable(reading.value, reading.at_ns, before):
                self._last_good_mc[index] = self._outlets[index].temperature_mc = reading
            else:
                self._outlets[index].temperature_mc = Reading(None, before.at_ns, Quality.FAULT, "jump")

    def _read_shared(self, segment: Segment) -> None:
        """What there is one of in the cabinet."""
        frequency_mhz = segment.chip.frequency_mhz()
        self.frequency_mhz = ABSENT if frequency_mhz is None else self._ok(frequency_mhz)
        if self._inside is not None:
            self.inside_mc = self._ok(self._inside.temperature_mc())
