"""Effects of facts: mirrored usage log, closings, alarms, trips, and the steps of orders.

An `Applier` takes the facts of one transaction in order, and writes their effects in a fixed number of statements.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from cabinet import usage_chain
from cabinet.records import UsageRecord
from cabinet.uplink import messages
from cabinet.uplink.messages import (
    AlarmChanged,
    FactBody,
    MessageError,
    MonthClosed,
    OrderRefused,
    SessionSettled,
    SessionStarted,
    TripReport,
)
from fleet import plausible
from fleet.order_book import OrderBook
from fleet.order_table import OrderStep
from fleet.store import rows
from fleet.store.database import Connection

Group = tuple[str, str]
FactKey = tuple[str, str, int]  # cabinet, epoch, number

Logs = dict[str, dict[str, int]]  # cabinet → epoch → its last record


class CabinetFacts(msgspec.Struct):
    """Values of a cabinet that its facts need."""

    id: str
    company_id: int
    site_id: int
    usage_key: str


class ChainPosition(Protocol):
    """The end of a mirrored log; moved by `Applier.add`."""

    cabinet: str
    epoch: str
    usage_number: int
    usage_hash: str
    closing_number: int


class Applier:
    def __init__(self, connection: Connection, cabinets: dict[str, CabinetFacts], logs: Logs) -> None:
        self._connection = connection
        self._cabinets = cabinets
        self._logs = logs
        self._records: dict[FactKey, tuple[UsageRecord, str | None, str]] = {}
        self._closings: list[tuple[Any, ...]] = []
        self._alarms: list[tuple[str, AlarmChanged]] = []
        self._trips: list[tuple[FactKey, TripReport]] = []
        self._log_alarms: dict[tuple[Group, str, int], str] = {}
        self._refused: dict[FactKey, str] = {}
        self._orders: list[tuple[FactKey, str, FactBody, bool]] = []

    def log_alarm(self, group: Group, kind: str, number: int, detail: str) -> None:
        """Raise an alarm of a mirrored log, once for each place."""
        self._log_alarms.setdefault((group, kind, number), detail)

    async def add(self, position: ChainPosition, number: int, body: bytes, *, fork: bool = False) -> None:
        """Take a fact; it is set aside with a reason if it cannot be read. A `fork` has its number from another one."""
        key = (position.cabinet, position.epoch, number)
        try:
            fact = messages.decode_fact(body)
        except MessageError as error:
            self._refuse(key, f"cannot be read: {error}", fork)
            return
        if reason := plausible.objection(fact):
            self._refuse(key, reason, fork)
            return
        match fact:
            case SessionSettled():
                await self._settled(key, position, fact, fork)
            case SessionStarted() | OrderRefused() if fact.order is not None:
                self._orders.append((key, fact.order, fact, fork))
            case MonthClosed():
                await self._closed(position, fact)
            case AlarmChanged():
                self._alarms.append((position.cabinet, fact))
            case TripReport():
                if fork:
                    self._refuse(key, "a fork", fork)
                else:
                    self._trips.append((key, fact))
            case _:
                pass  # a session of the cabinet's own residents: its record follows

    def _refuse(self, key: FactKey, reason: str, fork: bool = False) -> None:
        if not fork:  # a fork is kept in a table of its own, with an alarm
            self._refused.setdefault(key, reason[:500])

    async def _settled(self, key: FactKey, position: ChainPosition, fact: SessionSettled, fork: bool) -> None:
        record = fact.record
        body = usage_chain.canonical(record)
        group = (position.cabinet, position.epoch)
        if usage_chain.hash_of_body(body) != record.record_hash:
            self.log_alarm(group, "bad_hash", record.number, "its contents do not give its hash")
        expected = position.usage_number + 1
        if record.number < expected:
            kept = await self._kept_hash(group, record.number)
            if kept is not None:
                if kept != record.record_hash:
                    self.log_alarm(group, "fork", record.number, f"kept as {kept}, now {record.record_hash}")
                same = "the same" if kept == record.record_hash else "another"
                self._refuse(key, f"record {record.number} is kept already, with {same} hash", fork)
                if fact.order is not None:
                    self._orders.append((key, fact.order, fact, fork))
                return
        elif record.number > expected:
            self.log_alarm(group, "gap", expected, f"records {expected} to {record.number - 1} did not arrive")
        elif record.previous_hash != (position.usage_hash or usage_chain.FIRST_PREVIOUS_HASH):
            self.log_alarm(group, "rewrite", record.number, "does not follow the record before it that is kept")
        if not await self._is_repeated(position, record):
            self._records[*group, record.number] = (record, fact.order, body.decode())
        if record.number >= expected:
            position.usage_number, position.usage_hash = record.number, record.record_hash
            self._logs.setdefault(position.cabinet, {})[position.epoch] = record.number
        if fact.order is not None:
            self._orders.append((key, fact.order, fact, fork))

    async def _is_repeated(self, position: ChainPosition, record: UsageRecord) -> bool:
        """Return whether another epoch has the record: a new epoch may repeat the whole log, and each counts once.

        The first one that is different from all raises an alarm: another log begins, or an older copy went on.
        """
        cabinet, epoch, number = position.cabinet, position.epoch, record.number
        others = [other for other, last in self._logs.get(cabinet, {}).items() if other != epoch and last >= number]
        if not others:
            return False
        kept = await self._hashes_in(cabinet, others, number)
        if record.record_hash in kept:
            return True
        if kept and await self._kept_hash((cabinet, epoch), number - 1) is None:
            kind = "new_log" if number == 1 else "fork"
            self.log_alarm((cabinet, epoch), kind, number, f"epoch {', '.join(others)} has another record {number}")
        return False

    async def _hashes(self, group: Group, number: int) -> set[str]:
        """Return the hashes of record `number` in this epoch; if it has none, in the others, which it repeats."""
        own = await self._kept_hash(group, number)
        if own is not None:
            return {own}
        return await self._hashes_in(group[0], list(self._logs.get(group[0], {})), number)

    async def _hashes_in(self, cabinet: str, epochs: Sequence[str], number: int) -> set[str]:
        """Return the hashes of record `number` in these epochs, also of those that this transaction brings."""
        sql = "SELECT record_hash FROM usage_record WHERE cabinet = %s AND epoch = ANY(%s) AND number = %s"
        cursor = await self._connection.execute(sql.encode(), (cabinet, epochs, number))
        pending = (self._records.get((cabinet, epoch, number)) for epoch in epochs)
        return {found for (found,) in await cursor.fetchall()} | {each[0].record_hash for each in pending if each}

    async def _kept_hash(self, group: Group, number: int) -> str | None:
        pending = self._records.get((*group, number))
        if pending is not None:
            return pending[0].record_hash
        sql = "SELECT record_hash FROM usage_record WHERE cabinet = %s AND epoch = %s AND number = %s"
        found: str | None = await rows.value(self._connection, sql, (*group, number))
        return found

    async def _closed(self, position: ChainPosition, fact: MonthClosed) -> None:
        signed, group = fact.signed, (position.cabinet, position.epoch)
        closing, cabinet = signed.closing, self._cabinets[position.cabinet]
        if not usage_chain.is_signed(signed, closing.key):
            self.log_alarm(group, "bad_signature", closing.number, f"closing of {closing.month}")
        if not cabinet.usage_key:
            cabinet.usage_key = closing.key
            await self._connection.execute(
                "UPDATE cabinet SET usage_key = %s WHERE id = %s AND usage_key = ''", (closing.key, cabinet.id)
            )
        elif closing.key != cabinet.usage_key:
            self.log_alarm(
                group, "other_key", closing.number, f"closing of {closing.month} is signed with {closing.key}"
            )
        kept = await self._hashes(group, closing.last_number)
        if kept and closing.last_hash not in kept:
            self.log_alarm(group, "rewrite", closing.last_number, f"closing of {closing.month} names another record")
        position.closing_number = max(position.closing_number, closing.number)
        self._closings.append(
            (*group, closing.number, closing.month, usage_chain.canonical_closing(closing).decode(), signed.signature)
        )

    async def write(self) -> None:
        """Write all effects."""
        if self._records:
            await self._write_records()
        if self._orders:
            await self._write_orders()
        for row in self._closings:
            await self._connection.execute(
                "INSERT INTO usage_closing (cabinet, epoch, number, month, body, signature)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                row,
            )
        for cabinet, alarm in self._alarms:
            await self._write_alarm(cabinet, alarm)
        for key, trip in self._trips:
            await self._connection.execute(
                "INSERT INTO trip (cabinet, epoch, fact_number, outlet, fault, at_unix_ms, peak_ma, session_id)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (*key, trip.outlet, trip.fault.value, trip.at.unix_ms, trip.peak_ma, trip.session_id),
            )
        for (group, kind, number), detail in self._log_alarms.items():
            await self._connection.execute(
                "INSERT INTO log_alarm (cabinet, epoch, kind, number, detail) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (*group, kind, number, detail),
            )
        for key, reason in self._refused.items():
            await self._connection.execute(
                "UPDATE fact SET refused = %s WHERE cabinet = %s AND epoch = %s AND number = %s", (reason, *key)
            )

    async def _write_records(self) -> None:
        found = [(key, *value) for key, value in self._records.items()]
        await self._connection.execute(
            "INSERT INTO usage_record (cabinet, epoch, number, company_id, site_id, session_id, order_number, outlet,"
            " started_unix_ms, ended_unix_ms, energy_mwh, electricity_fen, service_fen, end_reason, body,"
            " previous_hash, record_hash) SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::bigint[],"
            " %b::bigint[], %b::text[], %b::text[], %b::int[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],"
            " %b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[]) ON CONFLICT DO NOTHING",
            (
                [key[0] for key, _, _, _ in found],
                [key[1] for key, _, _, _ in found],
                [key[2] for key, _, _, _ in found],
                [self._cabinets[key[0]].company_id for key, _, _, _ in found],
                [self._cabinets[key[0]].site_id for key, _, _, _ in found],
                [record.session_id for _, record, _, _ in found],
                [order for _, _, order, _ in found],
                [record.outlet for _, record, _, _ in found],
                [record.started.unix_ms for _, record, _, _ in found],
                [record.ended.unix_ms for _, record, _, _ in found],
                [record.energy_mwh for _, record, _, _ in found],
                [record.electricity_fen for _, record, _, _ in found],
                [record.service_fen for _, record, _, _ in found],
                [record.end_reason.value for _, record, _, _ in found],
                [body for _, _, _, body in found],
                [record.previous_hash for _, record, _, _ in found],
                [record.record_hash for _, record, _, _ in found],
            ),
        )

    async def _write_orders(self) -> None:
        book = await OrderBook.load(self._connection, [order for _, order, _, _ in self._orders])
        for key, order, fact, fork in self._orders:
            row = book.find(order)
            if row is None or row.cabinet != key[0]:
                self._refuse(key, f"order {order} is not one of this cabinet", fork)
                continue
            if reason := apply_to_order(book, order, fact):
                self._refuse(key, reason, fork)
        await book.write(self._connection)

    async def _write_alarm(self, cabinet: str, alarm: AlarmChanged) -> None:
        if alarm.raised:
            await self._connection.execute(
                "INSERT INTO alarm (cabinet, outlet, fault, raised_unix_ms) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (cabinet, outlet, fault, raised_unix_ms) DO UPDATE SET cleared_unix_ms = NULL",
                (cabinet, alarm.outlet, alarm.fault.value, alarm.at.unix_ms),
            )
        else:
            await self._connection.execute(
                "UPDATE alarm SET cleared_unix_ms = %s WHERE cabinet = %s AND outlet = %s AND fault = %s"
                " AND cleared_unix_ms IS NULL",
                (alarm.at.unix_ms, cabinet, alarm.outlet, alarm.fault.value),
            )


def apply_to_order(book: OrderBook, number: str, fact: FactBody) -> str | None:
    """Take the step of a fact; return the reason if it cannot be booked."""
    match fact:
        case SessionStarted():
            if book.may(number, OrderStep.START):
                book.step(
                    number, OrderStep.START, session_id=fact.session_id, answered=book.row(number).answered or book.now
                )
            elif book.row(number).state == "given_back" and book.row(number).session_id is None:
                # It runs although its money went back: it is stopped, and its bill becomes a debt.
                book.change(number, session_id=fact.session_id, stop_wanted=book.now, stop_by="staff")
        case OrderRefused():
            if book.may(number, OrderStep.REFUSE):
                book.refuse(number, fact.code, "ended without a charge")
        case SessionSettled(record=record):
            if reason := plausible.objection_to_bill(book.row(number), record):
                return reason
            if not book.settle(number, record.electricity_fen, record.service_fen, record.number, record.session_id):
                row = book.row(number)
                if (row.usage_number, row.session_id) == (record.number, record.session_id):
                    return None  # a new epoch repeats the log
                return f"order {number} is {row.state}, by record {row.usage_number}: this bill is not booked"
    return None
