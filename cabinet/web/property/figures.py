"""Figures over time: load against the feed's limit, energy and revenue by day or month, use by outlet and hour."""

from typing import Any

from litestar import get
from litestar.response import Response

from cabinet.errors import Refused
from cabinet.service.property_views import DaySum
from cabinet.web.context import CabinetSite, PageRequest
from cabinet.web.period import ONE_DAY, day, site_today
from cabinet.web.property import charts
from cabinet.web.property.access import actor, field, property_pages, show

MONTHS = 12
DEFAULT_DAYS = 31
USE_DAYS = 28


@get("/property/figures")
async def figures_page(request: PageRequest) -> Response[Any]:
    who, asked, figures = await actor(request, "look"), request.query_params, property_pages(request).figures
    today = site_today(request)
    load_day = day(field(asked, "day", 16)) or today
    by = "month" if field(asked, "by", 8) == "month" else "day"
    last = day(field(asked, "to", 16)) or today
    first = day(field(asked, "from", 16)) or last - (DEFAULT_DAYS - 1) * ONE_DAY
    if first > last:
        raise Refused("bad_request")
    sums = await figures.months(last, MONTHS) if by == "month" else await figures.days(first, last)
    use_from = last - (USE_DAYS - 1) * ONE_DAY if by == "month" else first
    label = _month_label if by == "month" else _day_label
    load = await figures.load(load_day)
    return show(
        request,
        who,
        "figures",
        "figures",
        by=by,
        first=first,
        last=last,
        today=today,
        load_day=load_day,
        day_before=load_day - ONE_DAY,
        day_after=load_day + ONE_DAY,
        load=load,
        load_chart=charts.load_chart(load, CabinetSite.of(request).zone),
        sums=sums,
        total=_total(sums),
        label=label,
        money_chart=charts.money_chart(sums, label),
        energy_chart=charts.energy_chart(sums, label),
        use_from=use_from,
        use=await figures.utilisation(use_from, last),
        highest=max((each.peak_mw for each in load.samples), default=None),
    )


def _day_label(each: DaySum) -> str:
    return f"{each.first.month}/{each.first.day}"


def _month_label(each: DaySum) -> str:
    return f"{each.first:%y}/{each.first.month}"


def _total(sums: list[DaySum]) -> dict[str, int]:
    names = ("sessions", "charging_s", "energy_mwh", "electricity_fen", "service_fen")
    return {name: sum(getattr(each.sums, name) for each in sums) for name in names}


HANDLERS = [figures_page]
