"""The simulated cabinet as a whole: mains, contactor, coil supply, outlets, their control and their true state.

The world is lazy: no code runs between two calls. Every public call first advances the world to the time of its clock.
"""

import collections
import math
import random
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from cabinet.clock import Clock
from cabinet.errors import SimError
from cabinet.sim.bus import I2cBus, Segment
from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.chips.mcp23017 import Mcp23017
from cabinet.sim.chips.tca9548a import Tca9548a
from cabinet.sim.chips.tmp102 import Tmp102
from cabinet.sim.contacts import Contact, ResidualMonitor, Siren
from cabinet.sim.feed import FeedMeter
from cabinet.sim.heat import Body, Breaker
from cabinet.sim.journal import Journal
from cabinet.sim.lines import Lines
from cabinet.sim.loads import Load
from cabinet.sim.outlet import Outlet
from cabinet.sim.parts import CONTACTOR, BreakerPart, RelayPart
from cabinet.sim.summed_current import sum_currents
from cabinet.sim.supply import CoilSupply, Relay
from cabinet.sim.timeline import Timeline
from cabinet.sim.waveform import SILENCE, Harmonic, Mains, Wave

CYCLE_NS = 20_000_000  # a transient current counts with its mean over a cycle
INSIDE_SETTLE_NS = 600e9
FIRE_SETTLE_NS = 60e9
INSIDE_K_PER_W = 0.004  # warming of the cabinet's air per watt through its outlets

Params = Mapping[str, float | str]
"""Parameters of a fault, by name."""


class ActiveFault(NamedTuple):
    """A fault in effect, with its parameters."""

    params: Params


class Faults(Protocol):
    """Sets and clears the faults of a world: `faults.FaultTable`."""

    def set_fault(self, world: "World", number: int | None, kind: str, given: Params, at_ns: int) -> None: ...
    def clear(self, world: "World", number: int | None, at_ns: int) -> None: ...


class Truth(msgspec.Struct, frozen=True):
    """True state of one outlet, independent of any chip's readings."""

    outlet: int
    at_ns: int
    energy_uj: int  # delivered since the world began
    current_ma: int  # RMS
    power_mw: int
    contacts_closed: bool
    coil_told: bool
    conducting: bool  # current can flow: contacts, breaker and contactor, or an arc
    welded: bool
    breaker_closed: bool
    temperature_mc: int
    load: str | None
    stage: str | None
    charge_percent: float | None
    faults: dict[str, dict[str, float | str]]

    @property
    def energy_mj(self) -> float:
        return self.energy_uj / 1000

    @property
    def energy_mwh(self) -> float:
        return self.energy_uj / 3_600_000


