"""Messages that the worker has to send, from the rows alone, and the effects of the answers.

Everything is decided in the database, so a worker that was killed at any point is replaced by the next one's first
sweep: SENT is committed before the order is published; an order without an answer is asked for and never sent again;
what is still unknown `DEAD_AFTER_S` after its `not_after` is dead on both sides, and its money goes back.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from psycopg.rows import class_row

from cabinet.uplink.messages import (
    ANSWER_WITHIN_S,
    DEAD_AFTER_S,
    Answer,
    AskOrder,
    Desired,
    Look,
    StartOrder,
    StopOrder,
)
from fleet.order_book import OrderBook
from fleet.order_table import OrderState, OrderStep, next_state
from fleet.orders import STATE_FRESH_S
from fleet.store import cabinets
from fleet.store.database import Connection
from fleet.store.orders import OrderRow

log = logging.getLogger(__name__)

ORDER_LIFE_S = 30  # from sending to `not_after`
HELD_LIFE_S = 30  # a tap that could not be sent for so long, as without a worker, is given back
ASK_AGAIN_S = 10
STOP_AGAIN_S = 15
DESIRED_AGAIN_S = 300
LOOK_S = 30
LOOK_AGAIN_S = 20
BATCH = 200  # orders in one transaction
SET_ASIDE_AGAIN_S = 3600


class Starts(NamedTuple):
    """Orders that are to be published now, and numbers of those that cannot be sent."""

    orders: list[StartOrder]
    unsendable: list[str]


async def to_start(connection: Connection, number: str | None = None) -> Starts:
    """Take the step SENT of all held orders (or of `number`) of cabinets that are online: one statement claims and
    marks them, so a worker that lost its lock meanwhile gets none of them. Publish after the commit.
    """
    async with connection.cursor(row_factory=class_row(_Claimed)) as cursor:
        await cursor.execute(_CLAIM.encode(), {"number": number})
        found = await cursor.fetchall()
    return Starts(
        [_start(each) for each in found if each.challenge is not None],
        [each.number for each in found if each.challenge is None],
    )


def _not_aside(failed: str) -> str:
    """Return the condition that an order did not fail, at the time in the column `failed`, in the last hour."""
    return (
        "NOT EXISTS (SELECT 1 FROM order_set_aside WHERE order_number = charge_order.number"
        f" AND {failed} > now() - interval '{SET_ASIDE_AGAIN_S} s')"
    )


class _Claimed(OrderRow, frozen=True):
    """An order that was claimed; `challenge` is None if it cannot be sent, and then it is still held."""

    challenge: str | None = None


_CLAIM = (
    # Locks of others are not waited for: they are taken in the order of numbers, and these are not.
    "WITH due AS (SELECT number, cabinet FROM charge_order WHERE state = 'held'"
    f" AND {_not_aside('failed')}"
    " AND (%(number)s::text IS NULL OR number = %(number)s) ORDER BY made"
    f" LIMIT {BATCH} FOR UPDATE SKIP LOCKED),"
    f" claimed AS (UPDATE charge_order SET state = '{next_state(OrderState.HELD, OrderStep.SEND)}',"
    " sent = clock_timestamp(), epoch = cabinet.epoch, boot = cabinet.boot,"
    f" not_after = clock_timestamp() + interval '{ORDER_LIFE_S} s'"
    " FROM due JOIN cabinet ON cabinet.id = due.cabinet WHERE charge_order.number = due.number AND online"
    f" AND revoked IS NULL AND state_at > now() - interval '{STATE_FRESH_S} s'"
    " AND cabinet.epoch <> '' AND cabinet.boot <> '' AND challenge <> ''"
    f" AND made > now() - interval '{HELD_LIFE_S} s' RETURNING charge_order.*, challenge),"
    " step AS (INSERT INTO order_step (order_number, step, from_state, to_state, detail)"
    f" SELECT number, '{OrderStep.SEND}', '{OrderState.HELD}', state, 'challenge ' || challenge FROM claimed)"
    " SELECT * FROM claimed UNION ALL SELECT charge_order.*, NULL FROM due JOIN charge_order USING (number)"
    " WHERE NOT EXISTS (SELECT 1 FROM claimed WHERE claimed.number = due.number)"
)


async def refuse_unsent(connection: Connection, numbers: Sequence[str]) -> None:
    """Refuse held orders that cannot be sent: the tap is too old, or the cabinet is offline."""
    book = await OrderBook.load(connection, numbers)
    for number in numbers:
        row = book.find(number)
        if row is None or row.state != "held":
            continue  # stopped since
        if (book.now - row.made).total_seconds() > HELD_LIFE_S:
            book.refuse(number, "no_answer", "not sent in time")
        else:
            book.refuse(number, "cabinet_offline", "offline, or no state for too long")
    await book.write(connection)


def _start(row: _Claimed) -> StartOrder:
    assert row.challenge is not None
    assert row.not_after is not None
    return StartOrder(
        cabinet=row.cabinet, epoch=row.epoch, boot=row.boot, challenge=row.challenge, order=row.number,
        outlet=row.outlet, choice=row.choice, choice_amount=row.choice_amount,  # type: ignore[arg-type]
        group=row.tariff_group, tariff_version=row.tariff_version, held_fen=row.held_fen,
        not_after_unix_ms=int(row.not_after.timestamp() * 1000),
    )  # fmt: skip


async def due_to_ask(connection: Connection) -> list[str]:
    """Return orders without an answer in time, and those of a cabinet that has another store now."""
    return await _numbers(
        connection,
        f"((state = 'sent' AND sent < now() - interval '{ANSWER_WITHIN_S} s')"
        " OR (state IN ('accepted', 'charging') AND EXISTS (SELECT 1 FROM cabinet"
        " WHERE cabinet.id = charge_order.cabinet AND cabinet.epoch <> charge_order.epoch AND cabinet.online)))"
        f" AND (asked IS NULL OR asked < now() - CASE WHEN state = 'sent' THEN interval '{ASK_AGAIN_S} s'"
        " ELSE interval '1 hour' END)",
    )


async def ask(connection: Connection, numbers: Sequence[str]) -> list[AskOrder]:
    """Note that these orders are asked for now; return the questions."""
    return [
        AskOrder(cabinet=row.cabinet, epoch=row.epoch, order=row.number)
        for row in await _changed(connection, numbers, "asked")
    ]


async def due_to_stop(connection: Connection) -> list[str]:
    """Return orders that shall end, each again every few seconds until its record is here."""
    return await _numbers(
        connection,
        "stop_wanted IS NOT NULL AND state <> 'paid_out' AND (state IN ('sent', 'accepted', 'charging')"
        " OR (state = 'given_back' AND stop_wanted > now() - interval '1 day'))"
        f" AND (stop_sent IS NULL OR stop_sent < now() - interval '{STOP_AGAIN_S} s')"
        " AND EXISTS (SELECT 1 FROM cabinet WHERE cabinet.id = charge_order.cabinet AND online)",
    )


async def stop(connection: Connection, numbers: Sequence[str]) -> list[StopOrder]:
    """Note that these orders are stopped now; return the stops."""
    return [
        StopOrder(
            cabinet=row.cabinet,
            epoch=row.epoch,
            order=row.number,
            by="staff" if row.stop_by == "staff" else "resident",
        )
        for row in await _changed(connection, numbers, "stop_sent")
    ]


async def overdue(connection: Connection, give_back_after_hours: int) -> list[str]:
    """Return orders that are dead, charges without a record for days, and orders that could not be sent."""
    found: list[str] = []
    for where in (
        f"state = 'held' AND made < now() - interval '{HELD_LIFE_S} s'",
        f"state = 'sent' AND not_after < now() - interval '{DEAD_AFTER_S} s'",
        f"state IN ('accepted', 'charging') AND sent < now() - interval '{give_back_after_hours} hours'",
    ):
        found += await _numbers(connection, where, unless="end_failed")
    return found


async def give_back(connection: Connection, numbers: Sequence[str], give_back_after_hours: int) -> None:
    """Give back the money of overdue orders."""
    book = await OrderBook.load(connection, numbers)
    for number in numbers:
        if book.find(number) is None or not book.may(number, OrderStep.REFUSE):
            continue
        match book.row(number).state:
            case "held":
                book.refuse(number, "no_answer", "not sent in time")
            case "sent":
                book.refuse(number, "no_answer", "dead: no answer within its time")
            case _:
                book.refuse(number, "no_record", f"no record for {give_back_after_hours} hours")
    await book.write(connection)


async def held(connection: Connection) -> list[str]:
    """Return the orders that wait to be sent."""
    return await _numbers(connection, "state = 'held'")


async def set_aside(connection: Connection, number: str, reason: str, *, ending: bool = False) -> None:
    """Note that an order failed for a reason of its own, with an alarm of its outlet.

    It is not sent, asked for or stopped again for an hour; with `ending`, its end is not tried again for so long.
    """
    await connection.execute(
        "WITH aside AS (INSERT INTO order_set_aside (order_number, reason, end_failed)"
        " VALUES (%(number)s, %(reason)s, CASE WHEN %(ending)s THEN now() END) ON CONFLICT (order_number) DO UPDATE"
        " SET reason = excluded.reason, failed = now(),"
        " end_failed = coalesce(excluded.end_failed, order_set_aside.end_failed) RETURNING order_number)"
        " INSERT INTO log_alarm (cabinet, epoch, kind, number, detail)"
        " SELECT cabinet, epoch, 'order_set_aside', outlet, 'order ' || number || ': ' || %(reason)s"
        " FROM charge_order JOIN aside ON number = order_number"
        " ON CONFLICT (cabinet, epoch, kind, number) DO UPDATE SET detail = excluded.detail, raised = now()",
        {"number": number, "reason": reason, "ending": ending},
    )


async def end_unsent(connection: Connection, number: str, reason: str, states: Sequence[str]) -> None:
    """Give back the money of an order that was not published, if it is in one of `states`."""
    book = await OrderBook.load(connection, [number])
    if book.find(number) is not None and book.row(number).state in states:
        book.refuse(number, "no_answer", reason)
    await book.write(connection)


async def to_look(connection: Connection) -> list[Look]:
    """Return a message for each online cabinet with a viewer, in time before the last one runs out."""
    cursor = await connection.execute(
        "UPDATE viewer SET sent = now() FROM cabinet WHERE cabinet.id = viewer.cabinet AND online AND until > now()"
        f" AND challenge <> '' AND (sent IS NULL OR sent < now() - interval '{LOOK_AGAIN_S} s')"
        " RETURNING viewer.cabinet, challenge".encode()
    )
    found = [Look(cabinet=c, challenge=challenge, seconds=LOOK_S) for c, challenge in await cursor.fetchall()]
    await connection.execute("DELETE FROM viewer WHERE until < now()")
    return found


async def to_desire(connection: Connection) -> list[Desired]:
    """Return desired things that online cabinets do not have in force; each again after some minutes."""
    cursor = await connection.execute(
        "UPDATE desired SET sent_at = now() FROM cabinet WHERE cabinet.id = desired.cabinet AND online"
        " AND revoked IS NULL AND applied_version <> version AND rejected IS NULL"
        f" AND (sent_at IS NULL OR sent_at < now() - interval '{DESIRED_AGAIN_S} s')"
        " RETURNING desired.cabinet, kind, version, value".encode()
    )
    return [
        Desired(cabinet=cabinet, what=kind, version=version, value=msgspec.Raw(msgspec.json.encode(value)))
        for cabinet, kind, version, value in await cursor.fetchall()
    ]


async def unreachable(connection: Connection, number: str) -> None:
    """Refuse an order for which the broker has no subscriber: the cabinet cannot have got it."""
    book = await OrderBook.load(connection, [number])
    if book.find(number) is not None and book.row(number).state == "sent":
        book.refuse(number, "cabinet_offline", "the broker has no connection of the cabinet")
    await book.write(connection)


async def take_answers(connection: Connection, answers: Sequence[tuple[str, Answer]]) -> None:
    """Take the steps of answers, each with the cabinet that gave it; one of another or a revoked cabinet is ignored."""
    trusted = await cabinets.not_revoked(connection, [cabinet for cabinet, _ in answers])
    book = await OrderBook.load(connection, [answer.order for _, answer in answers])
    for cabinet, answer in answers:
        row = book.find(answer.order)
        if row is None or row.cabinet != cabinet or cabinet not in trusted:
            log.warning("%s: an answer to %s, which is not an order of this cabinet", cabinet, answer.order)
            continue
        _take_answer(book, row, answer)
    await book.write(connection)


def _take_answer(book: OrderBook, row: OrderRow, answer: Answer) -> None:
    number = row.number
    match answer.outcome:
        case "accepted" | "ended":
            if book.may(number, OrderStep.ACCEPT):
                book.step(number, OrderStep.ACCEPT, answer.outcome, answered=book.now, session_id=answer.session_id)
            elif row.state == "given_back" and answer.outcome == "accepted" and row.stop_wanted is None:
                book.change(number, session_id=answer.session_id, stop_wanted=book.now, stop_by="staff")
        case "refused":
            # Only an order that waits for its answer: what was accepted ends by a fact, not by a repeated refusal.
            if row.state == "sent":
                book.change(number, answered=book.now)
                book.refuse(number, answer.code or "no_answer", "refused by the cabinet")
        case "unknown":
            if row.state == "sent" and row.not_after is not None and book.now > row.not_after:
                book.refuse(number, "no_answer", "the cabinet does not know it, and its time is over")
            elif row.state in ("accepted", "charging") and answer.epoch and answer.epoch != row.epoch:
                book.refuse(number, "no_record", "the cabinet has another store, which does not know it")


async def _numbers(connection: Connection, where: str, unless: str = "failed") -> list[str]:
    """Return the numbers of these orders, unless they failed, at the time in the column `unless`, in the last hour."""
    sql = f"SELECT number FROM charge_order WHERE {where} AND {_not_aside(unless)} ORDER BY made LIMIT {BATCH}"
    cursor = await connection.execute(sql.encode())
    return [number for (number,) in await cursor.fetchall()]


async def _changed(connection: Connection, numbers: Sequence[str], column: str) -> list[OrderRow]:
    """Set `column` of these orders to now; return them."""
    if not numbers:
        return []
    book = await OrderBook.load(connection, numbers)
    for number in numbers:
        book.change(number, **{column: book.now})
    await book.write(connection)
    return [book.row(number) for number in numbers]
