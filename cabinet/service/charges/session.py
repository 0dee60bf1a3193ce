"""An unfinished session in memory: authoritative while it runs; the database follows at every step and checkpoint.

No method here waits, so no part of the service ever sees half a change.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from cabinet.billing.ledger import Payer
from cabinet.billing.session import SessionStep, State, allowed, next_state
from cabinet.billing.tariff import Tariff, total_fen
from cabinet.clock import WallTime
from cabinet.model import ChargeLimits, CostLine, EndReason, Fault, MeterCount
from cabinet.records import CurvePoint
from cabinet.service.charges import pricing
from cabinet.service.charges.live import Curve
from cabinet.service.charges.meter import SessionMeter
from cabinet.store.moment import Moment
from cabinet.store.sessions import Counter, SessionRow, Transition


@dataclass(eq=False)
class Session:
    """One unfinished session. `over` is set when it is settled; `busy` is held during a request to the guard for it."""

    session_id: str
    number: int
    order_number: str
    resident_id: int
    card: str
    outlet: int
    code: str
    choice: Literal["full", "hours", "amount", "package"]
    choice_amount: int
    held_fen: int
    started: WallTime
    state: State
    meter: SessionMeter
    curve: Curve
    fleet_order: str | None
    max_energy_mwh: int | None  # of the fleet's order
    max_charging_s: int | None
    held_at: Moment  # time of the last snapshot in which the guard held it; initially, of its authorisation
    stop_reason: EndReason | None = None  # set if the session must end, regardless of other events
    stop_who: str = ""
    refusal: str | None = None  # code if its start was refused: it costs nothing and has no usage record
    energised_ns: int = 0  # snapshots up to this time may not show its outlet closed yet
    power_mw: int | None = None
    retry_ns: int = 0
    resuming_since_ns: int | None = None
    suspended_for: Fault | None = None  # the passing fault for which the guard suspended it
    waits_for: str | None = None  # code of the last refusal to resume it
    ended: WallTime | None = None
    end_reason: EndReason | None = None
    fault: Fault | None = None
    unsaved_transitions: list[Transition] = field(default_factory=list)  # transitions not yet in the database
    unsaved_days: dict[str, int] = field(default_factory=dict)  # mWh by day, not yet in the database
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def payer(self) -> Payer:
        return self.resident_id if self.fleet_order is None else self.fleet_order

    @property
    def tariff(self) -> Tariff:
        return self.meter.tariff

    @property
    def had_load(self) -> bool:
        return self.meter.seen.charging_ms > 0

    @property
    def finished(self) -> bool:
        """Return whether it has ended, settled or not."""
        return self.state in (State.FINISHED, State.SETTLED)

    def lines(self) -> list[CostLine]:
        """Return the price lines as if it ended now, or the final ones if it has ended."""
        use = self.meter.live_use()
        return pricing.price_lines(self.tariff, use, self.held_fen, self.end_reason, self.refusal is not None)

    def used_up(self) -> bool:
        """Return whether the cost has reached the hold; never if the cap is within the hold, as cost may stay there."""
        cap_fen = self.tariff.cap_fen
        if cap_fen is not None and cap_fen <= self.held_fen:
            return False
        return self.had_load and total_fen(self.lines()) >= self.held_fen

    def limits(self, max_w: int) -> ChargeLimits:
        """Return the limits at which the guard ends the charge by itself if the service dies now."""
        use = self.meter.live_use()
        bought_s = self.choice_amount if self.choice == "hours" else None
        power_w = pricing.expected_w(self.meter.mean_power_w, max_w)
        own = pricing.limits(self.tariff, use, self.held_fen, bought_s, power_w)
        return msgspec.structs.replace(
            own,
            charging_s=_lower(own.charging_s, self.max_charging_s),
            energy_mwh=_lower(own.energy_mwh, self.max_energy_mwh),
        )

    def step(self, step: SessionStep, at: Moment, detail: str = "") -> bool:
        """Take `step` if the state table allows it here; otherwise change nothing and return False."""
        if not allowed(self.state, step):
            return False
        before, self.state = self.state, next_state(self.state, step)
        if self.state is not State.SUSPENDED:
            self.suspended_for = self.waits_for = None
        self.unsaved_transitions.append(Transition(self.session_id, step, before, self.state, at, detail))
        return True

    def finish(self, reason: EndReason | None, fault: Fault | None, at: Moment) -> bool:
        """End it, once; return False if it has ended before. `reason` None is a failed start."""
        if self.choice == "package" and reason is EndReason.LIMIT_ENERGY:
            reason = EndReason.LIMIT_TIME  # the energy limit bounds a package's time if the power rises
        detail = reason.value if reason is not None else self.refusal or ""
        if not self.step(SessionStep.ENDED, at, detail if fault is None else f"{detail}: {fault.value}"):
            return False
        self.end_reason, self.fault, self.ended = reason, fault, at.wall
        self.power_mw = None
        return True

    def suspend(self, fault: Fault | None, at: Moment) -> None:
        """Suspend it: the guard opened its outlet for a passing fault. `observe` has taken the guard's count before."""
        if self.state is State.AUTHORISED:
            self.step(SessionStep.CLOSED, at)  # the outlet was closed, but the event had not arrived
        self.step(SessionStep.INTERRUPTED, at, "" if fault is None else fault.value)
        self.meter.counter = None  # the outlet's own counters have nothing more to add
        self.suspended_for, self.resuming_since_ns, self.power_mw = fault, None, None

    def observe(
        self, count: MeterCount, at: Moment, counter: Counter | None = None, power_mw: int | None = None
    ) -> int:
        """Take the guard's count for it up to `at`; return the new mWh."""
        before_mwh = self.meter.seen.energy_mwh
        self.meter.observe(count, at, counter, power_mw)
        self.curve.add(self.meter.seen)
        return self._note_energy(before_mwh, at)

    def observe_outlet(self, counter: Counter, at: Moment) -> int:
        """Take the outlet's count after the guard lost the session; return the new mWh."""
        before_mwh = self.meter.seen.energy_mwh
        self.meter.observe_outlet(counter, at)
        return self._note_energy(before_mwh, at)

    def _note_energy(self, before_mwh: int, at: Moment) -> int:
        new_mwh = self.meter.seen.energy_mwh - before_mwh
        if new_mwh:
            day = self.meter.site_time.day(at.wall)
            self.unsaved_days[day] = self.unsaved_days.get(day, 0) + new_mwh
        return new_mwh


