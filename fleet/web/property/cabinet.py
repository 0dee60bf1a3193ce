"""Page of one cabinet: its state live, faults, problems of its log, desired versions, and orders that run."""

from typing import Any

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response, Stream

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.model import Fault
from cabinet.web import auth
from cabinet.web.context import PageRequest, language_of
from cabinet.web.live import Parts, Streams
from cabinet.web.pages import Pages
from cabinet.web.property.access import done, field, show
from fleet import orders
from fleet.store import cabinets, desired, facts, pages, usage
from fleet.store import orders as order_rows
from fleet.store.cabinets import CabinetRow
from fleet.store.database import Connection
from fleet.web import views
from fleet.web.charges import LOOK_AGAIN_S, LOOK_S
from fleet.web.context import FleetSite
from fleet.web.property.access import FleetActor, fleet_actor

SHOWN = 20  # of each list
MAX_NOTE = 80


@get("/property/cabinets/{cabinet:str}")
async def cabinet_page(request: PageRequest, cabinet: FromPath[str]) -> Response[Any]:
    who = await fleet_actor(request, "look")
    async with FleetSite.of(request).pool.connection() as connection:
        row = await _own(connection, who, cabinet)
        values = await _values(connection, who, row)
        values |= {
            "trips": await facts.trips(connection, who.company_id, row.id, SHOWN),
            "log_alarms": await usage.log_alarms(connection, who.company_id, row.id, SHOWN),
            "set_aside": await facts.set_aside(connection, who.company_id, row.id, SHOWN),
            "wanted": await desired.of_cabinet(connection, who.company_id, row.id),
            "positions": await facts.positions(connection, who.company_id, row.id),
        }
    return show(request, who, "cabinets", "cabinet", **values)


@get("/property/cabinets/{cabinet:str}/live")
async def live(request: PageRequest, cabinet: FromPath[str]) -> Stream:
    """Send the state again whenever it has changed; the cabinet sends it more often meanwhile."""
    who = await fleet_actor(request, "look")
    site, templates, language = FleetSite.of(request), Pages.of(request), language_of(request)
    form_key = auth.form_key(request)
    async with site.pool.connection() as connection:
        row = await _own(connection, who, cabinet)

    async def render() -> tuple[Parts, bool]:
        async with site.pool.connection() as connection:
            now = await _own(connection, who, cabinet)
            await cabinets.look(connection, who.company_id, now.id, LOOK_S)
            values = await _values(connection, who, now)
        part = templates.part(language, "property/cabinet_state.html", actor=who, form_key=form_key, **values)
        return {"state": part}, False

    return Streams.of(request).respond(request, site.notices.watch(row.id, LOOK_AGAIN_S), render)


@post("/property/cabinets/{cabinet:str}/out-of-service", status_code=303)
async def out_of_service(request: PageRequest, cabinet: FromPath[str]) -> Response[Any]:
    """Take an outlet out of service with a note, or without one back into service; a version of the desired list."""
    who, form = await fleet_actor(request, "tariffs"), auth.form(request)
    note = normal_form.text(field(form, "note", MAX_NOTE))
    outlet = normal_form.whole(form.get("outlet", ""))
    site = FleetSite.of(request)
    async with site.property_.audited.acting(who, "tariffs") as act:
        row = await _own(act.connection, who, cabinet)
        known = {each.number for each in await cabinets.outlets(act.connection, who.company_id, row.id)}
        if outlet not in known:
            raise Refused("unknown_outlet")
        present = await desired.get(act.connection, who.company_id, row.id, "out_of_service")
        value = dict(present.value) if present is not None else {}
        value.pop(str(outlet), None)
        if note:
            value[str(outlet)] = note
        await desired.set_value(act.connection, who.company_id, row.id, "out_of_service", value)
        await act.note("out_of_service", subject=f"{row.id}/{outlet}", detail=note or "-")
    return done(f"/property/cabinets/{row.id}")


@post("/property/cabinets/{cabinet:str}/stop", status_code=303)
async def stop(request: PageRequest, cabinet: FromPath[str]) -> Response[Any]:
    """Stop a charge that was started by phone; its resident pays for what was used."""
    who, form = await fleet_actor(request, "tariffs"), auth.form(request)
    number = field(form, "order", 32)
    async with FleetSite.of(request).property_.audited.acting(who, "tariffs") as act:
        row = await _own(act.connection, who, cabinet)
        order = await order_rows.get(act.connection, who.company_id, number)
        if order is None or order.cabinet != row.id:
            raise Refused("unknown_session")
        await orders.want_stop(act.connection, who.company_id, number, by="staff")
        await act.note("charge_stop", subject=f"{row.id}/{order.outlet}", detail=number)
    return done(f"/property/cabinets/{row.id}")


async def _own(connection: Connection, who: FleetActor, cabinet: str) -> CabinetRow:
    """Return a cabinet that the person may see. Refuses unknown_cabinet, the same for all others."""
    row = await cabinets.get(connection, who.company_id, cabinet, who.groups)
    if row is None:
        raise Refused("unknown_cabinet")
    return row


async def _values(connection: Connection, who: FleetActor, row: CabinetRow) -> dict[str, Any]:
    """Return the values of the live part."""
    now = await pages.now(connection)
    place = views.place_of(row, "", "", 0, now)
    running = {
        order.outlet: order for order in await order_rows.unfinished(connection, who.company_id, row.id) if order.open
    }
    outlets = [
        views.outlet_of(outlet.number, outlet.code, row, place, taken=outlet.number in running, priced=True)
        for outlet in await cabinets.outlets(connection, who.company_id, row.id)
    ]
    state = row.present()
    return {
        "row": row,
        "state": state,
        "fresh": place.online,
        "state_at": place.state_at,
        "outlets": outlets,
        "running": running,
        "alarms": await facts.alarms(connection, who.company_id, row.id, limit=SHOWN),
        "known_faults": {fault.value for fault in Fault},
    }


HANDLERS = [cabinet_page, live, out_of_service, stop]
