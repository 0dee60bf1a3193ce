"""Sensor scanner: reads every outlet's peak at each scan and all else in turn, and survives faults of the bus.

A scan is an iterator: it yields each outlet with a peak just read, so that it is judged before the next peak is read.
The guard advances it, and nothing here calls back.

A scan never fails. A value that could not be read keeps its old time stamp, and the protections judge by age. One
segment that hangs costs at most one adapter timeout a retry; the others are read as before. A hang is attributed to the
segment that is joined with the bus: if a chip seizes the bus after it was read, the next segment's selection meets the
hang.

An alert line and a peak register are two witnesses. If a line fell and its peak cannot be read, the suspicion stays
(`inputs.alert_at_ns`) until a peak is read. If the peak was read and is low although the chip insists, that counts
as one window over the limit: the register stands still or is wrong.
"""

import logging
from collections.abc import Callable, Generator, Iterator

from cabinet.clock import MS, Clock
from cabinet.errors import BusError, ChipError, ChipReset
from cabinet.guard.phase import MainsPhase
from cabinet.guard.probe import Prober
from cabinet.guard.round_robin import RoundRobinReader
from cabinet.guard.segment import Input, Segment
from cabinet.hardware.ade7953 import NAME as METER_NAME
from cabinet.hardware.bus import Muxes, OutputLine, clock_out
from cabinet.protections.inputs import OutletInputs, PeakWindow
from cabinet.protections.short_circuit import AFTER_SECOND_CREST_NS

log = logging.getLogger(__name__)

WATCHED_NS = 100 * MS  # after a peak over the alert level: as long as a short may skip half-cycles
REST_NS = 250_000  # between two extra reads of one outlet: a read takes 0.2 ms on the bus
LINGER_FROM_NS, LINGER_TO_NS = 500_000, 2_000_000  # after the crest; at most five reads, a millisecond of the bus
# The phase follows samples less than 5 ms apart. A scan takes longer if outlets are watched, or in a large cabinet.
SAMPLE_NS = 3_000_000
ODD_MA = 100  # peak of an open outlet, which should have none
EDGE_LATE_NS = 500_000  # an edge is noted at most this long after the sample that caused it
# A chip has one alert level, that of the input that needs the lower one: a peak slightly below it is normal.
CONTRADICTS_SHARE = 0.5


