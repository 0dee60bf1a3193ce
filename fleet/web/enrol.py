"""POST /enrol: a cabinet with a one-time code gets its certificate. JSON, for cabinets only."""

import datetime
import logging
from pathlib import Path

import msgspec
from litestar import post
from litestar.response import Response

from cabinet.clock import SystemClock
from cabinet.errors import CabinetError, os_error_at
from cabinet.uplink.messages import Enrol, EnrolRefused
from cabinet.web.context import PageRequest, address_of
from fleet import enrolment, revocation
from fleet.broker import BrokerFolder
from fleet.enrolment import EnrolmentPlace, EnrolmentRefused
from fleet.trust import TrustFolder
from fleet.web.context import FleetSite

log = logging.getLogger(__name__)

MAX_REQUEST = 8 * 1024  # bytes


@post("/enrol", status_code=200, include_in_schema=False)
async def enrol(request: PageRequest) -> Response[bytes]:
    """Enrol a cabinet; refusals are `messages.EnrolRefused` with the status of their code."""
    site = FleetSite.of(request)
    trust, place = TrustFolder(Path(site.config.trust.folder)), _place(site)
    now = datetime.datetime.fromtimestamp(SystemClock().wall().unix_ms / 1000, datetime.UTC)
    try:
        body = await request.body()
        if len(body) > MAX_REQUEST:
            raise EnrolmentRefused("bad_request")
        wanted = msgspec.json.decode(body, type=Enrol)
        async with site.pool.connection() as connection:
            answer = await enrolment.enrol(
                connection, trust, wanted, address_of(request), place, now, site.config.trust.certificate_days
            )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _answer(EnrolRefused("bad_request"), 400)
    except EnrolmentRefused as refusal:
        return _answer(EnrolRefused(refusal.code), refusal.status)
    await _publish_list(site, trust, now)
    return _answer(answer, 200)


async def _publish_list(site: FleetSite, trust: TrustFolder, now: datetime.datetime) -> None:
    """Publish the revocation list, which has the cabinet's earlier certificates; the enrolment holds in any case."""
    folder = BrokerFolder(Path(site.config.broker.folder))
    try:
        async with site.pool.connection() as connection:
            with os_error_at(folder.path):
                await revocation.publish_list(connection, trust, folder, now)
    except CabinetError as error:
        log.warning("the revocation list was not published: %s", error)


def _place(site: FleetSite) -> EnrolmentPlace:
    broker = site.config.broker
    return EnrolmentPlace(broker.public_host, broker.public_port, site.public_url)


def _answer(answer: msgspec.Struct, status: int) -> Response[bytes]:
    return Response(msgspec.json.encode(answer), status_code=status, media_type="application/json")
