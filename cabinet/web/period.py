"""Days in addresses and forms, and their conversion to the site's time."""

import datetime
from typing import NamedTuple

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.web.context import PageRequest, PropertySite

ONE_DAY = datetime.timedelta(days=1)


class Preset(NamedTuple):
    """Frequently used period; its title is the text `period.<name>`."""

    name: str
    first: datetime.date
    last: datetime.date


def presets(today: datetime.date) -> list[Preset]:
    this_month = today.replace(day=1)
    last_month = (this_month - ONE_DAY).replace(day=1)
    return [
        Preset("today", today, today),
        Preset("yesterday", today - ONE_DAY, today - ONE_DAY),
        Preset("week", today - 6 * ONE_DAY, today),
        Preset("month", this_month, today),
        Preset("last_month", last_month, this_month - ONE_DAY),
    ]


def site_today(request: PageRequest) -> datetime.date:
    site = PropertySite.of(request)
    return datetime.datetime.fromtimestamp(site.property_.wall().unix_ms / 1000, site.zone).date()


def number(text: str) -> int | None:
    """Return the number, or None if the text is empty. Raises Refused `bad_request` if it is not all digits."""
    if not text:
        return None
    found = normal_form.whole(text)
    if found is None:
        raise Refused("bad_request")
    return found


def day(text: str) -> datetime.date | None:
    """Return the day, or None if the text is empty. Raises Refused `bad_request` if it is not a day like 2026-11-04."""
    if not text:
        return None
    found = normal_form.day(text)
    if found is None or not 2000 <= found.year < 2100:
        raise Refused("bad_request")
    return found