class Scanner:
    """Owner of the sensor side of the bus. Its readings are in the outlets' `OutletInputs` when they are yielded."""

    def __init__(
        self,
        segments: list[Segment],
        outlets: list[OutletInputs],
        slow: RoundRobinReader,
        muxes: Muxes,
        mux_reset: OutputLine | None,
        clock_out_line: OutputLine | None,
        phase: MainsPhase,
        alert_peak_ma: int,
        clock: Clock,
        line_low: Callable[[int], bool],
        new_prober: Callable[[], Prober],
    ) -> None:
        """Take the parts. `line_low` returns whether an outlet's alert line is low; `new_prober` begins a search."""
        self.segments = segments
        self._outlets = outlets
        self.slow = slow
        self._muxes = muxes
        self._mux_reset = mux_reset
        self._clock_out_line = clock_out_line
        self._hung_again = False  # although all segments had been cut off: an upstream chip holds the bus
        self.phase = phase
        self._alert_peak_ma = alert_peak_ma
        self._clock = clock
        self._now_ns = clock.monotonic_ns
        self._sampled_at_ns = clock.monotonic_ns()  # the voltage
        self.bus_errors = 0
        self._hangs = 0  # in this scan
        self.prober: Prober | None = None  # present or last search for unexpected chips
        self._line_low = line_low
        self._new_prober = new_prober
        self._watched: list[tuple[Segment, Input]] = []
        self._places = {input_.index: (segment, input_) for segment in segments for input_ in segment.inputs}
        self._by_channel = {(segment.chip.port.mux, segment.chip.port.channel): segment for segment in segments}

    def start(self) -> Iterator[int | None]:
        """Bring every segment up, yielding as `scan`; one that does not answer stays down and is tried again there."""
        for segment in self.segments:
            yield None
            yield from self._attempt_peaks(segment, self._bring_up)

    def scan(self, full_scan: bool = False) -> Iterator[int | None]:
        """Make one scan. Yield the index of each outlet with a new peak window, to be judged before the next read.

        None is yielded between segments, for work that cannot wait. With `full_scan` all slow values are read too, for
        tests that stride through hours: an alert between segments would be judged with values that are a stride old.
        """
        sampled = brought_up = paused = False
        self._hangs, due = 0, self.slow.due()
        for segment in self.segments:
            if not (full_scan or paused):
                yield None
            paused = False
            if not segment.up:
                if brought_up or not self._may_bring_up(segment):
                    continue
                brought_up = True  # setting a chip up takes longer than a scan: one at a time
            elif full_scan:
                for read in self.slow.reads[segment]:  # first: the peak read below is judged together with them
                    self._attempt(segment, read)
            try:
                if segment.up:
                    for input_ in segment.inputs:
                        if input_.edge_ns is not None:
                            yield from self._read_after_edge(segment, input_)
                        elif self._read_peak(segment, input_):
                            yield input_.index
                else:
                    yield from self._bring_up(segment)
            except (BusError, ChipError) as error:
                work = self._read_peaks if segment.up else self._bring_up
                if not (self._may_repeat(segment, error) and (yield from self._attempt_peaks(segment, work))):
                    if self._hangs > 1:
                        return  # two transfers that run into the adapter's timeout are enough for one scan
                    continue
            segment.failures = 0
            self._hung_again = False
            if segment.urgent_checks:
                self._attempt(segment, segment.urgent_checks.pop()[1])
            resample = not sampled or self._now_ns() >= self._sampled_at_ns + SAMPLE_NS
            if resample and not segment.sample_still:
                sampled = self._attempt(segment, self._sample_voltage, segment)
            if segment in due:
                if self._watched and not full_scan:
                    yield from self.watch()
                self._attempt(segment, self.slow.next, segment)
            if not full_scan:
                yield None
                paused = not self._watched
                if self._watched:
                    yield from self.watch()
        # One address a scan, none while an outlet is watched: one transfer, at most the adapter's timeout.
        if self.prober is not None and not self.prober.done and not self._watched and self.prober.step():
            self.free_bus()

    def search(self) -> None:
        """Begin a search for unexpected chips, unless one is running; `scan` probes one address each time."""
        if self.prober is None or self.prober.done:
            self.prober = self._new_prober()

    def _may_bring_up(self, segment: Segment) -> bool:
        """Return whether to set `segment` up now; an adapter timeout must not come just when an outlet is judged."""
        if self._clock.monotonic_ns() < segment.retry_at_ns:
            return False
        if not segment.hung:
            return True
        return not self._watched and not any(each.closed and each.alert_at_ns is not None for each in self._outlets)

    # --- Extra reads of outlets that drew too much a moment ago ----------------------------------------------------

    @property
    def watching(self) -> bool:
        """Return whether some outlet is to be read more often than once a scan."""
        return bool(self._watched)

    def watch(self) -> Iterator[int]:
        """Read, in turn, one outlet that had a current over the alert level within the last 100 ms; yield as `scan`.

        The first millisecond of the next half-cycle decides between an inrush and a short, and a scan's windows are too
        wide to distinguish half-cycles. At most one extra read is made between two segments: ten inrushes at once do
        not delay the scan for the other outlets.
        """
        if not self._watched:
            return
        now_ns = self._clock.monotonic_ns()
        over = [(s, i) for s, i in self._watched if now_ns >= i.watched_until_ns]
        self._watched = [(s, i) for s, i in self._watched if s.up and now_ns < i.watched_until_ns]
        for segment, input_ in over:
            if segment.up and input_.alert_held:  # no read in time: without this its line never moves again
                self._attempt(segment, self._release, segment, input_)
        for place, (segment, input_) in enumerate(self._watched):
            if input_.read_from_ns is None or now_ns - input_.read_from_ns >= REST_NS:
                self._watched.append(self._watched.pop(place))
                yield from self._attempt_peaks(segment, self._read_watched, input_)
                return

    def _read_watched(self, segment: Segment, input_: Input) -> Iterator[int]:
        yield from self._read_after_edge(segment, input_)
        yield from self._follow_past_crest(segment, input_)
        if input_.alert_held and not input_.was_over:
            self._release(segment, input_)

    def _follow_past_crest(self, segment: Segment, input_: Input) -> Iterator[int]:
        """Follow a high current past the voltage's crest: if it stays high until well after the crest, it is no inrush.

        A current of 25 A RMS is high for 0.8 ms there, about as long as it takes until this outlet's next turn.
        """
        past_ns = 0
        while input_.was_over and self._outlets[input_.index].closed and past_ns < AFTER_SECOND_CREST_NS:
            from_ns = input_.read_from_ns
            crest_ns = None if from_ns is None else self.phase.crest_ns(from_ns)
            if from_ns is None or crest_ns is None:
                return
            past_ns = from_ns - crest_ns
            if not LINGER_FROM_NS <= past_ns < LINGER_TO_NS:
                return
            yield from self._read_after_edge(segment, input_)

    def _release(self, segment: Segment, input_: Input) -> bool:
        """Clear the chip's alert now that the current is low again, so that the next one over the level makes an edge.

        Return whether the chip had detected a current over the level.
        """
        input_.alert_held = False
        alerts = segment.chip.take_alerts(input_.name)
        if alerts.reset:
            raise ChipReset(METER_NAME, segment.name, "was reset: its set-up is lost")
        return alerts.overcurrent

    def read_alert(self, index: int, edge_ns: int) -> Iterator[int]:
        """Read the peak of an outlet at once: its over-current line went low at `edge_ns`. Yield as `scan`.

        If that fails, the edge is kept until a peak is read: `ShortCircuit` does not wait long for it.
        """
        segment, input_ = self._places[index]
        input_.edge_ns = edge_ns if input_.edge_ns is None else input_.edge_ns
        if segment.up:
            yield from self._attempt_peaks(segment, self._read_after_edge, input_)
        elif not segment.hung:
            segment.retry_at_ns = 0  # the segment is alive
        if input_.edge_ns is not None and segment.alert_peak_ma is None:
            self._outlets[index].alert_at_ns = input_.edge_ns

    def check_scale_soon(self, index: int) -> None:
        """Check the settings that scale the readings of a closed outlet in the next scans, one in each."""
        segment, input_ = self._places[index]
        if segment.up:
            waiting = [each for each in segment.urgent_checks if each[0] != input_.name]
            checks = segment.chip.scale_checks(input_.name)
            segment.urgent_checks = [(input_.name, check) for check in checks] + waiting

    def release_alert(self, index: int) -> None:
        """Clear the alert of an outlet that has had a low line for long: its edge was missed."""
        segment, input_ = self._places[index]
        if segment.up and (segment, input_) not in self._watched:
            self._attempt(segment, self._release, segment, input_)

    def _contradicted(self, segment: Segment, input_: Input, edge_ns: int) -> bool:
        """Clear the alert after a valid low peak. If chip or line insist, the peak register stands still.

        Return whether they do: a window over the limit is then to be judged.
        """
        low = self._line_low(input_.index)
        insists = self._release(segment, input_) or low
        explained = input_.over_to_ns >= edge_ns - EDGE_LATE_NS  # a scan had read that peak already
        lowered = segment.alert_peak_ma is not None  # staff test the line with a lamp
        if not insists or explained or lowered or input_.peak_ma > CONTRADICTS_SHARE * self._alert_peak_ma:
            return False
        over_ma, from_ns = self._alert_peak_ma + 1, edge_ns - EDGE_LATE_NS
        halves, crest_ns = self.phase.half_cycles(from_ns, edge_ns), self.phase.crest_ns(edge_ns)
        self._outlets[input_.index].window = PeakWindow(over_ma, from_ns, edge_ns, *halves, crest_ns, True)
        return True

    # --- Attempts and failures -------------------------------------------------------------------------------------

    def _attempt(self, segment: Segment, work: Callable[..., object], *arguments: object) -> bool:
        """Run `work` on `segment`. Return False if it failed; the segment's retry is then scheduled.

        If another segment held the bus, that one is cut off and `work` is run again.
        """
        try:
            work(*arguments)
        except (BusError, ChipError) as error:
            return self._may_repeat(segment, error) and self._attempt(segment, work, *arguments)
        segment.failures = 0
        self._hung_again = False
        return True

    def _attempt_peaks(
        self, segment: Segment, work: Callable[..., Iterator[int]], *inputs: Input
    ) -> Generator[int, None, bool]:
        """Run `work` as `_attempt` does, and yield the outlets that it yields."""
        try:
            yield from work(segment, *inputs)
        except (BusError, ChipError) as error:
            return self._may_repeat(segment, error) and (yield from self._attempt_peaks(segment, work, *inputs))
        segment.failures = 0
        self._hung_again = False
        return True

    def _may_repeat(self, segment: Segment, error: BusError | ChipError) -> bool:
        """Note a failure. Return whether the work can be repeated: another segment held the bus and is cut off now."""
        if isinstance(error, BusError):
            self.bus_errors += 1
            holder = self._holder_of_bus(error)
            self._failed(holder or segment, error, hung=not error.absent)
            return holder is not None and holder is not segment
        if isinstance(error, ChipReset):
            self._note_reset(segment)
        self._failed(segment, error, hung=False)
        segment.up = False  # a chip that lost its set-up must be set up again
        return False

    def _holder_of_bus(self, error: BusError) -> Segment | None:
        """Return the segment with the chip that holds the bus, if any: the one joined when transfers stopped."""
        joined = self._muxes.joined
        return None if error.absent or joined is None else self._by_channel.get(joined)

    def _note_reset(self, segment: Segment) -> None:
        """Mark the outlets as not properly measured from now until the first peak after the new set-up."""
        for input_ in segment.inputs:
            inputs = self._outlets[input_.index]
            inputs.chip_resets += inputs.reset_at_ns is None
            inputs.reset_at_ns = self._clock.monotonic_ns() if inputs.reset_at_ns is None else inputs.reset_at_ns

    def _failed(self, segment: Segment, error: BusError | ChipError, hung: bool) -> None:
        segment.failed(error, self._clock.monotonic_ns(), hung)
        for input_ in segment.inputs:
            inputs = self._outlets[input_.index]
            if input_.was_over and inputs.alert_at_ns is None:
                inputs.alert_at_ns = input_.over_to_ns  # and no low peak since
        if hung:
            self.free_bus()

    def free_bus(self) -> None:
        """Cut every segment off the bus by RESET of the muxes (TCA9548A: 6 ns are enough).

        The next time, clock SCL out as well.
        """
        self._hangs += 1
        if self._hung_again and self._clock_out_line is not None:
            clock_out(self._clock_out_line)
        self._hung_again = True
        if self._mux_reset is None:
            self._muxes.forget()
            return
        self._mux_reset.on()
        self._mux_reset.off()
        self._muxes.was_reset()

    # --- Work on one segment ---------------------------------------------------------------------------------------

    def _bring_up(self, segment: Segment) -> Iterator[int]:
        segment.chip.port.confirm()
        level_ma = segment.alert_peak_ma
        yield from self._salvage(segment)
        segment.chip.initialise(self._alert_peak_ma if level_ma is None else min(level_ma, self._alert_peak_ma))
        for thermometer in segment.thermometers:
            thermometer.try_bring_up()
        segment.came_up()
        for input_ in segment.inputs:
            self._outlets[input_.index].alert_at_ns = None

    def _salvage(self, segment: Segment) -> Iterator[int]:
        """Read peaks gathered while the registers could not be read. A high one counts; a low one proves nothing."""
        for input_ in segment.inputs:
            inputs, from_ns = self._outlets[input_.index], input_.read_from_ns
            if from_ns is None or inputs.reset_at_ns is not None:
                continue
            start_ns = input_.read_from_ns = self._clock.monotonic_ns()
            peak_ma = segment.chip.peak_ma(input_.name)
            if peak_ma > self._alert_peak_ma:
                self._note_alert(segment, input_, peak_ma, from_ns, max(start_ns, self._clock.monotonic_ns()))
                yield input_.index

    def _read_peaks(self, segment: Segment) -> Iterator[int]:
        for input_ in segment.inputs:
            yield from self._read_after_edge(segment, input_)

    def _read_after_edge(self, segment: Segment, input_: Input) -> Iterator[int]:
        """Read one peak, perhaps after an alert's edge. Yield its outlet, and again if it contradicts the alert."""
        edge_ns = input_.edge_ns
        if not self._read_peak(segment, input_):
            return
        yield input_.index
        if edge_ns is not None and not input_.was_over and self._contradicted(segment, input_, edge_ns):
            yield input_.index

    def _read_peak(self, segment: Segment, input_: Input) -> bool:
        """Read one peak. Return whether its outlet has a window to be judged. Raises BusError and ChipError."""
        start_ns = self._now_ns()
        peak_ma = segment.chip.peak_ma(input_.name)
        end_ns = self._now_ns()
        inputs = self._outlets[input_.index]
        if peak_ma > ODD_MA and not inputs.closed:
            segment.chip.port.confirm()  # a mux that keeps another channel shows another outlet's current
        from_ns, input_.read_from_ns = input_.read_from_ns, start_ns
        if from_ns is None:  # discard: the register covers time before its first reset
            input_.was_over = peak_ma > self._alert_peak_ma
            if input_.was_over:
                self._watch_input(segment, input_, end_ns)
            return False
        if peak_ma > self._alert_peak_ma or input_.edge_ns is not None:
            self._note_alert(segment, input_, peak_ma, from_ns, end_ns)
            return True
        input_.was_over = False
        inputs.peak_valid_at_ns = end_ns
        inputs.reset_at_ns = inputs.alert_at_ns = None
        inputs.window = PeakWindow(peak_ma, from_ns, end_ns)
        return True

    def _note_alert(self, segment: Segment, input_: Input, peak_ma: int, from_ns: int, to_ns: int) -> None:
        """Note the window of a peak over the alert level, or of one after an alert's edge.

        If there was an edge, it gives the time when the current was over the level.
        """
        inputs, edge_ns = self._outlets[input_.index], input_.edge_ns
        inputs.peak_valid_at_ns = to_ns
        inputs.reset_at_ns = inputs.alert_at_ns = input_.edge_ns = None
        input_.peak_ma = peak_ma
        before_over, input_.was_over = input_.was_over, peak_ma > self._alert_peak_ma
        crest_ns = None
        if input_.was_over:
            self._watch_input(segment, input_, to_ns)
            if edge_ns is not None and not before_over and from_ns < edge_ns < to_ns:
                from_ns, to_ns = max(from_ns, edge_ns - EDGE_LATE_NS), edge_ns
            crest_ns = self.phase.crest_ns(to_ns)
        inputs.window = PeakWindow(peak_ma, from_ns, to_ns, *self.phase.half_cycles(from_ns, to_ns), crest_ns)

    def _watch_input(self, segment: Segment, input_: Input, now_ns: int) -> None:
        input_.alert_held = True  # the chip sets the flag whether its line is connected or not
        input_.over_to_ns = now_ns
        if now_ns >= input_.watched_until_ns or (segment, input_) not in self._watched:
            self._watched.append((segment, input_))
        input_.watched_until_ns = now_ns + WATCHED_NS

    def _sample_voltage(self, segment: Segment) -> None:
        start_ns = self._sampled_at_ns = self._clock.monotonic_ns()
        voltage_mv = segment.chip.voltage_sample_mv()
        if segment.note_sample(voltage_mv):
            log.warning("%s: its voltage samples stand still; those of another segment are used", segment.name)
            if all(each.sample_still for each in self.segments if each.up):  # no voltage moves: the mains is absent
                for each in self.segments:
                    each.sample_still = False
            return
        self.phase.sample((start_ns + self._clock.monotonic_ns()) // 2, voltage_mv)
