"""Pages of the property: one module per subject; each page and each form requires a role."""

from litestar import Router

from cabinet.errors import Refused
from cabinet.web.property import (
    audit,
    faults,
    figures,
    imports,
    overview,
    residents,
    second_factor,
    sign_in,
    staff,
    tariffs,
    tokens,
    uploads,
    usage,
)
from cabinet.web.property.access import on_refused

SUBJECTS = (sign_in, overview, figures, faults, usage, residents, imports, tariffs, tokens, staff, audit, second_factor)

router = Router(
    "/",
    route_handlers=[handler for subject in SUBJECTS for handler in subject.HANDLERS],
    before_request=uploads.check_form,
    exception_handlers={Refused: on_refused},
    include_in_schema=False,
)
