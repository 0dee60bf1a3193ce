"""Audit log: actions of staff, newest first."""

from typing import Any
from urllib.parse import urlencode

from litestar import get
from litestar.response import Response

from cabinet import normal_form
from cabinet.clock import days_ms
from cabinet.records import AuditFilter
from cabinet.web.context import PageRequest, PropertySite
from cabinet.web.period import day, number
from cabinet.web.property.access import actor, field, shared_pages, show

ENTRIES_A_PAGE = 50


@get("/property/audit")
async def audit_page(request: PageRequest) -> Response[Any]:
    who, asked = await actor(request, "audit"), request.query_params
    log, actions = shared_pages(request).audit, PropertySite.of(request).actions
    names = await log.staff_names(who)
    shown = {name: field(asked, name, 64) for name in ("from", "to", "staff", "action", "resident")}
    staff = next((name for name in names if normal_form.text(name) == shown["staff"]), shown["staff"])
    wanted = AuditFilter(
        number(field(asked, "before", 16)),
        *days_ms(day(shown["from"]), day(shown["to"]), PropertySite.of(request).zone),
        staff,
        shown["action"] if shown["action"] in actions else "",
        number(shown["resident"]),
    )
    entries = await log.entries(who, wanted, ENTRIES_A_PAGE + 1)
    more = len(entries) > ENTRIES_A_PAGE
    entries = entries[:ENTRIES_A_PAGE]
    older = (
        {**{name: value for name, value in shown.items() if value}, "before": str(entries[-1].number)} if more else {}
    )
    return show(
        request,
        who,
        "audit",
        "audit",
        entries=entries,
        older=f"/property/audit?{urlencode(older)}" if more else "",
        filtered=any(shown.values()),
        asked=shown,
        actions=actions,
        names=names,
    )


HANDLERS = [audit_page]
