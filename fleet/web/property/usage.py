"""Usage logs of all cabinets: filtered list and sums, a single record, and files of any length."""

import base64
import binascii
import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.response import Response, Stream
from markupsafe import Markup

from cabinet import usage_chain
from cabinet.clock import days_ms
from cabinet.errors import Refused
from cabinet.service.property_views import RecordView
from cabinet.web.context import PageRequest, RowNumber, language_of
from cabinet.web.period import day, number, presets, site_today
from cabinet.web.property.access import field, show
from fleet.store import companies, pages, usage
from fleet.store.usage import FleetUsageFilter
from fleet.web.context import FleetSite
from fleet.web.property import export
from fleet.web.property.access import FleetActor, fleet_actor

RECORDS_A_PAGE = 30
SHOWN_DAYS = 31  # default period
UNITS = ("day", "month", "site", "cabinet")
MAX_SUMS = 400  # rows of the table of sums

RecordPlace = tuple[datetime.datetime, str, str, int]


class FleetUsageQuery(NamedTuple):
    """Requested filter: its fields, as in the form and in links, and the filter of the logs."""

    fields: dict[str, str]
    wanted: FleetUsageFilter

    def link(self, path: str, **more: str) -> str:
        return f"{path}?{urlencode(self.fields | more)}"

    @property
    def described(self) -> str:
        """Text for the audit log."""
        return " ".join(f"{name}={value}" for name, value in self.fields.items() if value)


@get("/property/usage")
async def usage_page(request: PageRequest) -> Response[Any]:
    who = await fleet_actor(request, "look")
    asked, given = _asked(request, who), request.query_params
    unit, before = field(given, "by", 8), field(given, "before", 256)
    if unit and unit not in UNITS:
        raise Refused("bad_request")
    async with FleetSite.of(request).pool.connection() as connection:
        records = await usage.newest(
            connection, who.company_id, asked.wanted, who.groups, _decoded(before) if before else None,
            RECORDS_A_PAGE + 1,
        )  # fmt: skip
        sums = await usage.sums(connection, who.company_id, asked.wanted, who.groups)
        by = await usage.sums_by(connection, who.company_id, asked.wanted, unit, who.groups) if unit else []
        sites = await companies.sites(connection, who.company_id, who.groups)
    more, records = len(records) > RECORDS_A_PAGE, records[:RECORDS_A_PAGE]
    names = {site.id: site.name for site in sites}
    return show(
        request,
        who,
        "usage",
        "usage",
        asked=asked.fields,
        records=[(each, each.record(), names.get(each.site_id, "")) for each in records],
        sums=sums,
        by=by[:MAX_SUMS],
        unit=unit,
        units=[(each, asked.link("/property/usage", by=each)) for each in UNITS],
        sites=sites,
        older=asked.link("/property/usage", before=_encoded(records[-1].place), by=unit) if more else "",
        newest=asked.link("/property/usage", by=unit) if before else "",
        csv=asked.link("/property/usage.csv"),
        xlsx=asked.link("/property/usage.xlsx"),
        presets=presets(site_today(request)),
    )


@get(["/property/usage.csv", "/property/usage.xlsx"])
async def usage_file(request: PageRequest) -> Stream:
    """Send all records of the filter for a spreadsheet, in the reader's language, as they are read."""
    who = await fleet_actor(request, "look")
    form = request.url.path.rpartition(".")[2]
    asked, site = _asked(request, who), FleetSite.of(request)
    async with site.property_.audited.acting(who, "look") as act:
        await act.note("usage_export", subject=form, detail=asked.described)
    return await export.respond(site, who, asked.wanted, form, language_of(request))


@get("/property/usage/{cabinet:str}/{epoch:str}/{record_number:int}")
async def record_page(
    request: PageRequest, cabinet: FromPath[str], epoch: FromPath[str], record_number: RowNumber
) -> Response[Any]:
    who = await fleet_actor(request, "look")
    async with FleetSite.of(request).pool.connection() as connection:
        found = await pages.record(connection, who.company_id, who.groups, cabinet, epoch, record_number)
    if found is None:
        raise Refused("unknown_record")
    record = found.mirrored().record()
    view = RecordView(
        record,
        found.body,
        usage_chain.hash_of_body(found.body.encode()) == found.record_hash,
        found.last_number,
        found.resident_id if who.may("money") else None,
        [],
    )
    return show(
        request,
        who,
        "usage",
        "record",
        view=view,
        record=record,
        curve=None,
        record_path=f"/property/usage/{cabinet}/{epoch}",
        outlet_path=Markup("/property/usage?from=&amp;to=&amp;cabinet={}&amp;").format(cabinet),
    )


def _asked(request: PageRequest, who: FleetActor) -> FleetUsageQuery:
    """Return the requested filter, by default for the last SHOWN_DAYS days. Raises Refused `bad_request`."""
    names = ["from", "to", "site", "cabinet", "outlet", *(["resident"] if who.may("money") else [])]
    fields = {name: field(request.query_params, name, 64) for name in names}
    if not {"from", "to"} & set(request.query_params):
        today = site_today(request)
        fields["from"] = (today - datetime.timedelta(days=SHOWN_DAYS - 1)).isoformat()
        fields["to"] = today.isoformat()
    from_ms, to_ms = days_ms(day(fields["from"]), day(fields["to"]), FleetSite.of(request).zone)
    outlet = number(fields["outlet"])
    if outlet is not None and not 0 < outlet < 100:
        raise Refused("bad_request")
    wanted = FleetUsageFilter(
        cabinet=fields["cabinet"] or None,
        site_id=number(fields["site"]),
        from_unix_ms=from_ms,
        to_unix_ms=to_ms,
        outlet=outlet,
        resident_id=number(fields.get("resident", "")),
    )
    return FleetUsageQuery(fields, wanted)


def _encoded(place: RecordPlace) -> str:
    """Return the place of a record for a link."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def _decoded(text: str) -> RecordPlace:
    """Return the place in a link. Raises Refused `bad_request`."""
    try:
        place: RecordPlace = msgspec.json.decode(base64.urlsafe_b64decode(text.encode()), type=RecordPlace)
    except (binascii.Error, msgspec.DecodeError, UnicodeError):
        raise Refused("bad_request") from None
    if place[0].tzinfo is None or not 0 <= place[3] < 1 << 53 or "\0" in place[1] + place[2]:
        raise Refused("bad_request")
    return place


HANDLERS = [usage_page, usage_file, record_page]
