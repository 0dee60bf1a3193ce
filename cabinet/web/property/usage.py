"""Usage log: filtered list, files, single record, and the proof that it was not changed."""

import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from litestar import get, post
from litestar.response import Response, Stream
from markupsafe import Markup

from cabinet import plain_text
from cabinet.clock import days_ms
from cabinet.errors import Refused
from cabinet.records import Actor, UsageFilter
from cabinet.web import export
from cabinet.web.context import CabinetSite, PageRequest, RowNumber, language_of
from cabinet.web.curve import polyline
from cabinet.web.period import day, number, presets, site_today
from cabinet.web.property.access import actor, done, field, property_pages, show

RECORDS_A_PAGE = 30
SHOWN_DAYS = 31  # default period


class UsageQuery(NamedTuple):
    """Requested filter: its fields, as in the form and in links, and the resulting filter of the log."""

    fields: dict[str, str]
    wanted: UsageFilter

    def link(self, path: str, **more: str) -> str:
        return f"{path}?{urlencode(self.fields | more)}"

    @property
    def described(self) -> str:
        """Text for the audit log, without the card."""
        return " ".join(f"{name}={value}" for name, value in self.fields.items() if value and name != "card")


@get("/property/usage")
async def usage_page(request: PageRequest) -> Response[Any]:
    who = await actor(request, "look")
    site, log = CabinetSite.of(request), property_pages(request).log
    refused, asked, records, sums = "", UsageQuery({}, UsageFilter()), [], None
    try:
        asked = await _asked(request, who)
        before = number(field(request.query_params, "before", 16))
        records = await log.newest(who, asked.wanted, before, RECORDS_A_PAGE + 1)
        sums = await log.sums(who, asked.wanted)
    except Refused as refusal:
        if refusal.code != "unknown_resident":
            raise
        refused = refusal.code
        asked = UsageQuery(_fields(request, who), UsageFilter())
    more = len(records) > RECORDS_A_PAGE
    records = records[:RECORDS_A_PAGE]
    return show(
        request,
        who,
        "usage",
        "usage",
        asked=asked.fields,
        refused=refused,
        records=records,
        sums=sums,
        older=asked.link("/property/usage", before=str(records[-1].number)) if more else "",
        first_page="before" not in request.query_params,
        newest=asked.link("/property/usage"),
        csv=asked.link("/property/usage.csv"),
        xlsx=asked.link("/property/usage.xlsx"),
        presets=presets(site_today(request)),
        numbers=[outlet.number for outlet in site.config.outlet],
        verification=log.verification(),
        unclosed=log.unclosed(),
    )


@get(["/property/usage.csv", "/property/usage.xlsx"])
async def usage_file(request: PageRequest) -> Stream:
    """Send the filtered rows for a spreadsheet, in the reader's language and the site's time."""
    who = await actor(request, "look")
    form = request.url.path.rpartition(".")[2]
    asked = await _asked(request, who)
    await property_pages(request).log.note_export(who, form, asked.described)
    return await export.respond(CabinetSite.of(request), asked.wanted, form, language_of(request))


@get("/property/usage/heads.jsonl")
async def heads_file(request: PageRequest) -> Response[bytes]:
    """Send the last record of every day, to be kept elsewhere."""
    who, site = await actor(request, "look"), CabinetSite.of(request)
    await property_pages(request).log.note_export(who, "heads", "")
    lines = [plain_text.json_text(msgspec.json.encode(head)) for head in await site.property_.log.heads(None, None)]
    name = f"heads-{site.config.site.site_id}-{site_today(request)}.jsonl"
    return Response(
        "".join(f"{line}\n" for line in lines).encode(),
        media_type=export.MEDIA_TYPES["jsonl"],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"},
    )


@get("/property/usage/{record_number:int}")
async def record_page(request: PageRequest, record_number: RowNumber) -> Response[Any]:
    who = await actor(request, "look")
    view = await property_pages(request).log.record(who, record_number)
    return show(
        request,
        who,
        "usage",
        "record",
        view=view,
        record=view.record,
        curve=polyline(view.curve),
        record_path="/property/usage",
        outlet_path=Markup("/property/usage?from=&amp;to=&amp;"),
    )


@get("/property/usage/verify")
async def verify_page(request: PageRequest) -> Response[Any]:
    who = await actor(request, "look")
    return show(request, who, "usage", "verify", verification=property_pages(request).log.verification())


@post("/property/usage/verify", status_code=303)
async def verify(request: PageRequest) -> Response[Any]:
    who = await actor(request, "look")
    await property_pages(request).log.verify(who)
    return done("/property/usage/verify")


def _fields(request: PageRequest, who: Actor) -> dict[str, str]:
    """Return the fields of the filter form, by default for the last SHOWN_DAYS days. Card and resident are filters only
    for roles that may see them."""
    names = ["from", "to", "outlet", *(["card", "resident"] if who.may("money") else [])]
    given = {name: field(request.query_params, name, 64) for name in names}
    if not {"from", "to"} & set(request.query_params):
        today = site_today(request)
        given["from"] = (today - datetime.timedelta(days=SHOWN_DAYS - 1)).isoformat()
        given["to"] = today.isoformat()
    return given


async def _asked(request: PageRequest, who: Actor) -> UsageQuery:
    """Return the requested filter. Raises Refused `bad_request`, `unknown_resident`."""
    fields = _fields(request, who)
    from_ms, to_ms = days_ms(day(fields["from"]), day(fields["to"]), CabinetSite.of(request).zone)
    holder = None
    if fields.get("resident"):
        holder = await property_pages(request).log.holder(who, resident_id=number(fields["resident"]))
    elif fields.get("card"):
        holder = await property_pages(request).log.holder(who, card=fields["card"])
    return UsageQuery(fields, UsageFilter(0, from_ms, to_ms, number(fields["outlet"]), holder))


HANDLERS = [usage_page, usage_file, heads_file, record_page, verify_page, verify]
