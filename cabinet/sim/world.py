"""The simulated cabinet as a whole: mains, contactor, coil supply, outlets; what can be done to it, what it shows.

Lazy: nothing runs between two looks. Every public call first brings the world to the present of its clock.
"""

import math
import random

import msgspec

from cabinet.clock import Clock
from cabinet.errors import SimError
from cabinet.sim import faults
from cabinet.sim.bus import I2cBus, Segment
from cabinet.sim.chips.ade7953 import Ade7953
from cabinet.sim.chips.mcp23017 import Mcp23017
from cabinet.sim.chips.tca9548a import Tca9548a
from cabinet.sim.chips.tmp102 import Tmp102
from cabinet.sim.contacts import Contact, ResidualMonitor, Siren
from cabinet.sim.feed import FeedMeter
from cabinet.sim.heat import Body
from cabinet.sim.journal import Journal
from cabinet.sim.lines import Lines
from cabinet.sim.loads import Load
from cabinet.sim.outlet import Outlet
from cabinet.sim.supply import CoilSupply, Relay
from cabinet.sim.timeline import Timeline
from cabinet.sim.waveform import Mains

CONTACTOR_OPERATE_NS = 20_000_000
CONTACTOR_RELEASE_NS = 15_000_000
INSIDE_SETTLE_NS = 600e9
FIRE_SETTLE_NS = 60e9
INSIDE_K_PER_W = 0.004  # the cabinet's air, for each watt that passes its outlets


