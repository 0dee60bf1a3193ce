"""Tariffs of a company by version: who has it, who not yet; a new one is checked first and then rolled out."""

from typing import Any

from litestar import get, post
from litestar.response import Response

from cabinet.clock import SystemClock
from cabinet.errors import ConfigErrors, Refused
from cabinet.service.charges import pricing
from cabinet.service.ports import PriceView
from cabinet.web import auth
from cabinet.web.context import PageRequest
from cabinet.web.period import number
from cabinet.web.property.access import done, field, show
from cabinet.web.property.uploads import content
from fleet import tariff_rollout
from fleet.store import companies, desired, pages
from fleet.store.desired import ValueTooLarge
from fleet.tariff_rollout import TariffClash
from fleet.web.context import FleetSite
from fleet.web.property.access import FleetActor, fleet_actor

MAX_CHARS = 32_000
CABINETS_SHOWN = 100  # of each list


@get("/property/tariffs")
async def tariffs_page(request: PageRequest) -> Response[Any]:
    return await _page(request, await fleet_actor(request, "look"))


@post("/property/tariffs/check")
async def check(request: PageRequest) -> Response[Any]:
    """Show the content of a pasted or uploaded file; nothing is rolled out."""
    who, text = await fleet_actor(request, "tariffs"), _text(request)
    return await _page(request, who, text=text, **_looked_at(request, text))


@post("/property/tariffs/roll-out", status_code=303)
async def roll_out(request: PageRequest) -> Response[Any]:
    """Roll a tariff out to all cabinets that the person sees, to a site, or to one cabinet."""
    who, form, text = await fleet_actor(request, "tariffs"), auth.form(request), _text(request)
    site_id, cabinet = number(field(form, "site", 16)), field(form, "cabinet", 32) or None
    only = form.get("only") == "true"
    try:
        async with FleetSite.of(request).property_.audited.acting(who, "tariffs") as act:
            wanted = await pages.cabinets_in(act.connection, who.company_id, who.groups, site_id, cabinet)
            if not wanted:
                raise Refused("unknown_cabinet")
            version = await tariff_rollout.roll_out(act.connection, who.company_id, wanted, text, only=only)
            target = cabinet or (f"site {site_id}" if site_id else "all")
            await act.note("tariff_schedule", subject=version, detail=f"{target}, {len(wanted)}")
    except ConfigErrors:
        return await _page(request, who, Refused("bad_tariff"), text=text, **_looked_at(request, text))
    except (TariffClash, ValueTooLarge) as clash:
        return await _page(request, who, Refused("bad_tariff"), text=text, mistakes=[str(clash)])
    except Refused as refusal:
        return await _page(request, who, refusal, text=text, **_looked_at(request, text))
    return done("/property/tariffs")


def _text(request: PageRequest) -> str:
    """Return the pasted or uploaded file. Raises Refused `bad_file`, `bad_request`."""
    text = auth.form(request).get("text", "")
    if content(request):
        try:
            text = content(request).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Refused("bad_file") from None
    if len(text) > MAX_CHARS:
        raise Refused("bad_request")
    return text.replace("\r\n", "\n")


def _looked_at(request: PageRequest, text: str) -> dict[str, Any]:
    """Return the mistakes of a file, or its prices."""
    try:
        return {"looked_at": _price(request, text)}
    except ConfigErrors as errors:
        return {"mistakes": [str(error) for error in errors.errors]}


def _price(request: PageRequest, text: str) -> PriceView:
    minute = pricing.SiteTime(FleetSite.of(request).timezone).minute(SystemClock().wall())
    return pricing.price_view(tariff_rollout.loaded(text).tariff, minute)


async def _page(request: PageRequest, who: FleetActor, refusal: Refused | None = None, **shown: Any) -> Response[Any]:
    """Return the page; `shown` is the `text` of a file with its `mistakes` or prices (`looked_at`)."""
    async with FleetSite.of(request).pool.connection() as connection:
        tariffs = await desired.tariffs(connection, who.company_id)
        seen = set(await pages.cabinets_in(connection, who.company_id, who.groups))
        rows = [each for each in await desired.of_kind(connection, who.company_id, "tariffs") if each.cabinet in seen]
        sites = await companies.sites(connection, who.company_id, who.groups)
    values: dict[str, Any] = {"text": "", "mistakes": [], "looked_at": None} | shown
    if refusal is None and values["mistakes"]:
        values["status"] = 400
    spread = [(each, _price(request, each.toml), tariff_rollout.spread(rows, each.toml)) for each in tariffs]
    if who.groups:  # versions that only other sites have are not shown
        spread = [each for each in spread if any((each[2].in_force, each[2].coming, each[2].refused, each[2].leaving))]
    without = sorted(seen - {row.cabinet for row in rows if row.value})
    return show(
        request,
        who,
        "tariffs",
        "tariffs",
        refusal,
        spread=spread[::-1],
        without=without,
        sites=sites,
        most=CABINETS_SHOWN,
        **values,
    )


HANDLERS = [tariffs_page, check, roll_out]
