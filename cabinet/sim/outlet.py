"""One outlet of the simulated cabinet: relay, breaker, contacts, load, and the true current."""

import math
import random
from collections.abc import Callable
from typing import NamedTuple

from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.heat import (
    CONTACT_K_PER_W,
    CONTACT_OHM,
    CONTACT_SETTLE_NS,
    Body,
    Breaker,
)
from cabinet.sim.journal import Journal
from cabinet.sim.loads import Inrush, Load
from cabinet.sim.parts import RELAY, SETTLING_NS, BreakerPart
from cabinet.sim.summed_current import sum_currents
from cabinet.sim.supply import Relay
from cabinet.sim.timeline import Event, Timeline
from cabinet.sim.transient import CapacitorCharging, HalfSinePulse, Magnetising, Sampled, Sum
from cabinet.sim.waveform import RESISTIVE, SILENCE, HalfWave, Mains, Periodic, Shape, Wave, steady, unit_wave

WARMED_SETTLE_NS = 5e9
MAX_REMANENCE = 0.7  # share of the flux's nominal crest, in a laminated core
_MIN_INRUSH_A = 0.5
_RECHARGE_SHARE = 0.05  # a smaller step of the voltage gives no significant inrush


class ExtraCurrent(NamedTuple):
    """A fault current in addition to the load: RMS current, and the pattern of half-cycles in which it flows."""

    kind: str
    amps: float
    pattern: tuple[bool, ...]