class Truth(msgspec.Struct, frozen=True):
    """What is really so at one outlet, whatever any chip says."""

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
    """Everything outside the controller. Wired up by `cabinet.sim.build`."""

    def __init__(
        self, clock: Clock, speed_hz: int, mains_v: float, frequency_hz: float, ambient_c: float, seed: int
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
        self.thermometers: dict[int, Tmp102] = {}  # by the outlets they sit at
        self.inside_thermometer: Tmp102 | None = None
        self.segment_of: dict[int, Segment] = {}  # the bus segment behind an outlet's mux channel
        self.mux_of: dict[int, Tca9548a] = {}  # the mux an outlet's meter is behind
        self.alert_place: dict[int, tuple[int | None, int]] = {}  # by outlet, as `coil_place`; none without a line
        self.coil_place: dict[int, tuple[int | None, int]] = {}  # by outlet: expander and its pin, or None and a line
        self.coil_swaps: dict[int, int] = {}  # wires of two coils crossed: whose output drives whose coil
        self.contacts: dict[str, Contact] = {}  # by `contacts.INPUTS`, those fitted
        self.residual_monitor: ResidualMonitor | None = None
        self.siren: Siren | None = None
        self.feed_meter: FeedMeter | None = None
        self.faults: dict[int | None, dict[str, faults.Standing]] = {}
        self.inside_heat = Body(INSIDE_SETTLE_NS, self.timeline.now_ns)
        self.fire = Body(FIRE_SETTLE_NS, self.timeline.now_ns)  # heat in the cabinet's air that no load explains
        self.has_contactor = True
        self.contactor = Relay(self.timeline, CONTACTOR_OPERATE_NS, lambda: CONTACTOR_RELEASE_NS, self._contactor_moved)
        self.coil_supply = CoilSupply(self.timeline, self._coil_supply_switched)
        self._cut = False
        self._sag_v: float | None = None  # RMS, in place of the grid's own voltage
        self._at_once = 0  # several outlets are being changed: one look at the whole cabinet afterwards
        # The grid swings on while it is cut off here, so it comes back at any phase.
        self._grid = Mains(mains_v * math.sqrt(2), self.timeline.now_ns, 0.5e9 / frequency_hz)
        self.mains: Mains | None = None

    # ---- time

    def advance_to(self, now_ns: int) -> None:
        self.timeline.advance_to(now_ns)

    def sync(self) -> int:
        """Bring the world to the present; returns it."""
        now_ns = self.clock.monotonic_ns()
        self.timeline.advance_to(now_ns)
        return self.timeline.now_ns

    # ---- mains and coils

    def set_mains(self, volts: float | None = None, frequency_hz: float | None = None, cut: bool | None = None) -> None:
        """Change voltage or frequency, cut the mains or let it come back; its phase goes on."""
        self.change_mains(self.sync(), volts, frequency_hz, cut)

    def change_mains(
        self, now_ns: int, volts: float | None = None, frequency_hz: float | None = None, cut: bool | None = None
    ) -> None:
        """The same at a moment of the timeline, for what happens by itself."""
        was_cut = self._cut
        self._cut = self._cut if cut is None else cut
        old = self._grid
        peak_v = old.peak_v if volts is None else volts * math.sqrt(2)
        half_ns = old.half_ns if frequency_hz is None else 0.5e9 / frequency_hz
        origin_ns = now_ns - round(old.angle(now_ns) / math.pi * half_ns) if half_ns != old.half_ns else old.origin_ns
        self._grid = Mains(peak_v, origin_ns, half_ns)
        if was_cut != self._cut:
            self.journal.add(now_ns, "mains_cut" if self._cut else "mains_back")
        self._supply(now_ns)

    def sag(self, volts: float | None, now_ns: int) -> None:
        """The voltage is pulled down, or up, to that many volts RMS for as long as it lasts; None: it is over."""
        self._sag_v = volts
        self._supply(now_ns)

    def _supply(self, at_ns: int) -> None:
        """Hand the present mains to everything that hangs on it."""
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
        """Some outlet's current is another: the meters in front of all of them follow."""
        if self._at_once:
            return
        if self.residual_monitor is not None:
            self.residual_monitor.carry(self.residual_ma(), at_ns)
        if self.feed_meter is not None:
            self.feed_meter.follow(self.mains, self.outlets.values(), at_ns)

    def tell_coil(self, number: int, on: bool, at_ns: int) -> None:
        """The output of outlet `number`, wherever its wires lead."""
        outlet = self.outlets[self.coil_swaps.get(number, number)]
        if outlet.relay.told != on:
            outlet.tell(on, at_ns)

    def tell_contactor(self, on: bool, at_ns: int) -> None:
        if on != self.contactor.told:
            self.journal.add(at_ns, "contactor_on" if on else "contactor_off")
        self.contactor.tell(on, at_ns)

    def _contactor_moved(self, closed: bool, at_ns: int) -> None:
        self.journal.add(at_ns, "contactor_closed" if closed else "contactor_opened")
        self._feed(at_ns)

    def _coil_supply_switched(self, on: bool, at_ns: int) -> None:
        self.journal.add(at_ns, "heartbeat_back" if on else "heartbeat_lost")
        for outlet in self.outlets.values():
            outlet.relay.supply(on, at_ns)
        self.contactor.supply(on, at_ns)

    # ---- what people do

    def outlet(self, number: int) -> Outlet:
        found = self.outlets.get(number)
        if found is None:
            known = sorted(self.outlets)
            raise SimError(f"no outlet {number}; this cabinet has {known[0]} to {known[-1]}")
        return found

    def plug(self, number: int, load: Load) -> None:
        """SimError where something is plugged in already."""
        now_ns = self.sync()
        outlet = self.outlet(number)
        if outlet.load is not None:
            raise SimError(f"outlet {number} has {outlet.load.name} plugged in; unplug it first")
        self.journal.add(now_ns, "plugged", number, load=load.name)
        outlet.plug(load, now_ns)

    def unplug(self, number: int) -> Load:
        """The load that was there; SimError where nothing is."""
        now_ns = self.sync()
        outlet = self.outlet(number)
        load = outlet.load
        if load is None:
            raise SimError(f"nothing is plugged into outlet {number}")
        self.journal.add(now_ns, "unplugged", number, load=load.name)
        outlet.unplug(now_ns)
        return load

    def fault(self, number: int | None, kind: str, **params: float | str) -> None:
        """Set a fault; `faults.FAULTS` says which there are and what they take. None: the whole cabinet's."""
        now_ns = self.sync()
        faults.set_fault(self, number, kind, params, now_ns)

    def clear(self, number: int | None = None) -> None:
        """Remove every fault of an outlet, or of the cabinet, and push the breaker's lever back."""
        now_ns = self.sync()
        faults.clear(self, number, now_ns)

    # ---- what it shows

    def contact_c(self, number: int, at_ns: int) -> float:
        return self.ambient_c + self.outlets[number].warmth_k(at_ns)

    def inside_c(self, at_ns: int) -> float:
        self.inside_heat.aim(INSIDE_K_PER_W * sum(outlet.watts(at_ns) for outlet in self.outlets.values()), at_ns)
        return self.ambient_c + self.inside_heat.at(at_ns) + self.fire.at(at_ns)

    def residual_ma(self) -> float:
        """What of the outlets' current does not come back: the leaks of those that have mains."""
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
            coil_told=outlet.relay.told,
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
        """Everything, as plain values for JSON; with the journal's records after a sequence number if asked."""
        now_ns = self.sync()
        mains = self.mains
        state: dict[str, object] = {
            "at_ns": now_ns,
            "mains_v": round(mains.peak_v / math.sqrt(2), 1) if mains else 0.0,
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
