"""The values that may be some tenths of a second old: power, voltage, temperature and the like, read in turn."""

import math
from collections.abc import Callable
from functools import partial

from cabinet.chips.ade7953 import IRMS, VRMS, WATT
from cabinet.chips.tmp102 import Tmp102
from cabinet.clock import MS, Clock
from cabinet.guard.segment import Input, Segment
from cabinet.model import ABSENT, Quality, Reading
from cabinet.protections.heat import believable
from cabinet.protections.words import OutletNow

ROUND_NS = 500 * MS  # in which each value is read: half of what the shortest-lived may be old (slow_lost_s)
BACKWARDS_MW = 3000  # less is noise around zero

AddEnergy = Callable[[int, int], None]  # (outlet's index, microjoules)


class SlowReads:
    """Reads one value of a segment after the other into the guard's `OutletNow`s; the scanner notes what fails."""

    def __init__(
        self,
        segments: list[Segment],
        outlets: list[OutletNow],
        inside: Tmp102 | None,
        add_energy: AddEnergy,
        clock: Clock,
    ) -> None:
        self._segments = segments
        self._outlets = outlets
        self.inside_thermometer = inside
        self._add_energy = add_energy
        self._clock = clock
        self._turn = 0
        self._chosen_at_ns = clock.monotonic_ns()
        self._last_good_mc: dict[int, Reading] = {}
        self.inside_mc = ABSENT
        self.frequency_mhz = ABSENT
        self.feed_mw = ABSENT
        for segment in segments:
            segment.slow = list(self._reads(segment))

    def due(self) -> list[Segment]:
        """Whose turn it is for a slow value: one segment a scan, or as many as keep the round within its time.

        Ten outlets get round with one; forty, whose scan takes three times as long for four times the values, with
        five, and so their values are no older.
        """
        now_ns = self._clock.monotonic_ns()
        count = len(self._segments)
        values = sum(len(segment.slow) for segment in self._segments)
        due = math.ceil(values * (now_ns - self._chosen_at_ns) / ROUND_NS)
        self._chosen_at_ns = now_ns
        turns = range(self._turn, self._turn + max(1, min(due, count)))
        self._turn = turns.stop
        return [self._segments[turn % count] for turn in turns]

    def next(self, segment: Segment) -> None:
        """The segment's next value. Raises BusError and ChipError."""
        read = segment.slow[segment.turn % len(segment.slow)]
        segment.turn += 1
        read()

    def _reads(self, segment: Segment) -> list[Callable[[], None]]:
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
        now.current_unmoved = segment.chip.unmoved(IRMS[input_.name])
        now.slow_reads += 1

    def _read_power(self, segment: Segment, input_: Input) -> None:
        # a current transformer clamped on backwards shows the same power with a minus
        now = self._outlets[input_.index]
        power_mw = segment.chip.power_mw(input_.name)
        now.power_mw = self._ok(abs(power_mw))
        now.power_unmoved = segment.chip.unmoved(WATT[input_.name])
        now.backwards = power_mw < -BACKWARDS_MW
        now.slow_reads += 1

    def _read_feed(self, segment: Segment, input_name: str) -> None:
        self.feed_mw = self._ok(abs(segment.chip.power_mw(input_name)))

    def _read_energy(self, segment: Segment, input_: Input) -> None:
        energy_uj = abs(segment.chip.energy_uj(input_.name))
        self._add_energy(input_.index, energy_uj)
        now = self._outlets[input_.index]
        now.energy_uj += energy_uj
        now.energy_at_ns = self._clock.monotonic_ns()

    def _read_voltage(self, segment: Segment) -> None:
        reading = self._ok(segment.chip.voltage_mv())
        for input_ in segment.inputs:
            now = self._outlets[input_.index]
            now.voltage_mv = reading
            now.voltage_unmoved = segment.chip.unmoved(VRMS)
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
        if self.inside_thermometer is not None:
            self.inside_mc = self._ok(self.inside_thermometer.temperature_mc())
