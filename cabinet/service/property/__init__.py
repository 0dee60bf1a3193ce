"""Functions of the property pages, behind `property_ports`: one module per subject, combined in `Office`."""

from cabinet.clock import WallTime
from cabinet.service.accounts.sign_in import SigningIn
from cabinet.service.charges.context import Context
from cabinet.service.property.acting import Acting
from cabinet.service.property.audit import Audit
from cabinet.service.property.figures import Figures
from cabinet.service.property.imports import Imports
from cabinet.service.property.log import Log
from cabinet.service.property.residents import Residents
from cabinet.service.property.second_factor import SecondFactor
from cabinet.service.property.staff import Staff
from cabinet.service.property.tariffs import Tariffs
from cabinet.service.property.tokens import Tokens
from cabinet.service.property.trips import Trips
from cabinet.service.tasks import Background


class Office:
    """Implements `property_ports.OfficePort`."""

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
