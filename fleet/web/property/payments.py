"""The accountant's page: money by phone by month, refunds that wait for a person, differences from the bills."""

from typing import Any

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from cabinet.errors import Refused
from cabinet.web import auth
from cabinet.web.context import PageRequest
from cabinet.web.property.access import done, field, show
from fleet.money import paying, reconciliation
from fleet.money.payment_table import RefundStep
from fleet.store import payments
from fleet.web.context import FleetSite
from fleet.web.property.access import FleetActor, fleet_actor

PATH = "/property/payments"
MAX_NUMBER = 64
MAX_NOTE = 300
MONTHS_SHOWN = 13


@get(PATH)
async def payments_page(request: PageRequest) -> Response[Any]:
    """Show the company's money by phone; the task is one of the whole company, as its accounts are."""
    return await _page(request, await fleet_actor(request, "audit"))


@post(PATH + "/refund", status_code=303)
async def decide(request: PageRequest) -> Response[Any]:
    """Have a failed refund tried again, or note that it was paid out in cash."""
    who, form = await _accountant(request), auth.form(request)
    number = field(form, "number", MAX_NUMBER)
    step = RefundStep.BY_HAND if form.get("by_hand") == "true" else RefundStep.AGAIN
    try:
        async with FleetSite.of(request).property_.audited.acting(who, "money") as act:
            await paying.decide_refund(act.connection, who.company_id, number, step)
            await act.note(f"refund_{step}", subject=number)
    except Refused as refusal:
        return await _page(request, who, refusal)
    return done(PATH)


@post(PATH + "/differences/{difference:int}", status_code=303)
async def close(request: PageRequest, difference: FromPath[int]) -> Response[Any]:
    """Close a difference with a note."""
    who = await _accountant(request)
    try:
        note = field(auth.form(request), "note", MAX_NOTE)
        if not note:
            raise Refused("bad_name")
        async with FleetSite.of(request).property_.audited.acting(who, "money") as act:
            await reconciliation.close_difference(act.connection, who.company_id, difference, who.staff.name, note)
            await act.note("difference_closed", subject=str(difference), detail=note)
    except Refused as refusal:
        return await _page(request, who, refusal)
    return done(PATH)


async def _accountant(request: PageRequest) -> FleetActor:
    who = await fleet_actor(request, "audit")
    who.require("money")
    return who


async def _page(request: PageRequest, who: FleetActor, refusal: Refused | None = None) -> Response[Any]:
    async with FleetSite.of(request).pool.connection() as connection:
        months = await payments.by_month(connection, who.company_id, MONTHS_SHOWN)
        failed = await payments.failed_refunds(connection, who.company_id)
        differences = await reconciliation.open_differences(connection, who.company_id)
    return show(
        request, who, "payments", "payments", refusal, months=months, failed=failed, differences=differences,
        may_decide=who.may("money"),
    )  # fmt: skip


HANDLERS = [payments_page, decide, close]
