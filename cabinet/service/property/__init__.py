"""Functions for the property, behind `property_ports`: one module per subject, combined in `PropertyFunctions`."""

from cabinet.service.accounts.sign_in import Authenticator
from cabinet.service.charges.context import ServiceContext
from cabinet.service.property.acting import AuditedActions
from cabinet.service.property.audit import AuditLog
from cabinet.service.property.figures import UsageStatistics
from cabinet.service.property.imports import Imports
from cabinet.service.property.log import UsageLog
from cabinet.service.property.residents import Residents
from cabinet.service.property.second_factor import SecondFactor
from cabinet.service.property.staff import StaffAccounts
from cabinet.service.property.tariffs import Tariffs
from cabinet.service.property.tokens import Tokens
from cabinet.service.property.trips import Trips
from cabinet.service.tasks import Background


class PropertyFunctions:
    """Implements `property_ports.PropertyPort`."""

    def __init__(self, context: ServiceContext, authenticator: Authenticator, background: Background) -> None:
        audited = AuditedActions(context)
        self.staff = StaffAccounts(context, audited, authenticator)
        self.second_factor = SecondFactor(context, audited, authenticator)
        self.audit = AuditLog(context)
        self.figures = UsageStatistics(context)
        self.log = UsageLog(context, audited, background)
        self.trips = Trips(context)
        self.residents = Residents(context, audited)
        self.tariffs = Tariffs(context, audited)
        self.tokens = Tokens(context, audited)
        self.imports = Imports(context, audited, background)
        self.wall = context.clock.wall
