"""Tariffs: description, sample receipt, and scheduling of a new version from a later day on."""

import datetime
import re
from collections.abc import Mapping
from typing import Any

from litestar import get, post
from litestar.response import Response

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.records import Actor
from cabinet.service.property_views import SampleCharge
from cabinet.web import auth
from cabinet.web.context import PageRequest
from cabinet.web.period import day, number, site_today
from cabinet.web.property.access import actor, done, field, property_pages, show
from cabinet.web.property.uploads import content

DEFAULTS = {"minutes": "120", "watts": "150", "time": "20:00", "day": ""}

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@get("/property/tariffs")
async def tariffs_page(request: PageRequest) -> Response[Any]:
    """Show the tariffs; with `version` and a sample charge also the receipt that this charge would give."""
    who, asked = await actor(request, "look"), request.query_params
    version = field(asked, "version", 64)
    charge = {name: field(asked, name, 16) or default for name, default in DEFAULTS.items()}
    receipt, refused = None, None
    if version:
        try:
            receipt = await property_pages(request).tariffs.sample_of(who, version, _charge(request, charge))
        except Refused as refusal:
            refused = refusal
    return await _page(request, who, refused, version=version, charge=charge, receipt=receipt)


@post("/property/tariffs/check")
async def check(request: PageRequest) -> Response[Any]:
    """Show the content of a pasted or uploaded file; nothing is put into force."""
    who, form = await actor(request, "tariffs"), auth.form(request)
    text = form.get("text", "")
    try:
        if content(request):
            text = content(request).decode("utf-8-sig")
        look = await property_pages(request).tariffs.preview(who, text)
    except UnicodeDecodeError as error:
        raise Refused("bad_file") from error
    charge = {name: field(form, name, 16) or default for name, default in DEFAULTS.items()}
    receipt = None
    if look.tariff is not None:
        receipt = await property_pages(request).tariffs.sample(who, text, _charge(request, charge))
    return await _page(request, who, charge=charge, look=look, text=text, receipt=receipt)


@post("/property/tariffs/schedule", status_code=303)
async def schedule(request: PageRequest) -> Response[Any]:
    who = await actor(request, "tariffs")
    text = auth.form(request).get("text", "")
    try:
        await property_pages(request).tariffs.schedule(who, text)
    except Refused as refusal:
        look = await property_pages(request).tariffs.preview(who, text)
        return await _page(request, who, refusal, look=look, text=text)
    return done("/property/tariffs")


def _charge(request: PageRequest, given: Mapping[str, str]) -> SampleCharge:
    """Return the sample charge in the fields. Raises Refused `bad_request`, `bad_choice`."""
    time = _TIME.fullmatch(normal_form.spelling(given["time"]))
    minutes, watts = number(given["minutes"]), number(given["watts"])
    on = day(given["day"]) or site_today(request) + datetime.timedelta(days=1)
    if time is None or minutes is None or watts is None:
        raise Refused("bad_choice")
    return SampleCharge(minutes * 60, watts, on, int(time[1]) * 60 + int(time[2]))


async def _page(request: PageRequest, who: Actor, refusal: Refused | None = None, **shown: Any) -> Response[Any]:
    """Return the page; `shown` is `version`, `charge` and `receipt` of a sample, or `look` and `text` of a file."""
    values = {"version": "", "charge": DEFAULTS, "receipt": None, "look": None, "text": ""} | shown
    if refusal is None and values["look"] is not None and values["look"].mistakes:
        values["status"] = 400
    posted = await property_pages(request).tariffs.posted(who)
    return show(request, who, "tariffs", "tariffs", refusal, posted=posted, **values)


HANDLERS = [tariffs_page, check, schedule]
