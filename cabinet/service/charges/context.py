"""State shared by the parts of the service: handed in once, never imported from one another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from cabinet.clock import NS, Clock
from cabinet.config.keys import Config, OutletSection
from cabinet.errors import Refused
from cabinet.link.guard_protocol import Command
from cabinet.model import OutletState, Snapshot
from cabinet.service.charges.feed_load import LoadMeans
from cabinet.service.charges.fleet_facts import FleetFacts
from cabinet.service.charges.live import ChangeNotifier
from cabinet.service.charges.power_queue import PowerQueue
from cabinet.service.charges.pricing import SiteTime
from cabinet.service.charges.session import Session
from cabinet.service.charges.tariff_catalogue import TariffCatalogue
from cabinet.service.ports import Unclosed
from cabinet.service.storage import Storage
from cabinet.store.moment import Moment

MAX_RATING_W = 3500  # the bound of `outlet.max_power_w`
MAX_DAYS = 8  # remembered per outlet; a wrong clock may add false days
SNAPSHOT_OLD_NS = 3 * NS  # the guard publishes several a second; an older one is out of date


class GuardPort(Protocol):
    """The part of `link.client.GuardLink` that the service uses."""

    @property
    def connected(self) -> bool: ...
    async def run(self) -> None: ...
    async def request(self, make: Callable[[int], Command], timeout_s: float = 2.0) -> None: ...
    def acknowledge(self, guard_run: str, seq: int) -> None: ...


class ActiveSessions:
    """The unfinished sessions; iteration yields the oldest first."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._by_outlet: dict[int, Session] = {}

    def add(self, session: Session) -> None:
        self._by_id[session.session_id] = session
        self._by_outlet[session.outlet] = session

    def remove(self, session: Session) -> None:
        self._by_id.pop(session.session_id, None)
        if self._by_outlet.get(session.outlet) is session:
            del self._by_outlet[session.outlet]

    def get(self, session_id: str | None) -> Session | None:
        return None if session_id is None else self._by_id.get(session_id)

    def at(self, outlet: int) -> Session | None:
        return self._by_outlet.get(outlet)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)


class GuardState:
    """State of the guard: its last snapshot, and the progress of its events.

    `handled` is the last event in memory, `written` the last on disk, both by guard run; an event is acknowledged only
    if it is written.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.handled: dict[str, int] = {}
        self.written: dict[str, int] = {}
        self.behind_since_ns: int | None = None

    def outlet(self, number: int) -> OutletState | None:
        if self.snapshot is None:
            return None
        return next((state for state in self.snapshot.outlets if state.outlet == number), None)


class DailyEnergy:
    """Energy by outlet and day: that of the database when the service started, and the energy since."""

    def __init__(self) -> None:
        self._energies: dict[tuple[str, int], int] = {}

    def add(self, day: str, outlet: int, energy_mwh: int) -> None:
        key = (day, outlet)
        self._energies[key] = self._energies.get(key, 0) + energy_mwh
        days = sorted({day for day, _ in self._energies})
        for old in [key for key in self._energies if len(days) > MAX_DAYS and key[0] == days[0]]:
            del self._energies[old]

    def energy_mwh(self, day: str, outlet: int) -> int:
        return self._energies.get((day, outlet), 0)


@dataclass
class ServiceContext:
    """The parts of one service."""

    config: Config
    clock: Clock
    boot_id: str
    storage: Storage
    guard: GuardPort
    tariff_catalogue: TariffCatalogue
    site_time: SiteTime
    changes: ChangeNotifier
    sessions: ActiveSessions = field(default_factory=ActiveSessions)
    guard_state: GuardState = field(default_factory=GuardState)
    daily_energy: DailyEnergy = field(default_factory=DailyEnergy)
    power_queue: PowerQueue = field(default_factory=PowerQueue)
    load: LoadMeans = field(default_factory=LoadMeans)
    unclosed: Unclosed | None = None
    fleet_facts: FleetFacts = field(default_factory=FleetFacts)
    fleet_notes: dict[int, str] = field(default_factory=dict)  # outlets out of service by the fleet; guard: by staff
    enrolment_code: str = ""  # typed at the console, until the uplink takes it
    computer_problems: list[str] = field(default_factory=list)  # texts `computer.<code>.staff`

    def now(self) -> Moment:
        wall = self.clock.wall()
        return Moment(self.boot_id, self.clock.monotonic_ns(), wall.unix_ms, wall.trusted)

    def outlet_of(self, code: str) -> OutletSection:
        """Return the outlet with this printed code. Refuses unknown_code."""
        outlet = self.config.outlet_by_code(code)
        if outlet is None:
            raise Refused("unknown_code")
        return outlet

    def is_held(self, session: Session) -> bool:
        """Return whether the guard holds the session, which neither has ended nor is to end."""
        state = self.guard_state.outlet(session.outlet)
        holds = state is not None and state.session_id == session.session_id
        return holds and not session.finished and session.stop_reason is None

    def guard_reachable(self) -> bool:
        """Return whether the guard is connected and has sent a snapshot recently."""
        snapshot = self.guard_state.snapshot
        if snapshot is None or not self.guard.connected:
            return False
        return self.clock.monotonic_ns() - snapshot.at_ns < SNAPSHOT_OLD_NS

    def accepting(self) -> str | None:
        """Return the code if no new sessions start (guard_unreachable, storage_full, storage_damaged), else None."""
        if not self.guard_reachable():
            return "guard_unreachable"
        return self.storage.refusal

    def max_w(self, outlet: int) -> int:
        """Return an outlet's rating; the highest possible if the outlet is no longer in the configuration."""
        place = self.config.outlet_by_number(outlet)
        return MAX_RATING_W if place is None else round(place.max_power_w)
