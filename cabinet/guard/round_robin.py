"""Round-robin reads of the values that may be some tenths of a second old: power, voltage, temperature and the like."""

import math
from collections.abc import Callable
from functools import partial

from cabinet.clock import MS, NS, Clock
from cabinet.guard.segment import Input, Segment
from cabinet.guard.thermometer import STILL, Thermometer
from cabinet.hardware.ade7953 import IRMS, VRMS, WATT
from cabinet.model import ABSENT, Quality, Reading
from cabinet.protections.evidence import LOAD_MW, STILL_READS
from cabinet.protections.inputs import OutletInputs
from cabinet.protections.stillness import PeerThermometer

ROUND_NS = 500 * MS  # each value is read in this time: half the maximum age of the shortest-lived (slow_lost_s)
BACKWARDS_MW = 3000  # less is noise around zero
OTHERS_FRESH_NS = 60 * NS  # of thermometers used for comparison; longer than a stride of tests that run through hours

AddEnergy = Callable[[int, int], None]  # (outlet's index, microjoules)


class RoundRobinReader:
    """Round-robin reader of one value of a segment after the other; the scanner notes the failures.

    The readings go into the guard's `OutletInputs`.
    """

    def __init__(
        self,
        segments: list[Segment],
        outlets: list[OutletInputs],
        inside: Thermometer | None,
        add_energy: AddEnergy,
        clock: Clock,
    ) -> None:
        self._segments = segments
        self._outlets = outlets
        self.inside = inside
        self._add_energy = add_energy
        self._clock = clock
        self._turn = 0
        self._chosen_at_ns = clock.monotonic_ns()
        self.frequency_mhz = ABSENT
        self.feed_mw = ABSENT
        self.feed_still = False  # the cabinet's own meter shows the same bits under load
        self._thermometers = [each for segment in segments for each in segment.thermometers]
        self._thermometers += [] if inside is None else [inside]
        self.reads = {segment: self._reads_of(segment) for segment in segments}
        self._turns = dict.fromkeys(segments, 0)
        self._values = sum(map(len, self.reads.values()))

    @property
    def inside_mc(self) -> Reading:
        """The temperature of the air inside; a thermometer that stands still has none."""
        if self.inside is None:
            return ABSENT
        reading = self.inside.reading
        return reading if self.inside.still is None else Reading(None, reading.at_ns, Quality.FAULT, STILL)

    def _others(self, thermometer: Thermometer) -> dict[int, PeerThermometer]:
        """Return the other thermometers that are read at present."""
        oldest_ns = self._clock.monotonic_ns() - OTHERS_FRESH_NS
        return {
            place: other
            for place, each in enumerate(self._thermometers)
            if each is not thermometer
            and each.reading.at_ns >= oldest_ns
            and (other := each.for_comparison()) is not None
        }

    def due(self) -> list[Segment]:
        """Return the segments due for a slow value: one a scan, or as many as keep the round within its time.

        For ten outlets one is enough; for forty, with scans three times as long and four times the values, five are
        due, and so their values are no older.
        """
        now_ns = self._clock.monotonic_ns()
        count = len(self._segments)
        due = math.ceil(self._values * (now_ns - self._chosen_at_ns) / ROUND_NS)
        self._chosen_at_ns = now_ns
        turns = range(self._turn, self._turn + max(1, min(due, count)))
        self._turn = turns.stop
        return [self._segments[turn % count] for turn in turns]

    def next(self, segment: Segment) -> None:
        """Read the segment's next value. Raises BusError and ChipError."""
        reads, turn = self.reads[segment], self._turns[segment]
        self._turns[segment] = turn + 1
        reads[turn % len(reads)]()

    def _reads_of(self, segment: Segment) -> list[Callable[[], None]]:
        """Return one call a value; their order is that of the round robin."""
        reads: list[Callable[[], None]] = [segment.chip.verify_next]  # twice a round: the chip has many settings
        for input_ in segment.inputs:
            reads += [
                partial(self._read_current, segment, input_),
                partial(self._read_power, segment, input_),
                partial(self._read_energy, segment, input_),
            ]
        reads.append(partial(self._read_voltage, segment))
        for thermometer in segment.thermometers:
            reads += [partial(thermometer.read, partial(self._others, thermometer)), thermometer.check]
        if segment.feed_input is not None:
            reads.append(partial(self._read_feed, segment, segment.feed_input))
        reads += [segment.chip.verify_next, segment.chip.port.confirm]
        if segment is self._segments[0]:
            reads.append(partial(self._read_frequency, segment))
            if self.inside is not None:
                reads += [partial(self.inside.read, partial(self._others, self.inside)), self.inside.check]
        return reads

    def _ok(self, value: int) -> Reading:
        return Reading(value, self._clock.monotonic_ns(), Quality.OK)

    def _read_current(self, segment: Segment, input_: Input) -> None:
        inputs = self._outlets[input_.index]
        inputs.current_ma = self._ok(segment.chip.current_ma(input_.name))
        inputs.current_unmoved = segment.chip.unmoved(IRMS[input_.name])
        inputs.slow_reads += 1

    def _read_power(self, segment: Segment, input_: Input) -> None:
        # a current transformer clamped on backwards gives the same power with a minus sign
        inputs = self._outlets[input_.index]
        power_mw = segment.chip.power_mw(input_.name)
        inputs.power_mw = self._ok(abs(power_mw))
        inputs.power_unmoved = segment.chip.unmoved(WATT[input_.name])
        inputs.backwards = power_mw < -BACKWARDS_MW
        inputs.slow_reads += 1

    def _read_feed(self, segment: Segment, input_name: str) -> None:
        power_mw = abs(segment.chip.power_mw(input_name))
        loads_mw = [inputs.power_mw.value or 0 for inputs in self._outlets if inputs.closed]
        still = segment.chip.unmoved(WATT[input_name]) >= STILL_READS and max(power_mw, *loads_mw, 0) >= LOAD_MW
        self.feed_still = still
        self.feed_mw = Reading(None, self._clock.monotonic_ns(), Quality.FAULT, STILL) if still else self._ok(power_mw)

    def _read_energy(self, segment: Segment, input_: Input) -> None:
        energy_uj = abs(segment.chip.energy_uj(input_.name))
        self._add_energy(input_.index, energy_uj)
        inputs = self._outlets[input_.index]
        inputs.energy_uj += energy_uj
        inputs.energy_at_ns = self._clock.monotonic_ns()

    def _read_voltage(self, segment: Segment) -> None:
        reading = self._ok(segment.chip.voltage_mv())
        for input_ in segment.inputs:
            inputs = self._outlets[input_.index]
            inputs.voltage_mv = reading
            inputs.voltage_unmoved = segment.chip.unmoved(VRMS)
            inputs.slow_reads += 1

    def _read_frequency(self, segment: Segment) -> None:
        frequency_mhz = segment.chip.frequency_mhz()
        self.frequency_mhz = ABSENT if frequency_mhz is None else self._ok(frequency_mhz)
