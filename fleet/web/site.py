"""Assembly of the fleet's web application: residents' pages of `cabinet.web` over PostgreSQL, and the fleet's own."""

from litestar import get
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from cabinet.clock import SystemClock, WallTime
from cabinet.web import site as cabinet_site
from cabinet.web.assets import Assets
from cabinet.web.live import Streams
from cabinet.web.pages import Pages
from cabinet.web.site import Application
from cabinet.web.source_log import SourceLog
from fleet.config import FleetConfig
from fleet.store.database import Pool
from fleet.web import enrol, health, phone
from fleet.web.accounts import Attempts, Hashing
from fleet.web.charges import FleetCharges
from fleet.web.context import FleetSite
from fleet.web.notices import CabinetNotices
from fleet.web.property import routes
from fleet.web.property.access import ACTIONS, SECTIONS
from fleet.web.property.functions import FleetProperty, FleetStaffAccounts
from fleet.web.sms import SmsPort
from fleet.web.views import wall

TIMEZONE = "Asia/Shanghai"  # of times on the pages; prices follow the time zone of their site
MAX_STREAMS = 2000


def create_app(pool: Pool, config: FleetConfig, notices: CabinetNotices, sms: SmsPort | None = None) -> Application:
    """Return the ASGI application over the database."""
    attempts, hashing = Attempts(pool), Hashing()
    residents = FleetStaffAccounts(pool, config, sms, attempts, hashing)
    site = FleetSite(
        charges=FleetCharges(pool, config, notices),
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
    )
    pages = Pages(
        site.zone,
        Assets(),
        ("property", "fleet"),
        "fleet.web",
        by_phone=residents.by_phone,
        code_minutes=config.sms.code_minutes,
        second_factor=False,
        wall=wall,
        wall_ms=lambda unix_ms: WallTime(unix_ms, True),
    )
    handlers: list[ControllerRouterHandler] = [routes.router, enrol.enrol, short_address, health.healthz]
    if residents.by_phone:
        handlers.append(phone.router)
    return cabinet_site.assemble(site, pages, Streams(MAX_STREAMS, config.web.connections_per_address // 2), handlers)


@get("/q/{code:str}", include_in_schema=False)
async def short_address(code: FromPath[str]) -> Redirect:
    """Lead to the outlet's page: the address for codes whose prefix a mini-program is bound to."""
    return Redirect(f"/s/{code}" if code.isalnum() and code.isascii() else "/", status_code=303)
