"""Conversion of the service's state to the views of `ports`: values only, no decisions."""

from typing import NamedTuple

from cabinet.billing.session import State
from cabinet.billing.tariff import total_fen
from cabinet.clock import WallTime
from cabinet.config.keys import OutletSection
from cabinet.model import Fault, OutletState, Quality, Reading
from cabinet.protections.table import SUSPENDS
from cabinet.service.charges import end_forecast, pricing
from cabinet.service.charges.context import ServiceContext
from cabinet.service.charges.end_forecast import End
from cabinet.service.charges.session import Session
from cabinet.service.ports import CabinetView, ExpectedEnd, OutletCondition, OutletView, SessionView
from cabinet.store.sessions import SessionRow


def cabinet_view(context: ServiceContext) -> CabinetView:
    snapshot = context.guard_state.snapshot
    waiting = len(context.power_queue.waiting)
    if snapshot is None or not context.guard_reachable():
        return CabinetView(None, False, False, None, None, waiting)
    return CabinetView(
        snapshot.fault, snapshot.latched, snapshot.siren, snapshot.feed_mw, snapshot.feed_limit_mw, waiting
    )


def outlet_view(context: ServiceContext, outlet: OutletSection) -> OutletView:
    state = context.guard_state.outlet(outlet.number)
    session = context.sessions.at(outlet.number)
    reachable = context.guard_reachable() and state is not None
    condition = _condition(state, session, cabinet_view(context).fault) if reachable else "unreachable"
    fleet_note = context.fleet_notes.get(outlet.number)
    if condition == "free" and fleet_note is not None:
        condition = "needs_service"
    today = context.site_time.day(context.clock.wall())
    shown = state if reachable else None
    return OutletView(
        number=outlet.number,
        code=outlet.code,
        condition=condition,
        refusal=_refusal(context, condition, state),
        fault=None if shown is None else shown.fault,
        session_id=None if session is None else session.session_id,
        power_mw=None if shown is None else _valid(shown.power_mw),
        temperature_mc=None if shown is None else _valid(shown.temperature_mc),
        energy_today_mwh=context.daily_energy.energy_mwh(today, outlet.number),
        note=fleet_note or "" if shown is None or shown.note is None else shown.note,
    )


def _condition(state: OutletState | None, session: Session | None, cabinet_fault: Fault | None) -> OutletCondition:
    if session is not None and not session.finished:
        return "in_use"
    if state is None:
        return "unreachable"
    if (
        state.note is not None
        or state.latched
        or cabinet_fault is not None
        or (state.fault is not None and state.fault not in SUSPENDS)  # staff cannot repair the mains at an outlet
    ):
        return "needs_service"
    return "free" if session is None and state.session_id is None else "in_use"


def _refusal(context: ServiceContext, condition: OutletCondition, state: OutletState | None) -> str | None:
    if condition == "unreachable":
        return "guard_unreachable"
    if condition == "in_use":
        return "outlet_busy"
    refusal = None if state is None else state.refusal
    if refusal not in (None, "feed_full"):
        return refusal
    if state is not None and state.outlet in context.fleet_notes:
        return "out_of_service"
    if state is not None and context.power_queue.at(state.outlet) is not None:
        return "reserved"
    return refusal or context.accepting() or ("feed_full" if context.power_queue.waiting else None)


def _valid(reading: Reading) -> int | None:
    return reading.value if reading.quality is Quality.OK else None


def running_view(context: ServiceContext, session: Session) -> SessionView:
    """Return the view of an unsettled session, as of now."""
    lines = session.lines()
    count = session.meter.seen
    forecast = _Forecast.of(context, session, total_fen(lines))
    return SessionView(
        session_id=session.session_id,
        order_number=session.order_number,
        outlet=session.outlet,
        code=session.code,
        state="finished" if session.finished else session.state.value,
        choice=session.choice,
        choice_amount=session.choice_amount,
        started=session.started,
        ended=session.ended,
        powered_s=count.powered_ms // 1000,
        charging_s=count.charging_ms // 1000,
        energy_mwh=count.energy_mwh,
        power_mw=session.power_mw if context.guard_reachable() else None,
        lines=lines,
        cost_fen=total_fen(lines),
        held_fen=session.held_fen,
        refund_fen=None,
        tariff_version=session.tariff.version,
        end_reason=session.end_reason,
        fault=session.fault,
        wait_left_s=_wait_left_s(context, session),
        usage_number=None,
        suspended_for=session.suspended_for,
        hour_fen=forecast.hour_fen,
        expected_end=forecast.expected,
        latest_end=forecast.latest,
    )


