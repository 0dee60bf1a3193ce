"""The cabinet in messages for its fleet: `Online` at each connect, `State` with each change. Values only."""

from collections.abc import Iterable

import msgspec

from cabinet import __version__
from cabinet.billing.tariff import total_fen
from cabinet.config.keys import OutletSection
from cabinet.service.charges import views
from cabinet.service.charges.context import ServiceContext
from cabinet.store.fleet_orders import DesiredRow
from cabinet.store.outbox import OutboxPosition
from cabinet.uplink.messages import Online, OutletPlace, OutletReport, StateReport


def online(context: ServiceContext, position: OutboxPosition, usage_key: str) -> Online:
    """`usage_key`: the public key of the monthly closings, base64."""
    site = context.config.site
    return Online(
        online=True,
        boot=context.boot_id,
        epoch=position.epoch,
        software=__version__,
        site_id=site.site_id,
        timezone=site.timezone,
        usage_key=usage_key,
        outlets=[
            OutletPlace(outlet.number, outlet.code, round(outlet.max_power_w)) for outlet in context.config.outlet
        ],
    )


def state(
    context: ServiceContext,
    position: OutboxPosition,
    challenge: str,
    desired: Iterable[DesiredRow],
    signal_dbm: int | None,
) -> StateReport:
    cabinet, rows = views.cabinet_view(context), list(desired)
    return StateReport(
        at=context.clock.wall(),
        boot=context.boot_id,
        epoch=position.epoch,
        challenge=challenge,
        outlets=[_outlet(context, outlet) for outlet in context.config.outlet],
        accepting=context.accepting(),
        fault=cabinet.fault,
        feed_mw=cabinet.feed_mw,
        feed_limit_mw=cabinet.feed_limit_mw,
        waiting=cabinet.waiting,
        problems=context.computer_problems,
        software=__version__,
        versions={row.kind: row.version for row in rows if row.version},
        rejected={row.kind: row.rejected for row in rows if row.rejected is not None},
        facts=position.facts,
        acked=position.acked,
        signal=signal_dbm,
    )


def _outlet(context: ServiceContext, outlet: OutletSection) -> OutletReport:
    view, session = views.outlet_view(context, outlet), context.sessions.at(outlet.number)
    place = OutletReport(
        number=view.number,
        condition=view.condition,
        refusal=view.refusal,
        fault=view.fault,
        temperature_mc=view.temperature_mc,
        note=view.note,
        power_mw=view.power_mw,
    )
    if session is None:
        return place
    seen = session.meter.seen
    return msgspec.structs.replace(
        place,
        session_id=session.session_id,
        order=session.fleet_order,
        phase="finished" if session.finished else session.state.value,
        energy_mwh=seen.energy_mwh,
        powered_s=seen.powered_ms // 1000,
        charging_s=seen.charging_ms // 1000,
        cost_fen=total_fen(session.lines()),
        suspended_for=session.suspended_for,
    )
