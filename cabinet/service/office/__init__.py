"""Functions of the property pages, behind `office_ports`: one module per subject, combined in `Office`."""

from cabinet.clock import WallTime
from cabinet.service.context import Context
from cabinet.service.office.acting import Acting
from cabinet.service.office.audit import Audit
from cabinet.service.office.figures import Figures
from cabinet.service.office.imports import Imports
from cabinet.service.office.log import Log
from cabinet.service.office.residents import Residents
from cabinet.service.office.second_factor import SecondFactor
from cabinet.service.office.staff import Staff
from cabinet.service.office.tariffs import Tariffs
from cabinet.service.office.tokens import Tokens
from cabinet.service.office.trips import Trips
from cabinet.service.signing_in import SigningIn
from cabinet.service.tasks import Background


class Office:
    """Implements `office_ports.OfficePort`."""

    def __init__(self, context: Context, signing_in: SigningIn, background: Background) -> None:
        acting = Acting(context)
        self.staff = Staff(context, acting, signing_in)
        self.second_factor = SecondFactor(context, acting, signing_in)
        self.audit = Audit(context)
        self.figures = Figures(context)
        self.log = Log(context, acting, background)
        self.trips = Trips(context)
        self.residents = Residents(context, acting)
        self.tariffs = Tariffs(context, acting)
        self.tokens = Tokens(context, acting)
        self.imports = Imports(context, acting, background)
        self._context = context

    def wall(self) -> WallTime:
        return self._context.clock.wall()
