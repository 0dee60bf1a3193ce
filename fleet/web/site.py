"""Assembly of the fleet's web application: residents' pages of `cabinet.web` over PostgreSQL, and the fleet's own."""

from typing import Any

import psycopg
from litestar import get
from litestar.params import FromPath
from litestar.response import Redirect, Response
from litestar.types import ControllerRouterHandler, ExceptionHandlersMap
from psycopg_pool import PoolTimeout

from cabinet.clock import SystemClock, WallTime
from cabinet.web import errors
from cabinet.web import site as cabinet_site
from cabinet.web.assets import Assets
from cabinet.web.context import PageRequest, address_of, language_of
from cabinet.web.live import Streams
from cabinet.web.pages import Pages
from cabinet.web.site import Application
from cabinet.web.source_log import SourceLog
from fleet.config import FleetConfig
from fleet.money.payments.accounts import MerchantAccounts
from fleet.store.database import Pool
from fleet.web import enrol, health, pay, phone
from fleet.web.accounts import Attempts, Hashing
from fleet.web.charges import FleetCharges
from fleet.web.context import FleetSite
from fleet.web.notices import CabinetNotices
from fleet.web.payments import FleetPayments
from fleet.web.property import routes
from fleet.web.property.access import ACTIONS, SECTIONS
from fleet.web.property.functions import FleetProperty, FleetStaffAccounts
from fleet.web.sms import SmsPort
from fleet.web.views import wall

TIMEZONE = "Asia/Shanghai"  # of times on the pages; prices follow the time zone of their site
MAX_STREAMS = 2000
RETRY_AFTER_S = "5"


def create_app(
    pool: Pool,
    config: FleetConfig,
    notices: CabinetNotices,
    sms: SmsPort | None = None,
    accounts: MerchantAccounts | None = None,
) -> Application:
    """Return the ASGI application over the database. `accounts`: those of a test."""
    accounts = accounts or MerchantAccounts(config, lambda: SystemClock().wall().unix_ms / 1000)
    attempts, hashing = Attempts(pool), Hashing()
    residents = FleetStaffAccounts(pool, config, sms, attempts, hashing)
    site = FleetSite(
        charges=FleetCharges(pool, config, notices, accounts),
        accounts=residents,
        residents=residents,
        property_=FleetProperty(pool, config),
        sections=SECTIONS,
        actions=ACTIONS,
        public_url=config.web.public_url,
        timezone=TIMEZONE,
        log=SourceLog(SystemClock()),
        pool=pool,
        config=config,
        notices=notices,
        payments=FleetPayments(pool, config, accounts),
    )
    pages = Pages(
        site.zone,
        Assets("fleet.web"),
        ("property", "fleet"),
        "fleet.web",
        by_phone=residents.by_phone,
        code_minutes=config.sms.code_minutes,
        second_factor=False,
        wall=wall,
        wall_ms=lambda unix_ms: WallTime(unix_ms, True),
        can_top_up=site.payments.are_offered,
    )
    handlers: list[ControllerRouterHandler] = [
        routes.router, enrol.enrol, short_address, health.healthz, pay.router, pay.notifications,
    ]  # fmt: skip
    if residents.by_phone:
        handlers.append(phone.router)
    return cabinet_site.assemble(
        site, pages, Streams(MAX_STREAMS, config.web.connections_per_address // 2), handlers, failures=UNAVAILABLE
    )


@get("/q/{code:str}", include_in_schema=False)
async def short_address(code: FromPath[str]) -> Redirect:
    """Lead to the outlet's page: a short address that a mini-program can be bound to by its prefix."""
    return Redirect(f"/s/{code}" if code.isalnum() and code.isascii() else "/", status_code=303)


def on_unavailable(request: PageRequest, error: Exception) -> Response[Any]:
    """Answer a database that cannot be reached, as in a failover: the same form may be sent again."""
    log = FleetSite.of(request).log.logger("fleet.web", address_of(request))
    log.error("%s %s: database: %s", request.method, request.url.path, " ".join(str(error).split()))
    t = Pages.of(request).locales[language_of(request)].texts
    return errors.error_page(request, 503, t("error.500.text"), {"Retry-After": RETRY_AFTER_S})


UNAVAILABLE: ExceptionHandlersMap = {psycopg.OperationalError: on_unavailable, PoolTimeout: on_unavailable}
