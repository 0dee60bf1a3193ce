"""What the property company's pages do, behind `office_ports`: one module a subject, put together in `Office`."""

from cabinet.service.context import Context
from cabinet.service.office.acting import Acting
from cabinet.service.office.audit import Audit
from cabinet.service.office.staff import Staff
from cabinet.service.signing_in import SigningIn


class Office:
    """Implements `office_ports.OfficePort`."""

    def __init__(self, context: Context, signing_in: SigningIn) -> None:
        acting = Acting(context)
        self.staff = Staff(context, acting, signing_in)
        self.audit = Audit(context)
