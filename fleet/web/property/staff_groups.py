"""Site groups of staff logins: each login sees all sites of the company, or those of some groups."""

from typing import Any

from litestar import post
from litestar.response import Response

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.web import auth
from cabinet.web.context import PageRequest, RowNumber
from cabinet.web.property import staff
from cabinet.web.property.access import done, field
from fleet.web.context import FleetSite
from fleet.web.property.access import fleet_actor

MAX_GROUPS = 50


@post("/property/staff/{staff_id:int}/groups", status_code=303)
async def set_groups(request: PageRequest, staff_id: RowNumber) -> Response[Any]:
    """Set the groups, separated by commas; none means all sites."""
    who = await fleet_actor(request, "staff")
    typed = field(auth.form(request), "groups", 1000).replace("，", ",").split(",")
    groups = list(dict.fromkeys(normal_form.text(each) for each in typed if normal_form.text(each)))
    if len(groups) > MAX_GROUPS:
        raise Refused("bad_request")
    try:
        await FleetSite.of(request).property_.staff.set_groups(who, staff_id, groups)
    except Refused as refusal:
        if refusal.code != "last_operator":
            raise
        return await staff.page_of(request, who, refusal)
    return done("/property/staff")


HANDLERS = [set_groups]