def _lower(own: int | None, ordered: int | None) -> int | None:
    """Return the lower one of two limits; an order of the fleet never raises the cabinet's own."""
    return min((limit for limit in (own, ordered) if limit is not None), default=None)


def restored(row: SessionRow, site_time: pricing.SiteTime, points: list[CurvePoint]) -> Session:
    """Return the session restored from its database row and the points of its curve."""
    count = MeterCount(row.energy_mwh, row.powered_ms, row.charging_ms)
    return Session(
        session_id=row.session_id,
        number=row.number,
        order_number=row.order_number,
        resident_id=row.resident_id,
        card=row.card,
        outlet=row.outlet,
        code=row.code,
        choice=row.choice,
        choice_amount=row.choice_amount,
        held_fen=row.held_fen,
        started=WallTime(row.started_unix_ms, row.started_trusted),
        state=row.state,
        meter=SessionMeter(row.tariff, site_time, row.used, count, row.seen, row.counter, row.peak_power_mw),
        curve=Curve(points, row.curve_step_s, count),
        held_at=row.seen,
        fleet_order=row.fleet_order,
        max_energy_mwh=row.max_energy_mwh,
        max_charging_s=row.max_charging_s,
        stop_reason=row.stop_reason,
        stop_who=row.stop_who,
        refusal=row.refusal,
        suspended_for=row.fault if row.state is State.SUSPENDED else None,
    )