class Outlet:
    """The circuit from the contactor to the plug. Every call takes the time at which it happens."""

    def __init__(self, number: int, timeline: Timeline, journal: Journal, rng: random.Random) -> None:
        self.number = number
        self.load: Load | None = None
        self.extra: ExtraCurrent | None = None
        self.bypass_a = 0.0  # RMS of a current past this outlet's own meter
        self.leak_ma = 0.0  # residual current while the outlet is energised
        self.on_current: Callable[[int], None] = lambda at_ns: None  # called on every change of the current
        self.meter: tuple[Ade7953, str] | None = None
        self.contact_ohm = CONTACT_OHM
        self.heat = Body(CONTACT_SETTLE_NS, timeline.now_ns)  # temperature of the contacts, kelvin above ambient
        self.warmed = Body(WARMED_SETTLE_NS, timeline.now_ns)  # by a hand or hot air, in addition
        self.part = RELAY
        self.relay = Relay(
            timeline,
            lambda: rng.randint(*self.part.operate_ns),
            lambda: rng.randint(*self.part.release_ns),
            self._relay_moved,
        )
        self.breaker = Breaker(timeline, self._breaker_tripped)
        self.wave: Wave = SILENCE  # total current through the contacts
        self.conducting = False
        self._timeline = timeline
        self._journal = journal
        self._rng = rng
        self._mains: Mains | None = None
        self._feed = False
        self._joule = 0.0
        self._since_ns = timeline.now_ns
        self._arc: Event | None = None
        self._bounced = False  # the closing contacts have parted for a moment
        self._step: Event | None = None
        self._pulses: list[HalfSinePulse | Sampled] = []
        self._pulses_end_ns = 0
        self._last_load: Load | None = None
        self._inrush: Inrush | None = None  # worst inrush of the load so far
        self._fed = False
        self._dead_since_ns: int | None = None
        self._onsets: dict[str, dict[str, float | str]] = {}  # fault currents that are set but have not flowed yet

    # ---- Events at the outlet

    def feed(self, mains: Mains | None, closed: bool, at_ns: int) -> None:
        """Set the voltage at the contactor, and whether the contactor is closed."""
        old, self._mains = self._mains, mains
        self._feed = closed
        if self.conducting and old is not mains:
            if mains is None:
                self._lose_mains(at_ns)
            elif old is None:
                self._energise(at_ns)
            else:
                self._recharge(old, mains, at_ns)
                self._rewave(at_ns)
        self._switch(at_ns)

    def plug(self, load: Load, at_ns: int) -> None:
        if load is not self._last_load:
            self._dead_since_ns = None
            self._inrush = None
        self.load = self._last_load = load
        if self.energised:
            self._energise(at_ns)

    def unplug(self, at_ns: int) -> None:
        """Pull the plug; an arc at its pins is not modelled."""
        self._starve(at_ns)
        self.load = None
        self._rewave(at_ns)

    def set_extra(self, extra: ExtraCurrent | None, at_ns: int) -> None:
        """Start a fault current; if the outlet is not live, it starts when the outlet is."""
        self.extra = extra
        self._expect("extra", {"fault": extra.kind, "amps": extra.amps} if extra else {})
        self._rewave(at_ns)

    def set_leak(self, residual_ma: float, at_ns: int) -> None:
        """Set the current to earth. The outlet's meter does not measure its few watts."""
        self.leak_ma = residual_ma
        self._expect("leak", {"fault": "leak", "ma": residual_ma} if residual_ma else {})
        self._rewave(at_ns)

    def set_bypass(self, amps: float, at_ns: int) -> None:
        """Set a resistive current through the contacts that bypasses the outlet's meter."""
        self.bypass_a = amps
        self._rewave(at_ns)

    def set_contact_ohm(self, ohm: float, at_ns: int) -> None:
        self._settle(at_ns)
        self.contact_ohm = ohm
        self._rewave(at_ns)

    def change_breaker(self, part: BreakerPart, at_ns: int) -> None:
        """Replace the breaker in front of the outlet."""
        self.breaker.part = part
        self._rewave(at_ns)

    def command(self, on: bool, at_ns: int) -> None:
        """Switch the relay's coil on or off."""
        if on != self.relay.commanded:
            self._journal.add(at_ns, "coil_on" if on else "coil_off", self.number)
        self.relay.command(on, at_ns)

    def clear(self, at_ns: int) -> None:
        """Push the breaker's lever back, and replace the relay if it is welded."""
        self.breaker.reset(at_ns)
        if self.relay.welded:
            self.relay.unweld(at_ns)
        self._switch(at_ns)

    @property
    def energised(self) -> bool:
        return self.conducting and self._mains is not None

    # ---- True values

    def energy_j(self, at_ns: int) -> float:
        """Return the energy delivered through the contacts, arcs included."""
        return self._joule + self.wave.energy_j(self._since_ns, at_ns)

    def current_a(self, at_ns: int) -> float:
        """Return the RMS of the steady current."""
        return math.sqrt(self.wave.mean_square(at_ns, at_ns + 1))

    def warmth_k(self, at_ns: int) -> float:
        """Return the temperature of the contacts above ambient."""
        return self.heat.at(at_ns) + self.warmed.at(at_ns)

    def watts(self, at_ns: int) -> float:
        return self.wave.mean_w(at_ns, at_ns + 1)

    # ---- Switching

    def _relay_moved(self, closed: bool, at_ns: int) -> None:
        part = self.part
        if not closed:
            amps = abs(self.wave.value_a(at_ns))
            if self._arc is None and (amps > part.breaking_peak_a or self._sticks(at_ns)):
                self.relay.closed = True
                self._weld("breaking", amps, at_ns)
                return
            self._bounced = False
            self._journal.add(at_ns, "contacts_opened", self.number)
            self._switch(at_ns)
            return
        self._journal.add(at_ns, "contacts_closed", self.number)
        self._switch(at_ns)
        if part.bounce_ns:
            self._plan_bounces(part.bounce_ns, at_ns)
        if part.making_peak_a < math.inf or part.sticking_share:
            amps = self.wave.peak_a(at_ns, at_ns + SETTLING_NS)
            if amps > part.making_peak_a or self._sticks(at_ns):
                self._weld("closing", amps, at_ns)

    def _sticks(self, at_ns: int) -> bool:
        """Return whether the contacts stick by chance; they can only if current flows that may melt them."""
        share = self.part.sticking_share
        return bool(share) and self.wave.peak_a(at_ns, at_ns + SETTLING_NS) > 0 and self._rng.random() < share

    def _weld(self, when: str, amps: float, at_ns: int) -> None:
        self._journal.add(at_ns, "welded", self.number, when=when, amps=round(amps, 1))
        self.relay.weld(at_ns)

    def _plan_bounces(self, longest_ns: int, at_ns: int) -> None:
        """Plan a few bounces of the closed contacts, each shorter than the one before."""
        end_ns, apart_ns = at_ns + longest_ns, self._rng.uniform(0.1, 0.4) * longest_ns
        next_ns = at_ns + round(self._rng.uniform(0.05, 0.2) * longest_ns)
        while next_ns + apart_ns < end_ns:
            self._timeline.at(next_ns, lambda t: self._bounce(True, t))
            self._timeline.at(next_ns + round(apart_ns), lambda t: self._bounce(False, t))
            next_ns += round(apart_ns * self._rng.uniform(1.5, 3.0))
            apart_ns *= self._rng.uniform(0.3, 0.7)
            if apart_ns < 0.02 * longest_ns:
                break

    def _bounce(self, apart: bool, at_ns: int) -> None:
        self._bounced = apart and self.relay.closed and not self.relay.welded
        self._switch(at_ns)

    def _breaker_tripped(self, why: str, at_ns: int) -> None:
        self._journal.add(at_ns, "breaker_tripped", self.number, why=why)
        self._switch(at_ns)

    def _switch(self, at_ns: int) -> None:
        """Follow the three contacts in series: conduction starts at once and ends at the next current zero."""
        wanted = self.relay.closed and not self._bounced and self.breaker.closed and self._feed
        if wanted and self._arc is not None:
            self._arc.cancel()
            self._arc = None
        elif wanted and not self.conducting:
            self.conducting = True
            if self._mains is not None:
                self._energise(at_ns)
        elif not wanted and self.conducting and self._arc is None:
            zero_ns = self.wave.zero_after_ns(at_ns)
            if zero_ns > at_ns:
                self._arc = self._timeline.at(zero_ns, self._arc_out)
            else:
                self._arc_out(at_ns)

    def _arc_out(self, at_ns: int) -> None:
        self._arc = None
        flowed = self.wave is not SILENCE
        self.conducting = False
        self._lose_mains(at_ns)
        if flowed:
            self._journal.add(at_ns, "current_zero", self.number)

    def _lose_mains(self, at_ns: int) -> None:
        self._starve(at_ns)
        self._rewave(at_ns)

    def _starve(self, at_ns: int) -> None:
        """Take the mains from the load."""
        if self.load is not None and self._fed:
            self._settle(at_ns)
            self.load.deenergise(at_ns)
            self._dead_since_ns = at_ns
        self._fed = False
        self._pulses = []

    def _energise(self, at_ns: int) -> None:
        """Apply mains to the plug: the charger's capacitor fills, with more current at a higher momentary voltage."""
        assert self._mains is not None
        if self.load is not None:
            self._fed = True
            off_ns = None if self._dead_since_ns is None else at_ns - self._dead_since_ns
            inrush = self.load.energise(at_ns, off_ns)
            if inrush is not None:
                if self._inrush is None or inrush.peak_a > self._inrush.peak_a:
                    self._inrush = inrush
                self._fill(inrush, at_ns)
        self._rewave(at_ns)

    def _recharge(self, old: Mains, mains: Mains, at_ns: int) -> None:
        """Fill the capacitors by the difference if the voltage rises after a sag, which had lowered theirs too."""
        rise = 1 - old.peak_v / mains.peak_v
        if self.load is not None and self._inrush is not None and rise > _RECHARGE_SHARE:
            self._fill(self._inrush._replace(peak_a=self._inrush.peak_a * rise, charged=1 - rise), at_ns)

    def _fill(self, inrush: Inrush, at_ns: int) -> None:
        mains = self._mains
        assert mains is not None
        if inrush.capacitor_uf:
            filling = CapacitorCharging(mains, inrush.capacitor_uf * 1e-6, inrush.limiter_ohm, inrush.charged, at_ns)
            self._pulses, self._pulses_end_ns = [filling], filling.end_ns
            self._timeline.at(at_ns + (filling.end_ns - at_ns) // 2, self._filled)  # meters are updated cycle by cycle
            self._timeline.at(self._pulses_end_ns, self._filled)
            return
        if inrush.decay_ns:
            remanence = self._rng.uniform(-MAX_REMANENCE, MAX_REMANENCE)
            self._pulses = [iron := Magnetising(mains, inrush.peak_a, inrush.decay_ns, remanence, at_ns)]
            self._pulses_end_ns = iron.end_ns
            for cycle_ns in range(at_ns, iron.end_ns, round(2 * mains.half_ns)):
                self._timeline.at(cycle_ns, self._filled)
            self._timeline.at(iron.end_ns, self._filled)
            return
        peak_a = inrush.peak_a * abs(math.sin(mains.angle(at_ns))) * self._rng.uniform(0.85, 1.0)
        if peak_a < _MIN_INRUSH_A:
            return
        width_ns = inrush.width_ns
        second_ns = at_ns + width_ns
        self._pulses = [
            HalfSinePulse(mains, peak_a, at_ns, width_ns),
            HalfSinePulse(mains, peak_a * 0.3, second_ns, width_ns),
        ]
        self._pulses_end_ns = second_ns + width_ns
        self._timeline.at(self._pulses_end_ns, self._filled)

    def _filled(self, at_ns: int) -> None:
        if self._pulses and at_ns >= self._pulses_end_ns:
            self._pulses = []
        self._rewave(at_ns)

    # ---- Current

    def _rewave(self, at_ns: int) -> None:
        """Compute the current from now on, and update heat, breaker, meter and the cabinet."""
        self._settle(at_ns)
        metered = self._wave(at_ns)
        self.wave = self._with_bypass(metered)
        square = 0.0
        magnetic_ns = None
        if self.wave is not SILENCE:
            until_ns = self._pulses_end_ns if self._pulses else at_ns + 1
            square = self.wave.mean_square(at_ns, max(until_ns, at_ns + 1))
            magnetic_ns = self.wave.first_above_ns(self.breaker.part.magnetic_peak_a, at_ns)
        if self.energised and self._onsets:
            for detail in self._onsets.values():
                phase_deg = round(math.degrees(self._mains.angle(at_ns)), 2) if self._mains is not None else 0.0
                self._journal.add(at_ns, "fault_onset", self.number, phase_deg=phase_deg, **detail)
            self._onsets = {}
        self.heat.aim(square * self.contact_ohm * CONTACT_K_PER_W, at_ns)
        self.breaker.carry(square, magnetic_ns, at_ns)
        if self.meter is not None:
            chip, channel = self.meter
            chip.follow(channel, metered, at_ns)
        self.on_current(at_ns)
        self._plan_step(at_ns)

    def _expect(self, current: str, detail: dict[str, float | str]) -> None:
        """Note a fault current, to record its onset when it begins to flow; an empty `detail` removes the note."""
        self._onsets.pop(current, None)
        if detail:
            self._onsets[current] = detail

    def _settle(self, at_ns: int) -> None:
        self._joule += self.wave.energy_j(self._since_ns, at_ns)
        self._since_ns = at_ns

    def _wave(self, at_ns: int) -> Wave:
        mains = self._mains
        if mains is None or not self.conducting:
            return SILENCE
        watts, shape = 0.0, RESISTIVE
        if self.load is not None:
            watts, shape = self.load.draw(at_ns, mains.peak_v / math.sqrt(2))
        base = steady(mains, watts, shape) if self.extra is None else self._with_extra(mains, watts, shape)
        return Sum([*self._pulses, base]) if self._pulses else base

    def _with_extra(self, mains: Mains, watts: float, shape: Shape) -> Wave:
        """Return the load's current, plus the fault's in the half-cycles in which the fault conducts."""
        assert self.extra is not None
        table = unit_wave(shape)
        amp = watts / (table.energy[-1] / math.pi * mains.peak_v)
        both = HalfWave.beside([(amp, table), (self.extra.amps * math.sqrt(2), unit_wave(RESISTIVE))])
        return Periodic(mains, [(both, 1.0) if flows else (table, amp) for flows in self.extra.pattern])

    def _with_bypass(self, metered: Wave) -> Wave:
        mains = self._mains
        if not self.bypass_a or mains is None or not self.conducting:
            return metered
        past = steady(mains, self.bypass_a * mains.peak_v / math.sqrt(2), RESISTIVE)
        return sum_currents(mains, (metered, past))

    def _plan_step(self, at_ns: int) -> None:
        if self._step is not None:
            self._step.cancel()
            self._step = None
        if self.load is not None and self.energised:
            next_ns = self.load.next_step_ns(at_ns)
            if next_ns is not None:
                self._step = self._timeline.at(next_ns, self._stepped)

    def _stepped(self, at_ns: int) -> None:
        self._step = None
        self._rewave(at_ns)