class World:
    """Everything outside the controller. `cabinet.sim.build` assembles it."""

    def __init__(
        self,
        clock: Clock,
        speed_hz: int,
        mains_v: float,
        frequency_hz: float,
        ambient_c: float,
        seed: int,
        fault_table: Faults,
    ) -> None:
        self.clock = clock
        self.timeline = Timeline(clock.monotonic_ns())
        self.journal = Journal()
        self.lines = Lines()
        self.rng = random.Random(seed)
        self.bus = I2cBus(self.timeline, speed_hz, random.Random(seed + 1))
        self.ambient_c = ambient_c
        self.outlets: dict[int, Outlet] = {}
        self.meters: list[Ade7953] = []
        self.expanders: dict[int, Mcp23017] = {}
        self.thermometers: dict[int, Tmp102] = {}  # by outlet
        self.inside_thermometer: Tmp102 | None = None
        self.segment_of: dict[int, Segment] = {}  # the bus segment behind an outlet's mux channel
        self.mux_of: dict[int, Tca9548a] = {}  # the mux of an outlet's meter
        self.alert_place: dict[int, tuple[int | None, int]] = {}  # by outlet, as `coil_place`; no entry without a line
        self.coil_place: dict[int, tuple[int | None, int]] = {}  # by outlet: expander and its pin, or None and a line
        self.coil_swaps: dict[int, int] = {}  # wires of two coils swapped: output to driven coil, by outlet
        self.loose_plugs: dict[int, Load] = {}  # loads with an intermittent contact
        self.contacts: dict[str, Contact] = {}  # fitted ones, by name in `contacts.INPUTS`
        self.residual_monitor: ResidualMonitor | None = None
        self.siren: Siren | None = None
        self.feed_meter: FeedMeter | None = None
        self.faults: dict[int | None, dict[str, ActiveFault]] = {}  # in effect, by outlet
        self._fault_table = fault_table
        self.inside_heat = Body(INSIDE_SETTLE_NS, self.timeline.now_ns)
        self.fire = Body(FIRE_SETTLE_NS, self.timeline.now_ns)  # heat in the cabinet's air that is not from a load
        self.has_contactor = True
        # Fitted parts, restored when a fault that changes a part is cleared.
        self.fitted_relays: dict[int, RelayPart] = collections.defaultdict(RelayPart)
        self.fitted_breakers: dict[int, BreakerPart] = collections.defaultdict(BreakerPart)
        self.fitted_contactor = self.contactor_part = CONTACTOR
        self.fitted_crosstalk: dict[int, tuple[float, bool]] = {}  # of an outlet's meter chip
        self.fitted_saturation_a: dict[int, float] = {}
        self.fitted_harmonics: tuple[Harmonic, ...] = ()
        self.contactor = Relay(
            self.timeline,
            lambda: self.rng.randint(*self.contactor_part.operate_ns),
            lambda: self.rng.randint(*self.contactor_part.release_ns),
            self._contactor_moved,
        )
        self.upstream_breaker: Breaker | None = None  # in front of the cabinet; None: none that acts
        self.coil_supply = CoilSupply(self.timeline, self._coil_supply_switched)
        self._cut = False
        self._sag_v: float | None = None  # RMS, instead of the grid's voltage
        self._at_once = 0  # several outlets are changing: update the cabinet once afterwards
        # The grid keeps its phase while the mains is cut, so mains can return at any phase.
        self._grid = Mains(mains_v * math.sqrt(2), self.timeline.now_ns, 0.5e9 / frequency_hz)
        self.mains: Mains | None = None

    # ---- Time

    def advance_to(self, now_ns: int) -> None:
        self.timeline.advance_to(now_ns)

    def sync(self) -> int:
        """Advance the world to the present. Return that time."""
        now_ns = self.clock.monotonic_ns()
        self.timeline.advance_to(now_ns)
        return self.timeline.now_ns

    # ---- Mains and coils

    def set_mains(self, volts: float | None = None, frequency_hz: float | None = None, cut: bool | None = None) -> None:
        """Change voltage or frequency, cut or restore the mains; the phase continues."""
        self.change_mains(self.sync(), volts, frequency_hz, cut)

    def change_mains(
        self, now_ns: int, volts: float | None = None, frequency_hz: float | None = None, cut: bool | None = None
    ) -> None:
        """Do the same as `set_mains` at a time of the timeline, for planned events."""
        was_cut = self._cut
        self._cut = self._cut if cut is None else cut
        old = self._grid
        peak_v = old.peak_v if volts is None else volts * math.sqrt(2)
        half_ns = old.half_ns if frequency_hz is None else 0.5e9 / frequency_hz
        origin_ns = now_ns - round(old.angle(now_ns) / math.pi * half_ns) if half_ns != old.half_ns else old.origin_ns
        self._grid = Mains(peak_v, origin_ns, half_ns, old.harmonics)
        if was_cut != self._cut:
            self.journal.add(now_ns, "mains_cut" if self._cut else "mains_back")
        self._supply(now_ns)

    @property
    def frequency_hz(self) -> float:
        """Frequency of the grid, even while the mains is cut."""
        return 0.5e9 / self._grid.half_ns

    def distort(self, harmonics: tuple[Harmonic, ...], now_ns: int) -> None:
        """Set the harmonics of the grid's voltage, kept through every cut and sag; if empty, it is a sine."""
        self._grid = self._grid._replace(harmonics=harmonics)
        self._supply(now_ns)

    def sag(self, volts: float | None, now_ns: int) -> None:
        """Pull the voltage down, or up, to `volts` RMS until the sag is ended with None."""
        self._sag_v = volts
        self._supply(now_ns)

    def _supply(self, at_ns: int) -> None:
        """Apply the present mains to all meters and outlets."""
        grid = self._grid
        if self._sag_v is not None:
            grid = grid._replace(peak_v=self._sag_v * math.sqrt(2))
        self.mains = None if self._cut or grid.peak_v <= 0 else grid
        for meter in self.meters:
            meter.mains(self.mains, at_ns)
        self._feed(at_ns)

    def _feed(self, at_ns: int) -> None:
        self._at_once += 1
        for outlet in self.outlets.values():
            outlet.feed(self.mains, self.contactor.closed, at_ns)
        self._at_once -= 1
        self.current_changed(at_ns)

    def current_changed(self, at_ns: int) -> None:
        """Update residual monitor, feed meter and upstream breaker after a change of an outlet's current."""
        if self._at_once:
            return
        if self.residual_monitor is not None:
            self.residual_monitor.carry(self.residual_ma(), at_ns)
        if self.feed_meter is None and self.upstream_breaker is None:
            return
        mains = self.mains
        wave = SILENCE if mains is None else sum_currents(mains, (outlet.wave for outlet in self.outlets.values()))
        if self.feed_meter is not None:
            self.feed_meter.follow(wave, at_ns)
        if self.upstream_breaker is not None:
            self._load_upstream(self.upstream_breaker, wave, at_ns)

    def _load_upstream(self, breaker: Breaker, wave: Wave, at_ns: int) -> None:
        square, magnetic_ns = 0.0, None
        if wave is not SILENCE:
            square = wave.mean_square(at_ns, at_ns + CYCLE_NS)
            magnetic_ns = wave.first_above_ns(breaker.part.magnetic_peak_a, at_ns)
        breaker.carry(square, magnetic_ns, at_ns)

    def fit_upstream_breaker(self, part: BreakerPart | None, at_ns: int) -> None:
        """Fit a breaker in front of the contactor, or none. If it trips, all outlets lose mains."""
        if self.upstream_breaker is not None and not self.upstream_breaker.closed:
            self.change_mains(at_ns, cut=False)
        self.upstream_breaker = None if part is None else Breaker(self.timeline, self._upstream_tripped, part)
        self.current_changed(at_ns)

    def _upstream_tripped(self, why: str, at_ns: int) -> None:
        self.journal.add(at_ns, "upstream_breaker_tripped", why=why)
        self.change_mains(at_ns, cut=True)

    def set_coil(self, number: int, on: bool, at_ns: int) -> None:
        """Set the coil output of outlet `number`, which drives the coil that it is wired to."""
        outlet = self.outlets[self.coil_swaps.get(number, number)]
        if outlet.relay.commanded != on:
            outlet.command(on, at_ns)

    def set_contactor(self, on: bool, at_ns: int) -> None:
        if on != self.contactor.commanded:
            self.journal.add(at_ns, "contactor_on" if on else "contactor_off")
        self.contactor.command(on, at_ns)

    def _contactor_moved(self, closed: bool, at_ns: int) -> None:
        self.journal.add(at_ns, "contactor_closed" if closed else "contactor_opened")
        self._feed(at_ns)

    def _coil_supply_switched(self, on: bool, at_ns: int) -> None:
        self.journal.add(at_ns, "heartbeat_back" if on else "heartbeat_lost")
        for outlet in self.outlets.values():
            outlet.relay.supply(on, at_ns)
        self.contactor.supply(on, at_ns)

    # ---- Actions of people

    def outlet(self, number: int) -> Outlet:
        found = self.outlets.get(number)
        if found is None:
            known = sorted(self.outlets)
            raise SimError(f"no outlet {number}; this cabinet has {known[0]} to {known[-1]}")
        return found

    def plug(self, number: int, load: Load) -> None:
        """Plug in a load. Raises SimError if the outlet has one already."""
        now_ns = self.sync()
        outlet = self.outlet(number)
        if outlet.load is not None:
            raise SimError(f"outlet {number} has {outlet.load.name} plugged in; unplug it first")
        self.journal.add(now_ns, "plugged", number, load=load.name)
        outlet.plug(load, now_ns)

    def unplug(self, number: int) -> Load:
        """Unplug the load and return it. Raises SimError if there is none."""
        now_ns = self.sync()
        outlet = self.outlet(number)
        load = outlet.load
        if load is None:
            raise SimError(f"nothing is plugged into outlet {number}")
        self.journal.add(now_ns, "unplugged", number, load=load.name)
        outlet.unplug(now_ns)
        return load

    def fault(self, number: int | None, kind: str, **params: float | str) -> None:
        """Set a fault of `faults.FAULTS` with its parameters, at an outlet or, if `number` is None, of the cabinet."""
        now_ns = self.sync()
        self._fault_table.set_fault(self, number, kind, params, now_ns)

    def clear(self, number: int | None = None) -> None:
        """Remove every fault of an outlet, or all if `number` is None, and push the breakers' levers back."""
        now_ns = self.sync()
        self._fault_table.clear(self, number, now_ns)

    # ---- True state

    def contact_c(self, number: int, at_ns: int) -> float:
        return self.ambient_c + self.outlets[number].warmth_k(at_ns)

    def inside_c(self, at_ns: int) -> float:
        self.inside_heat.aim(INSIDE_K_PER_W * sum(outlet.watts(at_ns) for outlet in self.outlets.values()), at_ns)
        return self.ambient_c + self.inside_heat.at(at_ns) + self.fire.at(at_ns)

    def residual_ma(self) -> float:
        """Return the residual current: the leaks of the outlets that have mains."""
        return sum(outlet.leak_ma for outlet in self.outlets.values() if outlet.leak_ma and outlet.energised)

    def truth(self, number: int) -> Truth:
        now_ns = self.sync()
        outlet = self.outlet(number)
        load = outlet.load
        return Truth(
            outlet=number,
            at_ns=now_ns,
            energy_uj=round(outlet.energy_j(now_ns) * 1e6),
            current_ma=round(outlet.current_a(now_ns) * 1000),
            power_mw=round(outlet.watts(now_ns) * 1000),
            contacts_closed=outlet.relay.closed,
            coil_told=outlet.relay.commanded,
            conducting=outlet.conducting,
            welded=outlet.relay.welded,
            breaker_closed=outlet.breaker.closed,
            temperature_mc=round(self.contact_c(number, now_ns) * 1000),
            load=load.name if load else None,
            stage=load.stage() if load else None,
            charge_percent=load.charge_percent() if load else None,
            faults={kind: dict(standing.params) for kind, standing in self.faults.get(number, {}).items()},
        )

    def state(self, journal_after: int | None = None) -> dict[str, object]:
        """Return the full state as plain values for JSON, with the journal after a sequence number if one is given."""
        now_ns = self.sync()
        mains = self.mains
        state: dict[str, object] = {
            "at_ns": now_ns,
            "mains_v": round(mains.rms_v, 1) if mains else 0.0,
            "frequency_hz": round(0.5e9 / mains.half_ns, 2) if mains else 0.0,
            "contactor_closed": self.contactor.closed,
            "contactor_welded": self.contactor.welded,
            "coil_supply": self.contactor.supplied,
            "inputs": {name: "open" if contact.open else "closed" for name, contact in self.contacts.items()},
            "residual_ma": round(self.residual_ma(), 1),
            "siren": self.siren is not None and self.siren.sounding,
            "inside_c": round(self.inside_c(now_ns), 2),
            "faults": {kind: dict(standing.params) for kind, standing in self.faults.get(None, {}).items()},
            "outlets": [msgspec.to_builtins(self.truth(number)) for number in sorted(self.outlets)],
            "transfers": self.bus.transfers,
            "journal_seq": self.journal.last_seq,
        }
        if journal_after is not None:
            state["journal"] = [msgspec.to_builtins(record) for record in self.journal.after(journal_after)]
        return state
