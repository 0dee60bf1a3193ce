"""Views of outlets and charges from rows of the fleet: the last state of a cabinet, an order, its usage record. Pure.

They are the views of `cabinet.service.ports` with what a fleet adds: the cabinet, the age of its state, and what became
of an order that never was a charge.
"""

import datetime
from typing import get_args

from cabinet.clock import WallTime
from cabinet.model import REFUSALS
from cabinet.service.ports import CabinetView, OutletView, PlaceView, SessionState, SessionView
from cabinet.uplink.messages import OutletReport
from fleet.order_table import OrderState
from fleet.orders import is_fresh
from fleet.store.cabinets import CabinetRow
from fleet.store.orders import OrderRow
from fleet.store.usage import MirroredRecord

NO_LOAD_S = 120  # as cabinets have it by default
ON_ITS_WAY = frozenset({OrderState.CREATED, OrderState.HELD, OrderState.SENT})
NOT_STARTED = frozenset({OrderState.REFUSED, OrderState.GIVEN_BACK})
WITH_RECORD = frozenset({OrderState.SETTLED, OrderState.PAID_OUT})

_SESSION_STATES: frozenset[str] = frozenset(get_args(SessionState))


class NearOutlet(OutletView, frozen=True, kw_only=True):
    """A free outlet elsewhere."""

    site: str
    address: str
    cabinet_name: str


class FleetPlace(PlaceView, frozen=True, kw_only=True):
    """A cabinet of the fleet. `state_at` is the time of its last state, `near` are free outlets if this one is not;
    `pays` are the platforms at which a charge that can start now may be paid, `full_fen` the price until full.
    """

    company: str = ""
    address: str = ""
    cabinet_name: str = ""
    online: bool = True
    state_at: WallTime | None = None
    near: tuple[NearOutlet, ...] = ()
    pays: tuple[str, ...] = ()
    full_fen: int = 0


class FleetOutletView(OutletView, frozen=True, kw_only=True):
    """An outlet, with its cabinet and the place of its page."""

    cabinet: str
    company_id: int
    place: FleetPlace


class FleetSessionView(SessionView, frozen=True, kw_only=True):
    """An order as its resident sees it; `session_id` is the order's number.

    `on_its_way`: the cabinet has not answered yet, `asking` if that takes unusually long; `not_started`: the code of
    the reason why it never was a charge, and the hold is back. `paid_by_phone`: the rest goes back to where it came
    from.
    """

    cabinet: str
    company_id: int
    on_its_way: bool = False
    asking: bool = False
    not_started: str | None = None
    paid_by_phone: bool = False


def wall(moment: datetime.datetime) -> WallTime:
    """Return the time for people; the fleet's own clock is trusted."""
    return WallTime(round(moment.timestamp() * 1000), True)


def place_of(row: CabinetRow, company: str, phone: str, minimum_hold_fen: int, now: datetime.datetime) -> FleetPlace:
    state, fresh = row.present(), is_fresh(row, now)
    return FleetPlace(
        name=row.site,
        name_en="",
        complaint_phone=phone,
        minimum_hold_fen=minimum_hold_fen,
        no_load_s=NO_LOAD_S,
        has_queue=False,
        cabinet=CabinetView(
            fault=state.fault if state is not None and fresh else None,
            latched=False,
            siren=False,
            feed_mw=row.feed_mw,
            feed_limit_mw=row.feed_limit_mw,
            waiting=0,
        ),
        guard_reachable=fresh,
        company=company,
        address=row.site_address,
        cabinet_name=row.name,
        online=fresh,
        state_at=None if row.state_at is None else wall(row.state_at),
    )


def outlet_of(
    number: int, code: str, row: CabinetRow, place: FleetPlace, *, taken: bool, priced: bool
) -> FleetOutletView:
    """Return the view of an outlet; `taken`: an order takes it now, `priced`: its tariff is known."""
    state = row.present()
    seen = None if state is None else next((each for each in state.outlets if each.number == number), None)
    condition = "unreachable" if seen is None else seen.condition
    refusal = "guard_unreachable" if seen is None else seen.refusal or (state.accepting if state is not None else None)
    if not place.online:
        condition, refusal = "unreachable", "cabinet_offline"
    elif taken:
        condition, refusal = "in_use", "outlet_busy"
    elif condition == "in_use":
        refusal = refusal or "outlet_busy"
    elif condition == "free" and not priced:
        refusal = refusal or "no_price"
    elif condition == "unreachable":
        refusal = refusal or "guard_unreachable"
    if refusal is not None and refusal not in REFUSALS:
        refusal = "not_ready"  # a code of a newer cabinet
    shown = seen if place.online else None
    return FleetOutletView(
        number=number,
        code=code,
        condition=condition,
        refusal=refusal,
        fault=None if shown is None else shown.fault,
        session_id=None,
        power_mw=None if shown is None else shown.power_mw,
        temperature_mc=None if shown is None else shown.temperature_mc,
        energy_today_mwh=0,
        note="" if shown is None else shown.note,
        cabinet=row.id,
        company_id=row.company_id,
        place=place,
    )


