"""A cabinet in operation, on which a campaign provokes one fault after the other and checks the reactions."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from cabinet.clock import MS, NS
from cabinet.link.guard_protocol import Done
from cabinet.model import CABINET, Event, EventKind, Fault, OutletState
from cabinet_testing import sim_tolerances
from cabinet_testing.sim_cabinet import SimCabinet, demo_config
from cabinet_testing.sim_tolerances import Spread

NO_HEARTBEAT = {"heartbeat_pin = 27\n": ""}  # for strides of seconds, in which the heartbeat would be lost
CHARGERS = ("lead-acid-36v12ah", "lead-acid-48v20ah", "lithium-48v", "lithium-60v")
STRIDE_NS = 40 * MS  # short enough for the heartbeat and the guard's time limit
WARM_K = 5.0  # above the air; the next charge must not begin on a contact still hot
BEGINNING_NS = 500 * MS
BEFORE_NS = 100 * MS  # until the guard follows the mains again and all readings are fresh
OPENED = (EventKind.TRIPPED, EventKind.SUSPENDED)

Say = Callable[[str], None]


class FaultHarness:
    """A cabinet with some outlets charging; `problems` collects the deviations."""

    def __init__(
        self,
        chance: random.Random,
        say: Say,
        changes: dict[str, str] | None = None,
        spread: Spread | None = None,
        state: Path | None = None,
    ) -> None:
        """Start a cabinet with parts drawn from `spread` (None: nominal parts).

        If `state` is given, it is the state folder instead of a temporary one.
        """
        self.chance = chance
        self.say = say
        self._folder = tempfile.TemporaryDirectory(prefix="campaign-")
        self.sim = SimCabinet(state or Path(self._folder.name), demo_config(changes), seed=chance.getrandbits(32))
        self.outlets = sorted(self.sim.world.outlets)
        if spread is not None:
            sim_tolerances.draw(self.sim.world, chance, spread)
        assert self.sim.run(4 * NS, until=lambda: self.sim.outlet(1).refusal is None)
        self.problems: list[str] = []
        self.times_ms: list[float] = []

    def close(self) -> None:
        self.sim.close()
        self._folder.cleanup()

    # --- Ordinary operation -----------------------------------------------------------------------------------------

    def charge(self, outlets: list[int], load: str | None = None) -> None:
        """Start charging at all of `outlets`; those already charging continue."""
        sim = self.sim
        for outlet in outlets:
            if sim.outlet(outlet).closed:
                continue
            if sim.world.outlet(outlet).load is not None:
                sim.world.unplug(outlet)
            percent = None if load and load.startswith("resistor") else self.chance.uniform(5, 60)
            sim.plug(outlet, load or self.chance.choice(CHARGERS), percent)
            assert sim.run(4 * NS, until=lambda o=outlet: isinstance(sim.start(o), Done)), sim.outlet(outlet)
        assert sim.run(4 * NS, until=lambda: all(sim.outlet(n).closed for n in outlets))
        self.wait(self.chance.uniform(2.0, 2.5))  # until soft starts are over and the means have settled

    def some(self, least: int = 1, most: int = 4) -> list[int]:
        """Return random outlets to charge at."""
        return self.chance.sample(self.outlets, self.chance.randint(least, min(most, len(self.outlets))))

    def wait(self, seconds: float) -> None:
        """Let time pass: the begin and the end at the full rate, the rest in strides."""
        end_ns = self.sim.clock.monotonic_ns() + round(seconds * NS)
        self.sim.run(min(round(seconds * NS), BEGINNING_NS))
        while self.sim.clock.monotonic_ns() < end_ns - BEFORE_NS:
            self.sim.clock.advance_ns(STRIDE_NS)
            self.sim.tick()
        self.sim.run(end_ns - self.sim.clock.monotonic_ns())

    def fault(self, outlet: int | None, kind: str, **params: float | str) -> Callable[[], None]:
        """Return a function that sets the fault."""

        def act() -> None:
            self.say(f"{kind} {params} at {outlet or 'the cabinet'}")
            self.sim.world.fault(outlet, kind, **params)

        return act

    def same_chip(self, outlet: int, charging: list[int]) -> set[int | None]:
        """Return those of `charging` that share the meter chip of `outlet`."""
        return {other for other in charging if (other - 1) // 2 == (outlet - 1) // 2}

    def forget_storms(self) -> None:
        """Reset the reclose storm counts, because the next fault is independent."""
        for outlet in self.outlets:
            self.sim.unit(outlet).safety.reset(Fault.RECLOSE_STORM)

    def repair(self) -> None:
        """Clear all faults; latches stay."""
        for outlet in (None, *self.outlets):
            self.sim.world.clear(outlet)

    def mend(self) -> None:
        """Clear all faults and latches, and wait until starts are accepted again."""
        sim = self.sim
        self.repair()
        self.wait(0.2)
        while any(sim.world.contact_c(n, sim.world.sync()) > sim.world.ambient_c + WARM_K for n in self.outlets):
            sim.stride(60 * NS, 5 * NS)  # a contact that a short heated is hot to the next charge too, and rightly
        for state in self.states():
            if state.latched:
                sim.clear(state.outlet)
        if sim.guard.snapshot().latched:
            sim.clear(CABINET)
        for state in self.states():
            if state.session_id is not None:
                sim.stop(state.outlet)
        self.forget_storms()
        if not sim.run(60 * NS, until=lambda: all(o.refusal is None for o in self.states())):
            self.problems.append(f"does not serve again: {[(o.outlet, o.refusal) for o in self.states() if o.refusal]}")

    def states(self) -> list[OutletState]:
        return self.sim.guard.snapshot().outlets

    # --- Checks -----------------------------------------------------------------------------------------------------

    def opened_since(self, seen: int) -> list[Event]:
        return [event for event in self.sim.seen[seen:] if event.kind in OPENED]

    def provoke(
        self,
        fault: Fault,
        within_s: float,
        act: Callable[[], object],
        outlets: set[int | None],
        latched: bool,
        *,
        suspends: bool = False,
        besides: frozenset[int] | set[int] = frozenset(),
        then: Fault | None = None,
        or_sooner: frozenset[Fault] | set[Fault] = frozenset(),
    ) -> None:
        """Do `act`, and check that exactly `outlets` open for `fault` within `within_s`.

        If None is among them, the whole cabinet opens and has the latch. `besides`: outlets that open for another
        reason. `then`: fault of a second verdict. `or_sooner`: faults that are equally correct.
        """
        sim = self.sim
        seen, from_ns = len(sim.seen), sim.clock.monotonic_ns()
        before = {o.outlet for o in self.states() if o.closed}
        act()
        sim.run(round(within_s * NS) + 300 * MS, until=lambda: outlets <= self._opened(seen))
        sim.run(200 * MS)  # a relay that did not open is detected 100 ms later
        events = [e for e in sim.seen[seen:] if e.kind in OPENED and e.outlet not in besides]
        if then is not None:
            second = events.pop() if events else None
            if second is None or (second.fault, second.latched) != (then, True):
                self.problems.append(f"{then.value} is missing after {fault.value}")
        kind = EventKind.SUSPENDED if suspends else EventKind.TRIPPED
        for event in events:
            named = event.fault is fault or event.fault in or_sooner
            if (event.kind, named, event.outlet in outlets) != (kind, True, True):
                self.problems.append(
                    f"outlet {event.outlet}: {event.kind.value} {event.fault} for {fault} at {outlets}"
                )
        for missed in outlets - {event.outlet for event in events}:
            self.problems.append(f"{fault.value}: missed at {missed or 'the cabinet'}")
        self._check_latches(fault, [event for event in events if event.fault not in or_sooner], latched)
        if events:
            self._check_time(fault, (events[0].at_ns - from_ns) / MS, 1000 * within_s)
        self._check_closed(fault, before, outlets | set(besides))

    def _opened(self, seen: int) -> set[int | None]:
        return {event.outlet for event in self.sim.seen[seen:] if event.kind in OPENED}

    def _check_latches(self, fault: Fault, events: list[Event], latched: bool) -> None:
        cabinet = any(event.outlet is None for event in events)
        whole = fault in (Fault.RELAY_WELDED,)
        found = [event.latched for event in events]
        expected = any(found) if (cabinet or whole) else all(found)
        if events and expected is not latched:
            self.problems.append(f"{fault.value}: latched {found}, should be {latched}")

    def _check_time(self, fault: Fault, took_ms: float, allowed_ms: float) -> None:
        self.say(f"{fault.value} after {took_ms:.1f} ms")
        self.times_ms.append(took_ms)
        if took_ms > allowed_ms:
            self.problems.append(f"{fault.value}: after {took_ms:.1f} ms, allowed {allowed_ms:.0f}")

    def _check_closed(self, fault: Fault, before: set[int], outlets: set[int | None]) -> None:
        closed = {o.outlet for o in self.states() if o.closed}
        expected = set() if None in outlets else before - {o for o in outlets if o is not None}
        if closed != expected:
            self.problems.append(f"{fault.value}: closed are {sorted(closed)}, expected {sorted(expected)}")

    def judge_last(self, fault: Fault, outlet: int) -> None:
        """Check that the last opening of `outlet` was a latched trip for `fault`."""
        events = self.sim.events(outlet, EventKind.TRIPPED, EventKind.ENDED, EventKind.SUSPENDED)
        found = (events[-1].fault, events[-1].latched) if events else None
        if found != (fault, True):
            self.problems.append(f"outlet {outlet}: {found} instead of {fault.value}, latched")
