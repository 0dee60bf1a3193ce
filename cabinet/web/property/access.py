"""Access control of staff, and the frame of every page: navigation by role, refusals on the page itself."""

from collections.abc import Mapping
from typing import Any

from litestar.response import Redirect, Response

from cabinet import normal_form
from cabinet.errors import Refused
from cabinet.records import Actor, Task
from cabinet.service.property_ports import PropertyPort, SharedPropertyPort
from cabinet.texts import Texts
from cabinet.web import auth
from cabinet.web.context import CabinetSite, NavigationEntry, PageRequest, PropertySite, address_of, language_of
from cabinet.web.errors import refused_values
from cabinet.web.pages import Pages

SECTIONS = (
    NavigationEntry("overview", "/property", "look"),
    NavigationEntry("figures", "/property/figures", "look"),
    NavigationEntry("faults", "/property/faults", "look"),
    NavigationEntry("usage", "/property/usage", "look"),
    NavigationEntry("residents", "/property/residents", "money"),
    NavigationEntry("tariffs", "/property/tariffs", "look"),
    NavigationEntry("tokens", "/property/tokens", "tokens"),
    NavigationEntry("staff", "/property/staff", "staff"),
    NavigationEntry("audit", "/property/audit", "audit"),
)


async def actor(request: PageRequest, task: Task) -> Actor:
    """Return the signed-in member of staff, if allowed to do `task`. Raises Refused `signed_out`, `not_allowed`."""
    token = auth.read_cookie(request, auth.STAFF_COOKIE)
    if not token:
        raise Refused("signed_out")
    by_itself = "text/event-stream" in request.headers.get("accept", "")  # a live page is no activity of a person
    found = await shared_pages(request).staff.actor(token, address_of(request), active=not by_itself)
    found.require(task)
    return found


def shared_pages(request: PageRequest) -> SharedPropertyPort:
    """Return the functions that a cabinet and a fleet share."""
    return PropertySite.of(request).property_


def property_pages(request: PageRequest) -> PropertyPort:
    """Return the functions of a cabinet."""
    return CabinetSite.of(request).property_


def texts(request: PageRequest) -> Texts:
    return Pages.of(request).locales[language_of(request)].texts


def show(
    request: PageRequest,
    who: Actor,
    section: str,
    template: str,
    refusal: Refused | None = None,
    **values: Any,
) -> Response[Any]:
    """Return a page inside the frame, with the navigation for the role of `who` and the refusal of its form, if any."""
    return Pages.of(request).page(
        request,
        f"property/{template}.html",
        actor=who,
        sections=[each for each in PropertySite.of(request).sections if who.may(each.task)],
        section=section,
        **(refused_values(request, refusal) | values),
    )


def on_refused(request: PageRequest, refusal: Refused) -> Response[Any]:
    """Answer a refusal that no handler has shown on its own page."""
    if refusal.code == "signed_out":
        return Redirect("/property/sign-in", status_code=303)
    return Pages.of(request).page(request, "property/refused.html", **refused_values(request, refusal))


def field(form: Mapping[str, str], name: str, most: int = 128) -> str:
    """Return a cleaned field. Raises Refused `bad_request` if it is longer than our forms allow."""
    value = form.get(name, "").strip() if name in auth.AS_TYPED else normal_form.text(form.get(name, ""))
    if len(value) > most:
        raise Refused("bad_request")
    return value


def done(path: str) -> Redirect:
    """Redirect after a form to a page that can be reloaded without repeating the action."""
    return Redirect(path, status_code=303)
