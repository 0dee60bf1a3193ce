"""Shared context of the fleet's own handlers, beside that of `cabinet.web.context`."""

from dataclasses import dataclass

from cabinet.web.context import PropertySite
from fleet.config import FleetConfig
from fleet.store.database import Pool
from fleet.web.accounts import FleetAccounts
from fleet.web.notices import CabinetNotices
from fleet.web.payments import FleetPayments
from fleet.web.property.functions import FleetProperty


@dataclass(frozen=True, kw_only=True)
class FleetSite(PropertySite):
    """The database and the configuration; `residents` is the same as `accounts`, with sign-in by phone."""

    residents: FleetAccounts
    property_: FleetProperty
    pool: Pool
    config: FleetConfig
    notices: CabinetNotices
    payments: FleetPayments
