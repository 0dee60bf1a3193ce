"""Orders for charges and their steps, for reading. Only `fleet.orders` changes them."""

import datetime

import msgspec

from fleet.store import rows
from fleet.store.database import Connection

OPEN = ("created", "held", "sent", "accepted", "charging")  # the outlet and the resident are taken
IS_OPEN = "charge_order.state IN ('created', 'held', 'sent', 'accepted', 'charging')"  # as the partial indexes have it


class OrderRow(msgspec.Struct, frozen=True):
    """One order. `choice_amount` is in seconds for hours and package, in fen for amount, 0 for full."""

    number: str
    company_id: int
    resident_id: int
    request_key: str
    cabinet: str
    outlet: int
    code: str
    choice: str
    choice_amount: int
    tariff_group: str
    tariff_version: str
    held_fen: int
    state: str
    epoch: str
    boot: str
    made: datetime.datetime
    sent: datetime.datetime | None
    not_after: datetime.datetime | None
    answered: datetime.datetime | None
    asked: datetime.datetime | None
    stop_wanted: datetime.datetime | None
    stop_by: str
    stop_sent: datetime.datetime | None
    ended: datetime.datetime | None
    refusal: str | None
    session_id: str | None
    usage_number: int | None
    cost_fen: int | None
    refund_fen: int | None
    debt_fen: int

    @property
    def open(self) -> bool:
        """True while the order takes the outlet and the resident."""
        return self.state in OPEN


class StepRow(msgspec.Struct, frozen=True):
    id: int
    order_number: str
    step: str
    from_state: str
    to_state: str
    at: datetime.datetime
    detail: str


_ORDER = "SELECT * FROM charge_order WHERE company_id = %(company)s"


async def get(connection: Connection, company_id: int, number: str) -> OrderRow | None:
    return await rows.one(connection, OrderRow, f"{_ORDER} AND number = %(n)s", {"company": company_id, "n": number})


async def open_of(connection: Connection, company_id: int, resident_id: int) -> OrderRow | None:
    """Return the resident's order that is not over yet; there is at most one."""
    return await rows.one(
        connection,
        OrderRow,
        f"{_ORDER} AND resident_id = %(resident)s AND {IS_OPEN}",
        {"company": company_id, "resident": resident_id},
    )


async def open_at(connection: Connection, company_id: int, cabinet: str, outlet: int) -> OrderRow | None:
    """Return the order that takes an outlet now."""
    return await rows.one(
        connection,
        OrderRow,
        f"{_ORDER} AND cabinet = %(cabinet)s AND outlet = %(outlet)s AND {IS_OPEN}",
        {"company": company_id, "cabinet": cabinet, "outlet": outlet},
    )


async def of_resident(
    connection: Connection,
    company_id: int,
    resident_id: int,
    before: datetime.datetime | None = None,
    limit: int = 20,
) -> list[OrderRow]:
    """Return the resident's orders made before then, newest first."""
    return await rows.many(
        connection,
        OrderRow,
        f"{_ORDER} AND resident_id = %(resident)s AND (%(before)s::timestamptz IS NULL OR made < %(before)s)"
        " ORDER BY made DESC, number LIMIT %(limit)s",
        {"company": company_id, "resident": resident_id, "before": before, "limit": limit},
    )


async def unfinished(
    connection: Connection, company_id: int, cabinet: str | None = None, limit: int = 200
) -> list[OrderRow]:
    """Return the company's orders that are not over yet, the oldest first."""
    return await rows.many(
        connection,
        OrderRow,
        f"{_ORDER} AND state NOT IN ('paid_out', 'given_back') AND (%(cabinet)s::text IS NULL OR cabinet = %(cabinet)s)"
        " ORDER BY made LIMIT %(limit)s",
        {"company": company_id, "cabinet": cabinet, "limit": limit},
    )


async def steps(connection: Connection, company_id: int, number: str) -> list[StepRow]:
    """Return the steps of an order, the first one first."""
    return await rows.many(
        connection,
        StepRow,
        "SELECT order_step.* FROM order_step JOIN charge_order ON number = order_number"
        " WHERE company_id = %s AND number = %s ORDER BY order_step.id",
        (company_id, number),
    )


async def charged_between(
    connection: Connection, company_id: int, resident_id: int, begin: datetime.datetime, end: datetime.datetime
) -> int:
    """Return the sum in fen of the resident's charges that began in [begin, end), for a tariff's cap of a day."""
    return int(
        await rows.value(
            connection,
            "SELECT coalesce(sum(coalesce(cost_fen, 0)), 0) FROM charge_order"
            " WHERE company_id = %s AND resident_id = %s AND made >= %s AND made < %s",
            (company_id, resident_id, begin, end),
        )
    )
