"""Messages that the worker has to send, from the rows alone, and the effects of the answers.

Everything is decided in the database, so a worker that was killed at any point is replaced by the next one's first
sweep: SENT is committed before the order is published; an order without an answer is asked for and never sent again;
what is still unknown `DEAD_AFTER_S` after its `not_after` is dead on both sides, and its money goes back.
"""

import datetime
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

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
from fleet.order_table import OrderStep
from fleet.orders import STATE_FRESH_S
from fleet.store import cabinets, rows
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


async def to_start(connection: Connection) -> list[StartOrder]:
    """Take the step SENT of all held orders if the cabinet is online; refuse the others. Publish after the commit."""
    numbers = await _numbers(connection, "state = 'held'")
    if not numbers:
        return []
    book = await OrderBook.load(connection, numbers)
    places = await _places(connection, [book.row(number).cabinet for number in numbers if book.find(number)])
    orders: list[StartOrder] = []
    for number in numbers:
        row = book.find(number)
        if row is None or row.state != "held":
            continue  # stopped since
        place = places.get(row.cabinet)
        if place is None:
            book.refuse(number, "cabinet_offline", "offline, or no state for too long")
        elif (book.now - row.made).total_seconds() > HELD_LIFE_S:
            book.refuse(number, "no_answer", "not sent in time")
        else:
            not_after = book.now + datetime.timedelta(seconds=ORDER_LIFE_S)
            book.step(
                number, OrderStep.SEND, f"challenge {place.challenge}", sent=book.now, not_after=not_after,
                epoch=place.epoch, boot=place.boot,
            )  # fmt: skip
            orders.append(_start(row, place, not_after))
    await book.write(connection)
    return orders


class _Place(msgspec.Struct, frozen=True):
    id: str
    epoch: str
    boot: str
    challenge: str


async def _places(connection: Connection, cabinets: Sequence[str]) -> dict[str, _Place]:
    """Return the cabinets to which a start may be sent now."""
    found = await rows.many(
        connection,
        _Place,
        "SELECT id, epoch, boot, challenge FROM cabinet WHERE id = ANY(%s) AND online AND revoked IS NULL"
        f" AND state_at > now() - interval '{STATE_FRESH_S} s' AND epoch <> '' AND boot <> '' AND challenge <> ''",
        (sorted(set(cabinets)),),
    )
    return {place.id: place for place in found}


def _start(row: OrderRow, place: _Place, not_after: datetime.datetime) -> StartOrder:
    return StartOrder(
        cabinet=row.cabinet, epoch=place.epoch, boot=place.boot, challenge=place.challenge, order=row.number,
        outlet=row.outlet, choice=row.choice, choice_amount=row.choice_amount,  # type: ignore[arg-type]
        group=row.tariff_group, tariff_version=row.tariff_version, held_fen=row.held_fen,
        not_after_unix_ms=int(not_after.timestamp() * 1000),
    )  # fmt: skip


async def to_ask(connection: Connection) -> list[AskOrder]:
    """Return questions for orders without an answer in time, and for those of a cabinet that has another store now."""
    numbers = await _numbers(
        connection,
        f"((state = 'sent' AND sent < now() - interval '{ANSWER_WITHIN_S} s')"
        " OR (state IN ('accepted', 'charging') AND EXISTS (SELECT 1 FROM cabinet"
        " WHERE cabinet.id = charge_order.cabinet AND cabinet.epoch <> charge_order.epoch AND cabinet.online)))"
        f" AND (asked IS NULL OR asked < now() - CASE WHEN state = 'sent' THEN interval '{ASK_AGAIN_S} s'"
        " ELSE interval '1 hour' END)",
    )
    return [
        AskOrder(cabinet=row.cabinet, epoch=row.epoch, order=row.number)
        for row in await _changed(connection, numbers, "asked")
    ]


async def to_stop(connection: Connection) -> list[StopOrder]:
    """Return stops for orders that shall end, again every few seconds until the record is here."""
    numbers = await _numbers(
        connection,
        "stop_wanted IS NOT NULL AND (state IN ('sent', 'accepted', 'charging')"
        " OR (state = 'given_back' AND stop_wanted > now() - interval '1 day'))"
        f" AND (stop_sent IS NULL OR stop_sent < now() - interval '{STOP_AGAIN_S} s')"
        " AND EXISTS (SELECT 1 FROM cabinet WHERE cabinet.id = charge_order.cabinet AND online)",
    )
    return [
        StopOrder(
            cabinet=row.cabinet,
            epoch=row.epoch,
            order=row.number,
            by="staff" if row.stop_by == "staff" else "resident",
        )
        for row in await _changed(connection, numbers, "stop_sent")
    ]


async def end_overdue(connection: Connection, give_back_after_hours: int) -> list[str]:
    """Give back the money of orders that are dead, and of charges without a record for days.

    Also of those that could not be sent, as while the broker is away. Returns their numbers.
    """
    unsent = await _numbers(connection, f"state = 'held' AND made < now() - interval '{HELD_LIFE_S} s'")
    dead = await _numbers(connection, f"state = 'sent' AND not_after < now() - interval '{DEAD_AFTER_S} s'")
    lost = await _numbers(
        connection, f"state IN ('accepted', 'charging') AND sent < now() - interval '{give_back_after_hours} hours'"
    )
    book = await OrderBook.load(connection, unsent + dead + lost)
    for number in unsent:
        if book.find(number) is not None and book.row(number).state == "held":
            book.refuse(number, "no_answer", "not sent in time")
    for number in dead:
        if book.find(number) is not None and book.row(number).state == "sent":
            book.refuse(number, "no_answer", "dead: no answer within its time")
    for number in lost:
        if book.find(number) is not None and book.may(number, OrderStep.REFUSE):
            book.refuse(number, "no_record", f"no record for {give_back_after_hours} hours")
    await book.write(connection)
    return unsent + dead + lost


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


async def _numbers(connection: Connection, where: str, parameters: Any = ()) -> list[str]:
    sql = f"SELECT number FROM charge_order WHERE {where} ORDER BY made LIMIT {BATCH}"
    cursor = await connection.execute(sql.encode(), parameters)
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
