"""Words at the door: whose console this is, and when the account was last here. Pure."""

import zoneinfo

from cabinet import figures
from cabinet.clock import WallTime
from cabinet.config.keys import Site
from cabinet.texts import Texts


def place(site: Site, words: Texts) -> str:
    """Name and id of the site, in the reader's language where it has a name in it."""
    name = site.name_en if words.language == "en" and site.name_en else site.name
    return f"{name} ({site.site_id})"


def last_login(last: WallTime | None, wrong: int, zone: zoneinfo.ZoneInfo, words: Texts) -> str:
    """When, with a mark where the clock was not to be trusted; and how many wrong PINs there were since."""
    if last is None:
        return words("login.first")
    at = figures.local(last, zone).isoformat(" ", "minutes")[:16] + ("" if last.trusted else " ?")
    return words("login.last", at=at) + (words("login.failed_since", count=wrong) if wrong else "")