class _Forecast(NamedTuple):
    """Forecast of the rest of a charge; empty if it is not charging or its power is not known."""

    hour_fen: int | None = None
    expected: ExpectedEnd | None = None
    latest: ExpectedEnd | None = None

    @classmethod
    def of(cls, context: ServiceContext, session: Session, cost_fen: int) -> "_Forecast":
        power_mw = session.power_mw
        if session.state is not State.CHARGING or power_mw is None or not context.guard_reachable():
            return cls()
        wall = context.clock.wall()
        hour_fen = end_forecast.hour_fen(session.tariff, power_mw // 1000, context.site_time.minute(wall))
        ends = _certain_ends(context, session, hour_fen, cost_fen)
        taper_s = end_forecast.taper_left_s(session.curve.points, context.config.charge)
        likely = end_forecast.likeliest_end(ends, taper_s, until_full=session.choice == "full")
        return cls(hour_fen, _moment_of(likely, wall), _moment_of(end_forecast.latest_end(ends), wall))


def _certain_ends(context: ServiceContext, session: Session, hour_fen: int, cost_fen: int) -> list[End]:
    """Return every end that comes even if the battery is not full, as seen from now."""
    seen, tariff = session.meter.seen, session.tariff
    ends = [End(max(0, int(context.config.charge.max_duration_s) - seen.powered_ms // 1000), "longest")]
    if session.choice == "hours":
        ends.append(End(max(0, session.choice_amount - seen.charging_ms // 1000), "time"))
    package_s = end_forecast.package_left_s(tariff, session.meter.live_use(), (session.power_mw or 0) // 1000)
    if package_s is not None:
        ends.append(End(package_s, "package"))
    if tariff.cap_fen is None or tariff.cap_fen > session.held_fen:
        money_s = end_forecast.money_left_s(hour_fen, session.held_fen - cost_fen)
        if money_s is not None:
            ends.append(End(money_s, "money"))
    return ends


def _moment_of(end: End | None, now: WallTime) -> ExpectedEnd | None:
    if end is None:
        return None
    return ExpectedEnd(end.left_s, WallTime(now.unix_ms + end.left_s * 1000, now.trusted), end.basis)


def _wait_left_s(context: ServiceContext, session: Session) -> int | None:
    if session.state is not State.WAITING_FOR_LOAD:
        return None
    return max(0, int(context.config.charge.no_load_s) - session.meter.seen.powered_ms // 1000)


def stored_view(row: SessionRow, record_hash: str | None = None) -> SessionView:
    """Return the view of a session in the database: if settled, the receipt, with the hash of its usage record."""
    ended = None if row.ended_unix_ms is None else WallTime(row.ended_unix_ms, bool(row.ended_trusted))
    lines = pricing.price_lines(row.tariff, row.used, row.held_fen, None) if row.lines is None else row.lines
    return SessionView(
        session_id=row.session_id,
        order_number=row.order_number,
        outlet=row.outlet,
        code=row.code,
        state=row.state.value,
        choice=row.choice,
        choice_amount=row.choice_amount,
        started=WallTime(row.started_unix_ms, row.started_trusted),
        ended=ended,
        powered_s=row.powered_ms // 1000,
        charging_s=row.charging_ms // 1000,
        energy_mwh=row.energy_mwh,
        power_mw=None,
        lines=lines,
        cost_fen=total_fen(lines),
        held_fen=row.held_fen,
        refund_fen=row.refund_fen,
        tariff_version=row.tariff.version,
        end_reason=row.end_reason,
        fault=row.fault,
        wait_left_s=None,
        usage_number=row.usage_number,
        record_hash=record_hash,
    )