def session_of(order: OrderRow, row: CabinetRow | None, record: MirroredRecord | None) -> FleetSessionView:
    """Return the view of an order; `row` is its cabinet, needed while the order runs only."""
    seen = None if row is None else row.outlet_state(order.outlet)
    if seen is not None and seen.order != order.number:
        seen = None
    if record is not None:
        return _receipt(order, record)
    over = order.state in NOT_STARTED or order.state in WITH_RECORD
    return FleetSessionView(
        session_id=order.number,
        order_number=order.number,
        outlet=order.outlet,
        code=order.code,
        state="settled" if over else _state(order, row, seen),
        choice=order.choice,  # type: ignore[arg-type]  # one of ChoiceKind, by the column's check
        choice_amount=order.choice_amount,
        started=wall(order.made),
        ended=None if order.ended is None else wall(order.ended),
        powered_s=0 if seen is None else seen.powered_s,
        charging_s=0 if seen is None else seen.charging_s,
        energy_mwh=0 if seen is None else seen.energy_mwh,
        power_mw=None if seen is None or row is None or not row.online else seen.power_mw,
        lines=[],
        cost_fen=(order.cost_fen or 0) if over else 0 if seen is None else seen.cost_fen,
        held_fen=order.held_fen,
        refund_fen=order.refund_fen if order.state in WITH_RECORD else order.held_fen if over else None,
        tariff_version=order.tariff_version,
        end_reason=None,
        fault=None,
        wait_left_s=_wait_left_s(seen),
        usage_number=order.usage_number,
        suspended_for=None if seen is None else seen.suspended_for,
        cabinet=order.cabinet,
        company_id=order.company_id,
        on_its_way=order.state in ON_ITS_WAY,
        asking=order.asked is not None,
        not_started=_reason(order) if order.state in NOT_STARTED else None,
    )


def _state(order: OrderRow, row: CabinetRow | None, seen: OutletReport | None) -> SessionState:
    if order.state in ON_ITS_WAY:
        return "authorised"
    if seen is not None and seen.phase in _SESSION_STATES:
        return "finished" if seen.phase == "settled" else seen.phase  # type: ignore[return-value]  # just checked
    newer = (
        row is not None and row.state_at is not None and order.answered is not None and row.state_at > order.answered
    )
    if order.state == OrderState.CHARGING and newer:
        return "finished"  # the cabinet's outlet is free of it: its record is on the way
    return "charging" if order.state == OrderState.CHARGING else "authorised"


def _wait_left_s(seen: OutletReport | None) -> int | None:
    if seen is None or seen.phase != "waiting_for_load":
        return None
    return max(0, NO_LOAD_S - seen.powered_s)


def _receipt(order: OrderRow, mirrored: MirroredRecord) -> FleetSessionView:
    record = mirrored.record()
    return FleetSessionView(
        session_id=order.number,
        order_number=order.number,
        outlet=order.outlet,
        code=order.code,
        state="settled",
        choice=order.choice,  # type: ignore[arg-type]  # one of ChoiceKind, by the column's check
        choice_amount=order.choice_amount,
        started=record.started,
        ended=record.ended,
        powered_s=record.powered_s,
        charging_s=record.charging_s,
        energy_mwh=record.energy_mwh,
        power_mw=None,
        lines=record.lines,
        cost_fen=record.total_fen,
        held_fen=order.held_fen,
        refund_fen=record.refund_fen if order.refund_fen is None else order.refund_fen,
        tariff_version=record.tariff_version,
        end_reason=record.end_reason,
        fault=record.fault,
        wait_left_s=None,
        usage_number=record.number,
        record_hash=mirrored.record_hash,
        cabinet=order.cabinet,
        company_id=order.company_id,
    )


def _reason(order: OrderRow) -> str:
    """Return the code of the reason why an order never was a charge; one of a newer cabinet reads as no answer."""
    return order.refusal if order.refusal in REFUSALS else "no_answer"
