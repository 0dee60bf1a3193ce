"""Logins of staff with their roles. For operators."""

from typing import Any

from litestar import get, post
from litestar.response import Response

from cabinet.errors import Refused
from cabinet.records import ROLES, Actor, Role
from cabinet.web import auth
from cabinet.web.context import PageRequest, RowNumber
from cabinet.web.property.access import actor, done, field, property_pages, shared_pages, show


@get("/property/staff")
async def staff_page(request: PageRequest) -> Response[Any]:
    return await page_of(request, await actor(request, "staff"))


@post("/property/staff")
async def add(request: PageRequest) -> Response[Any]:
    """Add a login. Its password is shown only in this answer."""
    who, form = await actor(request, "staff"), auth.form(request)
    name = field(form, "name")
    try:
        password = await shared_pages(request).staff.add(who, name, _role(form.get("role", "")))
    except Refused as refusal:
        return await page_of(request, who, name=name, refusal=refusal)
    return await page_of(request, who, new_login=name, password=password)


@post("/property/staff/{staff_id:int}/role", status_code=303)
async def set_role(request: PageRequest, staff_id: RowNumber) -> Response[Any]:
    who = await actor(request, "staff")
    try:
        await shared_pages(request).staff.set_role(who, staff_id, _role(auth.form(request).get("role", "")))
    except Refused as refusal:
        return await page_of(request, who, refusal=refusal)
    return done("/property/staff")


@post("/property/staff/{staff_id:int}/password")
async def new_password(request: PageRequest, staff_id: RowNumber) -> Response[Any]:
    who = await actor(request, "staff")
    name = next(
        (each.name for each in await shared_pages(request).staff.everybody(who) if each.staff_id == staff_id), ""
    )
    password = await shared_pages(request).staff.new_password(who, staff_id)
    return await page_of(request, who, new_login=name, password=password)


@post("/property/staff/{staff_id:int}/second-factor", status_code=303)
async def switch_off_second_factor(request: PageRequest, staff_id: RowNumber) -> Response[Any]:
    who = await actor(request, "staff")
    await property_pages(request).second_factor.switch_off_for(who, staff_id)
    return done("/property/staff")


@post("/property/staff/{staff_id:int}/remove", status_code=303)
async def remove(request: PageRequest, staff_id: RowNumber) -> Response[Any]:
    who = await actor(request, "staff")
    try:
        await shared_pages(request).staff.remove(who, staff_id)
    except Refused as refusal:
        return await page_of(request, who, refusal=refusal)
    return done("/property/staff")


async def page_of(request: PageRequest, who: Actor, refusal: Refused | None = None, **shown: str) -> Response[Any]:
    """Return the page; `shown` is the `name` typed, or `new_login` and `password`."""
    everybody = await shared_pages(request).staff.everybody(who)
    values = {"name": "", "new_login": "", "password": ""} | shown
    return show(request, who, "staff", "staff", refusal, everybody=everybody, roles=ROLES, **values)


def _role(text: str) -> Role:
    """Return the role. Raises Refused `bad_request` if there is no such role."""
    for role in ROLES:
        if role == text:
            return role
    raise Refused("bad_request")


SHARED = [staff_page, add, set_role, new_password, remove]
HANDLERS = [*SHARED, switch_off_second_factor]
