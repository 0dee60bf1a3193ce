"""Days in addresses and forms, and what they are in the site's time."""

import datetime
import zoneinfo
from typing import NamedTuple

from cabinet.clock import WallTime
from cabinet.errors import Refused
from cabinet.web.context import Site

ONE_DAY = datetime.timedelta(days=1)


class Period(NamedTuple):
    """From the first day to the last, both included; None: open to that side."""

    first: datetime.date | None
    last: datetime.date | None

    def bounds_ms(self, zone: zoneinfo.ZoneInfo) -> tuple[int | None, int | None]:
        """[from, to) in Unix milliseconds."""
        return (
            None if self.first is None else _midnight_ms(self.first, zone),
            None if self.last is None else _midnight_ms(self.last + ONE_DAY, zone),
        )


def zone_of(site: Site) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(site.config.site.timezone)


def date_of(moment: WallTime, zone: zoneinfo.ZoneInfo) -> datetime.date:
    return datetime.datetime.fromtimestamp(moment.unix_ms / 1000, zone).date()


def day(text: str) -> datetime.date | None:
    """None for nothing; refuses bad_request for anything but a day such as 2026-11-04."""
    if not text:
        return None
    try:
        found = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise Refused("bad_request") from error
    if not 2000 <= found.year < 2100:
        raise Refused("bad_request")
    return found


def _midnight_ms(date: datetime.date, zone: zoneinfo.ZoneInfo) -> int:
    return int(datetime.datetime.combine(date, datetime.time(), zone).timestamp() * 1000)
