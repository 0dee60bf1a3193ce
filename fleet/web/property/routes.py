"""Routes of the pages of property companies; residents, staff and audit log are those of `cabinet.web`."""

from litestar import Router

from cabinet.errors import Refused
from cabinet.web.property import audit, residents, sign_in, staff, uploads
from cabinet.web.property.access import on_refused
from fleet.web.property import cabinet, overview, payments, staff_groups, tariffs, usage

HANDLERS = [
    *sign_in.HANDLERS,
    *overview.HANDLERS,
    *cabinet.HANDLERS,
    *usage.HANDLERS,
    *residents.HANDLERS,
    *tariffs.HANDLERS,
    *payments.HANDLERS,
    *staff.SHARED,
    *staff_groups.HANDLERS,
    *audit.HANDLERS,
]

router = Router(
    "/",
    route_handlers=HANDLERS,
    before_request=uploads.check_form,
    exception_handlers={Refused: on_refused},
    include_in_schema=False,
)
