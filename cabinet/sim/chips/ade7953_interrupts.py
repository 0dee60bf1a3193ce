"""Interrupts of the ADE7953 (data sheet p. 48-50): sources of the status bits, and their effect on IRQ and ZX."""

import math
from collections.abc import Callable, Mapping

from cabinet.sim.chips import ade7953_registers as r
from cabinet.sim.chips.device import Cancellable, Schedule
from cabinet.sim.chips.metering import FULL_WAVE, SAMPLE_NS, CurrentChannel, VoltageChannel

PIN_IRQ, PIN_ZX = "IRQ", "ZX"
CHANNEL_B_IRQ = 0xA  # of ALT_OUTPUT, p. 64

OnPin = Callable[[str, bool, int], None]


class Interrupts:
    """Status bits and interrupt pins. An event latches its bit, enabled or not; the enable bit only gates the pin.

    Both pins idle high. ZX is modelled only as the interrupt of channel B; with another setting of ALT_OUTPUT it
    stays high.
    """

    def __init__(
        self,
        cells: Mapping[int, int],
        channels: Mapping[str, CurrentChannel],
        volts: VoltageChannel,
        schedule: Schedule,
        on_pin: OnPin,
    ) -> None:
        self._cells = cells
        self._channels = channels
        self._volts = volts
        self._schedule = schedule
        self._on_pin = on_pin
        self._status = {"A": 0, "B": 0}
        self._armed: dict[str, Cancellable] = {}
        self._watching: list[Cancellable] = []
        self._pins = {PIN_IRQ: True, PIN_ZX: True}
        self.stopped = False  # the signal processing hangs: no bit is raised

    def clear(self, at_ns: int) -> None:
        """Clear all status bits on a reset."""
        self._status = {"A": 0, "B": 0}
        self.stopped = False
        self.disarm()
        self.update_pins(at_ns)

    def raise_status(self, name: str, bit: int, at_ns: int) -> None:
        self._status[name] |= bit
        self.update_pins(at_ns)

    def take(self, name: str, at_ns: int, reset: bool) -> int:
        """Return a status register; if `reset` is set, clear it and release the pin."""
        status = self._status[name]
        if name == "A":
            status |= 1 << 17  # a new sample is always available
            status |= (1 << 15) if self._volts.mains is not None else 0
        counts = abs(self._channels[name].energy_counts)
        status |= (1 if counts > 0x400000 else 0) | (8 if counts > 0x800000 else 0)
        if reset:
            self._status[name] = 0
            self.update_pins(at_ns)
            self.arm(name, at_ns)
            if name == "A":
                self.watch_mains(at_ns)
        return status

    def update_pins(self, at_ns: int) -> None:
        cells = self._cells
        a = self._status["A"] & (cells[r.IRQENA] | r.RESET_BIT)
        b = self._status["B"] & cells[r.IRQENB] if cells[r.ALT_OUTPUT] & 0xF == CHANNEL_B_IRQ else 0
        for pin, high in ((PIN_IRQ, not a), (PIN_ZX, not b)):
            if self._pins[pin] != high:
                self._pins[pin] = high
                self._on_pin(pin, high, at_ns)

    def arm(self, name: str, at_ns: int) -> None:
        """Plan the over-current interrupt, at the first sample with a magnitude above OILVL."""
        armed = self._armed.pop(name, None)
        if armed is not None:
            armed.cancel()
        if self.stopped or self._status[name] & r.OVERCURRENT:
            return
        level, channel = self._cells[r.OILVL], self._channels[name]
        if level >= channel.clip:
            return
        first_ns = channel.first_above_ns(level, at_ns)
        if first_ns is not None:
            sampled_ns = math.ceil(math.ceil(first_ns / SAMPLE_NS) * SAMPLE_NS)
            self._armed[name] = self._schedule(sampled_ns, lambda t: self.raise_status(name, r.OVERCURRENT, t))

    def disarm(self) -> None:
        for armed in self._armed.values():
            armed.cancel()
        self._armed.clear()

    def watch_mains(self, at_ns: int) -> None:
        """Plan the interrupts due to the present voltage and limits: OV, SAG, missing zero crossings."""
        for planned in self._watching:
            planned.cancel()
        self._watching = []
        half_ns = self._volts.mains.half_ns if self._volts.mains else 10e6
        code = self._volts.code_now
        after: list[tuple[float, int]] = []
        if code > self._cells[r.OVLVL]:
            after.append((half_ns, r.OVERVOLTAGE))
        if self._cells[r.SAGCYC] and code < self._cells[r.SAGLVL]:
            after.append((half_ns * self._cells[r.SAGCYC], r.SAG))
        if code < FULL_WAVE / 1250:  # p. 44: below this no crossing is detected
            after.append((self._cells[r.ZXTOUT] * 1e9 / 14_000, r.ZERO_CROSSING_MISSING))
        for delay_ns, bit in after:
            if not self._status["A"] & bit:
                self._watching.append(self._plan(at_ns + round(delay_ns), bit))

    def _plan(self, at_ns: int, bit: int) -> Cancellable:
        return self._schedule(at_ns, lambda t: self.raise_status("A", bit, t))
